//! Events that are written with the rows that they are about.

use std::marker::PhantomData;
use std::time::Duration;

use cauce::{Envelope, Event, Metadata};
use sqlx::{Pool, Transaction};

use crate::dialect::Dialect;
use crate::error::OutboxError;

/// Where events wait for the [`Relay`](crate::Relay): the table `cauce_outbox`.
#[derive(Debug)]
pub struct Outbox<D> {
    database: PhantomData<fn() -> D>,
}

/// What waits in an [`Outbox`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backlog {
    /// Events that are committed and not known to be published.
    pub events: u64,
    /// For how long the oldest of them has waited, by the database's clock.
    pub oldest: Duration,
}

impl<D> Clone for Outbox<D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D> Copy for Outbox<D> {}

impl<D> Default for Outbox<D> {
    fn default() -> Self {
        Self { database: PhantomData }
    }
}

impl<D: Dialect> Outbox<D> {
    /// The outbox of a database whose [tables](crate::create_tables) are made.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes the event down, to be published if and only if the transaction is committed.
    ///
    /// Events of one stream are published in the order in which they were written, as far as there is one: of two transactions that overlap, either may come
    /// first. The trace of this moment goes with the event.
    ///
    /// # Errors
    /// If the event can't be written, or the database refuses.
    pub async fn publish<E: Event + Sync>(
        &self,
        transaction: &mut Transaction<'_, D>,
        event: &E,
    ) -> Result<(), OutboxError> {
        self.publish_with(transaction, event, &Metadata::new()).await
    }

    /// As [`publish`](Self::publish), with metadata of the publisher's own.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn publish_with<E: Event + Sync>(
        &self,
        transaction: &mut Transaction<'_, D>,
        event: &E,
        metadata: &Metadata,
    ) -> Result<(), OutboxError> {
        let envelope = Envelope::new(event, metadata)?;
        let text = serde_json::to_string(&envelope)?;
        D::insert(&mut **transaction, envelope.stream(), envelope.id(), &text).await?;
        Ok(())
    }

    /// What waits: an alarm's question. It counts the rows.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn backlog(&self, pool: &Pool<D>) -> Result<Backlog, sqlx::Error> {
        let waiting = D::waiting(pool).await?;
        let number = |number: i64| u64::try_from(number).unwrap_or(0);
        Ok(Backlog {
            events: number(waiting.events),
            oldest: Duration::from_millis(number(waiting.oldest_ms)),
        })
    }
}
