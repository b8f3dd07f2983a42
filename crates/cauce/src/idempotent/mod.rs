//! Publishing that repeats itself: an event whose reply was lost is published again, and appended once.
//!
//! | the event's id | its mark | kept |
//! |---|---|---|
//! | made by the bus | where the broker has `XADD ... IDMP` (Redis 8.6, `cauce serve`, inside the process), the broker's own | 100 s |
//! | made by the bus, elsewhere | a place in `{stream}:sent:PRODUCER`, written by the script that appends | 5 min |
//! | chosen by the publisher | `{stream}:sent`, written by the script that appends, whoever publishes | the last 1,000 at least, 100,000 at most, else 10 min |
//!
//! A call of a bus has a place of its own while it is under way, where nobody else's mark can push its mark out, and it gives up before the mark is too
//! old: the mark of a call outlives the call.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::{Value, cmd};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::backend::backoff::Backoff;
use crate::backend::command::{companion, push_xadd, xadd};
use crate::backend::link::Link;
use crate::backend::reply;
use crate::backend::request::Request;
use crate::entry::{EntryId, Fields};
use crate::error::CommandError;
use crate::script::Script;

macro_rules! script {
    ($file:literal) => {
        Script::new(include_str!($file))
    };
    ($($file:literal),+) => {
        Script::new(concat!($(include_str!($file)),+))
    };
}

static PUBLISH: Script = script!("publish.lua");
static PUBLISH_ALL: Script = script!("publish_all.lua");
static PUBLISH_ONCE: Script = script!("../service/scripts/prelude.lua", "sent.lua", "publish_once.lua");

/// How long publishing goes on by default when replies are lost.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Longer than this it never goes on: marks are kept for longer.
pub(crate) const PATIENCE_MAX: Duration = Duration::from_secs(60);
/// Marks of scripts are kept for so long.
const KEPT_MS: u64 = 300_000;
/// Calls of one bus under way at most; further ones wait.
const CALLS_MAX: usize = 2_048;
/// Series of one bus under way at most.
const SERIES_MAX: usize = 8;
/// Marks of one producer name: brokers keep 100 of each.
const MARKS_OF_A_NAME: usize = 64;
/// Pairs of an entry that a script can append: Lua's stack ends at about 8,000 values.
pub(crate) const PAIRS_MAX: usize = 3_900;

const UNKNOWN: u8 = 0;
const NATIVE: u8 = 1;
const SCRIPTED: u8 = 2;

/// What the clones of a bus share to publish.
pub(crate) struct Publisher {
    /// Nobody else's name.
    producer: String,
    calls: AtomicU64,
    /// Whether the broker recognises repetitions by itself.
    broker: AtomicU8,
    singles: Places,
    series: Places,
}

/// Where marks are kept, each place for one call at a time.
struct Places {
    permits: Semaphore,
    free: Mutex<Vec<usize>>,
}

/// A place, until it is dropped.
struct Place<'a> {
    places: &'a Places,
    number: usize,
    _permit: Option<SemaphorePermit<'a>>,
}

impl Places {
    fn new(count: usize) -> Self {
        Self { permits: Semaphore::new(count), free: Mutex::new((0..count).rev().collect()) }
    }

    async fn take(&self) -> Place<'_> {
        // Nobody closes the semaphore, and there are as many permits as places.
        let permit = self.permits.acquire().await.ok();
        Place { places: self, number: self.lock().pop().unwrap_or(0), _permit: permit }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<usize>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        // Taken next: a bus that publishes one after the other needs one place.
        self.places.lock().push(self.number);
    }
}

impl Publisher {
    pub(crate) fn new() -> Self {
        Self {
            producer: crate::simulated::event_id().replace('-', ""),
            calls: AtomicU64::new(0),
            broker: AtomicU8::new(UNKNOWN),
            singles: Places::new(CALLS_MAX),
            series: Places::new(SERIES_MAX),
        }
    }

    /// Appends an entry once, however often it must be said.
    ///
    /// # Errors
    /// If the broker refuses, or did not confirm within the patience.
    pub(crate) async fn append(
        &self,
        link: &Link,
        patience: Duration,
        stream: &str,
        fields: &Fields,
    ) -> Result<EntryId, CommandError> {
        if patience.is_zero() || fields.len() > PAIRS_MAX {
            return link.call(&xadd(stream, fields)).await?.entry_id();
        }
        let place = self.singles.take().await;
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let mut attempts = Attempts::new(patience);
        loop {
            let said = self.say(link, stream, place.number, number, fields).await;
            if let Some(outcome) = attempts.ended(said).await {
                return outcome;
            }
        }
    }

    async fn say(
        &self,
        link: &Link,
        stream: &str,
        place: usize,
        number: u64,
        fields: &Fields,
    ) -> Result<EntryId, CommandError> {
        if self.is_native(link).await? {
            let name = format!("{}-{place}", self.producer);
            let mut request = Request::with_capacity(128 + stream.len() + fields.bulks().len());
            native(&mut request, stream, &name, number, fields);
            self.renounce(link.call(&request).await?.entry_id())
        } else {
            self.scripted(link, stream, place, number, fields).await
        }
    }

