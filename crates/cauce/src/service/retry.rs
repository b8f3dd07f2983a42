//! When a failed delivery is tried again, and when no more.

use std::borrow::Cow;
use std::ops::Range;
use std::time::Duration;

/// When a failed delivery is tried again, and how often at most.
///
/// An attempt is a started handler, and a death of the instance that held the entry. While it waits, the entry stays pending in its group, with its
/// id; other groups never notice. It waits at the broker, to the millisecond and by the broker's clock: neither a crash nor a deploy of the
/// service shortens or loses a delay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    delays: Delays,
    max_attempts: u32,
    max_age: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Delays {
    Fixed(Duration),
    Exponential {
        first: Duration,
        longest: Duration,
        jitter: bool,
    },
    /// One for each attempt after the first.
    Schedule(Cow<'static, [Duration]>),
}

const DEFAULT_ATTEMPTS: u32 = 8;

impl Retry {
    /// One attempt; a failure is a dead letter.
    #[must_use]
    pub const fn none() -> Self {
        Self { delays: Delays::Fixed(Duration::ZERO), max_attempts: 1, max_age: None }
    }

    /// Again at once; 8 attempts unless [`max_attempts`](Self::max_attempts) says otherwise.
    #[must_use]
    pub const fn immediate() -> Self {
        Self::fixed(Duration::ZERO)
    }

    /// The same delay before every further attempt; 8 attempts unless [`max_attempts`](Self::max_attempts) says otherwise.
    #[must_use]
    pub const fn fixed(delay: Duration) -> Self {
        Self { delays: Delays::Fixed(delay), max_attempts: DEFAULT_ATTEMPTS, max_age: None }
    }

    /// Delays that double from the start of the range to its end, each drawn from its upper half, so that what failed together does not come
    /// back together; 8 attempts unless [`max_attempts`](Self::max_attempts) says otherwise.
    #[must_use]
    pub const fn exponential(delays: Range<Duration>) -> Self {
        let delays = Delays::Exponential { first: delays.start, longest: delays.end, jitter: true };
        Self { delays, max_attempts: DEFAULT_ATTEMPTS, max_age: None }
    }

    /// The delays before the second attempt, the third, and so on; one attempt more than there are delays.
    #[must_use]
    pub fn schedule(delays: impl Into<Cow<'static, [Duration]>>) -> Self {
        let delays = delays.into();
        let max_attempts = u32::try_from(delays.len()).unwrap_or(u32::MAX).saturating_add(1);
        Self { delays: Delays::Schedule(delays), max_attempts, max_age: None }
    }

    /// Delays exactly as computed, not drawn.
    #[must_use]
    pub fn without_jitter(mut self) -> Self {
        if let Delays::Exponential { jitter, .. } = &mut self.delays {
            *jitter = false;
        }
        self
    }

    /// How many attempts there are in all, the first included; at least one. Beyond the end of a schedule its last delay is repeated.
    #[must_use]
    pub const fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = if attempts == 0 { 1 } else { attempts };
        self
    }

    /// No attempt when the entry would be older than this, by its id and the broker's clock: it is a dead letter then.
    #[must_use]
    pub const fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// The delay after the failed attempt of that number (from 1) of an entry of that age, or `None` when it was the last. A delay that the
    /// handler chose comes before the policy's.
    pub(crate) fn delay(&self, attempt: u32, age: Duration, chosen: Option<Duration>) -> Option<Duration> {
        if attempt >= self.max_attempts {
            return None;
        }
        let delay = chosen.unwrap_or_else(|| self.by_policy(attempt));
        let too_old = self.max_age.is_some_and(|max_age| age + delay > max_age);
        (!too_old).then_some(delay)
    }

    /// How often a message of a queue may be received when every receipt ended in the death of its process: a policy of few attempts
    /// must not bury messages that were hardly run.
    pub(crate) fn max_receipts(&self) -> u32 {
        self.max_attempts.max(3)
    }

    fn by_policy(&self, attempt: u32) -> Duration {
        let before = attempt.saturating_sub(1);
        match &self.delays {
            Delays::Fixed(delay) => *delay,
            Delays::Exponential { first, longest, jitter } => {
                let doubled =
                    first.saturating_mul(2_u32.saturating_pow(before.min(31))).min(*longest.max(first));
                if *jitter { doubled.mul_f64(0.5 + fastrand::f64() / 2.0) } else { doubled }
            }
            Delays::Schedule(delays) => {
                let last = delays.last().copied().unwrap_or_default();
                delays.get(before as usize).copied().unwrap_or(last)
            }
        }
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

    const MS: Duration = Duration::from_millis(1);

    fn check(retry: &Retry, attempt: u32, expected_ms: Option<u64>) {
        let delay = retry.delay(attempt, Duration::ZERO, None);
        assert_eq!(
            delay.map(|delay| delay.as_millis() as u64),
            expected_ms,
            "attempt {attempt} of {retry:?}"
        );
    }

    #[test]
    fn delays_grow_to_a_limit_and_attempts_end() {
        let retry = Retry::exponential(100 * MS..300 * MS).max_attempts(4).without_jitter();
        for (attempt, expected) in [(1, Some(100)), (2, Some(200)), (3, Some(300)), (4, None), (5, None)] {
            check(&retry, attempt, expected);
        }
        check(&Retry::none(), 1, None);
        check(&Retry::immediate(), 7, Some(0));
        check(&Retry::fixed(50 * MS).max_attempts(u32::MAX), 1_000, Some(50));
        check(&Retry::default().without_jitter(), 7, Some(64_000));
        check(&Retry::fixed(50 * MS).max_attempts(0), 1, None);
    }

    #[test]
    fn a_schedule_has_a_delay_for_each_further_attempt() {
        let retry = Retry::schedule([10 * MS, 5 * MS].to_vec());
        for (attempt, expected) in [(1, Some(10)), (2, Some(5)), (3, None)] {
            check(&retry, attempt, expected);
        }
        check(&retry.max_attempts(9), 8, Some(5));
        check(&Retry::schedule(&[][..]), 1, None);
    }

    #[test]
    fn jitter_stays_in_the_upper_half() {
        for _ in 0..1_000 {
            let delay = Retry::default().delay(2, Duration::ZERO, None).unwrap();
            assert!((1_000 * MS..=2_000 * MS).contains(&delay), "{delay:?}");
        }
    }

    #[test]
    fn age_ends_attempts_and_a_chosen_delay_does_not_lengthen_them() {
        let retry = Retry::fixed(50 * MS).max_age(100 * MS).max_attempts(3);
        assert_eq!(retry.delay(1, 50 * MS, None), Some(50 * MS));
        assert_eq!(retry.delay(1, 51 * MS, None), None);
        assert_eq!(retry.delay(1, 51 * MS, Some(9 * MS)), Some(9 * MS));
        assert_eq!(retry.delay(3, Duration::ZERO, Some(MS)), None);
    }
}
