//! Consumer groups: who was given what, and what was acknowledged.

use std::collections::{BTreeMap, BTreeSet};

use super::released::Released;
use super::{Counters, Entries, IdMap, Place, StreamId};

/// Stands for a consumer in the pending entries of its group. Belongs to no other consumer as long as it exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsumerIndex(u32);

/// An entry that was delivered to a consumer and is not acknowledged yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// Whose it is now; nobody's after XNACK.
    pub consumer: Option<ConsumerIndex>,
    /// When it was last delivered or claimed, in Unix milliseconds. XCLAIM may set any time in the past; 0 while
    /// it is nobody's.
    pub delivered_at: u64,
    /// How often it was delivered; XCLAIM may set any number.
    pub delivery_count: u64,
}

/// Lists of millions are made of these.
const _: () = assert!(size_of::<Pending>() == 24);

/// Delivery counts end here: the greatest integer that a reply can hold.
pub const DELIVERY_COUNT_MAX: u64 = i64::MAX.cast_unsigned();

impl Pending {
    /// How long ago it was delivered; `None` while it is nobody's.
    #[must_use]
    pub fn idle_ms(&self, now_ms: u64) -> Option<u64> {
        self.consumer.map(|_| now_ms.saturating_sub(self.delivered_at))
    }

    /// Whether it may be taken from its consumer: it was not delivered for so long, or is nobody's.
    #[must_use]
    pub fn is_idle(&self, min_idle_ms: u64, now_ms: u64) -> bool {
        self.idle_ms(now_ms).is_none_or(|idle| idle >= min_idle_ms)
    }

    /// Its delivery count after one more delivery.
    #[must_use]
    pub fn next_count(&self) -> u64 {
        self.delivery_count.saturating_add(1).min(DELIVERY_COUNT_MAX)
    }
}

/// A member of a group.
#[derive(Debug, Clone)]
pub struct Consumer {
    name: Box<[u8]>,
    /// When it last tried to read or claim, in Unix milliseconds. Not part of the durable state: a read that
    /// delivers nothing leaves no record.
    seen_at: u64,
    /// When it last was given an entry, in Unix milliseconds; `None` before the first (Redis 7.2).
    active_at: Option<u64>,
    /// Its part of the group's pending entries.
    pending: IdMap<()>,
}

/// A consumer group: a cursor through the stream, and the entries delivered but not acknowledged.
///
/// Each pending entry is in two lists: the group's, which says whose it is, and its consumer's. Every method
/// changes both or none.
#[derive(Debug, Clone)]
pub struct Group {
    /// Entries up to this id were delivered, or skipped when the group was made.
    last_delivered_id: StreamId,
    /// How many entries of the stream lie up to the cursor, deleted ones included; `None` when that cannot be
    /// known (Redis: -1).
    entries_read: Option<u64>,
    /// The place of a cursor in the stream: a group that reads on need not search for its own. Not part of the
    /// durable state.
    place: Option<(StreamId, Place)>,
    pending: IdMap<Pending>,
    /// Those that are nobody's.
    released: Released,
    /// Those that are somebody's, oldest delivery first, for readers that claim; made when the first one comes,
    /// so that other groups do without its memory. Entries that are known to be gone from the stream are left
    /// out. Not part of the durable state.
    by_time: Option<BTreeSet<(u64, StreamId)>>,
    /// Consumers by their index; a place is free when nothing refers to it.
    consumers: Vec<Option<Consumer>>,
    free: Vec<ConsumerIndex>,
    by_name: BTreeMap<Box<[u8]>, ConsumerIndex>,
}

impl Group {
    /// A group without consumers that reads on behind `last_delivered_id`.
    #[must_use]
    pub fn new(last_delivered_id: StreamId, entries_read: Option<u64>) -> Self {
        Self {
            last_delivered_id,
            entries_read,
            place: None,
            pending: IdMap::new(),
            released: Released::default(),
            by_time: None,
            consumers: Vec::new(),
            free: Vec::new(),
            by_name: BTreeMap::new(),
        }
    }