    /// Appends entries in order, each once, however often it must be said; the ids of those that are confirmed, and why the next is not.
    pub(crate) async fn append_all(
        &self,
        link: &Link,
        patience: Duration,
        stream: &str,
        entries: &[Fields],
    ) -> (Vec<EntryId>, Result<(), CommandError>) {
        let plain = patience.is_zero() || entries.iter().any(|fields| fields.len() > PAIRS_MAX);
        let place = self.series.take().await;
        let first = self.calls.fetch_add(entries.len() as u64, Ordering::Relaxed);
        let replies = if plain {
            let mut request = Request::default();
            for fields in entries {
                push_xadd(&mut request, stream, fields);
            }
            entry_ids(link, &request).await
        } else {
            let mut attempts = Attempts::new(patience);
            loop {
                let said = self.say_all(link, stream, place.number, first, entries).await;
                if let Some(outcome) = attempts.ended(said).await {
                    break outcome;
                }
            }
        };
        let mut confirmed = Vec::with_capacity(entries.len());
        let unexpected = Err(CommandError::Unexpected { command: "XADD" });
        for reply in match replies {
            Ok(replies) => replies,
            Err(error) => return (confirmed, Err(error)),
        } {
            match reply {
                Ok(id) => confirmed.push(id),
                Err(error) => return (confirmed, Err(error)),
            }
        }
        let all = confirmed.len() == entries.len();
        (confirmed, if all { Ok(()) } else { unexpected })
    }

    async fn say_all(
        &self,
        link: &Link,
        stream: &str,
        place: usize,
        first: u64,
        entries: &[Fields],
    ) -> Result<Said, CommandError> {
        if !self.is_native(link).await? {
            return self.scripted_all(link, stream, place, first, entries).await;
        }
        let mut request = Request::default();
        for (at, fields) in entries.iter().enumerate() {
            let name = format!("{}-s{place}-{}", self.producer, at / MARKS_OF_A_NAME);
            native(&mut request, stream, &name, first + at as u64, fields);
        }
        self.renounce_any(entry_ids(link, &request).await)
    }

    async fn scripted(
        &self,
        link: &Link,
        stream: &str,
        place: usize,
        number: u64,
        fields: &Fields,
    ) -> Result<EntryId, CommandError> {
        let marks = companion(stream, &format!("sent:{}", self.producer));
        let mut call = PUBLISH.with_keys([stream, &marks]);
        call.number(place as u64).number(number).number(KEPT_MS).fields(fields);
        call.call(link).await?.entry_id()
    }

    async fn scripted_all(
        &self,
        link: &Link,
        stream: &str,
        place: usize,
        number: u64,
        entries: &[Fields],
    ) -> Result<Said, CommandError> {
        let marks = companion(stream, &format!("sent:{}", self.producer));
        let mut call = PUBLISH_ALL.with_keys([stream, &marks]);
        call.arg(format!("series:{place}")).arg(number.to_string()).arg(KEPT_MS.to_string());
        for fields in entries {
            call.number(2 * fields.len() as u64).fields(fields);
        }
        let mut replies = call.call(link).await?;
        let count = replies.list().ok_or(CommandError::Unexpected { command: "EVALSHA" })?;
        Ok((0..count).map(|_| replies.entry_id()).collect())
    }

    /// Whether the broker has XADD with IDMP. Brokers are asked for the command that came with it: none says which options XADD has.
    async fn is_native(&self, link: &Link) -> Result<bool, CommandError> {
        match self.broker.load(Ordering::Relaxed) {
            UNKNOWN => {
                let reply = link.send(cmd("COMMAND").arg("INFO").arg("XCFGSET")).await;
                let native = match reply {
                    Ok(reply) => reply::list(reply).is_some_and(
                        |found| matches!(found.first(), Some(Value::Array(info)) if !info.is_empty()),
                    ),
                    // Its ACL may forbid the question.
                    Err(CommandError::Refused { .. }) => false,
                    Err(error) => return Err(error),
                };
                self.broker.store(if native { NATIVE } else { SCRIPTED }, Ordering::Relaxed);
                Ok(native)
            }
            known => Ok(known == NATIVE),
        }
    }

    /// A broker that was replaced by an older one does not know IDMP any more.
    fn renounce(&self, reply: Result<EntryId, CommandError>) -> Result<EntryId, CommandError> {
        if let Err(CommandError::Refused { code, message }) = &reply
            && code == "ERR"
            && (message.contains("Invalid stream ID") || message.contains("wrong number of arguments"))
        {
            self.broker.store(UNKNOWN, Ordering::Relaxed);
            return Err(CommandError::Refused { code: "TRYAGAIN".to_owned(), message: message.clone() });
        }
        reply
    }

    fn renounce_any(&self, replies: Result<Said, CommandError>) -> Result<Said, CommandError> {
        // All were refused alike, if the first was.
        let mut replies = replies?;
        if let Some(first) = replies.first_mut() {
            *first = self.renounce(std::mem::replace(first, Ok(EntryId::ZERO)));
            if let Err(error) = first
                && error.is_refused("TRYAGAIN")
            {
                return Err(error.clone());
            }
        }
        Ok(replies)
    }
}

