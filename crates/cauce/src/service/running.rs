//! A running service: its tasks, and how they stop.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use redis::{Cmd, cmd};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinHandle};

use super::core::Core;
use super::lane::Lane;
use super::parked::{self, Parked};
use super::reader::{self, COUNT_MAX, Pace};
use super::report::Report;
use super::settle;
use super::worker::{Inbox, Leftover, Worker};
use super::{keeper, pending};
use crate::backend::command::push_ids;
use crate::backend::reply;
use crate::entry::EntryId;

/// How long the last words to the broker may take when a service stops.
const FAREWELL: Duration = Duration::from_secs(2);
/// An idle time beyond any service's limit: whoever looks next takes the entry over.
const RETURNED_IDLE: Duration = Duration::from_secs(24 * 3600);

/// A service that runs in the background. [`stop`](Self::stop) ends it in order; dropping it cuts it off as a crash would: its entries
/// stay pending, and other instances take them over.
#[must_use = "dropping it cuts the service off; keep it, and call stop() at the end"]
pub struct Running {
    core: Arc<Core>,
    parked: Arc<Parked>,
    stop: watch::Sender<bool>,
    reader: JoinHandle<bool>,
    worker: JoinHandle<Leftover>,
    settler: JoinHandle<()>,
    /// What brings entries in besides the reader.
    takers: Vec<AbortHandle>,
    renewal: Option<AbortHandle>,
}

impl Running {
    pub(crate) fn start(core: Core) -> Self {
        let core = Arc::new(core);
        let first_count = core.settings.concurrency.clamp(16, COUNT_MAX);
        let pace = Arc::new(Pace(AtomicUsize::new(first_count)));
        let parked = Arc::new(Parked::default());
        let stop = watch::Sender::new(false);
        // One batch is ready while the worker has another.
        let (fresh_sender, fresh) = mpsc::channel(1);
        let (again_sender, again) = mpsc::channel(2);
        let (settlement_sender, settlements) = mpsc::channel(settle::QUEUE_LENGTH);
        let settler = tokio::spawn(settle::run(Arc::clone(&core), settlements));
        let worker =
            Worker::new(Arc::clone(&core), Arc::clone(&pace), Arc::clone(&parked), settlement_sender.clone());
        let worker = tokio::spawn(worker.run(Inbox { fresh, again }, stop.subscribe()));
        let (mut takers, mut renewal) = (Vec::new(), None);
        if core.settings.acknowledge {
            let retries = parked::run(Arc::clone(&core), Arc::clone(&parked), again_sender.clone());
            takers.push(tokio::spawn(retries).abort_handle());
            let take_over = keeper::take_over(Arc::clone(&core), again_sender, settlement_sender);
            takers.push(tokio::spawn(take_over).abort_handle());
            renewal = Some(tokio::spawn(keeper::renew(Arc::clone(&core))).abort_handle());
        }
        let reader = tokio::spawn(reader::run(Arc::clone(&core), pace, fresh_sender, stop.subscribe()));
        Self { core, parked, stop, reader, worker, settler, takers, renewal }
    }

    /// What it has done so far.
    #[must_use]
    pub fn report(&self) -> Report {
        self.core.counters.report()
    }

    /// How many entries it holds: read and queued, running, waiting for a retry, or not yet confirmed as settled. Always zero with
    /// [`no_ack`](crate::Service::no_ack).
    #[must_use]
    pub fn held(&self) -> usize {
        self.core.held.len()
    }

    /// This process's name in the consumer group.
    #[must_use]
    pub fn consumer(&self) -> &str {
        &self.core.names.consumer
    }

