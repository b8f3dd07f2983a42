//! Replies as they arrived: where they end, and what is in them. RESP2, with no value tree in between where speed matters.

use std::io;
use std::sync::Arc;

use redis::{ServerError, Value};

use super::reply;
use crate::entry::{self, EntryId, Fields};
use crate::error::CommandError;

/// A line of a reply that is longer is not Redis's.
const LINE_MAX: usize = 64 * 1024;
/// A reply that is longer is refused: no stream entry is.
pub(super) const REPLY_MAX: usize = 1 << 32;
/// Lists in lists beyond this are not Redis's.
const DEPTH_MAX: usize = 64;

pub(super) fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "what the broker sent is not a reply")
}

/// Finds the end of a number of replies in bytes that come in pieces; goes on where it stopped.
#[derive(Debug)]
pub(super) struct Scan {
    at: usize,
    /// Values that are still to come.
    missing: usize,
}

impl Scan {
    /// So many replies that begin at a place.
    pub(super) const fn new(at: usize, replies: usize) -> Self {
        Self { at, missing: replies }
    }

    /// How far it is.
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    /// So many bytes in front have gone.
    pub(super) const fn shift(&mut self, gone: usize) {
        self.at -= gone;
    }

    /// Whether all is there.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> io::Result<bool> {
        while self.missing > 0 {
            let Some((kind, text, after)) = line(bytes, self.at)? else { return Ok(false) };
            let mut end = after;
            match kind {
                b'+' | b'-' | b':' => {}
                b'$' | b'*' => {
                    let length = number(text).ok_or_else(malformed)?;
                    // Nothing (null) has the length -1.
                    match (usize::try_from(length), kind) {
                        (Ok(length), b'$') => {
                            let past = after.checked_add(length).and_then(|end| end.checked_add(2));
                            end = past.ok_or_else(malformed)?;
                        }
                        (Ok(length), _) => {
                            self.missing = self.missing.checked_add(length).ok_or_else(malformed)?;
                        }
                        (Err(_), _) => {}
                    }
                }
                _ => return Err(malformed()),
            }
            if end > bytes.len() {
                return Ok(false);
            }
            self.at = end;
            self.missing -= 1;
        }
        Ok(true)
    }
}

/// The line at a place: its first byte, the rest, and where the next begins.
fn line(bytes: &[u8], at: usize) -> io::Result<Option<(u8, &[u8], usize)>> {
    let rest = bytes.get(at..).unwrap_or_default();
    let Some(end) = rest.iter().take(LINE_MAX).position(|byte| *byte == b'\r') else {
        return if rest.len() >= LINE_MAX { Err(malformed()) } else { Ok(None) };
    };
    if rest.get(end + 1).is_none() {
        return Ok(None);
    }
    let (kind, text) = rest.get(..end).and_then(<[u8]>::split_first).ok_or_else(malformed)?;
    Ok(Some((*kind, text, at + end + 2)))
}

fn number(text: &[u8]) -> Option<i64> {
    let (negative, digits) = text.strip_prefix(b"-").map_or((false, text), |digits| (true, digits));
    let mut number = 0_i64;
    for byte in digits {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number = number.checked_mul(10)?.checked_add(i64::from(digit))?;
    }
    (!digits.is_empty()).then_some(if negative { -number } else { number })
}

/// Replies that are whole, read from the first to the last.
#[derive(Clone, Debug)]
pub(crate) struct Replies {
    bytes: Arc<Vec<u8>>,
    at: usize,
    end: usize,
}

/// One value; the elements of a list follow it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply<'a> {
    Text(&'a [u8]),
    Integer(i64),
    List(usize),
    Nothing,
    Error { code: String, message: String },
}

impl Replies {
    /// All of the bytes.
    pub(super) fn whole(bytes: Vec<u8>) -> Self {
        let end = bytes.len();
        Self { bytes: Arc::new(bytes), at: 0, end }
    }

    /// What was found to be whole replies.
    pub(super) const fn part(bytes: Arc<Vec<u8>>, start: usize, end: usize) -> Self {
        Self { bytes, at: start, end }
    }

