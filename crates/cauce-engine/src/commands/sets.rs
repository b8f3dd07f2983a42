//! Sets: single ones. What combines several is in [`super::set_algebra`].

use std::borrow::Cow;

use cauce_resp::Encoder;

use super::numbers::{self, Wanted};
use super::scan::{self, ScanOptions};
use super::{arg, from};
use crate::call::{Call, Flow};
use crate::collections::Set;
use crate::command::{CommandSpec, Flags, Handler, Keys};
use crate::encoding::Encoding;
use crate::errors::{self, Error};
use crate::keyspace::Slot;
use crate::notify::NotifyClasses;
use crate::records::{CollectionEffect, Effect};

pub(super) const fn row(
    name: &'static str,
    arity: i32,
    flags: Flags,
    since: &'static str,
    summary: &'static str,
    complexity: &'static str,
    run: Handler,
) -> CommandSpec {
    CommandSpec {
        keys: Keys::FIRST,
        group: "set",
        complexity,
        ..CommandSpec::new(name, arity, flags, since, summary, run)
    }
}

const FAST_READ: Flags = Flags::READONLY.and(Flags::FAST);
const FAST_WRITE: Flags = Flags::WRITE.and(Flags::FAST);
const PER_MEMBER: &str = "O(N) where N is the number of members given.";
const PER_RETURNED: &str = "O(N) where N is the number of members returned.";

#[rustfmt::skip]
pub(crate) const COMMANDS: &[CommandSpec] = &[
    row("sadd", -3, FAST_WRITE.and(Flags::DENYOOM), "1.0.0", "Adds one or more members to a set. Creates the key if it doesn't exist.", PER_MEMBER, sadd),
    row("scard", 2, FAST_READ, "1.0.0", "Returns the number of members in a set.", "O(1)", scard),
    row("sismember", 3, FAST_READ, "1.0.0", "Determines whether a member belongs to a set.", "O(1)", sismember),
    row("smembers", 2, Flags::READONLY, "1.0.0", "Returns all members of a set.", "O(N) where N is the set cardinality.", smembers),
    row("smismember", -3, FAST_READ, "6.2.0", "Determines whether multiple members belong to a set.", PER_MEMBER, smismember),
    CommandSpec { keys: Keys::Range { first: 1, last: 2, step: 1 }, ..row("smove", 4, FAST_WRITE, "1.0.0", "Moves a member from one set to another.", "O(1)", smove) },
    row("spop", -2, FAST_WRITE, "1.0.0", "Returns one or more random members from a set after removing them. Deletes the set if the last member was popped.", PER_RETURNED, spop),
    row("srandmember", -2, Flags::READONLY, "1.0.0", "Gets one or more random members from a set.", PER_RETURNED, srandmember),
    row("srem", -3, FAST_WRITE, "1.0.0", "Removes one or more members from a set. Deletes the set if the last member was removed.", PER_MEMBER, srem),
    row("sscan", -3, Flags::READONLY, "2.8.0", "Iterates over members of a set.", "O(1) for every call. O(N) for a complete iteration.", sscan),
];

fn sadd(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let added = add(call, arg(args, 1), from(args, 2))?;
    call.reply.count(added);
    Ok(Flow::Done)
}

/// Adds members; returns how many are new.
fn add(call: &mut Call<'_>, key: &[u8], members: &[&[u8]]) -> Result<usize, Error> {
    let found = call.find_as::<Set>(key)?;
    let thresholds = call.core.settings.thresholds;
    let mut encoding = thresholds.set_before(found.map(|slot| call.encoding(slot)), members);
    let slot = found.unwrap_or_else(|| call.insert_empty::<Set>(key));
    let set = call.collection_mut::<Set>(slot);
    let mut new = Vec::with_capacity(members.len());
    for &member in members {
        if set.add(member) {
            encoding = thresholds.set_after(encoding, set, member);
            new.push(member);
        }
    }
    let added = new.len();
    if added > 0 {
        call.record(slot, &Effect::Collection(CollectionEffect::SetAdd { members: Cow::Owned(new) }));
        call.notify(NotifyClasses::SET, "sadd", key);
    }
    call.encode(slot, encoding);
    Ok(added)
}

fn srem(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let key = arg(args, 1);
    let removed = match call.find_as::<Set>(key)? {
        Some(slot) => remove(call, slot, key, from(args, 2), "srem"),
        None => 0,
    };
    call.reply.count(removed);
    Ok(Flow::Done)
}

/// Removes members; returns how many were there.
fn remove(call: &mut Call<'_>, slot: Slot, key: &[u8], members: &[&[u8]], event: &str) -> usize {
    let set = call.collection_mut::<Set>(slot);
    let members: Vec<&[u8]> = members.iter().copied().filter(|member| set.remove(member)).collect();
    let removed = members.len();
    if removed > 0 {
        let effect = CollectionEffect::SetRemove { members: Cow::Owned(members) };
        call.taken::<Set>(slot, effect, NotifyClasses::SET, event, key);
    }
    removed
}

fn scard(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let len = call.find_as::<Set>(arg(args, 1))?.map_or(0, |slot| call.collection::<Set>(slot).0.len());
    call.reply.count(len);
    Ok(Flow::Done)
}

