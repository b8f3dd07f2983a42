//! Consumes a stream without acknowledging: at most once. An entry counts as done when it is read, so a crash loses what was read and
//! not handled. For readings and displays, where the next one is as good.
//!
//! `cargo run -p cauce --example consumer_noack`, with `CAUCE_URL=redis://127.0.0.1:6379` for a server.

mod common;

use cauce::{Delivery, Service};
use common::OrderCreated;

async fn show(event: OrderCreated, delivery: Delivery) {
    println!("{}: {event:?}", delivery.id);
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bus = common::connect().await?;
    let running = Service::new("display").on(show).no_ack().start(&bus).await?;
    if common::alone() {
        bus.publish_all(&common::orders(5)).await?;
    }
    common::for_a_while().await;
    println!("{}", running.stop().await);
    Ok(())
}
