//! The worker: calls handlers, and decides what becomes of each delivery.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::core::Core;
use super::handler::HandlerFuture;
use super::lane::{Delivered, Lane, Routed};
use super::outcome::{HandlerError, Outcome, Verdict};
use super::parked::Parked;
use super::reader::{Batch, COUNT_MAX, Pace, stopped};
use super::settle::{DeadLetter, Settlement};
use crate::entry::EntryId;

/// Acknowledgements that are handed to the settler at once.
const ACKNOWLEDGE_LENGTH: usize = 256;
/// Acknowledgements wait no longer than this for company while handlers run.
const ACKNOWLEDGE_DELAY: Duration = Duration::from_millis(1);
/// A batch that is done sooner asks for larger ones; one that takes longer than the second, for smaller ones.
const BATCH_TIME: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(100));

/// How long handlers may take to be dropped when they are cut off.
const CUT_OFF_TIME: Duration = Duration::from_millis(200);

/// What comes in from the other tasks.
pub(crate) struct Inbox {
    /// From the reader: new entries.
    pub(crate) fresh: mpsc::Receiver<Batch>,
    /// Retries that are due, entries of the dead, lost deliveries.
    pub(crate) again: mpsc::Receiver<Batch>,
}

/// What is left when the worker has stopped: to be handed back.
#[derive(Default)]
pub(crate) struct Leftover {
    pub(crate) not_run: Vec<Delivered>,
    pub(crate) cut_off: Vec<Delivered>,
}

pub(crate) struct Worker {
    core: Arc<Core>,
    pace: Arc<Pace>,
    parked: Arc<Parked>,
    settlements: mpsc::Sender<Settlement>,
    queue: VecDeque<Delivered>,
    running: JoinSet<(Delivered, Outcome)>,
    acknowledged: Vec<(Arc<Lane>, Vec<EntryId>)>,
    acknowledged_count: usize,
    acknowledged_since: Instant,
    batch: Option<(Instant, usize)>,
    /// Ends running handlers.
    cut: watch::Sender<bool>,
}

impl Worker {
    pub(crate) fn new(
        core: Arc<Core>,
        pace: Arc<Pace>,
        parked: Arc<Parked>,
        settlements: mpsc::Sender<Settlement>,
    ) -> Self {
        Self {
            core,
            pace,
            parked,
            settlements,
            queue: VecDeque::new(),
            running: JoinSet::new(),
            acknowledged: Vec::new(),
            acknowledged_count: 0,
            acknowledged_since: Instant::now(),
            batch: None,
            cut: watch::Sender::new(false),
        }
    }

