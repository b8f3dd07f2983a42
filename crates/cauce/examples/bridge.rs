//! Prices on a channel become entries of a stream, and orders on a stream become messages of a queue.
//!
//! `cargo run -p cauce --example bridge`, with `CAUCE_URL=redis://127.0.0.1:6379` for a server.

mod common;

use cauce::{Bridge, Event as _, QueueOptions};
use common::{OrderCreated, PriceChanged};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bus = common::connect().await?;
    let queue = bus.queues().ensure("packing", &QueueOptions::new()).await?;
    let log =
        Bridge::channel_to_stream("price-log", PriceChanged::CHANNEL, "prices").action(PriceChanged::ACTION);
    let log = log.start(&bus).await?;
    let jobs = Bridge::stream_to_queue("packing", "orders", &queue)
        .actions([OrderCreated::ACTION])
        .start(&bus)
        .await?;
    // What is published on a channel before anybody listens is lost.
    while bus.broadcast(&PriceChanged { product: "tea".to_owned(), cents: 300 }).await? == 0 {
        tokio::task::yield_now().await;
    }
    bus.publish_all(&common::orders(3)).await?;
    common::for_a_while().await;
    while let Some(message) = queue.pop().await? {
        println!("to be packed: {}", message.text());
    }
    println!("from the channel: {}; from the stream: {}", log.stop().await, jobs.stop().await);
    Ok(())
}
