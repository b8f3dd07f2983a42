//! What is known of the attempts at one entry: kept beside the group while it is tried, and in its dead letter afterwards.

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::entry::EntryId;

/// Bytes of an error's text that are kept.
const ERROR_MAX: usize = 2_000;

/// An attempt that failed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt<'a> {
    pub(crate) id: EntryId,
    /// From 1.
    pub(crate) number: u32,
    /// When its handler was called; `None` if it was not.
    pub(crate) started: Option<Instant>,
    pub(crate) reason: &'static str,
    pub(crate) error: &'a str,
}

impl Attempt<'_> {
    pub(crate) fn was_run(&self) -> bool {
        self.started.is_some()
    }

    pub(crate) fn took_ms(&self) -> u64 {
        self.started.map_or(0, |started| u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// JSON that is open at its end: the broker adds the times by its own clock.
    pub(crate) fn record(&self, instance: &str) -> String {
        #[derive(Serialize)]
        struct Head<'a> {
            attempt: u32,
            instance: &'a str,
            reason: &'a str,
            error: &'a str,
        }
        let head = Head { attempt: self.number, instance, reason: self.reason, error: shortened(self.error) };
        let mut json = serde_json::to_string(&head).expect("a struct of texts and a number is JSON");
        json.pop();
        json
    }
}

/// An attempt, as a dead letter remembers it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct PastAttempt {
    /// Its number, from 1.
    pub attempt: u32,
    /// The consumer that made it: the service's prefix, host, process and start.
    pub instance: String,
    /// How it failed, in a word or two; empty if its instance died.
    pub reason: String,
    /// The error and its sources; empty if its instance died.
    pub error: String,
    /// When it was started, in milliseconds of the broker's clock; zero if that is not known.
    pub start: u64,
    /// When it failed, or when its instance was found dead, in milliseconds of the broker's clock.
    pub end: u64,
    /// Whether its instance died, or lost its lease, with the entry in its hands; the handler may or may not have been running.
    pub lost: bool,
}

/// The first part of a text that is too long, cut between characters.
pub(crate) fn shortened(text: &str) -> &str {
    let mut end = text.len().min(ERROR_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_completed_by_the_broker() {
        let error = "no \"seat\"\n\0".repeat(500);
        let attempt =
            Attempt { id: EntryId::new(1, 0), number: 2, started: None, reason: "failed", error: &error };
        let json = format!("{},\"start\":5,\"end\":7}}", attempt.record("desk-1"));
        let past: PastAttempt = serde_json::from_str(&json).unwrap();
        assert_eq!(
            (past.attempt, past.instance.as_str(), past.start, past.end, past.lost),
            (2, "desk-1", 5, 7, false)
        );
        assert_eq!(past.error.len(), ERROR_MAX);
    }
}