    /// Moves the cursor to any place.
    pub fn set_last_delivered_id(&mut self, id: StreamId, entries_read: Option<u64>) {
        self.last_delivered_id = id;
        self.entries_read = entries_read;
    }

    /// Moves the cursor forward to `id`; never back. What was skipped is not counted as read (XCLAIM LASTID).
    pub fn skip_to(&mut self, id: StreamId) {
        self.last_delivered_id = self.last_delivered_id.max(id);
    }

    /// Sets when a consumer was last seen and last given an entry.
    pub fn set_times(&mut self, consumer: ConsumerIndex, seen_at: u64, active_at: Option<u64>) {
        let consumer = self.consumer_mut(consumer);
        (consumer.seen_at, consumer.active_at) = (seen_at, active_at);
    }

    /// Adds a consumer whose name is not taken.
    pub fn create_consumer(&mut self, name: &[u8], now_ms: u64) -> ConsumerIndex {
        let index = self.free.pop().unwrap_or_else(|| {
            self.consumers.push(None);
            ConsumerIndex(
                u32::try_from(self.consumers.len() - 1).expect("a group has fewer than 2^32 consumers"),
            )
        });
        let place = &mut self.consumers[index.0 as usize];
        assert!(place.is_none(), "an index is given to one consumer at a time");
        *place =
            Some(Consumer { name: name.into(), seen_at: now_ms, active_at: None, pending: IdMap::new() });
        let before = self.by_name.insert(name.into(), index);
        assert!(before.is_none(), "a consumer's name is its own");
        index
    }

    /// Removes a consumer together with its pending entries, and says how many these were; `None` if there is no
    /// such consumer.
    pub fn delete_consumer(&mut self, name: &[u8]) -> Option<usize> {
        let index = self.by_name.remove(name)?;
        let consumer = self.consumers[index.0 as usize].take().expect("a named consumer exists");
        for (id, ()) in consumer.pending.iter() {
            let pending = self.pending.remove(id).expect("a consumer's entry is in its group's list");
            assert_eq!(pending.consumer, Some(index), "{id} is in both lists");
            if let Some(by_time) = &mut self.by_time {
                by_time.remove(&(pending.delivered_at, id));
            }
        }
        self.free.push(index);
        Some(consumer.pending.len())
    }

    /// The place behind the cursor; `None` in a stream without entries.
    pub fn place(&mut self, entries: &Entries) -> Option<Place> {
        let cursor = self.last_delivered_id;
        // A cursor may be ahead of the stream (XGROUP SETID, XSETID): what is added then is not behind it.
        let known = self.place.filter(|&(of, place)| of == cursor && entries.is_behind(place, cursor));
        self.place = known.or_else(|| entries.place_behind(cursor).map(|place| (cursor, place)));
        self.place.map(|(_, place)| place)
    }

    /// Takes note of the place behind the cursor, from a reader that came there.
    pub fn set_place(&mut self, place: Option<Place>) {
        self.place = place.map(|place| (self.last_delivered_id, place));
    }

    /// Notes that a consumer tried to read or claim.
    pub fn see(&mut self, consumer: ConsumerIndex, now_ms: u64) {
        self.consumer_mut(consumer).seen_at = now_ms;
    }

    /// Delivers the entry behind the cursor to a consumer: the cursor moves on, the entry is pending with a
    /// delivery count of 1. If it was pending already (the cursor had been set back) it changes hands.
    pub fn deliver(&mut self, counters: &Counters, id: StreamId, consumer: ConsumerIndex, now_ms: u64) {
        self.advance(counters, id);
        self.assign(
            id,
            consumer,
            Pending { consumer: Some(consumer), delivered_at: now_ms, delivery_count: 1 },
        );
        self.consumer_mut(consumer).active_at = Some(now_ms);
    }

    /// Moves the cursor over the entry behind it, without making it pending (NOACK).
    pub fn deliver_noack(&mut self, counters: &Counters, id: StreamId) {
        self.advance(counters, id);
    }

