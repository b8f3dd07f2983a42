//! Unions, intersections and differences of sorted sets. Sets may stand among them: their members have the
//! score 1.

use std::cmp::Ordering;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::range::store;
use super::read::write_members;
use crate::call::{Call, Flow};
use crate::collections::{Member, Set, SortedSet};
use crate::command::{Flags, Keys};
use crate::commands::set_algebra::parse_limit;
use crate::commands::{arg, from, integer, is, numbers};
use crate::errors::{self, Error, collections as texts};
use crate::keyspace::{Object, Slot};

pub(super) const READ: Flags = Flags::READONLY.and(Flags::MOVABLE_KEYS);
pub(super) const STORE: Flags = Flags::WRITE.and(Flags::DENYOOM).and(Flags::MOVABLE_KEYS);
pub(super) const KEYS: Keys = Keys::Counted { at: 1 };
pub(super) const STORE_KEYS: Keys = Keys::TargetAndCounted { at: 2 };

/// Which members of several sets are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Union,
    Intersection,
    Difference,
}

/// What becomes of the scores that a member has in several sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn parse(word: &[u8]) -> Result<Self, Error> {
        match () {
            () if is(word, "SUM") => Ok(Self::Sum),
            () if is(word, "MIN") => Ok(Self::Min),
            () if is(word, "MAX") => Ok(Self::Max),
            () => Err(errors::SYNTAX),
        }
    }

    /// Opposite infinities add up to 0.
    fn join(self, before: f64, score: f64) -> f64 {
        match self {
            Self::Sum => zero_if_nan(before + score),
            // Comparisons with NaN (infinity times a weight of 0) are false: it changes nothing.
            Self::Min if score < before => score,
            Self::Max if score > before => score,
            Self::Min | Self::Max => before,
        }
    }
}

/// Infinity times a weight of 0 counts as 0.
fn zero_if_nan(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// One of the sets that are combined.
#[derive(Debug, Clone, Copy)]
enum Source<'c> {
    Missing,
    Set(&'c Set),
    SortedSet(&'c SortedSet),
}

impl<'c> Source<'c> {
    fn len(self) -> usize {
        match self {
            Self::Missing => 0,
            Self::Set(set) => set.len(),
            Self::SortedSet(set) => set.len(),
        }
    }

    fn score(self, name: &[u8]) -> Option<f64> {
        match self {
            Self::Missing => None,
            Self::Set(set) => set.contains(name).then_some(1.0),
            Self::SortedSet(set) => set.score(name),
        }
    }

    fn members(self) -> impl Iterator<Item = (f64, &'c [u8])> {
        let (set, sorted) = match self {
            Self::Missing => (None, None),
            Self::Set(set) => (Some(set), None),
            Self::SortedSet(set) => (None, Some(set)),
        };
        let plain = set.into_iter().flat_map(|set| set.members().iter().map(|name| (1.0, &**name)));
        let scored = sorted.into_iter().flat_map(|set| set.members().iter().map(Member::scored));
        plain.chain(scored)
    }
}

/// A set with the weight of its scores.
#[derive(Debug, Clone, Copy)]
struct Weighted<'c> {
    source: Source<'c>,
    weight: f64,
}

/// `numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM | MIN | MAX] [WITHSCORES]`.
struct Request {
    slots: Sources,
    weights: Vec<f64>,
    aggregate: Aggregate,
    with_scores: bool,
}

impl Request {
    fn parse(
        call: &mut Call<'_>,
        args: &[&[u8]],
        command: &str,
        operation: Operation,
        stores: bool,
    ) -> Result<Self, Error> {
        let (slots, mut options) = find_sources(call, args, command)?;
        let weights = vec![1.0; slots.len()];
        let mut parsed = Self { slots, weights, aggregate: Aggregate::Sum, with_scores: false };
        let takes_scores = operation != Operation::Difference;
        while let [option, rest @ ..] = options {
            options = if takes_scores && is(option, "WEIGHTS") {
                let (weights, rest) = rest.split_at_checked(parsed.slots.len()).ok_or(errors::SYNTAX)?;
                let weights = weights.iter().map(|weight| numbers::double(weight).ok_or(texts::WEIGHT));
                parsed.weights = weights.collect::<Result<_, _>>()?;
                rest
            } else if let ([word, rest @ ..], true) = (rest, takes_scores && is(option, "AGGREGATE")) {
                parsed.aggregate = Aggregate::parse(word)?;
                rest
            } else if !stores && is(option, "WITHSCORES") {
                parsed.with_scores = true;
                rest
            } else {
                return Err(errors::SYNTAX);
            };
        }
        Ok(parsed)
    }

    /// The members that are wanted, in order.
    fn members(&self, call: &Call<'_>, operation: Operation) -> Vec<(f64, Box<[u8]>)> {
        let pairs = self.slots.iter().zip(&self.weights);
        let mut sources: Vec<Weighted<'_>> =
            pairs.map(|(&slot, &weight)| Weighted { source: source(call, slot), weight }).collect();
        if operation != Operation::Difference {
            // The order in which Redis adds scores up; sums depend on it in their last digit.
            sources.sort_by_key(|weighted| weighted.source.len());
        }
        let mut members = match operation {
            Operation::Union => union(&sources, self.aggregate),
            Operation::Intersection => intersection(&sources, self.aggregate),
            Operation::Difference => difference(&sources),
        };
        members.sort_unstable_by(|(a, a_name), (b, b_name)| {
            a.partial_cmp(b).unwrap_or(Ordering::Equal).then_with(|| a_name.cmp(b_name))
        });
        members.into_iter().map(|(score, name)| (score, name.into())).collect()
    }
}

/// Where the sets of some keys are; those that are missing count as empty.
type Sources = Vec<Option<Slot>>;

/// Finds the sets of `numkeys key [key ...]`; returns what follows too.
fn find_sources<'s, 'a>(
    call: &mut Call<'_>,
    args: &'s [&'a [u8]],
    command: &str,
) -> Result<(Sources, &'s [&'a [u8]]), Error> {
    let count = integer(arg(args, 0))?;
    let count = usize::try_from(count).ok().filter(|&count| count > 0);
    let count = count.ok_or_else(|| texts::no_input_keys(command))?;
    let (keys, options) = from(args, 1).split_at_checked(count).ok_or(errors::SYNTAX)?;
    let mut slots = Vec::with_capacity(keys.len());
    for key in keys {
        let slot = call.find(key);
        if slot.is_some_and(|slot| !matches!(call.object(slot), Object::Set(_) | Object::SortedSet(_))) {
            return Err(errors::WRONG_TYPE);
        }
        slots.push(slot);
    }
    Ok((slots, options))
}

