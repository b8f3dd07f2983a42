//! One engine, its log, and the queues of all connections: what everything inside the broker shares.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use cauce_engine::stream::BlockPlace;
use cauce_engine::{
    DeliveryKind, Engine, Gauges, Outcome, Outputs, RecordBuf, SessionId, SessionInfo, Snapshot,
};
use cauce_log::{Log, Storage};
use tokio::io::DuplexStream;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, watch};

use crate::blocks::{READERS_MAX, Read, Resumed};
use crate::busy::{Busy, Watch};
use crate::checkpoint::Checkpoints;
use crate::clock::Clock;
use crate::config::Limits;
use crate::durable::log_gauges;
use crate::outbox::{Outbox, Room};
use crate::waiting::{self, Waiting};
use crate::{session, timer};

/// Bytes that an in-process pipe holds in each direction.
const PIPE_BYTES: usize = 64 * 1024;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) clock: Clock,
    pub(crate) limits: Limits,
    pub(crate) connections: AtomicUsize,
    /// The last connection has ended.
    left: Notify,
    pub(crate) traffic: Traffic,
    /// The engine's next deadline came nearer.
    pub(crate) deadline_moved: Arc<Notify>,
    pub(crate) timer: timer::Slot,
    /// Connections whose replies wait for the log.
    pub(crate) waiting: Arc<Waiting>,
    pub(crate) releaser: waiting::Slot,
    /// Of a broker on a disk.
    pub(crate) storage: OnceLock<Arc<dyn Storage>>,
    pub(crate) checkpoints: OnceLock<Checkpoints>,
    /// The newest session's id.
    last_session: AtomicU64,
    pub(crate) busy: Busy,
    /// Commands that read history from disk take turns.
    pub(crate) block_readers: Arc<Semaphore>,
    /// This.
    pub(crate) own: OnceLock<Weak<Shared>>,
    /// Whether a client sent `SHUTDOWN`.
    ending: watch::Sender<bool>,
}

/// One connection, counted for as long as this lives: from before its task runs for the first time, so that a
/// burst of connections cannot slip past the limit.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) shared: Arc<Shared>,
}

impl Connected {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        shared.connections.fetch_add(1, Ordering::Relaxed);
        Self { shared: Arc::clone(shared) }
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        if self.shared.connections.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.shared.left.notify_waiters();
        }
    }
}

/// Counters outside the lock.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) received_bytes: AtomicU64,
    pub(crate) sent_bytes: AtomicU64,
    pub(crate) rejected_connections: AtomicU64,
    pub(crate) memory_bytes: AtomicU64,
}

/// What the lock guards.
#[derive(Debug)]
pub(crate) struct State {
    engine: Engine,
    outboxes: HashMap<SessionId, Arc<Outbox>>,
    out: Outputs,
    /// The deadline that the timer task sleeps towards, in microseconds since the epoch.
    armed_micros: u64,
}

impl State {
    pub(crate) fn add_outbox(&mut self, id: SessionId, outbox: Arc<Outbox>) {
        self.outboxes.insert(id, outbox);
    }

    /// Closes all connections at once, in the order in which they were opened.
    pub(crate) fn close_all(&self) {
        let mut outboxes: Vec<_> = self.outboxes.iter().collect();
        outboxes.sort_by_key(|(session, _)| **session);
        outboxes.into_iter().for_each(|(_, outbox)| outbox.close());
    }

    /// Ends all connections as soon as what was executed is answered.
    pub(crate) fn finish_all(&self) {
        for outbox in self.outboxes.values() {
            outbox.finish();
            outbox.wake();
        }
    }

    /// The number of the newest record, and the keyspace behind it as canonical bytes.
    pub(crate) fn dump(&self) -> (u64, Vec<u8>) {
        (self.engine.position().0, self.engine.dump())
    }

    pub(crate) fn watch_scripts(&mut self, watch: Watch) {
        self.engine.set_script_watch(Box::new(watch));
    }

    /// Lets a connection go, if it is known.
    pub(crate) fn remove(&mut self, id: SessionId) {
        if self.outboxes.remove(&id).is_some() {
            self.engine.close_session(id);
        }
    }
}

/// How a batch ended for the session that sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BatchEnd {
    /// Everything was replied to.
    Done,
    /// The last command waits: the following ones have to wait too.
    Blocked,
    /// The connection ends once its replies are sent.
    Close,
}

/// Lets a session go on that waited for a request to be answered.
pub(crate) fn release(outbox: &Outbox, end: BatchEnd) {
    match end {
        // Its reply will release it.
        BatchEnd::Blocked => return,
        BatchEnd::Close => outbox.finish(),
        BatchEnd::Done => {}
    }
    outbox.unblock();
    outbox.wake();
}

