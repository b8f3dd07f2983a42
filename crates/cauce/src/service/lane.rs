//! Lanes: the streams that a service reads, and the entries on their way through it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::handler::Route;
use super::ownership::Ownership;
use super::scripts::{Run, TakenEntry};
use crate::backend::command::{again_stream, companion, dead_stream};
use crate::entry::{EntryId, Fields};
use crate::partition::partition_stream;

/// Handlers by action. There are few: looking them all through is the quickest.
pub(crate) type Routes = Vec<(&'static str, Arc<Route>)>;

/// The due times of a group.
pub(crate) fn due_key(stream: &str, group: &str) -> String {
    companion(stream, &format!("due:{group}"))
}

/// The attempts of a group.
pub(crate) fn attempts_key(stream: &str, group: &str) -> String {
    companion(stream, &format!("attempts:{group}"))
}

/// The members of a group.
pub(crate) fn members_key(stream: &str, group: &str) -> String {
    companion(stream, &format!("members:{group}"))
}

/// The lease of a member.
pub(crate) fn lease_key(stream: &str, group: &str, consumer: &str) -> String {
    companion(stream, &format!("lease:{group}:{consumer}"))
}

/// The lease of the group's one reader of a stream, where order is kept.
pub(crate) fn reader_key(stream: &str, group: &str) -> String {
    companion(stream, &format!("reader:{group}"))
}

/// Who the one reader is or was, since when, and by which connection.
pub(crate) fn owner_key(stream: &str, group: &str) -> String {
    companion(stream, &format!("owner:{group}"))
}

/// What a service reads.
pub(crate) struct Lanes {
    /// The streams that its handlers' events name, with their numbers of partitions.
    pub(crate) topics: Vec<(&'static str, u16)>,
    /// One for each stream that they are.
    pub(crate) lanes: Vec<Arc<Lane>>,
}

/// Which stream a lane is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source<'a> {
    /// The stream that the events name.
    pub(crate) topic: &'a str,
    /// Its partition, if it has any.
    pub(crate) partition: Option<u16>,
    /// Whether the order of keys is kept, so that it has one reader in the group.
    pub(crate) ordered: bool,
}

/// One stream that the service reads, and the keys that are kept beside it.
pub(crate) struct Lane {
    /// Its place among the service's lanes.
    pub(crate) index: usize,
    /// The stream that its events name. The partitions of one are shared out among the instances.
    pub(crate) topic: Arc<str>,
    /// The key that is read.
    pub(crate) stream: Arc<str>,
    /// The stream that its entries belong to: itself, but for a side stream.
    pub(crate) origin: Arc<str>,
    /// Where dead letters go.
    pub(crate) dead: Arc<str>,
    /// A sorted set: when the next attempts are due, by entry.
    pub(crate) due: String,
    /// A hash: what is known of the attempts that failed, by entry.
    pub(crate) attempts: String,
    /// A text: from where the group would have to go on if it were lost.
    pub(crate) cursor_key: String,
    /// A hash: who is or was a member, by consumer.
    pub(crate) members: String,
    /// A sorted set: the events that the group has handled, if it has an inbox, and when. One for the stream and its side streams.
    pub(crate) inbox: String,
    group: Arc<str>,
    /// The handlers by action.
    pub(crate) routes: Arc<Routes>,
    /// The newest entry that this process was given.
    cursor: Mutex<EntryId>,
    /// Whether something was read or settled since the cursor was saved.
    touched: AtomicBool,
    /// The lease of the one reader, where order is kept.
    pub(crate) reader: String,
    /// Who that is.
    pub(crate) owner: String,
    /// Whether this process is the group's one reader of the stream, where order is kept.
    ownership: Option<Ownership>,
    /// Whether too many entries wait behind others of their keys.
    stalled: AtomicBool,
}

impl Lane {
    pub(crate) fn new(index: usize, source: Source<'_>, group: &Arc<str>, routes: Arc<Routes>) -> Self {
        let Source { topic, partition, ordered } = source;
        let stream = partition.map_or_else(|| topic.to_owned(), |number| partition_stream(topic, number));
        let origin = Arc::from(&*stream);
        Self { topic: topic.into(), ..Self::with(index, &stream, origin, group, routes, ordered) }
    }

    /// The side stream on which this group alone gets copies of entries again.
    pub(crate) fn side(&self, index: usize) -> Self {
        let stream = again_stream(&self.origin, &self.group);
        let (origin, routes) = (Arc::clone(&self.origin), Arc::clone(&self.routes));
        Self::with(index, &stream, origin, &self.group, routes, self.is_ordered())
    }

    fn with(
        index: usize,
        stream: &str,
        origin: Arc<str>,
        group: &Arc<str>,
        routes: Arc<Routes>,
        ordered: bool,
    ) -> Self {
        let key = |kind: &str| companion(stream, &format!("{kind}:{group}"));
        Self {
            index,
            topic: stream.into(),
            stream: stream.into(),
            dead: dead_stream(&origin).into(),
            inbox: companion(&origin, &format!("inbox:{group}")),
            origin,
            due: due_key(stream, group),
            attempts: attempts_key(stream, group),
            cursor_key: key("cursor"),
            members: members_key(stream, group),
            group: Arc::clone(group),
            routes,
            cursor: Mutex::default(),
            touched: AtomicBool::new(true),
            reader: reader_key(stream, group),
            owner: owner_key(stream, group),
            ownership: ordered.then(Ownership::new),
            stalled: AtomicBool::new(false),
        }
    }

    /// The key that exists as long as a member's lease runs.
    pub(crate) fn lease_of(&self, consumer: &str) -> String {
        lease_key(&self.stream, &self.group, consumer)
    }

    /// Whether only this group reads it: what is settled is deleted.
    pub(crate) fn is_side(&self) -> bool {
        self.stream != self.origin
    }

    /// The route of an entry. One without an action goes to the only handler, if there is one only.
    pub(crate) fn route(&self, fields: &Fields) -> Routed<'_> {
        match fields.field("action") {
            Some(action) => {
                let found = self.routes.iter().find(|(known, _)| known.as_bytes() == action);
                found.map_or(Routed::Unhandled, |(_, route)| Routed::To(route))
            }
            None => match &self.routes[..] {
                [(_, only)] => Routed::To(only),
                _ => Routed::NoAction,
            },
        }
    }

    pub(crate) fn cursor(&self) -> EntryId {
        *self.lock()
    }

    /// Whether the order of keys is kept.
    pub(crate) fn is_ordered(&self) -> bool {
        self.ownership.is_some()
    }

    /// Whether this process is the one reader, where order is kept.
    pub(crate) fn ownership(&self) -> Option<&Ownership> {
        self.ownership.as_ref()
    }

    /// The epoch under which a handler of its entries may begin now, if it may.
    pub(crate) fn may_run(&self) -> Option<u64> {
        self.ownership.as_ref().map_or(Some(0), Ownership::may_run)
    }

    /// Whether new entries may be read by the connection of this id.
    pub(crate) fn may_read(&self, connection: i64) -> bool {
        let own = self.ownership.as_ref().is_none_or(|ownership| ownership.may_read(connection));
        own && !self.stalled.load(Ordering::Relaxed)
    }

    /// Whether entries that others left behind may be taken one by one: where order is kept, all that was pending is taken first.
    pub(crate) fn may_take(&self) -> bool {
        self.ownership.as_ref().is_none_or(Ownership::is_reading)
    }

    /// Says what it was before.
    pub(crate) fn set_stalled(&self, stalled: bool) -> bool {
        self.stalled.swap(stalled, Ordering::Relaxed)
    }

    /// Something was read or settled.
    pub(crate) fn touch(&self) {
        self.touched.store(true, Ordering::Relaxed);
    }

    /// Whether something was read or settled since this was asked last.
    pub(crate) fn was_touched(&self) -> bool {
        self.touched.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn advance(&self, id: EntryId) {
        let mut cursor = self.lock();
        *cursor = id.max(*cursor);
    }

    /// The stream was lost, its ids start anew.
    pub(crate) fn rewind(&self) {
        *self.lock() = EntryId::ZERO;
    }

    fn lock(&self) -> MutexGuard<'_, EntryId> {
        self.cursor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) enum Routed<'a> {
    To(&'a Arc<Route>),
    Unhandled,
    NoAction,
}

/// An entry that was given to this process.
pub(crate) struct Delivered {
    pub(crate) lane: Arc<Lane>,
    pub(crate) id: EntryId,
    pub(crate) fields: Fields,
    /// Which attempt this is, from 1: its delivery count at the broker.
    pub(crate) attempt: u32,
    pub(crate) lease: Lease,
}

/// What is known of an entry's lease and history.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lease {
    /// Whether it is pending at all: not what was read with NOACK.
    pub(crate) pending: bool,
    /// The broker's time in milliseconds before which nobody takes it over.
    pub(crate) deadline: u64,
    /// Whether the broker knows attempts of it.
    pub(crate) noted: bool,
    /// How many instances died with it.
    pub(crate) crashes: u32,
    /// Whether its last owner died while it ran it alone.
    pub(crate) killer: bool,
    /// Whether it is not to run yet: its time will come, and until then others of its key wait.
    pub(crate) parked: bool,
    /// Under which epoch of its stream's ownership it runs, where order is kept.
    pub(crate) epoch: u64,
}

