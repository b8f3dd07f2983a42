//! Publishes on a channel: every subscriber that is connected now gets the message; nobody else ever does.
//!
//! `cargo run -p cauce --example publisher`, with `CAUCE_URL=redis://127.0.0.1:6379` for a server.

mod common;

use common::PriceChanged;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bus = common::connect().await?;
    for cents in [999, 899, 799] {
        let event = PriceChanged { product: "tea".to_owned(), cents };
        let subscribers = bus.broadcast(&event).await?;
        println!("{event:?} went to {subscribers} subscribers");
    }
    Ok(())
}