    /// Works until told to stop, then lets running handlers end within the shutdown deadline.
    pub(crate) async fn run(mut self, mut inbox: Inbox, mut stop: watch::Receiver<bool>) -> Leftover {
        loop {
            self.start_queued(&stop).await;
            // Every handler that ended has been settled and every one that fits has been started: nothing more to wait for.
            self.acknowledge_all().await;
            let room = self.queue.is_empty() && self.running.len() < self.core.settings.concurrency;
            tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                Some(ended) = self.running.join_next() => self.ended(ended).await,
                Some(batch) = inbox.again.recv(), if room => self.queue.extend(batch),
                Some(batch) = inbox.fresh.recv(), if room => {
                    self.batch = Some((Instant::now(), batch.len()));
                    self.queue.extend(batch);
                }
                else => break,
            }
        }
        self.drain(inbox).await
    }

    /// Starts what is queued as far as concurrency allows. Handlers that never wait are done when this returns.
    async fn start_queued(&mut self, stop: &watch::Receiver<bool>) {
        while self.running.len() < self.core.settings.concurrency {
            let Some(delivered) = self.queue.pop_front() else {
                if self.running.is_empty() {
                    self.adjust_pace();
                }
                return;
            };
            self.start(delivered).await;
            while let Some(ended) = self.running.try_join_next() {
                self.ended(ended).await;
            }
            if self.acknowledged_count >= ACKNOWLEDGE_LENGTH
                || (self.acknowledged_count > 0 && self.acknowledged_since.elapsed() >= ACKNOWLEDGE_DELAY)
            {
                self.acknowledge_all().await;
            }
            // Other tasks of this thread (the broker too, when it is embedded) get their turn.
            tokio::task::consume_budget().await;
            if *stop.borrow() {
                return;
            }
        }
    }

    /// Calls the handler. Its first step runs here: most handlers that only compute end in it, and cost no task.
    async fn start(&mut self, delivered: Delivered) {
        let lane = Arc::clone(&delivered.lane);
        let route = match lane.route(&delivered.fields) {
            Routed::To(route) => route,
            Routed::Unhandled => {
                self.core.counters.unhandled.one();
                return self.acknowledge(lane, delivered.id);
            }
            Routed::NoAction => {
                let problem =
                    "the entry has no field `action`, and more than one handler reads this stream".to_owned();
                return self.settle(delivered, Outcome::Undecodable(problem)).await;
            }
        };
        let called = std::panic::catch_unwind(AssertUnwindSafe(|| route(&delivered, &self.core.names)));
        let mut future = match called {
            Err(panic) => return self.settle(delivered, Outcome::Panicked(message(&*panic))).await,
            Ok(Err(error)) => return self.settle(delivered, Outcome::Undecodable(error.to_string())).await,
            Ok(Ok(future)) => future,
        };
        let first = std::panic::catch_unwind(AssertUnwindSafe(|| {
            future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        }));
        match first {
            Ok(Poll::Ready(result)) => self.settle(delivered, outcome(result)).await,
            Err(panic) => self.settle(delivered, Outcome::Panicked(message(&*panic))).await,
            Ok(Poll::Pending) => {
                let timeout = self.core.settings.handler_timeout;
                let mut cut = self.cut.subscribe();
                // Its task polls it again at once, so nothing is lost by the waker that went nowhere.
                self.running.spawn(async move {
                    let outcome = tokio::select! {
                        outcome = finish(future, timeout) => outcome,
                        () = stopped(&mut cut) => Outcome::CutOff,
                    };
                    (delivered, outcome)
                });
            }
        }
    }

    async fn ended(&mut self, ended: Result<(Delivered, Outcome), tokio::task::JoinError>) {
        match ended {
            Ok((delivered, outcome)) => self.settle(delivered, outcome).await,
            // Panics are caught inside, so only a runtime that shuts down ends a task so. The entry stays pending.
            Err(error) => tracing::error!(%error, "a handler's task ended abnormally"),
        }
    }

    async fn settle(&mut self, delivered: Delivered, outcome: Outcome) {
        let counters = &self.core.counters;
        let (reason, error, verdict) = match outcome {
            Outcome::Handled => {
                counters.handled.one();
                let lane = Arc::clone(&delivered.lane);
                return self.acknowledge(lane, delivered.id);
            }
            Outcome::Undecodable(problem) => {
                return self.bury(delivered, "undecodable", problem).await;
            }
            Outcome::Failed(error) => {
                let verdict = error.verdict();
                let reason = if verdict == Verdict::Reject { "rejected" } else { "failed" };
                (reason, error.to_string(), verdict)
            }
            Outcome::Panicked(message) => ("panicked", message, Verdict::ByPolicy),
            Outcome::CutOff => return,
            Outcome::TimedOut(after) => ("timed out", format!("no end after {after:?}"), Verdict::ByPolicy),
        };
        counters.failed.one();
        let retry = &self.core.settings.retry;
        let delay = match verdict {
            Verdict::Reject => None,
            _ if !self.core.settings.acknowledge => None,
            Verdict::RetryIn(delay) => (!retry.is_last(delivered.attempt)).then_some(delay),
            Verdict::ByPolicy => retry.delay(delivered.attempt),
        };
        match delay {
            Some(delay) => {
                tracing::info!(
                    stream = %delivered.lane.stream, id = %delivered.id, attempt = delivered.attempt, reason, error, ?delay,
                    "failed, will be tried again"
                );
                self.parked.park(delivered.lane, delivered.id, delivered.attempt, delay);
            }
            None => self.bury(delivered, reason, error).await,
        }
    }

    fn acknowledge(&mut self, lane: Arc<Lane>, id: EntryId) {
        if !self.core.settings.acknowledge {
            return;
        }
        if self.acknowledged_count == 0 {
            self.acknowledged_since = Instant::now();
        }
        self.acknowledged_count += 1;
        match self.acknowledged.iter_mut().find(|(found, _)| Arc::ptr_eq(found, &lane)) {
            Some((_, ids)) => ids.push(id),
            None => self.acknowledged.push((lane, vec![id])),
        }
    }

    async fn acknowledge_all(&mut self) {
        self.acknowledged_count = 0;
        for (lane, ids) in std::mem::take(&mut self.acknowledged) {
            // The settler outlives the worker.
            let _ = self.settlements.send(Settlement::Acknowledge { lane, ids }).await;
        }
    }

    async fn bury(&self, delivered: Delivered, reason: &'static str, error: String) {
        let letter = Box::new(DeadLetter { delivered, reason, error });
        let _ = self.settlements.send(Settlement::DeadLetter(letter)).await;
    }

    fn adjust_pace(&mut self) {
        let Some((since, length)) = self.batch.take() else { return };
        let (short, long) = BATCH_TIME;
        let count = self.pace.0.load(Ordering::Relaxed);
        let took = since.elapsed();
        let count = if took < short && length >= count {
            (count * 2).min(COUNT_MAX)
        } else if took > long {
            (count / 2).max(self.core.settings.concurrency.min(COUNT_MAX))
        } else {
            count
        };
        self.pace.0.store(count, Ordering::Relaxed);
    }

    /// Starts nothing more; running handlers may end within the deadline.
    async fn drain(mut self, mut inbox: Inbox) -> Leftover {
        let mut left = Leftover { not_run: self.queue.drain(..).collect(), ..Leftover::default() };
        let deadline = Instant::now() + self.core.settings.shutdown_deadline;
        while let Ok(Some(ended)) = tokio::time::timeout_at(deadline, self.running.join_next()).await {
            self.ended(ended).await;
            self.acknowledge_all().await;
        }
        self.acknowledge_all().await;
        left.cut_off = self.cut_off().await;
        self.core.counters.cut_off.add(left.cut_off.len());
        // The senders are gone or about to be: the reader stops by the same signal.
        inbox.again.close();
        while let Some(batch) = inbox.again.recv().await {
            left.not_run.extend(batch);
        }
        while let Some(batch) = inbox.fresh.recv().await {
            left.not_run.extend(batch);
        }
        left
    }

    /// Ends the handlers that are still running. One that blocks its thread can't be ended: its entry stays pending, and is taken
    /// over like an entry of the dead.
    async fn cut_off(&mut self) -> Vec<Delivered> {
        self.cut.send_replace(true);
        let mut cut_off = Vec::new();
        let deadline = Instant::now() + CUT_OFF_TIME;
        while let Ok(Some(ended)) = tokio::time::timeout_at(deadline, self.running.join_next()).await {
            match ended {
                Ok((delivered, Outcome::CutOff)) => cut_off.push(delivered),
                ended => self.ended(ended).await,
            }
        }
        self.acknowledge_all().await;
        cut_off
    }
}

/// Lets a handler that waits run to its end.
async fn finish(future: HandlerFuture, timeout: Option<Duration>) -> Outcome {
    let guarded = AssertUnwindSafe(future).catch_unwind();
    let ended = match timeout {
        Some(timeout) => match tokio::time::timeout(timeout, guarded).await {
            Ok(ended) => ended,
            Err(_) => return Outcome::TimedOut(timeout),
        },
        None => guarded.await,
    };
    ended.map_or_else(|panic| Outcome::Panicked(message(&*panic)), outcome)
}

fn outcome(result: Result<(), HandlerError>) -> Outcome {
    result.map_or_else(Outcome::Failed, |()| Outcome::Handled)
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message")
        .to_owned()
}
