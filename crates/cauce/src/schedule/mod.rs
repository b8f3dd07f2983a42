//! Events that wait at the broker until their time comes.
//!
//! They wait in two keys beside the stream: `{stream}:delayed`, a sorted set of due times, and `{stream}:delayed-events`, a hash of what is to be
//! appended. One script appends what is due and forgets it. Whoever runs it, and however many do at once, an event is appended once. It is run by every
//! [`Service`](crate::Service) that reads the stream and by every bus that let an event of the stream wait, as long as it lives; with none of them alive,
//! events wait on.

mod cron;
mod mover;

pub use cron::{Cron, CronError, RunningCron};
pub(crate) use mover::Movers;

use std::time::{Duration, SystemTime};

use redis::{Value, cmd};

use crate::backend::command::companion;
use crate::backend::reply;
use crate::bus::Bus;
use crate::entry::Fields;
use crate::error::{CommandError, PublishError};
use crate::event::{Event, Metadata, to_fields};
use crate::idempotent::{Attempts, PAIRS_MAX, SentKeys};
use crate::script::Script;

macro_rules! script {
    ($($file:literal),+) => {
        Script::new(concat!($(include_str!($file)),+))
    };
}

static SCHEDULE: Script = script!("../service/scripts/prelude.lua", "schedule.lua");
static CANCEL: Script = script!("cancel.lua");

/// Events of one stream that may wait.
const WAITING_MAX: u32 = 1_000_000;

/// The keys of what waits beside a stream.
#[derive(Debug)]
pub(crate) struct DelayedKeys {
    pub(crate) due: String,
    pub(crate) events: String,
}

impl DelayedKeys {
    pub(crate) fn of(stream: &str) -> Self {
        Self { due: companion(stream, "delayed"), events: companion(stream, "delayed-events") }
    }
}

/// An event that waits for its time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Scheduled {
    /// The stream that it will be on.
    pub stream: String,
    /// The event's id: what [`Bus::cancel`] asks for, and the field `id` of its entry.
    pub id: String,
    /// When, by the broker's clock.
    pub due: SystemTime,
}

#[derive(Clone, Copy, Debug)]
enum When {
    In(Duration),
    At(SystemTime),
}

impl Bus {
    /// Publishes the event after a delay, by the broker's clock: it waits at the broker, as durably as if it were published, and is appended once, with
    /// its id, within milliseconds of its time, by whichever [service](crate::Service) that reads the stream, or bus that let events of it wait, is
    /// alive then. If none is, it is appended when the next one starts.
    ///
    /// A lost reply is dealt with as in [`publish`](Self::publish).
    ///
    /// # Errors
    /// As [`publish`](Self::publish), and `DELAYEDFULL` if a million events of the stream wait already.
    pub async fn publish_in<E: Event>(&self, event: &E, delay: Duration) -> Result<Scheduled, PublishError> {
        self.schedule(event, When::In(delay), &Metadata::new()).await
    }

    /// As [`publish_in`](Self::publish_in), with metadata of the publisher's own. An event of an id that waits already, or was published within its
    /// mark's time, is not scheduled again: what is replied is the due time of the first.
    ///
    /// # Errors
    /// As [`publish_in`](Self::publish_in).
    pub async fn publish_in_with<E: Event>(
        &self,
        event: &E,
        delay: Duration,
        metadata: &Metadata,
    ) -> Result<Scheduled, PublishError> {
        self.schedule(event, When::In(delay), metadata).await
    }

    /// Publishes the event at a time, by the broker's clock; at once if that has passed. Otherwise as [`publish_in`](Self::publish_in).
    ///
    /// # Errors
    /// As [`publish_in`](Self::publish_in).
    pub async fn publish_at<E: Event>(&self, event: &E, time: SystemTime) -> Result<Scheduled, PublishError> {
        self.schedule(event, When::At(time), &Metadata::new()).await
    }

    /// As [`publish_at`](Self::publish_at), with metadata of the publisher's own; see [`publish_in_with`](Self::publish_in_with).
    ///
    /// # Errors
    /// As [`publish_in`](Self::publish_in).
    pub async fn publish_at_with<E: Event>(
        &self,
        event: &E,
        time: SystemTime,
        metadata: &Metadata,
    ) -> Result<Scheduled, PublishError> {
        self.schedule(event, When::At(time), metadata).await
    }

