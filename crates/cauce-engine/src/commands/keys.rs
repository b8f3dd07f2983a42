//! Keys of any type.

use super::scan::{self, ScanOptions};
use super::{arg, from, is};
use crate::call::{Call, Flow};
use crate::command::{CommandSpec, Flags, Keys};
use crate::errors::{self, Error};
use crate::notify::NotifyClasses;
use crate::records::Effect;

/// A command of any type of key, in constant time.
pub(super) const fn row(
    name: &'static str,
    arity: i32,
    flags: Flags,
    keys: Keys,
    since: &'static str,
    summary: &'static str,
    run: crate::command::Handler,
) -> CommandSpec {
    CommandSpec { keys, ..CommandSpec::new(name, arity, flags, since, summary, run) }
}

const READ: Flags = Flags::READONLY.and(Flags::FAST);

pub(crate) const COMMANDS: &[CommandSpec] = &[
    row("del", -2, Flags::WRITE, Keys::ALL, "1.0.0", "Deletes one or more keys.", del),
    row("unlink", -2, Flags::WRITE.and(Flags::FAST), Keys::ALL, "4.0.0", "Deletes one or more keys.", del),
    row("exists", -2, READ, Keys::ALL, "1.0.0", "Determines whether one or more keys exist.", exists),
    row(
        "touch",
        -2,
        READ,
        Keys::ALL,
        "3.2.1",
        "Returns the number of existing keys out of those specified.",
        touch,
    ),
    row("type", 2, READ, Keys::FIRST, "1.0.0", "Determines the type of value stored at a key.", type_of),
    row("keys", 2, Flags::READONLY, Keys::None, "1.0.0", "Returns all key names that match a pattern.", keys),
    row(
        "scan",
        -2,
        Flags::READONLY,
        Keys::None,
        "2.8.0",
        "Iterates over the key names in the database.",
        scan_keys,
    ),
    row(
        "rename",
        3,
        Flags::WRITE,
        Keys::Range { first: 1, last: 2, step: 1 },
        "1.0.0",
        "Renames a key and overwrites the destination.",
        rename,
    ),
    row(
        "renamenx",
        3,
        Flags::WRITE.and(Flags::FAST),
        Keys::Range { first: 1, last: 2, step: 1 },
        "1.0.0",
        "Renames a key only when the target key name doesn't exist.",
        renamenx,
    ),
    row(
        "randomkey",
        1,
        Flags::READONLY,
        Keys::None,
        "1.0.0",
        "Returns a random key name from the database.",
        randomkey,
    ),
];

fn del(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let mut removed = 0;
    for key in from(args, 1) {
        if let Some(slot) = call.find(key) {
            call.remove(slot);
            call.notify(NotifyClasses::GENERIC, "del", key);
            removed += 1;
        }
    }
    call.reply.integer(removed);
    Ok(Flow::Done)
}

fn exists(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let found = from(args, 1).iter().filter(|key| call.peek(key).is_some()).count();
    call.reply.count(found);
    Ok(Flow::Done)
}

fn touch(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    // Also for a client with CLIENT NO-TOUCH.
    call.touches = true;
    let found = from(args, 1).iter().filter(|key| call.find(key).is_some()).count();
    call.reply.count(found);
    Ok(Flow::Done)
}

fn type_of(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let name = call.peek(arg(args, 1)).map_or("none", |slot| call.object(slot).type_name());
    call.reply.status(name);
    Ok(Flow::Done)
}

fn keys(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let pattern = arg(args, 1);
    let now = call.now;
    let database = call.core.database(call.db);
    let exists = |at: Option<crate::Timestamp>| at.is_none_or(|at| at > now);
    let found = database.scan(0).map(|(_, entry, _)| entry);
    let found: Vec<&[u8]> = found
        .filter(|entry| exists(entry.expires_at) && scan::name_matches(pattern, &entry.key))
        .map(|entry| &*entry.key)
        .collect();
    call.effects.after = call.effects.after.max(database.changed_at);
    call.reply.array(found.len());
    for key in found {
        call.reply.bulk(key);
    }
    Ok(Flow::Done)
}

/// The cursor is the place in the key table to go on at: keys that exist during the whole iteration are
/// returned exactly once (Redis promises at least once).
fn scan_keys(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let start = scan::cursor(arg(args, 1))?;
    let options = ScanOptions::parse(from(args, 2), true)?;
    let now = call.now;
    let database = call.core.database(call.db);
    let mut found: Vec<&[u8]> = Vec::new();
    let mut next = 0;
    for (seen, (_, entry, after)) in database.scan(start).enumerate() {
        if seen == options.count {
            next = after - 1;
            break;
        }
        let wanted = entry.expires_at.is_none_or(|at| at > now)
            && options.matches(&entry.key)
            && options.type_name.is_none_or(|name| is(name, entry.object.type_name()));
        if wanted {
            found.push(&entry.key);
        }
    }
    call.effects.after = call.effects.after.max(database.changed_at);
    call.reply.array(2);
    call.reply.bulk_unsigned(next as u64);
    call.reply.array(found.len());
    for key in found {
        call.reply.bulk(key);
    }
    Ok(Flow::Done)
}

fn rename(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    rename_key(call, arg(args, 1), arg(args, 2))?;
    call.reply.ok();
    Ok(Flow::Done)
}

fn renamenx(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let (source, target) = (arg(args, 1), arg(args, 2));
    call.find(source).ok_or(errors::NO_SUCH_KEY)?;
    let free = call.find(target).is_none();
    if free {
        rename_key(call, source, target)?;
    }
    call.reply.integer(i64::from(free));
    Ok(Flow::Done)
}

fn rename_key(call: &mut Call<'_>, source: &[u8], target: &[u8]) -> Result<(), Error> {
    let slot = call.find(source).ok_or(errors::NO_SUCH_KEY)?;
    if source == target {
        return Ok(());
    }
    call.find(target);
    let slot = call.database().rename(slot, target);
    call.record(slot, &Effect::RenameFrom { from: source });
    let (db, position) = (call.db, call.core.position);
    call.core.database_mut(db).removed_at = position;
    // The old name changed too: it is gone.
    call.core.watchers.break_key(db, source, &mut call.core.sessions);
    call.core.waiters.signal(db, source);
    call.notify(NotifyClasses::NEW, "new", target);
    call.notify(NotifyClasses::GENERIC, "rename_from", source);
    call.notify(NotifyClasses::GENERIC, "rename_to", target);
    Ok(())
}

fn randomkey(call: &mut Call<'_>, _args: &[&[u8]]) -> Result<Flow, Error> {
    let mut random = std::mem::take(&mut call.core.random);
    let found = loop {
        let Some(slot) = call.database().random(&mut random) else { break None };
        let key = call.database().entry(slot).key.clone();
        // One that has expired goes, and another is chosen.
        if call.peek(&key).is_some() {
            break Some(key);
        }
    };
    call.core.random = random;
    call.effects.after = call.effects.after.max(call.database().changed_at);
    match found {
        Some(key) => call.reply.bulk(&key),
        None => call.reply.null(),
    }
    Ok(Flow::Done)
}
