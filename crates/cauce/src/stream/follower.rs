//! Reading a stream without a group, over a connection of its own.

use std::time::Duration;

use redis::{Value, cmd};

use crate::backend::backoff::Backoff;
use crate::backend::connection::{Connection, Endpoint};
use crate::backend::reply;
use crate::entry::{Entry, EntryId};
use crate::error::CommandError;

/// How long one read waits for entries.
const BLOCK: Duration = Duration::from_secs(5);
/// A reply that is later than this after the block's end will not come any more.
const GRACE: Duration = Duration::from_secs(5);
/// Entries that the first read asks for.
const COUNT_FIRST: usize = 16;
/// Entries that one read asks for at most.
const COUNT_MAX: usize = 1024;
/// Reads that bring more bytes than this ask for fewer entries the next time, others for more: many small entries come in one round trip,
/// and a few large ones do not fill the memory.
const BYTES_AIM: usize = 256 * 1024;

/// Entries of a stream, each once and in order, from where it began.
///
/// It reads only when it is asked, so a slow reader costs no memory; it may miss entries only if they are trimmed or deleted before it came
/// to them. When the connection breaks, it is opened again for ever.
pub struct Follower {
    endpoint: Endpoint,
    stream: String,
    after: EntryId,
    count: usize,
    connection: Option<Connection>,
}

impl Follower {
    pub(crate) fn new(endpoint: Endpoint, stream: &str, after: EntryId) -> Self {
        Self { endpoint, stream: stream.to_owned(), after, count: COUNT_FIRST, connection: None }
    }

    /// The id after which it reads on.
    #[must_use]
    pub fn position(&self) -> EntryId {
        self.after
    }

    /// The next entries, at least one; waits for them. Cancel safe: dropping the future loses nothing.
    ///
    /// # Errors
    /// If the broker refuses for good, as when the key is not a stream. A broker that is away or busy is waited for.
    pub async fn next(&mut self) -> Result<Vec<Entry>, CommandError> {
        let mut backoff = Backoff::new();
        loop {
            // Taken out: if this future is dropped in mid-read, so is the connection with the read that it still waits for.
            let mut connection = match self.connection.take() {
                Some(connection) => connection,
                None => match self.endpoint.open(None, None).await {
                    Ok(connection) => connection,
                    Err(error) => {
                        tracing::debug!(%error, "no connection to follow the stream yet");
                        backoff.wait().await;
                        continue;
                    }
                },
            };
            match tokio::time::timeout(BLOCK + GRACE, self.read(&mut connection)).await {
                Ok(Ok(entries)) => {
                    self.connection = Some(connection);
                    if let Some(last) = entries.last() {
                        self.advance(last.id, &entries);
                        return Ok(entries);
                    }
                }
                Ok(Err(error)) if error.is_transient() || error.is_refused("UNBLOCKED") => {
                    tracing::debug!(%error, "the stream can't be read now");
                    backoff.wait().await;
                }
                Ok(Err(error)) => return Err(error),
                Err(_) => tracing::debug!("no answer to a read; it is asked again on another connection"),
            }
        }
    }

    async fn read(&self, connection: &mut Connection) -> Result<Vec<Entry>, CommandError> {
        let mut command = cmd("XREAD");
        command.arg("COUNT").arg(self.count).arg("BLOCK").arg(BLOCK.as_millis() as u64);
        command.arg("STREAMS").arg(&self.stream).arg(self.after.to_string());
        entries(connection.send(&command).await?).ok_or(CommandError::Unexpected { command: "XREAD" })
    }

    fn advance(&mut self, last: EntryId, entries: &[Entry]) {
        assert!(last > self.after, "a read goes on after what it was asked for");
        self.after = last;
        let bytes: usize = entries
            .iter()
            .flat_map(|entry| entry.fields.iter())
            .map(|(name, value)| name.len() + value.len())
            .sum();
        self.count = if bytes > BYTES_AIM { self.count / 2 } else { self.count * 2 }.clamp(1, COUNT_MAX);
    }
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower")
            .field("stream", &self.stream)
            .field("after", &self.after)
            .finish_non_exhaustive()
    }
}

/// The entries of the only stream that was asked for; none when the block timed out.
fn entries(reply: Value) -> Option<Vec<Entry>> {
    let Some((_, items)) = reply::streams(reply)?.into_iter().next() else { return Some(Vec::new()) };
    reply::entries(Value::Array(items))
}
