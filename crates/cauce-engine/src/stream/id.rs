//! Entry ids: two numbers, their written forms, and the making of the next one.

use std::fmt;

/// The id of a stream entry: milliseconds, then a sequence number within the millisecond. Ids order entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StreamId {
    /// Unix time in milliseconds where the server made the id; any number where a client did.
    pub ms: u64,
    /// Tells apart the entries of one millisecond.
    pub seq: u64,
}

/// Text that is no stream id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidStreamId;

/// Why a bound of an interval of ids was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntervalIdError {
    /// The text is no stream id.
    Invalid,
    /// An exclusive bound that leaves no id: after the greatest, or before the smallest.
    Empty,
}

impl StreamId {
    /// `0-0`: smaller than the id of any entry.
    pub const MIN: Self = Self::new(0, 0);
    /// The greatest id there is.
    pub const MAX: Self = Self::new(u64::MAX, u64::MAX);

    /// The id `ms-seq`.
    #[must_use]
    pub const fn new(ms: u64, seq: u64) -> Self {
        Self { ms, seq }
    }

    /// The smallest id greater than this one; none after [`StreamId::MAX`].
    #[must_use]
    pub fn next(self) -> Option<Self> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(Self::new(self.ms, seq)),
            None => self.ms.checked_add(1).map(|ms| Self::new(ms, 0)),
        }
    }

    /// The greatest id smaller than this one; none before [`StreamId::MIN`].
    #[must_use]
    pub fn previous(self) -> Option<Self> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(Self::new(self.ms, seq)),
            None => self.ms.checked_sub(1).map(|ms| Self::new(ms, u64::MAX)),
        }
    }

    /// Reads `ms-seq`, or `ms` alone, which means `ms-{missing_seq}`. Leading zeros are allowed.
    ///
    /// # Errors
    /// [`InvalidStreamId`] for anything else, the range signs `-` and `+` included.
    pub fn parse(text: &[u8], missing_seq: u64) -> Result<Self, InvalidStreamId> {
        let (ms, rest) = leading_number(text)?;
        match rest.split_first() {
            None => Ok(Self::new(ms, missing_seq)),
            Some((b'-', seq)) => Ok(Self::new(ms, whole_number(seq)?)),
            Some(_) => Err(InvalidStreamId),
        }
    }

    /// Reads the first id of an interval: `-`, `+`, an id (`ms` means `ms-0`), or `(id` for the id after it.
    ///
    /// # Errors
    /// [`IntervalIdError`].
    pub fn parse_interval_start(text: &[u8]) -> Result<Self, IntervalIdError> {
        let (id, exclusive) = interval_bound(text, 0)?;
        if exclusive { id.next().ok_or(IntervalIdError::Empty) } else { Ok(id) }
    }

    /// Reads the last id of an interval: `-`, `+`, an id (`ms` means `ms-{greatest}`), or `(id` for the id
    /// before it.
    ///
    /// # Errors
    /// [`IntervalIdError`].
    pub fn parse_interval_end(text: &[u8]) -> Result<Self, IntervalIdError> {
        let (id, exclusive) = interval_bound(text, u64::MAX)?;
        if exclusive { id.previous().ok_or(IntervalIdError::Empty) } else { Ok(id) }
    }

    /// Writes `ms-seq` into `buffer` and gives the text.
    pub fn format(self, buffer: &mut IdBuffer) -> &[u8] {
        let mut digits = itoa::Buffer::new();
        let ms = digits.format(self.ms).as_bytes();
        let mut len = ms.len();
        buffer.0[..len].copy_from_slice(ms);
        buffer.0[len] = b'-';
        len += 1;
        let seq = digits.format(self.seq).as_bytes();
        buffer.0[len..len + seq.len()].copy_from_slice(seq);
        &buffer.0[..len + seq.len()]
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// Room for the longest written id, for [`StreamId::format`].
#[derive(Debug, Clone)]
pub struct IdBuffer([u8; 41]);

impl IdBuffer {
    /// An empty buffer.
    #[must_use]
    pub const fn new() -> Self {
        Self([0; 41])
    }
}

impl Default for IdBuffer {
    fn default() -> Self {
        Self::new()
    }
}

/// The id that XADD is asked to give to a new entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewId {
    /// `*`: the server chooses both numbers.
    Auto,
    /// `ms-*`: the server chooses the sequence number (Redis 7.0).
    AutoSeq(u64),
    /// `ms-seq`, or `ms` for `ms-0`.
    Explicit(StreamId),
}

