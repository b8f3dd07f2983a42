//! What the derive says about wrong attributes.
use cauce::Event;
use serde::{Deserialize, Serialize};

#[derive(Event, Serialize, Deserialize)]
struct NoAttributes {
    order: u32,
}

#[derive(Event, Serialize, Deserialize)]
#[event(action = "order.created")]
struct NoStream {
    order: u32,
}

#[derive(Event, Serialize, Deserialize)]
#[event(stream = "orders", action = "order.created", key = "customer")]
struct NoSuchKey {
    order: u32,
}

#[derive(Event, Serialize, Deserialize)]
#[event(stream = "orders", action = "order.created", codec = "xml")]
struct UnknownCodec {
    order: u32,
}

#[derive(Event, Serialize, Deserialize)]
#[event(stream = "orders", action = "order.created", topic = "x")]
struct UnknownAttribute {
    order: u32,
}

#[derive(Event, Serialize, Deserialize)]
#[event(stream = "orders", action = "order.created", codec = "fields")]
struct OwnAction {
    action: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(stream = "orders", action = "order.created", codec = "fields")]
enum FlatEnum {
    Created,
}

fn main() {}
