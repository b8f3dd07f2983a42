//! Whole values: GET and what it does besides in GETEX and GETDEL, MGET, STRLEN.

use super::write::{TIME_OPTIONS, parse_expiry};
use super::{find_string, look, reply_string};
use crate::call::{Call, Flow};
use crate::commands::{arg, from, is};
use crate::errors::{self, Error};
use crate::keyspace::{Object, Slot};
use crate::notify::NotifyClasses;
use crate::records::Effect;

pub(super) fn get(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    reply_to(call, arg(args, 1))?;
    Ok(Flow::Done)
}

/// Replies with the value of a key, or null if it is missing; returns where it is.
pub(super) fn reply_to(call: &mut Call<'_>, key: &[u8]) -> Result<Option<Slot>, Error> {
    let slot = call.find(key);
    match slot {
        None => call.reply.null(),
        Some(slot) => reply_string(call, slot)?,
    }
    Ok(slot)
}

pub(super) fn getdel(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let key = arg(args, 1);
    if let Some(slot) = reply_to(call, key)? {
        call.remove(slot);
        call.notify(NotifyClasses::GENERIC, "del", key);
    }
    Ok(Flow::Done)
}

/// `GETEX key [EX seconds | PX milliseconds | EXAT unix-seconds | PXAT unix-milliseconds | PERSIST]`.
pub(super) fn getex(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let (mut persist, mut time, mut options) = (false, None::<(&[u8], &[u8])>, from(args, 2));
    while let [option, rest @ ..] = options {
        options = match rest {
            rest if is(option, "PERSIST") && time.is_none() => {
                persist = true;
                rest
            }
            [value, rest @ ..]
                if TIME_OPTIONS.iter().any(|unit| is(option, unit))
                    && !persist
                    && time.is_none_or(|(unit, _)| unit.eq_ignore_ascii_case(option)) =>
            {
                time = Some((option, value));
                rest
            }
            _ => return Err(errors::SYNTAX),
        };
    }
    let key = arg(args, 1);
    let Some(slot) = find_string(call, key)? else {
        call.reply.null();
        return Ok(Flow::Done);
    };
    let expires_at = time.map(|(unit, value)| parse_expiry(unit, value, call.now, "getex")).transpose()?;
    reply_string(call, slot)?;
    match expires_at {
        Some(at) if at <= call.now => {
            call.remove(slot);
            call.notify(NotifyClasses::GENERIC, "del", key);
        }
        Some(_) => expire(call, slot, expires_at, "expire", key),
        None if persist && call.database().entry(slot).expires_at.is_some() => {
            expire(call, slot, None, "persist", key);
        }
        None => {}
    }
    Ok(Flow::Done)
}

fn expire(call: &mut Call<'_>, slot: Slot, at: Option<crate::Timestamp>, event: &str, key: &[u8]) {
    call.database().set_expiry(slot, at);
    call.record(slot, &Effect::Expire { at });
    call.notify(NotifyClasses::GENERIC, event, key);
}

pub(super) fn mget(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
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

pub(super) fn strlen(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let len = find_string(call, arg(args, 1))?.map_or(0, |slot| look(call, slot).len());
    call.reply.count(len);
    Ok(Flow::Done)
}
