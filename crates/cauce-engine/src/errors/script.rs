//! Error texts of scripts, and of what scripts may not do.

use super::Error;

pub(crate) const NO_SUCH_SCRIPT: Error = Error::fixed("NOSCRIPT No matching script. Please use EVAL.");
pub(crate) const NEGATIVE_KEYS: Error = Error::fixed("ERR Number of keys can't be negative");
pub(crate) const TOO_MANY_KEYS: Error =
    Error::fixed("ERR Number of keys can't be greater than number of args");
pub(crate) const FLUSH_MODE: Error = Error::fixed("ERR SCRIPT FLUSH only support SYNC|ASYNC option");
pub(crate) const NOT_BUSY: Error = Error::fixed("NOTBUSY No scripts in execution right now.");
pub(crate) const NO_DEBUGGER: Error = Error::fixed(
    "ERR this broker has no script debugger; run the script with redis.log or return what you want to see",
);
pub(crate) const KILLED: Error = Error::fixed("ERR Script killed by user with SCRIPT KILL...");
pub(crate) const NO_ARGUMENTS: Error =
    Error::fixed("ERR Please specify at least one argument for this redis lib call");
pub(crate) const ARGUMENT_TYPE: Error =
    Error::fixed("ERR Lua redis lib command arguments must be strings or integers");
pub(crate) const UNKNOWN_COMMAND: Error = Error::fixed("ERR Unknown Redis command called from script");
pub(crate) const ARITY: Error = Error::fixed("ERR Wrong number of args calling Redis command from script");
pub(crate) const NOT_ALLOWED: Error = Error::fixed("ERR This Redis command is not allowed from script");
pub(crate) const READ_ONLY: Error =
    Error::fixed("ERR Write commands are not allowed from read-only scripts.");
pub(crate) const NESTED: Error =
    Error::fixed("ERR redis.call is not possible here: another command of the script is running");
pub(crate) const STACK_LIMIT: Error = Error::fixed("ERR reached lua stack limit");

/// A script's error, with the place where it happened.
pub(crate) fn at(text: &str, sha: &str, source: &str, line: usize) -> Error {
    Error(format!("{text} script: {sha}, on {source}:{line}.").into())
}

/// A script's error without a place.
pub(crate) fn plain(text: &str) -> Error {
    Error(text.to_owned().into())
}

pub(crate) fn compile(message: &str) -> Error {
    Error(format!("ERR Error compiling script (new function): {message}").into())
}

pub(crate) const SHEBANG: Error = Error::fixed("ERR Invalid script shebang");
pub(crate) const WRITING_SCRIPT: Error =
    Error::fixed("ERR Can not execute a script with write flag using *_ro command.");

pub(crate) fn shebang_engine(engine: &str) -> Error {
    Error(format!("ERR Unexpected engine in script shebang: #!{engine}").into())
}

pub(crate) fn shebang_option(option: &str) -> Error {
    Error(format!("ERR Unknown lua shebang option: {option}").into())
}

pub(crate) fn shebang_flag(flag: &str) -> Error {
    Error(format!("ERR Unexpected flag in script shebang: {flag}").into())
}

pub(crate) const WRONG_FIELD: Error = Error::fixed("ERR wrong number or type of arguments");
pub(crate) const WRONG_COUNT: Error = Error::fixed("ERR wrong number of arguments");
pub(crate) const LOG_ARGUMENTS: Error = Error::fixed("ERR redis.log() requires two arguments or more.");
pub(crate) const LOG_LEVEL_TYPE: Error = Error::fixed("ERR First argument must be a number (log level).");
pub(crate) const LOG_LEVEL: Error = Error::fixed("ERR Invalid debug level.");
pub(crate) const SET_REPL_ARGUMENTS: Error = Error::fixed("ERR redis.set_repl() requires two arguments.");
pub(crate) const SET_REPL_FLAGS: Error =
    Error::fixed("ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.");
pub(crate) const SETRESP_ARGUMENTS: Error = Error::fixed("ERR redis.setresp() requires one argument.");
pub(crate) const SETRESP_VERSION: Error = Error::fixed("ERR RESP version must be 2 or 3.");
pub(crate) const ACL_COMMAND: Error = Error::fixed("ERR Invalid command passed to redis.acl_check_cmd()");

pub(crate) const BUSY: Error =
    Error::fixed("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.");
pub(crate) const UNKILLABLE: Error = Error::fixed(
    "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.",
);
