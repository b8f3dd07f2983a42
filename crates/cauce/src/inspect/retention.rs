//! Retention: how long streams keep their entries, and who holds how much.

use std::time::Duration;

use redis::cmd;

use super::Inspector;
use crate::backend::reply;
use crate::bus::Bus;
use crate::entry::EntryId;
use crate::error::CommandError;
use crate::service::{Policy, members_key, retain};

/// Entries that one script looks at: other clients wait no longer than a millisecond or two.
const PAGE: usize = 500;
/// Entries that are counted one by one to say how many a group holds; beyond, their number is estimated.
const COUNTED_MAX: u64 = 10_000;
/// Entries that one question counts.
const COUNT_PAGE: usize = 1_000;

/// How long a stream keeps its entries. Only what every group is done with is removed, on every version of the server; without a limit nothing is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "it does nothing until Bus::retain applies it, or a service does"]
pub struct Retention {
    pub(crate) age: Option<Duration>,
    pub(crate) length: Option<u64>,
    pub(crate) bytes: Option<u64>,
    pub(crate) abandoned_after: Option<Duration>,
}

impl Retention {
    /// Everything is kept.
    pub fn new() -> Self {
        Self::default()
    }

    /// Entries that are older, by their ids and the broker's clock, go.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.age = Some(age);
        self
    }

    /// The oldest go while there are more.
    pub fn max_length(mut self, entries: u64) -> Self {
        self.length = Some(entries);
        self
    }

    /// The oldest go while the names and values of fields are more than so many bytes, estimated from the oldest and the newest entries. The memory
    /// that the server uses for them is up to about half of that or twice as much.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// Groups that nobody has read from for so long hold nothing any more, and are destroyed. Without this they hold what they need for ever;
    /// [`Inspector::holders`] says so.
    pub fn abandoned_after(mut self, idle: Duration) -> Self {
        self.abandoned_after = Some(idle);
        self
    }
}

/// What was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retained {
    /// Entries that were removed.
    pub removed: u64,
    /// Groups that were destroyed because nobody had read from them for too long.
    pub abandoned: Vec<String>,
    /// Whether groups still need entries that the limits would remove.
    pub held: bool,
}

/// What a group holds of a stream: retention removes nothing of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// The group.
    pub group: String,
    /// The first entry that it needs: its lowest pending entry, or the first that it was not given yet. `None` if it needs none.
    pub from: Option<EntryId>,
    /// How many entries there are from there on. Beyond 10,000 an estimate by the times of the entries.
    pub entries: u64,
    /// About how many bytes of the server's memory that is; `None` if the server does not say how large the stream is.
    pub bytes: Option<u64>,
    /// How long ago one of its consumers asked for something. `None` if it has no consumer and had no instance of a service.
    pub idle: Option<Duration>,
}

impl Bus {
    /// Removes what a stream need not keep. May be called by as many as like, as often as they like; it costs little when there is nothing to
    /// do. Services do it for their streams: [`Service::retention`](crate::Service::retention).
    ///
    /// # Errors
    /// If the broker can't be asked, or the key is not a stream.
    pub async fn retain(&self, stream: &str, retention: &Retention) -> Result<Retained, CommandError> {
        let mut retained = Retained::default();
        if self.inspect().stream(stream).await?.is_none() {
            return Ok(retained);
        }
        if let Some(limit) = retention.abandoned_after {
            for group in self.inspect().groups(stream).await? {
                let idle = self.inspect().group_idle(stream, &group.name).await?;
                if idle.is_some_and(|idle| idle > limit) {
                    self.link().send(cmd("XGROUP").arg("DESTROY").arg(stream).arg(&group.name)).await?;
                    tracing::warn!(
                        stream,
                        group = group.name,
                        ?idle,
                        "nobody reads from the group any more; it is destroyed"
                    );
                    retained.abandoned.push(group.name);
                }
            }
        }
        let policy =
            Policy { age: retention.age, length: retention.length, bytes: retention.bytes, count: PAGE };
        loop {
            let (removed, held) = retain(self.link(), stream, &policy).await?;
            retained.removed += removed;
            retained.held = held;
            if removed < PAGE as u64 {
                return Ok(retained);
            }
        }
    }
}

impl Inspector {
    /// Who holds how much of a stream, the most first.
    ///
    /// # Errors
    /// If the broker can't be asked, or there is no such stream.
    pub async fn holders(&self, stream: &str) -> Result<Vec<Holder>, CommandError> {
        let Some(info) = self.stream(stream).await? else { return Ok(Vec::new()) };
        let usage = self.link.send(cmd("MEMORY").arg("USAGE").arg(stream).arg("SAMPLES").arg(0)).await;
        let usage = usage.ok().as_ref().and_then(reply::count);
        let mut holders = Vec::new();
        for group in self.groups(stream).await? {
            let summary = reply::list(self.link.send(cmd("XPENDING").arg(stream).arg(&group.name)).await?);
            let lowest = summary.and_then(|parts| parts.get(1).and_then(reply::entry_id));
            // The last that is done.
            let before = lowest.map_or(group.last_delivered, EntryId::previous);
            let from = self.entries(stream, before, 1).await?.first().map(|entry| entry.id);
            let entries = match from {
                Some(from) => {
                    self.count_from(stream, from, info.first_entry, info.last_id, info.length).await?
                }
                None => 0,
            };
            let bytes = usage.map(|usage| {
                (u128::from(usage) * u128::from(entries) / u128::from(info.length.max(1))) as u64
            });
            let idle = self.group_idle(stream, &group.name).await?;
            holders.push(Holder { group: group.name, from, entries, bytes, idle });
        }
        holders.sort_by(|a, b| b.entries.cmp(&a.entries).then_with(|| a.group.cmp(&b.group)));
        Ok(holders)
    }

    async fn count_from(
        &self,
        stream: &str,
        from: EntryId,
        first: Option<EntryId>,
        last: EntryId,
        length: u64,
    ) -> Result<u64, CommandError> {
        let (mut counted, mut after) = (0, from.previous());
        while counted < COUNTED_MAX {
            let some = self.entries(stream, after, COUNT_PAGE).await?;
            counted += some.len() as u64;
            match some.last() {
                Some(newest) if some.len() == COUNT_PAGE => after = newest.id,
                _ => return Ok(counted),
            }
        }
        let span = last.ms.saturating_sub(first.unwrap_or(from).ms).max(1);
        let estimate = u128::from(length) * u128::from(last.ms.saturating_sub(from.ms)) / u128::from(span);
        Ok((estimate as u64).clamp(counted, length.max(counted)))
    }

    /// How long ago one of the group's consumers asked for something, or an instance of its service renewed its lease.
    async fn group_idle(&self, stream: &str, group: &str) -> Result<Option<Duration>, CommandError> {
        let consumers = self.consumers(stream, group).await?;
        let asked = consumers.iter().map(|consumer| consumer.idle).min();
        let seen = self.link.send(cmd("HGET").arg(members_key(stream, group)).arg(SEEN)).await?;
        let seen = match reply::count(&seen) {
            Some(seen) => Some(Duration::from_millis(self.time_ms().await?.saturating_sub(seen))),
            None => None,
        };
        Ok(asked.into_iter().chain(seen).min())
    }
}

/// The field of the registry that says when an instance was last seen, in milliseconds of the broker's clock.
pub(crate) const SEEN: &str = "seen";
