//! A running service: its tasks, and how they stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::Instant;

use super::core::Core;
use super::lane::{Delivered, Lane};
use super::ordered::Outlets;
use super::ownership::Ownership;
use super::reader::{self, COUNT_MAX, Pace};
use super::report::Report;
use super::settle::{BACK_LENGTH, Returned};
use super::worker::{Inbox, Leftover, Worker};
use super::{due, keeper, ordered, scripts, settle};
use crate::bus::Bus;

/// How long each of the last words to the broker may take when a service stops; what was done, at least.
const FAREWELL: Duration = Duration::from_secs(2);

/// A service that runs in the background. [`stop`](Self::stop) ends it in order; dropping it cuts it off as a crash would: its entries
/// stay pending, and other instances take them over.
#[must_use = "dropping it cuts the service off; keep it, and call stop() at the end"]
pub struct Running {
    core: Arc<Core>,
    stop: watch::Sender<bool>,
    reader: JoinHandle<bool>,
    worker: JoinHandle<Leftover>,
    settler: JoinHandle<()>,
    /// What brings entries in besides the reader.
    takers: Vec<JoinHandle<()>>,
    renewals: Vec<AbortHandle>,
}

impl Running {
    pub(crate) fn start(core: Core, bus: Bus) -> Self {
        let core = Arc::new(core);
        // They append what waits for its time on the streams of the service, as long as somebody holds them.
        core.lanes().iter().filter(|lane| !lane.is_side()).for_each(|lane| core.movers.sooner(&lane.stream));
        let first_count = core.settings.concurrency.clamp(16, COUNT_MAX);
        let pace = Arc::new(Pace(AtomicUsize::new(first_count)));
        let stop = watch::Sender::new(false);
        // One batch is ready while the worker has another.
        let (fresh_sender, fresh) = mpsc::channel(1);
        let (again_sender, again) = mpsc::channel(2);
        let (settlement_sender, settlements) = mpsc::channel(settle::QUEUE_LENGTH);
        let settler = tokio::spawn(settle::run(Arc::clone(&core), settlements));
        let worker = Worker::new(Arc::clone(&core), Arc::clone(&pace), settlement_sender.clone());
        let worker = tokio::spawn(worker.run(Inbox { fresh, again }, stop.subscribe()));
        let mut takers =
            vec![tokio::spawn(due::run(Arc::clone(&core), again_sender.clone(), stop.subscribe()))];
        takers.push(tokio::spawn(reader::rouse(Arc::clone(&core), stop.subscribe())));
        let mut renewals = vec![tokio::spawn(keeper::renew(Arc::clone(&core))).abort_handle()];
        if core.lanes().iter().any(|lane| lane.is_ordered()) {
            renewals.push(tokio::spawn(ordered::renew(Arc::clone(&core))).abort_handle());
            let outlets = Outlets { again: again_sender.clone(), settlements: settlement_sender.clone() };
            takers.push(tokio::spawn(ordered::run(Arc::clone(&core), outlets, stop.subscribe())));
        }
        let take_over =
            keeper::take_over(Arc::clone(&core), again_sender.clone(), settlement_sender, stop.subscribe());
        takers.push(tokio::spawn(take_over));
        if let Some(retention) = core.settings.retention.clone() {
            let janitor = keeper::retain(Arc::clone(&core), bus, retention, stop.subscribe());
            takers.push(tokio::spawn(janitor));
        }
        let reading = reader::run(Arc::clone(&core), pace, fresh_sender, again_sender, stop.subscribe());
        let reader = tokio::spawn(reading);
        let mut tasks = vec![reader.abort_handle(), worker.abort_handle(), settler.abort_handle()];
        tasks.extend(renewals.iter().cloned());
        tasks.extend(takers.iter().map(JoinHandle::abort_handle));
        core.names.bus.registry().service(&core, tasks);
        Self { core, stop, reader, worker, settler, takers, renewals }
    }

    /// What it has done so far.
    #[must_use]
    pub fn report(&self) -> Report {
        self.core.counters.report()
    }

