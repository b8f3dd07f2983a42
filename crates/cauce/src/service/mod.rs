//! `Service`: a named consumer group with handlers.

mod agenda;
mod attempts;
mod balance;
mod batch;
mod calls;
mod core;
mod done;
mod due;
mod extract;
mod group;
mod handler;
mod handling;
mod held;
mod inbox;
mod keeper;
mod lane;
mod ordered;
mod outcome;
mod ownership;
mod pending;
mod reader;
mod report;
mod retry;
mod running;
mod scripts;
mod settle;
mod transaction;
mod worker;

pub(crate) use self::core::Core;
pub use self::core::Start;
pub use attempts::PastAttempt;
pub(crate) use batch::as_one_call;
pub use batch::{Batch, IntoOutcomes};
#[cfg(feature = "testing")]
pub(crate) use calls::message as panic_message;
pub use extract::{Context, Delivery, Extract, FromRef, Headers, State};
pub(crate) use handler::BatchFuture;
pub use handler::{Arguments, BatchArguments, Handler};
pub use handling::Handling;
pub(crate) use lane::{attempts_key, due_key, members_key, owner_key, reader_key};
pub use outcome::{HandlerError, IntoOutcome, Verdict};
pub use report::Report;
pub(crate) use report::{BUCKETS, Counter, Counters, Observed};
pub use retry::Retry;
pub use running::Running;
pub(crate) use scripts::{Policy, Redrive, edit, redrive, retain};
pub(crate) use settle::{LETTER_FIELDS, PACKED};
pub use transaction::{Transaction, TransactionError};

use std::sync::Arc;
use std::time::Duration;

use self::core::Settings;
use self::extract::Names;
use self::handler::{Route, Work, batch_call, call, key_of};
use self::lane::{Lane, Lanes, Routes, Source};
use crate::bus::Bus;
use crate::error::{CommandError, PartitionsError};
use crate::event::Event;
use crate::inspect::Retention;
use crate::middleware::{Chain, Middleware};

/// Events of one batch at most.
const BATCH_MAX: usize = 1_000;

/// A named consumer group with handlers.
///
/// Every group gets every entry of the streams that its handlers' events live on; inside the group, exactly one instance of the service
/// gets it. Start as many instances as you like, on any machines: they share the work, and take over from each other.
///
/// | a handler | and the entry |
/// |---|---|
/// | returns `Ok` | is acknowledged (in batches, within about a millisecond) |
/// | returns an error, panics, or exceeds its timeout | stays pending and is tried again by [`Retry`]; after the last attempt it is a dead letter |
/// | returns [`HandlerError::reject`] | is a dead letter |
/// | can't be called, because the payload does not fit its event | is a dead letter |
/// | does not exist for this action | is acknowledged and counted |
///
/// Delivery is at least once: an entry can come again when a process or connection dies between its handler and its acknowledgement.
/// With [`no_ack`](Self::no_ack) it is at most once.
#[must_use = "a service does nothing until it runs"]
pub struct Service<S = ()> {
    name: String,
    state: S,
    routes: Vec<Registered>,
    /// How handlers are called that do not say otherwise.
    handling: Handling,
    settings: Settings,
    around: Chain,
}

struct Registered {
    stream: &'static str,
    partitions: u16,
    action: &'static str,
    route: Route,
}

impl Service<()> {
    /// A service whose consumer group has this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            state: (),
            routes: Vec::new(),
            handling: Handling::new(),
            settings: Settings::default(),
            around: Chain::default(),
        }
    }
}

