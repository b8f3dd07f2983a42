//! Events that recur.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use tokio::task::AbortHandle;

use super::{DelayedKeys, push, score, time};
use crate::backend::backoff::Backoff;
use crate::backend::command::companion;
use crate::backend::reply;
use crate::bus::Bus;
use crate::clock;
use crate::error::{CommandError, PublishError};
use crate::event::{Event, Metadata, to_fields};
use crate::idempotent::{PAIRS_MAX, SentKeys};
use crate::script::Script;

static OCCUR: Script =
    Script::new(concat!(include_str!("../service/scripts/prelude.lua"), include_str!("occur.lua")));

/// How often it is looked whether the broker's clock has jumped, or its data is gone.
const LOOK: Duration = Duration::from_secs(1);
/// How long after its time an occurrence is looked for the first time.
const AFTER: Duration = Duration::from_millis(2);

/// A schedule by which an event is published again and again, in the notation of cron.
///
/// Start it in as many instances as you like: the next occurrence waits at the broker like any [delayed event](Bus::publish_in), and its id is made of the
/// schedule's name and its due time (`report@2026-03-01T03:00:00.000Z`), so that each occurrence is published once. If nobody is alive at its time, it is
/// published when the next service of its stream starts; of those that would have come while no instance of the schedule was alive, the last one is made
/// up for. [`skip_missed`](Self::skip_missed) leaves them out.
#[derive(Clone)]
#[must_use = "a schedule does nothing until it is started"]
pub struct Cron {
    name: String,
    text: String,
    pattern: croner::Cron,
    zone: TimeZone,
    late_max: Option<Duration>,
}

impl Cron {
    /// A schedule. The pattern has five fields (minute, hour, day of month, month, day of week) or six (second first), or is one of `@hourly`,
    /// `@daily`, `@weekly`, `@monthly`, `@yearly`. Times are UTC.
    ///
    /// # Errors
    /// If the pattern can't be read, or never comes true.
    pub fn new(name: impl Into<String>, pattern: &str) -> Result<Self, CronError> {
        let wrong = |problem: &dyn fmt::Display| CronError::Pattern {
            pattern: pattern.to_owned(),
            problem: problem.to_string(),
        };
        let parsed = croner::Cron::from_str(pattern).map_err(|error| wrong(&error))?;
        let cron = Self {
            name: name.into(),
            text: pattern.to_owned(),
            pattern: parsed,
            zone: TimeZone::UTC,
            late_max: None,
        };
        cron.next_after(0).map(|_| cron).ok_or_else(|| wrong(&"no time ever matches"))
    }

    /// The times of the pattern are those of this time zone, by its name in the IANA database (`Europe/Madrid`), which the system has. Where clocks go
    /// forward, what would be in the gap comes after it; where they go back, it comes once.
    ///
    /// # Errors
    /// If the system knows no such time zone.
    pub fn time_zone(mut self, name: &str) -> Result<Self, CronError> {
        self.zone = TimeZone::get(name).map_err(|_| CronError::TimeZone { name: name.to_owned() })?;
        Ok(self)
    }

    /// Occurrences that would come later than this after their time are left out, and none is made up for.
    pub fn skip_missed(mut self, late: Duration) -> Self {
        self.late_max = Some(late);
        self
    }

    /// Starts it: `event` makes the event of the occurrence that is due at that time. When this returns, the next occurrence waits at the broker.
    ///
    /// A schedule of the same name and another pattern on the same stream takes the other's place.
    ///
    /// # Errors
    /// As [`Bus::publish`].
    pub async fn start<E, F>(self, bus: &Bus, event: F) -> Result<RunningCron, PublishError>
    where
        E: Event,
        F: Fn(SystemTime) -> E + Send + Sync + 'static,
    {
        const {
            assert!(!E::STREAM.is_empty(), "this event has no stream: add #[event(stream = \"...\")]");
            assert!(
                E::PARTITIONS == 0,
                "what a schedule publishes goes to one stream: use an event without `partitions`"
            );
        };
        let clock = Arc::new(Clock { cron: self, bus: bus.clone(), event });
        let first = clock.arrange(true).await?;
        bus.movers().sooner(E::STREAM);
        Ok(RunningCron { task: tokio::spawn(run(clock, first)).abort_handle() })
    }

