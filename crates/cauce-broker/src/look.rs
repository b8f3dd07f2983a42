//! A directory's state without holding the directory.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use cauce_engine::{Engine, Position, ReplayError, Settings};
use cauce_log::{
    DirectoryError, LogEnd, MemoryLog, ReadOnlyStorage, Storage, StorageFile, checkpoint_files, inspect,
    look_at_checkpoint, while_unchanged,
};

use crate::blocks::Files;
use crate::broker::{Broker, engine};
use crate::config::Config;
use crate::durable::OpenError;

impl Broker {
    /// A broker in memory with the state of a directory, which is only read: another process may hold it and write to it.
    /// Everything is in it that had been written there when this was called; what comes later is not. Whatever happens to
    /// this broker, the directory stays as it is.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn read(directory: &Path, config: &Config) -> Result<Self, OpenError> {
        let storage = ReadOnlyStorage::open(directory)
            .map_err(|source| DirectoryError::Refused { directory: directory.to_owned(), source })?;
        let state = while_unchanged(&storage, || load(directory, config.settings.clone()));
        let state = state.map_err(|source| OpenError::Log { directory: directory.to_owned(), source })?;
        Ok(Self::with_log(state, config.limits, config.clock, Arc::new(MemoryLog::new()), false))
    }
}

/// A directory to read, with the files open that its checkpoint names: they can be read even when they are let go.
#[derive(Debug)]
struct Pinned {
    storage: ReadOnlyStorage,
    files: HashMap<String, Arc<dyn StorageFile>>,
}

impl Pinned {
    fn open(directory: &Path) -> io::Result<Self> {
        let storage = ReadOnlyStorage::open(directory)?;
        let named = checkpoint_files(&storage)?;
        let files = named.into_iter().map(|name| Ok((name.clone(), storage.open(&name)?)));
        let files = files.collect::<io::Result<_>>()?;
        Ok(Self { storage, files })
    }
}

impl Storage for Pinned {
    fn create(&self, name: &str, size: u64) -> io::Result<Arc<dyn StorageFile>> {
        self.storage.create(name, size)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        self.files.get(name).map_or_else(|| self.storage.open(name), |file| Ok(Arc::clone(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.storage.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.storage.remove(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.storage.list()
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.storage.sync_directory()
    }
}

fn load(directory: &Path, settings: Settings) -> Result<Engine, cauce_log::OpenError<ReplayError>> {
    let pinned = Pinned::open(directory).map_err(|source| cauce_log::OpenError::Io {
        action: "open",
        file: "the checkpoint".to_owned(),
        source,
    })?;
    let storage: Arc<dyn Storage> = Arc::new(pinned);
    let mut engine = engine(settings);
    engine.set_block_files(Box::new(Files::new(Arc::clone(&storage))));
    let storage = &*storage;
    let mut needed = 1;
    if let Some(position) = look_at_checkpoint(storage, |record| engine.restore(record))? {
        engine.restored(Position(position));
        needed = position + 1;
    }
    let inspection = inspect(storage, needed, |placed| {
        if placed.number >= needed && placed.number == engine.position().0 + 1 {
            engine.replay(placed.bytes)
        } else {
            Ok(())
        }
    })?;
    match inspection.segments.first().map(|segment| segment.first) {
        Some(first) if first > needed => return Err(cauce_log::OpenError::Missing { needed, first }),
        None if needed > 1 => return Err(cauce_log::OpenError::Missing { needed, first: 1 }),
        _ => {}
    }
    match inspection.end {
        LogEnd::Damaged(damage, _) => Err(cauce_log::OpenError::Damaged(damage)),
        _ => Ok(engine),
    }
}
