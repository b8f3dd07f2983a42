//! `XREADGROUP GROUP group consumer [COUNT count] [MAXCOUNT count] [MAXSIZE bytes] [BLOCK milliseconds]
//! [CLAIM min-idle-time] [NOACK] STREAMS key [key ...] id [id ...]`

use super::options::strict_id;
use super::reply;
use super::xread::{ReadCommand, ReadOptions, write_header, write_key};
use crate::blocking::{ClaimWait, WakeOn};
use crate::call::{Call, Flow};
use crate::command::{CommandSpec, Flags, Keys};
use crate::errors::{Error, stream as texts};
use crate::keyspace::Slot;
use crate::notify::NotifyClasses;
use crate::records::{Claim, Effect, StreamEffect};
use crate::stream::{Entry, Group, Needs, StreamId};
use crate::time::Timestamp;

pub(super) const XREADGROUP: CommandSpec = CommandSpec {
    name: "xreadgroup",
    arity: -7,
    flags: Flags::WRITE.and(Flags::BLOCKING).and(Flags::MOVABLE_KEYS),
    keys: Keys::AfterStreams { from: 4 },
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
    /// Pending entries: to claim, or the history asked for.
    pending: Vec<StreamId>,
    /// New entries to deliver.
    len: u64,
    /// There is more, but the reply has no room for any of it.
    cut_off: bool,
}

impl Target<'_> {
    /// Whether the reply shows the stream; an empty history is shown.
    fn is_served(&self) -> bool {
        let history = matches!(self.wanted, Wanted::History(_)) && !self.cut_off;
        self.len > 0 || !self.pending.is_empty() || history
    }
}

/// Who reads.
#[derive(Clone, Copy)]
struct Reader<'a> {
    group: &'a [u8],
    consumer: &'a [u8],
    noack: bool,
    /// Pending entries idle for so long are claimed; each element of the reply has four members then.
    claim_idle_ms: Option<u64>,
}

fn xreadgroup(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let options = ReadOptions::parse(args, ReadCommand::Xreadgroup, call.now)?;
    let (group, consumer) = options.group.ok_or(texts::MISSING_GROUP)?;
    let reader = Reader { group, consumer, noack: options.noack, claim_idle_ms: options.claim_idle_ms };
    let mut targets = find_targets(call, &options, group)?;
    want_targets(call, &targets, reader, &options)?;
    for target in &targets {
        see_consumer(call, target.slot, target.key, group, consumer);
    }
    plan(call, &mut targets, reader, &options);
    let streams = targets.iter().filter(|target| target.is_served()).count();
    if streams == 0 {
        let wakes_on = match reader.claim_idle_ms {
            Some(idle_ms) => WakeOn::Claimable(next_claim(call, &targets, group, idle_ms)),
            None => WakeOn::Anything,
        };
        return Ok(options.wait(call, wakes_on, || args.iter().map(|&arg| arg.into()).collect()));
    }
    write_header(&mut call.reply, streams);
    for target in targets.iter().filter(|target| target.is_served()) {
        write_key(&mut call.reply, target.key);
        match target.wanted {
            Wanted::New => {
                call.reply.array(target.pending.len() + target.len as usize);
                claim(call, target, reader);
                deliver(call, target, reader);
            }
            Wanted::History(after) => {
                let chosen = options.budget().is_limited().then_some(&target.pending[..]);
                redeliver(call, target.slot, reader, after, (options.count, chosen));
            }
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
            b"+" => return Err(texts::NEWEST_WITH_XREADGROUP),
            _ => match strict_id(text)? {
                // Nothing can come after it; Redis takes it for `>`.
                StreamId::MAX => Wanted::New,
                id => Wanted::History(id),
            },
        };
        targets.push(Target { key, slot, wanted, pending: Vec::new(), len: 0, cut_off: false });
    }
    Ok(targets)
}