    /// The first occurrence after a time, in milliseconds since the Unix epoch.
    fn next_after(&self, ms: u64) -> Option<u64> {
        self.pattern.find_next_occurrence(&self.zoned(ms)?, false).ok().and_then(|found| epoch_ms(&found))
    }

    /// The last occurrence at or before a time.
    fn last_until(&self, ms: u64) -> Option<u64> {
        self.pattern.find_previous_occurrence(&self.zoned(ms)?, true).ok().and_then(|found| epoch_ms(&found))
    }

    fn zoned(&self, ms: u64) -> Option<Zoned> {
        let timestamp = Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()?;
        Some(timestamp.to_zoned(self.zone.clone()))
    }

    /// The occurrence to arrange next: the last one that was missed, or the next to come.
    fn due(&self, now: u64, last: u64) -> Option<u64> {
        let missed = (last > 0 && self.late_max.is_none()).then(|| self.last_until(now)).flatten();
        missed.filter(|missed| *missed > last).or_else(|| self.next_after(now.max(last)))
    }
}

impl fmt::Debug for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cron")
            .field("name", &self.name)
            .field("pattern", &self.text)
            .field("zone", &self.zone.iana_name())
            .field("late_max", &self.late_max)
            .finish_non_exhaustive()
    }
}

/// A schedule that is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CronError {
    /// The pattern can't be read.
    #[error(
        "the pattern `{pattern}` can't be used: {problem}; write minute, hour, day of month, month and day of week, as in `0 3 * * *`"
    )]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        problem: String,
    },
    /// There is no such time zone.
    #[error(
        "the system knows no time zone `{name}`: write a name like Europe/Madrid, and install the package tzdata"
    )]
    TimeZone {
        /// The name.
        name: String,
    },
}

/// A schedule that runs until this is dropped. The occurrence that waits at the broker then stays; [`Bus::cancel`] takes it back.
#[derive(Debug)]
#[must_use = "dropping it ends the schedule in this process"]
pub struct RunningCron {
    task: AbortHandle,
}

impl Drop for RunningCron {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Clock<F> {
    cron: Cron,
    bus: Bus,
    event: F,
}

/// What the broker says of a schedule, in milliseconds.
#[derive(Clone, Copy)]
struct Occurrence {
    now: u64,
    due: u64,
    waits: bool,
}

async fn run<E: Event, F: Fn(SystemTime) -> E + Send + Sync + 'static>(
    clock: Arc<Clock<F>>,
    mut occurrence: Occurrence,
) {
    let mut backoff = Backoff::new();
    loop {
        let until = Duration::from_millis(occurrence.due.saturating_sub(occurrence.now)) + AFTER;
        tokio::time::sleep(until.min(LOOK)).await;
        match clock.arrange(false).await {
            Ok(next) if next.waits && next.due <= next.now => {
                // Its stream may not take it, or the broker is slow.
                occurrence = next;
                backoff.wait().await;
            }
            Ok(next) => {
                backoff = Backoff::new();
                occurrence = next;
            }
            Err(error) => {
                tracing::debug!(%error, cron = clock.cron.name, "the next occurrence is not arranged yet");
                backoff.wait().await;
            }
        }
    }
}

impl<E: Event, F: Fn(SystemTime) -> E + Send + Sync + 'static> Clock<F> {
    /// Sees that an occurrence waits at the broker.
    async fn arrange(&self, replace: bool) -> Result<Occurrence, PublishError> {
        let known = self.ask(replace, None).await?;
        let due = if known.waits { None } else { self.cron.due(known.now, known.due) };
        let Some(due) = due else { return Ok(known) };
        let arranged = self.ask(replace, Some(due)).await?;
        self.bus.movers().sooner(E::STREAM);
        Ok(arranged)
    }

    async fn ask(&self, replace: bool, due: Option<u64>) -> Result<Occurrence, PublishError> {
        let (keys, sent) = (DelayedKeys::of(E::STREAM), SentKeys::of(E::STREAM));
        let schedule = companion(E::STREAM, &format!("cron:{}", self.cron.name));
        let mut call = OCCUR.with_keys([&*schedule, &keys.due, &keys.events, &sent.sent]);
        // A time zone is a part of the pattern.
        let zone = self.cron.zone.iana_name().unwrap_or_default();
        call.arg(format!("{} {zone}", self.cron.text)).arg(if replace { "1" } else { "0" });
        if let Some(due) = due {
            let id = format!("{}@{}", self.cron.name, clock::rfc3339(time(due)));
            let metadata = Metadata::new().id(&*id).time(time(due));
            let fields = to_fields(&(self.event)(time(due)), &metadata, self.bus.source())?;
            if fields.len() > PAIRS_MAX {
                return Err(PublishError::TooManyFields { count: fields.len(), limit: PAIRS_MAX });
            }
            let late = self.cron.late_max.map(|late| super::millis(late).to_string()).unwrap_or_default();
            call.arg(due.to_string()).arg(id).arg(late);
            push(&mut call, &fields);
        }
        let parts = reply::list(call.run(self.bus.link()).await?).unwrap_or_default();
        match (parts.first().and_then(score), parts.get(1).and_then(score), parts.get(2)) {
            (Some(now), Some(due), Some(waits)) => {
                Ok(Occurrence { now, due, waits: reply::integer(waits) == Some(1) })
            }
            _ => Err(CommandError::Unexpected { command: "occur" }.into()),
        }
    }
}

