//! Appends events to a stream: kept, whether or not somebody reads now.
//!
//! `cargo run -p cauce --example producer`, with `CAUCE_URL=redis://127.0.0.1:6379` for a server.

mod common;

use cauce::Metadata;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bus = common::connect().await?;
    println!("the broker: {}", bus.broker().await?.durability);

    // One: when this returns, the entry is as durable as the broker is.
    let mut orders = common::orders(10).into_iter();
    let first = orders.next().ok_or("there are ten orders")?;
    let id = bus.publish_with(&first, &Metadata::new().id("order-1")).await?;
    println!("{first:?} is entry {id}");

    // Many: in order, in few round trips.
    let rest: Vec<_> = orders.collect();
    let ids = bus.publish_all(&rest).await?;
    println!("{} more entries", ids.len());

    let stream = bus.inspect().stream("orders").await?.ok_or("the stream was just written")?;
    println!("the stream `orders` holds {} entries", stream.length);
    Ok(())
}
