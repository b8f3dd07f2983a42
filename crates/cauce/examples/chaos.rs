//! A handler that charges twice when it is called twice, and one that does not: chaos tells them apart.
//!
//! `cargo run -p cauce --features testing --example chaos`

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use cauce::testing::Chaos;
use cauce::{Event, Headers, Service, State};
use serde::{Deserialize, Serialize};

#[derive(Clone, Event, Serialize, Deserialize)]
#[event(stream = "orders", action = "order.placed", key = "order")]
struct Placed {
    order: u32,
}

/// Charges by idempotency key.
type Bank = Arc<Mutex<BTreeMap<String, u32>>>;

async fn careless(event: Placed, State(bank): State<Bank>) {
    let mut bank = bank.lock().expect("nobody panics in the bank");
    let charge = bank.len();
    bank.insert(format!("charge {charge}"), event.order);
}

async fn careful(event: Placed, headers: Headers, State(bank): State<Bank>) {
    // The same in every delivery and every repeated publish of the event.
    let key = headers.id().unwrap_or_default().to_owned();
    bank.lock().expect("nobody panics in the bank").insert(key, event.order);
}

fn each_once(bank: &Bank) {
    let mut orders: Vec<_> = bank.lock().expect("nobody panics in the bank").values().copied().collect();
    orders.sort_unstable();
    assert_eq!(orders, [0, 1, 2], "charged");
}

fn main() {
    let orders = || (0..3).map(|order| Placed { order });
    let careless = |bank: &Bank| Service::new("billing").state(bank.clone()).on(careless);
    match Chaos::seeds(0..200).publish(orders()).try_run(Bank::default, careless, each_once) {
        Err(failure) => println!("the careless handler: {failure}"),
        Ok(()) => println!("the careless handler was lucky"),
    }
    let careful = |bank: &Bank| Service::new("billing").state(bank.clone()).on(careful);
    Chaos::seeds(0..200).publish(orders()).run(Bank::default, careful, each_once);
    println!("the careful handler survived 200 seeds");
}
