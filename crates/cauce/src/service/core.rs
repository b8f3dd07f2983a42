//! What the tasks of one running service share.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use redis::cmd;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::due::Times;
use super::extract::Names;
use super::held::Held;
use super::lane::{Lane, Lanes};
use super::ownership::Ownership;
use super::report::Counters;
use super::scripts::{Owner, PARKED};
use crate::backend::link::Link;
use crate::bus::Bus;
use crate::entry::EntryId;
use crate::error::CommandError;
use crate::inspect::Retention;
use crate::schedule::Movers;
use crate::simulated;

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
    /// How long the inbox keeps its marks, if there is one.
    pub(crate) inbox: Option<Duration>,
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
            inbox: None,
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
    let since = simulated::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let ((host, process), since) = (simulated::place(), millis(since));
    serde_json::json!({ "host": host, "process": process, "since": since }).to_string()
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What the tasks of one running service share.
pub(crate) struct Core {
    pub(crate) link: Link,
    pub(crate) movers: Arc<Movers>,
    pub(crate) names: Names,
    pub(crate) settings: Settings,
    pub(crate) counters: Arc<Counters>,
    /// Whether it was told to stop.
    pub(crate) stopping: AtomicBool,
    pub(crate) held: Held,
    pub(crate) times: Times,
    /// The streams that the handlers' events name, with their numbers of partitions.
    pub(crate) topics: Vec<(&'static str, u16)>,
    /// What the registry of members says of this process, as JSON.
    pub(crate) member: String,
    /// The reading connection's id at the broker; 0 if there is none.
    reader: AtomicI64,
    /// A reading connection that the broker was found to have no more; 0 if there is none.
    gone: watch::Sender<i64>,
    lanes: RwLock<Vec<Arc<Lane>>>,
    /// Grows when what may be read changes.
    readable: watch::Sender<u64>,
    /// For which of these what is read now was decided; 0 if nothing is read.
    reading: AtomicU64,
    /// Streams that are not this process's any more: what of them has not begun is handed back.
    pub(crate) disowned: Notify,
    /// The reading connection is another one.
    pub(crate) reconnected: Notify,
    /// The broker's clock: its time, and when it said so.
    clock: Mutex<(u64, Instant)>,
}

impl Core {
    pub(crate) fn new(bus: &Bus, names: Names, settings: Settings, lanes: Lanes) -> Self {
        let Lanes { topics, lanes } = lanes;
        Self {
            link: bus.link().clone(),
            movers: Arc::clone(bus.movers()),
            names,
            settings,
            counters: Arc::default(),
            stopping: AtomicBool::new(false),
            held: Held::default(),
            times: Times::default(),
            topics,
            member: member(),
            reader: AtomicI64::new(0),
            gone: watch::Sender::new(0),
            lanes: RwLock::new(lanes),
            readable: watch::Sender::new(1),
            reading: AtomicU64::new(0),
            disowned: Notify::new(),
            reconnected: Notify::new(),
            clock: Mutex::new((0, Instant::now())),
        }
    }

    /// This process, as the scripts ask for it.
    pub(crate) fn owner(&self) -> Owner<'_> {
        Owner { group: &self.names.group, consumer: &self.names.consumer }
    }

    /// The lanes that may be read now; what is read from now on is read knowing them.
    pub(crate) fn begin_read(&self) -> Vec<Arc<Lane>> {
        // In this order: who changes what may be read, and finds that nothing older is read, can rely on it.
        self.reading.store(*self.readable.borrow(), Ordering::SeqCst);
        let connection = self.reader_id();
        let mut lanes = self.lanes();
        lanes.retain(|lane| lane.may_read(connection));
        lanes
    }

    /// What was read is held.
    pub(crate) fn end_read(&self) {
        self.reading.store(0, Ordering::SeqCst);
    }

    /// Whether a read is under way that does not know what may be read by now.
    pub(crate) fn is_read_outdated(&self) -> bool {
        let reading = self.reading.load(Ordering::SeqCst);
        reading != 0 && reading != *self.readable.borrow()
    }

    /// Tells when what may be read changes.
    pub(crate) fn readable(&self) -> watch::Receiver<u64> {
        self.readable.subscribe()
    }

    pub(crate) fn changed_readable(&self) {
        self.readable.send_modify(|version| *version += 1);
    }

    /// Stops reading a stream when so many of its entries wait behind others of their keys that it is too many, and begins again when it is half of
    /// that. Says whether it has just stopped.
    pub(crate) fn stall(&self, lane: &Lane, behind: usize) -> bool {
        let limit = self.settings.behind_max;
        if behind >= limit {
            let stopped = !lane.set_stalled(true);
            if stopped {
                self.counters.stalled.one();
                self.changed_readable();
            }
            return stopped;
        }
        if behind <= limit / 2 && lane.set_stalled(false) {
            self.changed_readable();
        }
        false
    }

    /// Who has an entry while it waits for its next attempt. Where order is kept, its reader: the next reader begins with what the last had.
    pub(crate) fn parks_with(&self, lane: &Lane) -> &str {
        if lane.is_ordered() { &self.names.consumer } else { PARKED }
    }

    pub(crate) fn is_reading(&self) -> bool {
        self.reader_id() != 0
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
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

    /// The reading connection's id at the broker; 0 if there is none.
    pub(crate) fn reader_id(&self) -> i64 {
        self.reader.load(Ordering::SeqCst)
    }

    /// There is a reading connection, or none (0). A new one reads nothing of ordered streams before it is known as their reader's.
    pub(crate) fn reads_as(&self, client_id: i64) {
        self.reader.store(client_id, Ordering::SeqCst);
        // Ids begin anew when a broker does.
        self.gone.send_replace(0);
        if client_id == 0 {
            self.lanes().iter().filter_map(|lane| lane.ownership()).for_each(Ownership::interrupt);
        }
        self.reconnected.notify_one();
    }

    /// The broker does not have the reading connection of this id any more.
    pub(crate) fn reader_is_gone(&self, client_id: i64) {
        self.gone.send_replace(client_id);
    }

    /// Ends when the broker was found to have the reading connection no more.
    pub(crate) async fn until_reader_is_gone(&self) {
        // Its sender is here.
        let _ = self.gone.subscribe().wait_for(|gone| *gone != 0 && *gone == self.reader_id()).await;
    }

    /// The stream is not this process's any more. Says whether it was.
    pub(crate) fn lose(&self, lane: &Lane) -> bool {
        let lost = lane.ownership().is_some_and(Ownership::lose);
        if lost {
            lane.set_stalled(false);
            self.changed_readable();
            self.disowned.notify_one();
        }
        lost
    }

    /// Ends a read that is blocked, in order: the reader gets an empty reply.
    ///
    /// # Errors
    /// If the broker can't be reached or refuses.
    pub(crate) async fn unblock_reader(&self) -> Result<(), CommandError> {
        let mut command = cmd("CLIENT");
        command.arg("UNBLOCK").arg(self.reader_id());
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
