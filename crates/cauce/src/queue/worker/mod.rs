//! `Worker`: handles the messages of a queue.

mod batch;
mod ended;
mod extract;
mod lease;
mod running;
mod settle;

pub use batch::{QueueBatch, QueueBatchArguments};
pub use extract::{QueueArguments, QueueDelivery, QueueExtract};
pub use running::RunningWorker;

use std::sync::Arc;
use std::time::Duration;

use self::batch::{Route, batch_call};
use self::extract::call;
use self::running::Core;
pub(crate) use self::running::Core as WorkerCore;
use super::combine::ROUND_LENGTH;
use super::error::QueueError;
use super::queue::Queue;
use crate::middleware::{Chain, Middleware};
use crate::service::{Handler, IntoOutcome, IntoOutcomes, Report, Retry, termination};

/// Handles the messages of one queue, under the same model as [`Service`](crate::Service).
///
/// Start as many as you like, on any machines, beside receivers that know nothing of Cauce: each message goes to one of them. While a
/// message is with a handler its visibility is renewed, so the visibility timeout can be short and handlers slow. What a handler's process
/// had in hand when it died comes again after the visibility timeout.
///
/// | a handler | and the message |
/// |---|---|
/// | returns `Ok` | is deleted |
/// | returns an error, panics, or exceeds its timeout | becomes visible again after the delay of [`Retry`]; after the last attempt it is a dead letter |
/// | returns [`HandlerError::reject`](crate::HandlerError::reject) | is a dead letter |
/// | can't be called, because the message is not what it takes | is a dead letter |
///
/// Attempts are counted by the message's receive count, so other receivers' count too. The receive count is also the fence: a worker that
/// lost a message to another receiver (its process stood still for longer than the visibility timeout) neither deletes nor extends nor
/// buries it.
///
/// Dead letters are messages of another queue, `NAME-dead` unless told otherwise; see [`Queue::dead_letters`].
#[must_use = "a worker does nothing until it runs"]
pub struct Worker<S = ()> {
    queue: Queue,
    state: S,
    route: Option<Route>,
    settings: Settings,
    around: Chain,
}

#[derive(Clone, Debug)]
struct Settings {
    retry: Retry,
    concurrency: usize,
    handler_timeout: Option<Duration>,
    visibility: Option<Duration>,
    shutdown_deadline: Duration,
    dead_letters: Option<String>,
}

impl Worker<()> {
    /// A worker on this queue.
    pub fn new(queue: &Queue) -> Self {
        let settings = Settings {
            retry: Retry::default(),
            concurrency: 16,
            handler_timeout: None,
            visibility: None,
            shutdown_deadline: Duration::from_secs(10),
            dead_letters: None,
        };
        Self { queue: queue.clone(), state: (), route: None, settings, around: Chain::default() }
    }
}

