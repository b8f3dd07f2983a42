//! `XINFO STREAM|GROUPS|CONSUMERS|HELP`

use cauce_resp::Encoder;

use super::reply;
use crate::call::{Call, Flow};
use crate::command::{CommandSpec, Flags, Keys};
use crate::commands::{arg, from, integer, is};
use crate::errors::{self, Error, stream as texts};
use crate::faults::Faults;
use crate::keyspace::Slot;
use crate::stream::{Consumer, Counters, Group, Idempotency, Needs, Pending, Stream, StreamId};

pub(super) const XINFO: CommandSpec = CommandSpec {
    name: "xinfo",
    arity: -2,
    flags: Flags::NONE,
    keys: Keys::None,
    summary: "A container for stream introspection commands.",
    complexity: "Depends on subcommand.",
    subcommands: &[
        CommandSpec {
            name: "xinfo|consumers",
            arity: 4,
            summary: "Returns a list of the consumers in a consumer group.",
            complexity: "O(1)",
            run: consumers,
            ..SUBCOMMAND
        },
        CommandSpec {
            name: "xinfo|groups",
            arity: 3,
            summary: "Returns a list of the consumer groups of a stream.",
            complexity: "O(1)",
            run: groups,
            ..SUBCOMMAND
        },
        CommandSpec {
            name: "xinfo|stream",
            arity: -3,
            summary: "Returns information about a stream.",
            complexity: "O(1)",
            run: stream,
            ..SUBCOMMAND
        },
        CommandSpec {
            name: "xinfo|help",
            arity: 2,
            flags: Flags::LOADING.and(Flags::STALE),
            keys: Keys::None,
            summary: "Returns helpful text about the different subcommands.",
            complexity: "O(1)",
            ..SUBCOMMAND
        },
    ],
    ..SUBCOMMAND
};

const SUBCOMMAND: CommandSpec = CommandSpec {
    name: "",
    arity: 0,
    flags: Flags::READONLY,
    keys: Keys::SECOND,
    group: "stream",
    since: "5.0.0",
    summary: "",
    complexity: "",
    run: help,
    subcommands: &[],
};

/// Entries and pending entries that `FULL` shows when COUNT is not given.
const FULL_COUNT_DEFAULT: usize = 10;

/// `XINFO STREAM key [FULL [COUNT count]]`
fn stream(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let slot = find_key(call, arg(args, 2))?;
    let wrong_options = || errors::subcommand_syntax("xinfo", arg(args, 1));
    let full_count = match from(args, 3) {
        [] => None,
        [full] if is(full, "FULL") => Some(FULL_COUNT_DEFAULT),
        [full, option, count] if is(full, "FULL") && is(option, "COUNT") => {
            Some(match usize::try_from(integer(count)?) {
                Ok(0) => usize::MAX,
                Ok(count) => count,
                Err(_) => FULL_COUNT_DEFAULT,
            })
        }
        _ => return Err(wrong_options()),
    };
    let (now_ms, faults) = (call.now.millis(), Faults::of(&call.core.settings));
    match full_count {
        Some(count) => call.want(slot, &Needs::first(count as u64)),
        None => {
            call.want(slot, &Needs::first(1));
            call.want(slot, &Needs::LAST);
        }
    }
    call.bring()?;
    let (stream, reply) = call.stream_mut(slot);
    // Clients of 7.2 know ten pairs, so the six of 8.6 are shown only to who uses IDMP.
    let marks = if stream.idempotency().is_some() { 6 } else { 0 };
    reply.map(marks + if full_count.is_some() { 9 } else { 10 });
    write_counters(reply, stream);
    if let Some(table) = stream.idempotency() {
        write_marks(reply, table, now_ms);
    }
    match full_count {
        Some(count) => write_full(reply, stream, count, faults),
        None => write_ends(reply, stream),
    }
    Ok(Flow::Done)
}

