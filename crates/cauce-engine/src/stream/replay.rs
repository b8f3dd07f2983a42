//! Effects back into a stream, and a stream into canonical bytes.

use super::{
    BlockLimits, ConsumerIndex, Entries, Group, Idempotency, IdempotencyLimits, Mark, Needs, Stream,
    StreamId, Trim,
};
use crate::records::{ReplayError, StreamEffect, Writer};

const NO_GROUP: ReplayError = ReplayError::Contradiction("no such consumer group");
const NO_CONSUMER: ReplayError = ReplayError::Contradiction("no such consumer");
const NO_MARKS: ReplayError = ReplayError::Contradiction("the stream keeps no marks");
const NO_ENTRY: ReplayError = ReplayError::Contradiction("no such entry");
const NOT_PENDING: ReplayError = ReplayError::Contradiction("the entry is not pending");
const WRONG_ID: ReplayError = ReplayError::Contradiction("the id is out of order");

impl Stream {
    /// Changes the stream as the command that recorded the effect did. Says how many bytes of blocks had to be read
    /// from disk for that.
    pub(crate) fn replay(
        &mut self,
        effect: &StreamEffect<'_>,
        limits: BlockLimits,
    ) -> Result<u64, ReplayError> {
        let loaded = self.load_for(effect)?;
        self.apply(effect, limits)?;
        Ok(loaded)
    }

    /// Reads what an effect needs and is on disk only.
    fn load_for(&mut self, effect: &StreamEffect<'_>) -> Result<u64, ReplayError> {
        let needs = match effect {
            StreamEffect::Delete { ids } | StreamEffect::TrimIds { ids } => Needs::Ids(ids),
            StreamEffect::Trim { length } => {
                Needs::Trim { trim: Trim::MaxLen(*length), added: 0, ids: false, limit: 0 }
            }
            StreamEffect::Deliver { group, count, last_id, .. }
            | StreamEffect::DeliverNoAck { group, count, last_id, .. } => {
                let group = self.group(group).ok_or(NO_GROUP)?;
                let start = group.last_delivered_id().next().ok_or(WRONG_ID)?;
                Needs::Forward { start, end: *last_id, count: *count, bytes: u64::MAX }
            }
            StreamEffect::SetId { .. } => Needs::LAST,
            _ => return Ok(0),
        };
        let unreadable = |(place, error)| ReplayError::Unreadable(format!("{place}: {error}"));
        self.entries_mut().load(&needs).map_err(unreadable)
    }

    fn apply(&mut self, effect: &StreamEffect<'_>, limits: BlockLimits) -> Result<(), ReplayError> {
        match effect {
            StreamEffect::Create => Ok(()),
            StreamEffect::Append { id, fields } => {
                let (pairs, rest) = fields.as_chunks::<2>();
                let newer = *id > self.entries().counters().last_id;
                ensure(rest.is_empty() && newer, WRONG_ID)?;
                let pairs = pairs.iter().map(|&[name, value]| (name, value));
                self.entries_mut().append(*id, pairs, limits);
                Ok(())
            }
            StreamEffect::Trim { length } => {
                self.entries_mut().trim(Trim::MaxLen(*length));
                ensure(self.entries().len() == *length, NO_ENTRY)
            }
            StreamEffect::Delete { ids } => {
                ids.iter().try_for_each(|&id| ensure(self.entries_mut().delete(id), NO_ENTRY))
            }
            StreamEffect::LimitMarks { duration_s, max_size } => {
                let limits = IdempotencyLimits { duration_s: *duration_s, max_size: *max_size };
                self.set_idempotency_limits(limits);
                Ok(())
            }
            StreamEffect::Mark { producer, iid, id, at_ms } => {
                let table = self.idempotency_mut().ok_or(NO_MARKS)?;
                table.mark(producer, iid, Mark { id: *id, at_ms: *at_ms });
                Ok(())
            }
            StreamEffect::ForgetMarks { until_ms } => {
                self.idempotency_mut().ok_or(NO_MARKS)?.forget(*until_ms);
                Ok(())
            }
            StreamEffect::TrimIds { ids } => {
                ids.iter().try_for_each(|&id| ensure(self.entries_mut().trim_one(id), NO_ENTRY))
            }
            StreamEffect::SetId { last_id, entries_added, max_deleted_id } => {
                let entries = self.entries_mut();
                ensure(entries.accepts_last_id(*last_id, *entries_added, *max_deleted_id), WRONG_ID)?;
                entries.set_last_id(*last_id, *entries_added, *max_deleted_id);
                Ok(())
            }
            StreamEffect::CreateGroup { group, last_delivered_id, entries_read } => {
                let new = Group::new(*last_delivered_id, *entries_read);
                ensure(self.create_group(group, new), ReplayError::Contradiction("the group exists"))
            }
            StreamEffect::DestroyGroup { group } => ensure(self.destroy_group(group), NO_GROUP),
            other => self.replay_on_group(other),
        }
    }

