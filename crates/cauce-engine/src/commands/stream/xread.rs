//! `XREAD [COUNT count] [BLOCK milliseconds] STREAMS key [key ...] id [id ...]`, and what XREADGROUP shares
//! with it.

use std::time::Duration;

use cauce_resp::{Encoder, Protocol};

use super::options::strict_id;
use super::reply;
use crate::blocking::{BlockRequest, WakeOn};
use crate::call::{Call, Flow};
use crate::command::{CommandSpec, Flags, Keys};
use crate::commands::{from, integer, is};
use crate::errors::{self, Error, stream as texts};
use crate::keyspace::Slot;
use crate::stream::{Place, StreamId};
use crate::time::Timestamp;

pub(super) const XREAD: CommandSpec = CommandSpec {
    name: "xread",
    arity: -4,
    flags: Flags::READONLY.and(Flags::BLOCKING).and(Flags::MOVABLE_KEYS),
    keys: Keys::AfterStreams,
    group: "stream",
    since: "5.0.0",
    summary: "Returns messages from multiple streams with IDs greater than the ones requested. Blocks until a message is available otherwise.",
    complexity: "For each stream mentioned: O(N) with N being the number of elements being returned, it means that XREAD-ing with a fixed COUNT is O(1).",
    run: xread,
    subcommands: &[],
};

/// Which of the two reading commands is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadCommand {
    Xread,
    Xreadgroup,
}

/// The options of a reading command, and the streams that it names.
#[derive(Debug)]
pub(super) struct ReadOptions<'s, 'a> {
    /// Entries per stream at most.
    pub(super) count: u64,
    /// How long to wait: 0 for ever, `None` not at all.
    pub(super) block_ms: Option<u64>,
    /// Group and consumer.
    pub(super) group: Option<(&'a [u8], &'a [u8])>,
    pub(super) noack: bool,
    pub(super) keys: &'s [&'a [u8]],
    /// As many as keys.
    pub(super) ids: &'s [&'a [u8]],
}

impl<'s, 'a> ReadOptions<'s, 'a> {
    pub(super) fn parse(args: &'s [&'a [u8]], command: ReadCommand, now: Timestamp) -> Result<Self, Error> {
        let mut parsed =
            Self { count: u64::MAX, block_ms: None, group: None, noack: false, keys: &[], ids: &[] };
        let mut options = from(args, 1);
        let of_group = command == ReadCommand::Xreadgroup;
        while let [option, rest @ ..] = options {
            options = match rest {
                [timeout, rest @ ..] if is(option, "BLOCK") => {
                    parsed.block_ms = Some(block_timeout(timeout, now)?);
                    rest
                }
                [count, rest @ ..] if is(option, "COUNT") => {
                    // 0 and less: all there are.
                    let count = u64::try_from(integer(count)?).unwrap_or_default();
                    parsed.count = if count == 0 { u64::MAX } else { count };
                    rest
                }
                [_, ..] if is(option, "STREAMS") => {
                    parsed.split_streams(rest, command)?;
                    &[]
                }
                [group, consumer, rest @ ..] if is(option, "GROUP") => {
                    if !of_group {
                        return Err(texts::GROUP_WITH_XREAD);
                    }
                    parsed.group = Some((group, consumer));
                    rest
                }
                _ if is(option, "NOACK") => {
                    if !of_group {
                        return Err(texts::NOACK_WITH_XREAD);
                    }
                    parsed.noack = true;
                    rest
                }
                _ => return Err(errors::SYNTAX),
            };
        }
        if parsed.keys.is_empty() { Err(errors::SYNTAX) } else { Ok(parsed) }
    }

    fn split_streams(&mut self, streams: &'s [&'a [u8]], command: ReadCommand) -> Result<(), Error> {
        if !streams.len().is_multiple_of(2) {
            return Err(match command {
                ReadCommand::Xread => texts::UNBALANCED_XREAD,
                ReadCommand::Xreadgroup => texts::UNBALANCED_XREADGROUP,
            });
        }
        (self.keys, self.ids) = streams.split_at(streams.len() / 2);
        Ok(())
    }

    /// The flow of a command that found nothing: it waits, to be run again with `args`, or its reply is null.
    pub(super) fn wait(
        &self,
        call: &mut Call<'_>,
        wakes_on: WakeOn,
        args: impl FnOnce() -> Vec<Box<[u8]>>,
    ) -> Flow {
        let Some(block_ms) = self.block_ms.filter(|_| call.may_block) else {
            call.reply.null_array();
            return Flow::Done;
        };
        let deadline = (block_ms > 0).then(|| call.now.saturating_add(Duration::from_millis(block_ms)));
        let keys = self.keys.iter().map(|&key| key.into()).collect();
        Flow::Block(BlockRequest { args: args(), keys, deadline, wakes_on })
    }
}

