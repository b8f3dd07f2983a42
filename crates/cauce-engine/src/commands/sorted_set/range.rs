//! Ranges: by rank, by score and by name, returned, counted, stored or removed.

use std::ops::Range;

use super::read::write_members;
use crate::call::{Call, Flow};
use crate::collections::{LexBound, Member, ScoreBound, SortedSet};
use crate::commands::{arg, from, integer, is, numbers};
use crate::encoding::Encoding;
use crate::errors::{self, Error, collections as texts};
use crate::keyspace::Slot;
use crate::notify::NotifyClasses;
use crate::records::{CollectionEffect, Effect};

/// By what a range is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Lex,
}

/// A range, without the set that it is taken from.
#[derive(Debug, Clone, Copy)]
enum Spec<'a> {
    /// From one index to another, both included; negative ones count from the end.
    Rank(i64, i64),
    Score(ScoreBound, ScoreBound),
    Lex(LexBound<'a>, LexBound<'a>),
}

impl<'a> Spec<'a> {
    fn parse(by: By, min: &'a [u8], max: &'a [u8]) -> Result<Self, Error> {
        Ok(match by {
            By::Rank => Self::Rank(integer(min)?, integer(max)?),
            By::Score => Self::Score(score_bound(min)?, score_bound(max)?),
            By::Lex => Self::Lex(lex_bound(min)?, lex_bound(max)?),
        })
    }

    /// The ranks of its members; indexes count from the highest one on if `reverse`.
    fn ranks(&self, set: &SortedSet, reverse: bool) -> Range<usize> {
        match self {
            Self::Rank(start, stop) => {
                let ranks = index_range(set.len(), *start, *stop);
                if reverse { set.len() - ranks.end..set.len() - ranks.start } else { ranks }
            }
            Self::Score(min, max) => set.ranks(min, max),
            Self::Lex(min, max) => set.ranks(min, max),
        }
    }
}

/// From one index to another of `len` things, both included; negative ones count from the end.
fn index_range(len: usize, start: i64, stop: i64) -> Range<usize> {
    let len_signed = i64::try_from(len).unwrap_or(i64::MAX);
    let resolve = |index: i64| if index < 0 { index.saturating_add(len_signed) } else { index };
    let start = usize::try_from(resolve(start).max(0)).unwrap_or(len).min(len);
    let end = usize::try_from(resolve(stop).saturating_add(1)).unwrap_or(0).min(len);
    start..end.max(start)
}

fn score_bound(text: &[u8]) -> Result<ScoreBound, Error> {
    let (exclusive, number) = match text {
        [b'(', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    // Redis reads an empty bound as 0, and one that is too large as infinite.
    let number = number.trim_ascii_start();
    let number = if number.is_empty() { b"0" } else { number };
    let score = numbers::lenient_double(number).ok_or(texts::SCORE_RANGE)?;
    Ok(ScoreBound { score, exclusive })
}

fn lex_bound(text: &[u8]) -> Result<LexBound<'_>, Error> {
    match text {
        b"-" => Ok(LexBound::Min),
        b"+" => Ok(LexBound::Max),
        [b'[', name @ ..] => Ok(LexBound::Inclusive(name)),
        [b'(', name @ ..] => Ok(LexBound::Exclusive(name)),
        _ => Err(texts::LEX_RANGE),
    }
}

/// A range as a command asks for it.
#[derive(Debug)]
struct Query<'a> {
    spec: Spec<'a>,
    reverse: bool,
    offset: i64,
    /// Negative for no limit.
    limit: i64,
    with_scores: bool,
}

