//! The relay: publishes what is in the outbox.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cauce::{Bus, Envelope, PublishError};
use futures_util::StreamExt as _;
use sqlx::Pool;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::dialect::{Dialect, Row};
use crate::milliseconds;

/// Events of a stream that are read at once.
const BATCH: usize = 100;
/// Streams that are published to at once.
const STREAMS: usize = 16;
/// Waits after failures begin with this and grow up to the other.
const WAIT_MIN: Duration = Duration::from_millis(50);
const WAIT_MAX: Duration = Duration::from_secs(5);
/// How often old rows are looked for at least.
const PRUNE_EVERY: Duration = Duration::from_secs(60);
/// Rows that are removed by one statement.
const PRUNE_MAX: i64 = 1_000;

/// Publishes what is in the outbox, each event once, those of a stream in order, and removes it.
///
/// Start one with every instance: one of them has the lease, the others wait. When it dies, another goes on when the lease ends; what was published and
/// not removed yet is published again, and not appended again, because of its id. The lease only saves work: each relay waits for the confirmation
/// of an event before it publishes the next of that stream, so several at once neither change the order nor repeat anything.
///
/// An event that its broker refuses holds up those of its stream that come behind it, and no others; it is tried again with growing waits of
/// up to five seconds, logged and counted, until its cause is gone or somebody removes the row.
///
/// Once means: as long as the broker keeps the mark of an event's id ([`Bus::publish_with`]). A relay that is away for longer, just between publishing
/// and removing, publishes twice.
#[derive(Debug)]
#[must_use = "a relay does nothing until it is started"]
pub struct Relay<D: Dialect> {
    pool: Pool<D>,
    bus: Bus,
    lease: Duration,
    poll: Duration,
    keep: Duration,
}

/// What a relay has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayReport {
    /// Events published and removed.
    pub relayed: u64,
    /// Attempts that failed.
    pub failed: u64,
}

#[derive(Debug, Default)]
struct Counters {
    relayed: AtomicU64,
    failed: AtomicU64,
}

impl<D: Dialect> Relay<D> {
    /// A relay from the outbox of this database to this broker.
    pub fn new(pool: &Pool<D>, bus: &Bus) -> Self {
        Self {
            pool: pool.clone(),
            bus: bus.clone(),
            lease: Duration::from_secs(15),
            poll: Duration::from_millis(100),
            keep: Duration::ZERO,
        }
    }

    /// After how long without a sign of life another relay goes on; the default is 15 seconds.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease.max(Duration::from_millis(100));
        self
    }

    /// How often it is looked for new events; the default is 100 milliseconds.
    pub fn poll(mut self, poll: Duration) -> Self {
        self.poll = poll.max(Duration::from_millis(1));
        self
    }

    /// How long rows are kept after their events were published, to look at; the default is not at all. Older ones are removed once a minute at
    /// least.
    pub fn keep(mut self, keep: Duration) -> Self {
        self.keep = keep;
        self
    }

    /// Starts it in the background.
    pub fn start(self) -> RunningRelay {
        let shared = Arc::new(Shared::default());
        let stop = watch::Sender::new(false);
        let running = Running {
            owner: format!("{}-{:016x}", std::process::id(), fastrand::u64(..)),
            relay: self,
            shared: Arc::clone(&shared),
            stop: stop.subscribe(),
            paused: HashMap::new(),
            leased: None,
            pruned: None,
        };
        RunningRelay { shared, stop, task: tokio::spawn(running.run()) }
    }
}

#[derive(Debug, Default)]
struct Shared {
    counters: Counters,
    wake: Notify,
}

/// A relay that runs until this is stopped or dropped; dropping it cuts it off as a crash would.
#[derive(Debug)]
#[must_use = "dropping it cuts the relay off"]
pub struct RunningRelay {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl RunningRelay {
    /// What it has done so far.
    #[must_use]
    pub fn report(&self) -> RelayReport {
        let Counters { relayed, failed } = &self.shared.counters;
        RelayReport { relayed: relayed.load(Ordering::Relaxed), failed: failed.load(Ordering::Relaxed) }
    }

    /// Lets it look for new events at once, if it has the lease: after a commit.
    pub fn wake(&self) {
        self.shared.wake.notify_one();
    }

    /// Ends it after the events under way, and lets another go on at once.
    pub async fn stop(mut self) -> RelayReport {
        self.stop.send_replace(true);
        let _ = (&mut self.task).await;
        self.report()
    }
}

impl Drop for RunningRelay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Why a stream is left for a while.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    #[error("event {event}: {source}")]
    Publish { event: String, source: PublishError },
    #[error("event {event}: its row can't be read: {source}")]
    Row { event: String, source: serde_json::Error },
}

/// A stream that is left alone after a failure.
struct Pause {
    until: Instant,
    wait: Duration,
}

struct Running<D: Dialect> {
    owner: String,
    relay: Relay<D>,
    shared: Arc<Shared>,
    stop: watch::Receiver<bool>,
    paused: HashMap<String, Pause>,
    /// When it last got the lease, or renewed it.
    leased: Option<Instant>,
    pruned: Option<Instant>,
}

