//! What a handler keeps across an `.await` can move between threads.
use cauce::{Event, Service};
use serde::{Deserialize, Serialize};

#[derive(Event, Serialize, Deserialize)]
#[event(stream = "orders", action = "order.created")]
struct Created {
    order: u32,
}

async fn handler(event: Created) {
    let shared = std::rc::Rc::new(event.order);
    std::future::ready(()).await;
    drop(shared);
}

fn main() {
    let _ = Service::new("desk").on(handler);
}
