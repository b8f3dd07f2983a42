//! The kinds of effect on a stream and their bytes.

use std::borrow::Cow;

use super::{Reader, ReplayError, Writer};
use crate::stream::StreamId;

/// One change of one stream. All but [`StreamEffect::Create`] and [`StreamEffect::Append`] need it to exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StreamEffect<'a> {
    /// The key holds an empty stream.
    Create,
    /// An entry was added, to a new stream if there was none. Names and values alternate in `fields`.
    Append { id: StreamId, fields: Cow<'a, [&'a [u8]]> },
    /// The oldest entries left until `length` were there.
    Trim { length: u64 },
    /// These entries were deleted.
    Delete { ids: Cow<'a, [StreamId]> },
    /// XSETID.
    SetId { last_id: StreamId, entries_added: Option<u64>, max_deleted_id: Option<StreamId> },
    /// A group was made.
    CreateGroup { group: &'a [u8], last_delivered_id: StreamId, entries_read: Option<u64> },
    /// A group's cursor was set.
    SetGroupId { group: &'a [u8], last_delivered_id: StreamId, entries_read: Option<u64> },
    /// A group is gone.
    DestroyGroup { group: &'a [u8] },
    /// A consumer was made.
    CreateConsumer { group: &'a [u8], consumer: &'a [u8], at_ms: u64 },
    /// A consumer is gone with its pending entries.
    DeleteConsumer { group: &'a [u8], consumer: &'a [u8] },
    /// The `count` entries behind the group's cursor, up to `last_id`, were delivered to a consumer.
    Deliver { group: &'a [u8], consumer: &'a [u8], at_ms: u64, count: u64, last_id: StreamId },
    /// The same without making them pending.
    DeliverNoAck { group: &'a [u8], count: u64, last_id: StreamId },
    /// These pending entries were delivered to their consumer again.
    Redeliver { group: &'a [u8], at_ms: u64, ids: Cow<'a, [StreamId]> },
    /// These entries are pending no more.
    Ack { group: &'a [u8], ids: Cow<'a, [StreamId]> },
    /// These entries are a consumer's now.
    Claim { group: &'a [u8], consumer: &'a [u8], at_ms: u64, claims: Cow<'a, [Claim]> },
    /// A group's cursor moved forward without reading.
    SkipTo { group: &'a [u8], id: StreamId },
    /// These entries were given back: they are pending and nobody's.
    Release { group: &'a [u8], releases: Cow<'a, [Release]> },
    /// Producers' marks are kept so long, and so many of them.
    LimitMarks { duration_s: u64, max_size: u64 },
    /// This idempotent id of a producer became this entry, at that time.
    Mark { producer: &'a [u8], iid: &'a [u8], id: StreamId, at_ms: u64 },
    /// Marks made up to then are forgotten.
    ForgetMarks { until_ms: u64 },
    /// These entries were trimmed away, with others left before them.
    TrimIds { ids: Cow<'a, [StreamId]> },
}

/// A pending entry as it is after a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) id: StreamId,
    /// Unix milliseconds.
    pub(crate) delivered_at: u64,
    pub(crate) delivery_count: u64,
}

/// A pending entry as it is after it was given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Release {
    pub(crate) id: StreamId,
    pub(crate) delivery_count: u64,
}

/// Record kinds of streams begin here.
pub(super) const FIRST_KIND: u8 = 32;

const CREATE: u8 = FIRST_KIND;
const APPEND: u8 = 33;
const TRIM: u8 = 34;
const DELETE: u8 = 35;
const SET_ID: u8 = 36;
const CREATE_GROUP: u8 = 37;
const SET_GROUP_ID: u8 = 38;
const DESTROY_GROUP: u8 = 39;
const CREATE_CONSUMER: u8 = 40;
const DELETE_CONSUMER: u8 = 41;
const DELIVER: u8 = 42;
const DELIVER_NOACK: u8 = 43;
const REDELIVER: u8 = 44;
const ACK: u8 = 45;
const CLAIM: u8 = 46;
const SKIP_TO: u8 = 47;
const TRIM_IDS: u8 = 48;
const RELEASE: u8 = 49;
const LIMIT_MARKS: u8 = 50;
const MARK: u8 = 51;
const FORGET_MARKS: u8 = 52;
/// And they end here.
pub(super) const LAST_KIND: u8 = FORGET_MARKS;

impl<'a> StreamEffect<'a> {
    /// Whether clients blocked on the stream have to look again.
    pub(super) fn wakes(&self) -> bool {
        matches!(self, Self::Append { .. } | Self::DestroyGroup { .. } | Self::Release { .. })
    }

    /// See [`super::Effect::pending_since_ms`].
    pub(super) fn pending_since_ms(&self) -> Option<u64> {
        match self {
            Self::Deliver { at_ms, .. } | Self::Redeliver { at_ms, .. } => Some(*at_ms),
            Self::Claim { claims, .. } => claims.iter().map(|claim| claim.delivered_at).min(),
            _ => None,
        }
    }

    /// Whether a transaction that watches the stream is broken by it.
    pub(super) fn breaks_watch(&self) -> bool {
        matches!(
            self,
            Self::Create
                | Self::Append { .. }
                | Self::Trim { .. }
                | Self::TrimIds { .. }
                | Self::Delete { .. }
        )
    }

    /// The group that changed, if one did.
    pub(crate) fn group(&self) -> Option<&'a [u8]> {
        match self {
            Self::Create
            | Self::Append { .. }
            | Self::Trim { .. }
            | Self::TrimIds { .. }
            | Self::LimitMarks { .. }
            | Self::Mark { .. }
            | Self::ForgetMarks { .. }
            | Self::Delete { .. }
            | Self::SetId { .. } => None,
            Self::CreateGroup { group, .. }
            | Self::SetGroupId { group, .. }
            | Self::DestroyGroup { group }
            | Self::CreateConsumer { group, .. }
            | Self::DeleteConsumer { group, .. }
            | Self::Deliver { group, .. }
            | Self::DeliverNoAck { group, .. }
            | Self::Redeliver { group, .. }
            | Self::Ack { group, .. }
            | Self::Claim { group, .. }
            | Self::Release { group, .. }
            | Self::SkipTo { group, .. } => Some(group),
        }
    }

    pub(super) fn kind(&self) -> u8 {
        match self {
            Self::Create => CREATE,
            Self::Append { .. } => APPEND,
            Self::Trim { .. } => TRIM,
            Self::Delete { .. } => DELETE,
            Self::SetId { .. } => SET_ID,
            Self::CreateGroup { .. } => CREATE_GROUP,
            Self::SetGroupId { .. } => SET_GROUP_ID,
            Self::DestroyGroup { .. } => DESTROY_GROUP,
            Self::CreateConsumer { .. } => CREATE_CONSUMER,
            Self::DeleteConsumer { .. } => DELETE_CONSUMER,
            Self::Deliver { .. } => DELIVER,
            Self::DeliverNoAck { .. } => DELIVER_NOACK,
            Self::Redeliver { .. } => REDELIVER,
            Self::Ack { .. } => ACK,
            Self::Claim { .. } => CLAIM,
            Self::SkipTo { .. } => SKIP_TO,
            Self::TrimIds { .. } => TRIM_IDS,
            Self::Release { .. } => RELEASE,
            Self::LimitMarks { .. } => LIMIT_MARKS,
            Self::Mark { .. } => MARK,
            Self::ForgetMarks { .. } => FORGET_MARKS,
        }
    }

    /// Writes what follows the kind, the database and the key.
    pub(super) fn encode(&self, out: &mut Writer<'_>) {
        match self {
            Self::Create => {}
            Self::Append { id, fields } => {
                out.id(*id);
                out.count(fields.len());
                fields.iter().for_each(|field| out.text(field));
            }
            Self::Trim { length } => out.number(*length),
            Self::LimitMarks { duration_s, max_size } => {
                out.number(*duration_s);
                out.number(*max_size);
            }
            Self::Mark { producer, iid, id, at_ms } => {
                out.text(producer);
                out.text(iid);
                out.id(*id);
                out.number(*at_ms);
            }
            Self::ForgetMarks { until_ms } => out.number(*until_ms),
            Self::Delete { ids } | Self::TrimIds { ids } => out.ids(ids),
            Self::SetId { last_id, entries_added, max_deleted_id } => {
                out.id(*last_id);
                out.optional(*entries_added);
                out.byte(u8::from(max_deleted_id.is_some()));
                out.id(max_deleted_id.unwrap_or_default());
            }
            Self::CreateGroup { group, last_delivered_id, entries_read }
            | Self::SetGroupId { group, last_delivered_id, entries_read } => {
                out.text(group);
                out.id(*last_delivered_id);
                out.optional(*entries_read);
            }
            _ => self.encode_of_group(out),
        }
    }

    fn encode_of_group(&self, out: &mut Writer<'_>) {
        match self {
            Self::DestroyGroup { group } => out.text(group),
            Self::CreateConsumer { group, consumer, at_ms } => {
                out.text(group);
                out.text(consumer);
                out.number(*at_ms);
            }
            Self::DeleteConsumer { group, consumer } => {
                out.text(group);
                out.text(consumer);
            }
            Self::Deliver { group, consumer, at_ms, count, last_id } => {
                out.text(group);
                out.text(consumer);
                out.number(*at_ms);
                out.number(*count);
                out.id(*last_id);
            }
            Self::DeliverNoAck { group, count, last_id } => {
                out.text(group);
                out.number(*count);
                out.id(*last_id);
            }
            Self::Redeliver { group, at_ms, ids } => {
                out.text(group);
                out.number(*at_ms);
                out.ids(ids);
            }
            Self::Ack { group, ids } => {
                out.text(group);
                out.ids(ids);
            }
            Self::Claim { group, consumer, at_ms, claims } => {
                out.text(group);
                out.text(consumer);
                out.number(*at_ms);
                out.count(claims.len());
                for claim in claims.iter() {
                    out.id(claim.id);
                    out.number(claim.delivered_at);
                    out.number(claim.delivery_count);
                }
            }
            Self::SkipTo { group, id } => {
                out.text(group);
                out.id(*id);
            }
            Self::Release { group, releases } => {
                out.text(group);
                out.count(releases.len());
                for release in releases.iter() {
                    out.id(release.id);
                    out.number(release.delivery_count);
                }
            }
            other => unreachable!("{other:?} is no effect on a group"),
        }
    }

    /// Reads what [`StreamEffect::encode`] wrote.
    pub(super) fn decode(kind: u8, reader: &mut Reader<'a>) -> Result<Self, ReplayError> {
        Ok(match kind {
            CREATE => Self::Create,
            APPEND => {
                let id = reader.id()?;
                let count = reader.count()?;
                Self::Append {
                    id,
                    fields: (0..count).map(|_| reader.text()).collect::<Result<Vec<_>, _>>()?.into(),
                }
            }
            TRIM => Self::Trim { length: reader.number()? },
            LIMIT_MARKS => Self::LimitMarks { duration_s: reader.number()?, max_size: reader.number()? },
            MARK => Self::Mark {
                producer: reader.text()?,
                iid: reader.text()?,
                id: reader.id()?,
                at_ms: reader.number()?,
            },
            FORGET_MARKS => Self::ForgetMarks { until_ms: reader.number()? },
            DELETE => Self::Delete { ids: reader.ids()?.into() },
            TRIM_IDS => Self::TrimIds { ids: reader.ids()?.into() },
            SET_ID => Self::SetId {
                last_id: reader.id()?,
                entries_added: reader.optional()?,
                max_deleted_id: match (reader.byte()?, reader.id()?) {
                    (0, _) => None,
                    (_, id) => Some(id),
                },
            },
            CREATE_GROUP => Self::CreateGroup {
                group: reader.text()?,
                last_delivered_id: reader.id()?,
                entries_read: reader.optional()?,
            },
            SET_GROUP_ID => Self::SetGroupId {
                group: reader.text()?,
                last_delivered_id: reader.id()?,
                entries_read: reader.optional()?,
            },
            DESTROY_GROUP => Self::DestroyGroup { group: reader.text()? },
            _ => Self::decode_of_group(kind, reader)?,
        })
    }

    fn decode_of_group(kind: u8, reader: &mut Reader<'a>) -> Result<Self, ReplayError> {
        let group = reader.text()?;
        Ok(match kind {
            CREATE_CONSUMER => {
                Self::CreateConsumer { group, consumer: reader.text()?, at_ms: reader.number()? }
            }
            DELETE_CONSUMER => Self::DeleteConsumer { group, consumer: reader.text()? },
            DELIVER => Self::Deliver {
                group,
                consumer: reader.text()?,
                at_ms: reader.number()?,
                count: reader.number()?,
                last_id: reader.id()?,
            },
            DELIVER_NOACK => Self::DeliverNoAck { group, count: reader.number()?, last_id: reader.id()? },
            REDELIVER => Self::Redeliver { group, at_ms: reader.number()?, ids: reader.ids()?.into() },
            ACK => Self::Ack { group, ids: reader.ids()?.into() },
            CLAIM => {
                let (consumer, at_ms) = (reader.text()?, reader.number()?);
                let count = reader.count()?;
                let claims: Result<Vec<_>, _> = (0..count).map(|_| reader.claim()).collect();
                Self::Claim { group, consumer, at_ms, claims: claims?.into() }
            }
            SKIP_TO => Self::SkipTo { group, id: reader.id()? },
            RELEASE => {
                let count = reader.count()?;
                let releases: Result<Vec<_>, _> = (0..count).map(|_| reader.release()).collect();
                Self::Release { group, releases: releases?.into() }
            }
            unknown => return Err(ReplayError::UnknownKind(unknown)),
        })
    }
}

impl Writer<'_> {
    pub(crate) fn id(&mut self, id: StreamId) {
        self.number(id.ms);
        self.number(id.seq);
    }

    /// Ids mostly come in ascending order and close to each other: each is written against the one before.
    pub(super) fn ids(&mut self, ids: &[StreamId]) {
        self.count(ids.len());
        let mut before = StreamId::MIN;
        for &id in ids {
            self.number(id.ms.wrapping_sub(before.ms));
            self.number(if id.ms == before.ms { id.seq.wrapping_sub(before.seq) } else { id.seq });
            before = id;
        }
    }
}

impl Reader<'_> {
    pub(crate) fn id(&mut self) -> Result<StreamId, ReplayError> {
        Ok(StreamId::new(self.number()?, self.number()?))
    }

    pub(super) fn ids(&mut self) -> Result<Vec<StreamId>, ReplayError> {
        let count = self.count()?;
        let mut before = StreamId::MIN;
        let mut ids = Vec::with_capacity(count);
        for _ in 0..count {
            let (ms, seq) = (self.number()?, self.number()?);
            before = match ms {
                0 => StreamId::new(before.ms, before.seq.wrapping_add(seq)),
                _ => StreamId::new(before.ms.wrapping_add(ms), seq),
            };
            ids.push(before);
        }
        Ok(ids)
    }

    fn release(&mut self) -> Result<Release, ReplayError> {
        Ok(Release { id: self.id()?, delivery_count: self.number()? })
    }

    fn claim(&mut self) -> Result<Claim, ReplayError> {
        Ok(Claim { id: self.id()?, delivered_at: self.number()?, delivery_count: self.number()? })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Effect;
    use super::*;

    fn check(effect: StreamEffect<'_>) {
        let mut bytes = Vec::new();
        let effect = Effect::Stream(effect);
        effect.encode(3, b"key", &mut Writer::new(&mut bytes));
        let (database, key, read) = Effect::decode(&bytes).expect("a whole record");
        // Compared as text: the types differ in a lifetime that `Cow` does not let vary.
        assert_eq!((database, key, format!("{read:?}")), (3, &b"key"[..], format!("{effect:?}")));
        for len in 0..bytes.len() {
            assert!(Effect::decode(&bytes[..len]).is_err(), "a record cut at {len} is refused");
        }
    }

    #[test]
    fn every_effect_is_read_back_as_it_was_written() {
        let id = StreamId::new;
        let (group, consumer) = (&b"g"[..], &b"c"[..]);
        let ids = vec![id(5, 9), id(5, 10), id(7, 0), id(6, 3), StreamId::MAX, StreamId::MIN];
        let effects = [
            StreamEffect::Create,
            StreamEffect::Append { id: id(1, 2), fields: vec![&b"f"[..], b"", b"", b"v"].into() },
            StreamEffect::Trim { length: 300 },
            StreamEffect::Delete { ids: ids.clone().into() },
            StreamEffect::SetId { last_id: StreamId::MAX, entries_added: Some(0), max_deleted_id: None },
            StreamEffect::SetId { last_id: id(1, 1), entries_added: None, max_deleted_id: Some(id(1, 0)) },
            StreamEffect::CreateGroup { group, last_delivered_id: id(3, 0), entries_read: None },
            StreamEffect::SetGroupId { group, last_delivered_id: id(3, 0), entries_read: Some(2) },
            StreamEffect::DestroyGroup { group },
            StreamEffect::CreateConsumer { group, consumer, at_ms: 1 << 40 },
            StreamEffect::DeleteConsumer { group, consumer },
            StreamEffect::Deliver { group, consumer, at_ms: 5, count: 100, last_id: id(9, 9) },
            StreamEffect::DeliverNoAck { group, count: 1, last_id: id(9, 9) },
            StreamEffect::Redeliver { group, at_ms: 5, ids: ids.clone().into() },
            StreamEffect::Ack { group, ids: ids.into() },
            StreamEffect::Claim {
                group,
                consumer,
                at_ms: 7,
                claims: vec![Claim { id: id(1, 1), delivered_at: 0, delivery_count: u64::MAX }].into(),
            },
            StreamEffect::SkipTo { group, id: id(1, 1) },
            StreamEffect::Release {
                group,
                releases: vec![Release { id: id(1, 1), delivery_count: 3 }].into(),
            },
            StreamEffect::LimitMarks { duration_s: 100, max_size: 7 },
            StreamEffect::Mark { producer: b"p", iid: b"", id: id(5, 9), at_ms: 1 << 40 },
            StreamEffect::ForgetMarks { until_ms: 9 },
            StreamEffect::TrimIds { ids: vec![id(5, 9), id(7, 0)].into() },
        ];
        effects.into_iter().for_each(check);
    }
}