    /// Stops in order: reads nothing more, lets running handlers end within the shutdown deadline, hands back what was not run (other
    /// instances take it over at once), and leaves the group.
    pub async fn stop(mut self) -> Report {
        self.stop.send_replace(true);
        for task in &self.takers {
            task.abort();
        }
        let in_order = self.end_reading().await;
        let left = (&mut self.worker).await.unwrap_or_default();
        // Leases were renewed until the last handler ended.
        if let Some(renewal) = &self.renewal {
            renewal.abort();
        }
        if tokio::time::timeout(FAREWELL, self.hand_back(left)).await.is_err() {
            tracing::warn!(
                "the broker did not answer; what was not run stays pending until it is taken over"
            );
        }
        // All senders have gone by now: it ends when everything is told.
        if tokio::time::timeout(FAREWELL, &mut self.settler).await.is_err() {
            tracing::warn!(
                "the broker did not answer; some acknowledgements may be lost and their entries come again"
            );
        }
        if in_order && tokio::time::timeout(FAREWELL, self.leave()).await.is_err() {
            tracing::debug!("the broker did not answer; the consumer's name stays in the group");
        }
        self.report()
    }

    /// Ends the blocked read, so that nothing is given to this process any more.
    async fn end_reading(&mut self) -> bool {
        loop {
            let _ = tokio::time::timeout(FAREWELL, self.core.unblock_reader()).await;
            // The read may just have been on its way when the command came; then it is said again.
            match tokio::time::timeout(Duration::from_millis(50), &mut self.reader).await {
                Ok(ended) => return ended.unwrap_or(false),
                Err(_) if self.worker.is_finished() => {
                    self.reader.abort();
                    return false;
                }
                Err(_) => {}
            }
        }
    }

    async fn hand_back(&self, left: Leftover) {
        let Leftover { not_run, cut_off } = left;
        self.core.counters.returned.add(not_run.len());
        if !self.core.settings.acknowledge {
            return;
        }
        for delivered in &not_run {
            // It was not an attempt, so it does not count as one.
            self.give(&delivered.lane, delivered.id, RETURNED_IDLE, delivered.attempt - 1).await;
        }
        for delivered in &cut_off {
            self.give(&delivered.lane, delivered.id, RETURNED_IDLE, delivered.attempt).await;
        }
        let now = tokio::time::Instant::now();
        for waiting in self.parked.take_all() {
            // Others take it over when it is due, and not before.
            let idle =
                self.core.settings.reclaim_after.saturating_sub(waiting.due.saturating_duration_since(now));
            self.give(&waiting.lane, waiting.id, idle, waiting.attempt).await;
        }
    }

    async fn give(&self, lane: &Lane, id: EntryId, idle: Duration, deliveries: u32) {
        if let Err(error) = self.core.link.send(&self.xclaim_idle(lane, id, idle, deliveries)).await {
            tracing::debug!(%error, %id, "not handed back; it is taken over after a while");
        }
    }

    fn xclaim_idle(&self, lane: &Lane, id: EntryId, idle: Duration, deliveries: u32) -> Cmd {
        let mut command = cmd("XCLAIM");
        command.arg(&*lane.stream).arg(&*self.core.names.group).arg(&*self.core.names.consumer).arg(0);
        push_ids(&mut command, [id]);
        command.arg("IDLE").arg(idle.as_millis() as u64).arg("RETRYCOUNT").arg(deliveries).arg("JUSTID");
        command
    }

    /// Takes the consumer's name out of the group, unless it has pending entries: deleting it would lose them.
    async fn leave(&self) {
        for lane in self.core.lanes() {
            let pending =
                pending::page(&self.core, &lane, Duration::ZERO, None, Some(&self.core.names.consumer)).await;
            if !pending.is_ok_and(|pending| pending.is_empty()) {
                continue;
            }
            let mut command = cmd("XGROUP");
            command
                .arg("DELCONSUMER")
                .arg(&*lane.stream)
                .arg(&*self.core.names.group)
                .arg(&*self.core.names.consumer);
            match self.core.link.send(&command).await {
                Ok(dropped) if reply::integer(&dropped) != Some(0) => {
                    tracing::error!("pending entries were dropped with the consumer");
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "the consumer's name stays in the group"),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.reader.abort();
        self.worker.abort();
        self.settler.abort();
        for task in self.takers.iter().chain(&self.renewal) {
            task.abort();
        }
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running")
            .field("group", &self.core.names.group)
            .field("report", &self.report())
            .finish_non_exhaustive()
    }
}
