//! What can be done about dead letters: looked through, grouped by cause, edited, given back, dropped.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::cmd;
use tokio::time::Instant;

use super::letter::{DeadLetter, EDITED, letter};
use super::{Inspector, unexpected};
use crate::backend::command::{again_stream, dead_stream};
use crate::backend::reply;
use crate::entry::{Entry, EntryId, Fields};
use crate::error::CommandError;
use crate::service::{LETTER_FIELDS, Redrive, attempts_key, due_key, edit, redrive};

/// Letters that are read with one command.
const PAGE: usize = 500;

/// How a dead letter went back to its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Redriven {
    /// The entry still stands in the stream: it is pending again, with its own id and no deliveries.
    SameEntry,
    /// The entry had been deleted or trimmed, or the letter was edited: a copy was written to the group's side stream, which only its service
    /// reads.
    Copy(EntryId),
    /// The entry is pending in the group already, by somebody else's doing: the letter stays.
    Pending,
    /// The letter was gone: somebody else redrove or dropped it.
    Gone,
}

/// Which dead letters are meant; without any condition, all.
#[derive(Clone, Debug, Default)]
#[must_use = "it does nothing by itself"]
pub struct LetterFilter {
    group: Option<String>,
    reason: Option<String>,
    action: Option<String>,
    fingerprint: Option<String>,
    error: Option<String>,
}

impl LetterFilter {
    /// All of them.
    pub fn all() -> Self {
        Self::default()
    }

    /// Those of this group.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// Those with this reason.
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// Those of this action.
    pub fn action(mut self, action: impl Into<String>) -> Self {
        self.action = Some(action.into());
        self
    }

    /// Those with this [`DeadLetter::fingerprint`].
    pub fn fingerprint(mut self, fingerprint: impl Into<String>) -> Self {
        self.fingerprint = Some(fingerprint.into());
        self
    }

    /// Those whose error contains this text.
    pub fn error(mut self, part: impl Into<String>) -> Self {
        self.error = Some(part.into());
        self
    }

    fn takes(&self, letter: &DeadLetter) -> bool {
        let same = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
        same(&self.group, &letter.group)
            && same(&self.reason, &letter.reason)
            && same(&self.action, letter.fields.text("action").unwrap_or_default())
            && self.error.as_deref().is_none_or(|part| letter.error.contains(part))
            && self.fingerprint.as_deref().is_none_or(|wanted| wanted == letter.fingerprint())
    }
}

/// Dead letters that have their cause in common.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LetterGroup {
    /// What they have in common.
    pub fingerprint: String,
    /// How many there are.
    pub count: u64,
    /// The oldest.
    pub first: EntryId,
    /// The newest.
    pub last: DeadLetter,
}

/// What became of the letters that a filter took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedriveReport {
    /// Entries that are pending again.
    pub same_entry: u64,
    /// Copies on the side stream.
    pub copies: u64,
    /// Letters that stay, because their entries are pending already.
    pub pending: u64,
    /// Letters that somebody else redrove or dropped meanwhile.
    pub gone: u64,
}

/// How many dead letters a stream may have, and how old they may get, before somebody should look.
#[derive(Clone, Copy, Debug, Default)]
pub struct LetterLimits {
    /// At most so many.
    pub count: Option<u64>,
    /// None older than this.
    pub age: Option<Duration>,
}

