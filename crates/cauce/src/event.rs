//! `Event`: a typed message, and the fields that it becomes.

use std::time::SystemTime;

use crate::clock;
use crate::entry::Fields;
use crate::simulated;
use crate::trace::{TRACEPARENT, TraceContext};

/// A typed message: which stream it goes to, which kind of event it is, and how it is written.
///
/// Derive it with [`#[derive(Event)]`](macro@crate::Event). On a stream it is plain field/value pairs that any Redis client can read: `action`
/// names the kind of event; `id`, `time`, `source`, `traceparent` and `content-type` are metadata in fields of their own (the attributes of `CloudEvents`
/// by their names); the payload is JSON in `data`, or with `codec = "fields"` one field per value.
///
/// Decoding also takes what other programs write by hand: an entry without `data` is read field by field, and its values (always strings in
/// Redis) are parsed as the struct wants them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event",
    label = "this type does not implement `cauce::Event`",
    note = "derive it: #[derive(Event, Serialize, Deserialize)] #[event(stream = \"orders\", action = \"order.created\")]"
)]
pub trait Event: Sized + Send + 'static {
    /// The stream that it is published to and read from; empty for an event that only lives on a channel.
    const STREAM: &'static str;
    /// The kind of event: the field `action` of its entries.
    const ACTION: &'static str;
    /// The Pub/Sub channel of [`Bus::broadcast`](crate::Bus::broadcast); empty if it has none.
    const CHANNEL: &'static str;
    /// How many partitions its stream has, fixed when the stream is made; 0 if it is one stream. Partition n of the stream `s` is the stream
    /// `{s}#n`; an event goes to the one that [`partition_of`](crate::partition_of) says for its [`key`](Self::key), and services keep the order of
    /// each key, across all their instances.
    const PARTITIONS: u16 = 0;

    /// What the event is about, as the attribute `key` says.
    fn key(&self) -> Option<String> {
        None
    }

    /// Appends the payload to the fields of an entry.
    ///
    /// # Errors
    /// If the payload can't be written, for instance a JSON map whose keys are not strings.
    fn encode(&self, fields: &mut Fields) -> Result<(), EncodeError>;

    /// Reads the payload from the fields of an entry.
    ///
    /// # Errors
    /// If they don't hold such an event.
    fn decode(fields: &Fields) -> Result<Self, DecodeError>;

    /// The body of a Pub/Sub message.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    fn to_body(&self) -> Result<Vec<u8>, EncodeError>;

    /// Reads the body of a Pub/Sub message.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    fn from_body(body: &[u8]) -> Result<Self, DecodeError>;
}

/// An event that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("the event can't be written: {source}")]
pub struct EncodeError {
    #[from]
    source: serde_json::Error,
}

/// An entry or message that is not what the type wants.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The JSON does not fit the type.
    #[error("the JSON does not fit: {0}")]
    Json(#[source] serde_json::Error),
    /// A field of a flat entry does not fit the type.
    #[error("the fields do not fit: {0}")]
    Fields(#[source] crate::codec::flat::FlatError),
    /// The body of a message is not UTF-8 text.
    #[error("the message is not UTF-8 text")]
    Text(#[source] std::str::Utf8Error),
}

/// Metadata that a publisher chooses; what is left out is filled in.
#[derive(Clone, Debug, Default)]
pub struct Metadata {
    id: Option<String>,
    time: Option<SystemTime>,
    source: Option<String>,
    traceparent: Option<String>,
}

impl Metadata {
    /// A fresh id (UUID version 7), the time of now, the bus's source.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The event's id. With an id of the publisher's own, one event of that id is appended, however often it is published.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// The same, with a fresh id if it has none.
    pub(crate) fn with_an_id(mut self) -> Self {
        self.id.get_or_insert_with(simulated::event_id);
        self
    }

    pub(crate) fn chosen_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// When it happened, by the publisher's clock.
    #[must_use]
    pub fn time(mut self, time: SystemTime) -> Self {
        self.time = Some(time);
        self
    }

    /// Who says so, in place of the bus's source.
    #[must_use]
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The W3C trace context to carry on, in place of the current one ([`TraceContext`](crate::TraceContext)).
    #[must_use]
    pub fn traceparent(mut self, traceparent: impl Into<String>) -> Self {
        self.traceparent = Some(traceparent.into());
        self
    }
}

/// The fields of an entry that carries `event`.
pub(crate) fn to_fields<E: Event>(
    event: &E,
    metadata: &Metadata,
    source: &str,
) -> Result<Fields, EncodeError> {
    let mut payload = Fields::with_capacity(4);
    event.encode(&mut payload)?;
    Ok(envelope(E::ACTION, &payload, metadata, source))
}

/// The fields of an entry: the kind of event, the metadata, the payload.
pub(crate) fn envelope(action: &str, payload: &Fields, metadata: &Metadata, source: &str) -> Fields {
    let mut fields = Fields::with_room(payload);
    fields.push_text("action", action);
    // A payload with one field per value may have an `id` or `time` of its own, which then stands alone.
    let is_free = |name: &str| payload.field(name).is_none();
    if is_free("id") {
        match &metadata.id {
            Some(id) => fields.push_text("id", id),
            None => fields.push_unique_id(simulated::event_id()),
        }
    }
    if is_free("time") {
        fields.push_text("time", clock::rfc3339(metadata.time.unwrap_or_else(simulated::now)));
    }
    if is_free("source") {
        fields.push_text("source", metadata.source.as_deref().unwrap_or(source));
    }
    if is_free(TRACEPARENT) {
        match &metadata.traceparent {
            Some(trace) => fields.push_text(TRACEPARENT, trace),
            None => {
                if let Some(trace) = TraceContext::current() {
                    fields.push_text(TRACEPARENT, trace.to_string());
                }
            }
        }
    }
    fields.append(payload);
    fields
}
