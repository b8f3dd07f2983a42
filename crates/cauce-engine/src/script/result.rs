//! What a script returns, as a reply.

use cauce_resp::{Encoder, Protocol};
use mlua::{LuaString, Result, Table, Value};

use crate::errors::{Error, script as texts};

/// Tables inside tables, at most; deeper ones are an error in their place, as Redis has it
/// (there from 7995 on; each takes one of the 8000 places that Lua has for handles).
const DEPTH_MAX: usize = 7900;

/// A table that is being written.
enum Frame {
    /// The elements up to the first nil; how many were announced, and where.
    Array { table: Table, next: usize, announced: usize, mark: usize },
    /// What is left of a map's keys and values, or of a set's members.
    Items(std::vec::IntoIter<Value>),
}

/// Writes a script's result. Written with a stack of its own: scripts may nest tables deeper than threads have room.
/// `protocol` is the one that the script chose: in RESP3 its booleans are booleans. `is_sequence` says that the value
/// is a table with nothing but elements.
pub(super) fn write(
    value: Value,
    is_sequence: bool,
    protocol: Protocol,
    reply: &mut Encoder<'_>,
) -> Result<()> {
    if let (Value::Table(table), true) = (&value, is_sequence)
        && write_flat(table, protocol, reply)?
    {
        return Ok(());
    }
    let mut frames: Vec<Frame> = Vec::new();
    let mut current = Some(value);
    loop {
        if let Some(value) = current.take() {
            if frames.len() > DEPTH_MAX {
                reply.error(texts::STACK_LIMIT.text().as_bytes());
            } else if let Some(frame) = write_one(value, protocol, reply)? {
                frames.push(frame);
            }
        }
        let Some(frame) = frames.last_mut() else { return Ok(()) };
        current = frame.next(reply)?;
        if current.is_none() {
            frames.pop();
        }
    }
}

/// Writes a sequence of plain values; false, and nothing written, if there is a table in it.
fn write_flat(table: &Table, protocol: Protocol, reply: &mut Encoder<'_>) -> Result<bool> {
    let (mark, announced) = (reply.len(), table.raw_len());
    reply.array(announced);
    let mut written = 0;
    for index in 1..=announced {
        match table.raw_get(index)? {
            Value::Nil => break,
            Value::Table(_) => {
                reply.truncate(mark);
                return Ok(false);
            }
            value => {
                write_one(value, protocol, reply)?;
                written += 1;
            }
        }
    }
    if written != announced {
        reply.correct_array(mark, announced, written);
    }
    Ok(true)
}

/// Writes a value, or the header of one that has parts.
fn write_one(value: Value, protocol: Protocol, reply: &mut Encoder<'_>) -> Result<Option<Frame>> {
    match value {
        Value::String(text) => reply.bulk(&text.as_bytes()),
        Value::Boolean(value) if protocol == Protocol::Resp3 => reply.boolean(value),
        Value::Boolean(true) => reply.integer(1),
        Value::Integer(number) => reply.integer(number),
        Value::Number(number) => reply.integer(truncated(number)),
        Value::Table(table) => return write_table(table, reply),
        _ => reply.null(),
    }
    Ok(None)
}

/// As C converts a double to a `long long` on the machines that Redis runs on.
fn truncated(number: f64) -> i64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if (-LIMIT..LIMIT).contains(&number) { number as i64 } else { i64::MIN }
}

fn write_table(table: Table, reply: &mut Encoder<'_>) -> Result<Option<Frame>> {
    if let Value::String(text) = table.raw_get("err")? {
        reply.error(trimmed(&text.as_bytes()));
        return Ok(None);
    }
    if let Value::String(text) = table.raw_get("ok")? {
        write_status(&text, reply);
        return Ok(None);
    }
    match table.raw_get("double")? {
        Value::Integer(number) => {
            reply.double(number as f64);
            return Ok(None);
        }
        Value::Number(number) => {
            reply.double(number);
            return Ok(None);
        }
        _ => {}
    }
    if let Value::Table(map) = table.raw_get("map")? {
        let pairs = map.pairs::<Value, Value>().collect::<Result<Vec<_>>>()?;
        reply.map(pairs.len());
        let items: Vec<_> = pairs.into_iter().flat_map(|(key, value)| [key, value]).collect();
        return Ok(Some(Frame::Items(items.into_iter())));
    }
    if let Value::Table(set) = table.raw_get("set")? {
        let members = set.pairs::<Value, Value>().map(|pair| pair.map(|(member, _)| member));
        let members = members.collect::<Result<Vec<_>>>()?;
        reply.set(members.len());
        return Ok(Some(Frame::Items(members.into_iter())));
    }
    if let Value::String(digits) = table.raw_get("big_number")? {
        reply.big_number(&digits.as_bytes());
        return Ok(None);
    }
    if let Value::Table(parts) = table.raw_get("verbatim_string")?
        && let Value::String(format) = parts.raw_get("format")?
        && let Value::String(text) = parts.raw_get("string")?
    {
        reply.verbatim_as(&format.as_bytes(), &text.as_bytes());
        return Ok(None);
    }
    let announced = table.raw_len();
    let mark = reply.len();
    reply.array(announced);
    Ok(Some(Frame::Array { table, next: 1, announced, mark }))
}

impl Frame {
    /// The next part, if there is one.
    fn next(&mut self, reply: &mut Encoder<'_>) -> Result<Option<Value>> {
        match self {
            Self::Items(items) => Ok(items.next()),
            Self::Array { table, next, announced, mark } => {
                let value: Value = table.raw_get(*next)?;
                if value.is_nil() {
                    if *next - 1 != *announced {
                        reply.correct_array(*mark, *announced, *next - 1);
                    }
                    return Ok(None);
                }
                *next += 1;
                Ok(Some(value))
            }
        }
    }
}

/// A status of any bytes; line breaks in it become spaces.
fn write_status(text: &LuaString, reply: &mut Encoder<'_>) {
    let bytes = text.as_bytes();
    let line: String = String::from_utf8_lossy(&bytes).replace(['\r', '\n'], " ");
    reply.status(&line);
}

/// An error's text without the `-` that it may begin with on the wire, and without line breaks at its end.
pub(super) fn trimmed(text: &[u8]) -> &[u8] {
    let mut text = text.strip_prefix(b"-").unwrap_or(text);
    while let [rest @ .., b'\r' | b'\n'] = text {
        text = rest;
    }
    text
}

/// The error that ends a script.
pub(super) fn error(value: &Value, sha: &str) -> Error {
    match value {
        Value::Table(table) => {
            error_of_table(table, sha).unwrap_or_else(|_| texts::plain("ERR unknown error"))
        }
        Value::String(text) => texts::plain(&format!("ERR {}", text.to_string_lossy())),
        _ => texts::plain("ERR unknown error"),
    }
}

fn error_of_table(table: &Table, sha: &str) -> Result<Error> {
    let text = match table.raw_get("err")? {
        Value::String(text) => String::from_utf8_lossy(trimmed(&text.as_bytes())).into_owned(),
        _ => "ERR unknown error".to_owned(),
    };
    let source: Value = table.raw_get("source")?;
    let line: Value = table.raw_get("line")?;
    Ok(match (source, line) {
        (Value::String(source), Value::Integer(line)) => {
            texts::at(&text, sha, &source.to_string_lossy(), usize::try_from(line).unwrap_or_default())
        }
        _ => texts::plain(&text),
    })
}