impl Shared {
    pub(crate) fn new(
        engine: Engine,
        limits: Limits,
        clock: Clock,
        log: Arc<dyn Log>,
        records: bool,
    ) -> Self {
        let out = Outputs {
            records: if records { RecordBuf::default() } else { RecordBuf::disabled() },
            ..Outputs::default()
        };
        let state = State { engine, outboxes: HashMap::new(), out, armed_micros: u64::MAX };
        Self {
            state: Mutex::new(state),
            log,
            clock,
            limits,
            connections: AtomicUsize::new(0),
            left: Notify::new(),
            traffic: Traffic::default(),
            deadline_moved: Arc::default(),
            timer: timer::Slot::default(),
            waiting: Arc::default(),
            releaser: waiting::Slot::default(),
            storage: OnceLock::new(),
            checkpoints: OnceLock::new(),
            last_session: AtomicU64::default(),
            busy: Busy::default(),
            block_readers: Arc::new(Semaphore::new(READERS_MAX)),
            own: OnceLock::new(),
            ending: watch::Sender::default(),
        }
    }

    /// Opens a connection inside the process, served on that runtime.
    pub(crate) fn connect(self: &Arc<Self>, runtime: &Handle, trusted: bool) -> DuplexStream {
        let (client, server) = tokio::io::duplex(PIPE_BYTES);
        let info = SessionInfo { address: "in-process".to_owned(), trusted, ..SessionInfo::default() };
        runtime.spawn(session::run(Connected::new(self), server, info));
        client
    }

    /// Notes that a client sent `SHUTDOWN`.
    pub(crate) fn end(&self) {
        self.ending.send_replace(true);
    }

    /// Returns when a client has sent `SHUTDOWN`.
    pub(crate) async fn ended(&self) {
        let mut ending = self.ending.subscribe();
        // Fails only when the sender is gone, which is here.
        let _ended = ending.wait_for(|&ending| ending).await;
    }

    /// Returns when no connection is left.
    pub(crate) async fn all_left(&self) {
        loop {
            let left = self.left.notified();
            if self.connections.load(Ordering::Relaxed) == 0 {
                return;
            }
            left.await;
        }
    }

    pub(crate) fn is_ending(&self) -> bool {
        *self.ending.borrow()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic inside the engine is a bug: going on with half a command applied could show what no log
        // will ever have. So the poison is passed on.
        self.state.lock().expect("the engine has not panicked")
    }

    /// Notes that blocks of so many bytes are on disk now.
    pub(crate) fn blocks_stored(&self, bytes: u64) {
        self.lock().engine.stored(bytes);
    }

    /// Notes for all blocks where they are now, some at a time: others have their turn in between.
    pub(crate) fn relocate_blocks(&self, moved: &impl Fn(&BlockPlace) -> Option<BlockPlace>) {
        const PAGES_AT_ONCE: usize = 16;
        let mut at = Some((0, 0, 0));
        while at.is_some() {
            let mut state = self.lock();
            for _ in 0..PAGES_AT_ONCE {
                at = at.and_then(|from| state.engine.relocate(from, moved));
            }
        }
    }

    /// The state as it is now, with what changed since this was last asked.
    pub(crate) fn snapshot_for_checkpoint(&self) -> Snapshot {
        self.lock().engine.snapshot_for_checkpoint()
    }

