//! Middleware that bounds time and rate.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{Handled, Incoming, Middleware, Next, NextPublish, Outgoing, Published};
use crate::error::PublishError;
use crate::service::HandlerError;

/// Ends what takes longer. A handler that does is dropped where it is, and has failed; a publish that does has an unknown outcome.
#[derive(Clone, Copy, Debug)]
pub struct Timeout(Duration);

impl Timeout {
    /// Longer than this is too long.
    #[must_use]
    pub const fn new(limit: Duration) -> Self {
        Self(limit)
    }
}

impl Middleware for Timeout {
    fn consume(&self, _: &Incoming, next: Next) -> Handled {
        let limit = self.0;
        Box::pin(async move {
            match tokio::time::timeout(limit, next.run()).await {
                Ok(outcome) => outcome,
                Err(_) => Err(HandlerError::failed(format!("no end after {limit:?}"))),
            }
        })
    }

    fn publish<'a>(&'a self, outgoing: Outgoing, next: NextPublish<'a>) -> Published<'a> {
        Box::pin(async move {
            match tokio::time::timeout(self.0, next.run(outgoing)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(PublishError::TimedOut { after: self.0 }),
            }
        })
    }
}

/// Lets so many through per time, those who come first first; others wait. Clones share the limit. It counts in this process: `n` instances let
/// through `n` times as much.
#[derive(Clone, Debug)]
pub struct RateLimit(Arc<Bucket>);

#[derive(Debug)]
struct Bucket {
    interval: Duration,
    /// How far ahead of its time a burst may go.
    slack: Duration,
    /// When the next one would go through if none had been saved up.
    next: Mutex<Option<Instant>>,
}

impl RateLimit {
    /// At most `count` in any time of `per`, evenly: one every `per / count`.
    #[must_use]
    pub fn new(count: u32, per: Duration) -> Self {
        let interval = per / count.max(1);
        Self(Arc::new(Bucket { interval, slack: Duration::ZERO, next: Mutex::new(None) }))
    }

    /// Up to `count` at once after a time with fewer.
    #[must_use]
    pub fn burst(self, count: u32) -> Self {
        let Bucket { interval, .. } = *self.0;
        let slack = interval * count.saturating_sub(1);
        Self(Arc::new(Bucket { interval, slack, next: Mutex::new(None) }))
    }

    /// Waits for its turn. A dropped wait has used its turn up.
    async fn turn(&self) {
        let bucket = &*self.0;
        let turn = {
            let mut next = bucket.next.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let saved = now.checked_sub(bucket.slack).unwrap_or(now);
            let turn = next.map_or(saved, |next| next.max(saved));
            *next = Some(turn + bucket.interval);
            turn
        };
        if turn > Instant::now() {
            tokio::time::sleep_until(turn).await;
        }
    }
}

impl Middleware for RateLimit {
    fn consume(&self, _: &Incoming, next: Next) -> Handled {
        let limit = self.clone();
        Box::pin(async move {
            limit.turn().await;
            next.run().await
        })
    }

    fn publish<'a>(&'a self, outgoing: Outgoing, next: NextPublish<'a>) -> Published<'a> {
        Box::pin(async move {
            self.turn().await;
            next.run(outgoing).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn turns(limit: &RateLimit, count: usize) -> Vec<u128> {
        let began = Instant::now();
        let mut times = Vec::new();
        for _ in 0..count {
            limit.turn().await;
            times.push(began.elapsed().as_millis());
        }
        times
    }

    #[tokio::test(start_paused = true)]
    async fn turns_come_evenly_and_bursts_are_saved_up() {
        let limit = RateLimit::new(10, Duration::from_secs(1));
        assert_eq!(turns(&limit, 4).await, [0, 100, 200, 300]);
        let bursts = RateLimit::new(10, Duration::from_secs(1)).burst(3);
        assert_eq!(turns(&bursts, 5).await, [0, 0, 0, 100, 200]);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(turns(&bursts, 5).await, [0, 0, 0, 100, 200], "no more than the burst is saved up");
    }
}
