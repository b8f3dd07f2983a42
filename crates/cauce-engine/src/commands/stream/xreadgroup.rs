//! `XREADGROUP GROUP group consumer [COUNT count] [BLOCK milliseconds] [NOACK] STREAMS key [key ...] id [id ...]`

use super::options::strict_id;
use super::reply;
use super::xread::{ReadCommand, ReadOptions, write_header, write_key};
use crate::blocking::WakeOn;
use crate::call::{Call, Flow};
use crate::command::{CommandSpec, Flags, Keys};
use crate::errors::{Error, stream as texts};
use crate::keyspace::Slot;
use crate::notify::NotifyClasses;
use crate::records::{Effect, StreamEffect};
use crate::stream::StreamId;

pub(super) const XREADGROUP: CommandSpec = CommandSpec {
    name: "xreadgroup",
    arity: -7,
    flags: Flags::WRITE.and(Flags::BLOCKING).and(Flags::MOVABLE_KEYS),
    keys: Keys::AfterStreams,
    group: "stream",
    since: "5.0.0",
    summary: "Returns new or historical messages from a stream for a consumer in a group. Blocks until a message is available otherwise.",
    complexity: "For each stream mentioned: O(M) with M being the number of elements returned. If M is constant (e.g. always asking for the first 10 elements with COUNT), you can consider it O(1). On the other side when XREADGROUP blocks, XADD will pay the O(N) time in order to serve the N clients blocked on the stream getting new data.",
    run: xreadgroup,
    subcommands: &[],
};

/// What is read of one stream.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    /// `>`: the entries behind the group's cursor.
    New,
    /// An id: the consumer's pending entries behind it.
    History(StreamId),
}

/// One of the streams, with what is to be sent of it.
struct Target<'a> {
    key: &'a [u8],
    slot: Slot,
    wanted: Wanted,
    /// New entries to deliver.
    len: u64,
}

/// Who reads.
#[derive(Clone, Copy)]
struct Reader<'a> {
    group: &'a [u8],
    consumer: &'a [u8],
    noack: bool,
}

fn xreadgroup(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let options = ReadOptions::parse(args, ReadCommand::Xreadgroup, call.now)?;
    let (group, consumer) = options.group.ok_or(texts::MISSING_GROUP)?;
    let reader = Reader { group, consumer, noack: options.noack };
    let mut targets = find_targets(call, &options, group)?;
    for target in &targets {
        see_consumer(call, target.slot, target.key, group, consumer);
    }
    plan(call, &mut targets, group, options.count);
    let served = |target: &&Target<'_>| target.len > 0 || matches!(target.wanted, Wanted::History(_));
    let streams = targets.iter().filter(served).count();
    if streams == 0 {
        return Ok(options.wait(call, WakeOn::Anything, || args.iter().map(|&arg| arg.into()).collect()));
    }
    write_header(&mut call.reply, streams);
    for target in targets.iter().filter(served) {
        write_key(&mut call.reply, target.key);
        match target.wanted {
            Wanted::New => deliver(call, target, reader),
            Wanted::History(after) => redeliver(call, target.slot, reader, after, options.count),
        }
    }
    Ok(Flow::Done)
}

/// Checks every stream and id before anything is changed.
fn find_targets<'a>(
    call: &mut Call<'_>,
    options: &ReadOptions<'_, 'a>,
    group: &[u8],
) -> Result<Vec<Target<'a>>, Error> {
    let mut targets = Vec::with_capacity(options.keys.len());
    for (&key, &text) in options.keys.iter().zip(options.ids) {
        let slot = call.find_stream(key)?;
        let slot = slot.filter(|&slot| call.stream(slot).group(group).is_some());
        let slot = slot.ok_or_else(|| texts::no_group_to_read(key, group))?;
        let wanted = match text {
            b">" => Wanted::New,
            b"$" => return Err(texts::LAST_WITH_XREADGROUP),
            _ => match strict_id(text)? {
                // Nothing can come after it; Redis takes it for `>`.
                StreamId::MAX => Wanted::New,
                id => Wanted::History(id),
            },
        };
        targets.push(Target { key, slot, wanted, len: 0 });
    }
    Ok(targets)
}

