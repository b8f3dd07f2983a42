//! Keys to other names and databases: COPY, MOVE, SWAPDB.

use super::keys::row;
use super::{arg, from, integer, is};
use crate::call::{Call, Flow};
use crate::command::{CommandSpec, Flags, Keys};
use crate::errors::{self, Error};
use crate::keyspace::{Entry, Slot};
use crate::notify::NotifyClasses;
use crate::records::Effect;

const FAST_WRITE: Flags = Flags::WRITE.and(Flags::FAST);
const SOURCE_AND_TARGET: Keys = Keys::Range { first: 1, last: 2, step: 1 };

#[rustfmt::skip]
pub(crate) const COMMANDS: &[CommandSpec] = &[
    CommandSpec { complexity: "O(N) where N is the size of the value.", ..row("copy", -3, Flags::WRITE.and(Flags::DENYOOM), SOURCE_AND_TARGET, "6.2.0", "Copies the value of a key to a new key.", copy) },
    row("move", 3, FAST_WRITE, Keys::FIRST, "1.0.0", "Moves a key to another database.", move_key),
    CommandSpec { complexity: "O(N) where N is the count of clients watching or blocking on keys from both databases.", group: "server", ..row("swapdb", 3, FAST_WRITE, Keys::None, "4.0.0", "Swaps two Redis databases.", swapdb) },
];

/// The number of a database, as C's `int`.
fn int(text: &[u8]) -> Result<i64, Error> {
    let number = integer(text)?;
    if i32::try_from(number).is_ok() { Ok(number) } else { Err(errors::INT_RANGE) }
}

fn database(call: &Call<'_>, number: i64) -> Result<usize, Error> {
    let index = usize::try_from(number).ok().filter(|&index| index < call.core.databases.len());
    index.ok_or(errors::DATABASE_OUT_OF_RANGE)
}

/// `COPY source destination [DB destination-db] [REPLACE]`.
fn copy(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let (source, target, here) = (arg(args, 1), arg(args, 2), call.db);
    let (mut there, mut replace, mut options) = (here, false, from(args, 3));
    while let [option, rest @ ..] = options {
        options = match rest {
            rest if is(option, "REPLACE") => {
                replace = true;
                rest
            }
            [number, rest @ ..] if is(option, "DB") => {
                there = database(call, int(number)?)?;
                rest
            }
            _ => return Err(errors::SYNTAX),
        };
    }
    if here == there && source == target {
        return Err(errors::SAME_OBJECT);
    }
    let copied = match call.find(source) {
        Some(slot) if replace || find_in(call, there, target).is_none() => {
            put_copy(call, slot, there, target, "copy_to");
            true
        }
        _ => false,
    };
    call.reply.integer(i64::from(copied));
    Ok(Flow::Done)
}

/// Finds a key in another database.
fn find_in(call: &mut Call<'_>, there: usize, key: &[u8]) -> Option<Slot> {
    let here = std::mem::replace(&mut call.db, there);
    let slot = call.find(key);
    call.db = here;
    slot
}

/// Puts a copy of a key of this database in place of one of another.
fn put_copy(call: &mut Call<'_>, slot: Slot, there: usize, target: &[u8], event: &str) {
    let here = call.db;
    let source = call.core.database(here).entry(slot);
    let from = source.key.clone();
    let copy = Entry { key: target.into(), ..source.clone() };
    call.db = there;
    let slot = call.database().put(copy);
    call.record(slot, &Effect::CopyFrom { database: here, from: &from });
    call.plan_forgetting(slot);
    // Also if it was there: Redis deletes it before.
    call.notify(NotifyClasses::NEW, "new", target);
    call.notify(NotifyClasses::GENERIC, event, target);
    call.db = here;
}

fn move_key(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let (key, here) = (arg(args, 1), call.db);
    let there = database(call, int(arg(args, 2))?)?;
    if here == there {
        return Err(errors::SAME_OBJECT);
    }
    let moved = match call.find(key) {
        Some(slot) if find_in(call, there, key).is_none() => {
            put_copy(call, slot, there, key, "move_to");
            call.remove(slot);
            call.notify(NotifyClasses::GENERIC, "move_from", key);
            true
        }
        _ => false,
    };
    call.reply.integer(i64::from(moved));
    Ok(Flow::Done)
}

fn swapdb(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let one = int(arg(args, 1)).map_err(|_| errors::FIRST_DATABASE)?;
    let other = int(arg(args, 2)).map_err(|_| errors::SECOND_DATABASE)?;
    let (one, other) = (database(call, one)?, database(call, other)?);
    if one != other {
        let core = &mut *call.core;
        call.effects.after = core.position.advance();
        for (db, with) in [(one, other), (other, one)] {
            let exists = |key: &[u8]| [db, with].iter().any(|&db| core.database(db).slot(key).is_some());
            let keys: Vec<Box<[u8]>> =
                core.watchers.keys_of(db).filter(|key| exists(key)).map(Box::from).collect();
            for key in keys {
                core.watchers.break_key(db, &key, &mut core.sessions);
            }
        }
        core.swap_databases(one, other).expect("both databases were just found");
        core.waiters.signal_all(one);
        core.waiters.signal_all(other);
        call.core.touched.note_key(one, b"", &Effect::Swap { with: other });
        call.effects.out.records.push(one, b"", &Effect::Swap { with: other });
    }
    call.reply.ok();
    Ok(Flow::Done)
}
