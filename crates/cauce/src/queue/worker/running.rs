//! A running worker: one task receives, calls handlers and hands out what is to be settled; one renews.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::Instant;

use super::super::calls::{Failure, Take};
use super::super::combine::ROUND_LENGTH;
use super::super::message::Message;
use super::super::queue::Queue;
use super::batch::{BatchCall, Route};
use super::ended::{Ended, attempt, finish, finish_batch};
use super::extract::{Call, HandlerFuture, QueueDelivery};
use super::lease::{self, Held};
use super::{Settings, settle};
use crate::backend::backoff::Backoff;
use crate::entry::Fields;
use crate::middleware::{Chain, Incoming};
use crate::service::{Counters, Report, Verdict, as_one_call};
use crate::trace;

/// How long the last words to the broker may take at least when a worker stops.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long handlers may take to be dropped when they are cut off.
const CUT_OFF_TIME: Duration = Duration::from_millis(200);

/// What the tasks of a worker share.
pub(crate) struct Core {
    pub(super) queue: Queue,
    pub(super) dead: Queue,
    pub(super) held: Held,
    pub(super) counters: Arc<Counters>,
    /// How long a message stays hidden after a sign of life.
    pub(super) lease: Duration,
    name: Arc<str>,
    route: Route,
    settings: Settings,
    around: Chain,
    stopping: AtomicBool,
}

impl Core {
    pub(super) fn new(
        queue: Queue,
        dead: Queue,
        route: Route,
        (settings, around): (Settings, Chain),
        lease: Duration,
    ) -> Self {
        let name = queue.name().into();
        let (held, counters) = (Held::default(), Arc::default());
        Self {
            queue,
            dead,
            held,
            counters,
            lease,
            name,
            route,
            settings,
            around,
            stopping: AtomicBool::new(false),
        }
    }

    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    pub(crate) fn queue(&self) -> &Queue {
        &self.queue
    }
}

impl Core {
    /// The handler in its span, with the middleware around it.
    fn around(&self, messages: &[Message], handler: HandlerFuture) -> HandlerFuture {
        let Some(message) = messages.first() else { return handler };
        let attempt = messages.iter().map(attempt).max().unwrap_or(1);
        let incoming = || Incoming {
            from: Arc::clone(&self.name),
            by: Arc::clone(&self.name),
            id: message.id.to_string(),
            attempt,
            length: messages.len(),
            fields: Fields::new(),
        };
        let handler = self.around.around(incoming, handler);
        // A batch has as many parents as messages, so it continues none.
        let parent = message.trace().filter(|_| messages.len() == 1);
        let span = tracing::info_span!(
            "handle",
            otel.name = format!("process {}", self.name),
            otel.kind = "consumer",
            otel.status_code = tracing::field::Empty,
            error = tracing::field::Empty,
            messaging.system = "rsmq",
            messaging.operation.type = "process",
            messaging.destination.name = &*self.name,
            messaging.message.id = %message.id,
            messaging.batch.message_count = messages.len(),
            attempt,
        );
        if parent.is_none() && span.is_disabled() {
            handler
        } else {
            Box::pin(trace::handling(span, parent, handler))
        }
    }
}

/// A worker that runs in the background. [`stop`](Self::stop) ends it in order; dropping it cuts it off as a crash would: its messages
/// come again after the visibility timeout.
#[must_use = "dropping it cuts the worker off; keep it, and call stop() at the end"]
pub struct RunningWorker {
    core: Arc<Core>,
    stop: watch::Sender<bool>,
    work: JoinHandle<()>,
    renewal: AbortHandle,
}

