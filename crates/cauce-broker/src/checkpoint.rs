//! Checkpoints: now and then the state is written down, so that the log before it is not needed any more.
//!
//! A thread looks at the log every now and then. When it has grown enough, the state is taken under the engine's lock
//! (see [`cauce_engine::Snapshot`]: that costs a step per page) and written while commands go on.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use cauce_engine::stream::BlockPlace;
use cauce_engine::{BlockStore, Snapshot};
use cauce_log::{CheckpointWriter, DiskLog, Log, Storage, Threads};

use crate::blocks::{Files, Usage};
use crate::shared::Shared;

/// How often the log's size is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A checkpoint of changes is not worth the trouble where all is so small.
const SMALL_BYTES: u64 = 256 * 1024;
/// Parts of a checkpoint from which on it is written anew as a whole.
const PARTS_MAX: usize = 1000;

/// So many records since the last checkpoint make one due, if it would not write more than they take, at so many bytes each:
/// a start replays about a million in a second, and more come while a checkpoint is written.
const RECORDS_MIN: u64 = 200_000;
const RECORD_BYTES: u64 = 50;

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
    files: Files,
    log: Arc<DiskLog>,
    /// Bytes of full segments that make a checkpoint due.
    after_bytes: u64,
    /// Held while a checkpoint is written.
    last: Mutex<Last>,
    /// How many blocks the last one named, and the bytes of their files.
    blocks: Mutex<(u64, u64)>,
    ended: Mutex<bool>,
    end: Condvar,
}

/// What is known of the last checkpoint.
#[derive(Debug, Default)]
struct Last {
    /// Bytes that it wrote, blocks left out.
    bytes: u64,
    /// The last record that it holds the effect of.
    position: u64,
    usage: Usage,
}

impl Checkpoints {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        files: Files,
        log: Arc<DiskLog>,
        after_bytes: u64,
        threads: Threads,
        shared: Weak<Shared>,
    ) -> Self {
        let (last, ended, end) = (Mutex::default(), Mutex::new(false), Condvar::new());
        let core =
            Arc::new(Core { storage, files, log, after_bytes, last, blocks: Mutex::default(), ended, end });
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

    /// How many blocks of streams the last checkpoint named, and the bytes of their files.
    pub(crate) fn blocks(&self) -> (u64, u64) {
        *lock(&self.core.blocks)
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
        let (log, last) = (self.log.state(), lock(&self.last));
        let records = log.appended.saturating_sub(last.position);
        log.full_bytes >= self.after_bytes.max(last.bytes)
            || records >= RECORDS_MIN && last.bytes <= records.saturating_mul(RECORD_BYTES)
    }

    fn write(&self, shared: &Shared) -> Result<u64, CheckpointError> {
        let mut last = lock(&self.last);
        let moved_bytes = self.move_blocks(shared, &last.usage)?;
        let snapshot = shared.snapshot_for_checkpoint();
        let position = snapshot.position().0;
        let (mut writer, changes) = match self.begin(&snapshot) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                last.position = position;
                return Ok(0);
            }
            begun => begun?,
        };
        let mut store = self.files.store()?;
        let block_bytes = snapshot.store_blocks(&mut store)?;
        // What is on disk may leave memory, whatever becomes of the checkpoint.
        shared.blocks_stored(block_bytes);
        if changes {
            snapshot.write_changes(|record| writer.record(record))?;
        } else {
            snapshot.write(|record| writer.record(record))?;
        }
        let usage = self.files.usage(snapshot.block_places())?;
        drop((snapshot, store));
        // A checkpoint must not be ahead of the log: numbers would be missing in it after a power cut.
        if !self.log.sync_to(position) {
            return Err(CheckpointError::Log);
        }
        let bytes = writer.finish(&usage.sizes())?;
        self.log.forget(position + 1);
        *lock(&self.blocks) = (usage.blocks, usage.bytes());
        self.files.remove_unused(&usage)?;
        *last = Last { bytes, position, usage };
        Ok(bytes + block_bytes + moved_bytes)
    }

    /// Begins a checkpoint: of what changed (true), if that is known since the one in force and that one is not made of too
    /// many changes already.
    fn begin(&self, snapshot: &Snapshot) -> io::Result<(CheckpointWriter<'_>, bool)> {
        let position = snapshot.position().0;
        if let Some(since) = snapshot.changes_since() {
            let writer = CheckpointWriter::begin_behind(&*self.storage, position)?;
            let kept = writer.kept();
            let room = (kept.first_bytes / 2).max(SMALL_BYTES);
            if kept.position == Some(since.0) && kept.later_bytes <= room && kept.parts < PARTS_MAX {
                return Ok((writer, true));
            }
        }
        Ok((CheckpointWriter::begin(&*self.storage, position)?, false))
    }

    /// Writes blocks anew that are in files which are mostly unused, so that these can be let go; says how many bytes that
    /// were.
    fn move_blocks(&self, shared: &Shared, usage: &Usage) -> Result<u64, CheckpointError> {
        let wasteful = usage.wasteful();
        if wasteful.is_empty() {
            return Ok(0);
        }
        let snapshot = shared.snapshot();
        let mut store = self.files.store()?;
        let mut moved: HashMap<(u64, u64), BlockPlace> = HashMap::new();
        let mut bytes = 0;
        for place in snapshot.block_places() {
            let (file, offset) = (place.file.number(), place.spot.offset);
            if wasteful.binary_search(&file).is_err() || moved.contains_key(&(file, offset)) {
                continue;
            }
            // One that cannot be read stays where it is, for whoever may be able to read it.
            let Ok(block) = place.read() else { continue };
            moved.insert((file, offset), store.put(&block)?);
            bytes += block.len() as u64;
        }
        store.flush()?;
        drop(snapshot);
        shared.relocate_blocks(&|place| moved.get(&(place.file.number(), place.spot.offset)).cloned());
        Ok(bytes)
    }
}

/// Nothing is left half done under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
