//! Whole values set: SET with all its options, and the older commands that are cases of it.

use super::read::reply_to;
use super::reply_string;
use crate::call::{Call, Flow};
use crate::commands::{arg, from, integer, is};
use crate::errors::{self, Error};
use crate::keyspace::{Object, Slot};
use crate::notify::NotifyClasses;
use crate::records::Effect;
use crate::time::Timestamp;

/// The options that are followed by a time.
pub(super) const TIME_OPTIONS: [&str; 4] = ["EX", "PX", "EXAT", "PXAT"];

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

pub(super) fn set(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
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
            && TIME_OPTIONS.iter().any(|unit| is(option, unit))
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
        parsed.expiry = NewExpiry::At(parse_expiry(unit, value, now, "set")?);
    }
    Ok(parsed)
}

/// `EX s`, `PX ms`, `EXAT s`, `PXAT ms`.
pub(super) fn parse_expiry(
    option: &[u8],
    value: &[u8],
    now: Timestamp,
    command: &str,
) -> Result<Timestamp, Error> {
    let (unit_millis, relative) = match () {
        () if is(option, "EX") => (1000, true),
        () if is(option, "PX") => (1, true),
        () if is(option, "EXAT") => (1000, false),
        () if is(option, "PXAT") => (1, false),
        () => return Err(errors::SYNTAX),
    };
    let invalid = || errors::invalid_expire(command);
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
) {
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
}

pub(super) fn setnx(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let key = arg(args, 1);
    let missing = call.find(key).is_none();
    if missing {
        store(call, key, None, arg(args, 2), None);
    }
    call.reply.integer(i64::from(missing));
    Ok(Flow::Done)
}

/// SETEX and PSETEX: `key time value`.
pub(super) fn set_expiring(
    call: &mut Call<'_>,
    args: &[&[u8]],
    unit: &[u8],
    command: &str,
) -> Result<Flow, Error> {
    let key = arg(args, 1);
    let at = parse_expiry(unit, arg(args, 2), call.now, command)?;
    let existing = call.find(key);
    store(call, key, existing, arg(args, 3), Some(at));
    call.notify(NotifyClasses::GENERIC, "expire", key);
    call.reply.ok();
    Ok(Flow::Done)
}

pub(super) fn getset(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let key = arg(args, 1);
    let existing = reply_to(call, key)?;
    store(call, key, existing, arg(args, 2), None);
    Ok(Flow::Done)
}

pub(super) fn mset(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let pairs = pairs(args, "mset")?;
    store_all(call, pairs);
    call.reply.ok();
    Ok(Flow::Done)
}

pub(super) fn msetnx(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let pairs = pairs(args, "msetnx")?;
    let mut all_missing = true;
    for [key, _] in pairs {
        all_missing &= call.find(key).is_none();
    }
    if all_missing {
        store_all(call, pairs);
    }
    call.reply.integer(i64::from(all_missing));
    Ok(Flow::Done)
}

/// Keys and values in turn, behind the command's name.
fn pairs<'s, 'a>(args: &'s [&'a [u8]], command: &str) -> Result<&'s [[&'a [u8]; 2]], Error> {
    let (pairs, rest) = from(args, 1).as_chunks::<2>();
    if rest.is_empty() { Ok(pairs) } else { Err(errors::arity(command)) }
}

fn store_all(call: &mut Call<'_>, pairs: &[[&[u8]; 2]]) {
    for &[key, value] in pairs {
        let existing = call.find(key);
        store(call, key, existing, value, None);
    }
}