/// Makes the consumer if there is none, and notes that it was here.
pub(super) fn see_consumer(call: &mut Call<'_>, slot: Slot, key: &[u8], group: &[u8], consumer: &[u8]) {
    let now_ms = call.now.millis();
    let Some((state, _)) = call.stream_mut(slot).0.group_mut(group) else { return };
    match state.consumer_index(consumer) {
        Some(index) => state.see(index, now_ms),
        None => create_consumer(call, slot, key, group, consumer),
    }
}

/// Makes a consumer whose name is free in a group that exists.
pub(super) fn create_consumer(call: &mut Call<'_>, slot: Slot, key: &[u8], group: &[u8], consumer: &[u8]) {
    let at_ms = call.now.millis();
    let Some((state, _)) = call.stream_mut(slot).0.group_mut(group) else { return };
    state.create_consumer(consumer, at_ms);
    call.record(slot, &Effect::Stream(StreamEffect::CreateConsumer { group, consumer, at_ms }));
    call.notify(NotifyClasses::STREAM, "xgroup-createconsumer", key);
}

/// Counts the new entries of each stream, so that the reply's header is known before anything is delivered.
fn plan(call: &mut Call<'_>, targets: &mut [Target<'_>], group: &[u8], count: u64) {
    for at in 0..targets.len() {
        let (before, rest) = targets.split_at_mut(at);
        let Some((target, _)) = rest.split_first_mut() else { continue };
        let (stream, _) = call.stream_mut(target.slot);
        let (Wanted::New, Some((state, entries))) = (target.wanted, stream.group_mut(group)) else {
            continue;
        };
        let Some(place) = state.place(entries) else { continue };
        // A stream that is named twice has the second time only what the first leaves.
        let taken =
            before.iter().filter(|other| other.slot == target.slot).map(|other| other.len).sum::<u64>();
        target.len = entries.count_from(place, count.saturating_add(taken)).saturating_sub(taken);
    }
}

/// Delivers new entries and writes them.
fn deliver(call: &mut Call<'_>, target: &Target<'_>, reader: Reader<'_>) {
    let at_ms = call.now.millis();
    let Reader { group: name, consumer, noack } = reader;
    let (stream, reply) = call.stream_mut(target.slot);
    let Some((group, entries)) = stream.group_mut(name) else { return };
    let (Some(index), Some(place)) = (group.consumer_index(consumer), group.place(entries)) else { return };
    let counters = entries.counters();
    let mut range = entries.range_from(place);
    reply.array(target.len as usize);
    for entry in range.by_ref().take(target.len as usize) {
        reply::entry(reply, &entry);
        if noack {
            group.deliver_noack(&counters, entry.id());
        } else {
            group.deliver(&counters, entry.id(), index, at_ms);
        }
    }
    group.set_place(range.place());
    let (count, last_id) = (target.len, group.last_delivered_id());
    let effect = if noack {
        StreamEffect::DeliverNoAck { group: name, count, last_id }
    } else {
        StreamEffect::Deliver { group: name, consumer, at_ms, count, last_id }
    };
    call.record(target.slot, &Effect::Stream(effect));
}

/// Writes the consumer's pending entries behind `after`; those that still exist are delivered once more.
fn redeliver(call: &mut Call<'_>, slot: Slot, reader: Reader<'_>, after: StreamId, count: u64) {
    let at_ms = call.now.millis();
    let (stream, reply) = call.stream_mut(slot);
    let Some((group, entries)) = stream.group_mut(reader.group) else { return };
    let (Some(index), Some(start)) = (group.consumer_index(reader.consumer), after.next()) else { return };
    let pending = group.consumer(index).pending().range(start, StreamId::MAX);
    let mut ids: Vec<StreamId> = pending.map(|(id, ())| id).take(count as usize).collect();
    reply.array(ids.len());
    ids.retain(|&id| match entries.entry(id) {
        Some(entry) => {
            reply::entry(reply, &entry);
            group.redeliver(id, at_ms);
            true
        }
        None => {
            reply.array(2);
            reply::id(reply, id);
            reply.null_array();
            false
        }
    });
    if !ids.is_empty() {
        let effect = StreamEffect::Redeliver { group: reader.group, at_ms, ids: ids.into() };
        call.record(slot, &Effect::Stream(effect));
    }
}