impl<S: Clone + Send + Sync + 'static> Service<S> {
    /// The state that handlers added after this can take as [`State<T>`](State).
    pub fn state<T: Clone + Send + Sync + 'static>(self, state: T) -> Service<T> {
        Service {
            name: self.name,
            state,
            routes: self.routes,
            handling: self.handling,
            settings: self.settings,
            around: self.around,
        }
    }

    /// Adds a handler: an async function whose first argument is the event.
    pub fn on<H, A>(self, handler: H) -> Self
    where
        H: Handler<A, Output: IntoOutcome, Future: Send>,
        A: Arguments<S>,
    {
        self.on_with(Handling::new(), handler)
    }

    /// Adds a handler with settings of its own.
    pub fn on_with<H, A>(self, handling: Handling, handler: H) -> Self
    where
        H: Handler<A, Output: IntoOutcome, Future: Send>,
        A: Arguments<S>,
    {
        let call = call(handler, self.state.clone());
        self.route::<A::Event>(handling, Work::One(call))
    }

    /// Adds a handler of batches: an async function whose first argument is a [`Batch`] of up to `length` events. A batch begins when it is
    /// full, or when its first event has waited for `linger`. Each event is acknowledged, tried again, or becomes a dead letter by itself: a handler
    /// that returns one `Result` fails them all, one that returns a list says which.
    pub fn on_batch<H, A>(self, length: usize, linger: Duration, handler: H) -> Self
    where
        H: Handler<A, Output: IntoOutcomes, Future: Send>,
        A: BatchArguments<S>,
    {
        self.on_batch_with(Handling::new(), length, linger, handler)
    }

    /// Adds a handler of batches with settings of its own; its concurrency counts batches.
    pub fn on_batch_with<H, A>(self, handling: Handling, length: usize, linger: Duration, handler: H) -> Self
    where
        H: Handler<A, Output: IntoOutcomes, Future: Send>,
        A: BatchArguments<S>,
    {
        let call = batch_call(handler, self.state.clone());
        self.route::<A::Event>(handling, Work::Many { call, length: length.clamp(1, BATCH_MAX), linger })
    }

    fn route<E: Event>(mut self, handling: Handling, work: Work) -> Self {
        const {
            assert!(
                !E::STREAM.is_empty(),
                "this event has no stream to read: add #[event(stream = \"...\")]"
            );
        };
        let route = Route { number: self.routes.len(), work, key: key_of::<E>, handling };
        self.routes.push(Registered {
            stream: E::STREAM,
            partitions: E::PARTITIONS,
            action: E::ACTION,
            route,
        });
        self
    }

    /// Adds a [`Middleware`] around every handler of the service, whatever was added before or after it; the first is outermost.
    pub fn middleware(mut self, middleware: impl Middleware) -> Self {
        self.around.add(middleware);
        self
    }

    /// Decides by the error whether a further attempt can help; see [`Handling::classify`].
    pub fn classify(mut self, classify: impl Fn(&HandlerError) -> Verdict + Send + Sync + 'static) -> Self {
        self.handling = self.handling.classify(classify);
        self
    }

    /// Events of one key (`#[event(key = "...")]`) are handled one at a time, in the order of their stream, also across retries; other keys flow
    /// meanwhile. Events without a key have no order.
    ///
    /// Each stream has one reader in the group then: further instances wait, and take over when its lease ends or it stops. A retry keeps the
    /// others of its key waiting, up to `waiting` entries of each stream; past that, nothing more of it is read until there are fewer, and
    /// [`Report::stalled`] says so. Every event of the stream is decoded twice.
    ///
    /// A partitioned stream (`#[event(partitions = N)]`) is always handled so, each partition by itself, and the instances share the partitions out
    /// among them; `waiting` is 1,000 then, unless this says otherwise. A handler that still runs when its instance gives a partition up or loses it is
    /// cut off: at its next `.await` it is dropped.
    pub fn ordered_by_key(mut self, waiting: usize) -> Self {
        self.settings.ordered = true;
        self.settings.behind_max = waiting.max(1);
        self
    }

    /// When failed deliveries are tried again; the default is [`Retry::default`].
    pub fn retry(mut self, retry: Retry) -> Self {
        self.handling.retry = Some(retry);
        self
    }

    /// How many handlers of this instance run at once; the default is 16. With 1, entries are handled in the order of their stream, but
    /// for those that are tried again.
    pub fn concurrency(mut self, handlers: usize) -> Self {
        self.settings.concurrency = handlers.max(1);
        self
    }

    /// How long a handler may take; longer is a failure like any other. By default as long as it likes: while it runs, nobody takes its
    /// entry over.
    pub fn handler_timeout(mut self, timeout: Duration) -> Self {
        self.handling.timeout = Some(timeout);
        self
    }

    /// Where the group begins if it does not exist yet; the default is [`Start::New`]. An existing group goes on where it was.
    pub fn start_at(mut self, start: Start) -> Self {
        self.settings.start_at = start;
        self
    }

    /// At most once: an entry counts as done when it is read (NOACK). No retries; what is read and not handled when the process dies is
    /// lost. Failures still become dead letters.
    pub fn no_ack(mut self) -> Self {
        self.settings.acknowledge = false;
        self
    }

    /// How long running handlers may take to end when the service stops; the default is ten seconds. Then they are cut off, and their
    /// entries handed back. A broker that can't be reached meanwhile is waited for as long, to tell it what has been done.
    pub fn shutdown_deadline(mut self, deadline: Duration) -> Self {
        self.settings.shutdown_deadline = deadline;
        self
    }

    /// After how long without a sign of life of its consumer a pending entry is taken over; the default is 15 seconds. Live instances give
    /// signs of life for all entries that they hold, three times as often.
    pub fn reclaim_after(mut self, idle: Duration) -> Self {
        self.settings.lease = idle.max(Duration::from_millis(100));
        self
    }

    /// How long the streams of this service keep their entries; see [`Retention`]. By default it leaves them alone. Where services of one stream say
    /// different things, each of them is carried out.
    pub fn retention(mut self, retention: Retention) -> Self {
        self.settings.retention = Some(retention);
        self
    }

    /// Remembers the ids of the events that were handled, for this long and the last 1,000 at least, the last 100,000 at most: an event that comes again as
    /// another entry, or after the group was lost, is acknowledged and counted ([`Report::skipped`]), not handled. While an entry of an event is
    /// pending, others of it are taken for repetitions too.
    ///
    /// The mark is written with the acknowledgement. A handler whose instance dies between its effect and that is called again, unless it writes through
    /// a [`Transaction`]. The event's id is the entry's field `id`; entries without one are always handled.
    /// It costs a round trip before each handler.
    pub fn inbox(mut self, window: Duration) -> Self {
        self.settings.inbox = Some(window);
        self
    }

    /// What the consumer's name begins with; host, process id and a random number follow. The default is the group's name.
    pub fn consumer_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.settings.consumer_prefix = Some(prefix.into());
        self
    }

    /// Runs until the process gets SIGTERM or SIGINT, then stops in order.
    ///
    /// # Errors
    /// If it can't start; once it runs, it never ends by itself.
    pub async fn run(self, bus: &Bus) -> Result<Report, ServiceError> {
        let signal = termination()?;
        self.run_until(bus, signal).await
    }

    /// Runs until the future ends, then stops in order. Dropping this future cuts the service off as a crash would.
    ///
    /// # Errors
    /// If it can't start; once it runs, it never ends by itself.
    pub async fn run_until(self, bus: &Bus, end: impl Future) -> Result<Report, ServiceError> {
        let running = self.start(bus).await?;
        end.await;
        Ok(running.stop().await)
    }

    /// Starts it in the background. When this returns, the group exists: what is published from now on is handled.
    ///
    /// # Errors
    /// If it has no handler, two handlers for one action, or the group can't be made.
    pub async fn start(self, bus: &Bus) -> Result<Running, ServiceError> {
        let group: Arc<str> = self.name.as_str().into();
        let consumer = consumer_name(self.settings.consumer_prefix.as_deref().unwrap_or(&self.name));
        if self.settings.inbox.is_some() {
            let batches = |route: &&Registered| matches!(route.route.work, Work::Many { .. });
            if let Some(Registered { action, .. }) = self.routes.iter().find(batches) {
                return Err(ServiceError::InboxBatch { action });
            }
            if !self.settings.acknowledge {
                return Err(ServiceError::InboxWithoutAck);
            }
        }
        let lanes = lanes(&group, self.routes, &self.handling, &self.settings)?;
        let names = Names { group, consumer: consumer.into(), around: self.around, bus: bus.clone() };
        let core = Core::new(bus, names, self.settings, lanes);
        let joined = async {
            core.saw_broker_ms(bus.inspect().time_ms().await?);
            if let Err(mismatch) = group::agree_all(&core).await? {
                return Ok(Err(mismatch));
            }
            group::create_all(&core).await?;
            keeper::join(&core).await.map(Ok)
        };
        joined.await.map_err(|source| ServiceError::Group { group: self.name, source })??;
        Ok(Running::start(core, bus.clone()))
    }
}

