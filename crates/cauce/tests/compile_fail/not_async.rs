//! A handler is an async function.
use cauce::{Event, Service};
use serde::{Deserialize, Serialize};

#[derive(Event, Serialize, Deserialize)]
#[event(stream = "orders", action = "order.created")]
struct Created {
    order: u32,
}

fn handler(_: Created) {}

fn main() {
    let _ = Service::new("desk").on(handler);
}
