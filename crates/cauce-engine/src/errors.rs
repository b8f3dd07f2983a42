//! Every error that the engine can answer, with Redis's exact text: the one list of them.

pub(crate) mod acl;
pub(crate) mod collections;
pub(crate) mod script;
pub(crate) mod stream;

use std::borrow::Cow;

/// An error reply: the whole text on the wire, beginning with its code (`ERR`, `WRONGTYPE`, ...).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Error(Cow<'static, str>);

impl Error {
    const fn fixed(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

pub(crate) const WRONG_TYPE: Error =
    Error::fixed("WRONGTYPE Operation against a key holding the wrong kind of value");
/// A command that ends with it is run again: nobody sees the text.
pub(crate) const BLOCKS_ABSENT: Error = Error::fixed("ERR history is being read from disk");
pub(crate) const TOO_MUCH_HISTORY: Error = Error::fixed(
    "ERR the command needs more history from disk at once than stream-read-max allows; ask for less, with COUNT or a shorter range",
);

/// History on disk that cannot be read.
pub(crate) fn unreadable_block(why: &str) -> Error {
    Error(Cow::Owned(format!(
        "ERR a part of the stream's history cannot be read from disk ({why}); nothing else is affected"
    )))
}

pub(crate) const SYNTAX: Error = Error::fixed("ERR syntax error");
pub(crate) const NOT_INTEGER: Error = Error::fixed("ERR value is not an integer or out of range");
pub(crate) const NO_SHUTDOWN: Error = Error::fixed("ERR No shutdown in progress.");
pub(crate) const NO_SUCH_KEY: Error = Error::fixed("ERR no such key");
pub(crate) const INVALID_CURSOR: Error = Error::fixed("ERR invalid cursor");
pub(crate) const INCREMENT_OVERFLOW: Error = Error::fixed("ERR increment or decrement would overflow");
pub(crate) const DECREMENT_OVERFLOW: Error = Error::fixed("ERR decrement would overflow");
pub(crate) const STRING_TOO_LONG: Error =
    Error::fixed("ERR string exceeds maximum allowed size (proto-max-bulk-len)");
pub(crate) const OFFSET: Error = Error::fixed("ERR offset is out of range");
pub(crate) const LCS_NO_STRING: Error = Error::fixed("ERR The specified keys must contain string values");
pub(crate) const LCS_LEN_AND_IDX: Error =
    Error::fixed("ERR If you want both the length and indexes, please just use IDX.");
pub(crate) const LCS_TOO_LARGE: Error =
    Error::fixed("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
pub(crate) const NO_AUTH: Error = Error::fixed("NOAUTH Authentication required.");
pub(crate) const HELLO_NO_AUTH: Error = Error::fixed(
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
);
pub(crate) const WRONG_PASS: Error =
    Error::fixed("WRONGPASS invalid username-password pair or user is disabled.");
pub(crate) const NO_PASSWORD_SET: Error = Error::fixed(
    "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
);
pub(crate) const NO_PROTO: Error = Error::fixed("NOPROTO unsupported protocol version");
pub(crate) const PROTOCOL_NOT_INTEGER: Error =
    Error::fixed("ERR Protocol version is not an integer or out of range");
pub(crate) const DATABASE_OUT_OF_RANGE: Error = Error::fixed("ERR DB index is out of range");
pub(crate) const FIRST_DATABASE: Error = Error::fixed("ERR invalid first DB index");
pub(crate) const SECOND_DATABASE: Error = Error::fixed("ERR invalid second DB index");
pub(crate) const SAME_OBJECT: Error = Error::fixed("ERR source and destination objects are the same");
pub(crate) const INT_RANGE: Error =
    Error::fixed("ERR value is out of range, value must between -2147483648 and 2147483647");
pub(crate) const NO_LFU: Error = Error::fixed(
    "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.",
);
pub(crate) const NESTED_MULTI: Error = Error::fixed("ERR MULTI calls can not be nested");
pub(crate) const EXEC_WITHOUT_MULTI: Error = Error::fixed("ERR EXEC without MULTI");
pub(crate) const DISCARD_WITHOUT_MULTI: Error = Error::fixed("ERR DISCARD without MULTI");
pub(crate) const WATCH_INSIDE_MULTI: Error = Error::fixed("ERR WATCH inside MULTI is not allowed");
pub(crate) const NOT_IN_TRANSACTION: Error = Error::fixed("ERR Command not allowed inside a transaction");
pub(crate) const EXEC_ABORTED: Error =
    Error::fixed("EXECABORT Transaction discarded because of previous errors.");
/// The log has no room for more; Redis says so of its own.
pub(crate) const LOG_FULL: Error =
    Error::fixed("MISCONF Errors writing to the AOF file: No space left on device");
/// The log has failed, and the broker stays for those who read.
pub(crate) const LOG_FAILED: Error = Error::fixed(
    "MISCONF The disk has refused a write: only reads of what is known to be on it are answered; restart the broker when the disk is repaired",
);
pub(crate) const OUT_OF_MEMORY: Error =
    Error::fixed("OOM command not allowed when used memory > 'maxmemory'.");
pub(crate) const TOO_MANY_BLOCKED: Error = Error::fixed(
    "ERR too many blocked clients; raise the broker's limit of blocked clients, or read without BLOCK",
);
pub(crate) const TOO_MANY_SUBSCRIPTIONS: Error = Error::fixed(
    "ERR too many subscriptions on this connection; raise the broker's limit, or subscribe to a pattern",
);
pub(crate) const TRANSACTION_TOO_LONG: Error = Error::fixed(
    "ERR too many commands queued in this transaction; raise the broker's limit, or send smaller transactions",
);
pub(crate) const UNBLOCKED: Error = Error::fixed("UNBLOCKED client unblocked via CLIENT UNBLOCK");
pub(crate) const NO_SUCH_CLIENT: Error = Error::fixed("ERR No such client");
pub(crate) const CLIENT_NAME: Error =
    Error::fixed("ERR Client names cannot contain spaces, newlines or special characters.");
pub(crate) const CLIENT_ID: Error = Error::fixed("ERR client-id should be greater than 0");
pub(crate) const CLIENT_ID_INVALID: Error = Error::fixed("ERR Invalid client ID");
pub(crate) const UNBLOCK_REASON: Error = Error::fixed("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
pub(crate) const NO_KEY_ARGUMENTS: Error = Error::fixed("ERR The command has no key arguments");
pub(crate) const INVALID_COMMAND: Error = Error::fixed("ERR Invalid command specified");
pub(crate) const INVALID_COMMAND_ARGUMENTS: Error =
    Error::fixed("ERR Invalid number of arguments specified for command");
pub(crate) const INVALID_KEY_ARGUMENTS: Error = Error::fixed("ERR Invalid arguments specified for command");
pub(crate) const EXPIRE_NX_WITH_OTHERS: Error =
    Error::fixed("ERR NX and XX, GT or LT options at the same time are not compatible");
pub(crate) const EXPIRE_GT_AND_LT: Error =
    Error::fixed("ERR GT and LT options at the same time are not compatible");
pub(crate) const NOTIFY_FLAGS: Error = Error::fixed(
    "ERR CONFIG SET failed (possibly related to argument 'notify-keyspace-events') - Invalid event class character. Use 'Ag$lshzxeKEtmdn'.",
);

pub(crate) const SSUBSCRIBE_DENIED: Error =
    Error::fixed("ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client");

/// Some containers check the arguments of their subcommands themselves.
pub(crate) fn subcommand_arguments(container: &str, name: &[u8]) -> Error {
    let name = String::from_utf8_lossy(name.get(..128).unwrap_or(name));
    Error(
        format!("ERR unknown subcommand or wrong number of arguments for '{name}'. Try {container} HELP.")
            .into(),
    )
}

pub(crate) fn arity(command: &str) -> Error {
    Error(format!("ERR wrong number of arguments for '{command}' command").into())
}

/// Redis quotes at most 128 bytes of the name, and arguments until 128 bytes of them are shown.
pub(crate) fn unknown_command(args: &[&[u8]]) -> Error {
    const QUOTED_MAX: usize = 128;
    let clip =
        |bytes: &[u8], len: usize| String::from_utf8_lossy(bytes.get(..len).unwrap_or(bytes)).into_owned();
    let mut shown = String::new();
    for arg in args.iter().skip(1) {
        if shown.len() >= QUOTED_MAX {
            break;
        }
        let room = QUOTED_MAX - shown.len();
        shown.push_str(&format!("'{}' ", clip(arg, room)));
    }
    let name = clip(args.first().copied().unwrap_or_default(), QUOTED_MAX);
    Error(format!("ERR unknown command '{name}', with args beginning with: {shown}").into())
}

pub(crate) fn unknown_subcommand(container: &str, name: &[u8]) -> Error {
    let name = String::from_utf8_lossy(name.get(..128).unwrap_or(name));
    Error(format!("ERR unknown subcommand '{name}'. Try {} HELP.", container.to_uppercase()).into())
}

/// A subcommand with options that it does not take.
pub(crate) fn subcommand_syntax(container: &str, name: &[u8]) -> Error {
    let name = String::from_utf8_lossy(name.get(..128).unwrap_or(name));
    let container = container.to_uppercase();
    Error(
        format!("ERR unknown subcommand or wrong number of arguments for '{name}'. Try {container} HELP.")
            .into(),
    )
}

pub(crate) fn subscriber_only(command: &str) -> Error {
    let text = format!(
        "ERR Can't execute '{command}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
    );
    Error(text.into())
}

/// EXEC itself was refused: the transaction is over.
pub(crate) fn exec_refused(why: &Error) -> Error {
    let why = why.text();
    let why = why.strip_prefix("ERR ").unwrap_or(why);
    Error(format!("EXECABORT Transaction discarded because of: {why}").into())
}

pub(crate) fn invalid_expire(command: &str) -> Error {
    Error(format!("ERR invalid expire time in '{command}' command").into())
}

pub(crate) fn unsupported_option(option: &[u8]) -> Error {
    Error(format!("ERR Unsupported option {}", String::from_utf8_lossy(option)).into())
}

pub(crate) fn hello_option(option: &[u8]) -> Error {
    Error(format!("ERR Syntax error in HELLO option '{}'", String::from_utf8_lossy(option)).into())
}

pub(crate) fn client_type(kind: &[u8]) -> Error {
    Error(format!("ERR Unknown client type '{}'", String::from_utf8_lossy(kind)).into())
}

pub(crate) fn client_info_attribute(name: &[u8]) -> Error {
    Error(format!("ERR Unrecognized option '{}'", String::from_utf8_lossy(name)).into())
}

pub(crate) fn client_info_value(name: &str) -> Error {
    Error(format!("ERR {name} cannot contain spaces, newlines or special characters.").into())
}

pub(crate) fn config_unknown(name: &[u8]) -> Error {
    let name = String::from_utf8_lossy(name);
    Error(format!("ERR Unknown option or number of arguments for CONFIG SET - '{name}'").into())
}

pub(crate) fn config_refused(name: &str, reason: &str) -> Error {
    Error(format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}").into())
}
