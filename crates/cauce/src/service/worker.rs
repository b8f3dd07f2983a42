//! The worker: calls handlers, and decides what becomes of each delivery.

mod handover;

use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use redis::cmd;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::agenda::{Agenda, Key, Next};
use super::calls::{self, Ended};
use super::core::Core;
use super::done::Done;
use super::handler::{Begun, Call, Route, Work};
use super::lane::{Delivered, Lane, Routed};
use super::outcome::{Completion, Outcome, Verdict};
use super::reader::{Again, Batch, COUNT_MAX, Pace, stopped};
use super::settle::{DeadLetter, Retrying, Settlement};

/// A batch that is done sooner asks for larger ones; one that takes longer than the second, for smaller ones.
const BATCH_TIME: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(100));

/// What comes in from the other tasks.
pub(crate) struct Inbox {
    /// From the reader: new entries.
    pub(crate) fresh: mpsc::Receiver<Batch>,
    /// Retries that are due, entries of the dead, lost deliveries.
    pub(crate) again: mpsc::Receiver<Again>,
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
    settlements: mpsc::Sender<Settlement>,
    agenda: Agenda,
    running: JoinSet<Ended>,
    /// Calls under way of handlers that have a limit or take batches, by handler.
    calls: HashMap<usize, usize>,
    /// Batches that wait for more, by handler: since when.
    gathering: BTreeMap<usize, (Instant, Arc<Route>)>,
    /// Nothing may begin beside what runs.
    alone: bool,
    done: Done,
    batch: Option<(Instant, usize)>,
    /// Whose turn it is where both have something.
    fresh_first: bool,
    /// Ends running handlers.
    cut: watch::Sender<bool>,
}

impl Worker {
    pub(crate) fn new(core: Arc<Core>, pace: Arc<Pace>, settlements: mpsc::Sender<Settlement>) -> Self {
        Self {
            agenda: Agenda::new(core.settings.lease),
            core,
            pace,
            settlements,
            running: JoinSet::new(),
            calls: HashMap::new(),
            gathering: BTreeMap::new(),
            alone: false,
            done: Done::default(),
            batch: None,
            fresh_first: true,
            cut: watch::Sender::new(false),
        }
    }

