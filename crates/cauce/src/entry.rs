//! Stream entries: their ids and their fields.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::backend::request::push_bulk;

/// The id of a stream entry: the broker's clock in milliseconds, and a number that tells entries of one millisecond apart.
///
/// Ids of one stream grow; their order is the order of the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    /// Milliseconds since the Unix epoch, by the broker's clock.
    pub ms: u64,
    /// Tells entries of the same millisecond apart.
    pub seq: u64,
}

impl EntryId {
    /// Before every entry.
    pub const ZERO: Self = Self { ms: 0, seq: 0 };

    /// The id `ms-seq`.
    #[must_use]
    pub const fn new(ms: u64, seq: u64) -> Self {
        Self { ms, seq }
    }

    /// When the broker appended the entry, unless its writer chose the id.
    #[must_use]
    pub fn time(self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.ms)
    }

    /// The greatest id below this one; zero stays zero.
    #[must_use]
    pub fn previous(self) -> Self {
        match (self.ms, self.seq) {
            (0, 0) => self,
            (ms, 0) => Self { ms: ms - 1, seq: u64::MAX },
            (ms, seq) => Self { ms, seq: seq - 1 },
        }
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let dash = bytes.iter().position(|byte| *byte == b'-')?;
        let (ms, seq) = bytes.split_at(dash);
        Some(Self { ms: digits(ms)?, seq: digits(seq.get(1..)?)? })
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

impl FromStr for EntryId {
    type Err = ParseEntryIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.contains('-') {
            true => Self::from_bytes(text.as_bytes()),
            false => digits(text.as_bytes()).map(|ms| Self { ms, seq: 0 }),
        }
        .ok_or_else(|| ParseEntryIdError { text: text.to_owned() })
    }
}

/// The text is not an entry id.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not an entry id: write milliseconds and a number, as in 1700000000000-0")]
pub struct ParseEntryIdError {
    text: String,
}

/// The field/value pairs of an entry, in the order of the wire.
///
/// Names and values are bytes, as in Redis; a name may occur more than once, and lookups then find the first.
#[derive(Clone)]
pub struct Fields {
    bulks: Bulks,
    pairs: usize,
    /// The field `id` was made for these fields alone.
    is_unique: bool,
}

/// Names and values as bulk strings in a row: as they come and as they are sent.
#[derive(Clone)]
enum Bulks {
    Own(Vec<u8>),
    /// Still in the reply that they came with, which all entries of that reply share.
    Reply {
        reply: Arc<Vec<u8>>,
        range: Range<usize>,
    },
}

/// Room that is made for a pair whose length is not known.
const PAIR_LENGTH: usize = 48;
/// What the metadata of an event take, about.
const ENVELOPE_LENGTH: usize = 224;

impl Fields {
    /// No fields.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn with_capacity(pairs: usize) -> Self {
        Self { bulks: Bulks::Own(Vec::with_capacity(pairs * PAIR_LENGTH)), pairs: 0, is_unique: false }
    }

    /// No fields yet, with room for an envelope and this payload.
    pub(crate) fn with_room(payload: &Self) -> Self {
        let bulks = Bulks::Own(Vec::with_capacity(ENVELOPE_LENGTH + payload.bulks().len()));
        Self { bulks, pairs: 0, is_unique: false }
    }

    /// Fields that stand in a reply, where they have been seen to be so many pairs of bulk strings.
    pub(crate) fn in_reply(reply: Arc<Vec<u8>>, range: Range<usize>, pairs: usize) -> Self {
        Self { bulks: Bulks::Reply { reply, range }, pairs, is_unique: false }
    }

    /// Appends a pair; an earlier one of that name stays.
    pub fn push(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let bulks = self.own();
        push_bulk(bulks, name.as_ref());
        push_bulk(bulks, value.as_ref());
        self.pairs += 1;
    }

    /// Appends a pair of texts.
    pub fn push_text(&mut self, name: &str, value: impl AsRef<str>) {
        self.push(name, value.as_ref());
    }

    /// Appends the event's id, made for this entry alone.
    pub(crate) fn push_unique_id(&mut self, id: impl AsRef<str>) {
        self.push_text("id", id);
        self.is_unique = true;
    }

    /// The event's id, if no other entry has it.
    pub(crate) fn unique_id(&self) -> Option<&str> {
        if self.is_unique { self.text("id") } else { None }
    }

    /// The value of the first field of that name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(found, _)| *found == name.as_bytes()).map(|(_, value)| value)
    }

    /// The value of the first field of that name, if it is UTF-8.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.field(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// All pairs, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        self.pairs()
    }

    pub(crate) fn pairs(&self) -> Pairs<'_> {
        Pairs { rest: self.bulks(), left: self.pairs }
    }

    /// Names and values as bulk strings in a row.
    pub(crate) fn bulks(&self) -> &[u8] {
        match &self.bulks {
            Bulks::Own(bytes) => bytes,
            Bulks::Reply { reply, range } => reply.get(range.clone()).unwrap_or_default(),
        }
    }

    /// How many pairs there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pairs
    }

    /// Whether there is no pair.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs == 0
    }

    /// Keeps the first `at` pairs; returns the others.
    pub(crate) fn split_off(&mut self, at: usize) -> Self {
        let mut pairs = self.pairs();
        let kept = pairs.by_ref().take(at).count();
        let length = pairs.rest.len();
        let bulks = self.own();
        let rest = bulks.split_off(bulks.len() - length);
        let split = Self { bulks: Bulks::Own(rest), pairs: self.pairs - kept, is_unique: false };
        self.pairs = kept;
        split
    }

    pub(crate) fn append(&mut self, other: &Self) {
        self.own().extend_from_slice(other.bulks());
        self.pairs += other.pairs;
    }

    /// All pairs as one text, for where there are too many to stand by themselves; [`unpacked`](Self::unpacked) reads it.
    pub(crate) fn packed(&self) -> Vec<u8> {
        let mut text = format!("{}\n", self.pairs).into_bytes();
        text.extend_from_slice(self.bulks());
        text
    }

    /// What [`packed`](Self::packed) wrote; `None` if it did not.
    pub(crate) fn unpacked(text: &[u8]) -> Option<Self> {
        let end = text.iter().position(|byte| *byte == b'\n')?;
        let pairs = usize::try_from(digits(text.get(..end)?)?).ok()?;
        let bulks = text.get(end + 1..)?;
        let mut rest = bulks;
        for _ in 0..pairs.checked_mul(2)? {
            rest = bulk(rest)?.1;
        }
        rest.is_empty().then(|| Self { bulks: Bulks::Own(bulks.to_vec()), pairs, is_unique: false })
    }

    /// Takes the pairs out of the reply, to change them.
    fn own(&mut self) -> &mut Vec<u8> {
        if let Bulks::Reply { .. } = self.bulks {
            self.bulks = Bulks::Own(self.bulks().to_vec());
        }
        match &mut self.bulks {
            Bulks::Own(bytes) => bytes,
            Bulks::Reply { .. } => unreachable!("it was just made its own"),
        }
    }
}

