//! Faults that are put in on purpose, so that a test can show that the differential tester finds them.
//!
//! They exist only with the feature `seeded-faults`, which nothing but that test turns on; without it every function here gives
//! back what it is given.

use crate::config::Settings;
use crate::session::SessionId;

/// What is wrong, if anything.
#[cfg(feature = "seeded-faults")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// XINFO shows one entry more than a group that lags has before it.
    Lag,
    /// XPENDING counts one entry too few where there are several.
    PendingCount,
    /// Of those who wait for a key, the last is served first.
    WakeOrder,
}

/// Bends what it is given as the settings say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Faults {
    #[cfg(feature = "seeded-faults")]
    fault: Fault,
}

#[cfg(feature = "seeded-faults")]
impl Faults {
    pub(crate) fn of(settings: &Settings) -> Self {
        Self { fault: settings.fault }
    }

    pub(crate) fn lag(self, lag: Option<i64>) -> Option<i64> {
        if self.fault == Fault::Lag { lag.map(|lag| lag + i64::from(lag > 0)) } else { lag }
    }

    pub(crate) fn pending_count(self, count: usize) -> usize {
        if self.fault == Fault::PendingCount { count - usize::from(count > 2) } else { count }
    }

    pub(crate) fn wake_order(self, mut waiting: Vec<SessionId>) -> Vec<SessionId> {
        if self.fault == Fault::WakeOrder {
            waiting.reverse();
        }
        waiting
    }
}

#[cfg(not(feature = "seeded-faults"))]
#[expect(clippy::unused_self, reason = "the same calls as with the feature")]
impl Faults {
    pub(crate) const fn of(_: &Settings) -> Self {
        Self {}
    }

    pub(crate) const fn lag(self, lag: Option<i64>) -> Option<i64> {
        lag
    }

    pub(crate) const fn pending_count(self, count: usize) -> usize {
        count
    }

    pub(crate) fn wake_order(self, waiting: Vec<SessionId>) -> Vec<SessionId> {
        waiting
    }
}
