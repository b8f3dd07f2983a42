//! Records in words, for those who look into a log.

use super::{Claim, CollectionEffect, Effect, ReplayError, StreamEffect, StreamPart};
use crate::stream::StreamId;
use crate::time::Timestamp;

/// What a record says, with names to everything.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Description<'a> {
    /// What happened, in small letters with hyphens: `append`, `set-string`.
    pub effect: &'static str,
    /// Number of the database.
    pub database: usize,
    /// The key; empty for effects on whole databases.
    pub key: &'a [u8],
    /// The rest, in the record's order.
    pub details: Vec<(&'static str, Detail<'a>)>,
}

/// One value of a record.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Detail<'a> {
    /// A number; times are Unix times in the unit that the name ends in.
    Number(u64),
    /// Bytes that users chose.
    Text(&'a [u8]),
    /// A word of Redis's.
    Word(&'static str),
    /// The id of an entry.
    Id(StreamId),
    /// Several of them.
    Ids(Vec<StreamId>),
    /// Several byte strings; names and values alternate where they are pairs.
    Texts(Vec<&'a [u8]>),
    /// Members of a sorted set.
    Scored(Vec<(f64, &'a [u8])>),
    /// Pending entries: id, time of delivery in Unix milliseconds, number of deliveries.
    Deliveries(Vec<(StreamId, Option<u64>, u64)>),
}

type Details<'a> = Vec<(&'static str, Detail<'a>)>;

/// Puts a record of a log or a checkpoint into words.
///
/// # Errors
/// [`ReplayError`] if it is none, or of a newer version.
pub fn describe(record: &[u8]) -> Result<Description<'_>, ReplayError> {
    let (database, key, effect) = Effect::decode(record)?;
    let (effect, details) = match effect {
        Effect::Stream(effect) => of_stream(effect),
        Effect::Collection(effect) => of_collection(effect),
        Effect::StreamPart(part) => of_part(&part),
        Effect::AbsentElements { names } => {
            ("absent-elements", vec![("names", Detail::Texts(names.into_owned()))])
        }
        other => of_key(&other),
    };
    Ok(Description { effect, database, key, details })
}

fn expiry(at: Option<Timestamp>) -> Option<(&'static str, Detail<'static>)> {
    at.map(|at| ("expires-at-us", Detail::Number(at.micros())))
}

fn of_key<'a>(effect: &Effect<'a>) -> (&'static str, Details<'a>) {
    match *effect {
        Effect::SetString { value, expires_at } => {
            ("set-string", [("value", Detail::Text(value))].into_iter().chain(expiry(expires_at)).collect())
        }
        Effect::WriteString { at, bytes } => {
            ("write-string", vec![("at", Detail::Number(at)), ("bytes", Detail::Text(bytes))])
        }
        Effect::Encode { encoding } => ("encode", vec![("encoding", Detail::Word(encoding.name()))]),
        Effect::Remove => ("remove", Vec::new()),
        Effect::Expire { at: None } => ("persist", Vec::new()),
        Effect::Expire { at } => ("expire", expiry(at).into_iter().collect()),
        Effect::RenameFrom { from } => ("rename", vec![("from", Detail::Text(from))]),
        Effect::CopyFrom { database, from } => {
            ("copy", vec![("from-database", Detail::Number(database as u64)), ("from", Detail::Text(from))])
        }
        Effect::Swap { with } => ("swap", vec![("with", Detail::Number(with as u64))]),
        Effect::Flush => ("flush", Vec::new()),
        Effect::Absent => ("absent", Vec::new()),
        Effect::Stream(_) | Effect::StreamPart(_) | Effect::Collection(_) | Effect::AbsentElements { .. } => {
            unreachable!("described elsewhere")
        }
    }
}

fn of_collection(effect: CollectionEffect<'_>) -> (&'static str, Details<'_>) {
    match effect {
        CollectionEffect::HashSet { pairs } => {
            ("hash-set", vec![("fields", Detail::Texts(pairs.into_owned()))])
        }
        CollectionEffect::HashDelete { fields } => {
            ("hash-delete", vec![("names", Detail::Texts(fields.into_owned()))])
        }
        CollectionEffect::SetAdd { members } => {
            ("set-add", vec![("members", Detail::Texts(members.into_owned()))])
        }
        CollectionEffect::SetRemove { members } => {
            ("set-remove", vec![("members", Detail::Texts(members.into_owned()))])
        }
        CollectionEffect::SortedSetPut { scored } => {
            ("sorted-set-put", vec![("members", Detail::Scored(scored.into_owned()))])
        }
        CollectionEffect::SortedSetRemove { members } => {
            ("sorted-set-remove", vec![("members", Detail::Texts(members.into_owned()))])
        }
    }
}

fn of_part<'a>(part: &StreamPart<'a>) -> (&'static str, Details<'a>) {
    match part {
        StreamPart::Counters { last_id, max_deleted_id, entries_added } => (
            "stream-counters",
            vec![
                ("last-id", Detail::Id(*last_id)),
                ("max-deleted-id", Detail::Id(*max_deleted_id)),
                ("entries-added", Detail::Number(*entries_added)),
            ],
        ),
        StreamPart::ConsumerTimes { group, consumer, seen_at, active_at } => {
            let active = active_at.map(|at| ("active-at-ms", Detail::Number(at)));
            let seen = ("seen-at-ms", Detail::Number(*seen_at));
            let names = [("group", Detail::Text(group)), ("consumer", Detail::Text(consumer)), seen];
            ("consumer-times", names.into_iter().chain(active).collect())
        }
        StreamPart::Pending { group, consumer, claims } => {
            let names = vec![("group", Detail::Text(group)), ("consumer", Detail::Text(consumer))];
            ("pending-entries", names.into_iter().chain([deliveries(claims)]).collect())
        }
        StreamPart::MarksAdded { added } => ("marks-added", vec![("added", Detail::Number(*added))]),
        // Their entries are packed: what is in them, the stream's commands show.
        StreamPart::Blocks(_) => ("stream-entries", Vec::new()),
    }
}

fn of_stream(effect: StreamEffect<'_>) -> (&'static str, Details<'_>) {
    match effect {
        StreamEffect::Create => ("create-stream", Vec::new()),
        StreamEffect::Append { id, fields } => {
            ("append", vec![("id", Detail::Id(id)), ("fields", Detail::Texts(fields.into_owned()))])
        }
        StreamEffect::Trim { length } => ("trim", vec![("length", Detail::Number(length))]),
        StreamEffect::Delete { ids } => ("delete-entries", vec![("ids", Detail::Ids(ids.into_owned()))]),
        StreamEffect::TrimIds { ids } => ("trim-entries", vec![("ids", Detail::Ids(ids.into_owned()))]),
        StreamEffect::SetId { last_id, entries_added, max_deleted_id } => {
            let added = entries_added.map(|added| ("entries-added", Detail::Number(added)));
            let deleted = max_deleted_id.map(|id| ("max-deleted-id", Detail::Id(id)));
            ("set-id", [("last-id", Detail::Id(last_id))].into_iter().chain(added).chain(deleted).collect())
        }
        StreamEffect::LimitMarks { duration_s, max_size } => (
            "limit-marks",
            vec![("duration-s", Detail::Number(duration_s)), ("max-size", Detail::Number(max_size))],
        ),
        StreamEffect::Mark { producer, iid, id, at_ms } => (
            "mark",
            vec![
                ("producer", Detail::Text(producer)),
                ("iid", Detail::Text(iid)),
                ("id", Detail::Id(id)),
                ("at-ms", Detail::Number(at_ms)),
            ],
        ),
        StreamEffect::ForgetMarks { until_ms } => {
            ("forget-marks", vec![("until-ms", Detail::Number(until_ms))])
        }
        of_group => {
            let group = ("group", Detail::Text(of_group.group().unwrap_or_default()));
            let (effect, details) = of_a_group(of_group);
            (effect, std::iter::once(group).chain(details).collect())
        }
    }
}

fn of_a_group(effect: StreamEffect<'_>) -> (&'static str, Details<'_>) {
    let cursor = |id, read: Option<u64>| {
        let read = read.map(|read| ("entries-read", Detail::Number(read)));
        [("last-delivered-id", Detail::Id(id))].into_iter().chain(read).collect()
    };
    match effect {
        StreamEffect::CreateGroup { last_delivered_id, entries_read, .. } => {
            ("create-group", cursor(last_delivered_id, entries_read))
        }
        StreamEffect::SetGroupId { last_delivered_id, entries_read, .. } => {
            ("set-group-id", cursor(last_delivered_id, entries_read))
        }
        StreamEffect::DestroyGroup { .. } => ("destroy-group", Vec::new()),
        StreamEffect::CreateConsumer { consumer, at_ms, .. } => {
            ("create-consumer", vec![("consumer", Detail::Text(consumer)), ("at-ms", Detail::Number(at_ms))])
        }
        StreamEffect::DeleteConsumer { consumer, .. } => {
            ("delete-consumer", vec![("consumer", Detail::Text(consumer))])
        }
        StreamEffect::Deliver { consumer, at_ms, count, last_id, .. } => (
            "deliver",
            vec![
                ("consumer", Detail::Text(consumer)),
                ("at-ms", Detail::Number(at_ms)),
                ("count", Detail::Number(count)),
                ("last-id", Detail::Id(last_id)),
            ],
        ),
        StreamEffect::DeliverNoAck { count, last_id, .. } => {
            ("deliver-noack", vec![("count", Detail::Number(count)), ("last-id", Detail::Id(last_id))])
        }
        StreamEffect::Redeliver { at_ms, ids, .. } => {
            ("redeliver", vec![("at-ms", Detail::Number(at_ms)), ("ids", Detail::Ids(ids.into_owned()))])
        }
        StreamEffect::Ack { ids, .. } => ("ack", vec![("ids", Detail::Ids(ids.into_owned()))]),
        StreamEffect::Claim { consumer, at_ms, claims, .. } => {
            let (consumer, at) = (("consumer", Detail::Text(consumer)), ("at-ms", Detail::Number(at_ms)));
            ("claim", vec![consumer, at, deliveries(&claims)])
        }
        StreamEffect::SkipTo { id, .. } => ("skip-to", vec![("id", Detail::Id(id))]),
        StreamEffect::Release { releases, .. } => {
            let releases = releases.iter().map(|release| (release.id, None, release.delivery_count));
            ("release", vec![("entries", Detail::Deliveries(releases.collect()))])
        }
        other => unreachable!("{other:?} is no effect on a group"),
    }
}

fn deliveries(claims: &[Claim]) -> (&'static str, Detail<'static>) {
    let claims = claims.iter().map(|claim| (claim.id, Some(claim.delivered_at), claim.delivery_count));
    ("entries", Detail::Deliveries(claims.collect()))
}

#[cfg(test)]
mod tests {
    use super::super::Writer;
    use super::*;

    #[test]
    fn records_name_what_they_say() {
        let check = |effect: Effect<'_>, expected: &str, names: &str| {
            let mut bytes = Vec::new();
            effect.encode(2, b"key", &mut Writer::new(&mut bytes));
            let described = describe(&bytes).expect("it is whole");
            assert_eq!((described.effect, described.database, described.key), (expected, 2, &b"key"[..]));
            let found: Vec<&str> = described.details.iter().map(|(name, _)| *name).collect();
            assert_eq!(found.join(" "), names, "{expected}");
        };
        let (group, consumer, id) = (&b"g"[..], &b"c"[..], StreamId::new(1, 2));
        check(Effect::Remove, "remove", "");
        check(Effect::Expire { at: Some(Timestamp::from_micros(5)) }, "expire", "expires-at-us");
        let deliver = StreamEffect::Deliver { group, consumer, at_ms: 1, count: 2, last_id: id };
        check(Effect::Stream(deliver), "deliver", "group consumer at-ms count last-id");
        let create = StreamEffect::CreateGroup { group, last_delivered_id: id, entries_read: Some(3) };
        check(Effect::Stream(create), "create-group", "group last-delivered-id entries-read");
        let put = CollectionEffect::SortedSetPut { scored: vec![(0.5, &b"m"[..])].into() };
        check(Effect::Collection(put), "sorted-set-put", "members");
        check(Effect::Absent, "absent", "");
        check(Effect::AbsentElements { names: vec![&b"n"[..]].into() }, "absent-elements", "names");
        let claims = vec![Claim { id, delivered_at: 1, delivery_count: 2 }];
        let pending = StreamPart::Pending { group, consumer, claims };
        check(Effect::StreamPart(pending), "pending-entries", "group consumer entries");
        assert!(describe(&[]).is_err());
        assert!(describe(&[255, 0, 0]).is_err());
    }
}