/// `XINFO GROUPS key`
fn groups(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let slot = find_key(call, arg(args, 2))?;
    let faults = Faults::of(&call.core.settings);
    let (stream, reply) = call.stream_mut(slot);
    reply.array(stream.groups().len());
    for (name, group) in stream.groups() {
        reply.map(6);
        reply.bulk(b"name");
        reply.bulk(name);
        reply.bulk(b"consumers");
        reply.count(group.consumers().len());
        reply.bulk(b"pending");
        reply.count(group.pending().len());
        write_progress(reply, group, &stream.entries().counters(), faults);
    }
    Ok(Flow::Done)
}

/// `XINFO CONSUMERS key group`
fn consumers(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let (key, name) = (arg(args, 2), arg(args, 3));
    let slot = find_key(call, key)?;
    let now_ms = call.now.millis();
    let (stream, reply) = call.stream_mut(slot);
    let group = stream.group(name).ok_or_else(|| texts::no_group(key, name))?;
    reply.array(group.consumers().len());
    for (_, consumer) in group.consumers() {
        let since = |at: u64| now_ms.saturating_sub(at).cast_signed();
        reply.map(4);
        reply.bulk(b"name");
        reply.bulk(consumer.name());
        reply.bulk(b"pending");
        reply.count(consumer.pending().len());
        reply.bulk(b"idle");
        reply.integer(since(consumer.seen_at()));
        reply.bulk(b"inactive");
        reply.integer(consumer.active_at().map_or(-1, since));
    }
    Ok(Flow::Done)
}

/// `XINFO HELP`
fn help(call: &mut Call<'_>, _: &[&[u8]]) -> Result<Flow, Error> {
    const LINES: &[&str] = &[
        "XINFO <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "CONSUMERS <key> <groupname>",
        "    Show consumers of <groupname>.",
        "GROUPS <key>",
        "    Show the stream consumer groups.",
        "STREAM <key> [FULL [COUNT <count>]",
        "    Show information about the stream.",
        "HELP",
        "    Prints this help.",
    ];
    call.reply.array(LINES.len());
    LINES.iter().for_each(|line| call.reply.status(line));
    Ok(Flow::Done)
}

fn find_key(call: &mut Call<'_>, key: &[u8]) -> Result<Slot, Error> {
    call.find_stream(key)?.ok_or(errors::NO_SUCH_KEY)
}

/// The seven pairs that both forms of `XINFO STREAM` begin with.
fn write_counters(reply: &mut Encoder<'_>, stream: &Stream) {
    let entries = stream.entries();
    let counters = entries.counters();
    reply.bulk(b"length");
    reply.integer(counters.length.cast_signed());
    // The entries are not in a radix tree here: a block stands for a key of it.
    reply.bulk(b"radix-tree-keys");
    reply.count(entries.block_count());
    reply.bulk(b"radix-tree-nodes");
    reply.count(entries.block_count() + 1);
    reply.bulk(b"last-generated-id");
    reply::id(reply, counters.last_id);
    reply.bulk(b"max-deleted-entry-id");
    reply::id(reply, counters.max_deleted_id);
    reply.bulk(b"entries-added");
    reply.integer(counters.entries_added.cast_signed());
    reply.bulk(b"recorded-first-entry-id");
    reply::id(reply, counters.first_id);
}

/// The six pairs of streams with idempotent producers.
fn write_marks(reply: &mut Encoder<'_>, table: &Idempotency, now_ms: u64) {
    let forgotten = table.forgotten_at(now_ms);
    let known = table.marks().filter(|(.., mark)| forgotten.is_none_or(|until| mark.at_ms > until));
    let (mut producers, mut marks, mut last) = (0, 0_u64, None);
    for (producer, ..) in known {
        producers += u64::from(last.replace(producer) != Some(producer));
        marks += 1;
    }
    let limits = table.limits();
    for (name, value) in [
        ("idmp-duration", limits.duration_s),
        ("idmp-maxsize", limits.max_size),
        ("pids-tracked", producers),
        ("iids-tracked", marks),
        ("iids-added", table.added()),
        ("iids-duplicates", table.duplicates()),
    ] {
        reply.bulk(name.as_bytes());
        reply.integer(value.cast_signed());
    }
}