    /// Delivers a pending entry to its consumer once more.
    pub fn redeliver(&mut self, id: StreamId, now_ms: u64) {
        let pending = self.pending.get_mut(id).expect("what is delivered again is pending");
        let before = std::mem::replace(&mut pending.delivered_at, now_ms);
        pending.delivery_count = pending.next_count();
        if let Some(by_time) = &mut self.by_time {
            by_time.remove(&(before, id));
            by_time.insert((now_ms, id));
        }
    }

    /// Gives an entry to a consumer, whether it was pending before or not.
    pub fn claim(
        &mut self,
        id: StreamId,
        consumer: ConsumerIndex,
        delivered_at: u64,
        delivery_count: u64,
        now_ms: u64,
    ) {
        self.assign(id, consumer, Pending { consumer: Some(consumer), delivered_at, delivery_count });
        self.consumer_mut(consumer).active_at = Some(now_ms);
    }

    /// Makes an entry nobody's, whether it was pending before or not: the next that claims gets it.
    pub fn release(&mut self, id: StreamId, delivery_count: u64) {
        let before = self.pending.insert(id, Pending { consumer: None, delivered_at: 0, delivery_count });
        // What was nobody's keeps its place.
        if let Some(before) = before.filter(|before| before.consumer.is_some()) {
            self.disown(id, before);
        }
        self.released.push(id);
    }

    /// The pending entries that may be claimed and are in the stream still: those that are nobody's, then those
    /// that were not delivered for `min_idle_ms`, oldest delivery first. At most `limit`.
    pub fn claimable(
        &mut self,
        entries: &Entries,
        min_idle_ms: u64,
        now_ms: u64,
        limit: usize,
    ) -> Vec<StreamId> {
        let mut ids: Vec<StreamId> =
            self.released.iter().filter(|&id| entries.contains(id)).take(limit).collect();
        let mut gone = Vec::new();
        let by_time = Self::by_time(&mut self.by_time, &self.pending);
        if let Some(latest) = now_ms.checked_sub(min_idle_ms) {
            for &(at, id) in by_time.range(..=(latest, StreamId::MAX)) {
                if ids.len() >= limit {
                    break;
                }
                if entries.contains(id) { ids.push(id) } else { gone.push((at, id)) }
            }
        }
        // Each is met once: they don't come back.
        for entry in gone {
            by_time.remove(&entry);
        }
        ids
    }

    /// The pending entries that [`Group::claimable`] looks at first, whether they are in the stream still or not.
    pub(crate) fn claim_candidates(&mut self, min_idle_ms: u64, now_ms: u64, limit: usize) -> Vec<StreamId> {
        let mut ids: Vec<StreamId> = self.released.iter().take(limit).collect();
        if let Some(latest) = now_ms.checked_sub(min_idle_ms) {
            let by_time = Self::by_time(&mut self.by_time, &self.pending);
            let ripe = by_time.range(..=(latest, StreamId::MAX));
            ids.extend(ripe.map(|&(_, id)| id).take(limit - ids.len()));
        }
        ids
    }

    /// When the next pending entry will not have been delivered for `min_idle_ms`, in Unix milliseconds.
    pub fn next_claimable_ms(&mut self, min_idle_ms: u64, now_ms: u64) -> Option<u64> {
        let by_time = Self::by_time(&mut self.by_time, &self.pending);
        let after = match now_ms.checked_sub(min_idle_ms) {
            Some(ripe) => (ripe, StreamId::MAX),
            None => (0, StreamId::MIN),
        };
        by_time.range(after..).find(|&&entry| entry != after).map(|&(at, _)| at.saturating_add(min_idle_ms))
    }

    /// Takes an entry off the pending entries, and says whether it was there.
    pub fn ack(&mut self, id: StreamId) -> bool {
        let Some(pending) = self.pending.remove(id) else { return false };
        self.disown(id, pending);
        true
    }

    /// Entries up to this id were delivered or skipped.
    #[must_use]
    pub fn last_delivered_id(&self) -> StreamId {
        self.last_delivered_id
    }

    /// How many entries of the stream lie up to the cursor, if known.
    #[must_use]
    pub fn entries_read(&self) -> Option<u64> {
        self.entries_read
    }

