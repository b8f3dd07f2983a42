//! Several groups on several streams: every group gets every entry, and inside a group exactly one instance does.
//!
//! `cargo run -p cauce --example groups`, with `CAUCE_URL=redis://127.0.0.1:6379` for a server.

mod common;

use cauce::{Delivery, Service, State};
use common::{OrderCreated, PaymentReceived};

/// The name of an instance, as the state of its handlers.
type Instance = State<&'static str>;

async fn on_order(event: OrderCreated, State(instance): Instance, delivery: Delivery) {
    println!("{:10} {instance}: order {}", delivery.group, event.order);
}

async fn on_payment(event: PaymentReceived, State(instance): Instance, delivery: Delivery) {
    println!("{:10} {instance}: {} cents for order {}", delivery.group, event.cents, event.order);
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bus = common::connect().await?;
    // Shipping acts on orders only, in two instances that share the work; accounting reads both streams.
    let shipping = |instance| Service::new("shipping").state(instance).on(on_order);
    let accounting = Service::new("accounting").state("only").on(on_order).on(on_payment);
    let running = [
        shipping("first").start(&bus).await?,
        shipping("second").start(&bus).await?,
        accounting.start(&bus).await?,
    ];

    for order in common::orders(6) {
        let payment = PaymentReceived { order: order.order, cents: 1_000 };
        bus.publish(&order).await?;
        bus.publish(&payment).await?;
    }
    common::for_a_while().await;
    for group in bus.inspect().groups("orders").await? {
        println!("group {}: {} pending, lag {:?}", group.name, group.pending, group.lag);
    }
    for service in running {
        println!("{}: {}", service.consumer().to_owned(), service.stop().await);
    }
    Ok(())
}