/// Why no id could be given to a new entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewIdError {
    /// The id asked for is not greater than the last one of the stream.
    NotGreater,
    /// The last id of the stream is the greatest there is.
    Exhausted,
}

impl NewId {
    /// Reads the id argument of XADD.
    ///
    /// # Errors
    /// [`InvalidStreamId`] when it is in none of the three forms.
    pub fn parse(text: &[u8]) -> Result<Self, InvalidStreamId> {
        match text {
            b"*" => Ok(Self::Auto),
            [ms @ .., b'-', b'*'] => whole_number(ms).map(Self::AutoSeq),
            _ => StreamId::parse(text, 0).map(Self::Explicit),
        }
    }

    /// The concrete id for an entry added at `now_ms` behind `last`. A clock that went back never lowers it.
    ///
    /// # Errors
    /// [`NewIdError`]; the stream must not be changed then.
    pub fn resolve(self, now_ms: u64, last: StreamId) -> Result<StreamId, NewIdError> {
        if last == StreamId::MAX {
            return Err(NewIdError::Exhausted);
        }
        let id = match self {
            Self::Auto if now_ms > last.ms => StreamId::new(now_ms, 0),
            Self::Auto => last.next().ok_or(NewIdError::Exhausted)?,
            // The sequence number must not run over into the next millisecond, which the client did not ask for.
            Self::AutoSeq(ms) if ms == last.ms => {
                StreamId::new(ms, last.seq.checked_add(1).ok_or(NewIdError::NotGreater)?)
            }
            Self::AutoSeq(ms) => StreamId::new(ms, 0),
            Self::Explicit(id) => id,
        };
        if id > last { Ok(id) } else { Err(NewIdError::NotGreater) }
    }
}

impl From<InvalidStreamId> for IntervalIdError {
    fn from(_: InvalidStreamId) -> Self {
        Self::Invalid
    }
}

fn interval_bound(text: &[u8], missing_seq: u64) -> Result<(StreamId, bool), InvalidStreamId> {
    match text {
        b"-" => Ok((StreamId::MIN, false)),
        b"+" => Ok((StreamId::MAX, false)),
        [b'(', id @ ..] if !id.is_empty() => Ok((StreamId::parse(id, missing_seq)?, true)),
        _ => Ok((StreamId::parse(text, missing_seq)?, false)),
    }
}

fn whole_number(text: &[u8]) -> Result<u64, InvalidStreamId> {
    match leading_number(text)? {
        (number, []) => Ok(number),
        _ => Err(InvalidStreamId),
    }
}

