//! The broker inside this process.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use cauce_broker::{Broker, ClockSource, Config, DirectoryError, OpenError};
use tokio::io::DuplexStream;

use crate::error::ConnectError;

/// How long a directory is waited for that this process itself is just leaving.
const LEAVING_MAX: Duration = Duration::from_secs(5);
const LEAVING_POLL: Duration = Duration::from_millis(5);

/// A broker inside this process; it ends with its last holder.
#[derive(Clone)]
pub(crate) struct Embedded(Arc<Broker>);

/// Brokers that several buses of this process may share, by name.
struct Shared<K>(Mutex<BTreeMap<K, Weak<Broker>>>);

impl<K: Ord> Shared<K> {
    const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    /// The broker of that name, or a new one.
    fn find<E>(&self, name: K, new: impl FnOnce() -> Result<Broker, E>) -> Result<Arc<Broker>, E> {
        let mut brokers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        brokers.retain(|_, broker| broker.strong_count() > 0);
        if let Some(broker) = brokers.get(&name).and_then(Weak::upgrade) {
            return Ok(broker);
        }
        let broker = Arc::new(new()?);
        brokers.insert(name, Arc::downgrade(&broker));
        Ok(broker)
    }
}

impl Embedded {
    /// A fresh one in memory, or the one that this process knows by that name.
    pub(super) fn named(name: Option<&str>) -> Self {
        static NAMED: Shared<String> = Shared::new();
        let fresh = || Ok::<_, Infallible>(Broker::in_memory(Config::default()));
        let Ok(broker) = match name {
            Some(name) => NAMED.find(name.to_owned(), fresh),
            None => fresh().map(Arc::new),
        };
        Self(broker)
    }

    /// The one of a directory. One process has it at a time.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub(super) fn in_directory(path: &Path) -> Result<Self, ConnectError> {
        static OPENED: Shared<PathBuf> = Shared::new();
        let failed = |problem: &dyn fmt::Display| ConnectError::Directory { problem: problem.to_string() };
        std::fs::create_dir_all(path)
            .map_err(|error| failed(&format_args!("cannot make {}: {error}", path.display())))?;
        let canonical = path.canonicalize().map_err(|error| failed(&error))?;
        let broker = OPENED.find(canonical, || open_when_left(path)).map_err(|error| failed(&error))?;
        Ok(Self(broker))
    }

    pub(super) fn open(&self) -> DuplexStream {
        self.0.connect()
    }
}

/// Opens a directory. The last connections of an earlier broker of this process may still be ending.
fn open_when_left(path: &Path) -> Result<Broker, OpenError> {
    let began = Instant::now();
    loop {
        let mut config = Config::default();
        config.clock = ClockSource::System;
        match Broker::open(path, config) {
            Err(OpenError::Directory(DirectoryError::Held { holder, .. }))
                if holder == Some(std::process::id()) && began.elapsed() < LEAVING_MAX =>
            {
                std::thread::sleep(LEAVING_POLL);
            }
            opened => return opened.map(|(broker, _)| broker),
        }
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Embedded")
    }
}
