//! What a connection is to be sent: replies and pushes in one queue, in order, each held until it is safe.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use cauce_engine::{Position, ReplyGate};
use tokio::time::Instant;

use crate::config::Limits;

/// The queue of one connection. Filled under the engine's lock (so the order is the engine's order), emptied
/// by the connection's own task.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    bytes: Vec<u8>,
    /// Where bytes begin that have to wait, and for which position. A later gate's position may be lower:
    /// order alone keeps its bytes back.
    gates: VecDeque<Gate>,
    /// Bytes taken out so far: gates count from the first byte ever queued.
    taken: u64,
    /// Since when the queue has been over the soft limit.
    slow_since: Option<Instant>,
    unblocked: bool,
    finished: bool,
    closed: bool,
    waker: Option<Waker>,
}

#[derive(Debug)]
struct Gate {
    start: u64,
    after: u64,
}

/// How much a queue may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room<'a> {
    pub(crate) limits: &'a Limits,
    /// The connection has subscriptions: the smaller limits count.
    pub(crate) subscriber: bool,
}

/// What the connection's task finds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Signals {
    /// The reply of the blocked command is queued: go on with the next.
    pub(crate) unblocked: bool,
    /// No more requests are run; the connection ends when all is sent.
    pub(crate) finished: bool,
    /// The connection has to end now; nothing more is sent.
    pub(crate) closed: bool,
}

impl Outbox {
    /// Queues the replies of a batch, each part held until the log is safe up to its gate; `durable` is how
    /// far it is safe now. A queue over its limit is dropped and the connection is to be closed. For the
    /// connection's own task, which looks by itself.
    pub(crate) fn push(&self, bytes: &[u8], gates: &[ReplyGate], durable: u64, room: Room<'_>) {
        self.lock().push(bytes, gates, durable, room);
    }

    /// Queues bytes from elsewhere that wait for `after`, and lets the connection's task look.
    pub(crate) fn send(&self, bytes: &[u8], after: Position, durable: u64, room: Room<'_>) {
        let mut inner = self.lock();
        inner.push(bytes, &[ReplyGate { from: 0, after }], durable, room);
        let waker = inner.waker.take();
        drop(inner);
        // Woken outside the lock: the task may run at once on another thread.
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Notes that the blocked command has its reply.
    pub(crate) fn unblock(&self) {
        self.lock().unblocked = true;
    }

    /// Ends the connection once all is sent.
    pub(crate) fn finish(&self) {
        self.lock().finished = true;
    }

    /// Ends the connection.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.wake();
    }

    /// Lets the connection's task look.
    pub(crate) fn wake(&self) {
        let waker = self.lock().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// What the connection's task has to know; `waker` is registered for the next change.
    pub(crate) fn signals(&self, waker: &Waker) -> Signals {
        let mut inner = self.lock();
        if !inner.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            inner.waker = Some(waker.clone());
        }
        Signals {
            unblocked: std::mem::take(&mut inner.unblocked),
            finished: inner.finished,
            closed: inner.closed,
        }
    }

    /// Moves what may be sent into the empty buffer `into`; returns the position that the rest has to wait for, if any.
    pub(crate) fn take(&self, into: &mut Vec<u8>, durable: u64) -> Option<u64> {
        debug_assert!(into.is_empty(), "what was taken before is sent first");
        let mut inner = self.lock();
        while inner.gates.front().is_some_and(|gate| gate.after <= durable) {
            inner.gates.pop_front();
        }
        match inner.gates.front().map(|gate| gate.start) {
            None => std::mem::swap(&mut inner.bytes, into),
            Some(start) => {
                let safe = usize::try_from(start - inner.taken).unwrap_or(usize::MAX);
                into.extend(inner.bytes.drain(..safe));
            }
        }
        inner.taken += into.len() as u64;
        inner.gates.front().map(|gate| gate.after)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change is complete before anything can panic.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn push(&mut self, bytes: &[u8], gates: &[ReplyGate], durable: u64, room: Room<'_>) {
        if self.closed || bytes.is_empty() {
            return;
        }
        let first = self.taken + self.bytes.len() as u64;
        for gate in gates.iter().filter(|gate| gate.after.0 > durable) {
            self.gates.push_back(Gate { start: first + gate.from as u64, after: gate.after.0 });
        }
        self.bytes.extend_from_slice(bytes);
        if self.is_over(room) {
            self.bytes = Vec::new();
            self.gates.clear();
            self.closed = true;
        }
    }

    fn is_over(&mut self, Room { limits, subscriber }: Room<'_>) -> bool {
        let len = self.bytes.len();
        if !subscriber {
            return len > limits.output_bytes_max;
        }
        if len > limits.subscriber_output_bytes_max {
            return true;
        }
        if len <= limits.subscriber_output_bytes_soft {
            self.slow_since = None;
            return false;
        }
        self.slow_since.get_or_insert_with(Instant::now).elapsed() > limits.subscriber_slow_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(outbox: &Outbox, durable: u64) -> String {
        let mut bytes = Vec::new();
        outbox.take(&mut bytes, durable);
        String::from_utf8(bytes).expect("ascii")
    }

    #[test]
    fn bytes_leave_in_order_and_only_when_safe() {
        let (outbox, limits) = (Outbox::default(), Limits::default());
        let room = Room { limits: &limits, subscriber: false };
        let gate = |from, after| ReplyGate { from, after: Position(after) };
        outbox.push(b"abc", &[gate(1, 2)], 0, room);
        outbox.send(b"d", Position(1), 0, room);
        outbox.send(b"e", Position(3), 0, room);
        assert_eq!(take(&outbox, 0), "a");
        assert_eq!(take(&outbox, 1), "");
        assert_eq!(take(&outbox, 2), "bcd");
        assert_eq!(take(&outbox, 2), "");
        outbox.send(b"f", Position(0), 2, room);
        assert_eq!(take(&outbox, 3), "ef");
    }

    #[test]
    fn a_queue_over_its_limit_ends_the_connection() {
        let limits = Limits { output_bytes_max: 4, subscriber_output_bytes_max: 2, ..Limits::default() };
        let outbox = Outbox::default();
        let room = Room { limits: &limits, subscriber: false };
        outbox.push(b"1234", &[], 0, room);
        assert!(!outbox.signals(Waker::noop()).closed);
        outbox.push(b"5", &[], 0, room);
        assert!(outbox.signals(Waker::noop()).closed);
        assert_eq!(take(&outbox, 0), "");
    }
}
