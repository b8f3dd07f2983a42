//! Looking into a broker: streams, groups, consumers, pending entries, dead letters. Works on any Redis-compatible server, also
//! on streams that no Cauce service reads.

mod dead_letters;
mod letter;
mod owners;
mod retention;

pub use dead_letters::{LetterAlarm, LetterFilter, LetterGroup, LetterLimits, RedriveReport, Redriven};
pub use letter::DeadLetter;
pub use owners::PartitionInfo;
pub(crate) use retention::SEEN;
pub use retention::{Holder, Retained, Retention};

use std::time::Duration;

use redis::{Pipeline, Value, cmd};

use crate::backend::command::push_ids;
use crate::backend::link::Link;
use crate::backend::reply::{self, Attributes};
use crate::bus::Bus;
use crate::entry::{Entry, EntryId};
use crate::error::CommandError;

/// Keys that one step of SCAN looks at.
const SCAN_COUNT: usize = 1000;

/// Looks into the broker of a bus. Every question is asked when it is put; nothing is cached.
#[derive(Clone, Debug)]
pub struct Inspector {
    link: Link,
}

/// A stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamInfo {
    /// Its key.
    pub name: String,
    /// How many entries it holds.
    pub length: u64,
    /// The newest id that it ever gave.
    pub last_id: EntryId,
    /// How many entries were ever added; not known before Redis 7.0.
    pub entries_added: Option<u64>,
    /// How many consumer groups it has.
    pub groups: u64,
    /// The oldest entry that it holds.
    pub first_entry: Option<EntryId>,
}

/// A consumer group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupInfo {
    /// Its name.
    pub name: String,
    /// How many consumers it knows, dead ones included.
    pub consumers: u64,
    /// How many entries are delivered and not acknowledged.
    pub pending: u64,
    /// The newest entry that was delivered to it.
    pub last_delivered: EntryId,
    /// How many entries it has not been given yet. `None` when the broker can't tell (entries were deleted ahead of it, or it began in the
    /// middle of the stream): unknown, not zero.
    pub lag: Option<u64>,
}

/// A consumer of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerInfo {
    /// Its name.
    pub name: String,
    /// How many entries it was given and has not acknowledged.
    pub pending: u64,
    /// How long ago it last asked for something.
    pub idle: Duration,
    /// How long ago it last got something; not known before Redis 7.2, and `None` if it never did.
    pub inactive: Option<Duration>,
}

/// An entry that is delivered and not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PendingEntry {
    /// Its id.
    pub id: EntryId,
    /// Who was given it.
    pub consumer: String,
    /// How long ago it was last delivered, or its lease renewed.
    pub idle: Duration,
    /// How often it was delivered.
    pub deliveries: u64,
}

/// Which pending entries to show.
#[derive(Clone, Debug)]
pub struct PendingQuery {
    after: Option<EntryId>,
    count: usize,
    idle: Duration,
    consumer: Option<String>,
}

impl PendingQuery {
    /// The first 100.
    #[must_use]
    pub fn new() -> Self {
        Self { after: None, count: 100, idle: Duration::ZERO, consumer: None }
    }

    /// Those after this id, to go on where the last answer ended.
    #[must_use]
    pub fn after(mut self, id: EntryId) -> Self {
        self.after = Some(id);
        self
    }

    /// At most so many.
    #[must_use]
    pub fn count(mut self, count: usize) -> Self {
        self.count = count;
        self
    }

    /// Those that nobody has shown a sign of life for in this long.
    #[must_use]
    pub fn idle(mut self, at_least: Duration) -> Self {
        self.idle = at_least;
        self
    }

    /// Those of this consumer.
    #[must_use]
    pub fn consumer(mut self, name: impl Into<String>) -> Self {
        self.consumer = Some(name.into());
        self
    }
}

impl Default for PendingQuery {
    fn default() -> Self {
        Self::new()
    }
}

impl Bus {
    /// Looks into the broker.
    #[must_use]
    pub fn inspect(&self) -> Inspector {
        Inspector { link: self.link().clone() }
    }
}