/// The three pairs that end the short form.
fn write_ends(reply: &mut Encoder<'_>, stream: &Stream) {
    reply.bulk(b"groups");
    reply.count(stream.groups().len());
    reply.bulk(b"first-entry");
    reply::entry_or_null(reply, stream.entries().first().as_ref());
    reply.bulk(b"last-entry");
    reply::entry_or_null(reply, stream.entries().last().as_ref());
}

/// The two pairs that end the long form.
fn write_full(reply: &mut Encoder<'_>, stream: &Stream, count: usize, faults: Faults) {
    let entries = stream.entries();
    reply.bulk(b"entries");
    reply.array(count.min(entries.len() as usize));
    let all = entries.range(StreamId::MIN, StreamId::MAX);
    all.take(count).for_each(|entry| reply::entry(reply, &entry));
    reply.bulk(b"groups");
    reply.array(stream.groups().len());
    for (name, group) in stream.groups() {
        // Clients of 7.2 know seven pairs, so the eighth of 8.8 is shown only to who uses XNACK.
        let released = group.released_len();
        reply.map(if released > 0 { 8 } else { 7 });
        reply.bulk(b"name");
        reply.bulk(name);
        write_progress(reply, group, &entries.counters(), faults);
        reply.bulk(b"pel-count");
        reply.count(group.pending().len());
        if released > 0 {
            reply.bulk(b"nacked-count");
            reply.count(released);
        }
        reply.bulk(b"pending");
        reply.array(count.min(group.pending().len()));
        for (id, pending) in group.pending().iter().take(count) {
            reply.array(4);
            reply::id(reply, id);
            reply.bulk(group.owner_name(&pending));
            write_delivery(reply, &pending);
        }
        reply.bulk(b"consumers");
        reply.array(group.consumers().len());
        for (_, consumer) in group.consumers() {
            write_consumer(reply, group, consumer, count);
        }
    }
}

/// A consumer of the long form.
fn write_consumer(reply: &mut Encoder<'_>, group: &Group, consumer: &Consumer, count: usize) {
    reply.map(5);
    reply.bulk(b"name");
    reply.bulk(consumer.name());
    reply.bulk(b"seen-time");
    reply.integer(consumer.seen_at().cast_signed());
    reply.bulk(b"active-time");
    reply.integer(consumer.active_at().map_or(-1, u64::cast_signed));
    reply.bulk(b"pel-count");
    reply.count(consumer.pending().len());
    reply.bulk(b"pending");
    reply.array(count.min(consumer.pending().len()));
    for (id, ()) in consumer.pending().iter().take(count) {
        let pending = group.pending().get(id).expect("a consumer's entry is in its group's list");
        reply.array(3);
        reply::id(reply, id);
        write_delivery(reply, pending);
    }
}

/// How far a group has come: three pairs.
fn write_progress(reply: &mut Encoder<'_>, group: &Group, counters: &Counters, faults: Faults) {
    reply.bulk(b"last-delivered-id");
    reply::id(reply, group.last_delivered_id());
    reply.bulk(b"entries-read");
    write_number_or_null(reply, group.entries_read().map(u64::cast_signed));
    reply.bulk(b"lag");
    write_number_or_null(reply, faults.lag(group.lag(counters)));
}

fn write_number_or_null(reply: &mut Encoder<'_>, number: Option<i64>) {
    match number {
        Some(number) => reply.integer(number),
        None => reply.null(),
    }
}

fn write_delivery(reply: &mut Encoder<'_>, pending: &Pending) {
    reply.integer(pending.delivered_at.cast_signed());
    reply.integer(pending.delivery_count.cast_signed());
}
