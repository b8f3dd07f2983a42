//! Strings that are numbers.

use super::{find_string, look};
use crate::call::{Call, Flow};
use crate::commands::{arg, integer, numbers};
use crate::encoding::Encoding;
use crate::errors::{self, Error, collections as texts};
use crate::keyspace::{Object, Slot};
use crate::notify::NotifyClasses;
use crate::records::Effect;

pub(super) fn incr(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    increment(call, arg(args, 1), 1)
}

pub(super) fn incrby(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    increment(call, arg(args, 1), integer(arg(args, 2))?)
}

pub(super) fn decr(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    increment(call, arg(args, 1), -1)
}

pub(super) fn decrby(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let by = integer(arg(args, 2))?.checked_neg().ok_or(errors::DECREMENT_OVERFLOW)?;
    increment(call, arg(args, 1), by)
}

fn increment(call: &mut Call<'_>, key: &[u8], by: i64) -> Result<Flow, Error> {
    let existing = find_string(call, key)?;
    let before = existing.map_or(Ok(0), |slot| integer(look(call, slot)))?;
    let value = before.checked_add(by).ok_or(errors::INCREMENT_OVERFLOW)?;
    replace(call, key, existing, value.to_string(), "incrby");
    call.reply.integer(value);
    Ok(Flow::Done)
}

/// Counts as wide as Redis does on x86-64, where a `long double` has 64 significant bits.
pub(super) fn incrbyfloat(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let (key, by) = (arg(args, 1), arg(args, 2));
    let existing = find_string(call, key)?;
    let before = existing.map_or(&b"0"[..], |slot| look(call, slot));
    for number in [before, by] {
        numbers::double(number).ok_or(texts::NOT_FLOAT)?;
    }
    let sum = numbers::sum(before, by).ok_or(texts::SUM_NOT_FINITE)?;
    call.reply.bulk(sum.as_bytes());
    let slot = replace(call, key, existing, sum, "incrbyfloat");
    // Redis does not look whether it has become an integer.
    if call.encoding(slot) == Encoding::Int {
        call.encode(slot, Encoding::Embstr);
    }
    Ok(Flow::Done)
}

/// Gives a key a new value; its expiry stays.
fn replace(call: &mut Call<'_>, key: &[u8], existing: Option<Slot>, text: String, event: &str) -> Slot {
    let expires_at = existing.and_then(|slot| call.database().entry(slot).expires_at);
    let text = text.into_bytes();
    let slot = match existing {
        Some(slot) => {
            *call.object_mut(slot) = Object::String(text.clone());
            slot
        }
        None => call.insert(key, Object::String(text.clone())),
    };
    call.record(slot, &Effect::SetString { value: &text, expires_at });
    call.notify(NotifyClasses::STRING, event, key);
    slot
}