    /// Works until told to stop, then lets running handlers end within the shutdown deadline.
    pub(crate) async fn run(mut self, mut inbox: Inbox, mut stop: watch::Receiver<bool>) -> Leftover {
        loop {
            self.begin(&stop).await;
            // Every handler that ended has been settled and every one that fits has been started: nothing more to wait for.
            self.acknowledge_all().await;
            let room =
                !self.alone && self.running.len() < self.core.settings.concurrency && self.agenda.has_room();
            if room && self.accept(&mut inbox) {
                continue;
            }
            let wake = self.wake();
            tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                Some(ended) = self.running.join_next() => self.ended(ended).await,
                () = self.core.disowned.notified() => self.clear_out(&mut inbox).await,
                Some(again) = inbox.again.recv(), if room => self.take_again(again, &mut inbox),
                Some(batch) = inbox.fresh.recv(), if room => self.take_fresh(batch),
                () = tokio::time::sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
                else => break,
            }
        }
        self.drain(inbox).await
    }

    /// Takes what is there already, from the two sources in turn, so that neither starves.
    fn accept(&mut self, inbox: &mut Inbox) -> bool {
        self.fresh_first = !self.fresh_first;
        for fresh in [self.fresh_first, !self.fresh_first] {
            if fresh {
                if let Ok(batch) = inbox.fresh.try_recv() {
                    self.take_fresh(batch);
                    return true;
                }
            } else if let Ok(again) = inbox.again.try_recv() {
                self.take_again(again, inbox);
                return true;
            }
        }
        false
    }

    fn take_fresh(&mut self, batch: Batch) {
        self.batch = Some((Instant::now(), batch.len()));
        self.agenda.add(batch);
    }

    fn take_again(&mut self, again: Again, inbox: &mut Inbox) {
        match again {
            Again::Run(batch) => {
                // Where order is kept, what is new was read before this was taken, or is not read before `Open`.
                if batch.iter().any(|delivered| delivered.lane.is_ordered()) {
                    while let Ok(fresh) = inbox.fresh.try_recv() {
                        self.take_fresh(fresh);
                    }
                }
                self.agenda.add(batch);
            }
            Again::Gone { lane, ids } => self.agenda.free_gone(lane, &ids),
            Again::Open { lane, epoch, connection } => {
                if lane.ownership().is_some_and(|ownership| ownership.open(epoch, connection)) {
                    self.core.changed_readable();
                    tracing::info!(stream = %lane.stream, group = %self.core.names.group, "reads the stream, as its only reader");
                }
            }
        }
    }

    /// When something may begin without anything else happening.
    fn wake(&self) -> Option<Instant> {
        if self.alone || self.running.len() >= self.core.settings.concurrency {
            return None;
        }
        let free = self.gathering.values().filter(|(_, route)| !self.is_at_limit(route));
        let batches = free.map(|(since, route)| *since + route.linger());
        batches.chain(self.agenda.impatient_at()).min()
    }

    /// Starts what may start as far as concurrency allows. Handlers that never wait are done when this returns.
    async fn begin(&mut self, stop: &watch::Receiver<bool>) {
        self.alone &= !self.running.is_empty();
        while !self.alone && self.running.len() < self.core.settings.concurrency {
            if self.begin_batches().await {
                continue;
            }
            match self.agenda.next(self.running.len()) {
                Next::Start(delivered) => self.start(delivered, false).await,
                Next::StartAlone(delivered) => self.start_alone(delivered).await,
                Next::StartBeside(delivered) => self.start(delivered, true).await,
                Next::Wait => return,
                Next::Empty => {
                    if self.running.is_empty() {
                        self.adjust_pace();
                    }
                    return;
                }
            }
            while let Some(ended) = self.running.try_join_next() {
                self.ended(ended).await;
            }
            if self.done.is_due() {
                self.acknowledge_all().await;
            }
            // Other tasks of this thread (the broker too, when it is embedded) get their turn.
            tokio::task::consume_budget().await;
            if *stop.borrow() {
                return;
            }
        }
    }

    /// Two instances or more died with it. The broker is told first that it runs alone: if this one dies too, it was the cause.
    async fn start_alone(&mut self, delivered: Delivered) {
        if delivered.lane.may_run().is_none() {
            return self.start(delivered, true).await;
        }
        let mut mark = cmd("HSET");
        mark.arg(&delivered.lane.attempts)
            .arg(format!("alone:{}", delivered.id))
            .arg(&*self.core.names.consumer);
        if let Err(error) = self.core.link.send(&mark).await {
            tracing::debug!(%error, id = %delivered.id, "the broker does not know that it runs alone");
        }
        self.start(delivered, true).await;
        self.alone = !self.running.is_empty();
    }

    /// Begins with an entry, unless others go before: those of its key, and, if instances died with it and it is not its turn, all.
    async fn start(&mut self, mut delivered: Delivered, is_suspects_turn: bool) {
        let lane = Arc::clone(&delivered.lane);
        let Some(epoch) = lane.may_run() else { return self.hand_back(&lane, vec![delivered]).await };
        delivered.lease.epoch = epoch;
        let route = match lane.route(&delivered.fields) {
            Routed::To(route) => route,
            Routed::Unhandled => {
                self.core.counters.unhandled.one();
                return self.acknowledge(delivered);
            }
            Routed::NoAction => {
                let problem =
                    "the entry has no field `action`, and more than one handler reads this stream".to_owned();
                return self.bury(delivered, "undecodable", problem, Vec::new(), None).await;
            }
        };
        let mut key = None;
        if lane.is_ordered() {
            match (route.key)(&delivered.fields) {
                Ok(Some(found)) => {
                    let found = (lane.index, found);
                    if delivered.lease.parked {
                        self.core.held.release(lane.index, [delivered.id]);
                        return self.agenda.hold_key(found, delivered.id);
                    }
                    let Some(free) = self.agenda.take_key(&found, delivered) else {
                        return self.mind_the_limit(&lane);
                    };
                    (delivered, key) = (free, Some(found));
                }
                Ok(None) => {}
                Err(error) => {
                    return self.bury(delivered, "undecodable", error.to_string(), Vec::new(), None).await;
                }
            }
        }
        if !is_suspects_turn && Agenda::is_suspect(&delivered) {
            return self.agenda.suspect(delivered);
        }
        match &route.work {
            Work::Many { length, .. } => {
                let since = (Instant::now(), Arc::clone(route));
                self.gathering.entry(route.number).or_insert(since);
                if self.agenda.limit(route.number, delivered) >= *length {
                    Box::pin(self.begin_batches()).await;
                }
            }
            Work::One(_) if self.is_at_limit(route) => {
                self.agenda.limit(route.number, delivered);
            }
            Work::One(call) => self.call(call, route, delivered, key).await,
        }
    }

    fn is_at_limit(&self, route: &Route) -> bool {
        let limit = route.handling.concurrency.unwrap_or(usize::MAX);
        self.calls.get(&route.number).is_some_and(|calls| *calls >= limit)
    }

    /// Calls the handler. Its first step runs here: most handlers that only compute end in it, and cost no task.
    async fn call(&mut self, call: &Call, route: &Arc<Route>, delivered: Delivered, key: Option<Key>) {
        let started = Instant::now();
        let called = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let mut future = call(&delivered, &self.core)?;
            let first = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            Ok((future, first))
        }));
        let outcome = match called {
            Err(panic) => Outcome::Panicked(calls::message(&*panic)),
            Ok(Err(error)) => Outcome::Undecodable(error),
            Ok(Ok((_, Poll::Ready(result)))) => calls::outcome(result),
            Ok(Ok((future, Poll::Pending))) => {
                *self.calls.entry(route.number).or_default() += 1;
                let cut = self.cut.subscribe();
                // Its task polls it again at once, so nothing is lost by the waker that went nowhere.
                self.running.spawn(calls::finish(future, cut, Arc::clone(route), delivered, key, started));
                return;
            }
        };
        self.settle(delivered, outcome, started, route, key).await;
    }

    /// Calls the handlers of batches that are full, or have waited long enough; says whether there were any.
    async fn begin_batches(&mut self) -> bool {
        if self.gathering.is_empty() {
            return false;
        }
        let now = Instant::now();
        let ready = self.gathering.values().find(|(since, route)| {
            let due = now >= *since + route.linger() || self.agenda.limited(route.number) >= route.length();
            due && !self.is_at_limit(route)
        });
        let Some(route) = ready.map(|(_, route)| Arc::clone(route)) else { return false };
        let batch = self.agenda.unlimit(route.number, route.length());
        if self.agenda.limited(route.number) == 0 {
            self.gathering.remove(&route.number);
        } else {
            self.gathering.insert(route.number, (now, Arc::clone(&route)));
        }
        let Work::Many { call, .. } = &route.work else { return false };
        let Begun { called, failed, future } = call(batch, &self.core.names);
        for (delivered, outcome) in failed {
            self.settle(delivered, outcome, now, &route, None).await;
        }
        if let Some(future) = future {
            *self.calls.entry(route.number).or_default() += 1;
            self.running.spawn(calls::finish_batch(future, self.cut.subscribe(), route, called, now));
        }
        true
    }

    async fn ended(&mut self, ended: Result<Ended, tokio::task::JoinError>) {
        let Ended { outcomes, route, key, started } = match ended {
            Ok(ended) => ended,
            // Panics are caught inside, so only a runtime that shuts down ends a task so. The entry stays pending.
            Err(error) => return tracing::error!(%error, "a handler's task ended abnormally"),
        };
        if let Some(calls) = self.calls.get_mut(&route.number) {
            *calls -= 1;
        }
        if matches!(route.work, Work::One(_)) && route.handling.concurrency.is_some() {
            let next = self.agenda.unlimit(route.number, 1);
            self.agenda.put_first(next);
        }
        for (delivered, outcome) in outcomes {
            self.settle(delivered, outcome, started, &route, key.clone()).await;
        }
    }

    async fn settle(
        &mut self,
        delivered: Delivered,
        outcome: Outcome,
        started: Instant,
        route: &Route,
        key: Option<Key>,
    ) {
        let counters = &self.core.counters;
        counters.took.observe(started.elapsed());
        let (reason, error, chain, verdict) = match outcome {
            Outcome::Ended(completion) => {
                self.free(&delivered, key.as_ref());
                return self.completed(delivered, completion);
            }
            Outcome::Undecodable(problem) => {
                self.free(&delivered, key.as_ref());
                return self.bury(delivered, "undecodable", problem.to_string(), Vec::new(), None).await;
            }
            Outcome::Failed(error) => {
                let verdict = route.handling.verdict(&error);
                let reason = if verdict == Verdict::Reject { "rejected" } else { "failed" };
                (reason, error.to_string(), error.chain().map(str::to_owned).collect(), verdict)
            }
            Outcome::Panicked(message) => ("panicked", message, Vec::new(), Verdict::Retry),
            Outcome::CutOff => return self.let_go(&delivered).await,
            Outcome::TimedOut(after) => {
                ("timed out", format!("no end after {after:?}"), Vec::new(), Verdict::Retry)
            }
        };
        counters.failed.one();
        match self.delay(&delivered, verdict, route) {
            Some(delay) => {
                tracing::info!(
                    stream = %delivered.lane.stream, id = %delivered.id, attempt = delivered.attempt, reason, error, ?delay,
                    "failed, will be tried again"
                );
                let retrying = Box::new(Retrying { delivered, delay, reason, error, started });
                let _ = self.settlements.send(Settlement::Retry(retrying)).await;
            }
            None => {
                self.free(&delivered, key.as_ref());
                self.bury(delivered, reason, error, chain, Some(started)).await;
            }
        }
    }

    /// After how long it is tried again, if it is.
    fn delay(&self, delivered: &Delivered, verdict: Verdict, route: &Route) -> Option<Duration> {
        let chosen = match verdict {
            Verdict::Reject => return None,
            Verdict::RetryIn(delay) => Some(delay),
            Verdict::Retry => None,
        };
        // What was read with NOACK is not pending: nothing would bring it again.
        if !delivered.lease.pending {
            return None;
        }
        let age = Duration::from_millis(self.core.broker_ms().saturating_sub(delivered.id.ms));
        route.handling.delay(delivered.attempt, age, chosen)
    }

    fn free(&mut self, delivered: &Delivered, key: Option<&Key>) {
        if let Some(key) = key {
            self.agenda.free_key(key, delivered.id);
            self.core.stall(&delivered.lane, self.agenda.behind(delivered.lane.index));
        }
    }

    /// Entries that wait behind a failing key have a limit: past it, nothing more of their stream is read.
    fn mind_the_limit(&self, lane: &Lane) {
        let behind = self.agenda.behind(lane.index);
        if self.core.stall(lane, behind) {
            tracing::warn!(
                stream = %lane.stream, behind,
                "too many entries wait behind others of their keys: nothing more of the stream is read until there are fewer"
            );
        }
    }

    fn completed(&mut self, delivered: Delivered, completion: Completion) {
        let counters = &self.core.counters;
        let (counter, settled) = match completion {
            Completion::Handled => (&counters.handled, false),
            Completion::Duplicate => (&counters.skipped, false),
            Completion::Settled => (&counters.handled, true),
            Completion::SettledDuplicate => (&counters.skipped, true),
            Completion::Fenced => (&counters.late, true),
        };
        counter.one();
        if settled {
            delivered.lane.touch();
            self.core.held.release(delivered.lane.index, [delivered.id]);
        } else {
            self.acknowledge(delivered);
        }
    }

    fn acknowledge(&mut self, delivered: Delivered) {
        if delivered.lease.pending || delivered.lane.is_side() {
            self.done.push(delivered);
        }
    }

    async fn acknowledge_all(&mut self) {
        for (lane, runs) in self.done.take() {
            // The settler outlives the worker.
            let _ = self.settlements.send(Settlement::Acknowledge { lane, runs }).await;
        }
    }

    async fn bury(
        &self,
        delivered: Delivered,
        reason: &'static str,
        error: String,
        chain: Vec<String>,
        started: Option<Instant>,
    ) {
        // An entry that can't be decoded was tried, in the moment of finding that out.
        let started = started.or_else(|| Some(Instant::now()));
        let letter = DeadLetter { owned: delivered.attempt, delivered, reason, error, chain, started };
        let _ = self.settlements.send(Settlement::DeadLetter(Box::new(letter))).await;
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
}
