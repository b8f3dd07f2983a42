//! Calls of handlers that wait: each is a task, until it ends, exceeds its time, or is cut off.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::time::Instant;

use super::agenda::Key;
use super::handler::{BatchFuture, CallFuture, Route};
use super::lane::Delivered;
use super::outcome::{Completion, HandlerError, Outcome};
use super::reader::stopped;

/// A call that ended.
pub(crate) struct Ended {
    pub(crate) outcomes: Vec<(Delivered, Outcome)>,
    pub(crate) route: Arc<Route>,
    pub(crate) key: Option<Key>,
    pub(crate) started: Instant,
}

/// Lets a handler that waits run to its end.
pub(crate) async fn finish(
    future: CallFuture,
    cut: watch::Receiver<bool>,
    route: Arc<Route>,
    delivered: Delivered,
    key: Option<Key>,
    started: Instant,
) -> Ended {
    let ended = end(future, cut, route.handling.timeout);
    let ended = match delivered.lane.ownership() {
        // Somebody else may run it when its stream is lost.
        Some(ownership) => tokio::select! {
            biased;
            ended = ended => ended,
            () = ownership.cut_off(delivered.lease.epoch) => End::CutOff,
        },
        None => ended.await,
    };
    let outcome = match ended {
        End::With(result) => outcome(result),
        End::Panicked(message) => Outcome::Panicked(message),
        End::TimedOut(after) => Outcome::TimedOut(after),
        End::CutOff => Outcome::CutOff,
    };
    Ended { outcomes: vec![(delivered, outcome)], route, key, started }
}

/// Lets a handler of a batch run to its end.
pub(crate) async fn finish_batch(
    future: BatchFuture,
    cut: watch::Receiver<bool>,
    route: Arc<Route>,
    called: Vec<Delivered>,
    started: Instant,
) -> Ended {
    let outcomes: Vec<Outcome> = match end(future, cut, route.handling.timeout).await {
        End::With(results) => {
            results.into_iter().map(|result| outcome(result.map(|()| Completion::Handled))).collect()
        }
        End::Panicked(message) => called.iter().map(|_| Outcome::Panicked(message.clone())).collect(),
        End::TimedOut(after) => called.iter().map(|_| Outcome::TimedOut(after)).collect(),
        End::CutOff => called.iter().map(|_| Outcome::CutOff).collect(),
    };
    Ended { outcomes: called.into_iter().zip(outcomes).collect(), route, key: None, started }
}

enum End<T> {
    With(T),
    Panicked(String),
    TimedOut(Duration),
    CutOff,
}

async fn end<T>(
    future: impl Future<Output = T>,
    mut cut: watch::Receiver<bool>,
    timeout: Option<Duration>,
) -> End<T> {
    let guarded = async {
        let guarded = AssertUnwindSafe(future).catch_unwind();
        let ended = match timeout {
            Some(timeout) => match tokio::time::timeout(timeout, guarded).await {
                Ok(ended) => ended,
                Err(_) => return End::TimedOut(timeout),
            },
            None => guarded.await,
        };
        ended.map_or_else(|panic| End::Panicked(message(&*panic)), End::With)
    };
    tokio::select! {
        biased;
        ended = guarded => ended,
        () = stopped(&mut cut) => End::CutOff,
    }
}

pub(crate) fn outcome(result: Result<Completion, HandlerError>) -> Outcome {
    result.map_or_else(Outcome::Failed, Outcome::Ended)
}

pub(crate) fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message")
        .to_owned()
}
