//! String values.

use super::{arg, from, integer, is};
use crate::call::{Call, Flow};
use crate::command::{CommandSpec, Flags, Keys};
use crate::errors::{self, Error};
use crate::keyspace::{Object, Slot};
use crate::notify::NotifyClasses;
use crate::records::Effect;
use crate::time::Timestamp;

pub(crate) const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "get",
        arity: 2,
        flags: Flags::READONLY.and(Flags::FAST),
        keys: Keys::FIRST,
        group: "string",
        since: "1.0.0",
        summary: "Returns the string value of a key.",
        complexity: "O(1)",
        run: get,
        subcommands: &[],
    },
    CommandSpec {
        name: "set",
        arity: -3,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        keys: Keys::FIRST,
        group: "string",
        since: "1.0.0",
        summary: "Sets the string value of a key, ignoring its type. The key is created if it doesn't exist.",
        complexity: "O(1)",
        run: set,
        subcommands: &[],
    },
    CommandSpec {
        name: "setnx",
        arity: 3,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        keys: Keys::FIRST,
        group: "string",
        since: "1.0.0",
        summary: "Sets the string value of a key only when the key doesn't exist.",
        complexity: "O(1)",
        run: setnx,
        subcommands: &[],
    },
    CommandSpec {
        name: "strlen",
        arity: 2,
        flags: Flags::READONLY.and(Flags::FAST),
        keys: Keys::FIRST,
        group: "string",
        since: "2.2.0",
        summary: "Returns the length of a string value.",
        complexity: "O(1)",
        run: strlen,
        subcommands: &[],
    },
    CommandSpec {
        name: "incr",
        arity: 2,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        keys: Keys::FIRST,
        group: "string",
        since: "1.0.0",
        summary: "Increments the integer value of a key by one. Uses 0 as initial value if the key doesn't exist.",
        complexity: "O(1)",
        run: |call, args| increment(call, arg(args, 1), 1),
        subcommands: &[],
    },
    CommandSpec {
        name: "incrby",
        arity: 3,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        keys: Keys::FIRST,
        group: "string",
        since: "1.0.0",
        summary: "Increments the integer value of a key by a number. Uses 0 as initial value if the key doesn't exist.",
        complexity: "O(1)",
        run: |call, args| increment(call, arg(args, 1), integer(arg(args, 2))?),
        subcommands: &[],
    },
    CommandSpec {
        name: "mget",
        arity: -2,
        flags: Flags::READONLY.and(Flags::FAST),
        keys: Keys::ALL,
        group: "string",
        since: "1.0.0",
        summary: "Atomically returns the string values of one or more keys.",
        complexity: "O(N) where N is the number of keys to retrieve.",
        run: mget,
        subcommands: &[],
    },
    CommandSpec {
        name: "mset",
        arity: -3,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        keys: Keys::Range { first: 1, last: -1, step: 2 },
        group: "string",
        since: "1.0.1",
        summary: "Atomically creates or modifies the string values of one or more keys.",
        complexity: "O(N) where N is the number of keys to set.",
        run: mset,
        subcommands: &[],
    },
];

fn get(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    match call.find(arg(args, 1)) {
        None => call.reply.null(),
        Some(slot) => reply_string(call, slot)?,
    }
    Ok(Flow::Done)
}

fn reply_string(call: &mut Call<'_>, slot: Slot) -> Result<(), Error> {
    match &call.core.database(call.db).entry(slot).object {
        Object::String(value) => call.reply.bulk(value),
        _ => return Err(errors::WRONG_TYPE),
    }
    Ok(())
}

/// When an existing or missing key keeps `SET` from setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Always,
    IfMissing,
    IfPresent,
}

/// What `SET` does with the expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NewExpiry {
    Clear,
    Keep,
    At(Timestamp),
}

struct SetOptions {
    condition: Condition,
    expiry: NewExpiry,
    get: bool,
}

fn set(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let options = parse_set_options(from(args, 3), call.now)?;
    let (key, value) = (arg(args, 1), arg(args, 2));
    let existing = call.find(key);
    if options.get {
        match existing {
            Some(slot) => reply_string(call, slot)?,
            None => call.reply.null(),
        }
    }
    let refused = match options.condition {
        Condition::Always => false,
        Condition::IfMissing => existing.is_some(),
        Condition::IfPresent => existing.is_none(),
    };
    if refused {
        if !options.get {
            call.reply.null();
        }
        return Ok(Flow::Done);
    }
    let expires_at = match options.expiry {
        NewExpiry::Clear => None,
        NewExpiry::Keep => existing.and_then(|slot| call.database().entry(slot).expires_at),
        NewExpiry::At(at) => Some(at),
    };
    store(call, key, existing, value, expires_at);
    if matches!(options.expiry, NewExpiry::At(_)) {
        call.notify(NotifyClasses::GENERIC, "expire", key);
    }
    if !options.get {
        call.reply.ok();
    }
    Ok(Flow::Done)
}

