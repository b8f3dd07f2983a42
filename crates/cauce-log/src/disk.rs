//! The log on disk.
//!
//! Three roles share a [`Core`]. Appenders fill a batch under a short lock. Whoever holds the [`Writer`] takes the batch,
//! writes it, syncs and says how far the log is safe: that is the log's thread, so that no appender ever waits for the
//! disk. The [`Keeper`] makes the next segment ready before it is needed and syncs in the background.

mod company;
mod keeper;
mod options;
mod segment;
mod writer;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::batch::Batch;
use crate::recovery::{self, OpenError, Recovery};
use crate::storage::Storage;
use crate::{Log, LogListener, LogNews, LogState};
use company::Company;
use keeper::Keeper;
#[cfg(any(test, feature = "seeded-faults"))]
pub use options::Mutant;
pub use options::{Options, SyncPolicy, Threads};
pub(crate) use segment::{SPARE_PREFIX, Segment, segment_number};
use writer::Writer;

/// A sync that takes longer is counted as a slow one.
const SLOW_SYNC_MICROS: u64 = 100_000;

/// A write or sync of records that failed. See [`Log::failure`].
#[derive(Debug, Clone)]
pub struct Failure {
    action: &'static str,
    file: String,
    source: Arc<io::Error>,
}

impl Failure {
    fn new(action: &'static str, segment: &Segment, source: io::Error) -> Self {
        Self { action, file: segment.name(), source: Arc::new(source) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { action, file, source } = self;
        write!(f, "cannot {action} {file}: {source}; what the disk holds is known only after a new start")
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

/// A log in segments on a [`Storage`]. Dropping it writes and syncs what was appended.
#[derive(Debug)]
pub struct DiskLog {
    core: Arc<Core>,
    threads: Vec<JoinHandle<()>>,
}

impl DiskLog {
    /// Opens the log of a storage, or begins one. The records of earlier runs are handed to `replay` in order, each with
    /// its number; afterwards all of them are safe.
    ///
    /// # Errors
    /// [`OpenError`]
    ///
    /// # Panics
    /// If the system has no thread left.
    pub fn open<E>(
        storage: Arc<dyn Storage>,
        options: Options,
        mut replay: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(Self, Recovery), OpenError<E>> {
        let threads = options.threads;
        let recovered = recovery::recover(&*storage, options.from, &mut replay)?;
        let report = recovered.report.clone();
        #[cfg(any(test, feature = "seeded-faults"))]
        let storage: Arc<dyn Storage> = match options.mutant {
            Some(Mutant::SkipDirectorySync) => Arc::new(crate::storage::Forgetful(storage)),
            _ => storage,
        };
        let core = Arc::new(Core::new(storage, options, recovered));
        let mut log = Self { core, threads: Vec::new() };
        if threads == Threads::Own {
            log.spawn("cauce-log", Core::run_writer);
            log.spawn("cauce-log-keep", Core::run_keeper);
        }
        Ok((log, report))
    }

    fn spawn(&mut self, name: &str, run: fn(&Core)) {
        let core = Arc::clone(&self.core);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || run(&core));
        self.threads.push(thread.expect("the system has threads left"));
    }

    /// Writes what was appended, and syncs it if the policy says so, on the caller's thread. Waits while another thread
    /// does so. Returns false if some is left because there is no room.
    pub fn commit(&self) -> bool {
        self.core.commit() != Progress::Stalled
    }

    /// Makes the next segment ready if there is none, and syncs in the background what the policy lets wait.
    pub fn keep(&self) {
        self.core.keep(true);
    }

    /// Writes and syncs what was appended up to record `position`, whatever the policy, on the caller's thread. Returns
    /// false if it cannot: the log has failed, or has no room.
    pub fn sync_to(&self, position: u64) -> bool {
        self.core.sync_to(position)
    }

    /// Lets go of the records before number `before`: nobody will replay them. Their segments are used again.
    pub fn forget(&self, before: u64) {
        self.core.forget(before);
    }
}

impl Drop for DiskLog {
    fn drop(&mut self) {
        self.core.close();
        for thread in self.threads.drain(..) {
            // It can only have panicked, and said so.
            let _ended = thread.join();
        }
        self.core.finish();
    }
}

impl Log for DiskLog {
    fn append(&self, fill: &mut dyn FnMut(&mut Batch)) {
        self.core.append(fill);
    }

    fn durable(&self) -> u64 {
        self.core.durable()
    }

    fn written(&self) -> u64 {
        self.core.written.load(Ordering::SeqCst)
    }

    fn admits_writes(&self) -> bool {
        self.core.admits.load(Ordering::SeqCst)
    }

    fn failure(&self) -> Option<Failure> {
        self.core.failure.get().cloned()
    }

    fn waiting_bytes(&self) -> u64 {
        self.core.waiting_bytes()
    }

    fn state(&self) -> LogState {
        self.core.state()
    }

    fn listen(&self, listener: LogListener) {
        *lock(&self.core.listener) = Some(listener);
    }
}

/// How a commit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// There was nothing to do.
    Idle,
    Done,
    /// Some is left: there is no segment to write it to.
    Stalled,
    Failed,
}

/// What the roles share. Locks are taken in the order of the fields.
struct Core {
    storage: Arc<dyn Storage>,
    options: Options,
    writer: Mutex<Writer>,
    keeper: Mutex<Keeper>,
    /// Held by the one who syncs behind the writer.
    syncing_behind: Mutex<()>,
    /// The keeper has something to do.
    keeper_wanted: Condvar,
    pending: Mutex<Pending>,
    /// There is something to write, or room to write it, or an end to it.
    writer_wanted: Condvar,
    listener: Mutex<Option<LogListener>>,
    written: AtomicU64,
    synced: AtomicU64,
    admits: AtomicBool,
    failure: OnceLock<Failure>,
    /// Bytes of the batch that is being filled, and of the one that is being written.
    pending_bytes: AtomicU64,
    writing_bytes: AtomicU64,
    syncs: AtomicU64,
    last_sync_micros: AtomicU64,
    slow_syncs: AtomicU64,
}

/// What was appended and not taken yet.
#[derive(Debug, Default)]
struct Pending {
    batch: Batch,
    appended: u64,
    company: Company,
    /// The log's thread sleeps until it is told.
    asleep: bool,
    /// A segment became ready.
    room: bool,
    closing: bool,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core")
            .field("options", &self.options)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

impl Core {
    fn new(storage: Arc<dyn Storage>, mut options: Options, mut recovered: recovery::Recovered) -> Self {
        options.segment_bytes = options.segment_bytes.clamp(16 * 1024, 1024 * 1024 * 1024);
        let last = recovered.report.last.max(options.from - 1);
        let current = recovered.segments.pop();
        let pending = Pending { appended: last, ..Pending::default() };
        Self {
            storage,
            keeper: Mutex::new(Keeper::new(recovered.segments, current.clone(), recovered.ready)),
            options,
            writer: Mutex::new(Writer::new(current, last + 1)),
            syncing_behind: Mutex::new(()),
            keeper_wanted: Condvar::new(),
            pending: Mutex::new(pending),
            writer_wanted: Condvar::new(),
            listener: Mutex::new(None),
            written: AtomicU64::new(last),
            synced: AtomicU64::new(last),
            admits: AtomicBool::new(true),
            failure: OnceLock::new(),
            pending_bytes: AtomicU64::new(0),
            writing_bytes: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
            last_sync_micros: AtomicU64::new(0),
            slow_syncs: AtomicU64::new(0),
        }
    }

    fn append(&self, fill: &mut dyn FnMut(&mut Batch)) {
        let mut pending = lock(&self.pending);
        if self.has_failed() {
            return;
        }
        let before = pending.batch.records();
        fill(&mut pending.batch);
        pending.appended += pending.batch.records() - before;
        pending.company.joins();
        self.pending_bytes.store(pending.batch.waiting_bytes() as u64, Ordering::Relaxed);
        if std::mem::take(&mut pending.asleep) {
            drop(pending);
            self.writer_wanted.notify_one();
        }
    }

    /// Writes and syncs one batch, or what was left of the last one.
    fn commit(&self) -> Progress {
        let mut writer = lock(&self.writer);
        if self.has_failed() {
            return Progress::Failed;
        }
        if writer.batch.waiting_bytes() == 0 {
            writer.batch.clear();
            let mut pending = lock(&self.pending);
            std::mem::swap(&mut pending.batch, &mut writer.batch);
            pending.company.leaves();
            self.pending_bytes.store(0, Ordering::Relaxed);
            self.writing_bytes.store(writer.batch.waiting_bytes() as u64, Ordering::Relaxed);
        }
        if writer.batch.waiting_bytes() == 0 {
            return Progress::Idle;
        }
        let outcome = writer.write(self).and_then(|all| {
            let written = self.written.load(Ordering::SeqCst);
            #[cfg(any(test, feature = "seeded-faults"))]
            if self.options.mutant == Some(Mutant::PublishBeforeSync) {
                self.publish_synced(written);
                self.tell();
            }
            if self.options.policy == SyncPolicy::Always && written > self.synced() {
                writer.sync(self)?;
                self.publish_synced(written);
            }
            Ok(all)
        });
        self.writing_bytes.store(writer.batch.waiting_bytes() as u64, Ordering::Relaxed);
        drop(writer);
        match outcome {
            Ok(all) => {
                self.tell();
                if all { Progress::Done } else { Progress::Stalled }
            }
            Err(failure) => {
                self.fail(failure);
                Progress::Failed
            }
        }
    }

    fn sync_to(&self, position: u64) -> bool {
        while self.written.load(Ordering::SeqCst) < position {
            if matches!(self.commit(), Progress::Stalled | Progress::Failed) {
                return false;
            }
        }
        // Whoever syncs what was written has done so, or failed: a sync that failed must not be made up for by another one.
        let _writer = lock(&self.writer);
        if self.has_failed() {
            return false;
        }
        if self.synced() < position
            && let Err(failure) = self.sync_behind(true)
        {
            self.fail(failure);
        }
        self.synced() >= position
    }

    /// The log's thread.
    fn run_writer(&self) {
        loop {
            let progress = self.commit();
            let mut pending = lock(&self.pending);
            match progress {
                Progress::Done => continue,
                Progress::Failed => return,
                Progress::Idle | Progress::Stalled if pending.closing => return,
                Progress::Idle | Progress::Stalled => {}
            }
            let stalled = progress == Progress::Stalled;
            while !pending.closing && if stalled { !pending.room } else { pending.batch.waiting_bytes() == 0 }
            {
                pending.asleep = true;
                pending = self.writer_wanted.wait(pending).unwrap_or_else(PoisonError::into_inner);
            }
            pending.asleep = false;
            pending.room = false;
            let waits = self.options.policy == SyncPolicy::Always && pending.company.is_expected();
            drop(pending);
            if waits && !stalled {
                company::wait();
            }
        }
    }

    fn durable(&self) -> u64 {
        match self.options.policy {
            SyncPolicy::Always => self.synced(),
            SyncPolicy::EverySecond | SyncPolicy::Off => self.written.load(Ordering::SeqCst),
        }
    }

    fn synced(&self) -> u64 {
        self.synced.load(Ordering::SeqCst)
    }

    fn has_failed(&self) -> bool {
        self.failure.get().is_some()
    }

    fn publish_written(&self, position: u64) {
        self.written.fetch_max(position, Ordering::SeqCst);
    }

    fn publish_synced(&self, position: u64) {
        debug_assert!(position <= self.written.load(Ordering::SeqCst), "only what is written is synced");
        self.synced.fetch_max(position, Ordering::SeqCst);
    }

    /// Syncs a segment and measures that.
    fn sync(&self, segment: &Segment) -> Result<(), Failure> {
        #[cfg(any(test, feature = "seeded-faults"))]
        if self.options.mutant == Some(Mutant::SkipSync) {
            return Ok(());
        }
        let began = Instant::now();
        segment.file.sync().map_err(|source| Failure::new("sync", segment, source))?;
        let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.last_sync_micros.store(took, Ordering::Relaxed);
        if took >= SLOW_SYNC_MICROS {
            self.slow_syncs.fetch_add(1, Ordering::Relaxed);
        }
        self.syncs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// From now on nothing becomes safe any more.
    fn fail(&self, failure: Failure) {
        // Only the first one counts.
        let _first = self.failure.set(failure);
        self.tell();
    }

    fn tell(&self) {
        if let Some(listener) = &*lock(&self.listener) {
            listener(LogNews { durable: self.durable(), failed: self.has_failed() });
        }
    }

    fn close(&self) {
        // Under both locks, one after the other: each thread looks before it sleeps.
        lock(&self.keeper).close();
        self.keeper_wanted.notify_all();
        lock(&self.pending).closing = true;
        self.writer_wanted.notify_all();
    }

    /// Writes and syncs what is left, whatever the policy.
    fn finish(&self) {
        loop {
            match self.commit() {
                Progress::Done => {}
                Progress::Stalled if self.make_ready().is_ok() => {}
                _ => break,
            }
        }
        if self.has_failed() {
            return;
        }
        let synced = self.sync_behind(false).and_then(|()| lock(&self.writer).sync(self));
        match synced {
            Ok(()) => self.publish_synced(self.written.load(Ordering::SeqCst)),
            Err(failure) => self.fail(failure),
        }
    }

    fn waiting_bytes(&self) -> u64 {
        self.pending_bytes.load(Ordering::Relaxed) + self.writing_bytes.load(Ordering::Relaxed)
    }

    fn state(&self) -> LogState {
        let keeper = lock(&self.keeper);
        let (segments, disk_bytes) = keeper.extent();
        let full_bytes = keeper.full_bytes();
        drop(keeper);
        let appended = lock(&self.pending).appended;
        LogState {
            policy: Some(self.options.policy),
            appended,
            synced: self.synced(),
            waiting_bytes: self.waiting_bytes(),
            segments,
            full_bytes,
            disk_bytes,
            syncs: self.syncs.load(Ordering::Relaxed),
            last_sync_micros: self.last_sync_micros.load(Ordering::Relaxed),
            slow_syncs: self.slow_syncs.load(Ordering::Relaxed),
        }
    }
}

/// Every change under these locks is complete before anything can panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
