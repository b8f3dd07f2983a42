//! Checkpoints: now and then the state is written down, so that the log before it is not needed any more.
//!
//! A thread looks at the log every now and then. When it has grown enough, the state is taken under the engine's lock
//! (see [`cauce_engine::Snapshot`]: that costs a step per page) and written while commands go on.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use cauce_log::{CheckpointWriter, DiskLog, Log, Storage, Threads};

use crate::broker::Shared;

/// How often the log's size is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A checkpoint that could not be written. The one before is still in force, and the log is kept since then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The broker keeps everything in memory.
    #[error("there is nothing to write a checkpoint to: this broker keeps everything in memory")]
    InMemory,
    /// The disk refuses.
    #[error("the checkpoint could not be written: {0}; the one before and the log since then are kept")]
    Disk(#[from] io::Error),
    /// The log cannot be written as far as the checkpoint goes.
    #[error("the log has failed or has no room; the checkpoint before and the log since then are kept")]
    Log,
}

/// Writes checkpoints of one broker, and holds the thread that does so by itself.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    core: Arc<Core>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Core {
    storage: Arc<dyn Storage>,
    log: Arc<DiskLog>,
    /// Bytes of full segments that make a checkpoint due.
    after_bytes: u64,
    /// Held while a checkpoint is written; how many bytes the last one had.
    last_bytes: Mutex<u64>,
    ended: Mutex<bool>,
    end: Condvar,
}

impl Checkpoints {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        log: Arc<DiskLog>,
        after_bytes: u64,
        threads: Threads,
        shared: Weak<Shared>,
    ) -> Self {
        let (last_bytes, ended, end) = (Mutex::new(0), Mutex::new(false), Condvar::new());
        let core = Arc::new(Core { storage, log, after_bytes, last_bytes, ended, end });
        if threads == Threads::Caller {
            return Self { core, thread: None };
        }
        let own = Arc::clone(&core);
        let thread = std::thread::Builder::new().name("cauce-checkpoint".to_owned());
        let thread = thread.spawn(move || own.run(&shared));
        Self { core, thread: Some(thread.expect("the system has threads left")) }
    }

    /// One turn of what the log's threads do.
    pub(crate) fn work(&self) {
        self.core.log.commit();
        self.core.log.keep();
    }

    /// Writes a checkpoint of the state as it is now, and says how many bytes it has; 0 if nothing happened since the
    /// last one.
    pub(crate) fn write(&self, shared: &Shared) -> Result<u64, CheckpointError> {
        self.core.write(shared)
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        *lock(&self.core.ended) = true;
        self.core.end.notify_all();
        // The thread itself drops this if it held the broker last.
        if let Some(thread) =
            self.thread.take().filter(|own| own.thread().id() != std::thread::current().id())
        {
            // It can only have panicked, and said so.
            let _ended = thread.join();
        }
    }
}

impl Core {
    fn run(&self, shared: &Weak<Shared>) {
        loop {
            let ended = lock(&self.ended);
            if *ended {
                return;
            }
            let waited = self.end.wait_timeout(ended, LOOK_EVERY);
            if *waited.unwrap_or_else(PoisonError::into_inner).0 {
                return;
            }
            if !self.is_due() {
                continue;
            }
            let Some(shared) = shared.upgrade() else { return };
            // What refuses now may not refuse the next time; until then the log is kept.
            let _refused = self.write(&shared);
        }
    }

    /// A checkpoint pays when the log has grown as much as it would write.
    fn is_due(&self) -> bool {
        self.log.state().full_bytes >= self.after_bytes.max(*lock(&self.last_bytes))
    }

    fn write(&self, shared: &Shared) -> Result<u64, CheckpointError> {
        let mut last_bytes = lock(&self.last_bytes);
        let snapshot = shared.snapshot();
        let position = snapshot.position().0;
        let mut writer = match CheckpointWriter::begin(&*self.storage, position) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(0),
            writer => writer?,
        };
        snapshot.write(|record| writer.record(record))?;
        drop(snapshot);
        // A checkpoint must not be ahead of the log: numbers would be missing in it after a power cut.
        if !self.log.sync_to(position) {
            return Err(CheckpointError::Log);
        }
        let bytes = writer.finish()?;
        *last_bytes = bytes;
        self.log.forget(position + 1);
        Ok(bytes)
    }
}

/// Nothing is left half done under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
