//! The entries that this process holds: read, queued, running, or settled and not yet confirmed.

use std::collections::HashSet;
use std::collections::hash_map::{Entry, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::fast::RandomState;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::entry::EntryId;

/// Entries that a service may hold: as many as its keeper can renew. When it is reached, nothing more is read.
pub(crate) const HELD_MAX: usize = 16_384;

/// Which entries are held, by lane, and since when.
#[derive(Debug, Default)]
pub(crate) struct Held {
    entries: Mutex<Entries>,
    released: Notify,
}

type Entries = HashMap<(usize, EntryId), Holding, RandomState>;

#[derive(Debug)]
struct Holding {
    since: Instant,
    /// The broker is being told to put it aside. It may give it back before this process hears that it has done so.
    is_leaving: bool,
}

/// The table, to take many entries at once.
pub(crate) struct Taking<'a> {
    entries: MutexGuard<'a, Entries>,
    now: Instant,
}

impl Taking<'_> {
    /// Whether it was not held yet. One that is held stays as it was: if it leaves, it does so although it was read once more.
    pub(crate) fn take(&mut self, lane: usize, id: EntryId) -> bool {
        match self.entries.entry((lane, id)) {
            Entry::Occupied(_) => false,
            Entry::Vacant(free) => {
                free.insert(Holding { since: self.now, is_leaving: false });
                true
            }
        }
    }
}

impl Held {
    /// Entries that are taken now.
    pub(crate) fn taking(&self) -> Taking<'_> {
        Taking { entries: self.lock(), now: Instant::now() }
    }

    pub(crate) fn release(&self, lane: usize, ids: impl IntoIterator<Item = EntryId>) {
        let mut entries = self.lock();
        let was_full = entries.len() >= HELD_MAX;
        for id in ids {
            entries.remove(&(lane, id));
        }
        drop(entries);
        if was_full {
            self.released.notify_waiters();
        }
    }

    /// The broker is about to be told to put the entry aside; [`left`](Self::left) follows.
    pub(crate) fn leaves(&self, lane: usize, id: EntryId) {
        if let Some(holding) = self.lock().get_mut(&(lane, id)) {
            holding.is_leaving = true;
        }
    }

    /// The entry is put aside: that was confirmed, or it came back, whichever is noticed first. What has come back since stays.
    pub(crate) fn left(&self, lane: usize, id: EntryId) {
        let is_leaving = self.lock().get(&(lane, id)).is_some_and(|holding| holding.is_leaving);
        if is_leaving {
            self.release(lane, [id]);
        }
    }

    pub(crate) fn contains(&self, lane: usize, id: EntryId) -> bool {
        self.lock().contains_key(&(lane, id))
    }

    /// What has been held for at least so long, in the order of the stream. Counts as taken now.
    pub(crate) fn renew_older(&self, lane: usize, age: Duration) -> Vec<EntryId> {
        let now = Instant::now();
        let mut ids = Vec::new();
        for ((held, id), Holding { since, .. }) in self.lock().iter_mut() {
            if *held == lane && now.duration_since(*since) >= age {
                *since = now;
                ids.push(*id);
            }
        }
        ids.sort_unstable();
        ids
    }

    /// The first of the stream that is held.
    pub(crate) fn lowest(&self, lane: usize) -> Option<EntryId> {
        self.lock().keys().filter(|(held, _)| *held == lane).map(|(_, id)| *id).min()
    }

    /// All of the stream that are held.
    pub(crate) fn of(&self, lane: usize) -> HashSet<EntryId, RandomState> {
        self.lock().keys().filter(|(held, _)| *held == lane).map(|(_, id)| *id).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    pub(crate) fn room(&self) -> usize {
        HELD_MAX.saturating_sub(self.len())
    }

    /// Waits until fewer than the limit are held.
    pub(crate) async fn wait_for_room(&self) {
        loop {
            let released = self.released.notified();
            tokio::pin!(released);
            // Registered before looking, so that no release is missed.
            released.as_mut().enable();
            if self.room() > 0 {
                return;
            }
            released.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(held: &Held, lane: usize, ids: impl IntoIterator<Item = EntryId>) -> Vec<bool> {
        let mut taking = held.taking();
        ids.into_iter().map(|id| taking.take(lane, id)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn an_entry_is_taken_once() {
        let held = Held::default();
        let id = |seq| EntryId::new(1, seq);
        assert_eq!(take(&held, 0, [id(2)]), [true]);
        assert_eq!(take(&held, 0, [id(1), id(2), id(3)]), [true, false, true]);
        assert_eq!(held.lowest(0), Some(id(1)));
        assert_eq!(held.lowest(1), None);
        held.release(0, [id(1), id(2)]);
        assert!(held.contains(0, id(3)) && !held.contains(0, id(2)));
        assert_eq!(held.room(), HELD_MAX - 1);
    }

    /// A retry that is due at once came back before its putting aside was confirmed, was taken for a duplicate, and was found again only when the
    /// keeper looked for lost deliveries.
    #[tokio::test(start_paused = true)]
    async fn what_comes_back_while_it_leaves_is_held() {
        let (held, id) = (Held::default(), EntryId::new(1, 1));
        assert_eq!(take(&held, 0, [id]), [true]);
        held.left(0, id);
        assert_eq!(take(&held, 0, [id]), [false], "it was not leaving");
        held.leaves(0, id);
        assert_eq!(take(&held, 1, [id]), [true], "another lane's");
        // It comes back, then its leaving is confirmed.
        held.left(0, id);
        assert_eq!(take(&held, 0, [id]), [true]);
        held.left(0, id);
        assert!(held.contains(0, id), "it is back");
        held.leaves(0, id);
        assert!(held.contains(0, id), "it is held until its leaving is confirmed");
        held.left(0, id);
        assert!(!held.contains(0, id));
    }

    /// The group was made again and gave the entry once more while it was put aside: it was held for good, its lease renewed, and never run.
    #[tokio::test(start_paused = true)]
    async fn what_is_read_again_while_it_leaves_still_leaves() {
        let (held, id) = (Held::default(), EntryId::new(1, 1));
        assert_eq!(take(&held, 0, [id]), [true]);
        held.leaves(0, id);
        assert_eq!(take(&held, 0, [id]), [false]);
        held.left(0, id);
        assert!(!held.contains(0, id), "it is found when lost deliveries are looked for");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_old_is_renewed_once() {
        let held = Held::default();
        take(&held, 0, [EntryId::new(2, 0), EntryId::new(1, 0)]);
        assert!(held.renew_older(0, Duration::from_secs(1)).is_empty());
        tokio::time::advance(Duration::from_secs(1)).await;
        take(&held, 0, [EntryId::new(3, 0)]);
        assert_eq!(held.renew_older(0, Duration::from_secs(1)), [EntryId::new(1, 0), EntryId::new(2, 0)]);
        assert!(held.renew_older(0, Duration::from_secs(1)).is_empty());
    }

    #[tokio::test]
    async fn a_full_table_waits_for_a_release() {
        let held = Held::default();
        take(&held, 0, (0..HELD_MAX as u64).map(|seq| EntryId::new(1, seq)));
        let waiting = held.wait_for_room();
        tokio::pin!(waiting);
        assert!(futures_util::FutureExt::now_or_never(waiting.as_mut()).is_none());
        held.release(0, [EntryId::new(1, 7)]);
        waiting.await;
    }
}
