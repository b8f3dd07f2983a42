//! A connection for blocking reads: its replies are read where they arrived, with no value tree in between.
//!
//! The client crate's parser costs more than everything else on the way of an entry to its handler; this path is the only one where
//! that matters. It speaks RESP2, and asks for one thing at a time.

use std::io;
use std::sync::Arc;

use redis::{Cmd, cmd};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::address::Address;
use super::connection::Endpoint;
use super::dial::ByteStream;
use crate::entry::{self, EntryId, Fields};
use crate::error::{CommandError, ConnectError};

/// Room that is made for the next part of a reply.
const READ_LENGTH: usize = 64 * 1024;
/// A line of a reply that is longer is not Redis's.
const LINE_MAX: usize = 64 * 1024;
/// A reply that is longer is refused: no stream entry is.
const REPLY_MAX: usize = 1 << 32;

/// A connection that waits for one reply at a time.
pub(crate) struct Wire {
    stream: Box<dyn ByteStream>,
    buffer: Vec<u8>,
    address: Arc<Address>,
}

impl Wire {
    /// Opens it and logs in; says its id at the broker too.
    ///
    /// # Errors
    /// If nobody answers, or the broker refuses.
    pub(crate) async fn open(endpoint: &Endpoint) -> Result<(Self, i64), ConnectError> {
        endpoint.in_time(Self::open_unbounded(endpoint)).await
    }

    async fn open_unbounded(endpoint: &Endpoint) -> Result<(Self, i64), ConnectError> {
        let address = Arc::clone(&endpoint.address);
        let unreachable = |source| ConnectError::Unreachable { url: endpoint.address.to_string(), source };
        let stream = endpoint.source.open(&address).await?;
        let mut wire = Self { stream, buffer: Vec::new(), address: Arc::clone(&address) };
        let commands = login(&address);
        let request: Vec<u8> = commands.iter().flat_map(Cmd::get_packed_command).collect();
        let mut replies = wire
            .exchange(&request, commands.len())
            .await
            .map_err(|error| unreachable(io::Error::other(error)))?;
        let mut id = 0;
        for _ in &commands {
            match replies.value() {
                Some(Reply::Integer(number)) => id = number,
                Some(Reply::Error { code, message }) => {
                    let message = format!("{code} {message}");
                    return Err(ConnectError::Refused { url: address.to_string(), message });
                }
                _ => {}
            }
        }
        Ok((wire, id))
    }

    /// Sends a request and waits for that many replies. Not to be used again after it was dropped in between or failed.
    ///
    /// # Errors
    /// If the connection breaks, or what comes is not RESP.
    pub(crate) async fn exchange(&mut self, request: &[u8], replies: usize) -> Result<Replies, CommandError> {
        match self.exchange_bytes(request, replies).await {
            Ok(bytes) => Ok(Replies { bytes: Arc::new(bytes), at: 0 }),
            Err(error) => Err(CommandError::OutcomeUnknown {
                url: self.address.to_string(),
                problem: error.to_string(),
            }),
        }
    }

    async fn exchange_bytes(&mut self, request: &[u8], replies: usize) -> io::Result<Vec<u8>> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        let mut scan = Scan { at: 0, missing: replies };
        loop {
            if scan.advance(&self.buffer)? {
                let rest = self.buffer.split_off(scan.at);
                return Ok(std::mem::replace(&mut self.buffer, rest));
            }
            if self.buffer.len() > REPLY_MAX {
                return Err(malformed());
            }
            self.buffer.reserve(READ_LENGTH);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the broker closed the connection"));
            }
        }
    }
}

/// The last of them asks for the connection's id.
fn login(address: &Address) -> Vec<Cmd> {
    let mut commands = Vec::new();
    if let Some(password) = &address.password {
        let mut auth = cmd("AUTH");
        if let Some(username) = &address.username {
            auth.arg(username);
        }
        auth.arg(password);
        commands.push(auth);
    }
    if address.database != 0 {
        let mut select = cmd("SELECT");
        select.arg(address.database);
        commands.push(select);
    }
    let mut id = cmd("CLIENT");
    id.arg("ID");
    commands.push(id);
    commands
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "what the broker sent is not a reply")
}

/// Finds the end of a number of replies in bytes that come in pieces; goes on where it stopped.
struct Scan {
    at: usize,
    /// Values that are still to come.
    missing: usize,
}

impl Scan {
    /// Whether all is there.
    fn advance(&mut self, bytes: &[u8]) -> io::Result<bool> {
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
#[derive(Debug)]
pub(crate) struct Replies {
    bytes: Arc<Vec<u8>>,
    at: usize,
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
    /// The next value; `None` at the end, or if the reply is not well-formed.
    pub(crate) fn value(&mut self) -> Option<Reply<'_>> {
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

    fn list(&mut self) -> Option<usize> {
        match self.value()? {
            Reply::List(length) => Some(length),
            Reply::Nothing => Some(0),
            _ => None,
        }
    }

    fn text(&mut self) -> Option<&[u8]> {
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
            let mut rest = self.bytes.get(start..)?;
            for _ in 0..items {
                rest = entry::bulk(rest)?.1;
            }
            self.at = self.bytes.len() - rest.len();
            if items > 0 {
                entry(&lane, id, Fields::in_reply(Arc::clone(&self.bytes), start, items / 2));
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
            let mut scan = Scan { at: 0, missing: 2 };
            assert!(!scan.advance(&READ[..length]).unwrap(), "{length}");
            assert!(scan.advance(READ).unwrap());
            assert_eq!(scan.at, READ.len());
        }
        assert!(Scan { at: 0, missing: 1 }.advance(b"HTTP/1.1 400\r\n").is_err());
        assert!(Scan { at: 0, missing: 1 }.advance(b"$99999999999999999999\r\n").is_err());
    }

    #[test]
    fn a_read_is_taken_apart() {
        let mut replies = Replies { bytes: Arc::new(READ.to_vec()), at: 0 };
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
    fn refusals_and_nothing_are_told_apart() {
        let check = |bytes: &[u8]| {
            let mut replies = Replies { bytes: Arc::new(bytes.to_vec()), at: 0 };
            replies.streams(|_, _| Some(()), |(), _, _| {}).map_err(|error| error.to_string())
        };
        assert_eq!(check(b"*-1\r\n"), Ok(Some(())));
        assert!(check(b"-NOGROUP No such key\r\n").unwrap_err().contains("NOGROUP"));
        assert_eq!(check(b":1\r\n"), Ok(None));
        assert_eq!(check(b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n:1\r\n:2\r\n"), Ok(None));
    }
}
