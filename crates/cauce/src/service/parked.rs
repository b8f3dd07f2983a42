//! Failed deliveries that wait for their next attempt.
//!
//! They stay pending in the group; only their due times are kept here. When one is due, claiming it for this consumer raises its
//! delivery count at the broker, so that the count of attempts survives this process.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::core::Core;
use super::lane::Lane;
use super::pending;
use super::reader::Batch;
use crate::backend::backoff::Backoff;
use crate::entry::EntryId;

/// Due entries that are claimed with one command.
const CLAIM_LENGTH: usize = 100;

#[derive(Default)]
pub(crate) struct Parked {
    waiting: Mutex<BinaryHeap<Reverse<Waiting>>>,
    changed: Notify,
}

pub(crate) struct Waiting {
    pub(crate) due: Instant,
    pub(crate) lane: Arc<Lane>,
    pub(crate) id: EntryId,
    /// How many attempts there have been.
    pub(crate) attempt: u32,
}

impl Parked {
    pub(crate) fn park(&self, lane: Arc<Lane>, id: EntryId, attempt: u32, delay: Duration) {
        self.lock().push(Reverse(Waiting { due: Instant::now() + delay, lane, id, attempt }));
        self.changed.notify_one();
    }

    pub(crate) fn take_all(&self) -> Vec<Waiting> {
        self.lock().drain().map(|Reverse(waiting)| waiting).collect()
    }

    /// Some entries of one lane that are due now, or when to look again.
    fn due(&self) -> Result<Vec<Waiting>, Option<Instant>> {
        let mut heap = self.lock();
        let now = Instant::now();
        let Some(Reverse(first)) = heap.peek() else { return Err(None) };
        if first.due > now {
            return Err(Some(first.due));
        }
        let lane = Arc::clone(&first.lane);
        let mut due = Vec::new();
        while due.len() < CLAIM_LENGTH
            && let Some(Reverse(next)) = heap.peek()
            && next.due <= now
            && Arc::ptr_eq(&next.lane, &lane)
        {
            due.extend(heap.pop().map(|Reverse(waiting)| waiting));
        }
        Ok(due)
    }

    fn lock(&self) -> MutexGuard<'_, BinaryHeap<Reverse<Waiting>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends to the worker what is due, until the worker has gone.
pub(crate) async fn run(core: Arc<Core>, parked: Arc<Parked>, again: mpsc::Sender<Batch>) {
    loop {
        // A place in the worker's inbox first: what is claimed here is run next.
        let Ok(permit) = again.reserve().await else { return };
        let due = loop {
            match parked.due() {
                Ok(due) => break due,
                Err(Some(next)) => tokio::select! {
                    () = tokio::time::sleep_until(next) => {}
                    () = parked.changed.notified() => {}
                },
                Err(None) => parked.changed.notified().await,
            }
        };
        permit.send(claim(&core, &due).await);
    }
}

async fn claim(core: &Core, due: &[Waiting]) -> Batch {
    let Some(first) = due.first() else { return Batch::new() };
    let lane = &first.lane;
    let wanted: Vec<_> = due.iter().map(|waiting| (waiting.id, waiting.attempt)).collect();
    let mut backoff = Backoff::new();
    let batch = loop {
        match pending::claim(core, lane, Duration::ZERO, &wanted).await {
            Ok(batch) => break batch,
            // The group is gone with its pending entries: what is to be done again comes again by the healed group.
            Err(error) if error.is_refused("NOGROUP") => break Batch::new(),
            Err(error) => tracing::debug!(%error, "retries wait for the broker"),
        }
        backoff.wait().await;
    };
    core.counters.retried.add(batch.len());
    for waiting in due {
        if batch.iter().all(|delivered| delivered.id != waiting.id) {
            // Deleted from the stream, settled by somebody else, or lost with the broker's memory.
            core.counters.vanished.one();
            if let Err(error) = pending::clear_if_deleted(core, lane, waiting.id).await {
                tracing::debug!(%error, "a deleted entry may stay pending");
            }
            core.held.release(lane.index, [waiting.id]);
        }
    }
    batch
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.lane.index, self.id).cmp(&(other.due, other.lane.index, other.id))
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Waiting {}
