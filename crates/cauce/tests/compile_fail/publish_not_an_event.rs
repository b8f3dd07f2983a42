//! Only events can be published.
use cauce::Bus;

async fn publish(bus: Bus) {
    let _ = bus.publish(&42).await;
}

fn main() {}
