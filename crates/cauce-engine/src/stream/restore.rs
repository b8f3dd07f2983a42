//! A stream as the records of a snapshot, and its parts back into it.

use std::borrow::Cow;

use super::{BlockFiles, Group, Idempotency, Stream};
use crate::records::{Claim, Effect, Release, ReplayError, StreamEffect, StreamPart};

/// Pending entries per record: some kilobytes.
const PENDING_PER_RECORD: usize = 512;

impl Stream {
    /// Hands out the records that make this stream, in their order. Applied to a key that does not exist, they
    /// give a stream with the same durable state.
    pub(crate) fn write_records<E>(
        &self,
        emit: &mut impl FnMut(&Effect<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        emit(&Effect::Stream(StreamEffect::Create))?;
        for blocks in self.entries().block_parts() {
            emit(&Effect::StreamPart(StreamPart::Blocks(blocks)))?;
        }
        let counters = self.entries().counters();
        let (last_id, max_deleted_id) = (counters.last_id, counters.max_deleted_id);
        let entries_added = counters.entries_added;
        emit(&Effect::StreamPart(StreamPart::Counters { last_id, max_deleted_id, entries_added }))?;
        for (name, group) in self.groups() {
            write_group(name, group, emit)?;
        }
        match self.idempotency() {
            Some(table) => write_marks(table, emit),
            None => Ok(()),
        }
    }

    /// Adds a part that a snapshot holds.
    pub(crate) fn restore(
        &mut self,
        part: &StreamPart<'_>,
        files: Option<&dyn BlockFiles>,
    ) -> Result<(), ReplayError> {
        match part {
            StreamPart::Blocks(blocks) => {
                blocks.iter().try_for_each(|block| self.entries_mut().restore_block(block, files))
            }
            StreamPart::Counters { last_id, max_deleted_id, entries_added } => {
                self.entries_mut().restore_counters(*last_id, *max_deleted_id, *entries_added)
            }
            StreamPart::ConsumerTimes { group, consumer, seen_at, active_at } => {
                let (group, _) = self.group_mut(group).ok_or(NO_CONSUMER)?;
                let index = group.consumer_index(consumer).ok_or(NO_CONSUMER)?;
                group.set_times(index, *seen_at, *active_at);
                Ok(())
            }
            StreamPart::Pending { group, consumer, claims } => {
                let (group, _) = self.group_mut(group).ok_or(NO_CONSUMER)?;
                let index = group.consumer_index(consumer).ok_or(NO_CONSUMER)?;
                for claim in claims {
                    // The consumer's times follow.
                    group.claim(claim.id, index, claim.delivered_at, claim.delivery_count, 0);
                }
                Ok(())
            }
            StreamPart::MarksAdded { added } => {
                let table = self.idempotency_mut().ok_or(ReplayError::Contradiction("no marks"))?;
                table.set_added(*added);
                Ok(())
            }
        }
    }
}

const NO_CONSUMER: ReplayError = ReplayError::Contradiction("no such consumer");

fn write_group<E>(
    name: &[u8],
    group: &Group,
    emit: &mut impl FnMut(&Effect<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let (last_delivered_id, entries_read) = (group.last_delivered_id(), group.entries_read());
    emit(&Effect::Stream(StreamEffect::CreateGroup { group: name, last_delivered_id, entries_read }))?;
    for (_, consumer) in group.consumers() {
        let at_ms = consumer.seen_at();
        let consumer_name = consumer.name();
        emit(&Effect::Stream(StreamEffect::CreateConsumer { group: name, consumer: consumer_name, at_ms }))?;
        let mut ids = consumer.pending().iter().map(|(id, ())| id);
        loop {
            let claims: Vec<Claim> = ids
                .by_ref()
                .take(PENDING_PER_RECORD)
                .map(|id| {
                    let pending = group.pending().get(id).expect("a consumer's entry is its group's too");
                    Claim { id, delivered_at: pending.delivered_at, delivery_count: pending.delivery_count }
                })
                .collect();
            if claims.is_empty() {
                break;
            }
            emit(&Effect::StreamPart(StreamPart::Pending {
                group: name,
                consumer: consumer.name(),
                claims,
            }))?;
        }
    }
    let released: Vec<Release> = group
        .released()
        .map(|id| {
            let pending = group.pending().get(id).expect("what was given back is still pending");
            Release { id, delivery_count: pending.delivery_count }
        })
        .collect();
    for releases in released.chunks(PENDING_PER_RECORD) {
        let releases = Cow::Borrowed(releases);
        emit(&Effect::Stream(StreamEffect::Release { group: name, releases }))?;
    }
    for (_, consumer) in group.consumers() {
        let (seen_at, active_at) = (consumer.seen_at(), consumer.active_at());
        let consumer = consumer.name();
        emit(&Effect::StreamPart(StreamPart::ConsumerTimes { group: name, consumer, seen_at, active_at }))?;
    }
    Ok(())
}

fn write_marks<E>(table: &Idempotency, emit: &mut impl FnMut(&Effect<'_>) -> Result<(), E>) -> Result<(), E> {
    let (duration_s, max_size) = (table.limits().duration_s, table.limits().max_size);
    emit(&Effect::Stream(StreamEffect::LimitMarks { duration_s, max_size }))?;
    for (producer, iid, mark) in table.marks() {
        let (id, at_ms) = (mark.id, mark.at_ms);
        emit(&Effect::Stream(StreamEffect::Mark { producer, iid, id, at_ms }))?;
    }
    emit(&Effect::StreamPart(StreamPart::MarksAdded { added: table.added() }))
}
