//! Streams by name: entries that are not typed events, ranges, and following without a group.

use std::ops::Bound;

use cauce::{Bus, CommandError, Entry, EntryId, Fields, Metadata, Start};
use serde_json::json;

use crate::support::{Cancelled, Server, connect, on_every_target, soon};

on_every_target!(
    what_is_appended_is_found_by_range,
    an_untyped_event_is_written_as_a_typed_one,
    a_follower_gets_each_entry_once_and_in_order,
    a_follower_begins_where_it_is_told,
    dropping_a_wait_loses_nothing,
    large_entries_come_in_small_batches,
);

fn numbered(number: usize) -> Fields {
    let mut fields = Fields::new();
    fields.push_text("n", number.to_string());
    fields.push(vec![0xFF], vec![0, 1, 2]);
    fields
}

async fn append(bus: &Bus, numbers: std::ops::Range<usize>) -> Vec<EntryId> {
    let mut ids = Vec::new();
    for number in numbers {
        ids.push(bus.stream("s").append(&numbered(number)).await.unwrap());
    }
    ids
}

fn numbers(entries: &[Entry]) -> Vec<usize> {
    entries.iter().map(|entry| entry.fields.text("n").unwrap().parse().unwrap()).collect()
}

async fn what_is_appended_is_found_by_range(url: &str) {
    let bus = connect(url).await;
    let stream = bus.stream("s");
    assert_eq!(stream.range(.., 10).await.unwrap(), []);
    let ids = append(&bus, 0..5).await;
    let all = stream.range(.., 10).await.unwrap();
    assert_eq!(all[3], Entry { id: ids[3], fields: numbered(3) });
    let check = async |range: (Bound<EntryId>, Bound<EntryId>), count, expected: &[usize]| {
        assert_eq!(numbers(&stream.range(range, count).await.unwrap()), expected, "{range:?}");
    };
    check((Bound::Unbounded, Bound::Unbounded), 2, &[0, 1]).await;
    check((Bound::Excluded(ids[1]), Bound::Included(ids[3])), 10, &[2, 3]).await;
    check((Bound::Included(ids[1]), Bound::Excluded(ids[2])), 10, &[1]).await;
    check((Bound::Excluded(EntryId::new(u64::MAX, u64::MAX)), Bound::Unbounded), 10, &[]).await;
    check((Bound::Unbounded, Bound::Excluded(EntryId::ZERO)), 10, &[]).await;
}

async fn an_untyped_event_is_written_as_a_typed_one(url: &str) {
    let bus = connect(url).await.with_source("desk");
    let metadata = Metadata::new().id("1").time(std::time::UNIX_EPOCH);
    bus.publish_with(&Cancelled::numbered(7), &metadata).await.unwrap();
    let payload = json!({"flight": "UA 7", "passengers": 7});
    // Of another stream: an event of the same id is appended once.
    bus.stream("others").publish("flight.cancelled", &payload, &metadata).await.unwrap();
    let typed = bus.stream("flights").range(.., 10).await.unwrap();
    let untyped = bus.stream("others").range(.., 10).await.unwrap();
    assert_eq!((typed.len(), untyped.len()), (1, 1));
    assert_eq!(typed[0].fields, untyped[0].fields);
}

async fn a_follower_gets_each_entry_once_and_in_order(url: &str) {
    let bus = connect(url).await;
    let mut follower = bus.stream("s").follow(Start::New).await.unwrap();
    let publisher = tokio::spawn({
        let bus = bus.clone();
        async move { append(&bus, 0..500).await }
    });
    let mut seen = Vec::new();
    while seen.len() < 500 {
        seen.extend(soon("entries", follower.next()).await.unwrap());
    }
    assert_eq!(numbers(&seen), (0..500).collect::<Vec<_>>());
    assert_eq!(follower.position(), *publisher.await.unwrap().last().unwrap());
}

async fn a_follower_begins_where_it_is_told(url: &str) {
    let bus = connect(url).await;
    let ids = append(&bus, 0..3).await;
    let check = async |start: Start, expected: &[usize]| {
        let mut follower = bus.stream("s").follow(start).await.unwrap();
        assert_eq!(numbers(&soon("entries", follower.next()).await.unwrap()), expected, "{start:?}");
    };
    check(Start::Beginning, &[0, 1, 2]).await;
    check(Start::Id(ids[0]), &[1, 2]).await;
    // What comes after `follow` has returned is read, though nothing was asked for yet.
    let mut follower = bus.stream("s").follow(Start::New).await.unwrap();
    append(&bus, 3..4).await;
    assert_eq!(numbers(&soon("entries", follower.next()).await.unwrap()), [3]);
}

async fn dropping_a_wait_loses_nothing(url: &str) {
    let bus = connect(url).await;
    let mut follower = bus.stream("s").follow(Start::New).await.unwrap();
    for number in 0..20 {
        // Dropped at any stage: while it connects, while it asks, while it waits.
        for _ in 0..number {
            tokio::select! {
                biased;
                entries = follower.next() => panic!("nothing is there yet: {entries:?}"),
                () = tokio::task::yield_now() => {}
            }
        }
        append(&bus, number..number + 1).await;
        assert_eq!(numbers(&soon("the entry", follower.next()).await.unwrap()), [number]);
    }
}

async fn large_entries_come_in_small_batches(url: &str) {
    let bus = connect(url).await;
    for _ in 0..40 {
        let mut fields = Fields::new();
        fields.push_text("large", "x".repeat(100_000));
        bus.stream("s").append(&fields).await.unwrap();
    }
    let mut follower = bus.stream("s").follow(Start::Beginning).await.unwrap();
    let mut batches = Vec::new();
    while batches.iter().sum::<usize>() < 40 {
        batches.push(soon("entries", follower.next()).await.unwrap().len());
    }
    assert_eq!(batches, [16, 8, 4, 2, 4, 2, 4]);
}

#[tokio::test]
async fn a_follower_outlives_the_server() {
    let mut server = Server::durable();
    let bus = connect(&server.url()).await;
    append(&bus, 0..1).await;
    let mut follower = bus.stream("s").follow(Start::Beginning).await.unwrap();
    assert_eq!(numbers(&soon("an entry", follower.next()).await.unwrap()), [0]);
    server.kill();
    server.start_again();
    server.cli(&["XADD", "s", "*", "n", "1"]);
    assert_eq!(numbers(&soon("an entry", follower.next()).await.unwrap()), [1]);
}

#[tokio::test]
async fn a_key_of_another_type_can_not_be_followed() {
    let server = Server::start();
    server.cli(&["SET", "s", "x"]);
    let bus = connect(&server.url()).await;
    let refused = |error: CommandError| assert!(error.to_string().contains("WRONGTYPE"), "{error}");
    refused(bus.stream("s").follow(Start::New).await.unwrap_err());
    let mut follower = bus.stream("s").follow(Start::Beginning).await.unwrap();
    refused(soon("an answer", follower.next()).await.unwrap_err());
    refused(bus.stream("s").append(&numbered(1)).await.unwrap_err());
}
