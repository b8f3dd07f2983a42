//! Batches: several events for one call of a handler.

use std::sync::{Arc, Mutex, PoisonError};

use super::extract::Delivery;
use super::handler::{BatchFuture, HandlerFuture};
use super::outcome::HandlerError;

/// Several events of one kind, in the order of their streams, for one call of a handler; see [`Service::on_batch`](crate::Service::on_batch).
#[derive(Clone, Debug)]
pub struct Batch<E>(pub(crate) Vec<(E, Delivery)>);

impl<E> Batch<E> {
    /// How many there are; never none.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a handler is never called with an empty batch")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The events, each with its delivery.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &(E, Delivery)> {
        self.0.iter()
    }

    /// The events alone.
    #[must_use]
    pub fn into_events(self) -> Vec<E> {
        self.0.into_iter().map(|(event, _)| event).collect()
    }
}

impl<E> IntoIterator for Batch<E> {
    type Item = (E, Delivery);
    type IntoIter = std::vec::IntoIter<(E, Delivery)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// What a handler of batches may return: nothing, a `Result` for all of them, or a list with a `Result` for each, in their order.
#[diagnostic::on_unimplemented(
    message = "a handler of batches can't return `{Self}`",
    label = "not an outcome of a handler of batches",
    note = "return nothing, `Result<(), HandlerError>` for the whole batch, or `Vec<Result<(), HandlerError>>` with one for each event"
)]
pub trait IntoOutcomes {
    /// One outcome for each of the `length` events. Where a list is too short, the events without a result failed.
    fn into_outcomes(self, length: usize) -> Vec<Result<(), HandlerError>>;
}

impl IntoOutcomes for () {
    fn into_outcomes(self, length: usize) -> Vec<Result<(), HandlerError>> {
        (0..length).map(|_| Ok(())).collect()
    }
}

impl<E: Into<HandlerError>> IntoOutcomes for Result<(), E> {
    fn into_outcomes(self, length: usize) -> Vec<Result<(), HandlerError>> {
        match self {
            Ok(()) => ().into_outcomes(length),
            Err(error) => {
                let error = error.into();
                (0..length).map(|_| Err(error.again())).collect()
            }
        }
    }
}

impl IntoOutcomes for Vec<Result<(), HandlerError>> {
    fn into_outcomes(mut self, length: usize) -> Vec<Result<(), HandlerError>> {
        self.truncate(length);
        while self.len() < length {
            self.push(Err(HandlerError::failed(
                "the handler of the batch returned no result for this event",
            )));
        }
        self
    }
}

/// A batch's handler with something around it, to which it is one call that fails if any of the `length` events does.
pub(crate) fn as_one_call(
    handler: BatchFuture,
    length: usize,
    around: impl FnOnce(HandlerFuture) -> HandlerFuture,
) -> BatchFuture {
    let results = Arc::new(Mutex::new(None));
    let kept = Arc::clone(&results);
    let whole = around(Box::pin(async move {
        let results = handler.await;
        let failure = results.iter().find_map(|result| result.as_ref().err()).map(HandlerError::again);
        *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(results);
        failure.map_or(Ok(()), Err)
    }));
    Box::pin(async move {
        let outcome = whole.await;
        let results = results.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Without results the handler was not called, or not to its end.
        results.unwrap_or_else(|| outcome.into_outcomes(length))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_an_outcome() {
        let failed = |outcomes: Vec<Result<(), HandlerError>>| {
            outcomes.into_iter().map(|outcome| outcome.is_err()).collect::<Vec<_>>()
        };
        assert_eq!(failed(().into_outcomes(2)), [false, false]);
        assert_eq!(failed("x".parse::<u8>().map(drop).into_outcomes(2)), [true, true]);
        assert_eq!(failed(vec![Ok(())].into_outcomes(2)), [false, true]);
        assert_eq!(failed(vec![Ok(()), Ok(()), Ok(())].into_outcomes(2)), [false, false]);
    }
}