impl<'a> Query<'a> {
    /// Reads `min max [options]`. Where `by` is given, the options that choose kind and direction are not taken.
    fn parse(args: &[&'a [u8]], by: Option<By>, reverse: bool, stores: bool) -> Result<Self, Error> {
        let (mut kind, mut reversed, mut limit, mut with_scores) = (by, reverse, None, false);
        let fixed = by.is_some();
        let mut options = from(args, 2);
        while let [option, rest @ ..] = options {
            options = rest;
            if !stores && is(option, "WITHSCORES") {
                with_scores = true;
            } else if let ([offset, count, rest @ ..], true) = (rest, is(option, "LIMIT")) {
                limit = Some((integer(offset)?, integer(count)?));
                options = rest;
            } else if !fixed && !reversed && is(option, "REV") {
                reversed = true;
            } else if kind.is_none() && is(option, "BYLEX") {
                kind = Some(By::Lex);
            } else if kind.is_none() && is(option, "BYSCORE") {
                kind = Some(By::Score);
            } else {
                return Err(errors::SYNTAX);
            }
        }
        let by = kind.unwrap_or(By::Rank);
        if by == By::Rank && limit.take().is_some_and(|(_, count)| count != -1) {
            return Err(texts::LIMIT_BY_RANK);
        }
        if with_scores && by == By::Lex {
            return Err(texts::WITHSCORES_BY_LEX);
        }
        let (first, second) = (arg(args, 0), arg(args, 1));
        let swapped = reversed && by != By::Rank;
        let (min, max) = if swapped { (second, first) } else { (first, second) };
        let (offset, limit) = limit.unwrap_or((0, -1));
        Ok(Self { spec: Spec::parse(by, min, max)?, reverse: reversed, offset, limit, with_scores })
    }

    /// The ranks of the members wanted.
    fn ranks(&self, set: &SortedSet) -> Range<usize> {
        let all = self.spec.ranks(set, self.reverse);
        let Ok(offset) = usize::try_from(self.offset) else { return 0..0 };
        let skipped = offset.min(all.len());
        let count = usize::try_from(self.limit).unwrap_or(usize::MAX).min(all.len() - skipped);
        if self.reverse {
            let end = all.end - skipped;
            end - count..end
        } else {
            let start = all.start + skipped;
            start..start + count
        }
    }
}

pub(super) fn zrange(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    returned(call, args, None, false)
}

pub(super) fn zrevrange(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    returned(call, args, Some(By::Rank), true)
}

pub(super) fn zrangebyscore(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    returned(call, args, Some(By::Score), false)
}

pub(super) fn zrevrangebyscore(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    returned(call, args, Some(By::Score), true)
}

pub(super) fn zrangebylex(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    returned(call, args, Some(By::Lex), false)
}

pub(super) fn zrevrangebylex(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    returned(call, args, Some(By::Lex), true)
}

fn returned(call: &mut Call<'_>, args: &[&[u8]], by: Option<By>, reverse: bool) -> Result<Flow, Error> {
    let query = Query::parse(from(args, 2), by, reverse, false)?;
    let Some(slot) = call.find_as::<SortedSet>(arg(args, 1))? else {
        call.reply.array(0);
        return Ok(Flow::Done);
    };
    let (set, reply) = call.collection::<SortedSet>(slot);
    let members = set.range(query.ranks(set), query.reverse).map(Member::scored);
    write_members(reply, members, query.with_scores);
    Ok(Flow::Done)
}

pub(super) fn zrangestore(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let query = Query::parse(from(args, 3), None, false, true)?;
    let source = call.find_as::<SortedSet>(arg(args, 2))?;
    let members = source.map_or_else(Vec::new, |slot| {
        let set = call.collection::<SortedSet>(slot).0;
        let members = set.range(query.ranks(set), query.reverse);
        members.map(|member| (member.score(), Box::from(member.name()))).collect()
    });
    store(call, arg(args, 1), &members, "zrangestore");
    Ok(Flow::Done)
}

/// Puts a sorted set of these members in place of whatever the key held, and replies with their number.
pub(super) fn store(call: &mut Call<'_>, key: &[u8], members: &[(f64, Box<[u8]>)], event: &str) {
    let existing = call.find(key);
    if members.is_empty() {
        if let Some(slot) = existing {
            call.remove(slot);
            call.notify(NotifyClasses::GENERIC, "del", key);
        }
    } else {
        let slot = call.replace_with_empty::<SortedSet>(key, existing);
        let set = call.collection_mut::<SortedSet>(slot);
        members.iter().for_each(|(score, name)| set.put(name, *score));
        let scored = members.iter().map(|(score, name)| (*score, &**name)).collect();
        call.record(slot, &Effect::Collection(CollectionEffect::SortedSetPut { scored }));
        let names = members.iter().map(|(_, name)| &**name);
        call.encode(slot, encoding_after(call, slot, members.len(), names));
        call.notify(NotifyClasses::SORTED_SET, event, key);
    }
    call.reply.count(members.len());
}

/// How Redis would hold a sorted set after `names` were put into it by a command with `named` members.
pub(super) fn encoding_after<'n>(
    call: &Call<'_>,
    slot: Slot,
    named: usize,
    names: impl Iterator<Item = &'n [u8]>,
) -> Encoding {
    let (thresholds, set) = (&call.core.settings.thresholds, call.look::<SortedSet>(slot));
    thresholds.sorted_set_after(call.encoding(slot), set, named, names)
}

pub(super) fn zcount(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    counted(call, args, By::Score)
}

pub(super) fn zlexcount(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    counted(call, args, By::Lex)
}

fn counted(call: &mut Call<'_>, args: &[&[u8]], by: By) -> Result<Flow, Error> {
    let spec = Spec::parse(by, arg(args, 2), arg(args, 3))?;
    let slot = call.find_as::<SortedSet>(arg(args, 1))?;
    let count = slot.map_or(0, |slot| spec.ranks(call.collection(slot).0, false).len());
    call.reply.count(count);
    Ok(Flow::Done)
}

pub(super) fn zremrangebyrank(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    removed(call, args, By::Rank, "zremrangebyrank")
}

pub(super) fn zremrangebyscore(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    removed(call, args, By::Score, "zremrangebyscore")
}

pub(super) fn zremrangebylex(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    removed(call, args, By::Lex, "zremrangebylex")
}

fn removed(call: &mut Call<'_>, args: &[&[u8]], by: By, event: &str) -> Result<Flow, Error> {
    let key = arg(args, 1);
    let spec = Spec::parse(by, arg(args, 2), arg(args, 3))?;
    let Some(slot) = call.find_as::<SortedSet>(key)? else {
        call.reply.integer(0);
        return Ok(Flow::Done);
    };
    let ranks = spec.ranks(call.collection(slot).0, false);
    let members = take(call, slot, key, ranks, false, event);
    call.reply.count(members.len());
    Ok(Flow::Done)
}

/// Takes the members of some ranks out, and returns them in order or in reverse.
pub(super) fn take(
    call: &mut Call<'_>,
    slot: Slot,
    key: &[u8],
    ranks: Range<usize>,
    reverse: bool,
    event: &str,
) -> Vec<(f64, Box<[u8]>)> {
    let set = call.collection_mut::<SortedSet>(slot);
    let members = set.range(ranks, reverse).map(|member| (member.score(), Box::from(member.name())));
    let members: Vec<(f64, Box<[u8]>)> = members.collect();
    if members.is_empty() {
        return members;
    }
    for (_, name) in &members {
        set.remove(name);
    }
    let names = members.iter().map(|(_, name)| &**name).collect();
    let effect = CollectionEffect::SortedSetRemove { members: names };
    call.taken::<SortedSet>(slot, effect, NotifyClasses::SORTED_SET, event, key);
    members
}
