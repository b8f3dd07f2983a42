//! Publishing that repeats itself: an event whose reply was lost is published again, and appended once.
//!
//! | the event's id | how it is known whether it was appended |
//! |---|---|
//! | made by the bus | where the broker has `XADD ... IDMP` (Redis 8.6, `cauce serve`, inside the process): its own mark, kept 100 s |
//! | made by the bus, elsewhere, on a stream that it published on within the last second | a plain XADD leaves no mark: the lost connection is closed at the broker, and the event looked for on the stream (`lookup.rs`) |
//! | made by the bus, elsewhere, else | a mark in a place of `{stream}:sent:PRODUCER`, written by the script that appends, kept 5 min |
//! | chosen by the publisher | a mark in `{stream}:sent`, written by the script that appends, whoever publishes; the last 1,000 at least, 100,000 at most, else 10 min |
//!
//! A call of a bus has a place of its own while it is under way, where nobody else's mark can push its mark out, and it gives up before the mark is too
//! old: the mark of a call outlives the call.
//!
//! Events are looked for only on streams that were seen to keep what they get (`recent.rs`), by connections that may be closed; else each leaves a mark.

mod attempts;
mod chosen;
mod lookup;
mod places;
mod recent;

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use redis::cmd;

pub(crate) use self::attempts::Attempts;
pub(crate) use self::chosen::{SentKeys, append_once};
use self::lookup::{Fate, Lookups};
use self::places::Places;
use self::recent::{Recent, Way};
use crate::backend::command::{companion, push_xadd, xadd};
use crate::backend::link::{Failed, Link};
use crate::backend::replies::Reply;
use crate::backend::reply;
use crate::backend::request::Request;
use crate::entry::{EntryId, Fields};
use crate::error::CommandError;
use crate::script::Script;

macro_rules! script {
    ($($file:literal),+) => {
        Script::new(concat!($(include_str!($file)),+))
    };
}

static PUBLISH: Script = script!("calm.lua", "publish.lua");
static PUBLISH_ALL: Script = script!("calm.lua", "publish_all.lua");

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
    recent: Recent,
    lookups: Lookups,
}

