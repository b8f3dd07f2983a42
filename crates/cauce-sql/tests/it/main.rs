//! The outbox and the inbox on `SQLite`, with the broker inside the process, redis-server and a broker of ours behind a port.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod inbox;
mod matrix;
mod outbox;
#[cfg(feature = "postgres")]
mod postgres;
#[path = "../../../cauce/tests/it/proxy.rs"]
#[allow(dead_code, reason = "shared with the tests of cauce")]
mod proxy;
#[path = "../../../cauce/tests/it/server.rs"]
#[allow(dead_code, reason = "shared with the tests of cauce")]
mod server;
#[path = "../../../cauce/tests/it/striking.rs"]
mod striking;
#[path = "../../../cauce/tests/it/targets.rs"]
#[allow(dead_code, reason = "shared with the tests of cauce")]
mod targets;

use std::time::Duration;

use cauce::{Bus, Event};
use cauce_sql::{Outbox, create_tables};
use serde::{Deserialize, Serialize};
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(stream = "orders", action = "order.placed")]
struct Placed {
    order: i64,
}

/// A database of a file, with the tables of this crate and one of a service: `orders`.
async fn database(directory: &TempDir) -> SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(directory.path().join("books.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // No test takes the machine's power.
        .synchronous(SqliteSynchronous::Off)
        .busy_timeout(Duration::from_secs(10));
    let pool = SqlitePoolOptions::new().max_connections(4).connect_with(options).await.unwrap();
    create_tables(&pool).await.unwrap();
    sqlx::query("CREATE TABLE orders (number INTEGER NOT NULL)").execute(&pool).await.unwrap();
    pool
}

/// Writes a row and an event about it in one transaction.
async fn place(pool: &SqlitePool, order: i64, commits: bool) {
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    sqlx::query("INSERT INTO orders VALUES ($1)").bind(order).execute(&mut *transaction).await.unwrap();
    Outbox::new().publish(&mut transaction, &Placed { order }).await.unwrap();
    if commits { transaction.commit().await.unwrap() } else { transaction.rollback().await.unwrap() }
}

async fn count(pool: &SqlitePool, question: &'static str) -> i64 {
    sqlx::query_scalar(question).fetch_one(pool).await.unwrap()
}

async fn rows(pool: &SqlitePool) -> Vec<i64> {
    sqlx::query_scalar("SELECT number FROM orders ORDER BY number").fetch_all(pool).await.unwrap()
}

async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("waited in vain until {what}"));
}

async fn until_empty(pool: &SqlitePool) {
    until("the outbox is empty", async || Outbox::new().backlog(pool).await.unwrap().events == 0).await;
}

/// The orders on a stream, in its order; nothing while its broker is down.
async fn published(bus: &Bus, stream: &str) -> Vec<i64> {
    let entries = bus.stream(stream).range(.., 10_000).await.unwrap_or_default();
    let order = |data: &str| serde_json::from_str::<Placed>(data).unwrap().order;
    entries.iter().map(|entry| order(entry.fields.text("data").unwrap())).collect()
}
