//! What can go wrong with a queue, under the names that RSMQ gives it.

use crate::error::CommandError;
use crate::event::EncodeError;

/// A call on a queue that was not carried out, or not surely. [`code`](Self::code) is the name that RSMQ gives to the same error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// Nothing to set was given.
    #[error("no attribute was supplied: set vt, delay or maxsize")]
    NoAttributeSupplied,
    /// A name or id is empty.
    #[error("no {item} supplied")]
    MissingParameter {
        /// Which one, by RSMQ's name.
        item: &'static str,
    },
    /// A name, id or time is not written as RSMQ wants it.
    #[error("invalid {item} format: {wanted}")]
    InvalidFormat {
        /// Which one, by RSMQ's name.
        item: &'static str,
        /// What it must look like.
        wanted: &'static str,
    },
    /// A number is out of range.
    #[error("{item} must be between {min} and {max}{unit}")]
    InvalidValue {
        /// Which one, by RSMQ's name.
        item: &'static str,
        /// The least that is allowed.
        min: u64,
        /// The most that is allowed.
        max: u64,
        /// In what it is counted, with a space in front.
        unit: &'static str,
    },
    /// The body is not UTF-8: Node.js could not read it.
    #[error(
        "the message is not a string: RSMQ's messages are UTF-8 text, encode other bytes (base64, JSON) first"
    )]
    MessageNotString,
    /// The body is longer than the queue allows, in UTF-16 units as JavaScript counts.
    #[error("the message is too long for the queue: its maxsize is counted in UTF-16 units")]
    MessageTooLong,
    /// There is no such queue.
    #[error("the queue `{queue}` is not found: create it first, and check the namespace")]
    QueueNotFound {
        /// The queue.
        queue: String,
    },
    /// There is such a queue already. It was not changed.
    #[error("the queue `{queue}` exists already: it was not changed")]
    QueueExists {
        /// The queue.
        queue: String,
    },
    /// `QUEUES` is the key of the list of queues: a queue of that name would overwrite it.
    #[error("the name `QUEUES` is reserved: RSMQ keeps the list of queues under it")]
    ReservedName,
    /// The times of the queue were written in milliseconds by another library, where RSMQ has seconds.
    #[error(
        "the queue `{queue}` says vt {vt} and delay {delay}, which look like milliseconds (rsmq_async writes them so); RSMQ has seconds. Say which they are with Queues::units, or set both attributes anew"
    )]
    ForeignUnits {
        /// The queue.
        queue: String,
        /// What its hash says.
        vt: String,
        /// What its hash says.
        delay: String,
    },
    /// On a cluster, one step touches keys of one slot only. Nothing was done.
    #[error(
        "the keys of this queue lie in different slots of a cluster: give its namespace a hash tag, as in Queues::namespace(\"{{rsmq}}\")"
    )]
    CrossSlot,
    /// The body can't be written. Nothing was sent.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The broker did not carry it out, or not surely.
    #[error("the queue's call is not confirmed: {0}")]
    Command(#[source] CommandError),
}

impl From<CommandError> for QueueError {
    fn from(error: CommandError) -> Self {
        if error.is_refused("CROSSSLOT") { Self::CrossSlot } else { Self::Command(error) }
    }
}

impl QueueError {
    /// RSMQ's name of the error, as in `err.name` of Node.js: `queueNotFound`, `messageTooLong`, ... Errors that RSMQ lacks have
    /// names of the same kind: `reservedName`, `foreignUnits`, `crossSlot`, `encode`, `command`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoAttributeSupplied => "noAttributeSupplied",
            Self::MissingParameter { .. } => "missingParameter",
            Self::InvalidFormat { .. } => "invalidFormat",
            Self::InvalidValue { .. } => "invalidValue",
            Self::MessageNotString => "messageNotString",
            Self::MessageTooLong => "messageTooLong",
            Self::QueueNotFound { .. } => "queueNotFound",
            Self::QueueExists { .. } => "queueExists",
            Self::ReservedName => "reservedName",
            Self::ForeignUnits { .. } => "foreignUnits",
            Self::CrossSlot => "crossSlot",
            Self::Encode(_) => "encode",
            Self::Command(_) => "command",
        }
    }

    /// Whether trying again can help: the broker was away, is loading, or is busy.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Command(error) if error.is_transient())
    }
}

/// A series of messages that was not sent in full.
#[derive(Debug, thiserror::Error)]
#[error("{} of {total} messages were sent, then: {source}", confirmed.len())]
pub struct SendAllError {
    /// The ids of those that were sent, in order, from the first one on.
    pub confirmed: Vec<super::MessageId>,
    /// How many there were.
    pub total: usize,
    /// Why the first one that was not sent was not. With [`QueueError::MessageTooLong`] it is `place`.
    pub source: QueueError,
    /// The place of the message at fault, from 0, if it is one message's fault.
    pub place: Option<usize>,
}
