//! Errors that every operation on a broker shares.

use std::time::Duration;

use crate::entry::EntryId;
use crate::event::EncodeError;

/// A URL that names no broker, or a broker that can't be reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The scheme is not one that Cauce knows.
    #[error(
        "`{scheme}` is not a scheme that Cauce knows: use redis://HOST:PORT, rediss://HOST:PORT (TLS), unix:PATH, or file:DIRECTORY or memory: for a broker inside this process"
    )]
    Scheme {
        /// What stands before the colon.
        scheme: String,
    },
    /// The rest of the URL can't be read.
    #[error("the URL `{url}` can't be read: {problem}")]
    Url {
        /// The URL, its password left out.
        url: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The broker of a `file:` URL can't be opened.
    #[error("no broker can be opened: {problem}")]
    Directory {
        /// What is wrong, with the directory's name and what to do.
        problem: String,
    },
    /// The crate was built without the feature `embedded`.
    #[error(
        "this program was built without the embedded broker: enable the feature `embedded` of the crate `cauce`, or use a redis:// URL"
    )]
    NotEmbedded,
    /// Nobody answers there.
    #[error("no broker answers at {url}: {source}; check that it runs and that the address is right")]
    Unreachable {
        /// Where, without the password.
        url: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It answers, but refuses this client.
    #[error(
        "the broker at {url} refuses the connection: {message}; check user name, password and database number in the URL"
    )]
    Refused {
        /// Where, without the password.
        url: String,
        /// What the broker said.
        message: String,
    },
}

/// A command that a broker did not carry out, or not surely.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// There has been no connection for as long as commands wait. Nothing was sent.
    #[error("no connection to {url} for {waited:?}: {problem}; the bus keeps trying, try again later")]
    Unreachable {
        /// Where, without the password.
        url: String,
        /// How long the command waited.
        waited: Duration,
        /// Why the last attempt failed.
        problem: String,
    },
    /// The connection broke, or no reply came in time, after the command was sent: it may or may not have been carried out.
    #[error(
        "the connection to {url} was lost before the reply: {problem}; the command may have been carried out or not"
    )]
    OutcomeUnknown {
        /// Where, without the password.
        url: String,
        /// What broke.
        problem: String,
    },
    /// The broker refused the command.
    #[error("the broker answered: {code} {message}")]
    Refused {
        /// The error code of Redis, as in `WRONGTYPE`.
        code: String,
        /// What the broker said.
        message: String,
    },
    /// The reply has a shape that the command does not have in Redis.
    #[error(
        "the broker answered {command} with a reply of another shape; is it a Redis-compatible server of version 6.2 or later?"
    )]
    Unexpected {
        /// Which command.
        command: &'static str,
    },
}

impl CommandError {
    pub(crate) fn is_refused(&self, expected: &str) -> bool {
        matches!(self, Self::Refused { code, .. } if code == expected)
    }

    /// Whether the broker refused because it does not have the command or this user may not use it.
    pub(crate) fn is_no_command(&self) -> bool {
        self.is_refused("NOPERM")
            || matches!(self, Self::Refused { code, message } if code == "ERR" && message.starts_with("unknown command"))
    }

    /// Whether trying again can help: the broker was away, is loading, or is busy.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::OutcomeUnknown { .. } => true,
            Self::Refused { code, .. } => {
                matches!(
                    code.as_str(),
                    "LOADING" | "BUSY" | "TRYAGAIN" | "CLUSTERDOWN" | "MASTERDOWN" | "READONLY" | "OOM"
                )
            }
            Self::Unexpected { .. } => false,
        }
    }
}

/// An event that was not published, or not surely.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The payload can't be written. Nothing was sent.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// More fields than a script can append. Nothing was sent.
    #[error(
        "the event has {count} fields, and a script appends at most {limit}: put the payload into one field"
    )]
    TooManyFields {
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// The broker did not confirm it.
    #[error("the event is not confirmed: {0}")]
    Command(#[from] CommandError),
    /// It belongs on a partitioned stream, and has no key that says to which partition it goes. Nothing was sent.
    #[error(
        "the event has no key, and its stream `{stream}` is partitioned: return a key from `Event::key`, or publish it on a stream without partitions"
    )]
    NoKey {
        /// The stream.
        stream: &'static str,
    },
    /// The broker knows the stream with another number of partitions. Nothing was sent.
    #[error(transparent)]
    Partitions(#[from] PartitionsError),
    /// A [`CircuitBreaker`](crate::CircuitBreaker) pauses. Nothing was sent.
    #[error("publishing is paused after too many failures: try again later")]
    Paused,
    /// It took longer than a [`Timeout`](crate::Timeout) allows: it may have been published or not.
    #[error("no confirmation within {after:?}; the event may have been published or not")]
    TimedOut {
        /// How long it was waited for.
        after: Duration,
    },
    /// A middleware did not let it through. Nothing was sent.
    #[error("not published: {reason}")]
    Refused {
        /// Why.
        reason: String,
    },
}

/// A stream has another number of partitions at the broker than the program says. The number is fixed when the stream is made: with another one, the
/// events of a key would go elsewhere than those before them, and lose their order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the stream `{stream}` was made with {there} partitions, and this program says {here} (0: none): say `partitions = {there}` in #[event(...)], or use a stream of another name"
)]
#[non_exhaustive]
pub struct PartitionsError {
    /// The stream.
    pub stream: String,
    /// How many partitions the program says.
    pub here: u16,
    /// How many partitions there are.
    pub there: u16,
}

/// A series of events that was not published in full.
#[derive(Debug, thiserror::Error)]
#[error("{} of {total} events were confirmed, then: {source}", confirmed.len())]
pub struct PublishAllError {
    /// The entries that the broker confirmed, in the order of the events, from the first one on.
    pub confirmed: Vec<EntryId>,
    /// How many events there were.
    pub total: usize,
    /// Why the first one that is not confirmed is not.
    pub source: PublishError,
}
