//! The broker inside this process.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use cauce_broker::{Broker, Config};
use tokio::io::DuplexStream;

/// A broker inside this process; it ends with its last holder.
#[derive(Clone)]
pub(crate) struct Embedded(Arc<Broker>);

impl Embedded {
    /// A fresh one, or the one that this process knows by that name.
    pub(super) fn named(name: Option<&str>) -> Self {
        static NAMED: Mutex<Option<HashMap<String, Weak<Broker>>>> = Mutex::new(None);
        let fresh = || Arc::new(Broker::in_memory(Config::default()));
        let Some(name) = name else { return Self(fresh()) };
        let mut named = NAMED.lock().unwrap_or_else(PoisonError::into_inner);
        let named = named.get_or_insert_default();
        named.retain(|_, broker| broker.strong_count() > 0);
        let found = named.get(name).and_then(Weak::upgrade);
        Self(found.unwrap_or_else(|| {
            let broker = fresh();
            named.insert(name.to_owned(), Arc::downgrade(&broker));
            broker
        }))
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