fn epoch_ms(found: &Zoned) -> Option<u64> {
    u64::try_from(found.timestamp().as_millisecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> u64 {
        u64::try_from(text.parse::<Timestamp>().unwrap().as_millisecond()).unwrap()
    }

    fn after(cron: &Cron, text: &str) -> String {
        clock::rfc3339(time(cron.next_after(ms(text)).unwrap()))
    }

    #[test]
    fn patterns_are_those_of_cron() {
        let check = |pattern: &str, after_this: &str, expected: &str| {
            assert_eq!(after(&Cron::new("x", pattern).unwrap(), after_this), expected, "{pattern}");
        };
        check("0 3 * * *", "2026-03-01T03:00:00Z", "2026-03-02T03:00:00.000Z");
        check("*/5 * * * * *", "2026-03-01T03:00:04.999Z", "2026-03-01T03:00:05.000Z");
        check("0 0 29 2 *", "2026-03-01T00:00:00Z", "2028-02-29T00:00:00.000Z");
        check("@hourly", "2026-03-01T03:00:00.001Z", "2026-03-01T04:00:00.000Z");
    }

    #[test]
    fn a_day_in_madrid_begins_earlier() {
        let madrid = Cron::new("x", "30 2 * * *").unwrap().time_zone("Europe/Madrid").unwrap();
        assert_eq!(after(&madrid, "2026-01-10T12:00:00Z"), "2026-01-11T01:30:00.000Z");
        // Clocks go from 2:00 to 3:00.
        let gap = after(&madrid, "2026-03-28T12:00:00Z");
        assert!(gap.starts_with("2026-03-29T01:"), "{gap}");
        // Clocks go from 3:00 back to 2:00: once.
        let first = after(&madrid, "2026-10-24T12:00:00Z");
        assert_eq!(first, "2026-10-25T00:30:00.000Z");
        assert_eq!(after(&madrid, "2026-10-25T00:30:00Z"), "2026-10-26T01:30:00.000Z");
    }

    #[test]
    fn of_those_that_were_missed_the_last_is_made_up_for() {
        let cron = Cron::new("x", "0 * * * *").unwrap();
        let (now, last) = (ms("2026-03-01T05:20:00Z"), ms("2026-03-01T02:00:00Z"));
        assert_eq!(cron.due(now, last), Some(ms("2026-03-01T05:00:00Z")));
        assert_eq!(cron.due(now, ms("2026-03-01T05:00:00Z")), Some(ms("2026-03-01T06:00:00Z")));
        assert_eq!(cron.due(now, 0), Some(ms("2026-03-01T06:00:00Z")));
        // A clock that went back does not repeat anything.
        assert_eq!(cron.due(last, now), Some(ms("2026-03-01T06:00:00Z")));
        let skipping = cron.skip_missed(Duration::from_secs(1));
        assert_eq!(skipping.due(now, last), Some(ms("2026-03-01T06:00:00Z")));
    }

    #[test]
    fn what_is_no_schedule_is_named() {
        let error = Cron::new("x", "every day").unwrap_err().to_string();
        assert!(error.starts_with("the pattern `every day` can't be used: "), "{error}");
        assert!(error.ends_with("as in `0 3 * * *`"), "{error}");
        assert!(Cron::new("x", "0 0 31 2 *").is_err());
        let error = Cron::new("x", "@daily").unwrap().time_zone("Mars/Olympus").unwrap_err();
        assert_eq!(error, CronError::TimeZone { name: "Mars/Olympus".to_owned() });
    }
}
