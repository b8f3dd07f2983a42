//! How handlers end.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;

use super::super::message::Message;
use super::extract::HandlerFuture;
use crate::service::{BatchFuture, HandlerError, Verdict};

/// How a handler ended.
pub(super) enum Ended {
    Handled,
    Failed { reason: &'static str, error: String, verdict: Verdict },
    CutOff,
}

impl Ended {
    pub(super) fn of(result: Result<(), HandlerError>) -> Self {
        match result {
            Ok(()) => Self::Handled,
            Err(error) => {
                let verdict = error.verdict();
                let reason = if verdict == Verdict::Reject { "rejected" } else { "failed" };
                Self::Failed { reason, error: error.to_string(), verdict }
            }
        }
    }

    fn timed_out(timeout: Duration) -> Self {
        let error = format!("no end after {timeout:?}");
        Self::Failed { reason: "timed out", error, verdict: Verdict::Retry }
    }

    pub(super) fn panicked(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let error = text.unwrap_or("a panic without a message").to_owned();
        Self::Failed { reason: "panicked", error, verdict: Verdict::Retry }
    }
}

/// Which attempt the message is in.
pub(super) fn attempt(message: &Message) -> u32 {
    u32::try_from(message.receive_count).unwrap_or(u32::MAX)
}

/// Lets a handler of a batch run to its end: what became of each of its messages.
pub(super) async fn finish_batch(
    future: BatchFuture,
    length: usize,
    timeout: Option<Duration>,
) -> Vec<Ended> {
    let all = |ended: &dyn Fn() -> Ended| (0..length).map(|_| ended()).collect();
    let guarded = AssertUnwindSafe(future).catch_unwind();
    let ended = match timeout {
        Some(timeout) => match tokio::time::timeout(timeout, guarded).await {
            Ok(ended) => ended,
            Err(_) => return all(&|| Ended::timed_out(timeout)),
        },
        None => guarded.await,
    };
    match ended {
        Ok(outcomes) => outcomes.into_iter().map(Ended::of).collect(),
        Err(panic) => all(&|| Ended::panicked(&*panic)),
    }
}

/// Lets a handler that waits run to its end.
pub(super) async fn finish(future: HandlerFuture, timeout: Option<Duration>) -> Ended {
    let guarded = AssertUnwindSafe(future).catch_unwind();
    let ended = match timeout {
        Some(timeout) => match tokio::time::timeout(timeout, guarded).await {
            Ok(ended) => ended,
            Err(_) => return Ended::timed_out(timeout),
        },
        None => guarded.await,
    };
    ended.map_or_else(|panic| Ended::panicked(&*panic), Ended::of)
}
