//! Unions, intersections and differences of sets.

use super::sets::{row, write_members};
use super::{arg, from, is, numbers};
use crate::call::{Call, Flow};
use crate::collections::Set;
use crate::command::{CommandSpec, Flags, Keys};
use crate::encoding::Encoding;
use crate::errors::{self, Error, collections as texts};
use crate::keyspace::Slot;
use crate::notify::NotifyClasses;
use crate::records::{CollectionEffect, Effect};

const STORE: Flags = Flags::WRITE.and(Flags::DENYOOM);
const PER_ALL: &str = "O(N) where N is the total number of elements in all given sets.";
const PER_SMALLEST: &str =
    "O(N*M) worst case where N is the cardinality of the smallest set and M is the number of sets.";

#[rustfmt::skip]
pub(crate) const COMMANDS: &[CommandSpec] = &[
    CommandSpec { keys: Keys::ALL, ..row("sdiff", -2, Flags::READONLY, "1.0.0", "Returns the difference of multiple sets.", PER_ALL, |call, args| combined(call, args, difference)) },
    CommandSpec { keys: Keys::ALL, ..row("sdiffstore", -3, STORE, "1.0.0", "Stores the difference of multiple sets in a key.", PER_ALL, |call, args| stored(call, args, difference, "sdiffstore")) },
    CommandSpec { keys: Keys::ALL, ..row("sinter", -2, Flags::READONLY, "1.0.0", "Returns the intersect of multiple sets.", PER_SMALLEST, |call, args| combined(call, args, intersection)) },
    CommandSpec { keys: Keys::Counted { at: 1 }, ..row("sintercard", -3, Flags::READONLY.and(Flags::MOVABLE_KEYS), "7.0.0", "Returns the number of members of the intersect of multiple sets.", PER_SMALLEST, sintercard) },
    CommandSpec { keys: Keys::ALL, ..row("sinterstore", -3, STORE, "1.0.0", "Stores the intersect of multiple sets in a key.", PER_SMALLEST, |call, args| stored(call, args, intersection, "sinterstore")) },
    CommandSpec { keys: Keys::ALL, ..row("sunion", -2, Flags::READONLY, "1.0.0", "Returns the union of multiple sets.", PER_ALL, |call, args| combined(call, args, union)) },
    CommandSpec { keys: Keys::ALL, ..row("sunionstore", -3, STORE, "1.0.0", "Stores the union of multiple sets in a key.", PER_ALL, |call, args| stored(call, args, union, "sunionstore")) },
];

/// Combines sets, some of which may be missing, into one.
type Combine = fn(&[Option<&Set>], seed: u64) -> Set;

fn union(sets: &[Option<&Set>], seed: u64) -> Set {
    let mut all = Set::new(seed);
    for member in sets.iter().flatten().flat_map(|set| set.members().iter()) {
        all.add(member);
    }
    all
}

fn intersection(sets: &[Option<&Set>], seed: u64) -> Set {
    let mut common = Set::new(seed);
    for member in common_members(sets) {
        common.add(member);
    }
    common
}

/// The members that all sets have: those of the smallest that the others have too.
fn common_members<'s>(sets: &[Option<&'s Set>]) -> impl Iterator<Item = &'s [u8]> {
    let all: Option<Vec<&Set>> = sets.iter().copied().collect();
    let all = all.unwrap_or_default();
    let smallest = all.iter().copied().min_by_key(|set| set.len());
    let members = smallest.into_iter().flat_map(|set| set.members().iter());
    members.map(|member| &**member).filter(move |member| all.iter().all(|set| set.contains(member)))
}

fn difference(sets: &[Option<&Set>], seed: u64) -> Set {
    let mut left = Set::new(seed);
    let Some((Some(first), others)) = sets.split_first() else { return left };
    for member in first.members().iter() {
        if !others.iter().flatten().any(|set| set.contains(member)) {
            left.add(member);
        }
    }
    left
}

/// Finds the sets of some keys; another type is an error.
fn find_all(call: &mut Call<'_>, keys: &[&[u8]]) -> Result<Vec<Option<Slot>>, Error> {
    keys.iter().map(|key| call.find_as::<Set>(key)).collect()
}

fn look_up<'c>(call: &'c Call<'_>, slots: &[Option<Slot>]) -> Vec<Option<&'c Set>> {
    slots.iter().map(|slot| slot.map(|slot| call.look::<Set>(slot))).collect()
}

fn combine(call: &mut Call<'_>, keys: &[&[u8]], by: Combine) -> Result<Set, Error> {
    let slots = find_all(call, keys)?;
    let seed = call.database().seed();
    Ok(by(&look_up(call, &slots), seed))
}

fn combined(call: &mut Call<'_>, args: &[&[u8]], by: Combine) -> Result<Flow, Error> {
    let set = combine(call, from(args, 1), by)?;
    let as_integers = call.core.settings.thresholds.whole_set(&set) == Encoding::Intset;
    write_members(&mut call.reply, &set, as_integers);
    Ok(Flow::Done)
}

fn stored(call: &mut Call<'_>, args: &[&[u8]], by: Combine, event: &str) -> Result<Flow, Error> {
    let key = arg(args, 1);
    let set = combine(call, from(args, 2), by)?;
    let count = set.len();
    let existing = call.find(key);
    if count > 0 {
        let slot = call.replace_with_empty::<Set>(key, existing);
        *call.collection_mut::<Set>(slot) = set;
        let members: Vec<Box<[u8]>> = call.look::<Set>(slot).members().iter().cloned().collect();
        let members = members.iter().map(|member| &**member).collect();
        call.record(slot, &Effect::Collection(CollectionEffect::SetAdd { members }));
        let thresholds = call.core.settings.thresholds;
        call.encode(slot, thresholds.whole_set(call.look::<Set>(slot)));
        call.notify(NotifyClasses::SET, event, key);
    } else if let Some(slot) = existing {
        call.remove(slot);
        call.notify(NotifyClasses::GENERIC, "del", key);
    }
    call.reply.count(count);
    Ok(Flow::Done)
}

/// `SINTERCARD numkeys key [key ...] [LIMIT limit]`.
fn sintercard(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let count = cauce_resp::parse_i64(arg(args, 1)).filter(|&count| count > 0).ok_or(texts::NUMKEYS)?;
    let count = usize::try_from(count).map_err(|_| errors::NOT_INTEGER)?;
    let rest = from(args, 2);
    let (keys, options) = rest.split_at_checked(count).ok_or(texts::TOO_MANY_NUMKEYS)?;
    let limit = parse_limit(options)?;
    let slots = find_all(call, keys)?;
    let found = common_members(&look_up(call, &slots)).take(limit).count();
    call.reply.count(found);
    Ok(Flow::Done)
}

/// `[LIMIT limit]`, where 0 is no limit.
pub(super) fn parse_limit(mut options: &[&[u8]]) -> Result<usize, Error> {
    let mut limit = usize::MAX;
    while let [option, value, rest @ ..] = options {
        if !is(option, "LIMIT") {
            return Err(errors::SYNTAX);
        }
        let count = numbers::positive(value).map_err(|_| texts::NEGATIVE_LIMIT)?;
        limit = if count == 0 { usize::MAX } else { count };
        options = rest;
    }
    if options.is_empty() { Ok(limit) } else { Err(errors::SYNTAX) }
}
