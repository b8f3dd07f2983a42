//! What `PostgreSQL` does otherwise than `SQLite`: writers side by side. With the feature `postgres` and a server:
//!
//! `CAUCE_POSTGRES_URL=postgres://... cargo test -p cauce-sql --features postgres postgres`

use std::time::Duration;

use cauce::Bus;
use cauce_sql::{Inbox, Outbox, Relay, create_tables};
use sqlx::postgres::PgPoolOptions;
use sqlx::{PgPool, Postgres};

use crate::{Placed, published, until};

const WRITERS: i64 = 4;
const EACH: i64 = 100;

/// The server's database, with the tables made anew; nothing without a server.
async fn database() -> Option<PgPool> {
    let Ok(url) = std::env::var("CAUCE_POSTGRES_URL") else {
        println!("left out: CAUCE_POSTGRES_URL names no server");
        return None;
    };
    let pool = PgPoolOptions::new().max_connections(8).connect(&url).await.unwrap();
    sqlx::query("DROP TABLE IF EXISTS cauce_outbox, cauce_relay, cauce_inbox").execute(&pool).await.unwrap();
    // Instances that start at the same time.
    let (one, two, three) = tokio::join!(create_tables(&pool), create_tables(&pool), create_tables(&pool));
    one.and(two).and(three).unwrap();
    Some(pool)
}

/// Both in one test: they share the tables.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_side_by_side_on_postgres() {
    let Some(pool) = database().await else { return };
    events_of_each_writer_keep_their_order(&pool).await;
    what_is_published_is_kept_for_its_window(&pool).await;
    an_event_is_handled_by_the_first_to_commit(&pool).await;
}

async fn write(pool: PgPool, writer: i64) {
    for number in 0..EACH {
        let mut transaction = pool.begin().await.unwrap();
        let event = Placed { order: writer * EACH + number };
        Outbox::new().publish(&mut transaction, &event).await.unwrap();
        if number % 10 == 9 {
            // Its number is taken, and comes never.
            transaction.rollback().await.unwrap();
        } else {
            transaction.commit().await.unwrap();
        }
    }
}

async fn events_of_each_writer_keep_their_order(pool: &PgPool) {
    let bus = Bus::connect("memory:").await.unwrap();
    let relay =
        || Relay::new(pool, &bus).lease(Duration::from_millis(100)).poll(Duration::from_millis(5)).start();
    let mut relays = vec![relay(), relay()];
    let writers: Vec<_> = (0..WRITERS).map(|writer| tokio::spawn(write(pool.clone(), writer))).collect();
    for some in [40, 120, 200] {
        until("some are published", async || published(&bus, "orders").await.len() >= some).await;
        drop(relays.remove(0));
        relays.push(relay());
    }
    for writer in writers {
        writer.await.unwrap();
    }
    until("the outbox is empty", async || Outbox::new().backlog(pool).await.unwrap().events == 0).await;
    let all = published(&bus, "orders").await;
    for writer in 0..WRITERS {
        let theirs: Vec<i64> = all.iter().copied().filter(|order| order / EACH == writer).collect();
        let written = (0..EACH).filter(|number| number % 10 != 9).map(|number| writer * EACH + number);
        assert_eq!(theirs, written.collect::<Vec<_>>(), "of writer {writer}, once and in order");
    }
    for relay in relays {
        relay.stop().await;
    }
}

async fn what_is_published_is_kept_for_its_window(pool: &PgPool) {
    const KEPT: &str = "SELECT COUNT(*) FROM cauce_outbox WHERE published_ms IS NOT NULL";
    let bus = Bus::connect("memory:").await.unwrap();
    let kept = async || sqlx::query_scalar::<_, i64>(KEPT).fetch_one(pool).await.unwrap();
    write(pool.clone(), 0).await;
    let relay = Relay::new(pool, &bus).keep(Duration::from_secs(3_600)).start();
    until("all are published", async || kept().await == EACH * 9 / 10).await;
    relay.stop().await;
    let relay = Relay::new(pool, &bus).start();
    until("none is kept", async || kept().await == 0).await;
    relay.stop().await;
}

async fn an_event_is_handled_by_the_first_to_commit(pool: &PgPool) {
    let inbox = Inbox::<Postgres>::new("books", Duration::from_secs(3_600));
    for commits in [false, true] {
        let mut first = pool.begin().await.unwrap();
        assert!(inbox.first_time(&mut first, "order-1").await.unwrap());
        // It waits for what becomes of the first.
        let second = tokio::spawn({
            let (pool, inbox) = (pool.clone(), inbox.clone());
            async move {
                let mut second = pool.begin().await.unwrap();
                inbox.first_time(&mut second, "order-1").await.unwrap()
            }
        });
        let waits = "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        until("the second waits", async || {
            sqlx::query_scalar::<_, i64>(waits).fetch_one(pool).await.unwrap() == 1
        })
        .await;
        if commits {
            first.commit().await.unwrap();
        } else {
            first.rollback().await.unwrap();
        }
        assert_eq!(second.await.unwrap(), !commits);
    }
    sqlx::query("UPDATE cauce_inbox SET seen_ms = seen_ms - 3600001").execute(pool).await.unwrap();
    assert_eq!(inbox.prune(pool).await.unwrap(), 1);
}
