//! One dead letter: an entry that a group gave up on, with what is known of why.

use serde::Serialize;

use crate::clock;
use crate::entry::{Entry, EntryId, Fields};
use crate::service::{LETTER_FIELDS, PACKED, PastAttempt};

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
            Some(_) => {}
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

/// The last of the fields that stand before the entry's own.
pub(super) const EDITED: &str = "edited";

/// Reads by position: the entry's own fields may have the same names. What somebody else wrote there is shown as far as it goes.
pub(super) fn letter(home: &str, entry: Entry) -> DeadLetter {
    let Entry { id, mut fields } = entry;
    let own = fields.split_off(LETTER_FIELDS);
    let own = own.field(PACKED).and_then(Fields::unpacked).unwrap_or(own);
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
