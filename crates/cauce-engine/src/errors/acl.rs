//! The errors of users and permissions, in the words of Redis 7.2.

use super::Error;
use crate::users::Denied;

pub(crate) const NO_FILE: Error = Error::fixed(
    "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store users in the Redis configuration.",
);
pub(crate) const DEFAULT_STAYS: Error = Error::fixed("ERR The 'default' user cannot be removed");
pub(crate) const GENPASS_BITS: Error = Error::fixed(
    "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096",
);
pub(crate) const USER_NAME: Error = Error::fixed("ERR Usernames can't contain spaces or null characters");

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a user is told who may not run a command.
pub(crate) fn no_permission(user: &[u8], denied: Denied<'_>) -> Error {
    match denied {
        Denied::Command(name) => {
            Error(format!("NOPERM User {} has no permissions to run the '{name}' command", text(user)).into())
        }
        Denied::Key(_) => Error::fixed("NOPERM No permissions to access a key"),
        Denied::Channel(_) => Error::fixed("NOPERM No permissions to access a channel"),
    }
}

/// What a script is told whose user may not run a command.
pub(crate) fn denied_in_script(user: &[u8], denied: Denied<'_>) -> Error {
    let error = no_permission(user, denied);
    let why = error.text().strip_prefix("NOPERM ").unwrap_or_default();
    Error(format!("ERR ACL failure in script: {why}").into())
}

/// A command that was permitted when it was queued.
pub(crate) fn no_longer_permitted(denied: Denied<'_>) -> Error {
    let reason = match denied {
        Denied::Command(_) => "no permission to execute the command or subcommand",
        Denied::Key(_) => "no permission to touch the specified keys",
        Denied::Channel(_) => "no permission to access one of the channels used as arguments to the command",
    };
    Error(format!("NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is no longer allowed for the following reason: {reason}").into())
}

/// The answer of ACL DRYRUN, which is no error.
pub(crate) fn would_be_denied(user: &[u8], denied: Denied<'_>) -> String {
    let user = text(user);
    match denied {
        Denied::Command(name) => format!("User {user} has no permissions to run the '{name}' command"),
        Denied::Key(key) => format!("User {user} has no permissions to access the '{}' key", text(key)),
        Denied::Channel(name) => {
            format!("User {user} has no permissions to access the '{}' channel", text(name))
        }
    }
}

pub(crate) fn modifier(rule: &[u8], why: &str) -> Error {
    Error(format!("ERR Error in ACL SETUSER modifier '{}': {why}", text(rule)).into())
}

pub(crate) fn unmatched_parenthesis(rule: &[u8]) -> Error {
    Error(format!("ERR Unmatched parenthesis in acl selector starting at '{}'.", text(rule)).into())
}

pub(crate) fn no_such_user(name: &[u8]) -> Error {
    Error(format!("ERR User '{}' not found", text(name)).into())
}

pub(crate) fn no_such_command(name: &[u8]) -> Error {
    Error(format!("ERR Command '{}' not found", text(name)).into())
}

pub(crate) fn unknown_category(name: &[u8]) -> Error {
    Error(format!("ERR Unknown category '{}'", text(name)).into())
}
