//! Durable records behind one small interface. Knows no commands: a record is bytes.
//!
//! A log takes records in order and says how far it is safe: [`Log::durable`] is the number of the last record
//! that no crash of the configured kind can take back. Whoever shows the outside world something that depends on
//! a record waits until then.
//!
//! [`DiskLog`] keeps the records in segments, files that are filled with zeros once and used again and again.
//! [`Log::append`] only copies; one thread writes and syncs what has come together since its last turn, so that
//! one sync pays for everyone who waits. All that it does to the disk goes through [`Storage`], which tests
//! replace by one that loses, tears and refuses.
//!
//! ```
//! use std::convert::Infallible;
//! use std::sync::Arc;
//! use cauce_log::{DiskLog, Log, MemoryStorage, Options};
//!
//! let storage = Arc::new(MemoryStorage::default());
//! let (log, _) = DiskLog::open(storage.clone(), Options::default(), |_, _| Ok::<(), Infallible>(()))?;
//! log.append(&mut |batch| batch.unit(2, [&b"first"[..], b"second"]));
//! drop(log); // writes and syncs what is left
//!
//! let mut records = Vec::new();
//! let (log, recovery) = DiskLog::open(storage, Options::default(), |number, record| {
//!     records.push((number, record.to_vec()));
//!     Ok::<(), Infallible>(())
//! })?;
//! assert_eq!(records, [(1, b"first".to_vec()), (2, b"second".to_vec())]);
//! assert_eq!((recovery.last, log.durable()), (2, 2));
//! # Ok::<(), cauce_log::OpenError<Infallible>>(())
//! ```

mod batch;
mod blocks;
mod checkpoint;
mod disk;
mod format;
mod memory;
mod recovery;
#[cfg(test)]
mod simulation;
mod storage;

pub use batch::Batch;
pub use blocks::{
    BlockExtent, BlockFileWriter, block_file_name, block_files, read_block, remove_block_files,
};
pub use checkpoint::{
    CheckpointWriter, KeptParts, checkpoint_files, checkpoint_position, look_at_checkpoint, read_checkpoint,
    while_unchanged,
};
#[cfg(any(test, feature = "seeded-faults"))]
pub use disk::Mutant;
pub use disk::{DiskLog, Failure, Options, SyncPolicy, Threads};
pub use memory::MemoryLog;
pub use recovery::{
    Damage, Inspection, LogEnd, Lost, OpenError, PlacedRecord, Recovery, SegmentSummary, TornTail, inspect,
    repair,
};
pub use storage::{
    DirectoryError, FaultyStorage, FileStorage, FrozenStorage, MemoryStorage, Outage, ReadOnlyStorage,
    Storage, StorageFile,
};

/// Called whenever one of the news has changed. Runs on whichever thread changed it, so it must be short, must not call
/// back into the log, and must not own anything that keeps the log alive.
pub type LogListener = Box<dyn Fn(LogNews) + Send + Sync>;

/// What a [`LogListener`] is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogNews {
    /// See [`Log::durable`].
    pub durable: u64,
    /// [`Log::failure`] says why: nothing becomes safe any more.
    pub failed: bool,
}

/// A sequence of records, numbered from 1 in the order in which they were appended.
pub trait Log: Send + Sync + std::fmt::Debug {
    /// Appends the units that `fill` puts into the batch. Returns at once; a unit is safe when [`Log::durable`] has
    /// reached its last record's number. On a log that has failed, nothing is appended and nothing becomes safe.
    fn append(&self, fill: &mut dyn FnMut(&mut Batch));

    /// Number of the last record that is safe; `u64::MAX` for a log that never makes anyone wait.
    fn durable(&self) -> u64;

    /// Number of the last record that the operating system has: the end of this process does not take it back, the
    /// end of the machine may.
    fn written(&self) -> u64 {
        self.durable()
    }

    /// Whether there is room for more. While this is false the caller should refuse what would be appended; what is
    /// appended all the same waits in memory until there is room.
    fn admits_writes(&self) -> bool {
        true
    }

    /// Why nothing will become safe any more, if a write or a sync of records has failed. A log never recovers from
    /// that: what the disk holds is known only after it was opened again.
    fn failure(&self) -> Option<Failure> {
        None
    }

    /// Bytes that were appended and not written yet. Whoever appends should stop at some number of them.
    fn waiting_bytes(&self) -> u64 {
        0
    }

    /// What the log is doing.
    fn state(&self) -> LogState {
        LogState::default()
    }

    /// Registers the one listener. A later one replaces it.
    fn listen(&self, listener: LogListener);
}

/// What a log is doing, for those who watch it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LogState {
    /// What [`Log::durable`] promises; none for a log in memory.
    pub policy: Option<SyncPolicy>,
    /// Number of the last record that was appended.
    pub appended: u64,
    /// Number of the last record that is known to be on disk.
    pub synced: u64,
    /// Bytes that were appended and not written yet.
    pub waiting_bytes: u64,
    /// Segments that hold records.
    pub segments: u64,
    /// Bytes of those of them that are full.
    pub full_bytes: u64,
    /// Bytes of the files of the log.
    pub disk_bytes: u64,
    /// Syncs of records so far.
    pub syncs: u64,
    /// How long the last of them took, in microseconds.
    pub last_sync_micros: u64,
    /// Syncs of records so far that took a tenth of a second or longer.
    pub slow_syncs: u64,
}
