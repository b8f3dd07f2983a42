//! What a log that has failed is still good for: reads of what is known to be on disk.

use std::sync::Arc;

use cauce_engine::{Position, ReplayError};
use cauce_log::{
    Batch, DiskLog, Failure, FrozenStorage, Log, LogListener, LogState, Options, Storage, Threads,
    read_checkpoint,
};

use crate::blocks::Files;
use crate::broker::{Broker, engine};
use crate::config::Config;
use crate::durable::appendfsync;

/// What is left of a broker whose log has failed. Holds its directory.
#[derive(Debug)]
pub struct Remains {
    storage: Arc<dyn Storage>,
    failure: Failure,
    state: LogState,
}

/// What is left cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemainsError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] cauce_log::OpenError<ReplayError>),
    /// The disk has lost what it had confirmed.
    #[error(
        "the disk had confirmed all records up to {confirmed}, and those behind {last} cannot be read any more"
    )]
    Lost {
        /// The last record that was synced.
        confirmed: u64,
        /// The last one that is there.
        last: u64,
    },
}

impl Broker {
    /// What can still be read after the log has [failed](Broker::failed); none before that, or of a broker in memory. Drop
    /// the broker before you read it, so that its memory is free.
    #[must_use]
    pub fn remains(&self) -> Option<Remains> {
        let failure = self.shared.log.failure()?;
        let storage = self.shared.storage.get()?;
        Some(Remains { storage: Arc::clone(storage), failure, state: self.shared.log.state() })
    }
}

impl Remains {
    /// Number of the last record that is known to be on disk.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.state.synced
    }

    /// Reads the state up to the last record that is known to be on disk; what lies behind it was never confirmed under
    /// [`SyncPolicy::Always`](crate::SyncPolicy::Always). The broker answers commands that read, and those that need no data, as `PING` and `INFO`;
    /// every other one is refused with `MISCONF`. Nothing is written to the disk any more.
    ///
    /// # Errors
    /// [`RemainsError`]
    pub fn read(self, mut config: Config) -> Result<Broker, RemainsError> {
        let facts = &mut config.settings.facts;
        facts.appendonly = true;
        facts.appendfsync = appendfsync(config.sync);
        facts.log_failure = self.failure.to_string();
        let storage: Arc<dyn Storage> = Arc::new(FrozenStorage::new(Arc::clone(&self.storage)));
        let mut options = Options::default();
        options.threads = Threads::Caller;
        let mut engine = engine(config.settings);
        engine.set_block_files(Box::new(Files::new(Arc::clone(&storage))));
        if let Some(position) = read_checkpoint(&*storage, |record| engine.restore(record))? {
            engine.restored(Position(position));
            options.from = position + 1;
        }
        let confirmed = self.position();
        let up_to_there =
            |number, record: &[u8]| if number <= confirmed { engine.replay(record) } else { Ok(()) };
        let (log, _) = DiskLog::open(storage, options, up_to_there)?;
        drop(log);
        let last = engine.position().0;
        if last < confirmed {
            return Err(RemainsError::Lost { confirmed, last });
        }
        Ok(Broker::with_log(engine, config.limits, config.clock, Arc::new(Failed(self)), false))
    }
}

/// A log that takes nothing any more. What is read from it is safe.
#[derive(Debug)]
struct Failed(Remains);

impl Log for Failed {
    fn append(&self, _fill: &mut dyn FnMut(&mut Batch)) {}

    fn durable(&self) -> u64 {
        u64::MAX
    }

    fn failure(&self) -> Option<Failure> {
        Some(self.0.failure.clone())
    }

    fn state(&self) -> LogState {
        self.0.state
    }

    fn listen(&self, _listener: LogListener) {}
}