    /// The state as it is now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.lock().engine.snapshot()
    }

    /// Takes in a connection.
    pub(crate) fn open(&self, info: SessionInfo) -> (SessionId, Arc<Outbox>) {
        let outbox = Arc::new(Outbox::default());
        let id = SessionId::new(self.last_session.fetch_add(1, Ordering::Relaxed) + 1);
        if !self.busy.open(id, &info, &outbox) {
            self.take_in(&mut self.lock(), id, info, Arc::clone(&outbox));
        }
        (id, outbox)
    }

    pub(crate) fn take_in(&self, state: &mut State, id: SessionId, info: SessionInfo, outbox: Arc<Outbox>) {
        state.engine.open_session(self.clock.now(), id, info);
        state.add_outbox(id, outbox);
    }

    /// Lets a connection go.
    pub(crate) fn close(&self, id: SessionId) {
        if self.busy.close(id) {
            return;
        }
        // Called from destructors, also while a panic unwinds: a poisoned engine is left alone.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.state.is_poisoned() {
            state.remove(id);
        }
    }

    /// Runs a batch of a session's requests under one lock. `feed` hands requests over, one by one, for as
    /// long as it is told to go on.
    pub(crate) fn run_batch(
        &self,
        id: SessionId,
        own: &Arc<Outbox>,
        feed: impl FnOnce(&mut dyn FnMut(&[&[u8]]) -> bool),
    ) -> BatchEnd {
        let feed = if self.busy.is_set() {
            match self.busy.leave_request(id, own, feed) {
                Ok(end) => return end,
                Err(feed) => feed,
            }
        } else {
            feed
        };
        let mut state = self.lock();
        let end = self.run_locked(&mut state, id, own, feed);
        if self.busy.is_set() {
            self.end_busy(&mut state);
        }
        end
    }

    /// Runs requests of a session under the lock that the caller holds.
    pub(crate) fn run_locked(
        &self,
        state: &mut State,
        id: SessionId,
        own: &Arc<Outbox>,
        feed: impl FnOnce(&mut dyn FnMut(&[&[u8]]) -> bool),
    ) -> BatchEnd {
        let now = self.clock.now();
        let mut end = BatchEnd::Done;
        state.out.clear();
        state.engine.set_gauges(self.gauges());
        feed(&mut |args| {
            end = self.end_of(state.engine.apply(now, id, args, &mut state.out));
            end == BatchEnd::Done
        });
        if self.busy.is_abandoned() {
            return BatchEnd::Close;
        }
        self.hand_out(state, id, own);
        if !state.out.absent.is_empty() {
            self.fetch(id, Arc::clone(own), std::mem::take(&mut state.out.absent));
        }
        end
    }

    /// Runs a command again whose blocks were read.
    pub(crate) fn run_resumed(&self, id: SessionId, own: &Arc<Outbox>, read: &Read) -> Resumed {
        let mut guard = self.lock();
        let state = &mut *guard;
        state.out.clear();
        for (block, bytes) in &read.blocks {
            state.engine.supply(block, bytes);
        }
        let unreadable = read.unreadable.as_deref();
        let outcome = state.engine.resume(self.clock.now(), id, unreadable, &mut state.out);
        if self.busy.is_abandoned() {
            return Resumed::Ended(BatchEnd::Close);
        }
        self.hand_out(state, id, own);
        let resumed = match outcome {
            Outcome::NeedsBlocks => Resumed::NeedsMore(std::mem::take(&mut state.out.absent)),
            outcome => Resumed::Ended(self.end_of(outcome)),
        };
        if self.busy.is_set() {
            self.end_busy(state);
        }
        resumed
    }

    /// Gives everyone what came of commands of a session.
    fn hand_out(&self, state: &mut State, id: SessionId, own: &Outbox) {
        self.log_records(&state.out);
        let durable = self.log.durable();
        if !state.out.replies.is_empty() {
            let subscriber = state.engine.is_subscriber(id);
            let room = Room { limits: &self.limits, subscriber };
            own.push(&state.out.replies, &state.out.gates, durable, room);
        }
        self.deliver(state, durable);
        self.arm_timer(state);
    }

    /// Lets the engine do what is due; says when it is due next.
    pub(crate) fn tick(&self) -> Option<cauce_engine::Timestamp> {
        if self.busy.is_set() {
            // Looked at again when the script has ended.
            return None;
        }
        let mut guard = self.lock();
        let state = &mut *guard;
        state.out.clear();
        state.engine.tick(self.clock.now(), &mut state.out);
        self.log_records(&state.out);
        let durable = self.log.durable();
        self.deliver(state, durable);
        let next = state.engine.next_deadline();
        state.armed_micros = next.map_or(u64::MAX, cauce_engine::Timestamp::micros);
        next
    }

    /// Hands the log's state to the engine, for `INFO`.
    pub(crate) fn measure_log(&self) {
        if self.busy.is_set() {
            // Whoever waited for the lock now would keep the thread that answers meanwhile.
            return;
        }
        let mut gauges = log_gauges(&*self.log);
        if let Some(checkpoints) = self.checkpoints.get() {
            (gauges.blocks_on_disk, gauges.block_disk_bytes) = checkpoints.blocks();
        }
        self.lock().engine.set_log_gauges(gauges);
    }

    /// False while a script keeps the engine.
    pub(crate) fn is_authenticated(&self, id: SessionId) -> bool {
        !self.busy.is_set() && self.lock().engine.is_authenticated(id)
    }

    fn log_records(&self, out: &Outputs) {
        if out.records.is_empty() {
            return;
        }
        self.log.append(&mut |batch| {
            let mut records = out.records.iter();
            for len in out.records.unit_lens() {
                batch.unit(len, records.by_ref().take(len));
            }
        });
    }

    /// Queues what others get. Under the lock, so that everyone sees the engine's order.
    fn deliver(&self, state: &mut State, durable: u64) {
        let State { engine, outboxes, out, .. } = state;
        for delivery in &out.deliveries {
            let Some(outbox) = outboxes.get(&delivery.to) else { continue };
            let bytes = out.shared.get(delivery.bytes.clone()).unwrap_or_default();
            let subscriber = match delivery.kind {
                DeliveryKind::Push => true,
                DeliveryKind::Close => {
                    outbox.close();
                    continue;
                }
                _ => {
                    outbox.unblock();
                    engine.is_subscriber(delivery.to)
                }
            };
            outbox.send(bytes, delivery.after, durable, Room { limits: &self.limits, subscriber });
        }
    }

    fn arm_timer(&self, state: &mut State) {
        if let Some(next) = state.engine.next_deadline()
            && next.micros() < state.armed_micros
        {
            state.armed_micros = next.micros();
            self.deadline_moved.notify_one();
        }
    }

    fn gauges(&self) -> Gauges {
        let mut gauges = Gauges::default();
        gauges.memory_bytes = self.traffic.memory_bytes.load(Ordering::Relaxed);
        gauges.received_bytes = self.traffic.received_bytes.load(Ordering::Relaxed);
        gauges.sent_bytes = self.traffic.sent_bytes.load(Ordering::Relaxed);
        gauges.log_full = !self.log.admits_writes();
        gauges.rejected_connections = self.traffic.rejected_connections.load(Ordering::Relaxed);
        gauges
    }
}