    /// How many entries it holds: read and queued, running, or not yet confirmed as settled. Always zero with
    /// [`no_ack`](crate::Service::no_ack).
    #[must_use]
    pub fn held(&self) -> usize {
        self.core.held.len()
    }

    /// The streams whose one reader this process is: partitions, and streams whose order is kept. Others of the group read the rest.
    #[must_use]
    pub fn reads_alone(&self) -> Vec<String> {
        let lanes = self.core.lanes();
        let mine = lanes.iter().filter(|lane| lane.ownership().is_some_and(Ownership::is_reading));
        mine.map(|lane| lane.stream.to_string()).collect()
    }

    /// This process's name in the consumer group.
    #[must_use]
    pub fn consumer(&self) -> &str {
        &self.core.names.consumer
    }

    /// Stops in order: reads nothing more, lets running handlers end within the shutdown deadline, hands back what was not run (other
    /// instances take it over at once), and leaves the group.
    pub async fn stop(mut self) -> Report {
        self.core.stopping.store(true, Ordering::Relaxed);
        self.stop.send_replace(true);
        let deadline = Instant::now() + self.core.settings.shutdown_deadline;
        let in_order = self.end_reading().await;
        for task in &mut self.takers {
            if tokio::time::timeout(FAREWELL, &mut *task).await.is_err() {
                // What it takes in this moment stays pending, and is taken over.
                task.abort();
            }
        }
        let left = (&mut self.worker).await.unwrap_or_default();
        // Leases were renewed until the last handler ended.
        self.renewals.iter().for_each(AbortHandle::abort);
        if tokio::time::timeout(FAREWELL, self.hand_back(left)).await.is_err() {
            tracing::warn!(
                "the broker did not answer; what was not run stays pending until it is taken over"
            );
        }
        // All senders have gone by now: it ends when everything is told. What is not comes again, so it has the time that handlers had.
        let patience = FAREWELL.max(deadline.saturating_duration_since(Instant::now()));
        if tokio::time::timeout(patience, &mut self.settler).await.is_err() {
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
        // What was not run was not an attempt, so it does not count as one.
        let not_run = not_run.into_iter().map(|delivered| (delivered.attempt - 1, delivered));
        let cut_off = cut_off.into_iter().map(|delivered| (delivered.attempt, delivered));
        let mut by_lane: Vec<(Arc<Lane>, Vec<Returned>)> = Vec::new();
        for (restored, Delivered { lane, id, attempt, lease, .. }) in not_run.chain(cut_off) {
            // What waits for its next attempt stays as it is.
            if !lease.pending || lease.parked {
                continue;
            }
            match by_lane.iter_mut().find(|(found, _)| Arc::ptr_eq(found, &lane)) {
                Some((_, entries)) => entries.push((id, attempt, restored)),
                None => by_lane.push((lane, vec![(id, attempt, restored)])),
            }
        }
        for (lane, entries) in by_lane {
            for some in entries.chunks(BACK_LENGTH) {
                if let Err(error) = scripts::give_back(&self.core.link, &lane, self.core.owner(), some).await
                {
                    tracing::debug!(%error, stream = %lane.stream, "not handed back; it is taken over after a while");
                }
            }
        }
    }

    /// Takes the consumer's name out of the group, unless it has pending entries: deleting it would lose them.
    async fn leave(&self) {
        for lane in self.core.lanes() {
            if lane.ownership().is_some_and(Ownership::is_held) {
                ordered::disown(&self.core, &lane, true).await;
            }
            let (group, consumer) = (&self.core.names.group, &self.core.names.consumer);
            match scripts::remove(&self.core.link, &lane, group, consumer, true).await {
                Ok(true) => {}
                Ok(false) => {
                    tracing::debug!(stream = %lane.stream, "entries are still pending; they are taken over");
                }
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
        for task in &self.takers {
            task.abort();
        }
        self.renewals.iter().for_each(AbortHandle::abort);
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
