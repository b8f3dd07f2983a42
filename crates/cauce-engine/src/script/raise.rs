//! Errors that functions of the host raise in a script.
//!
//! They travel through Lua as an object of the host, and become what Redis raises (a string, or a table with `err`)
//! where a script can catch them: the prelude sees to that.

use std::fmt;
use std::sync::Arc;

use mlua::{Lua, Result, Table, Value};

/// What a script catches.
#[derive(Debug)]
pub(super) enum Raised {
    /// A table with this text as `err`: the error of a command.
    Reply(Vec<u8>),
    /// A string.
    Text(Vec<u8>),
}

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Reply(text) | Self::Text(text)) = self;
        f.write_str(&String::from_utf8_lossy(text))
    }
}

impl std::error::Error for Raised {}

/// The error of a command.
pub(super) fn reply(text: &[u8]) -> mlua::Error {
    mlua::Error::external(Raised::Reply(text.to_vec()))
}

/// A message, with the place of the script where the running function was called.
pub(super) fn text(lua: &Lua, message: &str) -> mlua::Error {
    let place = lua.inspect_stack(1, |frame| {
        let line = frame.current_line()?;
        frame.source().short_src.map(|source| format!("{source}:{line}: "))
    });
    let place = place.flatten().unwrap_or_default();
    mlua::Error::external(Raised::Text(format!("{place}{message}").into_bytes()))
}

/// A message without a place.
pub(super) fn plain(message: &str) -> mlua::Error {
    mlua::Error::external(Raised::Text(message.as_bytes().to_vec()))
}

/// An argument that a function does not take.
pub(super) fn argument(lua: &Lua, position: usize, function: &str, problem: &str) -> mlua::Error {
    text(lua, &format!("bad argument #{position} to '{function}' ({problem})"))
}

/// What a script catches where `value` was raised.
pub(super) fn caught(lua: &Lua, value: Value) -> Result<Value> {
    let Value::Error(error) = value else { return Ok(value) };
    match raised(&error) {
        Some(Raised::Reply(text)) => Ok(Value::Table(error_table(lua, text)?)),
        Some(Raised::Text(text)) => Ok(Value::String(lua.create_string(text)?)),
        None => Ok(Value::String(lua.create_string(describe(&error))?)),
    }
}

/// The table that stands for an error. Redis marks it as counted already.
pub(super) fn error_table(lua: &Lua, text: &[u8]) -> Result<Table> {
    let table = lua.create_table_with_capacity(0, 2)?;
    table.raw_set("err", lua.create_string(text)?)?;
    table.raw_set("ignore_error_stats_update", true)?;
    Ok(table)
}

fn raised(error: &mlua::Error) -> Option<&Raised> {
    match error {
        mlua::Error::CallbackError { cause, .. } => raised(cause),
        mlua::Error::ExternalError(error) => Arc::as_ref(error).downcast_ref(),
        _ => None,
    }
}

/// The message of an error of the interpreter, in one line.
pub(super) fn describe(error: &mlua::Error) -> String {
    match error {
        mlua::Error::SyntaxError { message, .. }
        | mlua::Error::RuntimeError(message)
        | mlua::Error::MemoryError(message) => message.clone(),
        mlua::Error::CallbackError { cause, .. } => describe(cause),
        mlua::Error::StackError => "stack overflow".to_owned(),
        other => other.to_string(),
    }
}