/// Writes what comes before the entries of each stream, `streams` of them in all: see [`write_key`].
pub(super) fn write_header(reply: &mut Encoder<'_>, streams: usize) {
    match reply.protocol() {
        Protocol::Resp2 => reply.array(streams),
        Protocol::Resp3 => reply.map(streams),
    }
}

/// Writes the key of a stream; its entries follow.
pub(super) fn write_key(reply: &mut Encoder<'_>, key: &[u8]) {
    if reply.protocol() == Protocol::Resp2 {
        reply.array(2);
    }
    reply.bulk(key);
}

/// A stream that XREAD has something of.
struct Found<'a> {
    key: &'a [u8],
    slot: Slot,
    place: Place,
    len: usize,
}

fn xread(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let options = ReadOptions::parse(args, ReadCommand::Xread, call.now)?;
    let mut after = Vec::with_capacity(options.keys.len());
    let mut all_found = Vec::new();
    for (&key, &text) in options.keys.iter().zip(options.ids) {
        let slot = call.find_stream(key)?;
        let id = match text {
            b"$" => slot.map_or(StreamId::MIN, |slot| call.stream(slot).entries().counters().last_id),
            b">" => return Err(texts::NEW_WITH_XREAD),
            _ => strict_id(text)?,
        };
        after.push(id);
        let Some(slot) = slot else { continue };
        let entries = call.stream(slot).entries();
        let Some(place) = entries.place_behind(id) else { continue };
        let len = entries.count_from(place, options.count) as usize;
        if len > 0 {
            all_found.push(Found { key, slot, place, len });
        }
    }
    if all_found.is_empty() {
        return Ok(options.wait(call, WakeOn::Stream, || with_concrete_ids(args, &after)));
    }
    write_header(&mut call.reply, all_found.len());
    for found in all_found {
        let (stream, reply) = call.stream_mut(found.slot);
        write_key(reply, found.key);
        reply.array(found.len);
        let range = stream.entries().range_from(found.place);
        range.take(found.len).for_each(|entry| reply::entry(reply, &entry));
    }
    Ok(Flow::Done)
}

/// The arguments with the ids at their end written out, so that `$` means the same when it is run again.
fn with_concrete_ids(args: &[&[u8]], ids: &[StreamId]) -> Vec<Box<[u8]>> {
    let before = args.len() - ids.len();
    let kept = args.iter().take(before).map(|&arg| arg.into());
    kept.chain(ids.iter().map(|id| id.to_string().into_bytes().into())).collect()
}

fn block_timeout(text: &[u8], now: Timestamp) -> Result<u64, Error> {
    let timeout = cauce_resp::parse_i64(text).ok_or(texts::TIMEOUT_NOT_INTEGER)?;
    let timeout = u64::try_from(timeout).map_err(|_| texts::TIMEOUT_NEGATIVE)?;
    let room = i64::MAX.cast_unsigned().saturating_sub(now.millis());
    if timeout > room { Err(texts::TIMEOUT_OUT_OF_RANGE) } else { Ok(timeout) }
}
