//! After the event come extractors.
use cauce::{Event, Service};
use serde::{Deserialize, Serialize};

#[derive(Event, Serialize, Deserialize)]
#[event(stream = "orders", action = "order.created")]
struct Created {
    order: u32,
}

async fn handler(_: Created, _: u32) {}

fn main() {
    let _ = Service::new("desk").on(handler);
}