/// Brings in what will be read.
fn want_targets(
    call: &mut Call<'_>,
    targets: &[Target<'_>],
    reader: Reader<'_>,
    options: &ReadOptions<'_, '_>,
) -> Result<(), Error> {
    let now_ms = call.now.millis();
    let count = usize::try_from(options.count).unwrap_or(usize::MAX);
    for target in targets {
        if !call.stream(target.slot).entries().may_be_absent() {
            continue;
        }
        let Some((group, _)) = call.stream_mut(target.slot).0.group_mut(reader.group) else { continue };
        let cursor = group.last_delivered_id();
        let pending = match (target.wanted, reader.claim_idle_ms) {
            (Wanted::History(after), _) => history(group, reader.consumer, after, count),
            (Wanted::New, Some(idle_ms)) => group.claim_candidates(idle_ms, now_ms, count),
            (Wanted::New, None) => Vec::new(),
        };
        call.want(target.slot, &Needs::Ids(&pending));
        // A stream that is named more than once goes on where it ended.
        let times = targets.iter().filter(|other| other.slot == target.slot).count() as u64;
        if let (Wanted::New, Some(needs)) = (target.wanted, options.needs(cursor, times)) {
            call.want(target.slot, &needs);
        }
    }
    call.bring()
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

/// Chooses what is sent of each stream, so that the reply's header is known before anything is delivered.
fn plan(call: &mut Call<'_>, targets: &mut [Target<'_>], reader: Reader<'_>, options: &ReadOptions<'_, '_>) {
    let now_ms = call.now.millis();
    let mut budget = options.budget();
    for at in 0..targets.len() {
        let (before, rest) = targets.split_at_mut(at);
        let Some((target, _)) = rest.split_first_mut() else { continue };
        // A stream that is named twice has the second time only what the first leaves.
        let same = |other: &&Target<'_>| other.slot == target.slot && matches!(other.wanted, Wanted::New);
        let taken: Vec<&Target<'_>> = before.iter().filter(same).collect();
        let (stream, _) = call.stream_mut(target.slot);
        let Some((group, entries)) = stream.group_mut(reader.group) else { continue };
        let count = usize::try_from(options.count).unwrap_or(usize::MAX);
        let mut pending = match (target.wanted, reader.claim_idle_ms) {
            // Without limits a history shows what the streams before it deliver.
            (Wanted::History(_), _) if !budget.is_limited() => Vec::new(),
            (Wanted::History(after), _) => history(group, reader.consumer, after, count),
            (Wanted::New, Some(idle_ms)) => {
                let known: usize = taken.iter().map(|other| other.pending.len()).sum();
                let mut ids = group.claimable(entries, idle_ms, now_ms, count.saturating_add(known));
                ids.retain(|id| !taken.iter().any(|other| other.pending.contains(id)));
                ids.truncate(count);
                ids
            }
            (Wanted::New, None) => Vec::new(),
        };
        let place = matches!(target.wanted, Wanted::New).then(|| group.place(entries)).flatten();
        let left = options.count.saturating_sub(pending.len() as u64);
        let taken = taken.iter().map(|other| other.len).sum::<u64>();
        if budget.is_limited() {
            budget.open_stream(target.key);
            let all = pending.len();
            let len = |id| entries.entry(id).map_or(0, |entry| element_len(&entry, reader));
            let fit = pending.iter().take_while(|&&id| budget.admit(|| len(id))).count();
            pending.truncate(fit);
            target.cut_off = fit < all && fit == 0;
            if let Some(place) = place.filter(|_| fit == all) {
                let new = entries.range_from(place).skip(taken as usize).take(left as usize);
                let fit = new.take_while(|entry| budget.admit(|| element_len(entry, reader))).count();
                target.len = fit as u64;
            }
        } else if let Some(place) = place {
            target.len = entries.count_from(place, left.saturating_add(taken)).saturating_sub(taken);
        }
        target.pending = pending;
    }
}

/// Bytes of one element of the reply.
fn element_len(entry: &Entry<'_>, reader: Reader<'_>) -> u64 {
    /// `:idle` and `:count`, of about so many digits.
    const HISTORY_LEN: u64 = 16;
    reply::entry_len(entry) + reader.claim_idle_ms.map_or(0, |_| HISTORY_LEN)
}

/// The consumer's pending entries behind `after`.
fn history(group: &Group, consumer: &[u8], after: StreamId, count: usize) -> Vec<StreamId> {
    let (Some(index), Some(start)) = (group.consumer_index(consumer), after.next()) else {
        return Vec::new();
    };
    let pending = group.consumer(index).pending().range(start, StreamId::MAX);
    pending.map(|(id, ())| id).take(count).collect()
}

/// When a reader that found nothing to claim has to look again.
fn next_claim(call: &mut Call<'_>, targets: &[Target<'_>], group: &[u8], min_idle_ms: u64) -> ClaimWait {
    let now_ms = call.now.millis();
    let mut at: Option<u64> = None;
    for target in targets {
        if let Some((state, _)) = call.stream_mut(target.slot).0.group_mut(group) {
            at = at.into_iter().chain(state.next_claimable_ms(min_idle_ms, now_ms)).min();
        }
    }
    ClaimWait { min_idle_ms, at: at.map(Timestamp::from_millis) }
}

