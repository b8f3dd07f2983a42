//! The functions that scripts call: `redis.*`, and what stands in for parts of Lua's own libraries.
//!
//! They are functions of the host rather than of Lua, so that `return redis.call(...)` leaves the script's frame in
//! place and errors can name its line.

#![expect(clippy::needless_pass_by_value, reason = "functions of Lua own their arguments")]

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use cauce_resp::Protocol;
use mlua::{Function, Lua, MultiValue, Result, Table, Value};

use super::bridge::Bridge;
use super::libraries::{self, cjson, type_name};
use super::memory::with_room;
use super::words::Words;
use super::{raise, reply, result};
use crate::errors::{Error, script as texts};
use crate::random::Rand48;

/// What a reply costs at most as values of Lua: a table of its own for every integer of one digit.
const BYTES_PER_REPLY_BYTE: usize = 24;

/// What the prelude is made with.
pub(super) fn host(lua: &Lua, bridge: &Rc<RefCell<Bridge>>, cjson: &cjson::Shared) -> Result<Table> {
    let host = lua.create_table()?;
    host.raw_set("handle_error", lua.create_function(handle_error)?)?;
    host.raw_set("caught", lua.create_function(raise::caught)?)?;
    host.raw_set(
        "is_simple_pattern",
        lua.create_function(|_, pattern: mlua::LuaString| Ok(is_simple_pattern(&pattern.as_bytes())))?,
    )?;
    let redis = functions(lua, bridge)?;
    set_constants(&redis)?;
    host.raw_set("redis", redis)?;
    host.raw_set("libraries", libraries::all(lua, cjson)?)?;
    for (name, seed) in [("random", false), ("randomseed", true)] {
        host.raw_set(name, random(lua, bridge, seed)?)?;
    }
    Ok(host)
}

/// `redis.call`, which raises errors, or `redis.pcall`, which returns them.
fn command(lua: &Lua, bridge: &Rc<RefCell<Bridge>>, raises: bool) -> Result<Function> {
    let bridge = Rc::clone(bridge);
    lua.create_function(move |lua, arguments: MultiValue| {
        // In use already only if a finaliser of the script calls while a command runs.
        let Ok(mut inner) = bridge.try_borrow_mut() else {
            return Err(raise::reply(texts::NESTED.text().as_bytes()));
        };
        run_command(&mut inner, &arguments);
        match inner.reply.strip_prefix(b"-") {
            Some(error) if raises => Err(raise::reply(error.strip_suffix(b"\r\n").unwrap_or(error))),
            _ => {
                let bytes = inner.reply.len() * BYTES_PER_REPLY_BYTE;
                with_room(lua, bytes, || Ok(reply::read(lua, &inner.reply)?.0))
            }
        }
    })
}

/// Leaves the reply, or an error, in the bridge.
fn run_command(bridge: &mut Bridge, arguments: &MultiValue) {
    if arguments.is_empty() {
        return bridge.refuse(&texts::NO_ARGUMENTS);
    }
    let mut words = std::mem::take(&mut bridge.words);
    if words.fill(arguments) {
        words.with(|args| bridge.run(args));
    } else {
        bridge.refuse(&texts::ARGUMENT_TYPE);
    }
    bridge.words = words;
}

/// An error as the table that Redis makes of it, with the place of the script where it happened.
fn handle_error(lua: &Lua, error: Value) -> Result<Table> {
    let table = match raise::caught(lua, error)? {
        Value::Table(table) => table,
        other => {
            let text = match lua.coerce_string(other.clone())? {
                Some(text) => text.as_bytes().to_vec(),
                None => other.to_string()?.into_bytes(),
            };
            let table = lua.create_table_with_capacity(0, 3)?;
            table.raw_set("err", lua.create_string([b"ERR ", text.as_slice()].concat())?)?;
            table
        }
    };
    for level in 1.. {
        let frame = lua.inspect_stack(level, |frame| {
            let source = frame.source();
            let hidden =
                source.what == "C" || matches!(source.source.as_deref(), Some("=sandbox" | "=(tail call)"));
            (!hidden).then(|| (source.source.map(Cow::into_owned), frame.current_line()))
        });
        match frame {
            Some(None) => {}
            None => break,
            Some(Some((source, line))) => {
                table.raw_set("source", source)?;
                table.raw_set("line", line.unwrap_or_default())?;
                break;
            }
        }
    }
    Ok(table)
}

