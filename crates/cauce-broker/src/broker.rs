//! The broker as its owner sees it.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use cauce_engine::{Engine, Settings};
use cauce_log::{Log, MemoryLog};
use tokio::io::DuplexStream;
use tokio::runtime::Handle;

use crate::busy::Watch;
use crate::clock::Clock;
use crate::config::{ClockSource, Config, Limits};
use crate::shared::Shared;
use crate::timer;

/// A broker. Clones are handles to the same one; it ends when the last handle and the last connection do.
#[derive(Debug, Clone)]
pub struct Broker {
    pub(crate) shared: Arc<Shared>,
}

impl Broker {
    /// A broker that keeps everything in memory: what it holds is gone when it ends.
    #[must_use]
    pub fn in_memory(config: Config) -> Self {
        Self::with_log(
            engine(config.settings),
            config.limits,
            config.clock,
            Arc::new(MemoryLog::new()),
            false,
        )
    }

    /// The same over a memory log that the caller keeps a handle on, to hold replies back (for tests of what
    /// waits for what).
    #[must_use]
    pub fn with_memory_log(config: Config, log: Arc<MemoryLog>) -> Self {
        Self::with_log(engine(config.settings), config.limits, config.clock, log, true)
    }

    pub(crate) fn with_log(
        engine: Engine,
        limits: Limits,
        clock: ClockSource,
        log: Arc<dyn Log>,
        records: bool,
    ) -> Self {
        let shared = Arc::new(Shared::new(engine, limits, Clock::new(clock), log, records));
        let weak = Arc::downgrade(&shared);
        assert!(shared.own.set(Weak::clone(&weak)).is_ok(), "the broker is new");
        shared.lock().watch_scripts(Watch::new(weak));
        // Not the broker itself: the log's thread must not be the last to hold the log.
        let waiting = Arc::clone(&shared.waiting);
        shared.log.listen(Box::new(move |news| waiting.tell(news)));
        Self { shared }
    }

    /// Opens a connection inside the process: what a client writes into the returned pipe is answered there,
    /// by a task on the caller's runtime. Dropping the pipe closes the connection.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn connect(&self) -> DuplexStream {
        self.ensure_tasks();
        self.shared.connect(&Handle::current(), false)
    }

    /// Starts the broker's own tasks on the current runtime, unless they run.
    pub(crate) fn ensure_tasks(&self) {
        timer::ensure(&self.shared);
        self.shared.releaser.ensure(&self.shared.waiting);
    }

    /// How many connections are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// The number of the newest record, and the keyspace behind it as canonical bytes: equal states give equal bytes,
    /// whatever way led to them. For tests of what a restart brings back.
    #[must_use]
    pub fn dump(&self) -> (u64, Vec<u8>) {
        self.shared.lock().dump()
    }

    /// Returns when a client has sent `SHUTDOWN`. The broker itself goes on: its owner decides what ends, and how.
    pub async fn shutdown_requested(&self) {
        self.shared.ended().await;
    }

    /// Closes all connections at once, in the order in which they were opened. Listeners are not concerned.
    pub fn disconnect_all(&self) {
        self.shared.lock().close_all();
    }

    /// Ends all connections in order: no more requests are run, and what was executed is answered. After `patience` those
    /// that have not ended are closed. A script that does not end is ended, as by `SHUTDOWN`. Listeners are not concerned.
    ///
    /// If the future is dropped, some connections may go on.
    pub async fn drain(&self, patience: Duration) {
        self.shared.end();
        self.shared.lock().finish_all();
        if tokio::time::timeout(patience, self.shared.all_left()).await.is_err() {
            self.disconnect_all();
        }
    }
}

/// Bytes that nobody can guess: the standard library seeds its hashers from the system's randomness.
fn secret() -> [u8; 32] {
    let mut bytes = [0; 32];
    for (place, chunk) in bytes.chunks_exact_mut(8).enumerate() {
        chunk.copy_from_slice(&RandomState::new().hash_one(place).to_le_bytes());
    }
    bytes
}

/// An empty engine; a secret is made up if none is set.
pub(crate) fn engine(mut settings: Settings) -> Engine {
    if settings.secret == [0; 32] {
        settings.secret = secret();
    }
    Engine::new(settings)
}
