//! Asks a service and waits for its reply, which comes even if the first attempt failed.
//!
//! `cargo run -p cauce --example request_reply`, with `CAUCE_URL=redis://127.0.0.1:6379` for a server.

mod common;

use std::time::Duration;

use cauce::{Delivery, Event, HandlerError, Json, Reply, Request, Retry, Service};
use serde::{Deserialize, Serialize};

#[derive(Event, Serialize, Deserialize)]
#[event(stream = "fares", action = "fare.asked", key = "flight")]
struct AskFare {
    flight: String,
}

impl Request for AskFare {
    type Reply = Json<u64>;
}

async fn fare(event: AskFare, delivery: Delivery) -> Result<Reply<Json<u64>>, HandlerError> {
    if delivery.attempt == 1 {
        return Err(HandlerError::failed("the tariff is being loaded"));
    }
    Ok(Reply(Json(100 * event.flight.len() as u64)))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bus = common::connect().await?;
    let service = Service::new("fares").on(fare).retry(Retry::fixed(Duration::from_millis(50)));
    let running = service.start(&bus).await?;
    let reply = bus.request(&AskFare { flight: "UA 1".to_owned() }, Duration::from_secs(5)).await?;
    println!("the fare is {}", reply.0);
    println!("{}", running.stop().await);
    Ok(())
}
