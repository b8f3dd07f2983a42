//! A log that keeps nothing: for brokers in memory, and for tests of what waits for what.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::{Batch, Log, LogListener, LogNews, LogState};

/// A log in memory. It counts records and drops them.
///
/// By default everything counts as safe at once. [`MemoryLog::hold`] makes it act like a disk that has not
/// answered yet: nothing more becomes safe until [`MemoryLog::release`] moves the position.
#[derive(Default)]
pub struct MemoryLog {
    appended: AtomicU64,
    released: AtomicU64,
    holding: AtomicBool,
    listener: Mutex<Option<LogListener>>,
}

impl MemoryLog {
    /// A log in which everything is safe at once.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on records are only safe once [`MemoryLog::release`] says so.
    pub fn hold(&self) {
        self.released.store(self.appended(), Ordering::SeqCst);
        self.holding.store(true, Ordering::SeqCst);
    }

    /// Makes records safe up to and including number `position`; positions never go back.
    pub fn release(&self, position: u64) {
        self.released.fetch_max(position, Ordering::SeqCst);
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listener) = &*listener {
            listener(LogNews { durable: self.durable(), failed: false });
        }
    }

    /// How many records were appended.
    pub fn appended(&self) -> u64 {
        self.appended.load(Ordering::SeqCst)
    }
}

impl Log for MemoryLog {
    fn append(&self, fill: &mut dyn FnMut(&mut Batch)) {
        let mut batch = Batch::default();
        fill(&mut batch);
        self.appended.fetch_add(batch.records(), Ordering::SeqCst);
    }

    fn durable(&self) -> u64 {
        if self.holding.load(Ordering::SeqCst) { self.released.load(Ordering::SeqCst) } else { u64::MAX }
    }

    fn state(&self) -> LogState {
        LogState {
            appended: self.appended(),
            synced: self.durable().min(self.appended()),
            ..LogState::default()
        }
    }

    fn listen(&self, listener: LogListener) {
        *self.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(listener);
    }
}

impl fmt::Debug for MemoryLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let durable = self.durable();
        f.debug_struct("MemoryLog").field("appended", &self.appended()).field("durable", &durable).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_held_log_is_safe_as_far_as_it_was_released() {
        let log = MemoryLog::new();
        log.append(&mut |batch| batch.unit(2, [&b"a"[..], b"b"]));
        assert_eq!(log.durable(), u64::MAX);
        log.hold();
        assert_eq!((log.appended(), log.durable()), (2, 2));
        log.append(&mut |batch| batch.unit(1, [&b"c"[..]]));
        assert_eq!(log.durable(), 2);
        let heard = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&heard);
        log.listen(Box::new(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
        }));
        log.release(3);
        log.release(1);
        assert_eq!((log.durable(), heard.load(Ordering::SeqCst)), (3, 2));
    }
}
