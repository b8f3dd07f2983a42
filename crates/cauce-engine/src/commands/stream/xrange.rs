//! `XLEN key`, `XRANGE key start end [COUNT count]`, `XREVRANGE key end start [COUNT count]`

use super::options::{interval_end, interval_start};
use super::reply;
use crate::call::{Call, Flow};
use crate::command::{CommandSpec, Flags, Keys};
use crate::commands::{arg, from, integer, is};
use crate::errors::{self, Error};
use crate::stream::Needs;

pub(super) const XLEN: CommandSpec = CommandSpec {
    name: "xlen",
    arity: 2,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: Keys::FIRST,
    group: "stream",
    since: "5.0.0",
    summary: "Return the number of messages in a stream.",
    complexity: "O(1)",
    run: xlen,
    subcommands: &[],
};

pub(super) const XRANGE: CommandSpec = CommandSpec {
    name: "xrange",
    arity: -4,
    flags: Flags::READONLY,
    keys: Keys::FIRST,
    group: "stream",
    since: "5.0.0",
    summary: "Returns the messages from a stream within a range of IDs.",
    complexity: "O(N) with N being the number of elements being returned. If N is constant (e.g. always asking for the first 10 elements with COUNT), you can consider it O(1).",
    run: |call, args| range(call, args, Direction::Forward),
    subcommands: &[],
};

pub(super) const XREVRANGE: CommandSpec = CommandSpec {
    name: "xrevrange",
    arity: -4,
    flags: Flags::READONLY,
    keys: Keys::FIRST,
    group: "stream",
    since: "5.0.0",
    summary: "Returns the messages from a stream within a range of IDs in reverse order.",
    complexity: "O(N) with N being the number of elements returned. If N is constant (e.g. always asking for the first 10 elements with COUNT), you can consider it O(1).",
    run: |call, args| range(call, args, Direction::Reverse),
    subcommands: &[],
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Forward,
    Reverse,
}

fn xlen(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let len = call.find_stream(arg(args, 1))?.map_or(0, |slot| call.stream(slot).entries().len());
    call.reply.integer(len.cast_signed());
    Ok(Flow::Done)
}

fn range(call: &mut Call<'_>, args: &[&[u8]], direction: Direction) -> Result<Flow, Error> {
    let (start, end) = match direction {
        Direction::Forward => (arg(args, 2), arg(args, 3)),
        Direction::Reverse => (arg(args, 3), arg(args, 2)),
    };
    let (start, end) = (interval_start(start)?, interval_end(end)?);
    let count = parse_count(from(args, 4))?;
    let Some(slot) = call.find_stream(arg(args, 1))? else {
        call.reply.array(0);
        return Ok(Flow::Done);
    };
    let Some(count) = count else {
        call.reply.null_array();
        return Ok(Flow::Done);
    };
    call.want(
        slot,
        &match direction {
            Direction::Forward => Needs::Forward { start, end, count, bytes: u64::MAX },
            Direction::Reverse => Needs::Backward { start, end, count },
        },
    );
    // Entries are counted from the start.
    call.want(slot, &Needs::Ids(&[start]));
    call.bring()?;
    let (stream, reply) = call.stream_mut(slot);
    let entries = stream.entries();
    let len = if start <= end { entries.count_range(start, end, count) as usize } else { 0 };
    reply.array(len);
    match direction {
        Direction::Forward => {
            entries.range(start, end).take(len).for_each(|entry| reply::entry(reply, &entry));
        }
        Direction::Reverse => {
            entries.range_reverse(start, end).take(len).for_each(|entry| reply::entry(reply, &entry));
        }
    }
    Ok(Flow::Done)
}

/// `[COUNT count]`: how many entries at most; `None` for none at all (0 or negative).
fn parse_count(mut options: &[&[u8]]) -> Result<Option<u64>, Error> {
    let mut count = Some(u64::MAX);
    while let [option, rest @ ..] = options {
        let ([value, rest @ ..], true) = (rest, is(option, "COUNT")) else { return Err(errors::SYNTAX) };
        count = u64::try_from(integer(value)?).ok().filter(|&count| count > 0);
        options = rest;
    }
    Ok(count)
}