impl<D: Dialect> Running<D> {
    async fn run(mut self) {
        let mut wait = WAIT_MIN;
        while !*self.stop.borrow() {
            let pause = match self.round().await {
                Ok(true) => continue,
                Ok(false) => {
                    wait = WAIT_MIN;
                    self.relay.poll
                }
                Err(error) => {
                    self.shared.counters.failed.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(%error, "the outbox can't be read");
                    wait = (wait * 2).min(WAIT_MAX);
                    wait
                }
            };
            tokio::select! {
                _ = self.stop.changed() => {}
                () = self.shared.wake.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        if let Err(error) = D::release(&self.relay.pool, &self.owner).await {
            tracing::debug!(%error, "the relay's lease is left to end");
        }
    }

    /// Publishes some events of each stream; says whether there may be more.
    async fn round(&mut self) -> Result<bool, sqlx::Error> {
        if !self.is_leased().await? {
            return Ok(false);
        }
        self.prune().await?;
        let now = Instant::now();
        let streams = D::streams(&self.relay.pool).await?;
        self.paused.retain(|stream, _| streams.contains(stream));
        let due = |stream: &String| self.paused.get(stream).is_none_or(|pause| pause.until <= now);
        let due: Vec<String> = streams.into_iter().filter(due).collect();
        let publish = futures_util::stream::iter(due)
            .map(async |stream| {
                let result = self.some_of(&stream).await;
                (stream, result)
            })
            .buffer_unordered(STREAMS)
            .collect::<Vec<_>>();
        let results = tokio::select! {
            results = publish => results,
            never = self.renew() => match never {},
        };
        let mut more = false;
        for (stream, result) in results {
            more |= matches!(result, Ok(true));
            self.note(stream, result.err());
        }
        Ok(more)
    }

    /// Whether this is the relay. An idle one writes nothing between renewals.
    async fn is_leased(&mut self) -> Result<bool, sqlx::Error> {
        if self.leased.is_some_and(|at| at.elapsed() < self.relay.lease / 3) {
            return Ok(true);
        }
        let now = Instant::now();
        self.leased = self.lease().await?.then_some(now);
        Ok(self.leased.is_some())
    }

    async fn lease(&self) -> Result<bool, sqlx::Error> {
        D::lease(&self.relay.pool, &self.owner, milliseconds(self.relay.lease)).await
    }

    /// Keeps the lease while something takes long.
    async fn renew(&self) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(self.relay.lease / 3).await;
            if let Err(error) = self.lease().await {
                tracing::debug!(%error, "the relay's lease is not renewed");
            }
        }
    }

    /// Publishes some events of a stream in order, up to the first that fails; says whether there may be more.
    async fn some_of(&self, stream: &str) -> Result<bool, Failure> {
        let rows = D::oldest(&self.relay.pool, stream, BATCH as i64).await?;
        let is_full = rows.len() == BATCH;
        let mut done = Vec::with_capacity(rows.len());
        let mut outcome = Ok(is_full);
        for row in rows {
            if *self.stop.borrow() {
                break;
            }
            let number = row.number;
            match self.publish(row).await {
                Ok(()) => done.push(number),
                Err(failure) => {
                    outcome = Err(failure);
                    break;
                }
            }
        }
        if !done.is_empty() {
            D::settle(&self.relay.pool, &done, !self.relay.keep.is_zero()).await?;
            self.shared.counters.relayed.fetch_add(done.len() as u64, Ordering::Relaxed);
        }
        outcome
    }

    async fn publish(&self, row: Row) -> Result<(), Failure> {
        let envelope: Envelope = match serde_json::from_str(&row.envelope) {
            Ok(envelope) => envelope,
            Err(source) => return Err(Failure::Row { event: row.event, source }),
        };
        match self.relay.bus.publish_envelope(&envelope).await {
            Ok(_) => Ok(()),
            Err(source) => Err(Failure::Publish { event: row.event, source }),
        }
    }

    /// Leaves a stream alone for a while, or not any more.
    fn note(&mut self, stream: String, failure: Option<Failure>) {
        let Some(failure) = failure else {
            self.paused.remove(&stream);
            return;
        };
        self.shared.counters.failed.fetch_add(1, Ordering::Relaxed);
        let wait = self.paused.get(&stream).map_or(WAIT_MIN, |pause| (pause.wait * 2).min(WAIT_MAX));
        tracing::warn!(error = %failure, stream, ?wait, "an event stays in the outbox, and those behind it");
        self.paused.insert(stream, Pause { until: Instant::now() + wait, wait });
    }

    async fn prune(&mut self) -> Result<(), sqlx::Error> {
        let every = self.relay.keep.min(PRUNE_EVERY).max(self.relay.poll);
        // What an earlier relay was told to keep goes too, so it is looked once if nothing is kept.
        let is_due = self.pruned.is_none_or(|at| !self.relay.keep.is_zero() && at.elapsed() >= every);
        if is_due {
            while D::prune(&self.relay.pool, milliseconds(self.relay.keep), PRUNE_MAX).await? > 0 {}
            self.pruned = Some(Instant::now());
        }
        Ok(())
    }
}
