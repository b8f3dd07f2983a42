//! The state is given before the handlers that take it.
use cauce::{Event, Service, State};
use serde::{Deserialize, Serialize};

#[derive(Event, Serialize, Deserialize)]
#[event(stream = "orders", action = "order.created")]
struct Created {
    order: u32,
}

#[derive(Clone)]
struct Desk;

async fn handler(_: Created, _: State<Desk>) {}

fn main() {
    let _ = Service::new("desk").on(handler);
}
