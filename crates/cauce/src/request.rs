//! Request and reply: a request is an event on a stream, its reply an entry of the requester's own stream.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use redis::cmd;
use tokio::sync::{OnceCell, oneshot};
use tokio::task::AbortHandle;
use tracing::Instrument as _;

use crate::backend::link::Link;
use crate::bus::Bus;
use crate::channel::Body;
use crate::codec::json;
use crate::entry::{Entry, EntryId, Fields};
use crate::error::{CommandError, PublishError};
use crate::event::{DecodeError, EncodeError, Event, Metadata, to_fields};
use crate::service::{Counter, HandlerError, IntoOutcome};
use crate::simulated;
use crate::stream::Follower;
use crate::trace::{TRACEPARENT, TraceContext};

/// Fields of a request: where its reply goes, what the reply is to name, and for how long somebody waits, in milliseconds.
const REPLY_TO: &str = "reply-to";
/// How the names of streams of replies begin. A reply trims its stream and lets it expire, so no other key is given one,
/// whatever a request asks for.
const REPLY_STREAMS: &str = "cauce:replies:";
const CORRELATION: &str = "correlation-id";
const REPLY_WITHIN: &str = "reply-within";
/// Fields of a reply that says that there is none.
const REASON: &str = "reason";
const ERROR: &str = "error";

/// Replies that wait in a requester's stream, about; the oldest go first.
const REPLIES_MAX: usize = 10_000;
/// How long a stream of replies lives after its last one at least.
const REPLIES_LIVE: Duration = Duration::from_secs(60);

/// An event that is answered, with what.
///
/// ```
/// # use cauce::{Event, Json, Request};
/// # use serde::{Deserialize, Serialize};
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(stream = "fares", action = "fare.asked", key = "flight")]
/// struct Ask {
///     flight: String,
/// }
///
/// impl Request for Ask {
///     type Reply = Json<u32>;
/// }
/// ```
pub trait Request: Event {
    /// The reply: an event, [`Json`](crate::Json), text or bytes.
    type Reply: Body;
}

/// What a handler returns to answer a [`Request`]: `Result<Reply<T>, HandlerError>` or `Reply<T>`.
///
/// The reply is sent before the event is acknowledged: a process that dies in between answers again, and the requester takes the first. With a
/// [`Transaction`](crate::Transaction) it is a part of that, so there is none unless the transaction is applied, and one if it is; where streams live in other
/// slots of a cluster, it is sent right after. An event that nobody asked for an answer to is handled all the same, its reply dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply<T>(pub T);

/// The body of a reply.
#[derive(Debug)]
pub struct Answer(Vec<u8>);

fn answer<T: Body>(reply: &Reply<T>) -> Result<Option<Answer>, HandlerError> {
    // Another attempt would find the same.
    let body = reply.0.to_body().map_err(|error: EncodeError| HandlerError::reject(error.to_string()))?;
    Ok(Some(Answer(body)))
}

impl<T: Body> IntoOutcome for Reply<T> {
    fn into_outcome(self) -> Result<(), HandlerError> {
        Ok(())
    }

    fn into_answer(self) -> Result<Option<Answer>, HandlerError> {
        answer(&self)
    }
}

impl<T: Body, E: Into<HandlerError>> IntoOutcome for Result<Reply<T>, E> {
    fn into_outcome(self) -> Result<(), HandlerError> {
        self.map(drop).map_err(Into::into)
    }

    fn into_answer(self) -> Result<Option<Answer>, HandlerError> {
        answer(&self.map_err(Into::into)?)
    }
}

