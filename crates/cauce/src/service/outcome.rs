//! How a handler ends.

use std::error::Error;
use std::fmt;
use std::time::Duration;

/// A handler's failure: tried again by the service's [`Retry`](crate::Retry), unless it says otherwise.
///
/// Made from any error with `?`. It keeps the error and its sources as text, which end up in the dead letter if there is one.
pub struct HandlerError {
    chain: Vec<String>,
    verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    ByPolicy,
    RetryIn(Duration),
    Reject,
}

impl HandlerError {
    /// A failure without an error value.
    #[must_use]
    pub fn failed(reason: impl Into<String>) -> Self {
        Self { chain: vec![reason.into()], verdict: Verdict::ByPolicy }
    }

    /// Tries again after this delay in place of the policy's. It is an attempt like any other: after the last one the entry is dead.
    #[must_use]
    pub fn retry_in(delay: Duration) -> Self {
        Self {
            chain: vec!["the handler asked to be called again".to_owned()],
            verdict: Verdict::RetryIn(delay),
        }
    }

    /// Makes the entry a dead letter now: no further attempt can help.
    #[must_use]
    pub fn reject(reason: impl Into<String>) -> Self {
        Self { chain: vec![reason.into()], verdict: Verdict::Reject }
    }

    /// Adds what it was done for, in front.
    #[must_use]
    pub fn context(mut self, context: impl Into<String>) -> Self {
        self.chain.insert(0, context.into());
        self
    }

    pub(crate) fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The error and its sources, outermost first.
    pub fn chain(&self) -> impl ExactSizeIterator<Item = &str> {
        self.chain.iter().map(String::as_str)
    }
}

impl<E: Error> From<E> for HandlerError {
    fn from(error: E) -> Self {
        let mut chain = vec![error.to_string()];
        let mut source = error.source();
        while let Some(error) = source {
            chain.push(error.to_string());
            source = error.source();
        }
        Self { chain, verdict: Verdict::ByPolicy }
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

/// What a handler may return: nothing, or a `Result` whose error is a [`HandlerError`] or any error.
#[diagnostic::on_unimplemented(
    message = "a handler can't return `{Self}`",
    label = "not an outcome of a handler",
    note = "return `Result<(), HandlerError>` (use `?` on any error inside), or nothing"
)]
pub trait IntoOutcome {
    /// The outcome.
    ///
    /// # Errors
    /// If the handler failed.
    fn into_outcome(self) -> Result<(), HandlerError>;
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

/// What became of one delivery.
#[derive(Debug)]
pub(crate) enum Outcome {
    Handled,
    Failed(HandlerError),
    Panicked(String),
    TimedOut(Duration),
    /// The service stops and the handler did not end in time.
    CutOff,
    Undecodable(String),
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
        assert_eq!(error.verdict(), Verdict::ByPolicy);
    }
}
