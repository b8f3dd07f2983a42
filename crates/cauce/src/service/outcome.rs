//! How a handler ends.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::event::DecodeError;
use crate::request::Answer;

/// A handler's failure: tried again by the service's [`Retry`](crate::Retry), unless it says otherwise.
///
/// Made from any error with `?`. It keeps the error, which [`Handling::classify`](crate::Handling::classify) can look at, and the texts of
/// its sources, which end up in the dead letter if there is one.
pub struct HandlerError {
    chain: Vec<String>,
    verdict: Verdict,
    error: Option<Arc<dyn Error + Send + Sync>>,
}

/// What is to become of a failed delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Tried again as the policy says.
    Retry,
    /// Tried again after this delay, unless that was the last attempt.
    RetryIn(Duration),
    /// A dead letter now: no further attempt can help.
    Reject,
}

impl HandlerError {
    /// A failure without an error value.
    #[must_use]
    pub fn failed(reason: impl Into<String>) -> Self {
        Self { chain: vec![reason.into()], verdict: Verdict::Retry, error: None }
    }

    /// Tries again after this delay in place of the policy's. It is an attempt like any other: after the last one the entry is dead.
    #[must_use]
    pub fn retry_in(delay: Duration) -> Self {
        Self {
            chain: vec!["the handler asked to be called again".to_owned()],
            verdict: Verdict::RetryIn(delay),
            error: None,
        }
    }

    /// Makes the entry a dead letter now: no further attempt can help.
    #[must_use]
    pub fn reject(reason: impl Into<String>) -> Self {
        Self { chain: vec![reason.into()], verdict: Verdict::Reject, error: None }
    }

    /// Adds what it was done for, in front.
    #[must_use]
    pub fn context(mut self, context: impl Into<String>) -> Self {
        self.chain.insert(0, context.into());
        self
    }

    /// The error that it was made from, if it was of this type.
    #[must_use]
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.error.as_ref().and_then(|error| error.downcast_ref())
    }

    /// The same failure, of another delivery.
    pub(crate) fn again(&self) -> Self {
        Self { chain: self.chain.clone(), verdict: self.verdict, error: self.error.clone() }
    }

    pub(crate) fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The error and its sources, outermost first.
    pub fn chain(&self) -> impl ExactSizeIterator<Item = &str> {
        self.chain.iter().map(String::as_str)
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for HandlerError {
    fn from(error: E) -> Self {
        let mut chain = vec![error.to_string()];
        let mut source = error.source();
        while let Some(cause) = source {
            chain.push(cause.to_string());
            source = cause.source();
        }
        Self { chain, verdict: Verdict::Retry, error: Some(Arc::new(error)) }
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.chain.join(": "))
    }
}

impl fmt::Debug for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerError").field("chain", &self.chain).field("verdict", &self.verdict).finish()
    }
}

/// What a handler may return: nothing, or a `Result` whose error is a [`HandlerError`] or any error; with a [`Reply`](crate::Reply) in place of nothing, the answer to
/// a request.
#[diagnostic::on_unimplemented(
    message = "a handler can't return `{Self}`",
    label = "not an outcome of a handler",
    note = "return `Result<(), HandlerError>` (use `?` on any error inside), or nothing; to answer a request, `Result<Reply<T>, HandlerError>`"
)]
pub trait IntoOutcome {
    /// The outcome.
    ///
    /// # Errors
    /// If the handler failed.
    fn into_outcome(self) -> Result<(), HandlerError>;

    /// The outcome, and what it answers to who asked, if it does.
    ///
    /// # Errors
    /// If the handler failed.
    #[doc(hidden)]
    fn into_answer(self) -> Result<Option<Answer>, HandlerError>
    where
        Self: Sized,
    {
        self.into_outcome().map(|()| None)
    }
}

impl IntoOutcome for () {
    fn into_outcome(self) -> Result<(), HandlerError> {
        Ok(())
    }
}

impl<E: Into<HandlerError>> IntoOutcome for Result<(), E> {
    fn into_outcome(self) -> Result<(), HandlerError> {
        self.map_err(Into::into)
    }
}

/// How a call ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Completion {
    /// To be acknowledged.
    Handled,
    /// Acknowledged with its transaction.
    Settled,
    /// Not run, because its event was handled or is about to be; to be acknowledged.
    Duplicate,
    /// The same, found with its transaction and acknowledged.
    SettledDuplicate,
    /// Somebody else owns the entry by now: nothing was applied.
    Fenced,
}

/// What became of one delivery.
#[derive(Debug)]
pub(crate) enum Outcome {
    Ended(Completion),
    Failed(HandlerError),
    Panicked(String),
    TimedOut(Duration),
    /// The service stops and the handler did not end in time.
    CutOff,
    Undecodable(DecodeError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_keep_their_sources() {
        #[derive(Debug, thiserror::Error)]
        #[error("booking failed")]
        struct Booking(#[source] std::num::ParseIntError);

        fn handler() -> Result<(), HandlerError> {
            "x".parse::<u32>().map_err(Booking)?;
            Ok(())
        }
        let error = handler().unwrap_err().context("rebooking UA 1");
        assert_eq!(error.to_string(), "rebooking UA 1: booking failed: invalid digit found in string");
        assert_eq!(error.verdict(), Verdict::Retry);
        assert!(
            error.downcast_ref::<Booking>().is_some() && error.downcast_ref::<std::io::Error>().is_none()
        );
    }
}
