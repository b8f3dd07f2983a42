//! What the tasks of one running service share.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use redis::cmd;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::due::Times;
use super::extract::Names;
use super::held::Held;
use super::lane::Lane;
use super::report::Counters;
use super::scripts::{Owner, PARKED};
use crate::backend::link::Link;
use crate::entry::EntryId;
use crate::error::CommandError;
use crate::inspect::Retention;

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
    pub(crate) concurrency: usize,
    pub(crate) start_at: Start,
    pub(crate) acknowledge: bool,
    pub(crate) shutdown_deadline: Duration,
    pub(crate) lease: Duration,
    pub(crate) consumer_prefix: Option<String>,
    pub(crate) ordered: bool,
    pub(crate) retention: Option<Retention>,
    pub(crate) behind_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            concurrency: 16,
            start_at: Start::New,
            acknowledge: true,
            shutdown_deadline: Duration::from_secs(10),
            lease: Duration::from_secs(15),
            consumer_prefix: None,
            ordered: false,
            retention: None,
            behind_max: 1_000,
        }
    }
}

impl Settings {
    /// How often leases are renewed and pending entries looked through.
    pub(crate) fn tick(&self) -> Duration {
        (self.lease / 3).clamp(Duration::from_millis(30), Duration::from_secs(5))
    }

    pub(crate) fn lease_ms(&self) -> u64 {
        millis(self.lease)
    }
}

fn member() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (host, process, since) = (host(), std::process::id(), millis(since));
    serde_json::json!({ "host": host, "process": process, "since": since }).to_string()
}

/// The name of this machine or container.
pub(crate) fn host() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let host = host.or_else(|| std::env::var("HOSTNAME").ok()).or_else(|| std::env::var("COMPUTERNAME").ok());
    host.as_deref().map_or("host", str::trim).to_owned()
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What the tasks of one running service share.
pub(crate) struct Core {
    pub(crate) link: Link,
    pub(crate) names: Names,
    pub(crate) settings: Settings,
    pub(crate) counters: Counters,
    pub(crate) held: Held,
    pub(crate) times: Times,
    /// What the registry of members says of this process, as JSON.
    pub(crate) member: String,
    /// The reading connection's id at the broker.
    reader: AtomicI64,
    lanes: RwLock<Vec<Arc<Lane>>>,
    /// Whether too many entries wait behind others of their keys.
    stalled: AtomicBool,
    /// What may be read has changed.
    readable: Notify,
    /// The broker's clock: its time, and when it said so.
    clock: Mutex<(u64, Instant)>,
}

impl Core {
    pub(crate) fn new(link: Link, names: Names, settings: Settings, lanes: Vec<Arc<Lane>>) -> Self {
        Self {
            link,
            names,
            settings,
            counters: Counters::default(),
            held: Held::default(),
            times: Times::default(),
            member: member(),
            reader: AtomicI64::new(0),
            lanes: RwLock::new(lanes),
            stalled: AtomicBool::new(false),
            readable: Notify::new(),
            clock: Mutex::new((0, Instant::now())),
        }
    }

    /// This process, as the scripts ask for it.
    pub(crate) fn owner(&self) -> Owner<'_> {
        Owner { group: &self.names.group, consumer: &self.names.consumer }
    }

    /// The lanes that may be read now.
    pub(crate) fn readable_lanes(&self) -> Vec<Arc<Lane>> {
        if self.stalled.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let mut lanes = self.lanes();
        lanes.retain(|lane| !self.settings.ordered || lane.is_owned());
        lanes
    }

    /// Whether this process is the reader of the lane, where order is kept.
    pub(crate) fn owns(&self, lane: usize) -> bool {
        self.lanes().iter().any(|known| known.index == lane && known.is_owned())
    }

    /// Ends when the lanes that may be read have changed since this was called.
    pub(crate) fn readable_changed(&self) -> impl Future<Output = ()> {
        let mut changed = Box::pin(self.readable.notified());
        changed.as_mut().enable();
        changed
    }

    pub(crate) fn changed_readable(&self) {
        self.readable.notify_waiters();
    }

    /// Stops reading when so many entries wait behind others of their keys that it is too many, and begins again when it is half of that.
    /// Says whether it has just stopped.
    pub(crate) fn stall(&self, behind: usize) -> bool {
        let limit = self.settings.behind_max;
        if behind >= limit {
            let stopped = !self.stalled.swap(true, Ordering::Relaxed);
            if stopped {
                self.counters.stalled.one();
            }
            return stopped;
        }
        if behind <= limit / 2 && self.stalled.swap(false, Ordering::Relaxed) {
            self.changed_readable();
        }
        false
    }

    /// Who has an entry while it waits for its next attempt. Where order is kept, its reader: the next reader begins with what the last had.
    pub(crate) fn parks_with(&self) -> &str {
        if self.settings.ordered { &self.names.consumer } else { PARKED }
    }

    /// The broker said what time it is.
    pub(crate) fn saw_broker_ms(&self, ms: u64) {
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner) = (ms, Instant::now());
    }

    /// About the broker's time: what it said last, and what has passed since.
    pub(crate) fn broker_ms(&self) -> u64 {
        let (said, when) = *self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        said + millis(when.elapsed())
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
        let side = lane.side(lanes.len());
        if lanes.iter().all(|known| known.stream != side.stream) {
            lanes.push(Arc::new(side));
        }
    }
}
