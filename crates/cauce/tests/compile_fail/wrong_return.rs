//! A handler returns nothing, or a result whose error says something.
use cauce::{Event, Service};
use serde::{Deserialize, Serialize};

#[derive(Event, Serialize, Deserialize)]
#[event(stream = "orders", action = "order.created")]
struct Created {
    order: u32,
}

async fn handler(event: Created) -> u32 {
    event.order
}

fn main() {
    let _ = Service::new("desk").on(handler);
}