    /// How many entries the group has still to be delivered, if that can be known. Negative where
    /// ENTRIESREAD claimed more than was ever added. The rules are those of Redis 8.0 (corrected from 7.0).
    #[must_use]
    pub fn lag(&self, counters: &Counters) -> Option<i64> {
        if counters.entries_added == 0 || counters.length == 0 {
            return Some(0);
        }
        if self.last_delivered_id < counters.first_id && counters.max_deleted_id < counters.first_id {
            return Some(counters.length.cast_signed());
        }
        let read = match self.entries_read {
            Some(read) if !counters.has_tombstone_from(self.last_delivered_id) => read,
            _ => counters.entries_up_to(self.last_delivered_id)?,
        };
        Some(counters.entries_added.wrapping_sub(read).cast_signed())
    }

    /// The group's pending entries.
    #[must_use]
    pub fn pending(&self) -> &IdMap<Pending> {
        &self.pending
    }

    /// The pending entries that are nobody's, in the order in which they were given back.
    pub fn released(&self) -> impl Iterator<Item = StreamId> {
        self.released.iter()
    }

    /// How many pending entries are nobody's.
    #[must_use]
    pub fn released_len(&self) -> usize {
        self.released.len()
    }

    /// The name of the consumer whose a pending entry is; empty while it is nobody's.
    #[must_use]
    pub fn owner_name(&self, pending: &Pending) -> &[u8] {
        pending.consumer.map_or(b"", |index| self.consumer(index).name())
    }

    /// The index of a consumer.
    #[must_use]
    pub fn consumer_index(&self, name: &[u8]) -> Option<ConsumerIndex> {
        self.by_name.get(name).copied()
    }

    /// The consumer with this index.
    #[must_use]
    pub fn consumer(&self, index: ConsumerIndex) -> &Consumer {
        self.consumers[index.0 as usize].as_ref().expect("an index is used while its consumer exists")
    }

    /// All consumers, in order of their names.
    pub fn consumers(&self) -> impl ExactSizeIterator<Item = (ConsumerIndex, &Consumer)> {
        self.by_name.values().map(|&index| (index, self.consumer(index)))
    }

    fn advance(&mut self, counters: &Counters, id: StreamId) {
        assert!(id > self.last_delivered_id, "{id} is not behind the cursor {}", self.last_delivered_id);
        assert!(id <= counters.last_id, "{id} is not in the stream");
        self.entries_read = match self.entries_read {
            Some(read)
                if self.last_delivered_id >= counters.first_id
                    && !counters.has_tombstone_from(self.last_delivered_id) =>
            {
                Some(read.saturating_add(1))
            }
            _ => counters.entries_up_to(id),
        };
        self.last_delivered_id = id;
    }

    fn assign(&mut self, id: StreamId, consumer: ConsumerIndex, pending: Pending) {
        let before = self.pending.insert(id, pending);
        if let Some(by_time) = &mut self.by_time {
            if let Some(before) = before {
                by_time.remove(&(before.delivered_at, id));
            }
            by_time.insert((pending.delivered_at, id));
        }
        match before {
            Some(before) if before.consumer == pending.consumer => return,
            Some(Pending { consumer: None, .. }) => self.released.remove(id),
            Some(Pending { consumer: Some(owner), .. }) => self.take_from(owner, id),
            None => {}
        }
        let before = self.consumer_mut(consumer).pending.insert(id, ());
        assert!(before.is_none(), "{id} was no consumer's");
    }

    /// Takes an entry, pending until now as `before`, off all lists but the group's own.
    fn disown(&mut self, id: StreamId, before: Pending) {
        match before.consumer {
            Some(owner) => {
                self.take_from(owner, id);
                if let Some(by_time) = &mut self.by_time {
                    by_time.remove(&(before.delivered_at, id));
                }
            }
            None => self.released.remove(id),
        }
    }

    fn take_from(&mut self, owner: ConsumerIndex, id: StreamId) {
        let removed = self.consumer_mut(owner).pending.remove(id);
        assert!(removed.is_some(), "{id} is in both lists");
    }

