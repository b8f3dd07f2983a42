//! Bridges between channels, streams and queues.

use cauce::{Bridge, EntryId, Event as _, QueueChanges, QueueOptions, Received, Start};

use crate::support::{Cancelled, Departed, connect, on_every_target, soon, until, until_async};

on_every_target!(
    messages_of_a_channel_are_appended_once,
    the_next_instance_takes_over,
    entries_go_to_a_queue_exactly_once,
    one_instance_keeps_the_order,
    only_wanted_actions_go_on,
    an_entry_that_is_too_long_stops_the_bridge_and_nothing_is_lost,
    entries_go_to_a_channel,
);

fn prices() -> Bridge {
    Bridge::channel_to_stream("gates-log", "gates", "flights").action(Cancelled::ACTION)
}

async fn length(bus: &cauce::Bus, stream: &str) -> u64 {
    bus.inspect().stream(stream).await.unwrap().map_or(0, |info| info.length)
}

async fn messages_of_a_channel_are_appended_once(url: &str) {
    let (bus, other) = (connect(url).await, connect(url).await);
    let (first, second) = (prices().start(&bus).await.unwrap(), prices().start(&other).await.unwrap());
    let publisher = connect(url).await;
    until_async("one is subscribed", async || {
        publisher.broadcast(&Cancelled::numbered(0)).await.unwrap() == 1
    })
    .await;
    for number in 1..50 {
        assert_eq!(
            publisher.broadcast(&Cancelled::numbered(number)).await.unwrap(),
            1,
            "one instance listens"
        );
    }
    until_async("all are appended", async || length(&bus, "flights").await >= 50).await;
    until("all are counted", || first.report().carried + second.report().carried >= 50).await;
    let entries = bus.inspect().entries("flights", EntryId::ZERO, 100).await.unwrap();
    let flights: Vec<_> =
        entries.iter().map(|entry| Cancelled::decode(&entry.fields).unwrap().passengers).collect();
    assert_eq!(flights, (0..50).collect::<Vec<_>>());
    assert!(first.is_active() != second.is_active());
    let (first, second) = (first.stop().await, second.stop().await);
    assert_eq!((first.carried + second.carried, first.fenced + second.fenced), (50, 0));
}

async fn the_next_instance_takes_over(url: &str) {
    let (bus, other) = (connect(url).await, connect(url).await);
    let first = prices().start(&bus).await.unwrap();
    until("the first is active", || first.is_active()).await;
    let second = prices().start(&other).await.unwrap();
    assert!(!second.is_active());
    first.stop().await;
    until("the second is active", || second.is_active()).await;
    until_async("it carries", async || {
        other.broadcast(&Cancelled::numbered(1)).await.unwrap() == 1 && length(&other, "flights").await > 0
    })
    .await;
    second.stop().await;
}

/// Somebody else has the lease, as if it had lapsed while the instance stood still.
#[tokio::test]
async fn an_instance_that_lost_its_lease_appends_nothing() {
    let server = crate::support::Server::start();
    let bus = connect(&server.url()).await;
    let bridge = prices().start(&bus).await.unwrap();
    until_async("it carries", async || bus.broadcast(&Cancelled::numbered(1)).await.unwrap() == 1).await;
    until_async("it has appended", async || length(&bus, "flights").await == 1).await;
    server.cli(&["HSET", "{flights}:bridge:gates-log", "owner", "thief"]);
    bus.broadcast(&Cancelled::numbered(2)).await.unwrap();
    until("it has noticed", || !bridge.is_active()).await;
    assert_eq!(length(&bus, "flights").await, 1);
    bridge.stop().await;
}

async fn entries_go_to_a_queue_exactly_once(url: &str) {
    let (bus, other) = (connect(url).await, connect(url).await);
    let queue = bus.queues().create("jobs", &QueueOptions::new()).await.unwrap();
    let bridge = || Bridge::stream_to_queue("jobs-bridge", "flights", &queue);
    let (first, second) = (bridge().start(&bus).await.unwrap(), bridge().start(&other).await.unwrap());
    bus.publish_all(&Cancelled::series(1_000)).await.unwrap();
    until("all are carried", || first.report().carried + second.report().carried == 1_000).await;
    let mut numbers = Vec::new();
    while let Some(message) = queue.pop().await.unwrap() {
        numbers.push(message.decode::<Cancelled>().unwrap().passengers);
    }
    // Two instances may send within one microsecond of the broker's clock, which is all that RSMQ's ids tell of the order.
    numbers.sort_unstable();
    assert_eq!(numbers, (0..1_000).collect::<Vec<_>>());
    let groups = bus.inspect().groups("flights").await.unwrap();
    assert_eq!((groups[0].name.as_str(), groups[0].pending, groups[0].lag), ("jobs-bridge", 0, Some(0)));
    first.stop().await;
    second.stop().await;
}

