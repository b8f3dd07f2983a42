//! What the examples share: where the broker is, how long they run, and their events.
#![allow(dead_code, unreachable_pub, reason = "every example uses a part of it")]

use std::time::Duration;

use cauce::{Bus, Event};
use serde::{Deserialize, Serialize};

/// A stream entry with one field per value, as a ten-line script in any language writes and reads it.
#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(stream = "orders", action = "order.created", key = "order", codec = "fields")]
pub struct OrderCreated {
    pub order: u32,
    pub customer: String,
}

#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(stream = "payments", action = "payment.received", key = "order")]
pub struct PaymentReceived {
    pub order: u32,
    pub cents: u64,
}

/// A message on a channel: who is not there misses it.
#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(channel = "prices", action = "price.changed")]
pub struct PriceChanged {
    pub product: String,
    pub cents: u64,
}

/// The broker that `CAUCE_URL` names, or one of this program's own.
pub async fn connect() -> Result<Bus, cauce::ConnectError> {
    Bus::connect(&url()).await
}

pub fn url() -> String {
    std::env::var("CAUCE_URL").unwrap_or_else(|_| "memory:".to_owned())
}

/// Whether nobody else can be on the broker: then an example plays the other side too.
pub fn alone() -> bool {
    url() == "memory:"
}

/// The examples stop by themselves: after `RUN_SECONDS`, or two.
pub async fn for_a_while() {
    let seconds = std::env::var("RUN_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

pub fn orders(count: u32) -> Vec<OrderCreated> {
    (1..=count).map(|order| OrderCreated { order, customer: format!("customer {}", order % 3) }).collect()
}