    /// The index by time, made if there is none.
    fn by_time<'g>(
        by_time: &'g mut Option<BTreeSet<(u64, StreamId)>>,
        pending: &IdMap<Pending>,
    ) -> &'g mut BTreeSet<(u64, StreamId)> {
        by_time.get_or_insert_with(|| {
            let owned = pending.iter().filter(|(_, pending)| pending.consumer.is_some());
            owned.map(|(id, pending)| (pending.delivered_at, id)).collect()
        })
    }

    fn consumer_mut(&mut self, index: ConsumerIndex) -> &mut Consumer {
        self.consumers[index.0 as usize].as_mut().expect("an index is used while its consumer exists")
    }
}

impl Consumer {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// When it last tried to read or claim, in Unix milliseconds.
    #[must_use]
    pub fn seen_at(&self) -> u64 {
        self.seen_at
    }

    /// When it last was given an entry, in Unix milliseconds.
    #[must_use]
    pub fn active_at(&self) -> Option<u64> {
        self.active_at
    }

    /// The ids of its pending entries.
    #[must_use]
    pub fn pending(&self) -> &IdMap<()> {
        &self.pending
    }
}

impl Counters {
    /// Whether an entry at or after `id` was deleted from the middle of the stream: the entries from there on
    /// cannot be counted by subtracting.
    fn has_tombstone_from(&self, id: StreamId) -> bool {
        self.length > 0 && self.max_deleted_id != StreamId::MIN && self.max_deleted_id >= id
    }

