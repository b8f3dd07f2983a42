//! Events of [`cauce`] and a SQL database in one transaction: an outbox for what a service publishes, and an inbox for what it handles.
//!
//! - [`Outbox`]: an event is written to a table with the rows that it is about, in one transaction: both are there or neither. A [`Relay`] publishes
//!   what is there, in order, each once: the event's id keeps a repetition from being appended.
//! - [`Inbox`]: a handler notes the event's id with its rows, in one transaction. An event that comes again finds the note.
//!
//! ```
//! # #[cfg(feature = "sqlite")]
//! # mod sample {
//! use cauce::{Event, Headers, HandlerError, State};
//! use cauce_sql::{Inbox, Outbox};
//! use serde::{Deserialize, Serialize};
//! use sqlx::{Sqlite, SqlitePool};
//!
//! #[derive(Event, Serialize, Deserialize)]
//! #[event(stream = "payments", action = "payment.received")]
//! struct Received { account: i64, cents: i64 }
//!
//! #[derive(Event, Serialize, Deserialize)]
//! #[event(stream = "receipts", action = "receipt.due")]
//! struct Receipt { account: i64 }
//!
//! #[derive(Clone)]
//! struct Books { pool: SqlitePool, inbox: Inbox<Sqlite>, outbox: Outbox<Sqlite> }
//!
//! async fn book(event: Received, headers: Headers, State(books): State<Books>) -> Result<(), HandlerError> {
//!     let mut transaction = books.pool.begin_with("BEGIN IMMEDIATE").await?;
//!     let id = headers.id().ok_or_else(|| HandlerError::reject("no id"))?;
//!     if !books.inbox.first_time(&mut transaction, id).await? {
//!         return Ok(());
//!     }
//!     let update = "UPDATE accounts SET cents = cents + $1 WHERE account = $2";
//!     sqlx::query(update).bind(event.cents).bind(event.account).execute(&mut *transaction).await?;
//!     books.outbox.publish(&mut transaction, &Receipt { account: event.account }).await?;
//!     transaction.commit().await?;
//!     Ok(())
//! }
//! # }
//! ```
//!
//! # Features
//! - `sqlite`: for `sqlx::Sqlite`.
//! - `postgres`: for `sqlx::Postgres`.

mod dialect;
mod error;
mod inbox;
mod outbox;
mod relay;

use std::time::Duration;

pub use dialect::Dialect;
pub use error::OutboxError;
pub use inbox::Inbox;
pub use outbox::{Backlog, Outbox};
pub use relay::{Relay, RelayReport, RunningRelay};

/// Makes the tables `cauce_outbox`, `cauce_relay` and `cauce_inbox` with their indices, unless they are there. Where tables come from migrations of
/// your own, `docs/sql.md` has the statements.
///
/// # Errors
/// If the database refuses.
pub async fn create_tables<D: Dialect>(pool: &sqlx::Pool<D>) -> Result<(), sqlx::Error> {
    D::create(pool).await
}

fn milliseconds(duration: Duration) -> i64 {
    // Halved, so that it can be added to a time.
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 2).min(i64::MAX / 2)
}
