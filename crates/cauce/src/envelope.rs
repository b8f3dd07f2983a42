//! `Envelope`: an event that is written down before it is published.

use serde::{Deserialize, Serialize};

use crate::bus::{Bus, program};
use crate::entry::{EntryId, Fields};
use crate::error::PublishError;
use crate::event::{EncodeError, Event, Metadata, to_fields};
use crate::partition::{partition_of, partition_stream};

/// An event that is written down and not published yet, to be kept wherever there is a transaction: what an outbox holds. It has its id from the
/// beginning, so it is appended once, however often and by whomever [`Bus::publish_envelope`] is called with it.
///
/// It serialises to an object of texts and numbers, stable across versions; the crate `cauce-sql` keeps it in a table. The trace of its
/// making goes with it.
///
/// ```
/// # use cauce::{Bus, Envelope, Event, Metadata};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Event, Serialize, Deserialize)]
/// # #[event(stream = "orders", action = "order.placed")]
/// # struct Placed { order: u32 }
/// # async fn publish(bus: &Bus) -> Result<(), Box<dyn std::error::Error>> {
/// let kept = serde_json::to_string(&Envelope::new(&Placed { order: 1 }, &Metadata::new())?)?;
/// // Later, perhaps in another process, and perhaps twice.
/// let envelope: Envelope = serde_json::from_str(&kept)?;
/// bus.publish_envelope(&envelope).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Envelope {
    stream: String,
    /// What the stream is a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    partitioned: Option<Partitioned>,
    id: String,
    #[serde(with = "texts")]
    fields: Fields,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Partitioned {
    stream: String,
    partitions: u16,
}

impl Envelope {
    /// Writes the event down, with a fresh id if the metadata has none. Its origin, if the metadata names none, is the program.
    ///
    /// # Errors
    /// If the payload can't be written, or a partitioned stream's event has no key.
    pub fn new<E: Event>(event: &E, metadata: &Metadata) -> Result<Self, EnvelopeError> {
        const { assert!(!E::STREAM.is_empty(), "this event has no stream: add #[event(stream = \"...\")]") };
        let metadata = metadata.clone().with_an_id();
        let (stream, partitioned) = if E::PARTITIONS == 0 {
            (E::STREAM.to_owned(), None)
        } else {
            let key = event.key().ok_or(EnvelopeError::NoKey { stream: E::STREAM })?;
            let stream = partition_stream(E::STREAM, partition_of(&key, E::PARTITIONS));
            let whole = Partitioned { stream: E::STREAM.to_owned(), partitions: E::PARTITIONS };
            (stream, Some(whole))
        };
        let fields = to_fields(event, &metadata, &program())?;
        Ok(Self { stream, partitioned, id: metadata.chosen_id().unwrap_or_default().to_owned(), fields })
    }

    /// The stream that it goes to: of a partitioned one, the partition.
    #[must_use]
    pub fn stream(&self) -> &str {
        &self.stream
    }

    /// The event's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The fields of the entry that it becomes.
    #[must_use]
    pub fn fields(&self) -> &Fields {
        &self.fields
    }
}

impl Bus {
    /// Publishes what was written down before, once, as [`publish_with`](Self::publish_with) does for an id of the publisher's own: with the same window.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn publish_envelope(&self, envelope: &Envelope) -> Result<EntryId, PublishError> {
        if let Some(Partitioned { stream, partitions }) = &envelope.partitioned {
            self.agree_on(stream, *partitions).await?;
        }
        let metadata = Metadata::new().id(&envelope.id);
        self.append_around(envelope.stream.clone().into(), envelope.fields.clone(), &metadata).await
    }
}

/// An event that could not be written down.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// The payload can't be written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// Its stream is partitioned, and it has no key to choose the partition by.
    #[error("the stream `{stream}` is partitioned, and the event has no key: add #[event(key = \"...\")]")]
    NoKey {
        /// The stream.
        stream: &'static str,
    },
}

/// Fields as pairs of texts.
mod texts {
    use serde::de::Deserializer;
    use serde::ser::{Error as _, SerializeSeq as _, Serializer};

    use super::{Deserialize as _, Fields};

    pub(super) fn serialize<S: Serializer>(fields: &Fields, serializer: S) -> Result<S::Ok, S::Error> {
        let mut pairs = serializer.serialize_seq(Some(fields.len()))?;
        for (name, value) in fields.iter() {
            let (Ok(name), Ok(value)) = (std::str::from_utf8(name), std::str::from_utf8(value)) else {
                let name = String::from_utf8_lossy(name);
                return Err(S::Error::custom(format!(
                    "the field `{name}` of the event is not UTF-8 text: write it as text, as in base64"
                )));
            };
            pairs.serialize_element(&(name, value))?;
        }
        pairs.end()
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Fields, D::Error> {
        let pairs = Vec::<(String, String)>::deserialize(deserializer)?;
        let mut fields = Fields::new();
        for (name, value) in pairs {
            fields.push_text(&name, value);
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_text_is_named() {
        let mut fields = Fields::new();
        fields.push("photo", [0xff, 0xfe]);
        let envelope = Envelope { stream: "s".to_owned(), partitioned: None, id: "1".to_owned(), fields };
        let error = serde_json::to_string(&envelope).unwrap_err().to_string();
        assert!(error.contains("the field `photo` of the event is not UTF-8 text"), "{error}");
    }
}