fn error_reply(lua: &Lua, arguments: MultiValue) -> Result<Table> {
    let text = single_text(&arguments).map(|text| {
        let text = result::trimmed(&text).to_vec();
        if text.contains(&b' ') { text } else { [b"ERR ", text.as_slice()].concat() }
    });
    let table = lua.create_table_with_capacity(0, 1)?;
    let text = text.unwrap_or_else(|| texts::WRONG_FIELD.text().as_bytes().to_vec());
    table.raw_set("err", lua.create_string(text)?)?;
    Ok(table)
}

fn status_reply(lua: &Lua, arguments: MultiValue) -> Result<Table> {
    let table = lua.create_table_with_capacity(0, 1)?;
    match single_text(&arguments) {
        Some(text) => table.raw_set("ok", lua.create_string(&*text)?)?,
        None => table.raw_set("err", texts::WRONG_FIELD.text())?,
    }
    Ok(table)
}

fn single_text(arguments: &MultiValue) -> Option<mlua::BorrowedBytes> {
    match (arguments.len(), arguments.front()) {
        (1, Some(Value::String(text))) => Some(text.as_bytes()),
        _ => None,
    }
}

/// Whether a pattern makes the matcher recurse seldom enough for the stack: it does so for these characters.
fn is_simple_pattern(pattern: &[u8]) -> bool {
    const RECURSIONS_MAX: usize = 500;
    pattern.iter().filter(|byte| b"?*+-()".contains(byte)).count() <= RECURSIONS_MAX
}

fn set_constants(redis: &Table) -> Result<()> {
    for (name, value) in [
        ("LOG_DEBUG", 0),
        ("LOG_VERBOSE", 1),
        ("LOG_NOTICE", 2),
        ("LOG_WARNING", 3),
        ("REPL_NONE", 0),
        ("REPL_AOF", 1),
        ("REPL_SLAVE", 2),
        ("REPL_REPLICA", 2),
        ("REPL_ALL", 3),
        ("REDIS_VERSION_NUM", crate::commands::REDIS_VERSION_NUMBER),
    ] {
        redis.raw_set(name, value)?;
    }
    redis.raw_set("REDIS_VERSION", crate::commands::REDIS_VERSION)
}

/// What `redis` holds beside the constants.
fn functions(lua: &Lua, bridge: &Rc<RefCell<Bridge>>) -> Result<Table> {
    let functions = lua.create_table()?;
    functions.raw_set("call", command(lua, bridge, true)?)?;
    functions.raw_set("pcall", command(lua, bridge, false)?)?;
    functions.raw_set("error_reply", lua.create_function(error_reply)?)?;
    functions.raw_set("status_reply", lua.create_function(status_reply)?)?;
    functions.raw_set("sha1hex", lua.create_function(sha1hex)?)?;
    functions.raw_set("log", lua.create_function(log)?)?;
    functions.raw_set("set_repl", lua.create_function(set_repl)?)?;
    functions.raw_set("replicate_commands", lua.create_function(|_, _: MultiValue| Ok(true))?)?;
    functions.raw_set("breakpoint", lua.create_function(|_, _: MultiValue| Ok(false))?)?;
    functions.raw_set("debug", lua.create_function(|_, _: MultiValue| Ok(()))?)?;
    let own = Rc::clone(bridge);
    functions.raw_set("setresp", lua.create_function(move |lua, args| setresp(lua, &own, &args))?)?;
    let own = Rc::clone(bridge);
    functions.raw_set("acl_check_cmd", lua.create_function(move |_, args| acl_check_cmd(&own, &args))?)?;
    Ok(functions)
}

fn refused<T>(error: &Error) -> Result<T> {
    Err(raise::reply(error.text().as_bytes()))
}