    /// How many entries were ever added up to `id`, where the numbers tell.
    #[must_use]
    pub fn entries_up_to(&self, id: StreamId) -> Option<u64> {
        if self.entries_added == 0 {
            return Some(0);
        }
        if id == self.last_id {
            return Some(self.entries_added);
        }
        if id > self.last_id || (id != StreamId::MIN && id < self.max_deleted_id) {
            return None;
        }
        let no_tombstone = self.max_deleted_id == StreamId::MIN || self.max_deleted_id < self.first_id;
        let before_first = self.entries_added.saturating_sub(self.length);
        match id.cmp(&self.first_id) {
            std::cmp::Ordering::Less if no_tombstone => Some(before_first),
            std::cmp::Ordering::Equal if no_tombstone => Some(before_first + 1),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{BlockLimits, Stream, Trim};
    use super::*;

    const CONSUMERS: [&[u8]; 3] = [b"a", b"b", b"c"];

    fn id(ms: u64) -> StreamId {
        StreamId::new(ms, 0)
    }

    /// What is pending, as plainly as can be: id, consumer (if any), time, count.
    type Model = BTreeMap<u64, (Option<usize>, u64, u64)>;

    #[derive(Debug, Clone)]
    enum Step {
        Add,
        Delete(u64),
        Trim(u64),
        Deliver {
            consumer: usize,
            count: usize,
        },
        SetCursor(u64),
        Ack(u64),
        Redeliver(u64),
        Claim {
            id: u64,
            consumer: usize,
            count: u64,
        },
        Release {
            id: u64,
            count: u64,
        },
        /// A reader that claims what was not delivered for so long.
        ClaimIdle {
            consumer: usize,
            min_idle: u64,
        },
        DeleteConsumer(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => Just(Step::Add),
            1 => (0..60_u64).prop_map(Step::Delete),
            1 => (0..10_u64).prop_map(Step::Trim),
            4 => (0..3_usize, 1..6_usize).prop_map(|(consumer, count)| Step::Deliver { consumer, count }),
            1 => (0..60_u64).prop_map(Step::SetCursor),
            4 => (0..60_u64).prop_map(Step::Ack),
            1 => (0..60_u64).prop_map(Step::Redeliver),
            2 => (0..60_u64, 0..3_usize, 0..9_u64)
                .prop_map(|(id, consumer, count)| Step::Claim { id, consumer, count }),
            2 => (0..60_u64, 0..9_u64).prop_map(|(id, count)| Step::Release { id, count }),
            2 => (0..3_usize, 0..20_u64)
                .prop_map(|(consumer, min_idle)| Step::ClaimIdle { consumer, min_idle }),
            1 => (0..3_usize).prop_map(Step::DeleteConsumer),
        ];
        prop::collection::vec(step, 0..100)
    }

    fn ensure(group: &mut Group, consumer: usize) -> ConsumerIndex {
        let name = CONSUMERS[consumer];
        group.consumer_index(name).unwrap_or_else(|| group.create_consumer(name, 0))
    }

    fn apply(step: &Step, now_ms: u64, stream: &mut Stream, model: &mut Model) {
        let next = stream.entries().counters().last_id.ms + 1;
        match *step {
            Step::Add => {
                let limits = BlockLimits { max_entries: 3, max_bytes: 0 };
                stream.entries_mut().append(id(next), [(&b"f"[..], &b"v"[..])].into_iter(), limits);
                return;
            }
            Step::Delete(ms) => {
                stream.entries_mut().delete(id(ms));
                return;
            }
            Step::Trim(len) => {
                stream.entries_mut().trim(Trim::MaxLen(len));
                return;
            }
            _ => {}
        }
        let (group, entries) = stream.group_mut(b"g").expect("the group was made");
        match *step {
            Step::Deliver { consumer, count } => {
                let index = ensure(group, consumer);
                let expected: Vec<u64> = entries
                    .range(group.last_delivered_id().next().expect("small ids"), StreamId::MAX)
                    .take(count)
                    .map(|e| e.id().ms)
                    .collect();
                let Some(place) = group.place(entries) else { return };
                let mut range = entries.range_from(place);
                for (entry, &ms) in range.by_ref().take(count).zip(&expected) {
                    assert_eq!(entry.id(), id(ms));
                    group.deliver(&entries.counters(), entry.id(), index, now_ms);
                    model.insert(ms, (Some(consumer), now_ms, 1));
                }
                let last = expected.last().map_or(group.last_delivered_id(), |&ms| id(ms));
                assert_eq!(group.last_delivered_id(), last);
                group.set_place(range.place());
            }
            Step::SetCursor(ms) => group.set_last_delivered_id(id(ms), None),
            Step::Ack(ms) => assert_eq!(group.ack(id(ms)), model.remove(&ms).is_some()),
            Step::Redeliver(ms) => {
                if let Some((Some(_), at, count)) = model.get_mut(&ms) {
                    group.redeliver(id(ms), now_ms);
                    (*at, *count) = (now_ms, *count + 1);
                }
            }
            // XCLAIM and XNACK with FORCE take only what is in the stream.
            Step::Claim { id: ms, .. } | Step::Release { id: ms, .. }
                if !entries.contains(id(ms)) && !model.contains_key(&ms) => {}
            Step::Claim { id: ms, consumer, count } => {
                let index = ensure(group, consumer);
                group.claim(id(ms), index, now_ms, count, now_ms);
                model.insert(ms, (Some(consumer), now_ms, count));
            }
            Step::Release { id: ms, count } => {
                group.release(id(ms), count);
                model.insert(ms, (None, 0, count));
            }
            Step::ClaimIdle { consumer, min_idle } => {
                let index = ensure(group, consumer);
                claim_idle(group, entries, (consumer, index), min_idle, now_ms, model);
            }
            Step::DeleteConsumer(consumer) => {
                let dropped = group.delete_consumer(CONSUMERS[consumer]).unwrap_or_default();
                let before = model.len();
                model.retain(|_, (of, ..)| *of != Some(consumer));
                assert_eq!(dropped, before - model.len());
            }
            Step::Add | Step::Delete(_) | Step::Trim(_) => {}
        }
    }

    fn claim_idle(
        group: &mut Group,
        entries: &Entries,
        (consumer, index): (usize, ConsumerIndex),
        min_idle: u64,
        now_ms: u64,
        model: &mut Model,
    ) {
        let mut expected: Vec<(bool, u64, u64)> = model
            .iter()
            .filter(|(_, (of, at, _))| of.is_none() || at + min_idle <= now_ms)
            .filter(|&(&ms, _)| entries.contains(id(ms)))
            .map(|(&ms, &(of, at, _))| (of.is_some(), at, ms))
            .collect();
        expected.sort_unstable();
        let mut expected: Vec<u64> = expected.into_iter().map(|(.., ms)| ms).collect();
        let order: Vec<u64> = group.released().map(|id| id.ms).collect();
        let nobodys = expected.iter().filter(|ms| order.contains(ms)).count();
        expected[..nobodys].sort_by_key(|ms| order.iter().position(|other| other == ms));
        let ids = group.claimable(entries, min_idle, now_ms, usize::MAX);
        assert!(ids.iter().map(|id| id.ms).eq(expected));
        let ripens = |(&ms, &(of, at, _)): (&u64, &(Option<usize>, u64, u64))| {
            (of.is_some() && at + min_idle > now_ms && entries.contains(id(ms))).then_some(at + min_idle)
        };
        let (next, expected) =
            (group.next_claimable_ms(min_idle, now_ms), model.iter().filter_map(ripens).min());
        // Entries that are gone may wake a reader for nothing.
        assert!(
            next.is_none_or(|at| at > now_ms) && expected.is_none_or(|at| next <= Some(at)),
            "{next:?} {expected:?}"
        );
        assert!(expected.is_none() || next.is_some());
        for claimed in ids {
            group.claim(claimed, index, now_ms, 7, now_ms);
            model.insert(claimed.ms, (Some(consumer), now_ms, 7));
        }
    }

    fn assert_same(group: &Group, model: &Model) {
        let pending = group.pending().iter().map(|(id, pending)| {
            let name = group.owner_name(&pending).to_owned();
            (id.ms, (name, pending.delivered_at, pending.delivery_count))
        });
        let expected = model.iter().map(|(&ms, &(consumer, at, count))| {
            (ms, (consumer.map_or(&b""[..], |of| CONSUMERS[of]).to_owned(), at, count))
        });
        assert!(pending.eq(expected));
        let released = model.values().filter(|(of, ..)| of.is_none()).count();
        assert_eq!((group.released_len(), group.released().count()), (released, released));
        for (index, consumer) in group.consumers() {
            let own = group
                .pending()
                .iter()
                .filter(|(_, pending)| pending.consumer == Some(index))
                .map(|(id, _)| id);
            assert!(consumer.pending().iter().map(|(id, ())| id).eq(own));
        }
    }

    /// What is known of the lag is true: so many entries are behind the cursor.
    fn assert_lag_is_true(stream: &Stream) {
        let group = stream.group(b"g").expect("the group was made");
        if let (Some(lag), Some(next)) =
            (group.lag(&stream.entries().counters()), group.last_delivered_id().next())
        {
            let behind = stream.entries().count_range(next, StreamId::MAX, u64::MAX);
            assert_eq!(lag.cast_unsigned(), behind, "{:?} {group:?}", stream.entries().counters());
        }
    }

    proptest! {
        #[test]
        fn pending_entries_behave_as_a_map_and_lag_is_true(steps in steps()) {
            let (mut stream, mut model) = (Stream::default(), Model::new());
            stream.create_group(b"g", Group::new(StreamId::MIN, None));
            for (now_ms, step) in steps.iter().enumerate() {
                apply(step, now_ms as u64, &mut stream, &mut model);
                assert_same(stream.group(b"g").expect("the group was made"), &model);
                assert_lag_is_true(&stream);
            }
        }
    }

    #[test]
    fn a_consumers_index_is_used_again_and_refers_to_nothing_of_before() {
        let mut group = Group::new(StreamId::MIN, None);
        let first = group.create_consumer(b"first", 0);
        group.claim(id(1), first, 0, 1, 0);
        assert_eq!(group.delete_consumer(b"first"), Some(1));
        assert_eq!(group.delete_consumer(b"first"), None);
        let second = group.create_consumer(b"second", 5);
        assert_eq!(first, second);
        assert!(group.pending().is_empty() && group.consumer(second).pending().is_empty());
        assert_eq!((group.consumer(second).seen_at(), group.consumer(second).active_at()), (5, None));
    }
}
