//! Consumes a stream at least once: acknowledged when handled, tried again when failed, taken over when its consumer dies.
//!
//! `cargo run -p cauce --example consumer`, with `CAUCE_URL=redis://127.0.0.1:6379` for a server.

mod common;

use std::time::Duration;

use cauce::{Delivery, EntryId, HandlerError, Retry, Service};
use common::OrderCreated;

async fn ship(event: OrderCreated, delivery: Delivery) -> Result<(), HandlerError> {
    match event.order {
        // Fails once: it is tried again.
        2 if delivery.attempt == 1 => Err(HandlerError::failed("the printer is out of paper")),
        // Can never succeed: it is a dead letter, and the others go on.
        3 => Err(HandlerError::reject("no such product")),
        _ => {
            println!("shipped order {}, attempt {}", event.order, delivery.attempt);
            Ok(())
        }
    }
}

/// Takes entries, and then never says anything again, as a process that hangs or was killed.
async fn hang(_: OrderCreated) {
    std::future::pending::<()>().await;
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bus = common::connect().await?;
    let shipping = || Service::new("shipping").reclaim_after(Duration::from_millis(500));
    let victim = shipping().on(hang).start(&bus).await?;
    if common::alone() {
        bus.publish_all(&common::orders(5)).await?;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    println!("an instance holds {} entries and dies", victim.held());
    drop(victim);

    let retry = Retry::exponential(Duration::from_millis(50)..Duration::from_secs(1)).max_attempts(5);
    let running = shipping().on(ship).retry(retry).start(&bus).await?;
    common::for_a_while().await;
    println!("{}", running.stop().await);
    for letter in bus.inspect().dead_letters("orders", EntryId::ZERO, 10).await? {
        println!(
            "dead letter: entry {} {} after {} attempts: {}",
            letter.entry, letter.reason, letter.attempts, letter.error
        );
    }
    Ok(())
}
