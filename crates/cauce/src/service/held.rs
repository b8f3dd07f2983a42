//! The entries that this process holds: read, queued, running, waiting for a retry, or settled and not yet confirmed.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::entry::EntryId;

/// Entries that a service may hold. When it is reached, nothing more is read: retries and slow handlers push back.
pub(crate) const HELD_MAX: usize = 16_384;

/// Which entries are held, by lane.
#[derive(Debug, Default)]
pub(crate) struct Held {
    entries: Mutex<HashSet<(usize, EntryId)>>,
    released: Notify,
}

impl Held {
    /// Takes what is not held yet and keeps only that; says how many were.
    pub(crate) fn take_new<T>(&self, lane: usize, items: &mut Vec<T>, id: impl Fn(&T) -> EntryId) -> usize {
        let before = items.len();
        let mut entries = self.lock();
        items.retain(|item| entries.insert((lane, id(item))));
        before - items.len()
    }

    pub(crate) fn release(&self, lane: usize, ids: impl IntoIterator<Item = EntryId>) {
        let mut entries = self.lock();
        for id in ids {
            entries.remove(&(lane, id));
        }
        drop(entries);
        self.released.notify_waiters();
    }

    pub(crate) fn contains(&self, lane: usize, id: EntryId) -> bool {
        self.lock().contains(&(lane, id))
    }

    /// The first of the stream that is held.
    pub(crate) fn lowest(&self, lane: usize) -> Option<EntryId> {
        self.lock().iter().filter(|(held, _)| *held == lane).map(|(_, id)| *id).min()
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

    fn lock(&self) -> MutexGuard<'_, HashSet<(usize, EntryId)>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_taken_once() {
        let held = Held::default();
        let id = |seq| EntryId::new(1, seq);
        held.take_new(0, &mut vec![id(2)], |id| *id);
        let mut ids = vec![id(1), id(2), id(3)];
        assert_eq!(held.take_new(0, &mut ids, |id| *id), 1);
        assert_eq!(ids, [id(1), id(3)]);
        assert_eq!(held.lowest(0), Some(id(1)));
        assert_eq!(held.lowest(1), None);
        held.release(0, [id(1), id(2)]);
        assert!(held.contains(0, id(3)) && !held.contains(0, id(2)));
        assert_eq!(held.room(), HELD_MAX - 1);
    }

    #[tokio::test]
    async fn a_full_table_waits_for_a_release() {
        let held = Held::default();
        let mut ids: Vec<EntryId> = (0..HELD_MAX as u64).map(|seq| EntryId::new(1, seq)).collect();
        held.take_new(0, &mut ids, |id| *id);
        let waiting = held.wait_for_room();
        tokio::pin!(waiting);
        assert!(futures_util::FutureExt::now_or_never(waiting.as_mut()).is_none());
        held.release(0, [EntryId::new(1, 7)]);
        waiting.await;
    }
}
