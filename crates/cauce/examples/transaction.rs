//! Effects that happen once: a balance that is changed, an event that is published and the acknowledgement are one step at the broker, and an event
//! that comes twice is handled once.
//!
//! `cargo run -p cauce --example transaction`, with `CAUCE_URL=redis://127.0.0.1:6379` for a server.

mod common;

use std::time::Duration;

use cauce::{Delivery, Event, HandlerError, Metadata, Service, Transaction};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(stream = "{bank}:deposits", action = "deposit.made")]
struct Deposit {
    account: String,
    cents: i64,
}

#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(stream = "{bank}:booked", action = "deposit.booked")]
struct Booked {
    account: String,
}

async fn book(event: Deposit, delivery: Delivery, transaction: Transaction) -> Result<(), HandlerError> {
    transaction.hincr_by("{bank}:balances", event.account.as_str(), event.cents)?;
    transaction.publish(&Booked { account: event.account })?;
    if delivery.attempt == 1 {
        // Nothing of the above happens: neither the balance nor the event.
        return Err(HandlerError::retry_in(Duration::from_millis(50)));
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bus = common::connect().await?;
    let books = Service::new("books").on(book).inbox(Duration::from_secs(86_400)).start(&bus).await?;
    let receipts = Service::new("receipts")
        .on(async |event: Booked| println!("a receipt for {}", event.account))
        .start(&bus)
        .await?;
    let deposit = Deposit { account: "ada".to_owned(), cents: 500 };
    // An id of the publisher's own: however often it is published, by whomever, it is one event.
    for _ in 0..3 {
        bus.publish_with(&deposit, &Metadata::new().id("deposit-1")).await?;
    }
    common::for_a_while().await;
    println!("books: {}", books.stop().await);
    println!("receipts: {}", receipts.stop().await);
    Ok(())
}
