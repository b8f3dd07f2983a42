//! What is committed is published, once and in order.

use std::time::Duration;

use cauce::{Bus, Envelope, Event, Metadata, partition_of, partition_stream};
use cauce_sql::{Outbox, Relay};
use serde::{Deserialize, Serialize};
use sqlx::SqlitePool;
use tempfile::TempDir;

use crate::{Placed, count, database, place, published, until, until_empty};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_committed_is_published_once_and_in_order() {
    let directory = TempDir::new().unwrap();
    let (pool, bus) = (database(&directory).await, Bus::connect("memory:").await.unwrap());
    for order in 0..300 {
        place(&pool, order, order % 3 != 0).await;
    }
    let backlog = Outbox::new().backlog(&pool).await.unwrap();
    assert_eq!(backlog.events, 200);
    let relay = Relay::new(&pool, &bus).start();
    until_empty(&pool).await;
    let committed: Vec<i64> = (0..300).filter(|order| order % 3 != 0).collect();
    assert_eq!(published(&bus, "orders").await, committed);
    place(&pool, 300, true).await;
    relay.wake();
    until("the next is published", async || published(&bus, "orders").await.last() == Some(&300)).await;
    assert_eq!(relay.stop().await.relayed, 201);
    assert_eq!(
        count(&pool, "SELECT COUNT(*) FROM cauce_outbox").await,
        0,
        "nothing is kept that is published"
    );
}

/// Relays are cut off again and again, between publishing and removing too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relays_that_die_repeat_nothing() {
    let directory = TempDir::new().unwrap();
    let (pool, bus) = (database(&directory).await, Bus::connect("memory:").await.unwrap());
    for order in 0..400 {
        place(&pool, order, true).await;
    }
    let lease = Duration::from_millis(100);
    let mut unsettled = 0;
    for _ in 0..8 {
        let before = published(&bus, "orders").await.len();
        let relay = Relay::new(&pool, &bus).lease(lease).poll(Duration::from_millis(5)).start();
        until("some are published", async || published(&bus, "orders").await.len() >= (before + 7).min(400))
            .await;
        drop(relay);
        let there = published(&bus, "orders").await.len() as u64;
        let left = Outbox::new().backlog(&pool).await.unwrap().events;
        unsettled += (there + left).saturating_sub(400);
    }
    assert!(unsettled > 0, "no relay died between publishing and removing: the test shows nothing");
    let relay = Relay::new(&pool, &bus).lease(lease).start();
    until_empty(&pool).await;
    relay.stop().await;
    assert_eq!(
        published(&bus, "orders").await,
        (0..400).collect::<Vec<_>>(),
        "{unsettled} were published again"
    );
}