impl RunningWorker {
    pub(super) fn start(core: Arc<Core>) -> Self {
        let stop = watch::Sender::new(false);
        let renewal = tokio::spawn(lease::renew(Arc::clone(&core))).abort_handle();
        let work = Work {
            core: Arc::clone(&core),
            running: JoinSet::new(),
            in_calls: 0,
            gathering: VecDeque::new(),
            settling: JoinSet::new(),
            handled: Vec::new(),
            cut: watch::Sender::new(false),
        };
        let work = tokio::spawn(work.run(stop.subscribe()));
        let tasks = vec![work.abort_handle(), renewal.clone()];
        core.queue.registry().worker(&core, Arc::clone(&core.counters), Arc::clone(&core.name), tasks);
        Self { core, stop, work, renewal }
    }

    /// What it has done so far.
    #[must_use]
    pub fn report(&self) -> Report {
        self.core.counters.report()
    }

    /// How many messages it holds: with handlers, or not yet confirmed as settled.
    #[must_use]
    pub fn held(&self) -> usize {
        self.core.held.len()
    }

    /// Stops in order: receives nothing more (what is on its way goes back as if it had never been received), lets running handlers end
    /// within the shutdown deadline, and makes the messages of those that did not visible at once.
    pub async fn stop(mut self) -> Report {
        self.core.stopping.store(true, Ordering::Relaxed);
        self.stop.send_replace(true);
        // Its own deadlines end it.
        let _ = (&mut self.work).await;
        self.report()
    }
}

impl Drop for RunningWorker {
    fn drop(&mut self) {
        self.work.abort();
        self.renewal.abort();
    }
}

impl std::fmt::Debug for RunningWorker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunningWorker").field("queue", &self.core.queue.name()).finish_non_exhaustive()
    }
}

struct Work {
    core: Arc<Core>,
    /// Calls of the handler, each with what became of its messages.
    running: JoinSet<Vec<(Message, Ended)>>,
    /// How many messages those have.
    in_calls: usize,
    /// Messages that wait for others of their batch, and since when.
    gathering: VecDeque<(Message, QueueDelivery, Instant)>,
    settling: JoinSet<()>,
    /// To be deleted in one step.
    handled: Vec<Message>,
    /// Ends running handlers.
    cut: watch::Sender<bool>,
}

type Receiving = Pin<Box<dyn Future<Output = Result<Vec<Message>, Failure>> + Send>>;

impl Work {
    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut receiving: Option<Receiving> = None;
        let mut backoff = Backoff::new();
        loop {
            let room = self.room();
            // One receive for several handlers, not one for each that ends.
            if receiving.is_none() && room > 0 && room >= self.capacity() / 4 {
                receiving = Some(self.receive(room.min(ROUND_LENGTH)));
            }
            let due = self.batch_due();
            let gathered = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            let received = async {
                match receiving.as_mut() {
                    Some(receiving) => receiving.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                Some(ended) = self.running.join_next() => self.ended(ended),
                Some(_) = self.settling.join_next() => {}
                () = gathered => {}
                result = received => {
                    receiving = None;
                    match result {
                        Ok(messages) => {
                            backoff = Backoff::new();
                            messages.into_iter().for_each(|message| self.start(message));
                        }
                        Err(failure) => {
                            let error = self.core.queue.error(failure);
                            tracing::warn!(%error, "nothing received; trying again");
                            let pause = backoff.step();
                            receiving = Some(Box::pin(async move {
                                tokio::time::sleep(pause).await;
                                Ok(Vec::new())
                            }));
                        }
                    }
                }
            }
            while let Some(ended) = self.running.try_join_next() {
                self.ended(ended);
            }
            self.begin_batches();
            self.delete_handled();
        }
        drop(receiving);
        self.drain().await;
    }

    fn receive(&self, room: usize) -> Receiving {
        let waiters = Arc::clone(&self.core.queue.waiters);
        let take = Take::HideFor(self.core.lease.as_millis() as u64);
        Box::pin(async move { waiters.wait(room, take).await })
    }

    /// How many messages may be in hand.
    fn capacity(&self) -> usize {
        self.core.settings.concurrency.saturating_mul(self.core.route.length())
    }

    fn room(&self) -> usize {
        self.capacity().saturating_sub(self.in_calls + self.gathering.len())
    }

