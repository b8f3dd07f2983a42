//! How one handler is called, where it differs from the rest of its service.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::outcome::{HandlerError, Verdict};
use super::retry::Retry;

/// How a handler is called, where that differs from its service; for [`Service::on_with`](crate::Service::on_with).
#[derive(Clone, Default)]
#[must_use = "it does nothing until a handler is added with it"]
pub struct Handling {
    pub(crate) concurrency: Option<usize>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) retry: Option<Retry>,
    pub(crate) classify: Option<Arc<Classify>>,
}

type Classify = dyn Fn(&HandlerError) -> Verdict + Send + Sync;

impl Handling {
    /// As the service says.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many calls of this handler run at once in this instance, within what the service allows. Entries that wait for it hold up no others.
    pub fn concurrency(mut self, calls: usize) -> Self {
        self.concurrency = Some(calls.max(1));
        self
    }

    /// How long a call may take; longer is a failure like any other.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// When its failed deliveries are tried again.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = Some(retry);
        self
    }

    /// Decides by the error whether a further attempt can help. [`HandlerError::downcast_ref`] finds the error that the handler returned. What the
    /// handler decided itself, by [`HandlerError::retry_in`] or [`HandlerError::reject`], stands.
    pub fn classify(mut self, classify: impl Fn(&HandlerError) -> Verdict + Send + Sync + 'static) -> Self {
        self.classify = Some(Arc::new(classify));
        self
    }

    /// What the service says where this says nothing.
    pub(crate) fn or(self, service: &Self) -> Self {
        Self {
            concurrency: self.concurrency,
            timeout: self.timeout.or(service.timeout),
            retry: self.retry.or_else(|| service.retry.clone()).or_else(|| Some(Retry::default())),
            classify: self.classify.or_else(|| service.classify.clone()),
        }
    }

    /// After how long a delivery is tried again that failed at its attempt of that number; `None` if it is not.
    pub(crate) fn delay(&self, attempt: u32, age: Duration, chosen: Option<Duration>) -> Option<Duration> {
        self.retry.as_ref().and_then(|retry| retry.delay(attempt, age, chosen))
    }

    pub(crate) fn verdict(&self, error: &HandlerError) -> Verdict {
        match (error.verdict(), &self.classify) {
            (Verdict::Retry, Some(classify)) => classify(error),
            (verdict, _) => verdict,
        }
    }
}

impl fmt::Debug for Handling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handling")
            .field("concurrency", &self.concurrency)
            .field("timeout", &self.timeout)
            .field("retry", &self.retry)
            .field("classifies", &self.classify.is_some())
            .finish()
    }
}
