//! ZPOPMIN, ZPOPMAX, ZMPOP, and the same with waiting.

use std::time::Duration;

use cauce_resp::Protocol;

use super::range::take;
use crate::blocking::{BlockRequest, WakeOn};
use crate::call::{Call, Flow};
use crate::collections::SortedSet;
use crate::command::{Flags, Keys};
use crate::commands::{arg, from, is, numbers};
use crate::errors::{self, Error, collections as texts};
use crate::keyspace::Slot;
use crate::time::Timestamp;

pub(super) const BLOCKING: Flags = Flags::WRITE.and(Flags::FAST).and(Flags::BLOCKING);
/// All but the timeout at the end.
pub(super) const BLOCKING_KEYS: Keys = Keys::Range { first: 1, last: -2, step: 1 };

/// ZPOPMIN and ZPOPMAX.
pub(super) fn pop(call: &mut Call<'_>, args: &[&[u8]], highest: bool) -> Result<Flow, Error> {
    let count = match from(args, 2) {
        [] => None,
        [count] => Some(numbers::positive(count)?),
        _ => return Err(errors::SYNTAX),
    };
    let key = arg(args, 1);
    let Some(slot) = call.find_as::<SortedSet>(key)? else {
        call.reply.array(0);
        return Ok(Flow::Done);
    };
    let members = pop_from(call, slot, key, count.unwrap_or(1), highest);
    let pairs = count.is_some() && call.reply.protocol() == Protocol::Resp3;
    call.reply.array(if pairs { members.len() } else { members.len() * 2 });
    for (score, name) in members {
        if pairs {
            call.reply.array(2);
        }
        call.reply.bulk(&name);
        call.reply.double(score);
    }
    Ok(Flow::Done)
}

fn pop_from(
    call: &mut Call<'_>,
    slot: Slot,
    key: &[u8],
    count: usize,
    highest: bool,
) -> Vec<(f64, Box<[u8]>)> {
    let len = call.collection::<SortedSet>(slot).0.len();
    let count = count.min(len);
    let (ranks, event) = if highest { (len - count..len, "zpopmax") } else { (0..count, "zpopmin") };
    take(call, slot, key, ranks, highest, event)
}

/// BZPOPMIN and BZPOPMAX: the first key that has members, or wait.
pub(super) fn blocking(call: &mut Call<'_>, args: &[&[u8]], highest: bool) -> Result<Flow, Error> {
    let (timeout, keys) = from(args, 1).split_last().ok_or(errors::SYNTAX)?;
    let deadline = deadline(timeout, call.now)?;
    let Some((slot, key)) = first_of(call, keys)? else { return Ok(wait(call, args, keys, deadline)) };
    for (score, name) in pop_from(call, slot, key, 1, highest) {
        call.reply.array(3);
        call.reply.bulk(key);
        call.reply.bulk(&name);
        call.reply.double(score);
    }
    Ok(Flow::Done)
}

/// The first of some keys that has members.
fn first_of<'a>(call: &mut Call<'_>, keys: &[&'a [u8]]) -> Result<Option<(Slot, &'a [u8])>, Error> {
    for &key in keys {
        if let Some(slot) = call.find_as::<SortedSet>(key)? {
            return Ok(Some((slot, key)));
        }
    }
    Ok(None)
}

/// Waits for members of any of the keys, if that is allowed here.
fn wait(call: &mut Call<'_>, args: &[&[u8]], keys: &[&[u8]], deadline: Option<Timestamp>) -> Flow {
    if !call.may_block {
        call.reply.null_array();
        return Flow::Done;
    }
    Flow::Block(BlockRequest {
        args: args.iter().map(|&arg| arg.into()).collect(),
        keys: keys.iter().map(|&key| key.into()).collect(),
        deadline,
        wakes_on: WakeOn::SortedSet,
    })
}

/// `numkeys key [key ...] MIN | MAX [COUNT count]`: what ZMPOP and BZMPOP take out.
struct MultiplePop<'s, 'a> {
    keys: &'s [&'a [u8]],
    highest: bool,
    count: usize,
}

impl<'s, 'a> MultiplePop<'s, 'a> {
    fn parse(args: &'s [&'a [u8]]) -> Result<Self, Error> {
        let at_least_1 = |text: &[u8]| {
            let number = cauce_resp::parse_i64(text).and_then(|number| usize::try_from(number).ok());
            number.filter(|&number| number > 0)
        };
        let count = at_least_1(arg(args, 0)).ok_or(texts::NUMKEYS)?;
        let (keys, rest) = from(args, 1).split_at_checked(count).ok_or(errors::SYNTAX)?;
        let (end, options) = rest.split_first().ok_or(errors::SYNTAX)?;
        let highest = is(end, "MAX");
        if !highest && !is(end, "MIN") {
            return Err(errors::SYNTAX);
        }
        let count = match options {
            [] => 1,
            [option, count, rest @ ..] if is(option, "COUNT") => {
                let count = at_least_1(count).ok_or(texts::COUNT)?;
                if rest.is_empty() { count } else { return Err(errors::SYNTAX) }
            }
            _ => return Err(errors::SYNTAX),
        };
        Ok(Self { keys, highest, count })
    }

    /// Takes members out of the first key that has any, and replies with them; says whether there was one.
    fn run(&self, call: &mut Call<'_>) -> Result<bool, Error> {
        let Some((slot, key)) = first_of(call, self.keys)? else { return Ok(false) };
        let members = pop_from(call, slot, key, self.count, self.highest);
        call.reply.array(2);
        call.reply.bulk(key);
        call.reply.array(members.len());
        for (score, name) in members {
            call.reply.array(2);
            call.reply.bulk(&name);
            call.reply.double(score);
        }
        Ok(true)
    }
}

pub(super) fn zmpop(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    if !MultiplePop::parse(from(args, 1))?.run(call)? {
        call.reply.null_array();
    }
    Ok(Flow::Done)
}

pub(super) fn bzmpop(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let pop = MultiplePop::parse(from(args, 2))?;
    let deadline = deadline(arg(args, 1), call.now)?;
    if pop.run(call)? { Ok(Flow::Done) } else { Ok(wait(call, args, pop.keys, deadline)) }
}

/// When a timeout in seconds is over; `None` for never (0).
fn deadline(text: &[u8], now: Timestamp) -> Result<Option<Timestamp>, Error> {
    let seconds = numbers::double(text).ok_or(texts::TIMEOUT_NOT_FLOAT)?;
    if seconds < 0.0 {
        return Err(texts::TIMEOUT_NEGATIVE);
    }
    let millis = (seconds * 1000.0).ceil();
    let room = i64::MAX.cast_unsigned().saturating_sub(now.millis());
    if millis > room as f64 {
        return Err(texts::TIMEOUT_OUT_OF_RANGE);
    }
    Ok((millis > 0.0).then(|| now.saturating_add(Duration::from_millis(millis as u64))))
}
