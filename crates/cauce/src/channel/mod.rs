//! Channels (Pub/Sub): every subscriber that is connected now gets a message, at most once; nothing is kept.

mod buffer;
mod subscription;

pub use subscription::{Received, Subscription};

use redis::cmd;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::backend::link::Link;
use crate::backend::reply;
use crate::error::{CommandError, PublishError};
use crate::event::{DecodeError, EncodeError, Event};

/// What a message on a channel can be read as: any [`Event`] (its payload as JSON), [`Json`] of any type, text, or bytes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be the body of a message on a channel",
    note = "derive `Event` for it, or use `Json<T>`, `String` or `Vec<u8>` for messages that are not events"
)]
pub trait Body: Sized + Send + 'static {
    /// Writes the body.
    ///
    /// # Errors
    /// If it can't be written.
    fn to_body(&self) -> Result<Vec<u8>, EncodeError>;

    /// Reads the body.
    ///
    /// # Errors
    /// If the bytes are not such a body.
    fn from_body(body: Vec<u8>) -> Result<Self, DecodeError>;
}

impl<E: Event> Body for E {
    fn to_body(&self) -> Result<Vec<u8>, EncodeError> {
        Event::to_body(self)
    }

    fn from_body(body: Vec<u8>) -> Result<Self, DecodeError> {
        Event::from_body(&body)
    }
}

impl Body for String {
    fn to_body(&self) -> Result<Vec<u8>, EncodeError> {
        Ok(self.clone().into_bytes())
    }

    fn from_body(body: Vec<u8>) -> Result<Self, DecodeError> {
        Self::from_utf8(body).map_err(|error| DecodeError::Text(error.utf8_error()))
    }
}

impl Body for Vec<u8> {
    fn to_body(&self) -> Result<Vec<u8>, EncodeError> {
        Ok(self.clone())
    }

    fn from_body(body: Vec<u8>) -> Result<Self, DecodeError> {
        Ok(body)
    }
}

/// Any type of serde as JSON, for messages that are no events: `queue.send(&Json(job))`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Json<T>(pub T);

impl<T: Serialize + DeserializeOwned + Send + 'static> Body for Json<T> {
    fn to_body(&self) -> Result<Vec<u8>, EncodeError> {
        Ok(serde_json::to_vec(&self.0)?)
    }

    fn from_body(body: Vec<u8>) -> Result<Self, DecodeError> {
        serde_json::from_slice(&body).map(Self).map_err(DecodeError::Json)
    }
}

/// A Pub/Sub channel, to publish on.
#[derive(Clone, Copy)]
pub struct Channel<'a> {
    link: &'a Link,
    name: &'a str,
}

impl<'a> Channel<'a> {
    pub(crate) fn new(link: &'a Link, name: &'a str) -> Self {
        Self { link, name }
    }

    /// Publishes a message and says how many subscribers it was handed to (patterns count once each; in a cluster, only those
    /// of the same node). Who is not subscribed now never sees it.
    ///
    /// # Errors
    /// If the body can't be written, or the broker did not confirm.
    pub async fn publish<B: Body>(&self, body: &B) -> Result<u64, PublishError> {
        let body = body.to_body()?;
        let reply = self.link.send(cmd("PUBLISH").arg(self.name).arg(body)).await?;
        Ok(reply::count(&reply).ok_or(CommandError::Unexpected { command: "PUBLISH" })?)
    }
}

impl std::fmt::Debug for Channel<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Channel").field(&self.name).finish()
    }
}
