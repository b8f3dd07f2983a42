//! Tests of your own services, without a server and without waiting: the broker inside the test, time that jumps, and chaos by seed.
//!
//! [`run`] gives a test a [`Kit`]: a broker of its own, on a runtime whose time stands still while anything has something to do and jumps to
//! the next timer when nothing has. A retry in five minutes takes microseconds, and two runs of a test are equal: ids, names, jitter and the
//! clock of the broker come from a seed.
//!
//! ```
//! use std::time::Duration;
//!
//! use cauce::{Delivery, Event, HandlerError, Retry, Service};
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Event, Serialize, Deserialize)]
//! # #[event(stream = "orders", action = "order.created", key = "order")]
//! # struct Created { order: u32 }
//! async fn ship(event: Created, delivery: Delivery) -> Result<(), HandlerError> {
//!     if delivery.attempt == 1 { Err(HandlerError::failed("no paper")) } else { Ok(()) }
//! }
//!
//! cauce::testing::run(async |kit| {
//!     let service = Service::new("shipping").on(ship).retry(Retry::fixed(Duration::from_secs(300)));
//!     let shipping = service.start(kit.bus()).await.unwrap();
//!     kit.bus().publish(&Created { order: 7 }).await.unwrap();
//!     kit.settled().await;
//!     assert_eq!((shipping.report().handled, shipping.report().retried), (1, 1));
//!     assert!(kit.elapsed() >= Duration::from_secs(300));
//! });
//! ```
//!
//! [`Chaos`] runs a service under what production will do to it, and says with which seed it broke.

mod chaos;
mod director;
mod story;

pub use chaos::{Chaos, ChaosFailure};

use std::sync::Arc;
use std::time::Duration;

use cauce_broker::{Broker, ClockSource, Config};

use crate::backend::connection::Endpoint;
use crate::backend::embedded::Embedded;
use crate::backend::faulty::Faults;
use crate::bus::Bus;
use crate::entry::EntryId;
use crate::error::CommandError;
use crate::event::Event;
use crate::inspect::DeadLetter;
use crate::partition;
use crate::simulated::kit::{self, Simulation};

/// How long [`Kit::settled`] waits, by the virtual clock, before it says what is left.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);
/// How soon it looks again at first; later, after a fiftieth of the time that it has waited.
const LOOK: Duration = Duration::from_millis(10);
/// Entries that one question asks for.
const PAGE: usize = 1_000;

/// Runs a test with a broker of its own and paused time, always with the same seed.
///
/// # Panics
/// If the test does, and inside of another runtime: call it from a plain `#[test]` function.
pub fn run<T>(test: impl AsyncFnOnce(&Kit) -> T) -> T {
    run_with_seed(0, test)
}

/// As [`run`], with a seed: ids, names and jitter are drawn from it, and so is what the test itself draws with the crate `fastrand`.
///
/// # Panics
/// As [`run`].
pub fn run_with_seed<T>(seed: u64, test: impl AsyncFnOnce(&Kit) -> T) -> T {
    simulate(seed, async || test(&Kit::new().await).await)
}

/// Runs a future on a runtime of its own whose time is paused, with everything random drawn from the seed.
fn simulate<T>(seed: u64, test: impl AsyncFnOnce() -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("the system gives a test a runtime");
    runtime.block_on(async {
        let _simulation = Simulation::begin(seed);
        test().await
    })
}

/// A broker in memory whose clock is the simulation's.
fn broker() -> Arc<Broker> {
    let mut config = Config::default();
    config.clock = ClockSource::RuntimeFrom(kit::BEGIN + kit::elapsed().unwrap_or_default());
    Arc::new(Broker::in_memory(config))
}

async fn connect(broker: &Arc<Broker>, faults: Option<Arc<Faults>>) -> Bus {
    let embedded = Embedded::simulated(Arc::clone(broker), faults);
    Bus::open(Endpoint::simulated(embedded))
        .await
        .expect("a broker in memory takes connections")
        .with_source("kit")
}

