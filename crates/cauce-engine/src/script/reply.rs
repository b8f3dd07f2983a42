//! Replies of commands, from the bytes on the wire straight to what a script sees.

use mlua::{Lua, Result, Value};

use super::raise::error_table;

/// Reads one reply, which is whole; what is left behind it.
pub(super) fn read<'r>(lua: &Lua, bytes: &'r [u8]) -> Result<(Value, &'r [u8])> {
    let (kind, line, rest) = header(bytes);
    let value = match kind {
        b'$' => return read_bulk(lua, line, rest),
        b':' => Value::Number(number(line)),
        b'*' => return read_array(lua, line, rest),
        b'+' => single(lua, "ok", lua.create_string(line)?)?,
        b'-' => Value::Table(error_table(lua, line)?),
        b'_' => Value::Nil,
        b'#' => Value::Boolean(line == b"t"),
        b',' => single(lua, "double", double(line))?,
        b'(' => single(lua, "big_number", lua.create_string(line)?)?,
        b'%' => return read_map(lua, line, rest),
        b'~' => return read_set(lua, line, rest),
        b'=' => return read_verbatim(lua, line, rest),
        _ => unreachable!("the engine writes no other kind of reply"),
    };
    Ok((value, rest))
}

fn single(lua: &Lua, name: &str, value: impl mlua::IntoLua) -> Result<Value> {
    let table = lua.create_table_with_capacity(0, 1)?;
    table.raw_set(name, value)?;
    Ok(Value::Table(table))
}

fn read_bulk<'r>(lua: &Lua, line: &[u8], rest: &'r [u8]) -> Result<(Value, &'r [u8])> {
    // A null is false.
    let Some(len) = length(line) else { return Ok((Value::Boolean(false), rest)) };
    let (text, rest) = split(rest, len);
    Ok((Value::String(lua.create_string(text)?), rest))
}

fn read_array<'r>(lua: &Lua, line: &[u8], mut rest: &'r [u8]) -> Result<(Value, &'r [u8])> {
    let Some(len) = length(line) else { return Ok((Value::Boolean(false), rest)) };
    let table = lua.create_table_with_capacity(len, 0)?;
    for index in 1..=len {
        rest = match plain_text(rest) {
            // Text goes in without a handle in between.
            Some((text, rest)) => {
                table.raw_set(index, text)?;
                rest
            }
            None => {
                let (value, rest) = read(lua, rest)?;
                table.raw_set(index, value)?;
                rest
            }
        };
    }
    Ok((Value::Table(table), rest))
}

/// A bulk string that is valid UTF-8.
fn plain_text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (kind, line, rest) = header(bytes);
    let len = if kind == b'$' { length(line)? } else { return None };
    let (text, rest) = split(rest, len);
    Some((std::str::from_utf8(text).ok()?, rest))
}

fn read_map<'r>(lua: &Lua, line: &[u8], mut rest: &'r [u8]) -> Result<(Value, &'r [u8])> {
    let len = length(line).unwrap_or_default();
    let map = lua.create_table_with_capacity(0, len)?;
    for _ in 0..len {
        let (key, behind_key) = read(lua, rest)?;
        let (value, behind) = read(lua, behind_key)?;
        map.raw_set(key, value)?;
        rest = behind;
    }
    Ok((single(lua, "map", map)?, rest))
}

fn read_set<'r>(lua: &Lua, line: &[u8], mut rest: &'r [u8]) -> Result<(Value, &'r [u8])> {
    let len = length(line).unwrap_or_default();
    let set = lua.create_table_with_capacity(0, len)?;
    for _ in 0..len {
        let (member, behind) = read(lua, rest)?;
        set.raw_set(member, true)?;
        rest = behind;
    }
    Ok((single(lua, "set", set)?, rest))
}

fn read_verbatim<'r>(lua: &Lua, line: &[u8], rest: &'r [u8]) -> Result<(Value, &'r [u8])> {
    let (text, rest) = split(rest, length(line).unwrap_or_default());
    let (format, text) = text.split_at(text.len().min(4));
    let parts = lua.create_table_with_capacity(0, 2)?;
    parts.raw_set("format", lua.create_string(format.get(..3).unwrap_or_default())?)?;
    parts.raw_set("string", lua.create_string(text)?)?;
    Ok((single(lua, "verbatim_string", parts)?, rest))
}

/// The kind of a reply, the rest of its first line, and what follows that line.
fn header(bytes: &[u8]) -> (u8, &[u8], &[u8]) {
    // Most headers are four bytes long: a search by vectors would cost more than it saves.
    let end = bytes.iter().position(|&byte| byte == b'\r').expect("the engine ends its lines");
    let kind = bytes.first().copied().expect("a line has a kind");
    (kind, bytes.get(1..end).unwrap_or_default(), bytes.get(end + 2..).unwrap_or_default())
}

fn split(bytes: &[u8], len: usize) -> (&[u8], &[u8]) {
    let text = bytes.get(..len).expect("the engine writes whole replies");
    (text, bytes.get(len + 2..).unwrap_or_default())
}

/// A length; `None` for a null.
fn length(line: &[u8]) -> Option<usize> {
    if let [digit @ b'0'..=b'9'] = line {
        return Some(usize::from(digit - b'0'));
    }
    usize::try_from(cauce_resp::parse_i64(line).expect("the engine writes lengths as numbers")).ok()
}

fn number(line: &[u8]) -> f64 {
    cauce_resp::parse_i64(line).expect("the engine writes integers as numbers") as f64
}

fn double(line: &[u8]) -> f64 {
    std::str::from_utf8(line).ok().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)
}
