//! Partitions are those of a stream, by a key.
use cauce::Event;
use serde::{Deserialize, Serialize};

#[derive(Event, Serialize, Deserialize)]
#[event(stream = "orders", action = "order.created", partitions = 8)]
struct NoKey {
    order: u32,
}

#[derive(Event, Serialize, Deserialize)]
#[event(channel = "orders", action = "order.created", key = "order", partitions = 8)]
struct NoStream {
    order: u32,
}

#[derive(Event, Serialize, Deserialize)]
#[event(stream = "orders", action = "order.created", key = "order", partitions = 0)]
struct NoPartition {
    order: u32,
}

fn main() {}
