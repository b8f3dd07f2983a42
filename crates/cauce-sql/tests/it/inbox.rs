//! A handler's rows are written once, however often its event comes.

use std::time::Duration;

use cauce::{Bus, HandlerError, Headers, Metadata, Retry, Service, State};
use cauce_sql::Inbox;
use sqlx::{Sqlite, SqlitePool};
use tempfile::TempDir;

use crate::{Placed, count, database, rows, until};

const DAY: Duration = Duration::from_secs(86_400);

#[derive(Clone)]
struct Books {
    pool: SqlitePool,
    inbox: Option<Inbox<Sqlite>>,
}

/// Books the order, and then fails as if the process had died before the acknowledgement.
async fn book(event: Placed, headers: Headers, State(books): State<Books>) -> Result<(), HandlerError> {
    let mut transaction = books.pool.begin_with("BEGIN IMMEDIATE").await?;
    if let Some(inbox) = &books.inbox {
        let id = headers.id().ok_or_else(|| HandlerError::reject("no id"))?;
        if !inbox.first_time(&mut transaction, id).await? {
            return Ok(());
        }
    }
    sqlx::query("INSERT INTO orders VALUES ($1)").bind(event.order).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Err(HandlerError::failed("the acknowledgement is lost"))
}

async fn booked_with(inbox: Option<Inbox<Sqlite>>) -> Vec<i64> {
    let directory = TempDir::new().unwrap();
    let (pool, bus) = (database(&directory).await, Bus::connect("memory:").await.unwrap());
    let retry = Retry::fixed(Duration::from_millis(5)).max_attempts(2);
    let books = Books { pool: pool.clone(), inbox };
    let running = Service::new("books").state(books).on(book).retry(retry).start(&bus).await.unwrap();
    for order in 0..20 {
        bus.publish_with(&Placed { order }, &Metadata::new().id(format!("order-{order}"))).await.unwrap();
    }
    until("all are settled", async || running.report().handled + running.report().dead == 20).await;
    running.stop().await;
    rows(&pool).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_comes_again_is_booked_once() {
    let inbox = Inbox::new("books", DAY);
    assert_eq!(booked_with(Some(inbox)).await, (0..20).collect::<Vec<_>>());
    // Without the inbox.
    assert_eq!(booked_with(None).await.len(), 40);
}

/// A note of a transaction that was rolled back is none.
#[tokio::test]
async fn what_was_rolled_back_was_not_handled() {
    let directory = TempDir::new().unwrap();
    let pool = database(&directory).await;
    let inbox = Inbox::<Sqlite>::new("books", DAY);
    for commits in [false, true] {
        let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
        assert!(inbox.first_time(&mut transaction, "order-1").await.unwrap());
        if commits { transaction.commit().await.unwrap() } else { transaction.rollback().await.unwrap() }
    }
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    assert!(!inbox.first_time(&mut transaction, "order-1").await.unwrap());
    let other = Inbox::<Sqlite>::new("other", DAY);
    assert!(other.first_time(&mut transaction, "order-1").await.unwrap(), "another service is another inbox");
}

#[tokio::test]
async fn notes_are_kept_for_their_window() {
    const ALL: &str = "SELECT COUNT(*) FROM cauce_inbox";
    let directory = TempDir::new().unwrap();
    let pool = database(&directory).await;
    let inbox = Inbox::<Sqlite>::new("books", DAY);
    let note = async |from: u32, to: u32| {
        let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
        for number in from..to {
            assert!(inbox.first_time(&mut transaction, &number.to_string()).await.unwrap());
        }
        transaction.commit().await.unwrap();
    };
    note(0, 2_000).await;
    assert_eq!(count(&pool, ALL).await, 2_000, "none is older than the window");
    assert_eq!(inbox.prune(&pool).await.unwrap(), 0);
    sqlx::query("UPDATE cauce_inbox SET seen_ms = seen_ms - 86400001").execute(&pool).await.unwrap();
    // Old notes go with new ones, more than come.
    note(2_000, 2_640).await;
    assert_eq!(count(&pool, ALL).await, 640);
    sqlx::query("UPDATE cauce_inbox SET seen_ms = seen_ms - 86400001").execute(&pool).await.unwrap();
    assert_eq!(inbox.prune(&pool).await.unwrap(), 640);
    assert_eq!(count(&pool, ALL).await, 0);
}