    /// Takes back an event that waits for its time; says whether it did. What was appended already stays.
    ///
    /// # Errors
    /// If the broker can't be asked.
    pub async fn cancel(&self, stream: &str, id: &str) -> Result<bool, CommandError> {
        let keys = DelayedKeys::of(stream);
        let mut call = CANCEL.with_keys([&*keys.due, &keys.events]);
        let reply = call.arg(id).run(self.link()).await?;
        Ok(reply::integer(&reply).ok_or(CommandError::Unexpected { command: "cancel" })? == 1)
    }

    /// Events of a stream that wait for their time, at most `count`, the next one first.
    ///
    /// # Errors
    /// If the broker can't be asked.
    pub async fn scheduled(&self, stream: &str, count: usize) -> Result<Vec<Scheduled>, CommandError> {
        let mut command = cmd("ZRANGE");
        command.arg(DelayedKeys::of(stream).due).arg(0).arg(count.saturating_sub(1)).arg("WITHSCORES");
        if count == 0 {
            return Ok(Vec::new());
        }
        let reply = self.link().send(&command).await?;
        scored(reply)
            .map(|found| {
                let scheduled = |(id, ms)| Scheduled { stream: stream.to_owned(), id, due: time(ms) };
                found.into_iter().map(scheduled).collect()
            })
            .ok_or(CommandError::Unexpected { command: "ZRANGE" })
    }

    async fn schedule<E: Event>(
        &self,
        event: &E,
        when: When,
        metadata: &Metadata,
    ) -> Result<Scheduled, PublishError> {
        const {
            assert!(
                !E::STREAM.is_empty(),
                "this event has no stream: add #[event(stream = \"...\")], or use Bus::broadcast"
            );
        };
        let metadata = metadata.clone().with_an_id();
        let id = metadata.chosen_id().unwrap_or_default().to_owned();
        let fields = to_fields(event, &metadata, self.source())?;
        if fields.len() > PAIRS_MAX {
            return Err(PublishError::TooManyFields { count: fields.len(), limit: PAIRS_MAX });
        }
        let stream = self.stream_of(event).await?;
        let due = self.wait(&stream, &id, when, &fields).await?;
        self.movers().sooner(&stream);
        Ok(Scheduled { stream: stream.into_owned(), id, due: time(due) })
    }

    async fn wait(&self, stream: &str, id: &str, when: When, fields: &Fields) -> Result<u64, CommandError> {
        let (keys, sent) = (DelayedKeys::of(stream), SentKeys::of(stream));
        let mut call = SCHEDULE.with_keys([&*keys.due, &keys.events, &sent.sent]);
        let (word, ms) = match when {
            When::In(delay) => ("in", millis(delay)),
            When::At(time) => ("at", since_epoch(time)),
        };
        call.arg(id).arg(word).arg(ms.to_string()).arg("").arg(WAITING_MAX.to_string());
        push(&mut call, fields);
        let mut attempts = Attempts::new(self.patience());
        loop {
            let said = call.run(self.link()).await;
            let Some(outcome) = attempts.ended(said).await else { continue };
            let parts = reply::list(outcome?).unwrap_or_default();
            let due = parts.first().and_then(score);
            return due.ok_or(CommandError::Unexpected { command: "schedule" });
        }
    }
}

pub(crate) fn push(call: &mut crate::script::Invocation, fields: &Fields) {
    call.fields(fields);
}

/// Scores are milliseconds: far below where a float loses whole numbers.
pub(crate) fn score(value: &Value) -> Option<u64> {
    match value {
        Value::Double(score) => Some(*score as u64),
        Value::Int(score) => u64::try_from(*score).ok(),
        Value::BulkString(text) => {
            std::str::from_utf8(text).ok()?.parse::<f64>().ok().map(|score| score as u64)
        }
        _ => None,
    }
}

/// Members with their scores: pairs in RESP3, a flat list in RESP2.
fn scored(reply: Value) -> Option<Vec<(String, u64)>> {
    let mut flat = Vec::new();
    for item in reply::list(reply)? {
        match item {
            Value::Array(pair) => flat.extend(pair),
            item => flat.push(item),
        }
    }
    let mut found = Vec::with_capacity(flat.len() / 2);
    let mut flat = flat.into_iter();
    while let (Some(member), Some(value)) = (flat.next(), flat.next()) {
        found.push((reply::text(member)?, score(&value)?));
    }
    Some(found)
}

/// A float holds these milliseconds exactly; more than 200,000 years are as good as for ever.
const MS_MAX: u64 = 1 << 52;

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(MS_MAX).min(MS_MAX)
}

fn since_epoch(time: SystemTime) -> u64 {
    millis(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

fn time(ms: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(ms)
}
