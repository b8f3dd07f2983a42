//! A SQL database and events as one: a payment is booked in a table, and its receipt published, once and only if the transaction was committed,
//! although each payment comes twice and every second booking fails at first.
//!
//! `cargo run -p cauce-sql --example outbox --features sqlite`, with `CAUCE_URL=redis://127.0.0.1:6379` for a server.

use std::time::Duration;

use cauce::{Bus, Delivery, Event, Fields, HandlerError, Headers, Retry, Service, State};
use cauce_sql::{Inbox, Outbox, Relay, create_tables};
use serde::{Deserialize, Serialize};
use sqlx::{Sqlite, SqlitePool};

#[derive(Event, Serialize, Deserialize)]
#[event(stream = "payments", action = "payment.received")]
struct Received {
    account: i64,
    cents: i64,
}

#[derive(Event, Serialize, Deserialize)]
#[event(stream = "receipts", action = "receipt.due")]
struct Receipt {
    account: i64,
    cents: i64,
}

#[derive(Clone)]
struct Books {
    pool: SqlitePool,
    inbox: Inbox<Sqlite>,
    outbox: Outbox<Sqlite>,
}

async fn book(
    event: Received,
    headers: Headers,
    delivery: Delivery,
    State(books): State<Books>,
) -> Result<(), HandlerError> {
    let id = headers.id().ok_or_else(|| HandlerError::reject("a payment without an id"))?;
    let mut transaction = books.pool.begin_with("BEGIN IMMEDIATE").await?;
    if !books.inbox.first_time(&mut transaction, id).await? {
        return Ok(());
    }
    sqlx::query("INSERT INTO payments (account, cents) VALUES ($1, $2)")
        .bind(event.account)
        .bind(event.cents)
        .execute(&mut *transaction)
        .await?;
    let receipt = Receipt { account: event.account, cents: event.cents };
    books.outbox.publish(&mut transaction, &receipt).await?;
    if event.account % 2 == 1 && delivery.attempt == 1 {
        // Nothing of the above happens: neither the row nor the event.
        return Err(HandlerError::failed("the ledger is closed"));
    }
    transaction.commit().await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("CAUCE_URL").unwrap_or_else(|_| "memory:".to_owned());
    let bus = Bus::connect(&url).await?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("books.db");
    let pool = SqlitePool::connect(&format!("sqlite://{}?mode=rwc", file.display())).await?;
    create_tables(&pool).await?;
    sqlx::query("CREATE TABLE payments (account INTEGER NOT NULL, cents INTEGER NOT NULL)")
        .execute(&pool)
        .await?;

    let inbox = Inbox::new("books", Duration::from_secs(30 * 86_400));
    let books = Books { pool: pool.clone(), inbox, outbox: Outbox::new() };
    let retry = Retry::fixed(Duration::from_millis(20));
    let desk = Service::new("books").state(books).on(book).retry(retry).start(&bus).await?;
    let receipts = Service::new("receipts")
        .on(async |event: Receipt| {
            println!("a receipt over {} cents for account {}", event.cents, event.account);
        })
        .start(&bus)
        .await?;
    let relay = Relay::new(&pool, &bus).poll(Duration::from_millis(20)).start();

    for account in 1..=4 {
        // As a careless producer does it: two entries of one event.
        let mut fields = Fields::new();
        fields.push_text("action", Received::ACTION);
        fields.push_text("id", format!("payment-{}-{account}", std::process::id()));
        fields.push_text("data", serde_json::to_string(&Received { account, cents: 100 * account })?);
        for _ in 0..2 {
            bus.stream(Received::STREAM).append(&fields).await?;
        }
    }
    while receipts.report().handled < 4 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("books: {}", desk.stop().await);
    println!("relay: {} relayed", relay.stop().await.relayed);
    println!("receipts: {}", receipts.stop().await);
    let (rows, cents): (i64, i64) =
        sqlx::query_as("SELECT COUNT(*), SUM(cents) FROM payments").fetch_one(&pool).await?;
    println!("the table has {rows} payments over {cents} cents");
    if (rows, cents) == (4, 1_000) { Ok(()) } else { Err("the books don't balance".into()) }
}