async fn one_instance_keeps_the_order(url: &str) {
    const COUNT: u32 = 1_200;
    let bus = connect(url).await;
    let queue = bus.queues().create("jobs", &QueueOptions::new()).await.unwrap();
    let mut display = bus.subscribe::<Cancelled>(["display"]).await.unwrap();
    let to_queue = Bridge::stream_to_queue("jobs-bridge", "flights", &queue).start(&bus).await.unwrap();
    let to_channel = Bridge::stream_to_channel("display", "flights", "display").start(&bus).await.unwrap();
    // Some at a time, so that it takes many steps.
    let publish = async {
        for some in Cancelled::series(COUNT).chunks(40) {
            bus.publish_all(some).await.unwrap();
        }
    };
    let watch = async {
        let mut numbers = Vec::new();
        while numbers.len() < COUNT as usize {
            match soon("a message", display.next()).await {
                Received::Message { body, .. } => numbers.push(body.passengers),
                other => panic!("{other:?}"),
            }
        }
        numbers
    };
    let ((), shown) = tokio::join!(publish, watch);
    assert_eq!(shown, (0..COUNT).collect::<Vec<_>>());
    until("all are carried", || to_queue.report().carried == u64::from(COUNT)).await;
    let mut numbers = Vec::new();
    while let Some(message) = queue.pop().await.unwrap() {
        numbers.push(message.decode::<Cancelled>().unwrap().passengers);
    }
    assert_eq!(numbers, (0..COUNT).collect::<Vec<_>>());
    to_queue.stop().await;
    to_channel.stop().await;
}

async fn only_wanted_actions_go_on(url: &str) {
    let bus = connect(url).await;
    let queue = bus.queues().create("jobs", &QueueOptions::new()).await.unwrap();
    bus.publish(&Departed { flight: "UA 1".to_owned(), minutes_late: 3 }).await.unwrap();
    bus.publish(&Cancelled::numbered(2)).await.unwrap();
    let bridge = Bridge::stream_to_queue("jobs-bridge", "flights", &queue).actions([Departed::ACTION]);
    let bridge = bridge.start_at(Start::Beginning).start(&bus).await.unwrap();
    until("both are read", || bridge.report().carried + bridge.report().skipped == 2).await;
    let message = queue.pop().await.unwrap().unwrap();
    // An entry without `data` goes as a JSON object of its fields.
    let fields: std::collections::BTreeMap<String, String> = serde_json::from_slice(&message.body).unwrap();
    assert_eq!((fields["flight"].as_str(), fields["minutes_late"].as_str()), ("UA 1", "3"));
    assert_eq!(queue.pop().await.unwrap(), None);
    bridge.stop().await;
}

async fn an_entry_that_is_too_long_stops_the_bridge_and_nothing_is_lost(url: &str) {
    let bus = connect(url).await;
    let queue = bus.queues().create("jobs", &QueueOptions::new().maxsize(Some(1024))).await.unwrap();
    let bridge = Bridge::stream_to_queue("jobs-bridge", "flights", &queue).start(&bus).await.unwrap();
    bus.publish(&Cancelled::numbered(1)).await.unwrap();
    bus.publish(&Cancelled { flight: "x".repeat(2_000), passengers: 2 }).await.unwrap();
    bus.publish(&Cancelled::numbered(3)).await.unwrap();
    until("it has come to the long one", || bridge.report().carried == 1).await;
    // It has tried, and stands there: its group has not moved on.
    let entries = bus.inspect().entries("flights", EntryId::ZERO, 3).await.unwrap();
    until_async("it stands", async || {
        bus.inspect().groups("flights").await.unwrap()[0].last_delivered == entries[0].id
    })
    .await;
    queue.set_attributes(&QueueChanges::new().maxsize(Some(65_536))).await.unwrap();
    until("all are carried", || bridge.report().carried == 3).await;
    let mut numbers = Vec::new();
    while let Some(message) = queue.pop().await.unwrap() {
        numbers.push(message.decode::<Cancelled>().unwrap().passengers);
    }
    assert_eq!(numbers, [1, 2, 3]);
    bridge.stop().await;
}

async fn entries_go_to_a_channel(url: &str) {
    let bus = connect(url).await;
    let mut display = bus.subscribe::<Cancelled>(["display"]).await.unwrap();
    let bridge = Bridge::stream_to_channel("display", "flights", "display").start(&bus).await.unwrap();
    bus.publish_all(&Cancelled::series(3)).await.unwrap();
    for number in 0..3 {
        match soon("a message", display.next()).await {
            Received::Message { body, .. } => assert_eq!(body, Cancelled::numbered(number)),
            other => panic!("{other:?}"),
        }
    }
    until("all are counted", || bridge.report().carried == 3).await;
    bridge.stop().await;
}
