//! A service written with the toolkit, that does what the foreign ones do.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cauce::{Bus, Event, HandlerError, Running, Service, Start, State};
use serde::{Deserialize, Serialize};

use crate::server::Server;

/// The entry that the foreign producers write by hand, field by field.
#[derive(Event, Serialize, Deserialize)]
#[event(stream = "streamsKey", action = "action_type", codec = "fields")]
struct Item {
    n: u32,
    key_2: String,
}

/// The numbers that handlers were given.
type Handled = Arc<Mutex<Vec<u32>>>;

/// A running instance of ours. Dropping it is a crash: what it holds stays pending.
#[derive(Debug)]
pub(crate) struct Ours {
    running: Running,
    handled: Handled,
}

impl Ours {
    /// Starts an instance that takes over entries that another consumer has held for `abandoned`.
    pub(crate) async fn start(bus: &Bus, group: &str, abandoned: Duration) -> Ours {
        Ours::start_with(bus, group, abandoned, handle).await
    }

    /// Starts an instance whose handlers never end.
    pub(crate) async fn start_hanging(bus: &Bus, group: &str) -> Ours {
        Ours::start_with(bus, group, Duration::from_secs(60), hang).await
    }

    async fn start_with<H, A>(bus: &Bus, group: &str, abandoned: Duration, handler: H) -> Ours
    where
        H: cauce::Handler<A, Output: cauce::IntoOutcome, Future: Send>,
        A: cauce::Arguments<Handled>,
    {
        let handled = Handled::default();
        let service = Service::new(group).start_at(Start::Beginning).reclaim_after(abandoned);
        let service = service.state(Arc::clone(&handled)).on(handler);
        let running = service.start(bus).await.expect("the group can be made");
        Ours { running, handled }
    }

    pub(crate) fn count(&self) -> usize {
        self.handled.lock().expect("no handler panics").len()
    }

    /// Ends it in order and returns what it handled.
    pub(crate) async fn stop(self) -> Vec<u32> {
        self.running.stop().await;
        std::mem::take(&mut self.handled.lock().expect("no handler panics"))
    }
}

async fn handle(item: Item, State(handled): State<Handled>) -> Result<(), HandlerError> {
    handled.lock().expect("no handler panics").push(item.n);
    Ok(())
}

async fn hang(item: Item, State(handled): State<Handled>) -> Result<(), HandlerError> {
    handled.lock().expect("no handler panics").push(item.n);
    std::future::pending().await
}

/// Publishes entries numbered from `first`, readable by whoever reads those written by hand.
pub(crate) async fn produce(bus: &Bus, first: u32, count: u32) {
    let items: Vec<_> = (first..first + count).map(|n| Item { n, key_2: "value_2".into() }).collect();
    bus.publish_all(&items).await.expect("the server takes them");
}

pub(crate) async fn connect(server: &Server) -> Bus {
    Bus::connect(&server.url()).await.expect("the server listens")
}