/// Options may be repeated, but not contradict each other; numbers are read once the whole is well formed.
fn parse_set_options(mut options: &[&[u8]], now: Timestamp) -> Result<SetOptions, Error> {
    let mut parsed = SetOptions { condition: Condition::Always, expiry: NewExpiry::Clear, get: false };
    let mut time: Option<(&[u8], &[u8])> = None;
    while let [option, rest @ ..] = options {
        options = rest;
        if is(option, "NX") && parsed.condition != Condition::IfPresent {
            parsed.condition = Condition::IfMissing;
        } else if is(option, "XX") && parsed.condition != Condition::IfMissing {
            parsed.condition = Condition::IfPresent;
        } else if is(option, "GET") {
            parsed.get = true;
        } else if is(option, "KEEPTTL") && time.is_none() {
            parsed.expiry = NewExpiry::Keep;
        } else if let [value, rest @ ..] = options
            && ["EX", "PX", "EXAT", "PXAT"].iter().any(|unit| is(option, unit))
            && parsed.expiry != NewExpiry::Keep
            && time.is_none_or(|(unit, _)| unit.eq_ignore_ascii_case(option))
        {
            options = rest;
            time = Some((option, value));
        } else {
            return Err(errors::SYNTAX);
        }
    }
    if let Some((unit, value)) = time {
        parsed.expiry = NewExpiry::At(parse_expiry(unit, value, now)?);
    }
    Ok(parsed)
}

/// `EX s`, `PX ms`, `EXAT s`, `PXAT ms`.
fn parse_expiry(option: &[u8], value: &[u8], now: Timestamp) -> Result<Timestamp, Error> {
    let (unit_millis, relative) = match () {
        () if is(option, "EX") => (1000, true),
        () if is(option, "PX") => (1, true),
        () if is(option, "EXAT") => (1000, false),
        () if is(option, "PXAT") => (1, false),
        () => return Err(errors::SYNTAX),
    };
    let invalid = || errors::invalid_expire("set");
    let number = integer(value)?;
    let millis = u64::try_from(number).ok().filter(|&number| number > 0).ok_or_else(invalid)?;
    let millis = millis.checked_mul(unit_millis).filter(|&ms| ms <= i64::MAX as u64).ok_or_else(invalid)?;
    let at = if relative { now.millis().checked_add(millis).ok_or_else(invalid)? } else { millis };
    if at > i64::MAX as u64 { Err(invalid()) } else { Ok(Timestamp::from_millis(at)) }
}

/// Puts a string in place of whatever the key held.
fn store(
    call: &mut Call<'_>,
    key: &[u8],
    existing: Option<Slot>,
    value: &[u8],
    expires_at: Option<Timestamp>,
) -> Slot {
    let slot = match existing {
        Some(slot) => {
            match call.object_mut(slot) {
                Object::String(old) => {
                    old.clear();
                    old.extend_from_slice(value);
                }
                other => *other = Object::String(value.to_vec()),
            }
            slot
        }
        None => call.insert(key, Object::String(value.to_vec())),
    };
    call.database().set_expiry(slot, expires_at);
    call.record(slot, &Effect::SetString { value, expires_at });
    call.notify(NotifyClasses::STRING, "set", key);
    slot
}

fn setnx(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let key = arg(args, 1);
    let missing = call.find(key).is_none();
    if missing {
        store(call, key, None, arg(args, 2), None);
    }
    call.reply.integer(i64::from(missing));
    Ok(Flow::Done)
}

fn strlen(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let len = match call.find(arg(args, 1)) {
        None => 0,
        Some(slot) => match call.object(slot) {
            Object::String(value) => value.len(),
            _ => return Err(errors::WRONG_TYPE),
        },
    };
    call.reply.count(len);
    Ok(Flow::Done)
}

fn increment(call: &mut Call<'_>, key: &[u8], by: i64) -> Result<Flow, Error> {
    let existing = call.find(key);
    let before = match existing.map(|slot| call.object(slot)) {
        None => 0,
        Some(Object::String(value)) => integer(value)?,
        Some(_) => return Err(errors::WRONG_TYPE),
    };
    let value = before.checked_add(by).ok_or(errors::INCREMENT_OVERFLOW)?;
    let expires_at = existing.and_then(|slot| call.database().entry(slot).expires_at);
    let text = value.to_string().into_bytes();
    let slot = match existing {
        Some(slot) => {
            *call.object_mut(slot) = Object::String(text.clone());
            slot
        }
        None => call.insert(key, Object::String(text.clone())),
    };
    call.record(slot, &Effect::SetString { value: &text, expires_at });
    call.notify(NotifyClasses::STRING, "incrby", key);
    call.reply.integer(value);
    Ok(Flow::Done)
}

fn mget(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let keys = from(args, 1);
    call.reply.array(keys.len());
    for key in keys {
        // Another type answers null here, not an error.
        match call.find(key) {
            Some(slot) if matches!(call.object(slot), Object::String(_)) => reply_string(call, slot)?,
            _ => call.reply.null(),
        }
    }
    Ok(Flow::Done)
}

fn mset(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let pairs = from(args, 1);
    if !pairs.len().is_multiple_of(2) {
        return Err(errors::arity("mset"));
    }
    for pair in pairs.chunks_exact(2) {
        let existing = call.find(arg(pair, 0));
        store(call, arg(pair, 0), existing, arg(pair, 1), None);
    }
    call.reply.ok();
    Ok(Flow::Done)
}