    fn replay_on_group(&mut self, effect: &StreamEffect<'_>) -> Result<(), ReplayError> {
        let name = effect.group().ok_or(NO_GROUP)?;
        let (group, entries) = self.group_mut(name).ok_or(NO_GROUP)?;
        match effect {
            StreamEffect::SetGroupId { last_delivered_id, entries_read, .. } => {
                group.set_last_delivered_id(*last_delivered_id, *entries_read);
            }
            StreamEffect::CreateConsumer { consumer, at_ms, .. } => {
                ensure(group.consumer_index(consumer).is_none(), NO_CONSUMER)?;
                group.create_consumer(consumer, *at_ms);
            }
            StreamEffect::DeleteConsumer { consumer, .. } => {
                group.delete_consumer(consumer).ok_or(NO_CONSUMER)?;
            }
            StreamEffect::Deliver { consumer, at_ms, count, last_id, .. } => {
                let consumer = seen(group, consumer, *at_ms)?;
                let counters = entries.counters();
                return walk(group, entries, *count, *last_id, |group, id| {
                    group.deliver(&counters, id, consumer, *at_ms);
                });
            }
            StreamEffect::DeliverNoAck { count, last_id, .. } => {
                let counters = entries.counters();
                return walk(group, entries, *count, *last_id, |group, id| {
                    group.deliver_noack(&counters, id);
                });
            }
            StreamEffect::Redeliver { at_ms, ids, .. } => {
                for &id in ids.iter() {
                    ensure(group.pending().contains(id), NOT_PENDING)?;
                    group.redeliver(id, *at_ms);
                }
            }
            StreamEffect::Ack { ids, .. } => {
                return ids.iter().try_for_each(|&id| ensure(group.ack(id), NOT_PENDING));
            }
            StreamEffect::Claim { consumer, at_ms, claims, .. } => {
                let consumer = seen(group, consumer, *at_ms)?;
                for claim in claims.iter() {
                    let (delivered_at, delivery_count) = (claim.delivered_at, claim.delivery_count);
                    group.claim(claim.id, consumer, delivered_at, delivery_count, *at_ms);
                }
            }
            StreamEffect::SkipTo { id, .. } => group.skip_to(*id),
            StreamEffect::Release { releases, .. } => {
                releases.iter().for_each(|release| group.release(release.id, release.delivery_count));
            }
            other => unreachable!("{other:?} is no effect on a group"),
        }
        Ok(())
    }

    /// Appends the stream's durable state in canonical form: equal states give equal bytes, however their
    /// entries are packed.
    pub(crate) fn dump(&self, bytes: &mut Vec<u8>) {
        let counters = self.entries().counters();
        let mut out = Writer::new(bytes);
        out.number(counters.length);
        out.id(counters.first_id);
        out.id(counters.last_id);
        out.id(counters.max_deleted_id);
        out.number(counters.entries_added);
        for entry in self.entries().range(StreamId::MIN, StreamId::MAX) {
            out.id(entry.id());
            out.count(entry.fields().len());
            for (name, value) in entry.fields() {
                out.text(name);
                out.text(value);
            }
        }
        out.count(self.groups().len());
        for (name, group) in self.groups() {
            out.text(name);
            dump_group(group, &mut out);
        }
        if let Some(table) = self.idempotency() {
            dump_marks(table, &mut out);
        }
    }
}

fn dump_marks(table: &Idempotency, out: &mut Writer<'_>) {
    let limits = table.limits();
    out.number(limits.duration_s);
    out.number(limits.max_size);
    out.number(table.added());
    for (producer, iid, mark) in table.marks() {
        out.text(producer);
        out.text(iid);
        out.id(mark.id);
        out.number(mark.at_ms);
    }
}

fn dump_group(group: &Group, out: &mut Writer<'_>) {
    out.id(group.last_delivered_id());
    out.optional(group.entries_read());
    out.count(group.consumers().len());
    for (_, consumer) in group.consumers() {
        out.text(consumer.name());
        out.optional(consumer.active_at());
        out.count(consumer.pending().len());
        for (id, ()) in consumer.pending().iter() {
            out.id(id);
        }
    }
    out.count(group.pending().len());
    for (id, pending) in group.pending().iter() {
        out.id(id);
        out.text(group.owner_name(&pending));
        out.number(pending.delivered_at);
        out.number(pending.delivery_count);
    }
    group.released().for_each(|id| out.id(id));
}

fn seen(group: &mut Group, consumer: &[u8], at_ms: u64) -> Result<ConsumerIndex, ReplayError> {
    let index = group.consumer_index(consumer).ok_or(NO_CONSUMER)?;
    group.see(index, at_ms);
    Ok(index)
}

/// Visits the `count` entries behind the group's cursor; the last of them must be `last_id`.
fn walk(
    group: &mut Group,
    entries: &Entries,
    count: u64,
    last_id: StreamId,
    mut visit: impl FnMut(&mut Group, StreamId),
) -> Result<(), ReplayError> {
    let start = group.last_delivered_id().next().ok_or(WRONG_ID)?;
    ensure(entries.count_range(start, last_id, u64::MAX) == count, NO_ENTRY)?;
    for entry in entries.range(start, last_id) {
        visit(group, entry.id());
    }
    ensure(group.last_delivered_id() == last_id, WRONG_ID)
}

fn ensure(holds: bool, error: ReplayError) -> Result<(), ReplayError> {
    if holds { Ok(()) } else { Err(error) }
}