impl<S> std::fmt::Debug for Service<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let actions: Vec<_> = self.routes.iter().map(|route| (route.stream, route.action)).collect();
        f.debug_struct("Service").field("name", &self.name).field("handles", &actions).finish_non_exhaustive()
    }
}

/// A service that could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// It handles nothing.
    #[error("the service has no handler: add one with .on(handler)")]
    NoHandler,
    /// Two handlers want the same entries.
    #[error(
        "two handlers for the action `{action}` of the stream `{stream}`: a service has one for each; do both in one handler, or use two services"
    )]
    TwoHandlers {
        /// The stream.
        stream: &'static str,
        /// The action.
        action: &'static str,
    },
    /// A batch has many keys.
    #[error(
        "the handler of `{action}` takes batches, and the service keeps the order by key: take single events, or leave the order out"
    )]
    OrderedBatch {
        /// The action.
        action: &'static str,
    },
    /// What is read with NOACK can't be handed over, and so has no order across instances.
    #[error(
        "the service keeps the order of the stream `{stream}`, and acknowledges nothing: leave out .no_ack(), or the order"
    )]
    OrderedNoAck {
        /// The stream.
        stream: &'static str,
    },
    /// Two events of one stream, or the program and the broker, say different numbers of partitions.
    #[error(transparent)]
    Partitions(#[from] PartitionsError),
    /// A batch is handled as a whole.
    #[error(
        "the handler of `{action}` takes batches, and the service has an inbox: take single events, or leave the inbox out"
    )]
    InboxBatch {
        /// The action.
        action: &'static str,
    },
    /// An inbox marks what is acknowledged.
    #[error("the service has an inbox and acknowledges nothing: leave .no_ack() or .inbox() out")]
    InboxWithoutAck,
    /// Its consumer group can't be made.
    #[error("the consumer group `{group}` can't be made: {source}")]
    Group {
        /// The group.
        group: String,
        /// Why.
        source: CommandError,
    },
    /// The process's signals can't be listened to.
    #[error("SIGTERM and SIGINT can't be listened to: {0}")]
    Signals(#[from] std::io::Error),
}

