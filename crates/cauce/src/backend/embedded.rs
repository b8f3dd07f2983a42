//! The broker in the memory of this process.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use cauce_broker::{Broker, Config};
use tokio::io::DuplexStream;

/// A broker inside this process; it ends with its last holder.
#[derive(Clone)]
pub(crate) struct Embedded(Arc<Broker>);

/// Brokers that several buses of this process may share, by name.
static NAMED: Mutex<BTreeMap<String, Weak<Broker>>> = Mutex::new(BTreeMap::new());

impl Embedded {
    /// A fresh one in memory, or the one that this process knows by that name.
    pub(super) fn named(name: Option<&str>) -> Self {
        let fresh = || Arc::new(Broker::in_memory(Config::default()));
        let Some(name) = name else { return Self(fresh()) };
        let mut brokers = NAMED.lock().unwrap_or_else(PoisonError::into_inner);
        brokers.retain(|_, broker| broker.strong_count() > 0);
        if let Some(broker) = brokers.get(name).and_then(Weak::upgrade) {
            return Self(broker);
        }
        let broker = fresh();
        brokers.insert(name.to_owned(), Arc::downgrade(&broker));
        Self(broker)
    }

    pub(super) fn open(&self) -> DuplexStream {
        self.0.connect()
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Embedded")
    }
}