/// Why somebody should look at the dead letters of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LetterAlarm {
    /// There are more than the limit.
    Count {
        /// How many there are.
        count: u64,
    },
    /// The oldest is older than the limit.
    Age {
        /// The oldest.
        oldest: EntryId,
        /// How old it is, by the broker's clock.
        age: Duration,
    },
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

    /// One dead letter; `None` if it is gone.
    ///
    /// # Errors
    /// If the broker can't be asked.
    pub async fn dead_letter(&self, stream: &str, id: EntryId) -> Result<Option<DeadLetter>, CommandError> {
        let found = self.dead_letters(stream, id.previous(), 1).await?;
        Ok(found.into_iter().find(|letter| letter.id == id))
    }

    /// The dead letters of a stream by their causes, the most frequent first. Reads them all.
    ///
    /// # Errors
    /// If the broker can't be asked.
    pub async fn dead_letter_groups(&self, stream: &str) -> Result<Vec<LetterGroup>, CommandError> {
        let mut groups: BTreeMap<String, LetterGroup> = BTreeMap::new();
        let mut after = EntryId::ZERO;
        loop {
            let letters = self.dead_letters(stream, after, PAGE).await?;
            let full = letters.len() == PAGE;
            for letter in letters {
                after = letter.id;
                let fingerprint = letter.fingerprint();
                if let Some(group) = groups.get_mut(&fingerprint) {
                    group.count += 1;
                    group.last = letter;
                } else {
                    let group = LetterGroup {
                        fingerprint: fingerprint.clone(),
                        count: 1,
                        first: letter.id,
                        last: letter,
                    };
                    groups.insert(fingerprint, group);
                }
            }
            if !full {
                let mut groups: Vec<_> = groups.into_values().collect();
                groups.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.first.cmp(&b.first)));
                return Ok(groups);
            }
        }
    }

    /// Gives a dead letter back to the group that gave up on it, and to no other: at once or not at all. Its service takes the entry within
    /// about a second, as a first attempt.
    ///
    /// # Errors
    /// If the broker can't be asked, or the group does not exist any more.
    pub async fn redrive(&self, letter: &DeadLetter) -> Result<Redriven, CommandError> {
        let (dead, side) = (dead_stream(&letter.home), again_stream(&letter.home, &letter.group));
        let due = due_key(&letter.stream, &letter.group);
        let attempts = attempts_key(&letter.stream, &letter.group);
        let call = Redrive {
            keys: [&letter.stream, &dead, &due, &attempts, &side],
            letter: letter.id,
            group: &letter.group,
            entry: letter.entry,
            always_copy: letter.edited,
            fields: &letter.fields,
        };
        let reply = redrive(&self.link, &call).await?;
        match reply::integer(&reply) {
            Some(0) => Ok(Redriven::Gone),
            Some(1) => Ok(Redriven::Pending),
            Some(2) => Ok(Redriven::SameEntry),
            _ => reply::entry_id(&reply).map(Redriven::Copy).ok_or(unexpected("redrive")),
        }
    }

    /// Gives all dead letters back that the filter takes, oldest first, at most `per_second`. Letters that come meanwhile are not taken.
    /// Dropping this future stops it between two letters.
    ///
    /// # Errors
    /// If the broker can't be asked, or a group does not exist any more. What went back before stays there.
    pub async fn redrive_all(
        &self,
        stream: &str,
        filter: &LetterFilter,
        per_second: Option<u32>,
    ) -> Result<RedriveReport, CommandError> {
        let end = match self.stream(&dead_stream(stream)).await? {
            Some(letters) => letters.last_id,
            None => return Ok(RedriveReport::default()),
        };
        let pause = per_second.map(|rate| Duration::from_secs(1) / rate.max(1));
        let (mut report, mut after, mut next) = (RedriveReport::default(), EntryId::ZERO, Instant::now());
        loop {
            let letters = self.dead_letters(stream, after, PAGE).await?;
            let full = letters.len() == PAGE;
            for letter in letters {
                after = letter.id;
                if letter.id > end {
                    return Ok(report);
                }
                if !filter.takes(&letter) {
                    continue;
                }
                if let Some(pause) = pause {
                    tokio::time::sleep_until(next).await;
                    next = next.max(Instant::now()) + pause;
                }
                match self.redrive(&letter).await? {
                    Redriven::SameEntry => report.same_entry += 1,
                    Redriven::Copy(_) => report.copies += 1,
                    Redriven::Pending => report.pending += 1,
                    Redriven::Gone => report.gone += 1,
                }
            }
            if !full {
                return Ok(report);
            }
        }
    }

    /// Changes the fields of a dead letter, at once or not at all; what is known of its failure stays. Redriven, it goes to its group as a copy with
    /// these fields: the entry in the stream is never changed. `None` if the letter is gone.
    ///
    /// # Errors
    /// If the broker can't be asked.
    pub async fn edit_dead_letter(
        &self,
        letter: &DeadLetter,
        fields: Fields,
    ) -> Result<Option<DeadLetter>, CommandError> {
        let dead = dead_stream(&letter.home);
        let found = self.entries(&dead, letter.id.previous(), 1).await?;
        let Some(Entry { fields: mut stored, .. }) = found.into_iter().find(|found| found.id == letter.id)
        else {
            return Ok(None);
        };
        stored.split_off(LETTER_FIELDS);
        let mut edited = Fields::with_capacity(stored.len() + fields.len());
        for (name, value) in stored.iter().filter(|(name, _)| *name != EDITED.as_bytes()) {
            edited.push(name, value);
        }
        edited.push_text(EDITED, "1");
        edited.append(&fields);
        match edit(&self.link, &dead, letter.id, &edited).await? {
            Some(id) => self.dead_letter(&letter.home, id).await,
            None => Ok(None),
        }
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

    /// Whether somebody should look at the dead letters of a stream.
    ///
    /// # Errors
    /// If the broker can't be asked.
    pub async fn dead_letter_alarms(
        &self,
        stream: &str,
        limits: LetterLimits,
    ) -> Result<Vec<LetterAlarm>, CommandError> {
        let mut alarms = Vec::new();
        let Some(letters) = self.stream(&dead_stream(stream)).await? else { return Ok(alarms) };
        if limits.count.is_some_and(|most| letters.length > most) {
            alarms.push(LetterAlarm::Count { count: letters.length });
        }
        if let (Some(limit), Some(oldest)) = (limits.age, letters.first_entry) {
            let age = Duration::from_millis(self.time_ms().await?.saturating_sub(oldest.ms));
            if age > limit {
                alarms.push(LetterAlarm::Age { oldest, age });
            }
        }
        Ok(alarms)
    }
}