impl Default for Fields {
    fn default() -> Self {
        Self { bulks: Bulks::Own(Vec::new()), pairs: 0, is_unique: false }
    }
}

impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Fields {}

pub(crate) struct Pairs<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let (name, rest) = bulk(self.rest)?;
        let (value, rest) = bulk(rest)?;
        self.rest = rest;
        Some((name, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Pairs<'_> {}

/// The bulk string `$LENGTH\r\n...\r\n` at the beginning, and what follows it.
pub(crate) fn bulk(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = bytes.strip_prefix(b"$")?;
    let mut length = 0_usize;
    let mut digits = 0;
    for byte in rest {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        length = length.checked_mul(10)?.checked_add(usize::from(digit))?;
        digits += 1;
    }
    let rest = rest.get(digits..)?.strip_prefix(b"\r\n")?;
    let (text, rest) = rest.split_at_checked(length)?;
    Some((text, rest.strip_prefix(b"\r\n")?))
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(name, value)| (Shown(name), Shown(value)))).finish()
    }
}

/// An entry as it stands in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its id.
    pub id: EntryId,
    /// Its fields.
    pub fields: Fields,
}

/// Bytes that are mostly text.
struct Shown<'a>(&'a [u8]);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(self.0), f)
    }
}

fn digits(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    bytes.iter().try_fold(0_u64, |sum, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        sum.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_parse_print_and_order() {
        let id: EntryId = "1526919030474-55".parse().unwrap();
        assert_eq!(id, EntryId::new(1_526_919_030_474, 55));
        assert_eq!(id.to_string(), "1526919030474-55");
        assert_eq!("7".parse::<EntryId>().unwrap(), EntryId::new(7, 0));
        assert!(EntryId::new(1, 9) < EntryId::new(2, 0));
        for wrong in ["", "-", "1-", "-1", "a-1", "1-1-1", "99999999999999999999-0"] {
            let error = wrong.parse::<EntryId>().unwrap_err();
            assert!(error.to_string().contains("is not an entry id"), "{wrong}: {error}");
        }
    }

    #[test]
    fn fields_read_from_a_reply_as_from_their_own() {
        let reply = Arc::new(b"*4\r\n$1\r\na\r\n$2\r\n\r\n\r\n$0\r\n\r\n$1\r\nb\r\n".to_vec());
        let range = 4..reply.len();
        let mut fields = Fields::in_reply(reply, range, 2);
        let mut owned = Fields::new();
        owned.push(b"a", b"\r\n");
        owned.push(b"", b"b");
        assert_eq!(fields, owned);
        assert_eq!((fields.len(), fields.field(""), fields.field("b")), (2, Some(&b"b"[..]), None));
        fields.push_text("c", "d");
        assert_eq!((fields.len(), fields.text("a"), fields.text("c")), (3, Some("\r\n"), Some("d")));
        let rest = fields.split_off(1);
        assert_eq!(
            (fields.len(), fields.text("a"), rest.len(), rest.text("c")),
            (1, Some("\r\n"), 2, Some("d"))
        );
        assert!(fields.split_off(7).is_empty());
        fields.append(&rest);
        assert_eq!((fields.len(), fields.text("c")), (3, Some("d")));
    }

    #[test]
    fn packed_fields_are_read_again() {
        let mut fields = Fields::new();
        for _ in 0..3 {
            fields.push(&b"a\r\n"[..], &b"\xff$1"[..]);
        }
        assert_eq!(Fields::unpacked(&fields.packed()), Some(fields));
        assert_eq!(Fields::unpacked(&Fields::new().packed()), Some(Fields::new()));
        for wrong in [&b""[..], b"1\n", b"x\n", b"1\n$1\r\na\r\n$9\r\nb\r\n", b"0\nx"] {
            assert_eq!(Fields::unpacked(wrong), None);
        }
    }

    #[test]
    fn the_previous_id_is_the_greatest_below() {
        assert_eq!(EntryId::new(5, 1).previous(), EntryId::new(5, 0));
        assert_eq!(EntryId::new(5, 0).previous(), EntryId::new(4, u64::MAX));
        assert_eq!(EntryId::ZERO.previous(), EntryId::ZERO);
    }
}