/// A broker of the test's own, and what happened on it.
#[derive(Debug)]
pub struct Kit {
    bus: Bus,
}

impl Kit {
    async fn new() -> Self {
        Self { bus: connect(&broker(), None).await }
    }

    /// A bus on the broker.
    #[must_use]
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// How much virtual time has passed since the test began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        kit::elapsed().unwrap_or_default()
    }

    /// Lets virtual time pass; what is due meanwhile happens.
    pub async fn advance(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Waits until every service and worker on [`bus`](Self::bus) has dealt with everything: nothing is held, nothing waits for a retry, no
    /// group has entries before it.
    ///
    /// # Panics
    /// If that has not come about after a virtual day, saying what is left.
    pub async fn settled(&self) {
        let began = tokio::time::Instant::now();
        loop {
            let left = left(&self.bus, &self.bus).await.unwrap_or_else(|error| error.to_string());
            if left.is_empty() {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "after {PATIENCE:?} there are still {left}");
            tokio::time::sleep(LOOK.max(began.elapsed() / 50)).await;
        }
    }

    /// All events of this kind that the stream holds, in the order of their ids; of a partitioned stream, those of all partitions.
    ///
    /// # Panics
    /// If the broker can't be asked, or an entry is not such an event.
    pub async fn published<E: Event>(&self) -> Vec<E> {
        let mut events = Vec::new();
        for stream in self.streams(E::STREAM).await {
            let mut after = EntryId::ZERO;
            loop {
                let entries =
                    self.bus.inspect().entries(&stream, after, PAGE).await.expect("the stream is read");
                let Some(last) = entries.last() else { break };
                after = last.id;
                for entry in entries.iter().filter(|entry| entry.fields.text("action") == Some(E::ACTION)) {
                    let event = E::decode(&entry.fields);
                    let event =
                        event.unwrap_or_else(|error| panic!("entry {} of {stream}: {error}", entry.id));
                    events.push((entry.id, event));
                }
            }
        }
        events.sort_by_key(|(id, _)| *id);
        events.into_iter().map(|(_, event)| event).collect()
    }

    /// The dead letters of a stream, of all its groups; of a partitioned stream, of all partitions.
    ///
    /// # Panics
    /// If the broker can't be asked.
    pub async fn dead_letters(&self, stream: &str) -> Vec<DeadLetter> {
        let mut letters = Vec::new();
        for stream in self.streams(stream).await {
            let some = self.bus.inspect().dead_letters(&stream, EntryId::ZERO, PAGE).await;
            letters.append(&mut some.expect("the dead letters are read"));
        }
        letters
    }

    /// The stream, or its partitions if it has some.
    async fn streams(&self, stream: &str) -> Vec<String> {
        let streams = partition::streams(self.bus.link(), stream).await.expect("the broker is asked");
        streams.into_iter().map(|(_, stream)| stream).collect()
    }
}

/// What the services on `running` have not dealt with yet, by what the broker tells `asking`; empty if nothing.
///
/// # Errors
/// If the broker can't be asked.
async fn left(running: &Bus, asking: &Bus) -> Result<String, CommandError> {
    let mut left = Vec::new();
    for (stream, group) in running.registry().groups() {
        for info in asking.inspect().groups(&stream).await? {
            if info.name != *group {
                continue;
            }
            if info.pending > 0 {
                left.push(format!("{} unacknowledged entries of {stream} in {group}", info.pending));
            }
            let last = asking.inspect().stream(&stream).await?.map(|info| info.last_id);
            if last.is_some_and(|last| last > info.last_delivered) {
                left.push(format!("entries of {stream} that {group} was not given"));
            }
        }
    }
    let held = running.registry().held();
    if held > 0 && left.is_empty() {
        left.push(format!("{held} that are being settled"));
    }
    Ok(left.join(", "))
}
