//! The broker in the memory of this process.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use cauce_broker::{Broker, Config};

use super::dial::ByteStream;

/// A broker inside this process; it ends with its last holder.
#[derive(Clone)]
pub(crate) struct Embedded {
    broker: Arc<Broker>,
    #[cfg(feature = "testing")]
    faults: Option<Arc<super::faulty::Faults>>,
}

/// Brokers that several buses of this process may share, by name.
static NAMED: Mutex<BTreeMap<String, Weak<Broker>>> = Mutex::new(BTreeMap::new());

impl Embedded {
    /// A fresh one in memory, or the one that this process knows by that name.
    pub(super) fn named(name: Option<&str>) -> Self {
        let fresh = || Arc::new(Broker::in_memory(Config::default()));
        let Some(name) = name else { return Self::of(fresh()) };
        let mut brokers = NAMED.lock().unwrap_or_else(PoisonError::into_inner);
        brokers.retain(|_, broker| broker.strong_count() > 0);
        if let Some(broker) = brokers.get(name).and_then(Weak::upgrade) {
            return Self::of(broker);
        }
        let broker = fresh();
        brokers.insert(name.to_owned(), Arc::downgrade(&broker));
        Self::of(broker)
    }

    fn of(broker: Arc<Broker>) -> Self {
        Self {
            broker,
            #[cfg(feature = "testing")]
            faults: None,
        }
    }

    #[cfg(feature = "testing")]
    pub(crate) fn simulated(broker: Arc<Broker>, faults: Option<Arc<super::faulty::Faults>>) -> Self {
        Self { broker, faults }
    }

    /// # Errors
    /// Only under the test kit, when it says so.
    #[cfg(not(feature = "testing"))]
    pub(super) fn open(&self) -> std::io::Result<Box<dyn ByteStream>> {
        Ok(Box::new(self.broker.connect()))
    }

    /// # Errors
    /// If the test kit says so.
    #[cfg(feature = "testing")]
    pub(super) fn open(&self) -> std::io::Result<Box<dyn ByteStream>> {
        match &self.faults {
            None => Ok(Box::new(self.broker.connect())),
            Some(faults) if faults.is_down() => Err(std::io::Error::new(
                std::io::ErrorKind::ConnectionRefused,
                "the test kit's broker is down",
            )),
            Some(faults) => Ok(Box::new(super::faulty::FaultyPipe::new(self.broker.connect(), faults))),
        }
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Embedded")
    }
}
