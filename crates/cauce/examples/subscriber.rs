//! Subscribes to a channel and to a pattern; a slow reader and a lost connection are told apart from silence.
//!
//! `cargo run -p cauce --example subscriber`, with `CAUCE_URL=redis://127.0.0.1:6379` for a server.

mod common;

use cauce::Received;
use common::PriceChanged;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bus = common::connect().await?;
    let mut prices = bus.subscribe::<PriceChanged>(["prices"]).await?;
    let mut everything = bus.psubscribe::<String>(["*"]).await?;
    if common::alone() {
        bus.broadcast(&PriceChanged { product: "tea".to_owned(), cents: 999 }).await?;
        bus.channel("news").publish(&"plain text".to_owned()).await?;
    }
    let end = common::for_a_while();
    tokio::pin!(end);
    loop {
        tokio::select! {
            () = &mut end => return Ok(()),
            received = prices.next() => match received {
                Received::Message { channel, body } => println!("{channel}: {body:?}"),
                Received::Missed(count) => println!("too slow: {count} messages were dropped"),
                Received::Reconnected => println!("the connection was lost; messages may be missing here"),
                other => println!("{other:?}"),
            },
            received = everything.next() => println!("pattern *: {received:?}"),
        }
    }
}