/// A request without a reply.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The request is not surely published.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The broker can't be asked for replies.
    #[error("replies can't be received: {0}")]
    Command(#[from] CommandError),
    /// No reply came in time. The request may still be handled; a reply that comes later is counted and dropped.
    #[error("no reply within {after:?}; the request may still be handled")]
    TimedOut {
        /// How long it was waited for.
        after: Duration,
    },
    /// The request became a dead letter: nobody will answer.
    #[error("the request failed for good ({reason}): {error}")]
    Failed {
        /// How, in a word or two.
        reason: String,
        /// The handler's error.
        error: String,
    },
    /// The reply is not of the type that the request names.
    #[error("the reply can't be read: {0}")]
    Decode(#[from] DecodeError),
}

impl Bus {
    /// Publishes the event and waits for the reply of the first service that answers, [`Reply`].
    ///
    /// The request is an event like any other: durable, published once, retried by its service's policy, seen by every group. The reply comes through a stream of
    /// this bus's own, which a broken connection does not lose; it is bounded, and gone a minute after its last reply. One that comes after the
    /// timeout, or a second one, is counted ([`late_replies`](Self::late_replies)) and dropped. Middleware of [`Bus::middleware`] is around the publish.
    ///
    /// Dropping the future gives the wait up; the request stays published.
    ///
    /// # Errors
    /// If the request is not published, no reply comes within `timeout`, the request becomes a dead letter, or the reply is of another type.
    pub async fn request<R: Request>(&self, event: &R, timeout: Duration) -> Result<R::Reply, RequestError> {
        const { assert!(!R::STREAM.is_empty(), "this event has no stream: add #[event(stream = \"...\")]") };
        let span = tracing::info_span!(
            "request",
            otel.name = format!("request {}", R::STREAM),
            otel.kind = "producer",
            messaging.system = "redis",
            messaging.operation.type = "send",
            messaging.destination.name = R::STREAM,
            action = R::ACTION,
        );
        let asked = self.ask(event, timeout).instrument(span);
        match tokio::time::timeout(timeout, asked).await {
            Ok(reply) => read(&reply?),
            Err(_) => Err(RequestError::TimedOut { after: timeout }),
        }
    }

    /// Replies that came after their request's timeout, or again.
    #[must_use]
    pub fn late_replies(&self) -> u64 {
        self.replies().late.count()
    }

    async fn ask<R: Request>(&self, event: &R, timeout: Duration) -> Result<Fields, RequestError> {
        let replies = self.replies();
        let stream = replies.stream(self.link()).await;
        let id = simulated::event_id();
        let mut fields = Fields::with_capacity(3);
        fields.push_text(REPLY_TO, stream);
        fields.push_text(CORRELATION, id.clone());
        fields.push_text(REPLY_WITHIN, u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).to_string());
        let (metadata, to) = (Metadata::new(), self.stream_of(event).await?);
        let event = to_fields(event, &metadata, self.source()).map_err(PublishError::from)?;
        // What the event itself calls so comes second, and is not looked at.
        fields.append(&event);
        let waiting = replies.wait_for(id);
        self.append_around(to, fields, &metadata).await?;
        // The sender is dropped only with this bus.
        (&mut { waiting }.reply).await.map_err(|_| RequestError::TimedOut { after: timeout })
    }
}

fn read<B: Body>(reply: &Fields) -> Result<B, RequestError> {
    if let Some(reason) = reply.text(REASON) {
        let error = reply.text(ERROR).unwrap_or_default().to_owned();
        return Err(RequestError::Failed { reason: reason.to_owned(), error });
    }
    Ok(B::from_body(reply.field(json::DATA).unwrap_or_default().to_vec())?)
}

/// The replies to a bus's requests. The first request opens the connection that they come by.
pub(crate) struct Replies {
    waiting: Mutex<HashMap<String, oneshot::Sender<Fields>>>,
    inbox: OnceCell<Inbox>,
    pub(crate) late: Counter,
}

struct Inbox {
    stream: String,
    task: AbortHandle,
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A request that waits; it does no longer when this is dropped.
struct Waiting {
    replies: Arc<Replies>,
    id: String,
    reply: oneshot::Receiver<Fields>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.replies.take(&self.id);
    }
}