/// The decimal number that `text` begins with (at least one digit), and what follows it.
fn leading_number(text: &[u8]) -> Result<(u64, &[u8]), InvalidStreamId> {
    let len = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(len);
    let digit = |byte: &u8| u64::from(byte - b'0');
    let number = match len {
        0 => None,
        // Nineteen digits fit without a check.
        1..=19 => Some(digits.iter().fold(0, |number, byte| number * 10 + digit(byte))),
        _ => digits.iter().try_fold(0_u64, |number, byte| number.checked_mul(10)?.checked_add(digit(byte))),
    };
    number.map(|number| (number, rest)).ok_or(InvalidStreamId)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn id(ms: u64, seq: u64) -> StreamId {
        StreamId::new(ms, seq)
    }

    #[test]
    fn strict_ids_are_one_or_two_numbers() {
        let check =
            |text: &str, expected| assert_eq!(StreamId::parse(text.as_bytes(), 7).ok(), expected, "{text:?}");
        check("5", Some(id(5, 7)));
        check("5-0", Some(id(5, 0)));
        check("0005-010", Some(id(5, 10)));
        check("18446744073709551615-18446744073709551615", Some(StreamId::MAX));
        for text in [
            "",
            "-",
            "+",
            "5-",
            "-5",
            "5-5-5",
            "a",
            "5a",
            "5-a",
            " 5",
            "5-*",
            "*",
            "(5",
            "5--1",
            "+5",
            "18446744073709551616",
            "5-18446744073709551616",
            "99999999999999999999999-1",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn interval_bounds_know_the_ends_and_exclusion() {
        use IntervalIdError::{Empty, Invalid};
        let check = |text: &str, start, end| {
            assert_eq!(StreamId::parse_interval_start(text.as_bytes()), start, "start {text:?}");
            assert_eq!(StreamId::parse_interval_end(text.as_bytes()), end, "end {text:?}");
        };
        check("-", Ok(StreamId::MIN), Ok(StreamId::MIN));
        check("+", Ok(StreamId::MAX), Ok(StreamId::MAX));
        check("5", Ok(id(5, 0)), Ok(id(5, u64::MAX)));
        check("5-3", Ok(id(5, 3)), Ok(id(5, 3)));
        check("(5", Ok(id(5, 1)), Ok(id(5, u64::MAX - 1)));
        check("(5-3", Ok(id(5, 4)), Ok(id(5, 2)));
        check("(0-0", Ok(id(0, 1)), Err(Empty));
        check("(5-0", Ok(id(5, 1)), Ok(id(4, u64::MAX)));
        check("(18446744073709551615-18446744073709551615", Err(Empty), Ok(id(u64::MAX, u64::MAX - 1)));
        for text in ["(", "(-", "(+", "((5", "", "x", "*"] {
            check(text, Err(Invalid), Err(Invalid));
        }
    }

    #[test]
    fn new_ids_are_made_from_the_clock_and_the_last_id() {
        let check = |text: &str, now_ms, last, expected| {
            let new = NewId::parse(text.as_bytes()).expect(text);
            assert_eq!(new.resolve(now_ms, last), expected, "{text:?} at {now_ms} after {last}");
        };
        check("*", 9, id(5, 3), Ok(id(9, 0)));
        check("*", 5, id(5, 3), Ok(id(5, 4)));
        check("*", 1, id(5, 3), Ok(id(5, 4)));
        check("*", 1, id(5, u64::MAX), Ok(id(6, 0)));
        check("*", 1, StreamId::MAX, Err(NewIdError::Exhausted));
        check("7-*", 1, id(5, 3), Ok(id(7, 0)));
        check("5-*", 1, id(5, 3), Ok(id(5, 4)));
        check("5-*", 1, id(5, u64::MAX), Err(NewIdError::NotGreater));
        check("4-*", 1, id(5, 3), Err(NewIdError::NotGreater));
        check("0-*", 1, StreamId::MIN, Ok(id(0, 1)));
        check("6", 1, id(5, 3), Ok(id(6, 0)));
        check("5-3", 1, id(5, 3), Err(NewIdError::NotGreater));
        for text in ["", "-*", "**", "*-*", "*-1", "x-*", "5-*x", "-", "+", "$", ">"] {
            assert_eq!(NewId::parse(text.as_bytes()), Err(InvalidStreamId), "{text:?}");
        }
    }

    #[test]
    fn ids_are_written_as_they_are_read() {
        for id in [StreamId::MIN, id(5, 3), id(1_700_000_000_000, 0), StreamId::MAX] {
            let mut buffer = IdBuffer::new();
            let text = id.format(&mut buffer);
            assert_eq!(text, id.to_string().as_bytes());
            assert_eq!(StreamId::parse(text, 9), Ok(id));
        }
    }

    #[test]
    fn neighbours_cross_the_millisecond_and_stop_at_the_ends() {
        assert_eq!(id(5, u64::MAX).next(), Some(id(6, 0)));
        assert_eq!(id(6, 0).previous(), Some(id(5, u64::MAX)));
        assert_eq!(StreamId::MAX.next(), None);
        assert_eq!(StreamId::MIN.previous(), None);
    }
}
