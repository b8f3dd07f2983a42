//! Messages as they are received.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::name::MessageId;
use crate::backend::replies::{Replies, Reply};
use crate::channel::Body;
use crate::event::DecodeError;
use crate::trace::TraceContext;

/// A message that was received or popped.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// Its id; deleting and changing its visibility name it by this.
    pub id: MessageId,
    /// What it says, in bytes. RSMQ's messages are UTF-8 text.
    pub body: Vec<u8>,
    /// How often it was received, this time included: `rc` in RSMQ.
    pub receive_count: u64,
    /// When it was received for the first time, by the server's clock: `fr` in RSMQ.
    pub first_received: SystemTime,
    received: SystemTime,
    trace: Option<TraceContext>,
}

impl Message {
    /// When it was sent, by the server's clock.
    #[must_use]
    pub fn sent(&self) -> SystemTime {
        self.id.sent()
    }

    /// How old it was when it was received this time, by the server's clock.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.received.duration_since(self.sent()).unwrap_or_default()
    }

    /// The trace that it was sent in.
    #[must_use]
    pub fn trace(&self) -> Option<TraceContext> {
        self.trace
    }

    /// The body as text; bytes that are not UTF-8 are replaced, as Node.js does.
    #[must_use]
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// The body as what it is meant to be: an [`Event`](crate::Event) as JSON, `String`, `Vec<u8>`.
    ///
    /// # Errors
    /// If it is not that.
    pub fn decode<B: Body>(&self) -> Result<B, DecodeError> {
        B::from_body(self.body.clone())
    }
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message")
            .field("id", &self.id)
            .field("body", &self.text())
            .field("receive_count", &self.receive_count)
            .finish_non_exhaustive()
    }
}

/// What a receive found.
#[derive(Clone, Debug, Default)]
pub(super) struct Received {
    pub(super) messages: Vec<Message>,
    /// How long from now until the next message becomes visible, if it is known.
    pub(super) next_due: Option<Duration>,
}

impl Received {
    /// Reads the reply of the script.
    pub(super) fn of(mut reply: Replies) -> Option<Self> {
        let items = reply.list()?;
        let now = reply.count()?;
        // A score is a double: another program may have written a fraction.
        let due = match reply.value()? {
            Reply::Integer(due) => u64::try_from(due).ok(),
            Reply::Text(text) => {
                std::str::from_utf8(text).ok()?.parse::<f64>().ok().map(|due| due.max(0.0) as u64)
            }
            _ => return None,
        };
        let mut messages = Vec::with_capacity(items / 5);
        for _ in 0..items.saturating_sub(2) / 5 {
            messages.push(Message {
                id: MessageId::from_bytes(reply.text()?)?,
                body: reply.text()?.to_vec(),
                receive_count: reply.count()?,
                first_received: UNIX_EPOCH + Duration::from_millis(reply.count()?),
                received: UNIX_EPOCH + Duration::from_millis(now),
                trace: std::str::from_utf8(reply.text()?).ok().and_then(|text| text.parse().ok()),
            });
        }
        let next_due = due.map(|due| Duration::from_millis(due.saturating_sub(now)));
        Some(Self { messages, next_due })
    }
}
