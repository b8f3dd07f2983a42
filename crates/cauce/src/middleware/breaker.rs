//! A circuit breaker: when everything fails, a pause.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Handled, Incoming, Middleware, Next, NextPublish, Outgoing, Published};
use crate::error::PublishError;
use crate::service::Verdict;

/// Pauses after a number of failures in a row; then lets one through as a trial, and by its outcome all or none.
///
/// Around handlers the paused wait: nothing fails, no attempt is used up, leases are kept, and the service reads no more than it can hold. A handler
/// that rejects its event has not failed in this sense: the event is at fault. Around publishes the paused are refused at once with
/// [`PublishError::Paused`], so that callers are not held up. Clones share the state.
#[derive(Clone, Debug)]
pub struct CircuitBreaker(Arc<Breaker>);

#[derive(Debug)]
struct Breaker {
    failures_max: u32,
    pause: Duration,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// In a row.
    failures: u32,
    /// Nothing but a trial goes through from then on; before, nothing.
    open_until: Option<Instant>,
    /// Whether a trial is under way.
    trial: bool,
    /// How often it paused.
    pauses: u64,
}

/// Says what became of something that was let through; if it is dropped, a trial was none.
struct Pass(Arc<Breaker>, bool);

impl CircuitBreaker {
    /// Pauses for `pause` after so many failures in a row.
    #[must_use]
    pub fn new(failures: u32, pause: Duration) -> Self {
        let state = Mutex::default();
        Self(Arc::new(Breaker { failures_max: failures.max(1), pause, state, changed: Notify::new() }))
    }

    /// Whether it pauses now.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.0.lock().open_until.is_some()
    }

    /// How often it has begun to pause.
    #[must_use]
    pub fn pauses(&self) -> u64 {
        self.0.lock().pauses
    }

    async fn wait(&self) -> Pass {
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            // Registered before looking, so that no change is missed.
            changed.as_mut().enable();
            let until = match self.0.enter() {
                Ok(pass) => return pass,
                Err(until) => until,
            };
            match until {
                Some(until) => drop(tokio::time::timeout_at(until, changed).await),
                None => changed.await,
            }
        }
    }
}

impl Breaker {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// # Errors
    /// With the end of the pause, or nothing while a trial is under way.
    fn enter(self: &Arc<Self>) -> Result<Pass, Option<Instant>> {
        let mut state = self.lock();
        match state.open_until {
            None => Ok(Pass(Arc::clone(self), false)),
            Some(_) if state.trial => Err(None),
            Some(until) if Instant::now() < until => Err(Some(until)),
            Some(_) => {
                state.trial = true;
                Ok(Pass(Arc::clone(self), true))
            }
        }
    }
}

impl Pass {
    fn ended(mut self, well: bool) {
        let breaker = Arc::clone(&self.0);
        let mut state = breaker.lock();
        if well {
            // What was let through before the pause says nothing of what is now.
            if self.1 || state.open_until.is_none() {
                *state = State { pauses: state.pauses, ..State::default() };
            }
        } else {
            state.failures = state.failures.saturating_add(1);
            if self.1 || (state.open_until.is_none() && state.failures >= breaker.failures_max) {
                state.open_until = Some(Instant::now() + breaker.pause);
                state.trial = false;
                state.pauses += 1;
                tracing::warn!(failures = state.failures, pause = ?breaker.pause, "too many failures in a row: pausing");
            }
        }
        self.1 = false;
        drop(state);
        breaker.changed.notify_waiters();
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.1 {
            self.0.lock().trial = false;
            self.0.changed.notify_waiters();
        }
    }
}

impl Middleware for CircuitBreaker {
    fn consume(&self, _: &Incoming, next: Next) -> Handled {
        let breaker = self.clone();
        Box::pin(async move {
            let pass = breaker.wait().await;
            let outcome = next.run().await;
            pass.ended(outcome.as_ref().err().is_none_or(|error| error.verdict() == Verdict::Reject));
            outcome
        })
    }

    fn publish<'a>(&'a self, outgoing: Outgoing, next: NextPublish<'a>) -> Published<'a> {
        Box::pin(async move {
            let Ok(pass) = self.0.enter() else { return Err(PublishError::Paused) };
            let outcome = next.run(outgoing).await;
            pass.ended(!matches!(outcome, Err(PublishError::Command(_) | PublishError::TimedOut { .. })));
            outcome
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_pauses_tries_one_and_goes_on() {
        let breaker = CircuitBreaker::new(2, Duration::from_secs(5));
        breaker.wait().await.ended(false);
        breaker.wait().await.ended(true);
        breaker.wait().await.ended(false);
        assert!(!breaker.is_paused(), "not in a row");
        breaker.wait().await.ended(false);
        assert!(breaker.is_paused());
        let began = Instant::now();
        let trial = breaker.wait().await;
        assert_eq!(began.elapsed(), Duration::from_secs(5));
        assert!(breaker.0.enter().is_err(), "one trial at a time");
        trial.ended(false);
        let trial = breaker.wait().await;
        assert_eq!(began.elapsed(), Duration::from_secs(10));
        drop(trial);
        breaker.wait().await.ended(true);
        assert!(!breaker.is_paused());
        assert_eq!(breaker.pauses(), 2);
    }
}
