//! The broker's clock: the only place that asks for the time.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cauce_engine::Timestamp;
use tokio::time::Instant;

use crate::config::ClockSource;

#[derive(Debug)]
pub(crate) enum Clock {
    System { since: std::time::Instant, time: Mutex<NeverBack> },
    Runtime { origin: Instant, time_of_day: Duration },
}

impl Clock {
    pub(crate) fn new(source: ClockSource) -> Self {
        match source {
            ClockSource::System => Self::System {
                since: std::time::Instant::now(),
                time: Mutex::new(NeverBack::new(since_epoch())),
            },
            ClockSource::Runtime => Self::Runtime { origin: Instant::now(), time_of_day: since_epoch() },
            ClockSource::RuntimeFrom(time_of_day) => Self::Runtime { origin: Instant::now(), time_of_day },
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        let since_epoch = match self {
            Self::System { since, time } => {
                let mut time = time.lock().unwrap_or_else(PoisonError::into_inner);
                time.at(since.elapsed(), since_epoch())
            }
            Self::Runtime { origin, time_of_day } => *time_of_day + origin.elapsed(),
        };
        Timestamp::from_micros(u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX))
    }
}

/// The system's time of day, but for a clock that is set back. Leases, delays and timeouts would last as much longer then, and ids would stand
/// still: the time that is told goes on, by a tenth more slowly until the system's has come up with it. A clock that is put forward is
/// followed at once.
#[derive(Debug)]
pub(crate) struct NeverBack {
    /// By how much the time that is told is ahead of the clock that only goes on.
    offset: Duration,
    /// What that said the last time.
    before: Duration,
}

/// The part of the time that passes by which a difference shrinks.
const CATCH_UP: u32 = 10;

impl NeverBack {
    fn new(time_of_day: Duration) -> Self {
        Self { offset: time_of_day, before: Duration::ZERO }
    }

    /// `passed` by a clock that only goes on, when the system says `time_of_day`.
    fn at(&mut self, passed: Duration, time_of_day: Duration) -> Duration {
        let since = passed.saturating_sub(self.before);
        self.before = self.before.max(passed);
        let told = self.offset + self.before;
        let slower = told.saturating_sub(since / CATCH_UP);
        self.offset = slower.max(time_of_day).saturating_sub(self.before);
        self.offset + self.before
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

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_clock_that_is_put_forward_is_followed_at_once() {
        let mut time = NeverBack::new(secs(1000));
        assert_eq!(time.at(secs(1), secs(1001)), secs(1001));
        assert_eq!(time.at(secs(2), secs(5002)), secs(5002));
        assert_eq!(time.at(secs(3), secs(5003)), secs(5003));
    }

    #[test]
    fn a_clock_that_is_set_back_is_waited_for() {
        let mut time = NeverBack::new(secs(10_000));
        assert_eq!(time.at(secs(100), secs(10_100)), secs(10_100));
        // An hour back: a lease of ten seconds ends after eleven.
        let mut told = secs(10_100);
        for second in 101..36_100 {
            let now = time.at(secs(second), secs(6400 + second));
            assert_eq!(now - told, Duration::from_millis(900), "after {second} s");
            told = now;
        }
        assert_eq!(time.at(secs(36_100), secs(42_500)), secs(42_500), "ten hours later they agree");
        assert_eq!(time.at(secs(36_101), secs(42_501)), secs(42_501));
    }

    #[test]
    fn readings_of_several_threads_may_come_in_any_order() {
        let mut time = NeverBack::new(secs(1000));
        assert_eq!(time.at(secs(9), secs(1009)), secs(1009));
        assert_eq!(time.at(secs(8), secs(1008)), secs(1009));
        assert_eq!(time.at(secs(10), secs(1010)), secs(1010));
    }
}