fn sha1hex(lua: &Lua, arguments: MultiValue) -> Result<mlua::LuaString> {
    let Some(value) = arguments.front().filter(|_| arguments.len() == 1) else {
        return refused(&texts::WRONG_COUNT);
    };
    let text = lua.coerce_string(value.clone())?;
    let sha = super::Sha::of(text.as_ref().map(mlua::LuaString::as_bytes).as_deref().unwrap_or_default());
    lua.create_string(sha.as_str())
}

/// There is no log to write to: levels and arguments are checked all the same.
fn log(lua: &Lua, arguments: MultiValue) -> Result<()> {
    if arguments.len() < 2 {
        return refused(&texts::LOG_ARGUMENTS);
    }
    match lua.coerce_number(first(&arguments))? {
        None => refused(&texts::LOG_LEVEL_TYPE),
        Some(level) if (0.0..4.0).contains(&level.trunc()) => Ok(()),
        Some(_) => refused(&texts::LOG_LEVEL),
    }
}

/// Effects are recorded, never the script: there is nothing to choose.
fn set_repl(lua: &Lua, arguments: MultiValue) -> Result<()> {
    if arguments.len() != 1 {
        return refused(&texts::SET_REPL_ARGUMENTS);
    }
    let flags = lua.coerce_number(first(&arguments))?.unwrap_or_default();
    if (0.0..4.0).contains(&flags.trunc()) { Ok(()) } else { refused(&texts::SET_REPL_FLAGS) }
}

fn setresp(lua: &Lua, bridge: &RefCell<Bridge>, arguments: &MultiValue) -> Result<()> {
    if arguments.len() != 1 {
        return refused(&texts::SETRESP_ARGUMENTS);
    }
    let version = lua.coerce_number(first(arguments))?.unwrap_or_default();
    bridge.borrow_mut().protocol = match version.trunc() as i64 {
        2 => Protocol::Resp2,
        3 => Protocol::Resp3,
        _ => return refused(&texts::SETRESP_VERSION),
    };
    Ok(())
}

fn acl_check_cmd(bridge: &RefCell<Bridge>, arguments: &MultiValue) -> Result<bool> {
    if arguments.is_empty() {
        return refused(&texts::NO_ARGUMENTS);
    }
    let mut words = Words::default();
    if !words.fill(arguments) {
        return refused(&texts::ARGUMENT_TYPE);
    }
    let mut allowed = None;
    words.with(|args| allowed = bridge.borrow().may_run(args));
    allowed.map_or_else(|| refused(&texts::ACL_COMMAND), Ok)
}

fn first(arguments: &MultiValue) -> Value {
    arguments.front().cloned().unwrap_or(Value::Nil)
}

/// `math.random` and `math.randomseed`: the same numbers in every run of a script.
fn random(lua: &Lua, bridge: &Rc<RefCell<Bridge>>, seeds: bool) -> Result<Function> {
    let bridge = Rc::clone(bridge);
    let name = if seeds { "randomseed" } else { "random" };
    lua.create_function(move |lua, arguments: MultiValue| {
        let mut bounds = Vec::new();
        for (index, value) in arguments.iter().take(2).enumerate() {
            let Some(bound) = lua.coerce_number(value.clone())? else {
                let problem = format!("number expected, got {}", type_name(value));
                return Err(raise::argument(lua, index + 1, name, &problem));
            };
            bounds.push(bound.trunc());
        }
        let mut inner = bridge.borrow_mut();
        if seeds {
            inner.random = Rand48::new(bounds.first().copied().unwrap_or_default() as i64 as u32);
            return Ok(Value::Nil);
        }
        let fraction = f64::from(inner.random.next() % Rand48::MAX) / f64::from(Rand48::MAX);
        let number = match (arguments.len(), bounds.as_slice()) {
            (0, _) => fraction,
            (1, &[upper]) if upper >= 1.0 => (fraction * upper).floor() + 1.0,
            (2, &[lower, upper]) if lower <= upper => (fraction * (upper - lower + 1.0)).floor() + lower,
            (given @ (1 | 2), _) => return Err(raise::argument(lua, given, name, "interval is empty")),
            _ => return Err(raise::text(lua, "wrong number of arguments")),
        };
        Ok(Value::Number(number))
    })
}
