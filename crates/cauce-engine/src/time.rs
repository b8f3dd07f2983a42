//! The only notion of time in the engine: a value that the caller hands in.

use std::num::NonZeroU64;
use std::time::Duration;

/// A moment, in microseconds since the Unix epoch (the resolution of Redis's `TIME`).
///
/// Held as one more than that, so that `Option<Timestamp>`, which every key has, is no larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(NonZeroU64);

impl Default for Timestamp {
    fn default() -> Self {
        Self::from_micros(0)
    }
}

impl Timestamp {
    /// The moment `micros` microseconds after the epoch; the last representable moment if that is too far.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(NonZeroU64::MIN.saturating_add(micros))
    }

    /// The moment `millis` milliseconds after the epoch; the last representable moment if that is too far.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self::from_micros(millis.saturating_mul(1000))
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub const fn micros(self) -> u64 {
        self.0.get() - 1
    }

    /// Whole milliseconds since the epoch.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.micros() / 1000
    }

    /// Whole seconds since the epoch.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        self.micros() / 1_000_000
    }

    /// This moment plus `duration`; the last representable moment if that is too far.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self::from_micros(
            self.micros().saturating_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)),
        )
    }

    /// The time from `earlier` to this moment; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.micros().saturating_sub(earlier.micros()))
    }
}