impl Replies {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { waiting: Mutex::default(), inbox: OnceCell::new(), late: Counter::default() })
    }

    async fn stream(self: &Arc<Self>, link: &Link) -> &str {
        let open = async || {
            let stream = format!("{REPLY_STREAMS}{}", simulated::event_id());
            // Nobody else knows it: it is empty, and read from its beginning.
            let follower = Follower::new(link.endpoint().clone(), &stream, EntryId::ZERO);
            let task = tokio::spawn(receive(Arc::downgrade(self), follower)).abort_handle();
            Inbox { stream, task }
        };
        &self.inbox.get_or_init(open).await.stream
    }

    fn wait_for(self: &Arc<Self>, id: String) -> Waiting {
        let (sender, reply) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), sender);
        Waiting { replies: Arc::clone(self), id, reply }
    }

    fn take(&self, id: &str) -> Option<oneshot::Sender<Fields>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(id)
    }

    fn arrived(&self, entry: Entry) {
        let waiting = entry.fields.text(CORRELATION).and_then(|id| self.take(id));
        match waiting.map(|waiting| waiting.send(entry.fields)) {
            Some(Ok(())) => {}
            Some(Err(_)) | None => self.late.one(),
        }
    }
}

impl fmt::Debug for Replies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Replies")
    }
}

async fn receive(replies: Weak<Replies>, mut follower: Follower) {
    loop {
        let entries = follower.next().await;
        let Some(replies) = replies.upgrade() else { return };
        match entries {
            Ok(entries) => entries.into_iter().for_each(|entry| replies.arrived(entry)),
            Err(error) => {
                tracing::error!(%error, "replies can't be received");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Where a request wants its reply.
#[derive(Debug)]
pub(crate) struct Asked {
    stream: String,
    id: String,
    live_ms: u64,
}

impl Asked {
    /// If the entry is a request.
    pub(crate) fn of(fields: &Fields) -> Option<Self> {
        let stream = fields.text(REPLY_TO)?.to_owned();
        if !stream.starts_with(REPLY_STREAMS) {
            tracing::warn!(
                stream,
                "a request gets no reply: its `reply-to` does not begin with `cauce:replies:`"
            );
            return None;
        }
        let id = fields.text(CORRELATION).or_else(|| fields.text("id"))?.to_owned();
        let within = fields.text(REPLY_WITHIN).and_then(|text| text.parse().ok()).unwrap_or(0);
        let live_ms = u64::try_from(REPLIES_LIVE.as_millis()).unwrap_or(u64::MAX).max(within);
        Some(Self { stream, id, live_ms })
    }

    pub(crate) fn reply(&self, Answer(body): Answer) -> PreparedReply {
        self.prepared(&[(json::DATA, &body)])
    }

    /// Tells the requester that nobody will answer. If this is lost, it finds out by its timeout.
    pub(crate) async fn refuse(&self, link: &Link, reason: &str, error: &str) {
        if let Err(error) =
            self.prepared(&[(REASON, reason.as_bytes()), (ERROR, error.as_bytes())]).send(link).await
        {
            tracing::debug!(%error, "the requester is not told that its request failed");
        }
    }

    /// Within the trace of this moment.
    fn prepared(&self, body: &[(&str, &[u8])]) -> PreparedReply {
        let mut fields = Fields::with_capacity(2 + body.len());
        fields.push_text(CORRELATION, &self.id);
        if let Some(trace) = TraceContext::current() {
            fields.push_text(TRACEPARENT, trace.to_string());
        }
        for (name, value) in body {
            fields.push(name, value);
        }
        PreparedReply { stream: self.stream.clone(), live_ms: self.live_ms, fields }
    }
}

/// A reply that is ready to be sent.
#[derive(Debug)]
pub(crate) struct PreparedReply {
    pub(crate) stream: String,
    live_ms: u64,
    fields: Fields,
}

impl PreparedReply {
    /// How many replies the stream keeps, for how long it lives, and the entry.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = Vec<u8>> {
        let numbers = [REPLIES_MAX.to_string().into_bytes(), self.live_ms.to_string().into_bytes()];
        numbers
            .into_iter()
            .chain(self.fields.iter().flat_map(|(name, value)| [name.to_vec(), value.to_vec()]))
    }

    /// # Errors
    /// If the broker did not confirm it.
    pub(crate) async fn send(&self, link: &Link) -> Result<(), CommandError> {
        const SEND: &str = "redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', unpack(ARGV, 3)) \
            return redis.call('PEXPIRE', KEYS[1], ARGV[2])";
        let mut command = cmd("EVAL");
        command.arg(SEND).arg(1).arg(&self.stream);
        for argument in self.arguments() {
            command.arg(argument);
        }
        link.send(&command).await.map(drop)
    }
}