impl<S: Clone + Send + Sync + 'static> Worker<S> {
    /// The state that a handler added after this can take as [`State<T>`](crate::State).
    pub fn state<T: Clone + Send + Sync + 'static>(self, state: T) -> Worker<T> {
        Worker { queue: self.queue, state, route: self.route, settings: self.settings, around: self.around }
    }

    /// The handler: an async function whose first argument is the message (an event as JSON, `String` or `Vec<u8>`), and after it what
    /// it needs: [`State`](crate::State), [`QueueDelivery`]. A second one replaces the first.
    pub fn on<H, A>(mut self, handler: H) -> Self
    where
        H: Handler<A, Output: IntoOutcome, Future: Send>,
        A: QueueArguments<S>,
    {
        self.route = Some(Route::One(call(handler, self.state.clone())));
        self
    }

    /// The handler, called with batches: an async function whose first argument is a [`QueueBatch`] of up to `length` messages (at most 256),
    /// and after it what all of them share: [`State`](crate::State). A batch begins when it is full, or when its first message has waited for
    /// `linger`. Each message is deleted, tried again, or becomes a dead letter by itself: a handler that returns one `Result` fails
    /// them all, one that returns a list says which. [`concurrency`](Self::concurrency) counts batches. What still waits for its batch when the
    /// worker stops goes back as if it had never been received.
    ///
    /// ```no_run
    /// # async fn example(bus: &cauce::Bus) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use cauce::{QueueBatch, Worker};
    ///
    /// let queue = bus.queues().queue("rows")?;
    /// let store = async |rows: QueueBatch<String>| {
    ///     println!("one insert with {} rows", rows.len());
    /// };
    /// Worker::new(&queue).on_batch(100, Duration::from_millis(20), store).run().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_batch<H, A>(mut self, length: usize, linger: Duration, handler: H) -> Self
    where
        H: Handler<A, Output: IntoOutcomes, Future: Send>,
        A: QueueBatchArguments<S>,
    {
        let call = batch_call(handler, self.state.clone());
        self.route = Some(Route::Many { call, length: length.clamp(1, ROUND_LENGTH), linger });
        self
    }

    /// Adds a [`Middleware`] around the handler; the first is outermost.
    pub fn middleware(mut self, middleware: impl Middleware) -> Self {
        self.around.add(middleware);
        self
    }

    /// When failed messages are tried again; the default is [`Retry::default`].
    pub fn retry(mut self, retry: Retry) -> Self {
        self.settings.retry = retry;
        self
    }

    /// How many handlers of this worker run at once, which is also how many messages it receives in one step (up to 256); the default
    /// is 16.
    pub fn concurrency(mut self, handlers: usize) -> Self {
        self.settings.concurrency = handlers.max(1);
        self
    }

    /// How long a handler may take; longer is a failure like any other. By default as long as it likes: while it runs, its message stays
    /// hidden.
    pub fn handler_timeout(mut self, timeout: Duration) -> Self {
        self.settings.handler_timeout = Some(timeout);
        self
    }

    /// After how long a message comes again whose worker died; the default is the queue's visibility timeout, or 30 seconds if that is
    /// zero. Live workers renew three times as often.
    pub fn visibility(mut self, timeout: Duration) -> Self {
        self.settings.visibility = Some(timeout.max(Duration::from_millis(100)));
        self
    }

    /// How long running handlers may take to end when the worker stops; the default is ten seconds. Then they are cut off, and their
    /// messages are visible at once. A broker that can't be reached meanwhile is waited for as long, to tell it what has been done.
    pub fn shutdown_deadline(mut self, deadline: Duration) -> Self {
        self.settings.shutdown_deadline = deadline;
        self
    }

    /// The queue of dead letters, in the same namespace; the default is the queue's name with `-dead` behind. It is made, without a
    /// limit of size, when the first one dies.
    pub fn dead_letters(mut self, queue: impl Into<String>) -> Self {
        self.settings.dead_letters = Some(queue.into());
        self
    }

    /// Runs until the process gets SIGTERM or SIGINT, then stops in order.
    ///
    /// # Errors
    /// If it can't start; once it runs, it never ends by itself.
    pub async fn run(self) -> Result<Report, WorkerError> {
        let signal = termination()?;
        self.run_until(signal).await
    }

    /// Runs until the future ends, then stops in order. Dropping this future cuts the worker off as a crash would.
    ///
    /// # Errors
    /// If it can't start; once it runs, it never ends by itself.
    pub async fn run_until(self, end: impl Future) -> Result<Report, WorkerError> {
        let running = self.start().await?;
        end.await;
        Ok(running.stop().await)
    }

    /// Starts it in the background.
    ///
    /// # Errors
    /// If it has no handler, the queue is not there, or the queue of dead letters can't have its name.
    pub async fn start(self) -> Result<RunningWorker, WorkerError> {
        let Some(route) = self.route else { return Err(WorkerError::NoHandler) };
        let dead = match &self.settings.dead_letters {
            Some(name) => self.queue.sibling(name)?,
            None => self.queue.dead_letter_queue()?,
        };
        let usual = self.queue.attributes().await?.vt;
        let usual = if usual.is_zero() { Duration::from_secs(30) } else { usual };
        let lease = self.settings.visibility.unwrap_or(usual);
        let core = Core::new(self.queue, dead, route, (self.settings, self.around), lease);
        Ok(RunningWorker::start(Arc::new(core)))
    }
}

impl<S> std::fmt::Debug for Worker<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("queue", &self.queue.name()).finish_non_exhaustive()
    }
}

/// A worker that could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// It handles nothing.
    #[error("the worker has no handler: add one with .on(handler)")]
    NoHandler,
    /// Its queue, or its queue of dead letters.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The process's signals can't be listened to.
    #[error("SIGTERM and SIGINT can't be listened to: {0}")]
    Signals(#[from] std::io::Error),
}
