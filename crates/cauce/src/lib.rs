//! Event-driven microservices on Redis: services pass events through channels (Pub/Sub), streams with consumer groups, and queues (RSMQ).
//!
//! ```
//! use cauce::{Bus, Delivery, Event, HandlerError, Retry, Service, State};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Event, Serialize, Deserialize)]
//! #[event(stream = "flights", action = "flight.cancelled", key = "flight")]
//! struct Cancelled {
//!     flight: String,
//!     passengers: u32,
//! }
//!
//! #[derive(Clone)]
//! struct Desk;
//!
//! async fn rebook(event: Cancelled, State(_desk): State<Desk>, delivery: Delivery) -> Result<(), HandlerError> {
//!     println!("{}: {} passengers, attempt {}", event.flight, event.passengers, delivery.attempt);
//!     Ok(())
//! }
//!
//! # #[cfg(feature = "embedded")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A broker inside this process; redis://HOST:PORT moves the same program to a server.
//! let bus = Bus::connect("memory:").await?;
//! let rebooking = Service::new("rebooking").state(Desk).on(rebook).retry(Retry::default().max_attempts(5));
//! let running = rebooking.start(&bus).await?; // or .run(&bus), which runs until SIGTERM
//! bus.publish(&Cancelled { flight: "UA 1".into(), passengers: 212 }).await?;
//! # while running.report().handled == 0 {
//! #     tokio::task::yield_now().await;
//! # }
//! let report = running.stop().await;
//! assert_eq!(report.handled, 1);
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "embedded"))]
//! # fn main() {}
//! ```
//!
//! | way | who gets a message | kept? | here |
//! |---|---|---|---|
//! | channel (Pub/Sub) | every subscriber that is connected now | no: at most once | [`Bus::channel`], [`Bus::broadcast`], [`Bus::subscribe`] |
//! | stream + consumer group | every group gets every entry; inside a group exactly one instance | yes: at least once, acknowledged | [`Bus::publish`], [`Service`] |
//! | queue (RSMQ) | exactly one receiver within a visibility timeout | until deleted (received) or at most once (popped) | [`Bus::queues`], [`Queue`], [`Worker`] |
//!
//! # Features
//! - `embedded` (default): the broker inside this process, for `memory:` URLs.
//! - `testing`: the module `testing`, for tests of your own services.
//! - `opentelemetry`: spans of handlers continue the trace that their event carries, and what is published carries that of the current span, if the
//!   program records its `tracing` spans with the crate `tracing-opentelemetry`.

mod backend;
mod bridge;
mod broker;
mod bus;
mod channel;
mod clock;
pub mod codec;
mod entry;
mod envelope;
mod error;
mod event;
mod idempotent;
mod inspect;
mod metrics;
mod middleware;
mod partition;
mod queue;
mod request;
mod schedule;
mod script;
mod service;
mod simulated;
mod stream;
#[cfg(feature = "testing")]
pub mod testing;
mod trace;

pub use bridge::{Bridge, BridgeReport, RunningBridge};
pub use broker::{BrokerInfo, Durability};
pub use bus::{Bus, SubscribeError};
pub use cauce_macros::Event;
pub use channel::{Body, Channel, Json, Received, Subscription};
pub use entry::{Entry, EntryId, Fields, ParseEntryIdError};
pub use envelope::{Envelope, EnvelopeError};
pub use error::{CommandError, ConnectError, PartitionsError, PublishAllError, PublishError};
pub use event::{DecodeError, EncodeError, Event, Metadata};
pub use inspect::{
    ConsumerInfo, DeadLetter, GroupInfo, Holder, Inspector, LetterAlarm, LetterFilter, LetterGroup,
    LetterLimits, PartitionInfo, PendingEntry, PendingQuery, RedriveReport, Redriven, Retained, Retention,
    StreamInfo,
};
pub use metrics::{Health, Metrics};
pub use middleware::{
    CircuitBreaker, Handled, Incoming, Middleware, Next, NextPublish, Outgoing, Published, RateLimit, Timeout,
};
pub use partition::{partition_of, partition_stream};
pub use queue::{
    DeadMessage, Message, MessageId, Queue, QueueArguments, QueueAttributes, QueueBatch, QueueBatchArguments,
    QueueChanges, QueueDelivery, QueueError, QueueExtract, QueueOptions, Queues, RunningWorker, SendAllError,
    Units, Worker, WorkerError,
};
pub use request::{Answer, Reply, Request, RequestError};
pub use schedule::{Cron, CronError, RunningCron, Scheduled};
pub use service::{
    Arguments, Batch, BatchArguments, Context, Delivery, Extract, FromRef, Handler, HandlerError, Handling,
    Headers, IntoOutcome, IntoOutcomes, PastAttempt, Report, Retry, Running, Service, ServiceError, Start,
    State, Transaction, TransactionError, Verdict,
};
pub use stream::{Follower, Stream};
pub use trace::{ParseTraceContextError, TraceContext};

/// The README's samples are compiled and run.
#[cfg(all(doctest, feature = "embedded"))]
#[doc = include_str!("../../../README.md")]
#[derive(Debug)]
pub struct Readme;
