//! ZADD, ZINCRBY and ZREM.

use std::borrow::Cow;

use super::range::encoding_after;
use crate::call::{Call, Flow};
use crate::collections::SortedSet;
use crate::commands::{arg, from, is, numbers};
use crate::errors::{self, Error, collections as texts};
use crate::keyspace::Slot;
use crate::notify::NotifyClasses;
use crate::records::{CollectionEffect, Effect};

/// The options of ZADD.
#[derive(Debug, Clone, Copy, Default)]
struct AddOptions {
    only_new: bool,
    only_existing: bool,
    only_greater: bool,
    only_less: bool,
    /// Count changed members as well.
    changed: bool,
    increment: bool,
}

impl AddOptions {
    /// Reads the options; returns what follows them too.
    fn parse<'s, 'a>(mut args: &'s [&'a [u8]]) -> (Self, &'s [&'a [u8]]) {
        let mut parsed = Self::default();
        while let [option, rest @ ..] = args {
            let field = match () {
                () if is(option, "NX") => &mut parsed.only_new,
                () if is(option, "XX") => &mut parsed.only_existing,
                () if is(option, "GT") => &mut parsed.only_greater,
                () if is(option, "LT") => &mut parsed.only_less,
                () if is(option, "CH") => &mut parsed.changed,
                () if is(option, "INCR") => &mut parsed.increment,
                () => break,
            };
            *field = true;
            args = rest;
        }
        (parsed, args)
    }

    fn check(&self, pairs: &[&[u8]]) -> Result<(), Error> {
        if pairs.is_empty() || !pairs.len().is_multiple_of(2) {
            return Err(errors::SYNTAX);
        }
        if self.only_new && self.only_existing {
            return Err(texts::XX_AND_NX);
        }
        let conditions = [self.only_new, self.only_greater, self.only_less];
        if conditions.into_iter().filter(|&set| set).count() > 1 {
            return Err(texts::GT_LT_NX);
        }
        if self.increment && pairs.len() > 2 { Err(texts::INCR_ONE_PAIR) } else { Ok(()) }
    }

    /// The score that a member gets, if it may get one.
    fn decide(&self, before: Option<f64>, given: f64) -> Result<Option<f64>, Error> {
        let Some(before) = before else { return Ok((!self.only_existing).then_some(given)) };
        if self.only_new {
            return Ok(None);
        }
        let score = if self.increment { before + given } else { given };
        if score.is_nan() {
            return Err(texts::SCORE_NAN);
        }
        let refused = (self.only_less && score >= before) || (self.only_greater && score <= before);
        Ok((!refused).then_some(score))
    }
}

/// What [`put`] did.
#[derive(Debug, Default)]
struct Put {
    added: usize,
    updated: usize,
    /// The score of the last member that was not refused.
    score: Option<f64>,
}

pub(super) fn zadd(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let (options, pairs) = AddOptions::parse(from(args, 2));
    options.check(pairs)?;
    let put = put(call, arg(args, 1), options, scored(pairs)?)?;
    match put.score {
        Some(score) if options.increment => call.reply.double(score),
        None if options.increment => call.reply.null(),
        _ => call.reply.count(put.added + if options.changed { put.updated } else { 0 }),
    }
    Ok(Flow::Done)
}

pub(super) fn zincrby(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let options = AddOptions { increment: true, ..AddOptions::default() };
    let put = put(call, arg(args, 1), options, scored(from(args, 2))?)?;
    call.reply.double(put.score.expect("without conditions nothing is refused"));
    Ok(Flow::Done)
}

/// Members, given as scores and names in turn.
fn scored<'a>(pairs: &[&'a [u8]]) -> Result<Vec<(f64, &'a [u8])>, Error> {
    let (pairs, _) = pairs.as_chunks::<2>();
    let scored = pairs.iter().map(|&[score, name]| Some((numbers::double(score)?, name)));
    scored.collect::<Option<_>>().ok_or(texts::NOT_FLOAT)
}

/// Gives members their scores, adding them where they are new.
pub(in crate::commands) fn put_members(
    call: &mut Call<'_>,
    key: &[u8],
    scored: Vec<(f64, &[u8])>,
) -> Result<(), Error> {
    put(call, key, AddOptions::default(), scored).map(|_| ())
}

/// Adds or updates members.
fn put(
    call: &mut Call<'_>,
    key: &[u8],
    options: AddOptions,
    mut scored: Vec<(f64, &[u8])>,
) -> Result<Put, Error> {
    let given = scored.len();
    let mut put = Put::default();
    let slot = match call.find_as::<SortedSet>(key)? {
        Some(slot) => slot,
        None if options.only_existing => return Ok(put),
        None => call.insert_empty::<SortedSet>(key),
    };
    let set = call.collection_mut::<SortedSet>(slot);
    let mut failed = None;
    scored.retain_mut(|(score, name)| {
        let before = set.score(name);
        match options.decide(before, *score) {
            Ok(Some(new)) => {
                put.score = Some(new);
                *score = new;
                put.added += usize::from(before.is_none());
                put.updated += usize::from(before.is_some_and(|before| before != new));
                let changes = before != Some(new);
                if changes {
                    set.put(name, new);
                }
                changes
            }
            Ok(None) => false,
            Err(error) => {
                failed = Some(error);
                false
            }
        }
    });
    if let Some(error) = failed {
        // Only INCR fails, and it has one member, which was there.
        return Err(error);
    }
    let encoding = encoding_after(call, slot, given, scored.iter().map(|&(_, name)| name));
    if !scored.is_empty() {
        let effect = CollectionEffect::SortedSetPut { scored: Cow::Owned(scored) };
        call.record(slot, &Effect::Collection(effect));
        let event = if options.increment { "zincr" } else { "zadd" };
        call.notify(NotifyClasses::SORTED_SET, event, key);
    }
    call.encode(slot, encoding);
    Ok(put)
}

pub(super) fn zrem(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let key = arg(args, 1);
    let Some(slot) = call.find_as::<SortedSet>(key)? else {
        call.reply.integer(0);
        return Ok(Flow::Done);
    };
    let removed = remove_members(call, slot, key, from(args, 2));
    call.reply.count(removed);
    Ok(Flow::Done)
}

/// Removes members of a set that was found; returns how many were there.
pub(in crate::commands) fn remove_members(
    call: &mut Call<'_>,
    slot: Slot,
    key: &[u8],
    names: &[&[u8]],
) -> usize {
    let set = call.collection_mut::<SortedSet>(slot);
    let members: Vec<&[u8]> = names.iter().copied().filter(|name| set.remove(name)).collect();
    let removed = members.len();
    if removed > 0 {
        let effect = CollectionEffect::SortedSetRemove { members: members.into() };
        call.taken::<SortedSet>(slot, effect, NotifyClasses::SORTED_SET, "zrem", key);
    }
    removed
}
