//! Middleware: what happens around every handler of a service or worker, and around every publish of a bus.

mod breaker;
mod limits;

pub use breaker::CircuitBreaker;
pub use limits::{RateLimit, Timeout};

use std::borrow::Cow;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use crate::entry::{EntryId, Fields};
use crate::error::PublishError;
use crate::service::HandlerError;

/// A handler under way.
pub type Handled = Pin<Box<dyn Future<Output = Result<(), HandlerError>> + Send>>;
/// A publish under way.
pub type Published<'a> = Pin<Box<dyn Future<Output = Result<EntryId, PublishError>> + Send + 'a>>;

/// What happens around handlers and publishes. The same value serves [`Service::middleware`](crate::Service::middleware),
/// [`Worker::middleware`](crate::Worker::middleware) and [`Bus::middleware`](crate::Bus::middleware); implement the sides that matter.
///
/// What was added first is outermost. It runs on the handler's task, inside its concurrency: one that waits holds one of the service's
/// [`concurrency`](crate::Service::concurrency) slots and keeps the delivery's lease, and does not let a later entry of a service with a concurrency
/// of one, or of the same key where order is kept, go first. What it returns is the handler's outcome: an error is a failed attempt like any other. A
/// panic in it is one too. When a service stops, it is cut off with its handler.
///
/// ```
/// use cauce::{Handled, Incoming, Middleware, Next};
///
/// /// Says how long handlers take.
/// struct Stopwatch;
///
/// impl Middleware for Stopwatch {
///     fn consume(&self, incoming: &Incoming, next: Next) -> Handled {
///         let id = incoming.id.clone();
///         Box::pin(async move {
///             let began = std::time::Instant::now();
///             let outcome = next.run().await;
///             println!("{id}: {:?}", began.elapsed());
///             outcome
///         })
///     }
/// }
/// ```
pub trait Middleware: Send + Sync + 'static {
    /// Around a handler whose event could be decoded. Without `next.run()` the handler is not called.
    fn consume(&self, incoming: &Incoming, next: Next) -> Handled {
        let _ = incoming;
        next.run()
    }

    /// Around a publish to a stream. It may change what is published; without `next.run(outgoing)` nothing is sent.
    fn publish<'a>(&'a self, outgoing: Outgoing, next: NextPublish<'a>) -> Published<'a> {
        next.run(outgoing)
    }
}

/// What a handler is about to be called with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Incoming {
    /// The stream or queue it came from.
    pub from: Arc<str>,
    /// The service, or for a worker its queue.
    pub by: Arc<str>,
    /// The entry's or message's id; of a batch, the first.
    pub id: String,
    /// Which attempt this is, from 1; of a batch, the highest.
    pub attempt: u32,
    /// How many events it is: one, but for a batch.
    pub length: usize,
    /// The entry's fields; of a batch, those of the first. A message of a queue has none.
    pub fields: Fields,
}

/// The rest of the way to the handler.
pub struct Next(Handled);

impl Next {
    pub(crate) fn new(handler: Handled) -> Self {
        Self(handler)
    }

    /// Goes on. Dropping the future ends the handler where it is.
    #[must_use]
    pub fn run(self) -> Handled {
        self.0
    }
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Next")
    }
}

/// What is about to be published.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outgoing {
    /// The stream.
    pub stream: Cow<'static, str>,
    /// The entry's fields.
    pub fields: Fields,
}

/// The rest of the way to the broker.
pub struct NextPublish<'a> {
    rest: &'a [Arc<dyn Middleware>],
    send: Box<dyn FnOnce(Outgoing) -> Published<'a> + Send + 'a>,
}

impl<'a> NextPublish<'a> {
    pub(crate) fn new(
        rest: &'a [Arc<dyn Middleware>],
        send: impl FnOnce(Outgoing) -> Published<'a> + Send + 'a,
    ) -> Self {
        Self { rest, send: Box::new(send) }
    }

    /// Goes on.
    #[must_use]
    pub fn run(self, outgoing: Outgoing) -> Published<'a> {
        match self.rest.split_first() {
            Some((first, rest)) => first.publish(outgoing, Self { rest, send: self.send }),
            None => (self.send)(outgoing),
        }
    }
}

impl fmt::Debug for NextPublish<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NextPublish")
    }
}

/// Middleware in the order in which it was added.
#[derive(Clone, Default)]
pub(crate) struct Chain(Vec<Arc<dyn Middleware>>);

impl Chain {
    pub(crate) fn add(&mut self, middleware: impl Middleware) {
        self.0.push(Arc::new(middleware));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn all(&self) -> &[Arc<dyn Middleware>] {
        &self.0
    }

    /// The handler with everything around it.
    pub(crate) fn around(&self, incoming: impl FnOnce() -> Incoming, handler: Handled) -> Handled {
        if self.0.is_empty() {
            return handler;
        }
        let incoming = incoming();
        self.0.iter().rev().fold(handler, |inner, middleware| middleware.consume(&incoming, Next::new(inner)))
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} middleware", self.0.len())
    }
}
