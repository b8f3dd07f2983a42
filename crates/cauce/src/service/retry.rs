//! When a failed delivery is tried again, and when no more.

use std::ops::Range;
use std::time::Duration;

/// When a failed delivery is tried again, and how often at most.
///
/// An attempt is a started handler. The entry stays pending in its group while it waits, with its id; other groups never notice.
/// The delay is counted from the failure, and drawn from its upper half, so that what failed together does not come back together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    first: Duration,
    longest: Duration,
    max_attempts: u32,
}

impl Retry {
    /// One attempt; a failure is a dead letter.
    #[must_use]
    pub const fn none() -> Self {
        Self { first: Duration::ZERO, longest: Duration::ZERO, max_attempts: 1 }
    }

    /// The same delay before every further attempt; 8 attempts unless [`max_attempts`](Self::max_attempts) says otherwise.
    #[must_use]
    pub const fn fixed(delay: Duration) -> Self {
        Self { first: delay, longest: delay, max_attempts: 8 }
    }

    /// Delays that double from the start of the range to its end; 8 attempts unless [`max_attempts`](Self::max_attempts) says otherwise.
    #[must_use]
    pub const fn exponential(delays: Range<Duration>) -> Self {
        Self { first: delays.start, longest: delays.end, max_attempts: 8 }
    }

    /// How many attempts there are in all, the first included; at least one.
    #[must_use]
    pub const fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = if attempts == 0 { 1 } else { attempts };
        self
    }

    /// The delay after the failed attempt of that number (from 1), or `None` when it was the last.
    pub(crate) fn delay(&self, attempt: u32) -> Option<Duration> {
        if attempt >= self.max_attempts {
            return None;
        }
        let doublings = attempt.saturating_sub(1).min(32);
        let base =
            self.first.saturating_mul(2_u32.saturating_pow(doublings)).min(self.longest.max(self.first));
        Some(base.mul_f64(0.5 + fastrand::f64() / 2.0))
    }

    pub(crate) fn is_last(&self, attempt: u32) -> bool {
        attempt >= self.max_attempts
    }

    /// How often an entry may be delivered when every delivery ended in the death of its process: a policy of few attempts must
    /// not dead-letter entries that were read and never run.
    pub(crate) fn max_deliveries(&self) -> u32 {
        self.max_attempts.max(3)
    }
}

/// Exponential from one second to five minutes, 8 attempts: about four minutes until an entry is dead.
impl Default for Retry {
    fn default() -> Self {
        Self::exponential(Duration::from_secs(1)..Duration::from_secs(300))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(retry: &Retry, attempt: u32, expected_ms: Option<u64>) {
        match (retry.delay(attempt), expected_ms.map(Duration::from_millis)) {
            (Some(delay), Some(longest)) => {
                assert!(
                    delay <= longest && delay >= longest / 2,
                    "attempt {attempt}: {delay:?}, expected up to {longest:?}"
                );
            }
            (delay, expected) => assert_eq!(delay, expected, "attempt {attempt}"),
        }
    }

    #[test]
    fn delays_grow_to_a_limit_and_attempts_end() {
        let retry =
            Retry::exponential(Duration::from_millis(100)..Duration::from_millis(300)).max_attempts(4);
        for (attempt, expected) in [(1, Some(100)), (2, Some(200)), (3, Some(300)), (4, None), (5, None)] {
            check(&retry, attempt, expected);
        }
        check(&Retry::none(), 1, None);
        check(&Retry::fixed(Duration::from_millis(50)).max_attempts(u32::MAX), 1_000, Some(50));
        check(&Retry::default(), 7, Some(64_000));
        check(&Retry::fixed(Duration::from_millis(50)).max_attempts(0), 1, None);
    }
}
