//! The ways to consume, with handlers that write down what they did.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cauce::{Batch, Bus, Delivery, Event, HandlerError, Retry, Running, Service, State};
use serde::{Deserialize, Serialize};

pub(crate) const LEASE: Duration = Duration::from_millis(400);
pub(crate) const KEYS: u32 = 20;
pub(crate) const STEPS: u32 = 30;
/// The step of key 0 that no handler can do.
pub(crate) const POISON: u32 = 5;

/// How a service consumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mode {
    NoAck,
    Ack,
    Batch,
    Ordered,
    Partitioned,
}

impl Mode {
    pub(crate) const ALL: [Self; 5] = [Self::NoAck, Self::Ack, Self::Batch, Self::Ordered, Self::Partitioned];

    pub(crate) fn keeps_order(self) -> bool {
        matches!(self, Self::Ordered | Self::Partitioned)
    }
}

#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(stream = "steps", action = "step.taken", key = "who")]
struct Step {
    who: String,
    step: u32,
}

#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(stream = "paths", action = "step.taken", key = "who", partitions = 4)]
struct PathStep {
    who: String,
    step: u32,
}

/// What is done on one stream in one test.
#[derive(Clone, Debug, Default)]
pub(crate) struct Book(Arc<Mutex<Pages>>);

#[derive(Debug, Default)]
struct Pages {
    done: Vec<(String, u32)>,
    /// Steps that take long, and the one that fails for ever.
    slow: bool,
    poison: bool,
}

impl Book {
    pub(crate) fn new(slow: bool, poison: bool) -> Self {
        Self(Arc::new(Mutex::new(Pages { done: Vec::new(), slow, poison })))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().done.len()
    }

    pub(crate) fn distinct(&self) -> BTreeSet<(String, u32)> {
        self.0.lock().unwrap().done.iter().cloned().collect()
    }

    /// Each key's steps, in the order in which they were done.
    pub(crate) fn by_key(&self) -> BTreeMap<String, Vec<u32>> {
        let mut keys: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for (who, step) in self.0.lock().unwrap().done.clone() {
            keys.entry(who).or_default().push(step);
        }
        keys
    }

    async fn take(&self, who: &str, step: u32, attempt: u32) -> Result<(), HandlerError> {
        let (slow, poison) = {
            let pages = self.0.lock().unwrap();
            (pages.slow && step == 3 && who.ends_with('7'), pages.poison && step == POISON && who == "key 0")
        };
        tokio::time::sleep(if slow { LEASE * 3 } else { Duration::from_micros(300) }).await;
        if poison {
            return Err(HandlerError::failed("poison"));
        }
        if attempt == 1 && step % 10 == 4 {
            return Err(HandlerError::failed("not yet"));
        }
        self.0.lock().unwrap().done.push((who.to_owned(), step));
        Ok(())
    }
}

/// Attempts of a failing step.
pub(crate) const ATTEMPTS: u32 = 12;

async fn one(event: Step, delivery: Delivery, State(book): State<Book>) -> Result<(), HandlerError> {
    book.take(&event.who, event.step, delivery.attempt).await
}

/// Nothing is tried again: the first attempt has to do.
async fn once(event: Step, State(book): State<Book>) -> Result<(), HandlerError> {
    book.take(&event.who, event.step, 2).await
}

async fn many(batch: Batch<Step>, State(book): State<Book>) -> Vec<Result<(), HandlerError>> {
    let mut outcomes = Vec::new();
    for (event, delivery) in batch {
        outcomes.push(book.take(&event.who, event.step, delivery.attempt).await);
    }
    outcomes
}

async fn on_path(event: PathStep, delivery: Delivery, State(book): State<Book>) -> Result<(), HandlerError> {
    book.take(&event.who, event.step, delivery.attempt).await
}

pub(crate) async fn start(mode: Mode, bus: &Bus, book: &Book) -> Running {
    let retry = Retry::fixed(Duration::from_millis(20)).max_attempts(ATTEMPTS);
    let service = Service::new("desk").state(book.clone()).retry(retry).reclaim_after(LEASE);
    let service = match mode {
        Mode::NoAck => service.on(once).no_ack(),
        Mode::Ack => service.on(one),
        Mode::Batch => service.on_batch(10, Duration::from_millis(2), many),
        Mode::Ordered => service.on(one).ordered_by_key(1_000),
        Mode::Partitioned => service.on(on_path),
    };
    service.start(bus).await.unwrap()
}

/// The streams that the mode reads.
pub(crate) fn streams(mode: Mode) -> Vec<String> {
    match mode {
        Mode::Partitioned => (0..4).map(|number| cauce::partition_stream("paths", number)).collect(),
        _ => vec!["steps".to_owned()],
    }
}

/// Publishes some steps, and again what was not confirmed.
pub(crate) async fn publish(mode: Mode, bus: &Bus, steps: &[(u32, u32)]) {
    let who = |key: u32| format!("key {key}");
    match mode {
        Mode::Partitioned => {
            let events = steps.iter().map(|(key, step)| PathStep { who: who(*key), step: *step });
            publish_all(bus, events.collect()).await;
        }
        _ => {
            let events = steps.iter().map(|(key, step)| Step { who: who(*key), step: *step });
            publish_all(bus, events.collect()).await;
        }
    }
}

async fn publish_all<E: Event>(bus: &Bus, events: Vec<E>) {
    let mut rest = &events[..];
    while let Err(error) = bus.publish_all(rest).await {
        rest = &rest[error.confirmed.len()..];
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
