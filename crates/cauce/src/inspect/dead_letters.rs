//! Dead letters: entries that a group gave up on, with what is known of why, and what can be done about them.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::cmd;
use serde::Serialize;
use tokio::time::Instant;

use super::{Inspector, unexpected};
use crate::backend::command::{again_stream, dead_stream};
use crate::backend::reply;
use crate::clock;
use crate::entry::{Entry, EntryId, Fields};
use crate::error::CommandError;
use crate::service::{LETTER_FIELDS, PastAttempt, Redrive, attempts_key, due_key, edit, redrive};

/// Letters that are read with one command.
const PAGE: usize = 500;

/// An entry that a group gave up on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Its id among the dead letters of the stream; its time is when the entry was given up, by the broker's clock.
    pub id: EntryId,
    /// The stream whose dead letters these are.
    pub home: String,
    /// Why it was given up, in a word or two: `failed`, `rejected`, `panicked`, `timed out`, `undecodable`, `never finished`.
    pub reason: String,
    /// The error and its sources, in one text.
    pub error: String,
    /// The error and its sources, outermost first; empty for what was no error of the handler.
    pub chain: Vec<String>,
    /// How many attempts there were.
    pub attempts: u32,
    /// The attempts, as far as they are known: the latest always.
    pub history: Vec<PastAttempt>,
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
    /// When it was given up, by the broker's clock, as RFC 3339.
    pub died_at: String,
    /// Whether its fields were changed since.
    pub edited: bool,
    /// The entry's own fields, as they were, byte for byte.
    pub fields: Fields,
}

impl DeadLetter {
    /// What letters of one cause have in common: group, action, reason and error, the latter without its numbers and quoted parts.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let action = self.fields.text("action").unwrap_or_default();
        format!("{} {action} {}: {}", self.group, self.reason, without_details(&self.error))
    }

    /// Everything, as one line of JSON. Values that are not UTF-8 are written as `{"base64": "..."}`.
    #[must_use]
    pub fn to_json(&self) -> String {
        let fields: Vec<(Text<'_>, Text<'_>)> =
            self.fields.iter().map(|(name, value)| (Text(name), Text(value))).collect();
        let letter = Exported {
            id: self.id.to_string(),
            stream: &self.stream,
            entry: self.entry.to_string(),
            group: &self.group,
            consumer: &self.consumer,
            reason: &self.reason,
            error: &self.error,
            chain: &self.chain,
            attempts: self.attempts,
            history: &self.history,
            published_at: &self.published_at,
            died_at: &self.died_at,
            edited: self.edited,
            fields,
        };
        serde_json::to_string(&letter).expect("texts, numbers and lists of them are JSON")
    }
}

#[derive(Serialize)]
struct Exported<'a> {
    id: String,
    stream: &'a str,
    entry: String,
    group: &'a str,
    consumer: &'a str,
    reason: &'a str,
    error: &'a str,
    chain: &'a [String],
    attempts: u32,
    history: &'a [PastAttempt],
    published_at: &'a str,
    died_at: &'a str,
    edited: bool,
    fields: Vec<(Text<'a>, Text<'a>)>,
}

/// Bytes that are mostly text.
struct Text<'a>(&'a [u8]);

impl Serialize for Text<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        if let Ok(text) = std::str::from_utf8(self.0) {
            return serializer.serialize_str(text);
        }
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("base64", &base64(self.0))?;
        map.end()
    }
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0_u32, |bits, at| bits << 8 | u32::from(chunk.get(at).copied().unwrap_or(0)));
        for at in 0..4 {
            let index = bits >> (18 - 6 * at) & 63;
            let letter = ALPHABET.get(index as usize).copied().unwrap_or(b'=');
            text.push(if at <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

/// Numbers become `#`, quoted parts `...`: what differs between two failures of one cause.
fn without_details(error: &str) -> String {
    let mut out = String::with_capacity(error.len());
    let mut quote = None;
    for char in error.chars() {
        match quote {
            Some(end) if char == end => quote = None,
            Some(_) => continue,
            None if matches!(char, '"' | '`') => {
                quote = Some(char);
                out.push_str("...");
            }
            None if char.is_ascii_digit() => {
                if !out.ends_with('#') {
                    out.push('#');
                }
            }
            None => out.push(char),
        }
    }
    out
}

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
            edited.push(name.to_vec(), value.to_vec());
        }
        edited.push_text(EDITED, "1");
        edited.append(fields);
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

/// The last of the fields that stand before the entry's own.
const EDITED: &str = "edited";

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
        chain: fields
            .field("error-chain")
            .and_then(|json| serde_json::from_slice(json).ok())
            .unwrap_or_default(),
        attempts: text("attempts").parse().unwrap_or(0),
        history: fields
            .field("history")
            .and_then(|json| serde_json::from_slice(json).ok())
            .unwrap_or_default(),
        group: text("group"),
        consumer: text("consumer"),
        stream: text("stream"),
        entry: text("entry").parse().unwrap_or(EntryId::ZERO),
        published_at: text("published-at"),
        died_at: clock::rfc3339(id.time()),
        edited: fields.text(EDITED) == Some("1"),
        fields: own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_leave_details_out() {
        let check = |error: &str, expected: &str| assert_eq!(without_details(error), expected);
        check("seat 12 of \"UA 1\" is taken", "seat # of ... is taken");
        check("field `minutes`: `soon` is not a i32", "field ...: ... is not a i#");
        check("don't", "don't");
    }

    #[test]
    fn bytes_that_are_no_text_are_exported_as_base64() {
        for (bytes, expected) in
            [(&b""[..], ""), (b"f", "Zg=="), (b"fo", "Zm8="), (b"foo", "Zm9v"), (b"\xff\xfe", "//4=")]
        {
            assert_eq!(base64(bytes), expected);
        }
        let mut letter = letter("s", Entry { id: EntryId::new(1, 0), fields: Fields::new() });
        letter.fields.push(&b"data"[..], &b"\xff"[..]);
        assert!(letter.to_json().contains(r#"[["data",{"base64":"/w=="}]]"#), "{}", letter.to_json());
    }
}
