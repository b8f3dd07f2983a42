//! A broker whose log is on disk.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cauce_engine::{LogGauges, Position, ReplayError};
use cauce_log::{
    DirectoryError, DiskLog, Failure, FileStorage, Log, LogState, Options, Recovery, Storage, SyncPolicy,
    read_checkpoint,
};

use crate::blocks::Files;
use crate::broker::{Broker, engine};
use crate::checkpoint::{CheckpointError, Checkpoints};
use crate::config::Config;
use crate::listen::BindError;

/// A directory that no broker can be opened on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The directory cannot be held.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The log in it cannot be read.
    #[error("the log in {}: {source}{}", directory.display(), hint(directory, source))]
    Log {
        /// The directory.
        directory: PathBuf,
        /// What is wrong with it.
        source: cauce_log::OpenError<ReplayError>,
    },
    /// Its socket cannot be served.
    #[error(transparent)]
    Socket(#[from] BindError),
    /// The system has no threads left.
    #[error("no thread can be started: {0}")]
    Threads(io::Error),
}

/// What to do about a log that is not whole.
fn hint(directory: &Path, error: &cauce_log::OpenError<ReplayError>) -> String {
    match error {
        cauce_log::OpenError::Damaged(_) | cauce_log::OpenError::Missing { .. } => {
            format!(
                ", or see with `cauce repair {}` what going on without it would drop",
                directory.display()
            )
        }
        _ => String::new(),
    }
}

impl Broker {
    /// Opens a broker on a directory, which is made if it is missing: what an earlier one kept there is there again
    /// when this returns. One broker holds a directory at a time, over all processes.
    ///
    /// With [`SyncPolicy::Always`], the default of [`Config::sync`], nothing is answered or shown to anyone before its
    /// records are synced. Reading the log takes a while; call this where blocking is allowed.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn open(directory: &Path, config: Config) -> Result<(Self, Recovery), OpenError> {
        Self::open_held(FileStorage::open(directory)?, config)
    }

    /// The same on a directory that is held already.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn open_held(held: FileStorage, mut config: Config) -> Result<(Self, Recovery), OpenError> {
        let directory = held.directory().to_owned();
        let facts = &mut config.settings.facts;
        facts.directory =
            directory.canonicalize().unwrap_or_else(|_| directory.clone()).display().to_string();
        Self::open_storage(Arc::new(held), config).map_err(|source| OpenError::Log { directory, source })
    }

    /// The same on any storage, for tests of what a disk may do.
    ///
    /// # Errors
    /// What is wrong with the log.
    pub fn open_storage(
        storage: Arc<dyn Storage>,
        mut config: Config,
    ) -> Result<(Self, Recovery), cauce_log::OpenError<ReplayError>> {
        config.settings.facts.appendonly = true;
        config.settings.facts.appendfsync = appendfsync(config.sync);
        let mut options = Options::default();
        options.policy = config.sync;
        options.segment_bytes = config.segment_bytes;
        #[cfg(feature = "seeded-faults")]
        {
            options.mutant = config.log_mutant;
        }
        options.threads = config.threads;
        let mut engine = engine(config.settings);
        let files = Files::new(Arc::clone(&storage));
        engine.set_block_files(Box::new(files.clone()));
        if let Some(position) = read_checkpoint(&*storage, |record| engine.restore(record))? {
            engine.restored(Position(position));
            options.from = position + 1;
        }
        let (log, recovery) =
            DiskLog::open(Arc::clone(&storage), options, |_, record| engine.replay(record))?;
        let log = Arc::new(log);
        assert_eq!(engine.position().0, log.state().appended, "positions are the numbers of records");
        let own = Arc::clone(&log);
        let broker = Self::with_log(engine, config.limits, config.clock, log, true);
        assert!(broker.shared.storage.set(Arc::clone(&storage)).is_ok(), "the broker is new");
        let weak = Arc::downgrade(&broker.shared);
        let after_bytes = config.checkpoint_after_bytes;
        let checkpoints = Checkpoints::new(storage, files, own, after_bytes, config.threads, weak);
        assert!(broker.shared.checkpoints.set(checkpoints).is_ok(), "the broker is new");
        Ok((broker, recovery))
    }

    /// Writes a checkpoint of the state as it is now, which the next start begins with, and says how many bytes it has;
    /// 0 if nothing has happened since the last one. Commands go on meanwhile. A broker on a directory does so by itself
    /// when its log has grown. Blocks the calling thread until it is on disk.
    ///
    /// # Errors
    /// [`CheckpointError`]; nothing is lost.
    pub fn checkpoint(&self) -> Result<u64, CheckpointError> {
        self.shared.checkpoints.get().ok_or(CheckpointError::InMemory)?.write(&self.shared)
    }

    /// Writes and syncs what has come, and makes room for what comes next: one turn of what the broker's own threads do.
    /// Blocks the calling thread while the disk works. See [`Config::threads`].
    pub fn work(&self) {
        if let Some(checkpoints) = self.shared.checkpoints.get() {
            checkpoints.work();
        }
    }

    /// What the log is doing.
    #[must_use]
    pub fn log_state(&self) -> LogState {
        self.shared.log.state()
    }

    /// Whether writes are refused because the disk has no room for the log. They are admitted again when it has.
    #[must_use]
    pub fn is_full(&self) -> bool {
        !self.shared.log.admits_writes()
    }

    /// Ends when nothing can become durable any more: the disk has refused a write or a sync of records. Connections
    /// that waited for it are closed by then, without a reply. What the disk holds is known only after a new start, so
    /// the process should end.
    ///
    /// Never ends for a broker in memory. May be dropped at any time.
    pub async fn failed(&self) -> Failure {
        loop {
            self.shared.waiting.failed().await;
            if let Some(failure) = self.shared.log.failure() {
                return failure;
            }
        }
    }
}

/// The policy by Redis's name.
pub(crate) fn appendfsync(policy: SyncPolicy) -> &'static str {
    match policy {
        SyncPolicy::EverySecond => "everysec",
        SyncPolicy::Off => "no",
        _ => "always",
    }
}

/// The log's state as `INFO` shows it.
pub(crate) fn log_gauges(log: &dyn Log) -> LogGauges {
    let state = log.state();
    let mut gauges = LogGauges::default();
    gauges.appended = state.appended;
    gauges.synced = state.synced;
    gauges.waiting_bytes = state.waiting_bytes;
    gauges.segments = state.segments;
    gauges.disk_bytes = state.disk_bytes;
    gauges.syncs = state.syncs;
    gauges.last_sync_micros = state.last_sync_micros;
    gauges.slow_syncs = state.slow_syncs;
    gauges
}
