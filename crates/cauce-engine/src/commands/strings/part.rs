//! Parts of strings: APPEND, SETRANGE and GETRANGE.

use super::{find_string, look};
use crate::call::{Call, Flow};
use crate::commands::{arg, integer};
use crate::errors::{self, Error};
use crate::keyspace::{Object, Slot, write_at};
use crate::notify::NotifyClasses;
use crate::records::Effect;

pub(super) fn append(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let (key, tail) = (arg(args, 1), arg(args, 2));
    let len = match find_string(call, key)? {
        Some(slot) => {
            let len = look(call, slot).len();
            check_len(call, len, tail.len())?;
            write(call, slot, len, tail);
            len + tail.len()
        }
        None => {
            let slot = call.insert(key, Object::String(tail.to_vec()));
            call.record(slot, &Effect::SetString { value: tail, expires_at: None });
            tail.len()
        }
    };
    call.notify(NotifyClasses::STRING, "append", key);
    call.reply.count(len);
    Ok(Flow::Done)
}

pub(super) fn setrange(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let (key, bytes) = (arg(args, 1), arg(args, 3));
    let offset = usize::try_from(integer(arg(args, 2))?).map_err(|_| errors::OFFSET)?;
    let existing = find_string(call, key)?;
    if bytes.is_empty() {
        let len = existing.map_or(0, |slot| look(call, slot).len());
        call.reply.count(len);
        return Ok(Flow::Done);
    }
    check_len(call, offset, bytes.len())?;
    let slot = existing.unwrap_or_else(|| call.insert(key, Object::String(Vec::new())));
    write(call, slot, offset, bytes);
    call.notify(NotifyClasses::STRING, "setrange", key);
    let len = look(call, slot).len();
    call.reply.count(len);
    Ok(Flow::Done)
}

fn check_len(call: &Call<'_>, before: usize, more: usize) -> Result<(), Error> {
    let fits = before.checked_add(more).is_some_and(|len| len <= call.core.settings.proto_max_bulk_len);
    if fits { Ok(()) } else { Err(errors::STRING_TOO_LONG) }
}

/// Writes bytes into a string, and records them alone.
fn write(call: &mut Call<'_>, slot: Slot, at: usize, bytes: &[u8]) {
    match call.object_mut(slot) {
        Object::String(value) => write_at(value, at, bytes),
        _ => unreachable!("the slot was found as a string"),
    }
    call.record(slot, &Effect::WriteString { at: at as u64, bytes });
}

/// GETRANGE, and SUBSTR as it was called first.
pub(super) fn getrange(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let (start, end) = (integer(arg(args, 2))?, integer(arg(args, 3))?);
    let Some(slot) = find_string(call, arg(args, 1))? else {
        call.reply.bulk(b"");
        return Ok(Flow::Done);
    };
    let value = match &call.core.database(call.db).entry(slot).object {
        Object::String(value) => value.as_slice(),
        _ => unreachable!("the slot was found as a string"),
    };
    call.reply.bulk(part(value, start, end));
    Ok(Flow::Done)
}

/// From one index to another, both included; negative ones count from the end.
fn part(value: &[u8], start: i64, end: i64) -> &[u8] {
    if start < 0 && end < 0 && start > end {
        return b"";
    }
    let len = value.len() as i64;
    let from_front = |index: i64| if index < 0 { index.saturating_add(len).max(0) } else { index };
    let start = usize::try_from(from_front(start)).unwrap_or(usize::MAX);
    let behind = usize::try_from(from_front(end).saturating_add(1)).unwrap_or(usize::MAX);
    value.get(start..behind.min(value.len())).unwrap_or_default()
}
