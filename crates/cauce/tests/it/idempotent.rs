//! An event is appended once, however often it must be said.

use std::time::Duration;

use cauce::{Bus, CommandError, EntryId, Metadata, PublishError};

use crate::proxy::Proxy;
use crate::support::{Cancelled, Server, connect, until};
use crate::targets::{KINDS, Target};

/// The numbers of the events on the stream, in order.
async fn appended(bus: &Bus) -> Vec<u32> {
    let entries = bus.stream("flights").range(.., 10_000).await.unwrap();
    let number = |data: &str| data.trim_end_matches('}').rsplit(':').next().unwrap().parse().unwrap();
    entries.iter().map(|entry| number(entry.fields.text("data").unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_whose_reply_was_lost_appends_once() {
    for kind in KINDS {
        let target = Target::start(kind);
        let proxy = Proxy::before(target.port()).await;
        let (direct, through) = (connect(&target.url()).await, connect(&proxy.url()).await);
        // What the broker can do is known before the first reply is lost.
        through.publish(&Cancelled::numbered(0)).await.unwrap();
        for number in 1..20 {
            proxy.lose_next_reply();
            through.publish(&Cancelled::numbered(number)).await.unwrap();
            assert!(proxy.has_lost_all(), "{kind:?}");
        }
        assert_eq!(appended(&direct).await, (0..20).collect::<Vec<_>>(), "{kind:?}");
    }
}

/// The same without the mechanism: the event is there twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_patience_a_repeated_publish_appends_twice() {
    for kind in KINDS {
        let target = Target::start(kind);
        let proxy = Proxy::before(target.port()).await;
        let (direct, through) = (connect(&target.url()).await, connect(&proxy.url()).await);
        let once = through.with_publish_patience(Duration::ZERO);
        proxy.lose_next_reply();
        let lost = once.publish(&Cancelled::numbered(1)).await.unwrap_err();
        assert!(matches!(lost, PublishError::Command(CommandError::OutcomeUnknown { .. })), "{lost}");
        once.publish(&Cancelled::numbered(1)).await.unwrap();
        assert_eq!(appended(&direct).await, [1, 1], "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_series_whose_reply_was_lost_appends_once_and_in_order() {
    for kind in KINDS {
        let target = Target::start(kind);
        let proxy = Proxy::before(target.port()).await;
        let (direct, through) = (connect(&target.url()).await, connect(&proxy.url()).await);
        let events = Cancelled::series(1_700);
        let mut ids = through.publish_all(&events[..100]).await.unwrap();
        for some in events[100..].chunks(800) {
            proxy.lose_next_reply();
            ids.extend(through.publish_all(some).await.unwrap());
        }
        assert!(proxy.has_lost_all() && ids.is_sorted(), "{kind:?}");
        assert_eq!(appended(&direct).await, (0..1_700).collect::<Vec<_>>(), "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_chosen_id_one_event_is_appended_whoever_publishes_it() {
    for kind in KINDS {
        let mut target = Target::start(kind);
        let id = |number: u32| Metadata::new().id(format!("cancel-{number}"));
        let first = connect(&target.url()).await;
        let entry = first.publish_with(&Cancelled::numbered(1), &id(1)).await.unwrap();
        let other = connect(&target.url()).await;
        assert_eq!(other.publish_with(&Cancelled::numbered(1), &id(1)).await.unwrap(), entry);
        assert!(other.publish_with(&Cancelled::numbered(2), &id(2)).await.unwrap() > entry);
        // The mark is as durable as the entry.
        target.kill();
        target.start_again();
        let later = connect(&target.url()).await;
        assert_eq!(later.publish_with(&Cancelled::numbered(1), &id(1)).await.unwrap(), entry);
        assert_eq!(appended(&later).await, [1, 2], "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_gone_for_longer_than_the_patience_leaves_the_outcome_unknown() {
    let mut server = Server::durable();
    let proxy = Proxy::before(server.port()).await;
    let bus = connect(&proxy.url()).await.with_publish_patience(Duration::from_millis(300));
    bus.publish(&Cancelled::numbered(0)).await.unwrap();
    proxy.open_door(false);
    proxy.lose_next_reply();
    let publishing = tokio::spawn({
        let bus = bus.clone();
        async move { bus.publish(&Cancelled::numbered(1)).await }
    });
    until("the reply is lost", || proxy.has_lost_all()).await;
    server.kill();
    proxy.open_door(true);
    let lost = publishing.await.unwrap().unwrap_err();
    assert!(matches!(lost, PublishError::Command(CommandError::OutcomeUnknown { .. })), "{lost}");
}

/// A broker with IDMP is replaced by one without: the bus notices, and uses scripts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bus_follows_its_broker_to_one_that_can_do_less() {
    let mut target = Target::start(crate::targets::Kind::Cauce);
    let bus = connect(&target.url()).await;
    bus.publish(&Cancelled::numbered(1)).await.unwrap();
    target.kill();
    let _older = Server::on(target.port(), &["--save", ""]);
    let id = bus.publish(&Cancelled::numbered(2)).await.unwrap();
    assert!(id > EntryId::ZERO);
    bus.publish_all(&Cancelled::series(2)).await.unwrap();
    assert_eq!(appended(&bus).await, [2, 0, 1]);
}

#[tokio::test]
async fn marks_are_as_many_as_calls_were_under_way() {
    let server = Server::start();
    let bus = connect(&server.url()).await;
    for number in 0..50 {
        bus.publish(&Cancelled::numbered(number)).await.unwrap();
    }
    let marks = server.cli(&["KEYS", "{flights}:sent:*"]);
    assert_eq!(server.cli(&["HLEN", &marks]), "1");
    assert_ne!(server.cli(&["PTTL", &marks]), "-1");
    let publishing = (0..40).map(|number| {
        let bus = bus.clone();
        tokio::spawn(async move { bus.publish(&Cancelled::numbered(number)).await })
    });
    for published in publishing.collect::<Vec<_>>() {
        published.await.unwrap().unwrap();
    }
    let count: usize = server.cli(&["HLEN", &marks]).parse().unwrap();
    assert!((1..=40).contains(&count), "{count}");
}

/// More marks of chosen ids than are kept: for each that comes two go, the oldest first.
#[tokio::test]
async fn marks_of_chosen_ids_are_bounded() {
    let server = Server::start();
    let bus = connect(&server.url()).await;
    let fill = "for n = 1, 100010 do redis.call('HSET', KEYS[1], 'old'..n, '1-1') redis.call('ZADD', KEYS[2], n, 'old'..n) end";
    server.cli(&["EVAL", fill, "2", "{flights}:sent", "{flights}:sent-times"]);
    for number in 0..20 {
        let metadata = Metadata::new().id(format!("new{number}"));
        bus.publish_with(&Cancelled::numbered(number), &metadata).await.unwrap();
    }
    let count = |command: &str, key: &str| server.cli(&[command, key]).parse::<u32>().unwrap();
    assert!(count("HLEN", "{flights}:sent") <= 100_000);
    assert_eq!(count("HLEN", "{flights}:sent"), count("ZCARD", "{flights}:sent-times"));
    assert_eq!(server.cli(&["HGET", "{flights}:sent", "old1"]), "");
    let again = bus.publish_with(&Cancelled::numbered(0), &Metadata::new().id("new0")).await.unwrap();
    assert_eq!(appended(&bus).await.len(), 20);
    assert!(again > EntryId::ZERO);
}