impl Inspector {
    /// All streams of the database, by name. Walks the keys in steps (SCAN), so a large database is not blocked; a stream that is made
    /// or deleted meanwhile may or may not be there.
    ///
    /// # Errors
    /// If the broker can't be asked.
    pub async fn streams(&self) -> Result<Vec<StreamInfo>, CommandError> {
        let mut names: Vec<String> = Vec::new();
        let mut cursor = b"0".to_vec();
        loop {
            let mut scan = cmd("SCAN");
            scan.arg(&cursor).arg("COUNT").arg(SCAN_COUNT).arg("TYPE").arg("stream");
            let (next, found) = scanned(self.link.send(&scan).await?).ok_or(unexpected("SCAN"))?;
            names.extend(found);
            cursor = next;
            if cursor == b"0" {
                break;
            }
        }
        names.sort_unstable();
        names.dedup();
        let mut questions = Pipeline::with_capacity(names.len());
        for name in &names {
            questions.cmd("XINFO").arg("STREAM").arg(name);
        }
        let replies = if names.is_empty() { Vec::new() } else { self.link.send_all(&questions).await? };
        let mut streams = Vec::with_capacity(names.len());
        for (name, reply) in names.into_iter().zip(replies) {
            match reply {
                Ok(reply) => streams.push(stream(name, reply).ok_or(unexpected("XINFO STREAM"))?),
                // Deleted since it was listed.
                Err(CommandError::Refused { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(streams)
    }

    /// One stream; `None` if there is no such key.
    ///
    /// # Errors
    /// If the broker can't be asked, or the key is not a stream.
    pub async fn stream(&self, name: &str) -> Result<Option<StreamInfo>, CommandError> {
        match self.link.send(cmd("XINFO").arg("STREAM").arg(name)).await {
            Ok(reply) => Ok(Some(stream(name.to_owned(), reply).ok_or(unexpected("XINFO STREAM"))?)),
            Err(CommandError::Refused { message, .. }) if message == "no such key" => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The consumer groups of a stream.
    ///
    /// # Errors
    /// If the broker can't be asked, or there is no such stream.
    pub async fn groups(&self, stream: &str) -> Result<Vec<GroupInfo>, CommandError> {
        let reply = self.link.send(cmd("XINFO").arg("GROUPS").arg(stream)).await?;
        let groups = reply::list(reply).ok_or(unexpected("XINFO GROUPS"))?;
        groups.into_iter().map(|reply| group(reply).ok_or(unexpected("XINFO GROUPS"))).collect()
    }

    /// The consumers of a group.
    ///
    /// # Errors
    /// If the broker can't be asked, or there is no such stream or group.
    pub async fn consumers(&self, stream: &str, group: &str) -> Result<Vec<ConsumerInfo>, CommandError> {
        let reply = self.link.send(cmd("XINFO").arg("CONSUMERS").arg(stream).arg(group)).await?;
        let consumers = reply::list(reply).ok_or(unexpected("XINFO CONSUMERS"))?;
        consumers.into_iter().map(|reply| consumer(reply).ok_or(unexpected("XINFO CONSUMERS"))).collect()
    }

    /// The pending entries of a group, in the order of the stream.
    ///
    /// # Errors
    /// If the broker can't be asked, or there is no such stream or group.
    pub async fn pending(
        &self,
        stream: &str,
        group: &str,
        query: &PendingQuery,
    ) -> Result<Vec<PendingEntry>, CommandError> {
        let mut command = cmd("XPENDING");
        command.arg(stream).arg(group);
        if !query.idle.is_zero() {
            command.arg("IDLE").arg(query.idle.as_millis() as u64);
        }
        match query.after {
            Some(id) => command.arg(format!("({id}")),
            None => command.arg("-"),
        };
        command.arg("+").arg(query.count);
        if let Some(consumer) = &query.consumer {
            command.arg(consumer);
        }
        let entries = reply::list(self.link.send(&command).await?).ok_or(unexpected("XPENDING"))?;
        entries.into_iter().map(|reply| pending(reply).ok_or(unexpected("XPENDING"))).collect()
    }

    /// Gives pending entries that are idle for at least `min_idle` to another consumer; says which. Their delivery counts stay.
    ///
    /// # Errors
    /// If the broker can't be asked, or there is no such stream or group.
    pub async fn claim(
        &self,
        stream: &str,
        group: &str,
        consumer: &str,
        min_idle: Duration,
        ids: &[EntryId],
    ) -> Result<Vec<EntryId>, CommandError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = cmd("XCLAIM");
        command.arg(stream).arg(group).arg(consumer).arg(min_idle.as_millis() as u64);
        push_ids(&mut command, ids.iter().copied());
        let claimed =
            reply::list(self.link.send(command.arg("JUSTID")).await?).ok_or(unexpected("XCLAIM"))?;
        claimed.iter().map(|id| reply::entry_id(id).ok_or(unexpected("XCLAIM"))).collect()
    }

    /// Entries of a stream after an id ([`EntryId::ZERO`] for the first), at most `count`.
    ///
    /// # Errors
    /// If the broker can't be asked, or the key is not a stream.
    pub async fn entries(
        &self,
        stream: &str,
        after: EntryId,
        count: usize,
    ) -> Result<Vec<Entry>, CommandError> {
        let mut command = cmd("XRANGE");
        command.arg(stream).arg(format!("({after}")).arg("+").arg("COUNT").arg(count);
        reply::entries(self.link.send(&command).await?).ok_or(unexpected("XRANGE"))
    }
}

impl Inspector {
    /// The broker's clock, in milliseconds.
    pub(crate) async fn time_ms(&self) -> Result<u64, CommandError> {
        let parts = reply::list(self.link.send(&cmd("TIME")).await?).ok_or(unexpected("TIME"))?;
        match (parts.first().and_then(reply::count), parts.get(1).and_then(reply::count)) {
            (Some(seconds), Some(micros)) => Ok(seconds * 1000 + micros / 1000),
            _ => Err(unexpected("TIME")),
        }
    }
}

fn unexpected(command: &'static str) -> CommandError {
    CommandError::Unexpected { command }
}

fn scanned(reply: Value) -> Option<(Vec<u8>, Vec<String>)> {
    let mut parts = reply::list(reply)?.into_iter();
    let cursor = reply::bytes(parts.next()?)?;
    let keys = reply::list(parts.next()?)?.into_iter().map(reply::text).collect::<Option<_>>()?;
    Some((cursor, keys))
}

fn stream(name: String, reply: Value) -> Option<StreamInfo> {
    let mut info = Attributes::of(reply)?;
    Some(StreamInfo {
        name,
        length: reply::count(&info.take("length")?)?,
        last_id: reply::entry_id(&info.take("last-generated-id")?)?,
        entries_added: info.take("entries-added").as_ref().and_then(reply::count),
        groups: reply::count(&info.take("groups")?)?,
        first_entry: info.take("first-entry").and_then(reply::entry).map(|(id, _)| id),
    })
}

fn group(reply: Value) -> Option<GroupInfo> {
    let mut info = Attributes::of(reply)?;
    Some(GroupInfo {
        name: reply::text(info.take("name")?)?,
        consumers: reply::count(&info.take("consumers")?)?,
        pending: reply::count(&info.take("pending")?)?,
        last_delivered: reply::entry_id(&info.take("last-delivered-id")?)?,
        lag: info.take("lag").as_ref().and_then(reply::count),
    })
}

fn consumer(reply: Value) -> Option<ConsumerInfo> {
    let mut info = Attributes::of(reply)?;
    let millis = |value: Option<Value>| value.as_ref().and_then(reply::count).map(Duration::from_millis);
    Some(ConsumerInfo {
        name: reply::text(info.take("name")?)?,
        pending: reply::count(&info.take("pending")?)?,
        idle: millis(info.take("idle"))?,
        // -1 stands for never.
        inactive: millis(info.take("inactive")),
    })
}

fn pending(reply: Value) -> Option<PendingEntry> {
    let mut parts = reply::list(reply)?.into_iter();
    Some(PendingEntry {
        id: reply::entry_id(&parts.next()?)?,
        consumer: reply::text(parts.next()?)?,
        // Negative for entries that were given back without an owner (XNACK, Redis 8.8).
        idle: Duration::from_millis(reply::count(&parts.next()?).unwrap_or(0)),
        deliveries: reply::count(&parts.next()?)?,
    })
}