fn sismember(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let slot = call.find_as::<Set>(arg(args, 1))?;
    let found = slot.is_some_and(|slot| call.collection::<Set>(slot).0.contains(arg(args, 2)));
    call.reply.integer(i64::from(found));
    Ok(Flow::Done)
}

fn smismember(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let slot = call.find_as::<Set>(arg(args, 1))?;
    let members = from(args, 2);
    call.reply.array(members.len());
    for member in members {
        let found = slot.is_some_and(|slot| call.collection::<Set>(slot).0.contains(member));
        call.reply.integer(i64::from(found));
    }
    Ok(Flow::Done)
}

fn smembers(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let Some(slot) = call.find_as::<Set>(arg(args, 1))? else {
        call.reply.set(0);
        return Ok(Flow::Done);
    };
    let as_integers = call.encoding(slot) == Encoding::Intset;
    let (set, reply) = call.collection::<Set>(slot);
    write_members(reply, set, as_integers);
    Ok(Flow::Done)
}

/// Writes all members; those that Redis would hold as integers in ascending order.
pub(super) fn write_members(reply: &mut Encoder<'_>, set: &Set, as_integers: bool) {
    let mut members: Vec<&[u8]> = set.members().iter().map(|member| &**member).collect();
    if as_integers {
        members.sort_by_key(|member| cauce_resp::parse_i64(member));
    }
    reply.set(members.len());
    members.into_iter().for_each(|member| reply.bulk(member));
}

fn smove(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let (source, target, member) = (arg(args, 1), arg(args, 2), arg(args, 3));
    let Some(slot) = call.find_as::<Set>(source)? else {
        call.reply.integer(0);
        return Ok(Flow::Done);
    };
    call.find_as::<Set>(target)?;
    let contained = call.collection::<Set>(slot).0.contains(member);
    if contained && source != target {
        remove(call, slot, source, &[member], "srem");
        add(call, target, &[member])?;
    }
    call.reply.integer(i64::from(contained));
    Ok(Flow::Done)
}

fn spop(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let key = arg(args, 1);
    let count = match from(args, 2) {
        [] => None,
        [count] => Some(numbers::positive(count)?),
        _ => return Err(errors::SYNTAX),
    };
    let Some(slot) = call.find_as::<Set>(key)? else {
        if count.is_some() {
            call.reply.set(0);
        } else {
            call.reply.null();
        }
        return Ok(Flow::Done);
    };
    let places = choose(call, slot, Wanted::Distinct(count.unwrap_or(1)));
    let (set, reply) = call.collection::<Set>(slot);
    let members: Vec<Box<[u8]>> = places.into_iter().map(|at| set.members().get(at).clone()).collect();
    if count.is_some() {
        reply.set(members.len());
    }
    members.iter().for_each(|member| reply.bulk(member));
    let members: Vec<&[u8]> = members.iter().map(|member| &**member).collect();
    let removed = remove(call, slot, key, &members, "spop");
    if let Some(slot) = call.find(key).filter(|_| count.is_some()) {
        settle_after_pop(call, slot, removed);
    }
    Ok(Flow::Done)
}

/// Where few members are left of many, Redis moves those to a new set.
fn settle_after_pop(call: &mut Call<'_>, slot: Slot, removed: usize) {
    let left = call.look::<Set>(slot).len();
    if call.encoding(slot) == Encoding::Hashtable && left.saturating_mul(5) <= removed {
        let encoding = call.core.settings.thresholds.compact_set(call.look::<Set>(slot));
        call.encode(slot, encoding);
    }
}

fn srandmember(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let wanted = match from(args, 2) {
        [] => None,
        [count] => Some(Wanted::parse(count, false)?),
        _ => return Err(errors::SYNTAX),
    };
    let Some(slot) = call.find_as::<Set>(arg(args, 1))? else {
        if wanted.is_some() {
            call.reply.array(0);
        } else {
            call.reply.null();
        }
        return Ok(Flow::Done);
    };
    let places = choose(call, slot, wanted.unwrap_or(Wanted::Repeated(1)));
    let (set, reply) = call.collection::<Set>(slot);
    if wanted.is_some() {
        reply.array(places.len());
    }
    places.into_iter().for_each(|at| reply.bulk(set.members().get(at)));
    Ok(Flow::Done)
}

fn choose(call: &mut Call<'_>, slot: Slot, wanted: Wanted) -> Vec<u32> {
    let mut random = std::mem::take(&mut call.core.random);
    let chosen = wanted.choose(call.collection::<Set>(slot).0.members(), &mut random);
    call.core.random = random;
    chosen
}

fn sscan(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let cursor = scan::cursor(arg(args, 2))?;
    let Some(slot) = call.find_as::<Set>(arg(args, 1))? else {
        scan::write_nothing(&mut call.reply);
        return Ok(Flow::Done);
    };
    let options = ScanOptions::parse(from(args, 3), false)?;
    let encoding = call.encoding(slot);
    let (set, reply) = call.collection::<Set>(slot);
    let cursor = (!scan::is_whole(encoding, set.len())).then_some(cursor);
    scan::write_elements(reply, set.members(), cursor, &options, 1, |reply, member| reply.bulk(member));
    Ok(Flow::Done)
}