impl Publisher {
    pub(crate) fn new() -> Self {
        Self {
            producer: crate::simulated::event_id().replace('-', ""),
            calls: AtomicU64::new(0),
            broker: AtomicU8::new(UNKNOWN),
            singles: Places::new(CALLS_MAX),
            series: Places::new(SERIES_MAX),
            recent: Recent::default(),
            lookups: Lookups::default(),
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
        let mut attempts = Attempts::new(patience);
        let look = match self.way(link, stream, std::slice::from_ref(fields)) {
            Way::Marked { look } => look,
            Way::Plain(after) => {
                match self.append_plainly(link, &mut attempts, stream, fields, after).await {
                    Some(outcome) => return outcome,
                    None => true,
                }
            }
        };
        let place = self.singles.take().await;
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        loop {
            let said = self.say(link, stream, place.number, number, look, fields).await;
            if let Some(outcome) = attempts.ended(said).await {
                return outcome;
            }
        }
    }

    /// Whether events leave marks.
    fn way(&self, link: &Link, stream: &str, entries: &[Fields]) -> Way {
        let is_scripted = self.broker.load(Ordering::Relaxed) == SCRIPTED;
        // Where the broker has marks of its own, or nothing is known of it, nothing needs to be seen.
        if !is_scripted {
            return Way::Marked { look: self.broker.load(Ordering::Relaxed) == UNKNOWN };
        }
        let way = self.recent.way(stream);
        let can_be_found = || link.is_closable() && entries.iter().all(|fields| fields.unique_id().is_some());
        match way {
            Way::Plain(_) if !can_be_found() => Way::Marked { look: false },
            way => way,
        }
    }

    /// Appends an entry without a mark. `None`: it was certainly not appended, and is to be said again.
    async fn append_plainly(
        &self,
        link: &Link,
        attempts: &mut Attempts,
        stream: &str,
        fields: &Fields,
        after: EntryId,
    ) -> Option<Result<EntryId, CommandError>> {
        let failed = match link.call_by(&xadd(stream, fields)).await {
            Ok((mut replies, _)) => {
                let said = replies.entry_id();
                if let Ok(entry) = said {
                    self.recent.confirmed(stream, entry);
                    return Some(Ok(entry));
                }
                return attempts.ended(said).await;
            }
            Err(failed) => failed,
        };
        let event = fields.unique_id()?;
        match self.fates(link, attempts, failed, stream, after, &[event]).await {
            Ok(fates) => match fates.first() {
                Some(Fate::Appended(entry)) => Some(Ok(*entry)),
                _ => None,
            },
            Err(error) => Some(Err(error)),
        }
    }

    /// What became of entries without marks; each was appended, or never will be.
    ///
    /// # Errors
    /// If that can't be known.
    async fn fates(
        &self,
        link: &Link,
        attempts: &mut Attempts,
        failed: Failed,
        stream: &str,
        after: EntryId,
        events: &[&str],
    ) -> Result<Vec<Fate>, CommandError> {
        // Without a connection nothing was sent.
        let Some(lost) = failed.sent else { return Err(failed.error) };
        tracing::debug!(error = %failed.error, stream, "replies were lost; the events are looked for");
        attempts.lost(failed.error.clone());
        let fates = self.lookups.fates(link, attempts, &lost, stream, after, events).await?;
        if fates.contains(&Fate::Unclear) {
            self.recent.forget(stream);
            return Err(failed.error);
        }
        attempts.settled();
        Ok(fates)
    }

    async fn say(
        &self,
        link: &Link,
        stream: &str,
        place: usize,
        number: u64,
        look: bool,
        fields: &Fields,
    ) -> Result<EntryId, CommandError> {
        if self.is_native(link).await? {
            let name = format!("{}-{place}", self.producer);
            let mut request = Request::with_capacity(128 + stream.len() + fields.bulks().len());
            native(&mut request, stream, &name, number, fields);
            self.renounce(link.call(&request).await?.entry_id())
        } else {
            self.scripted(link, stream, place, number, look, fields).await
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
        if patience.is_zero() || entries.iter().any(|fields| fields.len() > PAIRS_MAX) {
            let said = entry_ids(link, &series(stream, entries)).await;
            return confirmed(entries.len(), said);
        }
        let mut attempts = Attempts::new(patience);
        let (mut before, mut rest) = (Vec::new(), entries);
        let look = match self.way(link, stream, entries) {
            Way::Marked { look } => look,
            Way::Plain(after) => {
                match self.append_all_plainly(link, &mut attempts, stream, entries, after).await {
                    Series::Ended(said) => return confirmed(entries.len(), said),
                    Series::Begun(ids) => before = ids,
                }
                rest = entries.get(before.len()..).unwrap_or_default();
                if rest.is_empty() {
                    return (before, Ok(()));
                }
                true
            }
        };
        let place = self.series.take().await;
        let first = self.calls.fetch_add(rest.len() as u64, Ordering::Relaxed);
        let said = loop {
            let said = self.say_all(link, stream, place.number, first, look, rest).await;
            if let Some(outcome) = attempts.ended(said).await {
                break outcome;
            }
        };
        let (ids, end) = confirmed(rest.len(), said);
        before.extend(ids);
        (before, end)
    }

    /// Appends entries in order without marks.
    async fn append_all_plainly(
        &self,
        link: &Link,
        attempts: &mut Attempts,
        stream: &str,
        entries: &[Fields],
        after: EntryId,
    ) -> Series {
        let request = series(stream, entries);
        let failed = match link.call_by(&request).await {
            Ok((mut replies, _)) => {
                let said: Said = entries.iter().map(|_| replies.entry_id()).collect();
                if let Some(last) = said.iter().rev().find_map(|said| said.as_ref().ok()) {
                    self.recent.confirmed(stream, *last);
                }
                return Series::Ended(Ok(said));
            }
            Err(failed) => failed,
        };
        let lost = failed.error.clone();
        let events: Vec<&str> = entries.iter().filter_map(Fields::unique_id).collect();
        let fates = match self.fates(link, attempts, failed, stream, after, &events).await {
            Ok(fates) => fates,
            Err(error) => return Series::Ended(Err(error)),
        };
        let mut begun = Vec::with_capacity(entries.len());
        let mut fates = fates.into_iter().peekable();
        while let Some(Fate::Appended(entry)) = fates.peek() {
            begun.push(*entry);
            fates.next();
        }
        if fates.any(|fate| fate != Fate::Never) {
            // One in between was refused: they can't be in order any more.
            let said = begun.into_iter().map(Ok).chain([Err(lost)]);
            return Series::Ended(Ok(said.collect()));
        }
        Series::Begun(begun)
    }

    async fn say_all(
        &self,
        link: &Link,
        stream: &str,
        place: usize,
        first: u64,
        look: bool,
        entries: &[Fields],
    ) -> Result<Said, CommandError> {
        if !self.is_native(link).await? {
            return self.scripted_all(link, stream, place, first, look, entries).await;
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
        look: bool,
        fields: &Fields,
    ) -> Result<EntryId, CommandError> {
        let marks = companion(stream, &format!("sent:{}", self.producer));
        let mut call = PUBLISH.with_keys([stream, &marks]);
        call.number(place as u64).number(number).number(KEPT_MS).number(u64::from(look)).fields(fields);
        let mut replies = call.call(link).await?;
        replies.list();
        let entry = replies.entry_id()?;
        if look {
            self.recent.looked(stream, entry, replies.value() == Some(Reply::Integer(1)));
        }
        Ok(entry)
    }

    async fn scripted_all(
        &self,
        link: &Link,
        stream: &str,
        place: usize,
        number: u64,
        look: bool,
        entries: &[Fields],
    ) -> Result<Said, CommandError> {
        let marks = companion(stream, &format!("sent:{}", self.producer));
        let mut call = PUBLISH_ALL.with_keys([stream, &marks]);
        call.arg(format!("series:{place}")).number(number).number(KEPT_MS).number(u64::from(look));
        for fields in entries {
            call.number(2 * fields.len() as u64).fields(fields);
        }
        let mut replies = call.call(link).await?;
        let count = replies.list().ok_or(CommandError::Unexpected { command: "EVALSHA" })?;
        let is_calm = replies.value() == Some(Reply::Integer(1));
        let said: Said = (1..count).map(|_| replies.entry_id()).collect();
        if look && let Some(last) = said.iter().rev().find_map(|said| said.as_ref().ok()) {
            self.recent.looked(stream, *last, is_calm);
        }
        Ok(said)
    }

    /// Whether the broker has XADD with IDMP. Brokers are asked for the command that came with it: none says which options XADD has.
    async fn is_native(&self, link: &Link) -> Result<bool, CommandError> {
        match self.broker.load(Ordering::Relaxed) {
            UNKNOWN => {
                let reply = link.send(cmd("COMMAND").arg("INFO").arg("XCFGSET")).await;
                let native = match reply {
                    Ok(reply) => reply::has_command(reply),
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

/// What became of each of a series of entries.
type Said = Vec<Result<EntryId, CommandError>>;

/// How far a series without marks came.
enum Series {
    /// To its end.
    Ended(Result<Said, CommandError>),
    /// These were appended, and the others certainly not.
    Begun(Vec<EntryId>),
}

/// The ids of those that are confirmed, and why the next is not.
fn confirmed(count: usize, said: Result<Said, CommandError>) -> (Vec<EntryId>, Result<(), CommandError>) {
    let mut ids = Vec::with_capacity(count);
    let said = match said {
        Ok(said) => said,
        Err(error) => return (ids, Err(error)),
    };
    for reply in said {
        match reply {
            Ok(id) => ids.push(id),
            Err(error) => return (ids, Err(error)),
        }
    }
    let all = ids.len() == count;
    (ids, if all { Ok(()) } else { Err(CommandError::Unexpected { command: "XADD" }) })
}

/// `XADD stream * ...` for each.
fn series(stream: &str, entries: &[Fields]) -> Request {
    let mut request = Request::default();
    for fields in entries {
        push_xadd(&mut request, stream, fields);
    }
    request
}

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