impl Lease {
    pub(crate) fn taken(entry: &TakenEntry, deadline: u64) -> Self {
        let TakenEntry { noted, crashes, alone, parked, .. } = *entry;
        Self { pending: true, deadline, noted, crashes, killer: alone, parked, epoch: 0 }
    }

    pub(crate) fn fresh(deadline: u64, pending: bool) -> Self {
        Self { pending, deadline, noted: false, crashes: 0, killer: false, parked: false, epoch: 0 }
    }
}

/// Done entries of a lane, in runs that are alike.
#[derive(Default)]
pub(crate) struct Runs(pub(crate) Vec<Run>);

impl Runs {
    pub(crate) fn push(&mut self, id: EntryId, attempt: u32, lease: Lease) {
        match self.0.last_mut() {
            Some(run) if (run.deadline, run.attempt, run.noted) == (lease.deadline, attempt, lease.noted) => {
                run.ids.push(id);
            }
            _ => self.0.push(Run { deadline: lease.deadline, attempt, noted: lease.noted, ids: vec![id] }),
        }
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// In parts of at most so many entries.
    pub(crate) fn batches(self, length: usize) -> Vec<Vec<Run>> {
        let mut batches: Vec<Vec<Run>> = Vec::new();
        let mut room = 0;
        for mut run in self.0 {
            while !run.ids.is_empty() {
                if room == 0 {
                    batches.push(Vec::new());
                    room = length;
                }
                let rest = run.ids.split_off(run.ids.len().min(room));
                room -= run.ids.len();
                let ids = std::mem::replace(&mut run.ids, rest);
                if let Some(batch) = batches.last_mut() {
                    batch.push(Run { ids, deadline: run.deadline, attempt: run.attempt, noted: run.noted });
                }
            }
        }
        batches
    }

    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|run| run.ids.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_gather_what_is_alike_and_part_by_length() {
        let id = |seq| EntryId::new(1, seq);
        let mut runs = Runs::default();
        for seq in 0..5 {
            runs.push(id(seq), 1, Lease::fresh(100, true));
        }
        runs.push(id(5), 2, Lease::fresh(100, true));
        assert_eq!((runs.0.len(), runs.len()), (2, 6));
        let batches = runs.batches(2);
        let lengths: Vec<usize> =
            batches.iter().map(|batch| batch.iter().map(|run| run.ids.len()).sum()).collect();
        assert_eq!(lengths, [2, 2, 2]);
        assert_eq!(batches[2].iter().map(|run| run.attempt).collect::<Vec<_>>(), [1, 2]);
    }
}
