//! What is asked of a database, in its own words.

use std::future::Future;

#[cfg(any(feature = "sqlite", feature = "postgres"))]
use sqlx::Row as _;
use sqlx::{Error, Pool};

/// An event in the outbox.
#[derive(Debug)]
pub struct Row {
    pub(crate) number: i64,
    pub(crate) event: String,
    /// A [`cauce::Envelope`] as JSON.
    pub(crate) envelope: String,
}

/// What waits in an outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[doc(hidden)]
pub struct Waiting {
    pub events: i64,
    pub oldest_ms: i64,
}

/// A database that this crate knows: `sqlx::Sqlite` with the feature `sqlite`, `sqlx::Postgres` with `postgres`. Nobody else implements it.
/// All times are by the database's clock.
pub trait Dialect: sqlx::Database + sealed::Sealed {
    #[doc(hidden)]
    fn create(pool: &Pool<Self>) -> impl Future<Output = Result<(), Error>> + Send;

    #[doc(hidden)]
    fn insert(
        connection: &mut Self::Connection,
        stream: &str,
        event: &str,
        envelope: &str,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    #[doc(hidden)]
    fn waiting(pool: &Pool<Self>) -> impl Future<Output = Result<Waiting, Error>> + Send;

    /// The streams that have events to publish. However many events wait: a step per stream.
    #[doc(hidden)]
    fn streams(pool: &Pool<Self>) -> impl Future<Output = Result<Vec<String>, Error>> + Send;

    /// The oldest events of a stream that are not published.
    #[doc(hidden)]
    fn oldest(
        pool: &Pool<Self>,
        stream: &str,
        count: i64,
    ) -> impl Future<Output = Result<Vec<Row>, Error>> + Send;

    /// These are published: removes them, or keeps them for a while.
    #[doc(hidden)]
    fn settle(
        pool: &Pool<Self>,
        numbers: &[i64],
        keep: bool,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Removes what was published so long ago, at most `count`; says how many.
    #[doc(hidden)]
    fn prune(pool: &Pool<Self>, ms: i64, count: i64) -> impl Future<Output = Result<u64, Error>> + Send;

    /// Makes `owner` the relay, or renews that; says whether it is.
    #[doc(hidden)]
    fn lease(pool: &Pool<Self>, owner: &str, ms: i64) -> impl Future<Output = Result<bool, Error>> + Send;

    #[doc(hidden)]
    fn release(pool: &Pool<Self>, owner: &str) -> impl Future<Output = Result<(), Error>> + Send;

    /// Notes an event; says whether it was not there yet.
    #[doc(hidden)]
    fn note(
        connection: &mut Self::Connection,
        scope: &str,
        event: &str,
    ) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Forgets what was noted so long ago, at most `count`; says how many.
    #[doc(hidden)]
    fn forget(
        connection: &mut Self::Connection,
        scope: &str,
        ms: i64,
        count: i64,
    ) -> impl Future<Output = Result<u64, Error>> + Send;
}

mod sealed {
    /// Keeps the trait ours.
    pub trait Sealed {}
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
macro_rules! dialect {
    (
        $database:ty,
        // Its time, in milliseconds since 1970.
        now = $now:literal,
        // The type of a number that grows with each row.
        number = $number:literal,
        // The numbers of a JSON array.
        numbers = $numbers:literal,
        // Keeps others who make the tables waiting.
        exclusive = $exclusive:literal,
        // What a row that somebody else is about to remove is passed over by.
        skip = $skip:literal
    ) => {
        impl sealed::Sealed for $database {}

        impl Dialect for $database {
            async fn create(pool: &Pool<Self>) -> Result<(), Error> {
                let statements = [
                    $exclusive,
                    concat!(
                        "CREATE TABLE IF NOT EXISTS cauce_outbox (number ", $number, ", stream TEXT NOT NULL, event TEXT NOT NULL, ",
                        "envelope TEXT NOT NULL, written_ms BIGINT NOT NULL, published_ms BIGINT)"
                    ),
                    "CREATE INDEX IF NOT EXISTS cauce_outbox_waiting ON cauce_outbox (stream, number) WHERE published_ms IS NULL",
                    "CREATE INDEX IF NOT EXISTS cauce_outbox_kept ON cauce_outbox (published_ms) WHERE published_ms IS NOT NULL",
                    "CREATE TABLE IF NOT EXISTS cauce_relay (name TEXT PRIMARY KEY, owner TEXT NOT NULL, until_ms BIGINT NOT NULL)",
                    "INSERT INTO cauce_relay (name, owner, until_ms) VALUES ('relay', '', 0) ON CONFLICT DO NOTHING",
                    "CREATE TABLE IF NOT EXISTS cauce_inbox (scope TEXT NOT NULL, event TEXT NOT NULL, seen_ms BIGINT NOT NULL, PRIMARY KEY (scope, event))",
                    "CREATE INDEX IF NOT EXISTS cauce_inbox_seen ON cauce_inbox (scope, seen_ms)",
                ];
                let mut transaction = pool.begin().await?;
                for statement in statements {
                    sqlx::query(statement).execute(&mut *transaction).await?;
                }
                transaction.commit().await
            }

            async fn insert(
                connection: &mut Self::Connection,
                stream: &str,
                event: &str,
                envelope: &str,
            ) -> Result<(), Error> {
                let insert = sqlx::query(concat!(
                    "INSERT INTO cauce_outbox (stream, event, envelope, written_ms) VALUES ($1, $2, $3, ", $now, ")"
                ));
                insert.bind(stream).bind(event).bind(envelope).execute(connection).await.map(drop)
            }

            async fn waiting(pool: &Pool<Self>) -> Result<Waiting, Error> {
                let row = sqlx::query(concat!(
                    "SELECT COUNT(*), COALESCE(", $now, " - MIN(written_ms), 0) FROM cauce_outbox WHERE published_ms IS NULL"
                ));
                let row = row.fetch_one(pool).await?;
                Ok(Waiting { events: row.try_get(0)?, oldest_ms: row.try_get(1)? })
            }

            async fn streams(pool: &Pool<Self>) -> Result<Vec<String>, Error> {
                // From each name to the next, by the index.
                let rows = sqlx::query(
                    "WITH RECURSIVE waiting (stream) AS (\
                     SELECT MIN(stream) FROM cauce_outbox WHERE published_ms IS NULL \
                     UNION ALL \
                     SELECT (SELECT MIN(later.stream) FROM cauce_outbox later WHERE later.published_ms IS NULL AND later.stream > waiting.stream) \
                     FROM waiting WHERE waiting.stream IS NOT NULL\
                     ) SELECT stream FROM waiting WHERE stream IS NOT NULL",
                );
                rows.fetch_all(pool).await?.iter().map(|row| row.try_get(0)).collect()
            }

            async fn oldest(pool: &Pool<Self>, stream: &str, count: i64) -> Result<Vec<Row>, Error> {
                let rows = sqlx::query(
                    "SELECT number, event, envelope FROM cauce_outbox WHERE published_ms IS NULL AND stream = $1 ORDER BY number LIMIT $2",
                );
                let rows = rows.bind(stream).bind(count).fetch_all(pool).await?;
                let row = |row: &<$database as sqlx::Database>::Row| {
                    Ok(Row { number: row.try_get(0)?, event: row.try_get(1)?, envelope: row.try_get(2)? })
                };
                rows.iter().map(row).collect()
            }

            async fn settle(pool: &Pool<Self>, numbers: &[i64], keep: bool) -> Result<(), Error> {
                let statement = if keep {
                    concat!(
                        "UPDATE cauce_outbox SET published_ms = ", $now, " WHERE published_ms IS NULL AND number IN (", $numbers, ")"
                    )
                } else {
                    concat!("DELETE FROM cauce_outbox WHERE number IN (", $numbers, ")")
                };
                let numbers = serde_json::Value::from(numbers).to_string();
                sqlx::query(statement).bind(numbers).execute(pool).await.map(drop)
            }

            async fn prune(pool: &Pool<Self>, ms: i64, count: i64) -> Result<u64, Error> {
                let pruned = sqlx::query(concat!(
                    "DELETE FROM cauce_outbox WHERE number IN (SELECT number FROM cauce_outbox WHERE published_ms <= ", $now,
                    " - $1 ORDER BY published_ms LIMIT $2", $skip, ")"
                ));
                Ok(pruned.bind(ms).bind(count).execute(pool).await?.rows_affected())
            }

            async fn lease(pool: &Pool<Self>, owner: &str, ms: i64) -> Result<bool, Error> {
                let leased = sqlx::query(concat!(
                    "UPDATE cauce_relay SET owner = $1, until_ms = ", $now,
                    " + $2 WHERE name = 'relay' AND (owner = $1 OR until_ms < ", $now, ")"
                ));
                Ok(leased.bind(owner).bind(ms).execute(pool).await?.rows_affected() == 1)
            }

            async fn release(pool: &Pool<Self>, owner: &str) -> Result<(), Error> {
                let released =
                    sqlx::query("UPDATE cauce_relay SET until_ms = 0 WHERE name = 'relay' AND owner = $1");
                released.bind(owner).execute(pool).await.map(drop)
            }

            async fn note(
                connection: &mut Self::Connection,
                scope: &str,
                event: &str,
            ) -> Result<bool, Error> {
                let noted = sqlx::query(concat!(
                    "INSERT INTO cauce_inbox (scope, event, seen_ms) VALUES ($1, $2, ", $now, ") ON CONFLICT DO NOTHING"
                ));
                Ok(noted.bind(scope).bind(event).execute(connection).await?.rows_affected() == 1)
            }

            async fn forget(
                connection: &mut Self::Connection,
                scope: &str,
                ms: i64,
                count: i64,
            ) -> Result<u64, Error> {
                let forgotten = sqlx::query(concat!(
                    "DELETE FROM cauce_inbox WHERE scope = $1 AND event IN (SELECT event FROM cauce_inbox WHERE scope = $1 AND seen_ms <= ",
                    $now, " - $2 ORDER BY seen_ms LIMIT $3", $skip, ")"
                ));
                let forgotten = forgotten.bind(scope).bind(ms).bind(count).execute(connection).await?;
                Ok(forgotten.rows_affected())
            }
        }
    };
}

#[cfg(feature = "sqlite")]
dialect!(
    sqlx::Sqlite,
    now = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
    number = "INTEGER PRIMARY KEY AUTOINCREMENT",
    numbers = "SELECT value FROM json_each($1)",
    exclusive = "SELECT 1",
    skip = ""
);

#[cfg(feature = "postgres")]
dialect!(
    sqlx::Postgres,
    now = "(EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::BIGINT",
    number = "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    numbers = "SELECT value::BIGINT FROM json_array_elements_text($1::json)",
    exclusive = "SELECT pg_advisory_xact_lock(71253100923)",
    skip = " FOR UPDATE SKIP LOCKED"
);