/// Takes the pending entries that were chosen, and writes them.
fn claim(call: &mut Call<'_>, target: &Target<'_>, reader: Reader<'_>) {
    let now_ms = call.now.millis();
    let Reader { group: name, consumer, .. } = reader;
    let (stream, reply) = call.stream_mut(target.slot);
    let Some((group, entries)) = stream.group_mut(name) else { return };
    let Some(index) = group.consumer_index(consumer) else { return };
    let mut claims = Vec::with_capacity(target.pending.len());
    for &id in &target.pending {
        let entry = entries.entry(id).expect("only entries that are there are chosen");
        let pending = *group.pending().get(id).expect("only pending entries are chosen");
        let idle_ms = pending.idle_ms(now_ms).map_or(-1, u64::cast_signed);
        reply::entry_with_history(reply, &entry, idle_ms, pending.delivery_count.cast_signed());
        let delivery_count = pending.next_count();
        group.claim(id, index, now_ms, delivery_count, now_ms);
        claims.push(Claim { id, delivered_at: now_ms, delivery_count });
    }
    if !claims.is_empty() {
        let effect = StreamEffect::Claim { group: name, consumer, at_ms: now_ms, claims: claims.into() };
        call.record(target.slot, &Effect::Stream(effect));
    }
}

/// Delivers new entries and writes them.
fn deliver(call: &mut Call<'_>, target: &Target<'_>, reader: Reader<'_>) {
    let at_ms = call.now.millis();
    let Reader { group: name, consumer, noack, claim_idle_ms } = reader;
    if target.len == 0 {
        return;
    }
    let (stream, reply) = call.stream_mut(target.slot);
    let Some((group, entries)) = stream.group_mut(name) else { return };
    let (Some(index), Some(place)) = (group.consumer_index(consumer), group.place(entries)) else { return };
    let counters = entries.counters();
    let mut range = entries.range_from(place);
    for entry in range.by_ref().take(target.len as usize) {
        match claim_idle_ms {
            Some(_) => reply::entry_with_history(reply, &entry, 0, 0),
            None => reply::entry(reply, &entry),
        }
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

/// Writes the consumer's pending entries behind `after`, at most so many or those that were chosen; those that
/// still exist are delivered once more.
fn redeliver(
    call: &mut Call<'_>,
    slot: Slot,
    reader: Reader<'_>,
    after: StreamId,
    (count, chosen): (u64, Option<&[StreamId]>),
) {
    let at_ms = call.now.millis();
    let (stream, reply) = call.stream_mut(slot);
    let Some((group, entries)) = stream.group_mut(reader.group) else { return };
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let mut ids = match chosen {
        Some(chosen) => chosen.to_vec(),
        None => history(group, reader.consumer, after, count),
    };
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
