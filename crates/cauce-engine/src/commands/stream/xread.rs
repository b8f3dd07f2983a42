//! `XREAD [COUNT count] [MAXCOUNT count] [MAXSIZE bytes] [BLOCK milliseconds] STREAMS key [key ...] id [id ...]`,
//! and what XREADGROUP shares with it.

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
use crate::stream::{Entries, Needs, Place, StreamId};
use crate::time::Timestamp;

pub(super) const XREAD: CommandSpec = CommandSpec {
    name: "xread",
    arity: -4,
    flags: Flags::READONLY.and(Flags::BLOCKING).and(Flags::MOVABLE_KEYS),
    keys: Keys::AfterStreams { from: 1 },
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
    /// Entries of all streams at most.
    max_count: Option<u64>,
    /// Bytes of the reply at most.
    max_size: Option<u64>,
    /// How long to wait: 0 for ever, `None` not at all.
    block_ms: Option<u64>,
    /// Group and consumer.
    pub(super) group: Option<(&'a [u8], &'a [u8])>,
    pub(super) noack: bool,
    /// Pending entries that are idle so long are taken first.
    pub(super) claim_idle_ms: Option<u64>,
    pub(super) keys: &'s [&'a [u8]],
    /// As many as keys.
    pub(super) ids: &'s [&'a [u8]],
}

impl<'s, 'a> ReadOptions<'s, 'a> {
    pub(super) fn parse(args: &'s [&'a [u8]], command: ReadCommand, now: Timestamp) -> Result<Self, Error> {
        let mut parsed = Self {
            count: u64::MAX,
            max_count: None,
            max_size: None,
            block_ms: None,
            group: None,
            noack: false,
            claim_idle_ms: None,
            keys: &[],
            ids: &[],
        };
        let mut options = from(args, 1);
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
                [max, rest @ ..] if is(option, "MAXCOUNT") => {
                    parsed.max_count = Some(positive(max, texts::MAXCOUNT)?);
                    rest
                }
                [max, rest @ ..] if is(option, "MAXSIZE") => {
                    parsed.max_size = Some(positive(max, texts::MAXSIZE)?);
                    rest
                }
                [_, ..] if is(option, "STREAMS") => {
                    parsed.split_streams(rest, command)?;
                    &[]
                }
                rest => parsed.parse_of_group(option, rest, command)?,
            };
        }
        if parsed.keys.is_empty() {
            return Err(errors::SYNTAX);
        }
        if parsed.count != u64::MAX && parsed.max_count.is_some_and(|max| max < parsed.count) {
            return Err(texts::MAXCOUNT_BELOW_COUNT);
        }
        Ok(parsed)
    }

    /// Reads an option that only XREADGROUP has; gives what comes after it.
    fn parse_of_group(
        &mut self,
        option: &[u8],
        rest: &'s [&'a [u8]],
        command: ReadCommand,
    ) -> Result<&'s [&'a [u8]], Error> {
        let only = |error: Error| if command == ReadCommand::Xreadgroup { Ok(()) } else { Err(error) };
        match rest {
            [group, consumer, rest @ ..] if is(option, "GROUP") => {
                only(texts::GROUP_WITH_XREAD)?;
                self.group = Some((group, consumer));
                Ok(rest)
            }
            [idle, rest @ ..] if is(option, "CLAIM") => {
                only(texts::CLAIM_WITH_XREAD)?;
                let idle = cauce_resp::parse_i64(idle).ok_or(texts::READ_CLAIM_NOT_INTEGER)?;
                self.claim_idle_ms = Some(u64::try_from(idle).map_err(|_| texts::READ_CLAIM_NEGATIVE)?);
                Ok(rest)
            }
            rest if is(option, "NOACK") => {
                only(texts::NOACK_WITH_XREAD)?;
                self.noack = true;
                Ok(rest)
            }
            _ => Err(errors::SYNTAX),
        }
    }

    /// What the reply may hold.
    pub(super) fn budget(&self) -> Budget {
        Budget { entries: self.max_count, bytes: self.max_size, used_bytes: 0, used: false }
    }

    /// What is read of a stream's entries behind `after`, if the stream is named so many times.
    pub(super) fn needs(&self, after: StreamId, times: u64) -> Option<Needs<'static>> {
        // The first entry that finds no room is looked at too.
        let count = self.count.min(self.max_count.map_or(u64::MAX, |max| max.saturating_add(1)));
        let count = count.saturating_mul(times);
        let bytes = self.max_size.unwrap_or(u64::MAX);
        Some(Needs::Forward { start: after.next()?, end: StreamId::MAX, count, bytes })
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

