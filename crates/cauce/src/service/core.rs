//! What the tasks of one running service share.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use redis::cmd;

use super::extract::Names;
use super::held::Held;
use super::lane::Lane;
use super::report::Counters;
use super::retry::Retry;
use crate::backend::link::Link;
use crate::entry::EntryId;
use crate::error::CommandError;

/// Where a group begins that does not exist yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With what is published from now on.
    New,
    /// With the oldest entry that the stream holds.
    Beginning,
    /// After this entry.
    Id(EntryId),
}

/// The settings of a service.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) retry: Retry,
    pub(crate) concurrency: usize,
    pub(crate) handler_timeout: Option<Duration>,
    pub(crate) start_at: Start,
    pub(crate) acknowledge: bool,
    pub(crate) shutdown_deadline: Duration,
    pub(crate) reclaim_after: Duration,
    pub(crate) consumer_prefix: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            retry: Retry::default(),
            concurrency: 16,
            handler_timeout: None,
            start_at: Start::New,
            acknowledge: true,
            shutdown_deadline: Duration::from_secs(10),
            reclaim_after: Duration::from_secs(15),
            consumer_prefix: None,
        }
    }
}

impl Settings {
    /// How often pending entries are looked through: leases renewed, entries of the dead taken over.
    pub(crate) fn tick(&self) -> Duration {
        (self.reclaim_after / 3).clamp(Duration::from_millis(50), Duration::from_secs(5))
    }
}

/// What the tasks of one running service share.
pub(crate) struct Core {
    pub(crate) link: Link,
    pub(crate) names: Names,
    pub(crate) settings: Settings,
    pub(crate) counters: Counters,
    pub(crate) held: Held,
    /// The reading connection's id at the broker.
    reader: AtomicI64,
    lanes: RwLock<Vec<Arc<Lane>>>,
}

impl Core {
    pub(crate) fn new(link: Link, names: Names, settings: Settings, lanes: Vec<Arc<Lane>>) -> Self {
        Self {
            link,
            names,
            settings,
            counters: Counters::default(),
            held: Held::default(),
            reader: AtomicI64::new(0),
            lanes: RwLock::new(lanes),
        }
    }

    pub(crate) fn lanes(&self) -> Vec<Arc<Lane>> {
        self.lanes.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn reads_as(&self, client_id: i64) {
        self.reader.store(client_id, Ordering::Release);
    }

    /// Ends a read that is blocked, in order: the reader gets an empty reply.
    ///
    /// # Errors
    /// If the broker can't be reached or refuses.
    pub(crate) async fn unblock_reader(&self) -> Result<(), CommandError> {
        let mut command = cmd("CLIENT");
        command.arg("UNBLOCK").arg(self.reader.load(Ordering::Acquire));
        self.link.send(&command).await.map(drop)
    }

    /// Adds the side stream of a lane, unless it is there.
    pub(crate) fn add_side(&self, lane: &Lane) {
        let mut lanes = self.lanes.write().unwrap_or_else(PoisonError::into_inner);
        let side = lane.side(lanes.len(), &self.names.group);
        if lanes.iter().all(|known| known.stream != side.stream) {
            lanes.push(Arc::new(side));
        }
    }
}