    /// When the next batch begins even if it is not full; nothing if there is none, or no room for a call.
    fn batch_due(&self) -> Option<Instant> {
        let (.., since) = self.gathering.front()?;
        let has_room = self.running.len() < self.core.settings.concurrency;
        has_room.then(|| *since + self.core.route.linger())
    }

    fn begin_batches(&mut self) {
        let core = Arc::clone(&self.core);
        let Route::Many { call, length, .. } = &core.route else { return };
        while let Some(due) = self.batch_due() {
            if self.gathering.len() < *length && Instant::now() < due {
                return;
            }
            let end = self.gathering.len().min(*length);
            let batch =
                self.gathering.drain(..end).map(|(message, delivery, _)| (message, delivery)).collect();
            self.start_batch(call, batch);
        }
    }

    fn start_batch(&mut self, call: &BatchCall, batch: Vec<(Message, QueueDelivery)>) {
        let begun = call(batch);
        for (message, error) in begun.undecodable {
            self.bury(message, "undecodable", error);
        }
        let messages = begun.called;
        let future = match begun.future {
            None => return,
            Some(Err(panic)) => {
                return messages
                    .into_iter()
                    .for_each(|message| self.settle(message, Ended::panicked(&*panic)));
            }
            Some(Ok(future)) => future,
        };
        let future = as_one_call(future, messages.len(), |whole| self.core.around(&messages, whole));
        let timeout = self.core.settings.handler_timeout;
        let mut cut = self.cut.subscribe();
        self.in_calls += messages.len();
        self.running.spawn(async move {
            let ended = tokio::select! {
                biased;
                ended = finish_batch(future, messages.len(), timeout) => ended,
                _ = cut.wait_for(|cut| *cut) => messages.iter().map(|_| Ended::CutOff).collect(),
            };
            messages.into_iter().zip(ended).collect()
        });
    }

    fn start(&mut self, message: Message) {
        let core = &self.core;
        let delivery = QueueDelivery::of(&core.name, &message);
        core.held.hold(message.id, message.receive_count);
        if delivery.attempt > core.settings.retry.max_receipts() {
            // Every delivery ended without a word: with the death of its process.
            let error = format!("received {} times and never settled", message.receive_count - 1);
            return self.bury(message, "never finished", error);
        }
        if delivery.attempt > 1 {
            core.counters.retried.one();
        }
        match &Arc::clone(core).route {
            Route::One(call) => self.start_one(call, message, &delivery),
            Route::Many { .. } => self.gathering.push_back((message, delivery, Instant::now())),
        }
    }

    /// Calls the handler. Its first step runs here: most handlers that only compute end in it, and cost no task.
    fn start_one(&mut self, call: &Call, message: Message, delivery: &QueueDelivery) {
        let core = &self.core;
        let called = std::panic::catch_unwind(AssertUnwindSafe(|| call(&message, delivery)));
        let mut future = match called {
            Err(panic) => return self.settle(message, Ended::panicked(&*panic)),
            Ok(Err(error)) => return self.bury(message, "undecodable", error.to_string()),
            Ok(Ok(future)) => core.around(std::slice::from_ref(&message), future),
        };
        let first = std::panic::catch_unwind(AssertUnwindSafe(|| {
            future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        }));
        match first {
            Ok(Poll::Ready(result)) => self.settle(message, Ended::of(result)),
            Err(panic) => self.settle(message, Ended::panicked(&*panic)),
            Ok(Poll::Pending) => {
                let timeout = core.settings.handler_timeout;
                let mut cut = self.cut.subscribe();
                self.in_calls += 1;
                // Its task polls it again at once, so nothing is lost by the waker that went nowhere.
                self.running.spawn(async move {
                    let ended = tokio::select! {
                        biased;
                        ended = finish(future, timeout) => ended,
                        _ = cut.wait_for(|cut| *cut) => Ended::CutOff,
                    };
                    vec![(message, ended)]
                });
            }
        }
    }