fn lanes(
    group: &Arc<str>,
    registered: Vec<Registered>,
    defaults: &Handling,
    settings: &Settings,
) -> Result<Lanes, ServiceError> {
    let mut topics: Vec<(&'static str, u16)> = Vec::new();
    let mut handlers: Vec<Routes> = Vec::new();
    for Registered { stream, partitions, action, mut route } in registered {
        let ordered = settings.ordered || partitions > 0;
        if ordered && matches!(route.work, Work::Many { .. }) {
            return Err(ServiceError::OrderedBatch { action });
        }
        if ordered && !settings.acknowledge {
            return Err(ServiceError::OrderedNoAck { stream });
        }
        route.handling = route.handling.or(defaults);
        let index = topics.iter().position(|(found, _)| *found == stream).unwrap_or(topics.len());
        if index == topics.len() {
            topics.push((stream, partitions));
            handlers.push(Routes::new());
        }
        let (Some((_, there)), Some(routes)) = (topics.get(index), handlers.get_mut(index)) else { continue };
        if *there != partitions {
            let mismatch = PartitionsError { stream: stream.to_owned(), here: partitions, there: *there };
            return Err(mismatch.into());
        }
        if routes.iter().any(|(known, _)| *known == action) {
            return Err(ServiceError::TwoHandlers { stream, action });
        }
        routes.push((action, Arc::new(route)));
    }
    if topics.is_empty() {
        return Err(ServiceError::NoHandler);
    }
    let mut lanes: Vec<Arc<Lane>> = Vec::new();
    for ((topic, partitions), routes) in topics.iter().zip(handlers) {
        let routes = Arc::new(routes);
        let numbers: Vec<Option<u16>> = match partitions {
            0 => vec![None],
            some => (0..*some).map(Some).collect(),
        };
        for partition in numbers {
            let source = Source { topic, partition, ordered: settings.ordered || *partitions > 0 };
            lanes.push(Arc::new(Lane::new(lanes.len(), source, group, Arc::clone(&routes))));
        }
    }
    Ok(Lanes { topics, lanes })
}

/// Unique for every start: a name that two processes share would let one settle what the other runs.
fn consumer_name(prefix: &str) -> String {
    let (host, process) = crate::simulated::place();
    format!("{prefix}-{host}-{process}-{:08x}", fastrand::u32(..))
}

#[cfg(unix)]
pub(crate) fn termination() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            biased;
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[cfg(not(unix))]
pub(crate) fn termination() -> std::io::Result<impl Future<Output = ()>> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}
