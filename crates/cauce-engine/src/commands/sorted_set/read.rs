//! Looking at members and their scores.

use cauce_resp::{Encoder, Protocol};

use crate::call::{Call, Flow};
use crate::collections::{Member, SortedSet};
use crate::commands::numbers::Wanted;
use crate::commands::scan::{self, ScanOptions};
use crate::commands::{arg, from, integer, is};
use crate::errors::{self, Error};

/// Writes members as an array; with scores, in RESP3 as pairs and in RESP2 in turn.
pub(super) fn write_members<'m>(
    reply: &mut Encoder<'_>,
    members: impl ExactSizeIterator<Item = (f64, &'m [u8])>,
    with_scores: bool,
) {
    let pairs = with_scores && reply.protocol() == Protocol::Resp3;
    let width = if with_scores && !pairs { 2 } else { 1 };
    reply.array(members.len() * width);
    for (score, name) in members {
        if pairs {
            reply.array(2);
        }
        reply.bulk(name);
        if with_scores {
            reply.double(score);
        }
    }
}

pub(super) fn zcard(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let slot = call.find_as::<SortedSet>(arg(args, 1))?;
    let len = slot.map_or(0, |slot| call.collection::<SortedSet>(slot).0.len());
    call.reply.count(len);
    Ok(Flow::Done)
}

pub(super) fn zscore(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let slot = call.find_as::<SortedSet>(arg(args, 1))?;
    let score = slot.and_then(|slot| call.collection::<SortedSet>(slot).0.score(arg(args, 2)));
    write_score(&mut call.reply, score);
    Ok(Flow::Done)
}

pub(super) fn zmscore(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let slot = call.find_as::<SortedSet>(arg(args, 1))?;
    let names = from(args, 2);
    call.reply.array(names.len());
    for name in names {
        let score = slot.and_then(|slot| call.collection::<SortedSet>(slot).0.score(name));
        write_score(&mut call.reply, score);
    }
    Ok(Flow::Done)
}

fn write_score(reply: &mut Encoder<'_>, score: Option<f64>) {
    match score {
        Some(score) => reply.double(score),
        None => reply.null(),
    }
}

/// ZRANK and ZREVRANK.
pub(super) fn rank(call: &mut Call<'_>, args: &[&[u8]], reverse: bool) -> Result<Flow, Error> {
    let with_score = match from(args, 3) {
        [] => false,
        [option] if is(option, "WITHSCORE") => true,
        [_] => return Err(errors::SYNTAX),
        _ => return Err(errors::arity(if reverse { "zrevrank" } else { "zrank" })),
    };
    let name = arg(args, 2);
    let found = call.find_as::<SortedSet>(arg(args, 1))?.and_then(|slot| {
        let set = call.collection::<SortedSet>(slot).0;
        let rank = set.rank(name)?;
        Some((if reverse { set.len() - 1 - rank } else { rank }, set.score(name)?))
    });
    match found {
        Some((rank, score)) if with_score => {
            call.reply.array(2);
            call.reply.count(rank);
            call.reply.double(score);
        }
        Some((rank, _)) => call.reply.count(rank),
        None if with_score => call.reply.null_array(),
        None => call.reply.null(),
    }
    Ok(Flow::Done)
}

pub(super) fn zscan(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let cursor = scan::cursor(arg(args, 2))?;
    let Some(slot) = call.find_as::<SortedSet>(arg(args, 1))? else {
        scan::write_nothing(&mut call.reply);
        return Ok(Flow::Done);
    };
    let options = ScanOptions::parse(from(args, 3), false)?;
    let encoding = call.encoding(slot);
    let (set, reply) = call.collection::<SortedSet>(slot);
    let write = |reply: &mut Encoder<'_>, member: &Member| {
        reply.bulk(member.name());
        reply.bulk(cauce_resp::format_double(member.score()).as_bytes());
    };
    if !scan::is_whole(encoding, set.len()) {
        scan::write_elements(reply, set.members(), Some(cursor), &options, 2, write);
        return Ok(Flow::Done);
    }
    // A small one comes in order.
    let members = set.range(0..set.len(), false).filter(|member| options.matches(member.name()));
    let members: Vec<&Member> = members.collect();
    reply.array(2);
    reply.bulk(b"0");
    reply.array(members.len() * 2);
    members.into_iter().for_each(|member| write(reply, member));
    Ok(Flow::Done)
}

pub(super) fn zrandmember(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let slot = call.find_as::<SortedSet>(arg(args, 1));
    let (wanted, with_scores) = match from(args, 2) {
        [] => (None, false),
        [count] => (Some(Wanted::parse(count, false)?), false),
        [count, option] if is(option, "WITHSCORES") => (Some(Wanted::parse(count, true)?), true),
        [count, ..] => {
            integer(count)?;
            return Err(errors::SYNTAX);
        }
    };
    let Some(slot) = slot? else {
        if wanted.is_some() {
            call.reply.array(0);
        } else {
            call.reply.null();
        }
        return Ok(Flow::Done);
    };
    let mut random = std::mem::take(&mut call.core.random);
    let (set, reply) = call.collection::<SortedSet>(slot);
    let places = wanted.unwrap_or(Wanted::Repeated(1)).choose(set.members(), &mut random);
    let chosen = places.into_iter().map(|at| set.members().get(at));
    if wanted.is_some() {
        write_members(reply, chosen.map(Member::scored), with_scores);
    } else {
        chosen.for_each(|member| reply.bulk(member.name()));
    }
    call.core.random = random;
    Ok(Flow::Done)
}
