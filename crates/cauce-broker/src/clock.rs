//! The broker's clock: the only place that asks for the time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cauce_engine::Timestamp;
use tokio::time::Instant;

use crate::config::ClockSource;

#[derive(Debug)]
pub(crate) enum Clock {
    System,
    Runtime { origin: Instant, time_of_day: Duration },
}

impl Clock {
    pub(crate) fn new(source: ClockSource) -> Self {
        match source {
            ClockSource::System => Self::System,
            ClockSource::Runtime => Self::Runtime { origin: Instant::now(), time_of_day: since_epoch() },
            ClockSource::RuntimeFrom(time_of_day) => Self::Runtime { origin: Instant::now(), time_of_day },
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        let since_epoch = match self {
            Self::System => since_epoch(),
            Self::Runtime { origin, time_of_day } => *time_of_day + origin.elapsed(),
        };
        Timestamp::from_micros(u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX))
    }
}

/// Measures how long something takes, on a clock that never stands still.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch(std::time::Instant);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(std::time::Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// A clock set before 1970 counts as 1970.
fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