/// The mechanism switched off: what has no id from the beginning is there twice when it is published again.
#[tokio::test]
async fn without_ids_a_repeated_relay_would_append_twice() {
    let bus = Bus::connect("memory:").await.unwrap();
    for _ in 0..2 {
        bus.publish(&Placed { order: 1 }).await.unwrap();
    }
    assert_eq!(published(&bus, "orders").await, [1, 1]);
    let envelope = Envelope::new(&Placed { order: 2 }, &Metadata::new()).unwrap();
    for _ in 0..2 {
        bus.publish_envelope(&envelope).await.unwrap();
    }
    assert_eq!(published(&bus, "orders").await, [1, 1, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_several_relays_is_active() {
    let directory = TempDir::new().unwrap();
    let (pool, bus) = (database(&directory).await, Bus::connect("memory:").await.unwrap());
    let first = Relay::new(&pool, &bus).start();
    place(&pool, 0, true).await;
    until("it is published", async || published(&bus, "orders").await.len() == 1).await;
    let second = Relay::new(&pool, &bus).start();
    for order in 1..100 {
        place(&pool, order, true).await;
    }
    until_empty(&pool).await;
    until("it is counted", async || first.report().relayed == 100).await;
    assert_eq!(second.report().relayed, 0);
    first.stop().await;
    place(&pool, 100, true).await;
    until("the other goes on", async || published(&bus, "orders").await.len() == 101).await;
    until_empty(&pool).await;
    assert_eq!(second.stop().await.relayed, 1);
}

#[derive(Event, Serialize, Deserialize)]
#[event(stream = "invoices", action = "invoice.sent")]
struct Invoice {
    order: i64,
}

/// One event can't be appended: its stream waits, others flow, and it goes on where it stood when the cause is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_event_holds_up_its_stream_only() {
    let directory = TempDir::new().unwrap();
    let (pool, bus) = (database(&directory).await, Bus::connect("memory:sql-refused").await.unwrap());
    // The key is there, and no stream.
    let queue = bus.queues().create("q", &cauce::QueueOptions::new()).await.unwrap();
    queue.send(&"x".to_owned()).await.unwrap();
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    for order in 0..150 {
        Outbox::new().publish(&mut transaction, &Blocked { order }).await.unwrap();
        Outbox::new().publish(&mut transaction, &Invoice { order }).await.unwrap();
    }
    transaction.commit().await.unwrap();
    let relay = Relay::new(&pool, &bus).poll(Duration::from_millis(5)).start();
    until("the others are published", async || published(&bus, "invoices").await.len() == 150).await;
    until("the failure is counted", async || relay.report().failed >= 2).await;
    let left = async || Outbox::new().backlog(&pool).await.unwrap().events;
    until("the others are removed", async || left().await == 150).await;
    bus.queues().delete("q").await.unwrap();
    until_empty(&pool).await;
    assert_eq!(published(&bus, Blocked::STREAM).await, (0..150).collect::<Vec<_>>());
    relay.stop().await;
}

#[derive(Event, Serialize, Deserialize)]
#[event(stream = "rsmq:q", action = "order.blocked")]
struct Blocked {
    order: i64,
}

#[derive(Event, Serialize, Deserialize)]
#[event(stream = "parts", action = "part.moved", key = "part", partitions = 4)]
struct Moved {
    part: String,
    order: i64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_a_partitioned_stream_go_to_their_partitions() {
    let directory = TempDir::new().unwrap();
    let (pool, bus) = (database(&directory).await, Bus::connect("memory:").await.unwrap());
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    for order in 0..40 {
        let moved = Moved { part: format!("part-{}", order % 8), order };
        Outbox::new().publish(&mut transaction, &moved).await.unwrap();
    }
    transaction.commit().await.unwrap();
    let relay = Relay::new(&pool, &bus).start();
    until_empty(&pool).await;
    relay.stop().await;
    for partition in 0..4 {
        let expected: Vec<i64> =
            (0..40).filter(|order| partition_of(&format!("part-{}", order % 8), 4) == partition).collect();
        assert_eq!(published(&bus, &partition_stream("parts", partition)).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_kept_for_their_window() {
    let directory = TempDir::new().unwrap();
    let (pool, bus) = (database(&directory).await, Bus::connect("memory:").await.unwrap());
    for order in 0..20 {
        place(&pool, order, true).await;
    }
    let day = Duration::from_secs(86_400);
    let relay = Relay::new(&pool, &bus).keep(day).start();
    until_empty(&pool).await;
    relay.stop().await;
    assert_eq!(kept(&pool).await, 20);
    sqlx::query("UPDATE cauce_outbox SET published_ms = published_ms - 86400001 WHERE number <= 15")
        .execute(&pool)
        .await
        .unwrap();
    let relay = Relay::new(&pool, &bus).keep(day).start();
    until("old rows are gone", async || kept(&pool).await == 5).await;
    relay.stop().await;
    // A relay that keeps nothing removes what others kept.
    let relay = Relay::new(&pool, &bus).start();
    until("all are gone", async || kept(&pool).await == 0).await;
    relay.stop().await;
    assert_eq!(published(&bus, "orders").await, (0..20).collect::<Vec<_>>());
}

async fn kept(pool: &SqlitePool) -> i64 {
    count(pool, "SELECT COUNT(*) FROM cauce_outbox WHERE published_ms IS NOT NULL").await
}

/// A row that somebody spoilt stays, and is counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_cannot_be_read_stays() {
    let directory = TempDir::new().unwrap();
    let (pool, bus) = (database(&directory).await, Bus::connect("memory:").await.unwrap());
    place(&pool, 1, true).await;
    place(&pool, 2, true).await;
    sqlx::query("UPDATE cauce_outbox SET envelope = '{' WHERE number = 1").execute(&pool).await.unwrap();
    let relay = Relay::new(&pool, &bus).poll(Duration::from_millis(5)).start();
    until("it is counted", async || relay.report().failed > 0).await;
    assert_eq!(Outbox::new().backlog(&pool).await.unwrap().events, 2);
    sqlx::query("DELETE FROM cauce_outbox WHERE number = 1").execute(&pool).await.unwrap();
    until_empty(&pool).await;
    assert_eq!(published(&bus, "orders").await, [2]);
    relay.stop().await;
}
