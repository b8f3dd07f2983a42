//! Dead letters: entries that a group gave up on, with what is known of why.

use std::time::Duration;

use redis::{Pipeline, cmd};

use super::{Inspector, unexpected};
use crate::backend::command::{again_stream, dead_stream, xadd};
use crate::backend::reply;
use crate::entry::{Entry, EntryId, Fields};
use crate::error::CommandError;
use crate::service::LETTER_FIELDS;

/// The consumer in whose name a redriven entry waits for the group's service to take it over.
const REDRIVER: &str = "cauce:redrive";
/// An idle time beyond any service's limit: whoever looks next takes the entry over.
const AT_ONCE: Duration = Duration::from_secs(24 * 3600);

/// An entry that a group gave up on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Its id among the dead letters of the stream.
    pub id: EntryId,
    /// The stream whose dead letters these are.
    pub home: String,
    /// Why it was given up, in a word or two: `failed`, `rejected`, `panicked`, `timed out`, `undecodable`, `never finished`.
    pub reason: String,
    /// The error and its sources.
    pub error: String,
    /// How many attempts there were.
    pub attempts: u32,
    /// The group that gave up.
    pub group: String,
    /// The consumer that did so.
    pub consumer: String,
    /// The stream that the entry was read from.
    pub stream: String,
    /// The entry's id there.
    pub entry: EntryId,
    /// When the entry was published, by the broker's clock, as RFC 3339.
    pub published_at: String,
    /// When it was given up, by the service's clock, as RFC 3339.
    pub died_at: String,
    /// The entry's own fields, as they were.
    pub fields: Fields,
}

/// How a dead letter went back to its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redriven {
    /// The entry still stands in the stream: it is pending again, with its own id and no deliveries.
    SameEntry,
    /// The entry had been deleted or trimmed: a copy was written to the group's side stream, which only its service reads.
    Copy(EntryId),
}

impl Inspector {
    /// The dead letters of a stream, of all groups, after an id ([`EntryId::ZERO`] for the first), at most `count`.
    ///
    /// # Errors
    /// If the broker can't be asked.
    pub async fn dead_letters(
        &self,
        stream: &str,
        after: EntryId,
        count: usize,
    ) -> Result<Vec<DeadLetter>, CommandError> {
        let entries = self.entries(&dead_stream(stream), after, count).await?;
        Ok(entries.into_iter().map(|entry| letter(stream, entry)).collect())
    }

    /// Gives a dead letter back to the group that gave up on it, and to no other. Its service takes it over within seconds, as a first
    /// attempt; then the letter is gone. A crash in between can leave the letter too, never neither.
    ///
    /// # Errors
    /// If the broker can't be asked, or the group does not exist any more.
    pub async fn redrive(&self, letter: &DeadLetter) -> Result<Redriven, CommandError> {
        let mut claim = cmd("XCLAIM");
        claim.arg(&letter.stream).arg(&letter.group).arg(REDRIVER).arg(0).arg(letter.entry.to_string());
        claim.arg("IDLE").arg(AT_ONCE.as_millis() as u64).arg("RETRYCOUNT").arg(0).arg("FORCE").arg("JUSTID");
        let claimed = reply::list(self.link.send(&claim).await?).ok_or(unexpected("XCLAIM"))?;
        if !claimed.is_empty() {
            self.drop_dead_letter(letter).await?;
            return Ok(Redriven::SameEntry);
        }
        let mut copy = Pipeline::new();
        copy.add_command(xadd(&again_stream(&letter.home, &letter.group), &letter.fields));
        copy.cmd("XDEL").arg(dead_stream(&letter.home)).arg(letter.id.to_string());
        let replies = self.link.transaction(&mut copy).await?;
        let id = replies.first().and_then(reply::entry_id).ok_or(unexpected("XADD"))?;
        Ok(Redriven::Copy(id))
    }

    /// Deletes a dead letter for good; says whether it was there.
    ///
    /// # Errors
    /// If the broker can't be asked.
    pub async fn drop_dead_letter(&self, letter: &DeadLetter) -> Result<bool, CommandError> {
        let reply =
            self.link.send(cmd("XDEL").arg(dead_stream(&letter.home)).arg(letter.id.to_string())).await?;
        Ok(reply::integer(&reply) == Some(1))
    }
}

/// Reads by position: the entry's own fields may have the same names. What somebody else wrote there is shown as far as it goes.
fn letter(home: &str, entry: Entry) -> DeadLetter {
    let Entry { id, mut fields } = entry;
    let own = fields.split_off(LETTER_FIELDS);
    let text = |name: &str| fields.text(name).unwrap_or_default().to_owned();
    DeadLetter {
        id,
        home: home.to_owned(),
        reason: text("reason"),
        error: text("error"),
        attempts: text("attempts").parse().unwrap_or(0),
        group: text("group"),
        consumer: text("consumer"),
        stream: text("stream"),
        entry: text("entry").parse().unwrap_or(EntryId::ZERO),
        published_at: text("published-at"),
        died_at: text("died-at"),
        fields: own,
    }
}
