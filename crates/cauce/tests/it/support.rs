//! What the tests share.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cauce::{Bus, Event};
use serde::{Deserialize, Serialize};

pub(crate) use crate::server::{Server, free_port};

/// Nothing that a test waits for takes this long.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a case of one URL against every target.
macro_rules! on_every_target {
    ($($name:ident),* $(,)?) => {
        mod redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let server = crate::support::Server::start();
                super::$name(&server.url()).await;
            })*
        }

        #[cfg(feature = "embedded")]
        mod memory {
            $(#[tokio::test]
            async fn $name() {
                // Named after the case: it may connect more than once.
                super::$name(concat!("memory:", module_path!(), stringify!($name))).await;
            })*
        }
    };
}
pub(crate) use on_every_target;

pub(crate) async fn connect(url: &str) -> Bus {
    Bus::connect(url).await.unwrap()
}

/// Waits until the condition holds.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    until_async(what, async || condition()).await;
}

pub(crate) async fn until_async(what: &str, condition: impl AsyncFn() -> bool) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("waited in vain until {what}"));
}

pub(crate) async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(stream = "flights", action = "flight.cancelled", key = "flight", channel = "gates")]
pub(crate) struct Cancelled {
    pub(crate) flight: String,
    pub(crate) passengers: u32,
}

impl Cancelled {
    pub(crate) fn numbered(number: u32) -> Self {
        Self { flight: format!("UA {number}"), passengers: number }
    }

    pub(crate) fn series(count: u32) -> Vec<Self> {
        (0..count).map(Self::numbered).collect()
    }
}

#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(stream = "flights", action = "flight.departed", codec = "fields")]
pub(crate) struct Departed {
    pub(crate) flight: String,
    pub(crate) minutes_late: i32,
}

/// What handlers saw, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen<T>(Arc<Mutex<Vec<T>>>);

impl<T: Clone> Seen<T> {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    pub(crate) fn push(&self, item: T) {
        self.0.lock().unwrap().push(item);
    }

    pub(crate) fn all(&self) -> Vec<T> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}