fn source<'c>(call: &'c Call<'_>, slot: Option<Slot>) -> Source<'c> {
    match slot.map(|slot| call.object(slot)) {
        Some(Object::Set(set)) => Source::Set(set),
        Some(Object::SortedSet(set)) => Source::SortedSet(set),
        _ => Source::Missing,
    }
}

fn union<'c>(sources: &[Weighted<'c>], aggregate: Aggregate) -> Vec<(f64, &'c [u8])> {
    let mut scores: HashMap<&[u8], f64, FixedState> = HashMap::default();
    for weighted in sources {
        for (score, name) in weighted.source.members() {
            let score = zero_if_nan(weighted.weight * score);
            scores.entry(name).and_modify(|sum| *sum = aggregate.join(*sum, score)).or_insert(score);
        }
    }
    scores.into_iter().map(|(name, score)| (score, name)).collect()
}

fn intersection<'c>(sources: &[Weighted<'c>], aggregate: Aggregate) -> Vec<(f64, &'c [u8])> {
    let Some((smallest, others)) = sources.split_first() else { return Vec::new() };
    let members = smallest.source.members().filter_map(|(score, name)| {
        let first = zero_if_nan(smallest.weight * score);
        let joined = others.iter().try_fold(first, |joined, other| {
            let score = other.weight * other.source.score(name)?;
            Some(aggregate.join(joined, score))
        });
        joined.map(|score| (score, name))
    });
    members.collect()
}

fn difference<'c>(sources: &[Weighted<'c>]) -> Vec<(f64, &'c [u8])> {
    let Some((first, others)) = sources.split_first() else { return Vec::new() };
    let only_there = |name: &[u8]| others.iter().all(|other| other.source.score(name).is_none());
    first.source.members().filter(|(_, name)| only_there(name)).collect()
}

/// ZUNION, ZINTER and ZDIFF.
pub(super) fn combined(call: &mut Call<'_>, args: &[&[u8]], operation: Operation) -> Result<Flow, Error> {
    let command = match operation {
        Operation::Union => "zunion",
        Operation::Intersection => "zinter",
        Operation::Difference => "zdiff",
    };
    let request = Request::parse(call, from(args, 1), command, operation, false)?;
    let members = request.members(call, operation);
    let members = members.iter().map(|(score, name)| (*score, &**name));
    write_members(&mut call.reply, members, request.with_scores);
    Ok(Flow::Done)
}

/// ZUNIONSTORE, ZINTERSTORE and ZDIFFSTORE.
pub(super) fn stored(call: &mut Call<'_>, args: &[&[u8]], operation: Operation) -> Result<Flow, Error> {
    let command = match operation {
        Operation::Union => "zunionstore",
        Operation::Intersection => "zinterstore",
        Operation::Difference => "zdiffstore",
    };
    let request = Request::parse(call, from(args, 2), command, operation, true)?;
    let members = request.members(call, operation);
    store(call, arg(args, 1), &members, command);
    Ok(Flow::Done)
}

/// `ZINTERCARD numkeys key [key ...] [LIMIT limit]`.
pub(super) fn zintercard(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let (slots, options) = find_sources(call, from(args, 1), "zintercard")?;
    let limit = parse_limit(options)?;
    let mut sources: Vec<Source<'_>> = slots.into_iter().map(|slot| source(call, slot)).collect();
    sources.sort_by_key(|source| source.len());
    let (smallest, others) = sources.split_first().expect("there is at least one key");
    let in_all = |name: &[u8]| others.iter().all(|other| other.score(name).is_some());
    let found = smallest.members().filter(|(_, name)| in_all(name)).take(limit).count();
    call.reply.count(found);
    Ok(Flow::Done)
}