/// What a reply may hold still (MAXCOUNT and MAXSIZE, Redis 8.10).
#[derive(Debug)]
pub(super) struct Budget {
    entries: Option<u64>,
    bytes: Option<u64>,
    used_bytes: u64,
    used: bool,
}

impl Budget {
    /// Whether there is any limit.
    pub(super) fn is_limited(&self) -> bool {
        self.entries.is_some() || self.bytes.is_some()
    }

    /// Counts the frame of a stream that may have entries.
    pub(super) fn open_stream(&mut self, key: &[u8]) {
        self.used_bytes += reply::header_len(2) + reply::bulk_len(key.len()) + reply::header_len(1);
    }

    /// Takes room for one more entry, if there is any. The first one always gets in.
    pub(super) fn admit(&mut self, len: impl FnOnce() -> u64) -> bool {
        if self.entries == Some(0) || self.used && self.bytes.is_some_and(|bytes| self.used_bytes >= bytes) {
            return false;
        }
        self.entries = self.entries.map(|left| left - 1);
        if self.bytes.is_some() {
            self.used_bytes += len();
        }
        self.used = true;
        true
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
    want_streams(call, &options)?;
    let mut after = Vec::with_capacity(options.keys.len());
    let mut all_found = Vec::new();
    let mut budget = options.budget();
    for (&key, &text) in options.keys.iter().zip(options.ids) {
        let slot = call.find_stream(key)?;
        let id = match text {
            b"$" => slot.map_or(StreamId::MIN, |slot| call.stream(slot).entries().counters().last_id),
            b"+" => slot.map_or(StreamId::MIN, |slot| before_newest(call.stream(slot).entries())),
            b">" => return Err(texts::NEW_WITH_XREAD),
            _ => strict_id(text)?,
        };
        after.push(id);
        let Some(slot) = slot else { continue };
        let entries = call.stream(slot).entries();
        let Some(place) = entries.place_behind(id) else { continue };
        let len = if budget.is_limited() {
            budget.open_stream(key);
            let wanted = entries.range_from(place).take(usize::try_from(options.count).unwrap_or(usize::MAX));
            wanted.take_while(|entry| budget.admit(|| reply::entry_len(entry))).count()
        } else {
            entries.count_from(place, options.count) as usize
        };
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

/// Brings in what is read; wrong ids and keys are left for later.
fn want_streams(call: &mut Call<'_>, options: &ReadOptions<'_, '_>) -> Result<(), Error> {
    if !call.core.block_memory.may_be_absent() {
        return Ok(());
    }
    for (&key, &text) in options.keys.iter().zip(options.ids) {
        let Ok(Some(slot)) = call.find_stream(key) else { continue };
        if text == b"+" {
            call.want(slot, &Needs::LAST);
        } else if let Some(needs) = strict_id(text).ok().and_then(|id| options.needs(id, 1)) {
            call.want(slot, &needs);
        }
    }
    call.bring()
}

/// The arguments with the ids at their end written out, so that `$` means the same when it is run again.
fn with_concrete_ids(args: &[&[u8]], ids: &[StreamId]) -> Vec<Box<[u8]>> {
    let before = args.len() - ids.len();
    let kept = args.iter().take(before).map(|&arg| arg.into());
    kept.chain(ids.iter().map(|id| id.to_string().into_bytes().into())).collect()
}

/// The id after which there is only the newest entry; in an empty stream, the last id ever given.
fn before_newest(entries: &Entries) -> StreamId {
    let newest = entries.last().map(|entry| entry.id());
    newest.and_then(StreamId::previous).unwrap_or(entries.counters().last_id)
}

fn positive(text: &[u8], error: Error) -> Result<u64, Error> {
    let number = cauce_resp::parse_i64(text).and_then(|number| u64::try_from(number).ok());
    number.filter(|&number| number > 0).ok_or(error)
}

pub(in crate::commands) fn block_timeout(text: &[u8], now: Timestamp) -> Result<u64, Error> {
    let timeout = cauce_resp::parse_i64(text).ok_or(texts::TIMEOUT_NOT_INTEGER)?;
    let timeout = u64::try_from(timeout).map_err(|_| texts::TIMEOUT_NEGATIVE)?;
    let room = i64::MAX.cast_unsigned().saturating_sub(now.millis());
    if timeout > room { Err(texts::TIMEOUT_OUT_OF_RANGE) } else { Ok(timeout) }
}