    /// The next value; `None` at the end, or if the reply is not well-formed.
    pub(crate) fn value(&mut self) -> Option<Reply<'_>> {
        if self.at >= self.end {
            return None;
        }
        let (kind, text, after) = line(&self.bytes, self.at).ok()??;
        self.at = after;
        match kind {
            b'+' => Some(Reply::Text(text)),
            b':' => number(text).map(Reply::Integer),
            b'-' => {
                let text = String::from_utf8_lossy(text);
                let (code, message) = text.split_once(' ').unwrap_or((&text, ""));
                Some(Reply::Error { code: code.to_owned(), message: message.to_owned() })
            }
            _ => {
                let Ok(length) = usize::try_from(number(text)?) else { return Some(Reply::Nothing) };
                if kind == b'*' {
                    return Some(Reply::List(length));
                }
                self.at = after.checked_add(length)?.checked_add(2)?;
                self.bytes.get(after..after + length).map(Reply::Text)
            }
        }
    }

    /// The next value with all that is in it, as the client crate has it.
    ///
    /// # Errors
    /// If it is the broker's refusal, or not well-formed.
    pub(crate) fn tree(&mut self) -> Result<Value, CommandError> {
        self.node(DEPTH_MAX).map_or(Err(CommandError::Unexpected { command: "a command" }), reply::checked)
    }

    fn node(&mut self, depth: usize) -> Option<Value> {
        Some(match self.value()? {
            Reply::Text(text) => Value::BulkString(text.to_vec()),
            Reply::Integer(number) => Value::Int(number),
            Reply::Nothing => Value::Nil,
            Reply::Error { code, message } => {
                let error = redis::make_extension_error(code, (!message.is_empty()).then_some(message));
                Value::ServerError(ServerError::try_from(error).ok()?)
            }
            Reply::List(length) => {
                let depth = depth.checked_sub(1)?;
                Value::Array((0..length).map(|_| self.node(depth)).collect::<Option<_>>()?)
            }
        })
    }

    /// The next value, if it is a text that is an entry's id.
    ///
    /// # Errors
    /// If it is the broker's refusal, or something else.
    pub(crate) fn entry_id(&mut self) -> Result<EntryId, CommandError> {
        match self.value() {
            Some(Reply::Text(text)) => EntryId::from_bytes(text),
            Some(Reply::Error { code, message }) => return Err(CommandError::Refused { code, message }),
            _ => None,
        }
        .ok_or(CommandError::Unexpected { command: "XADD" })
    }

    /// This, unless the next value is the broker's refusal.
    ///
    /// # Errors
    /// The refusal.
    pub(crate) fn checked(mut self) -> Result<Self, CommandError> {
        if self.bytes.get(self.at) != Some(&b'-') {
            return Ok(self);
        }
        match self.value() {
            Some(Reply::Error { code, message }) => Err(CommandError::Refused { code, message }),
            _ => Err(CommandError::Unexpected { command: "a command" }),
        }
    }

    /// The next value with all that is in it, to be read by itself.
    ///
    /// # Errors
    /// If it is the broker's refusal, or there is none.
    pub(crate) fn split(&mut self) -> Result<Self, CommandError> {
        let mut scan = Scan::new(self.at, 1);
        if self.at >= self.end || !scan.advance(&self.bytes).is_ok_and(|whole| whole) {
            return Err(CommandError::Unexpected { command: "a command" });
        }
        let start = std::mem::replace(&mut self.at, scan.at());
        Self::part(Arc::clone(&self.bytes), start, self.at).checked()
    }

    /// The next value, if it is a number, or a text that is one.
    pub(crate) fn count(&mut self) -> Option<u64> {
        match self.value()? {
            Reply::Integer(number) => u64::try_from(number).ok(),
            Reply::Text(text) => u64::try_from(number(text)?).ok(),
            _ => None,
        }
    }

    /// The next value, if it is a list of numbers.
    pub(crate) fn numbers(&mut self) -> Option<Vec<u64>> {
        (0..self.list()?).map(|_| self.count()).collect()
    }

    /// The next value, if it is a list, or nothing: how many items follow.
    pub(crate) fn list(&mut self) -> Option<usize> {
        match self.value()? {
            Reply::List(length) => Some(length),
            Reply::Nothing => Some(0),
            _ => None,
        }
    }

    /// The next value, if it is a text.
    pub(crate) fn text(&mut self) -> Option<&[u8]> {
        match self.value()? {
            Reply::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The reply of TIME, in milliseconds.
    pub(crate) fn time_ms(&mut self) -> Option<u64> {
        if self.list()? != 2 {
            return None;
        }
        let seconds = u64::try_from(number(self.text()?)?).ok()?;
        let micros = u64::try_from(number(self.text()?)?).ok()?;
        Some(seconds * 1000 + micros / 1000)
    }

    /// The reply of XREADGROUP: calls `stream` with each stream's name and number of entries, which returns what is called with its entries.
    /// `Ok(None)` if it has another shape.
    ///
    /// # Errors
    /// If the broker refused.
    pub(crate) fn streams<L>(
        &mut self,
        mut stream: impl FnMut(&[u8], usize) -> Option<L>,
        mut entry: impl FnMut(&L, EntryId, Fields),
    ) -> Result<Option<()>, CommandError> {
        let streams = match self.value() {
            Some(Reply::List(length)) => length,
            Some(Reply::Nothing) => 0,
            Some(Reply::Error { code, message }) => return Err(CommandError::Refused { code, message }),
            _ => return Ok(None),
        };
        for _ in 0..streams {
            if self.stream(&mut stream, &mut entry).is_none() {
                return Ok(None);
            }
        }
        Ok(Some(()))
    }

    fn stream<L>(
        &mut self,
        stream: &mut impl FnMut(&[u8], usize) -> Option<L>,
        entry: &mut impl FnMut(&L, EntryId, Fields),
    ) -> Option<()> {
        if self.list()? != 2 {
            return None;
        }
        let name = match self.value()? {
            Reply::Text(text) => text.to_vec(),
            _ => return None,
        };
        let length = self.list()?;
        let lane = stream(&name, length)?;
        for _ in 0..length {
            if self.list()? != 2 {
                return None;
            }
            let id = EntryId::from_bytes(self.text()?)?;
            // Nothing in place of the fields: the entry was deleted.
            let items = self.list()?;
            let start = self.at;
            let mut rest = self.bytes.get(start..self.end)?;
            for _ in 0..items {
                rest = entry::bulk(rest)?.1;
            }
            self.at = self.end - rest.len();
            if items > 0 {
                entry(&lane, id, Fields::in_reply(Arc::clone(&self.bytes), start..self.at, items / 2));
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: &[u8] = b"*2\r\n$10\r\n1700000000\r\n$6\r\n123456\r\n*1\r\n*2\r\n$1\r\ns\r\n*2\r\n\
        *2\r\n$3\r\n1-1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n*2\r\n$3\r\n1-2\r\n*-1\r\n";

    #[test]
    fn replies_are_found_in_any_pieces() {
        for length in 0..READ.len() {
            let mut scan = Scan::new(0, 2);
            assert!(!scan.advance(&READ[..length]).unwrap(), "{length}");
            assert!(scan.advance(READ).unwrap());
            assert_eq!(scan.at(), READ.len());
        }
        assert!(Scan::new(0, 1).advance(b"HTTP/1.1 400\r\n").is_err());
        assert!(Scan::new(0, 1).advance(b"$99999999999999999999\r\n").is_err());
    }

    #[test]
    fn a_read_is_taken_apart() {
        let mut replies = Replies::whole(READ.to_vec());
        assert_eq!(replies.time_ms(), Some(1_700_000_000_123));
        let mut seen = Vec::new();
        let named = |name: &[u8], length| Some((name.to_vec(), length));
        let read = replies.streams(named, |(name, length), id, fields| {
            seen.push((name.clone(), *length, id, fields.text("a").map(str::to_owned)));
        });
        assert_eq!(read.unwrap(), Some(()));
        // The second was deleted.
        assert_eq!(seen, [(b"s".to_vec(), 2, EntryId::new(1, 1), Some("b".to_owned()))]);
    }

    #[test]
    fn replies_are_read_one_by_one() {
        let whole =
            b"*2\r\n:1\r\n$2\r\n22\r\n-NOSCRIPT No matching script\r\n*2\r\n+OK\r\n*1\r\n$-1\r\n:3\r\n";
        let mut replies = Replies::whole(whole.to_vec());
        assert_eq!(replies.split().unwrap().numbers(), Some(vec![1, 22]));
        assert!(replies.split().unwrap_err().is_refused("NOSCRIPT"));
        let mut nested = replies.clone().split().unwrap();
        let tree = replies.tree().unwrap();
        let expected = vec![Value::BulkString(b"OK".to_vec()), Value::Array(vec![Value::Nil])];
        assert_eq!(tree, Value::Array(expected));
        assert_eq!((nested.list(), nested.text().map(<[u8]>::to_vec)), (Some(2), Some(b"OK".to_vec())));
        assert_eq!(nested.list(), Some(1));
        assert_eq!(nested.value(), Some(Reply::Nothing));
        assert_eq!(nested.value(), None);
        assert_eq!((replies.count(), replies.count()), (Some(3), None));
        assert!(replies.split().is_err());
        let deep = [&b"*1\r\n".repeat(DEPTH_MAX + 1), &b":1\r\n"[..]].concat();
        assert!(matches!(Replies::whole(deep).tree(), Err(CommandError::Unexpected { .. })));
    }

    #[test]
    fn refusals_and_nothing_are_told_apart() {
        let check = |bytes: &[u8]| {
            let mut replies = Replies::whole(bytes.to_vec());
            replies.streams(|_, _| Some(()), |(), _, _| {}).map_err(|error| error.to_string())
        };
        assert_eq!(check(b"*-1\r\n"), Ok(Some(())));
        assert!(check(b"-NOGROUP No such key\r\n").unwrap_err().contains("NOGROUP"));
        assert_eq!(check(b":1\r\n"), Ok(None));
        assert_eq!(check(b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n:1\r\n:2\r\n"), Ok(None));
    }
}