    fn ended(&mut self, ended: Result<Vec<(Message, Ended)>, tokio::task::JoinError>) {
        match ended {
            Ok(ended) => {
                self.in_calls -= ended.len();
                ended.into_iter().for_each(|(message, ended)| self.settle(message, ended));
            }
            // Panics are caught inside, so only a runtime that shuts down ends a task so. The message comes again.
            Err(error) => tracing::error!(%error, "a handler's task ended abnormally"),
        }
    }

    fn settle(&mut self, message: Message, ended: Ended) {
        let (reason, error, verdict) = match ended {
            Ended::Handled => {
                self.core.counters.handled.one();
                return self.handled.push(message);
            }
            Ended::CutOff => return,
            Ended::Failed { reason, error, verdict } => (reason, error, verdict),
        };
        self.core.counters.failed.one();
        let (attempt, age) = (attempt(&message), message.age());
        let retry = &self.core.settings.retry;
        let delay = match verdict {
            Verdict::Reject => None,
            Verdict::RetryIn(delay) => retry.delay(attempt, age, Some(delay)),
            Verdict::Retry => retry.delay(attempt, age, None),
        };
        match delay {
            Some(delay) => {
                let queue = self.core.queue.name();
                tracing::info!(queue, id = %message.id, attempt, reason, error, ?delay, "failed, will be tried again");
                self.settling.spawn(settle::retry(Arc::clone(&self.core), message, delay));
            }
            None => self.bury(message, reason, error),
        }
    }

    fn bury(&mut self, message: Message, reason: &'static str, error: String) {
        self.settling.spawn(settle::bury(Arc::clone(&self.core), message, reason, error));
    }

    /// What waits for its batch goes back as if it had never been received.
    fn hand_back_gathered(&mut self) {
        let gathered: Vec<_> = self.gathering.drain(..).map(|(message, ..)| message).collect();
        if !gathered.is_empty() {
            let core = Arc::clone(&self.core);
            self.settling.spawn(async move {
                gathered.iter().for_each(|message| core.held.release(message.id));
                core.queue.calls.take_back(gathered).await;
            });
        }
    }

    fn delete_handled(&mut self) {
        if !self.handled.is_empty() {
            let handled = std::mem::take(&mut self.handled);
            self.settling.spawn(settle::delete(Arc::clone(&self.core), handled));
        }
    }

    /// Starts nothing more; running handlers may end within the deadline.
    async fn drain(mut self) {
        self.hand_back_gathered();
        let deadline = Instant::now() + self.core.settings.shutdown_deadline;
        while let Ok(Some(ended)) = tokio::time::timeout_at(deadline, self.running.join_next()).await {
            self.ended(ended);
            self.delete_handled();
        }
        self.cut.send_replace(true);
        // One that blocks its thread can't be ended: its message comes again after the visibility timeout.
        let (mut cut_off, cut) = (Vec::new(), Instant::now() + CUT_OFF_TIME);
        while let Ok(Some(ended)) = tokio::time::timeout_at(cut, self.running.join_next()).await {
            let Ok(ended) = ended else { continue };
            for (message, ended) in ended {
                match ended {
                    Ended::CutOff => cut_off.push(message),
                    ended => self.settle(message, ended),
                }
            }
        }
        self.delete_handled();
        self.core.counters.cut_off.add(cut_off.len());
        let farewell = async {
            if !cut_off.is_empty() {
                settle::hand_back(&self.core, &cut_off).await;
            }
            while self.settling.join_next().await.is_some() {}
        };
        // What is not settled comes again, so it has the time that handlers had.
        let deadline = deadline.max(Instant::now() + FAREWELL);
        if tokio::time::timeout_at(deadline, farewell).await.is_err() {
            tracing::warn!(
                "the broker did not answer; what is not settled comes again after its visibility timeout"
            );
        }
    }
}