/// Appends an event once by the id that its publisher chose, whoever publishes it.
///
/// # Errors
/// If the broker refuses, or did not confirm within the patience.
pub(crate) async fn append_once(
    link: &Link,
    patience: Duration,
    stream: &str,
    event: &str,
    fields: &Fields,
) -> Result<EntryId, CommandError> {
    if fields.len() > PAIRS_MAX {
        return link.call(&xadd(stream, fields)).await?.entry_id();
    }
    let keys = SentKeys::of(stream);
    let mut call = PUBLISH_ONCE.with_keys([stream, &keys.sent, &keys.times]);
    call.arg(event).fields(fields);
    let mut attempts = Attempts::new(patience);
    loop {
        let said = call.call(link).await.and_then(|mut replies| replies.entry_id());
        if let Some(outcome) = attempts.ended(said).await {
            return outcome;
        }
    }
}

/// The keys of the marks of ids that publishers chose.
#[derive(Debug)]
pub(crate) struct SentKeys {
    /// A hash: the entry of each event.
    pub(crate) sent: String,
    /// A sorted set: when each was appended.
    pub(crate) times: String,
}

impl SentKeys {
    pub(crate) fn of(stream: &str) -> Self {
        Self { sent: companion(stream, "sent"), times: companion(stream, "sent-times") }
    }
}

/// Attempts to say something, until it is answered or the patience is at its end. What may have been carried out stays unknown, however later attempts
/// end, unless one is answered.
pub(crate) struct Attempts {
    end: Instant,
    backoff: Backoff,
    unknown: Option<CommandError>,
}

impl Attempts {
    pub(crate) fn new(patience: Duration) -> Self {
        let end = Instant::now() + patience.min(PATIENCE_MAX);
        Self { end, backoff: Backoff::new(), unknown: None }
    }

    /// The outcome, if that was the last attempt; else waits until the next is due.
    pub(crate) async fn ended<T>(
        &mut self,
        said: Result<T, CommandError>,
    ) -> Option<Result<T, CommandError>> {
        let error = match said {
            Ok(reply) => return Some(Ok(reply)),
            Err(error) => error,
        };
        if matches!(error, CommandError::OutcomeUnknown { .. }) {
            tracing::debug!(%error, "the reply was lost; it is said again");
            self.unknown = Some(error.clone());
        }
        // What surely was not carried out is the caller's to try again, but for a broker that is not ready yet.
        let soon = self.unknown.is_some()
            || matches!(&error, CommandError::Refused { code, .. } if matches!(code.as_str(), "LOADING" | "BUSY" | "TRYAGAIN" | "MASTERDOWN"));
        if !soon || !error.is_transient() || Instant::now() >= self.end {
            return Some(Err(self.unknown.take().unwrap_or(error)));
        }
        self.backoff.wait().await;
        None
    }
}

/// What became of each of a series of entries.
type Said = Vec<Result<EntryId, CommandError>>;

async fn entry_ids(link: &Link, request: &Request) -> Result<Said, CommandError> {
    if request.replies() == 0 {
        return Ok(Said::new());
    }
    let mut replies = link.call(request).await?;
    Ok((0..request.replies()).map(|_| replies.entry_id()).collect())
}

/// `XADD stream IDMP producer number * name value ...`
fn native(request: &mut Request, stream: &str, producer: &str, number: u64, fields: &Fields) {
    let request = request.command(6 + 2 * fields.len()).arg("XADD").arg(stream).arg("IDMP").arg(producer);
    request.number(number).arg("*").packed(fields.bulks());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown() -> CommandError {
        CommandError::OutcomeUnknown { url: String::new(), problem: "cut".to_owned() }
    }

    fn refused(code: &str) -> CommandError {
        CommandError::Refused { code: code.to_owned(), message: String::new() }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_unknown_stays_unknown_until_it_is_answered() {
        let outcome = async |errors: Vec<CommandError>| {
            let mut attempts = Attempts::new(Duration::from_secs(30));
            for error in errors {
                if let Some(outcome) = attempts.ended(Err(error)).await {
                    return outcome;
                }
            }
            attempts.ended(Ok(())).await.unwrap()
        };
        assert!(outcome(vec![unknown(), refused("LOADING"), unknown()]).await.is_ok());
        assert!(outcome(vec![refused("LOADING")]).await.is_ok());
        assert!(outcome(vec![refused("OOM")]).await.unwrap_err().is_refused("OOM"));
        let after = outcome(vec![unknown(), refused("WRONGTYPE")]).await.unwrap_err();
        assert!(matches!(after, CommandError::OutcomeUnknown { .. }), "{after}");
        let begun = Instant::now();
        let tired = outcome((0..1_000).map(|_| unknown()).collect()).await.unwrap_err();
        assert!(matches!(tired, CommandError::OutcomeUnknown { .. }), "{tired}");
        assert!(begun.elapsed() < Duration::from_secs(40));
    }
}
