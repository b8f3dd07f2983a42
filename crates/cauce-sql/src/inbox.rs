//! Events that were handled, noted with the rows that they changed.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::{Pool, Transaction};

use crate::dialect::Dialect;
use crate::milliseconds;

/// Old notes go with one of so many new ones,
const FORGET_EVERY: u64 = 64;
/// at most so many at once: more than come, so that the table shrinks to its window.
const FORGET_MAX: i64 = 256;
/// Notes that are forgotten by one statement of their own.
const PRUNE_MAX: i64 = 1_000;

/// Which events a service has handled, and for how long that is known: the table `cauce_inbox`.
pub struct Inbox<D> {
    shared: Arc<Shared>,
    database: PhantomData<fn() -> D>,
}

struct Shared {
    scope: String,
    window_ms: i64,
    noted: AtomicU64,
}

impl<D> Clone for Inbox<D> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), database: PhantomData }
    }
}

impl<D> fmt::Debug for Inbox<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("scope", &self.shared.scope).finish_non_exhaustive()
    }
}

impl<D: Dialect> Inbox<D> {
    /// The inbox of the service of that name, in a database whose [tables](crate::create_tables) are made. Services of other names handle the same
    /// events for themselves.
    ///
    /// Notes are kept for the window, by the database's clock, and go a few at a time with later ones. It must be longer than an event can take to
    /// come again: than its retries, and than a dead letter may wait to be redriven.
    #[must_use]
    pub fn new(service: &str, window: Duration) -> Self {
        let shared =
            Shared { scope: service.to_owned(), window_ms: milliseconds(window), noted: AtomicU64::new(0) };
        Self { shared: Arc::new(shared), database: PhantomData }
    }

    /// Whether the event of this id is new; notes it if the transaction is committed. When it is not, the work is done: end without doing it.
    /// A second transaction with the same id waits for the first.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn first_time(
        &self,
        transaction: &mut Transaction<'_, D>,
        id: &str,
    ) -> Result<bool, sqlx::Error> {
        let Shared { scope, window_ms, noted } = &*self.shared;
        let new = D::note(&mut **transaction, scope, id).await?;
        if new && noted.fetch_add(1, Ordering::Relaxed).is_multiple_of(FORGET_EVERY) {
            D::forget(&mut **transaction, scope, *window_ms, FORGET_MAX).await?;
        }
        Ok(new)
    }

    /// Forgets at once all that is older than the window; says how many. Only needed where a shorter window has come into force.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn prune(&self, pool: &Pool<D>) -> Result<u64, sqlx::Error> {
        let Shared { scope, window_ms, .. } = &*self.shared;
        let mut connection = pool.acquire().await?;
        let mut forgotten = 0;
        loop {
            // In steps, so that nobody waits long.
            let some = D::forget(&mut connection, scope, *window_ms, PRUNE_MAX).await?;
            forgotten += some;
            if some == 0 {
                return Ok(forgotten);
            }
        }
    }
}
