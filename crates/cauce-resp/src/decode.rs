//! Requests: arrays of bulk strings, or inline commands.

use std::fmt;

use crate::number::parse_i64;

/// What a request may cost. Each limit has Redis 7's value as its default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest argument, in bytes (Redis: `proto-max-bulk-len`).
    pub bulk_bytes_max: usize,
    /// Most arguments of one request.
    pub arguments_max: usize,
    /// Longest inline command or header line, in bytes.
    pub line_bytes_max: usize,
}

impl Limits {
    /// The limits of a connection that has not authenticated yet (Redis 7: 10 arguments of 16 KiB), so that a
    /// stranger cannot make the server hold memory.
    pub const UNAUTHENTICATED: Self =
        Self { bulk_bytes_max: 16 * 1024, arguments_max: 10, line_bytes_max: 64 * 1024 };
}

impl Default for Limits {
    fn default() -> Self {
        Self { bulk_bytes_max: 512 * 1024 * 1024, arguments_max: 1024 * 1024, line_bytes_max: 64 * 1024 }
    }
}

/// Where an argument lies, counted from the request's first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The argument's first byte.
    pub start: usize,
    /// One past the argument's last byte.
    pub end: usize,
}

/// A request that cannot be understood. The connection must be closed after the error was sent, since the
/// place where the next request begins is unknown. The texts are those of Redis 7.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The count after `*` is no number or over the limit.
    InvalidArgumentCount,
    /// The same, on a connection that has not authenticated.
    UnauthenticatedArgumentCount,
    /// The length after `$` is no number or over the limit.
    InvalidBulkLength,
    /// The same, on a connection that has not authenticated.
    UnauthenticatedBulkLength,
    /// Something else than `$` where an argument begins.
    ExpectedBulk(u8),
    /// A `*` line without an end.
    ArgumentCountTooLong,
    /// A `$` line without an end.
    BulkLengthTooLong,
    /// An inline command without an end.
    InlineTooLong,
    /// A quote of an inline command that is never closed.
    UnbalancedQuotes,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Protocol error: ")?;
        match self {
            Self::InvalidArgumentCount => f.write_str("invalid multibulk length"),
            Self::UnauthenticatedArgumentCount => f.write_str("unauthenticated multibulk length"),
            Self::InvalidBulkLength => f.write_str("invalid bulk length"),
            Self::UnauthenticatedBulkLength => f.write_str("unauthenticated bulk length"),
            Self::ExpectedBulk(byte) => write!(f, "expected '$', got '{}'", char::from(*byte)),
            Self::ArgumentCountTooLong => f.write_str("too big mbulk count string"),
            Self::BulkLengthTooLong => f.write_str("too big bulk count string"),
            Self::InlineTooLong => f.write_str("too big inline request"),
            Self::UnbalancedQuotes => f.write_str("unbalanced quotes in request"),
        }
    }
}

impl std::error::Error for ProtocolError {}

/// Finds requests in a byte stream that arrives in pieces. A request that is not whole yet is taken up again
/// where the last call stopped: no byte is scanned twice.
#[derive(Debug, Default)]
pub struct Decoder {
    limits: Limits,
    /// Arguments of the request found so far.
    spans: Vec<Span>,
    /// Arguments that are still to come, once the `*` line is read.
    missing: Option<usize>,
    /// Length of the argument whose `$` line is read and whose bytes are still to come.
    bulk: Option<usize>,
    /// Bytes of the request that are dealt with.
    offset: usize,
    /// Bytes of the current line that were searched for its end in vain.
    searched: usize,
}

impl Decoder {
    /// A decoder with these limits.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Changes the limits, from the next line on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Looks for one request at the start of `input`, which must begin with the same bytes as at the last call
    /// if that call returned `None`. Returns how many bytes the request takes, or `None` when it is not whole
    /// yet. Its arguments are then in [`Decoder::spans`]; there are none for an empty line or an empty array,
    /// which Redis skips without a reply. Quotes of inline commands are resolved in place, hence `&mut`.
    ///
    /// # Errors
    /// [`ProtocolError`]; the decoder must not be used again after that.
    pub fn decode(&mut self, input: &mut [u8]) -> Result<Option<usize>, ProtocolError> {
        if self.offset == 0 && self.missing.is_none() {
            self.spans.clear();
            match input.first() {
                None => return Ok(None),
                Some(b'*') => {}
                Some(_) => return self.decode_inline(input),
            }
        }
        self.decode_array(input)
    }

    /// The arguments of the request that [`Decoder::decode`] found last.
    #[must_use]
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// How many bytes at least are missing of an argument whose length is known: a hint for the next read,
    /// not to be allocated blindly.
    #[must_use]
    pub fn missing_bytes(&self, input_len: usize) -> usize {
        self.bulk.map_or(0, |len| (self.offset + len + 2).saturating_sub(input_len))
    }

    fn decode_array(&mut self, input: &[u8]) -> Result<Option<usize>, ProtocolError> {
        if self.missing.is_none() {
            let Some((line, next)) = self.line(input, ProtocolError::ArgumentCountTooLong)? else {
                return Ok(None);
            };
            let count =
                parse_i64(line.get(1..).unwrap_or_default()).ok_or(ProtocolError::InvalidArgumentCount)?;
            self.offset = next;
            self.missing = Some(self.argument_count(count)?);
        }
        while let Some(missing) = self.missing.filter(|&missing| missing > 0) {
            if !self.decode_bulk(input)? {
                return Ok(None);
            }
            self.missing = Some(missing - 1);
        }
        self.missing = None;
        Ok(Some(std::mem::take(&mut self.offset)))
    }

    fn argument_count(&self, count: i64) -> Result<usize, ProtocolError> {
        match usize::try_from(count) {
            Err(_) => Ok(0),
            Ok(count) if count <= self.limits.arguments_max => Ok(count),
            Ok(_) if self.limits == Limits::UNAUTHENTICATED => {
                Err(ProtocolError::UnauthenticatedArgumentCount)
            }
            Ok(_) => Err(ProtocolError::InvalidArgumentCount),
        }
    }

    /// Takes one argument; false when its bytes are not all there.
    fn decode_bulk(&mut self, input: &[u8]) -> Result<bool, ProtocolError> {
        let len = match self.bulk {
            Some(len) => len,
            None => {
                match input.get(self.offset) {
                    None => return Ok(false),
                    Some(b'$') => {}
                    Some(&other) => return Err(ProtocolError::ExpectedBulk(other)),
                }
                let Some((line, next)) = self.line(input, ProtocolError::BulkLengthTooLong)? else {
                    return Ok(false);
                };
                let len = self.bulk_len(line)?;
                self.offset = next;
                self.bulk = Some(len);
                len
            }
        };
        let end = self.offset + len;
        if input.len() < end + 2 {
            return Ok(false);
        }
        self.spans.push(Span { start: self.offset, end });
        self.offset = end + 2;
        self.bulk = None;
        Ok(true)
    }

    fn bulk_len(&self, line: &[u8]) -> Result<usize, ProtocolError> {
        // Lengths of one or two digits are nearly all of them.
        let len = match line {
            [_, digit @ b'0'..=b'9'] => return Ok(usize::from(digit - b'0')),
            [_, rest @ ..] => parse_i64(rest),
            [] => None,
        };
        match len.and_then(|len| usize::try_from(len).ok()) {
            Some(len) if len <= self.limits.bulk_bytes_max => Ok(len),
            Some(_) if self.limits == Limits::UNAUTHENTICATED => {
                Err(ProtocolError::UnauthenticatedBulkLength)
            }
            _ => Err(ProtocolError::InvalidBulkLength),
        }
    }

    /// The header line at `offset`, without its end, and where the next line begins.
    fn line<'i>(
        &mut self,
        input: &'i [u8],
        too_long: ProtocolError,
    ) -> Result<Option<(&'i [u8], usize)>, ProtocolError> {
        let rest = input.get(self.offset..).unwrap_or_default();
        let from = std::mem::take(&mut self.searched);
        let found = rest.iter().skip(from).position(|&byte| byte == b'\r').map(|at| at + from);
        match found {
            // Redis looks at the `\r` only, and skips two bytes.
            Some(end) if rest.len() > end + 1 => {
                Ok(Some((rest.get(..end).unwrap_or_default(), self.offset + end + 2)))
            }
            Some(end) => {
                self.searched = end;
                Ok(None)
            }
            None if rest.len() > self.limits.line_bytes_max => Err(too_long),
            None => {
                self.searched = rest.len();
                Ok(None)
            }
        }
    }

    fn decode_inline(&mut self, input: &mut [u8]) -> Result<Option<usize>, ProtocolError> {
        let from = std::mem::take(&mut self.searched);
        let Some(newline) = memchr::memchr(b'\n', input.get(from..).unwrap_or_default()) else {
            if input.len() > self.limits.line_bytes_max {
                return Err(ProtocolError::InlineTooLong);
            }
            self.searched = input.len();
            return Ok(None);
        };
        let end = from + newline;
        let line = input.get_mut(..end).unwrap_or_default();
        let line = match line {
            [head @ .., b'\r'] => head,
            _ => line,
        };
        split_inline(line, &mut self.spans)?;
        Ok(Some(end + 1))
    }
}

/// Splits an inline command as Redis does (`sdssplitargs`): blanks separate; `"…"` knows `\n \r \t \b \a \xHH`;
/// `'…'` knows `\'`; a closing quote must be followed by a blank. Unquoted text is moved down in place.
fn split_inline(line: &mut [u8], spans: &mut Vec<Span>) -> Result<(), ProtocolError> {
    let mut input = Cursor { line, read: 0, write: 0 };
    loop {
        while input.peek().is_some_and(is_blank) {
            input.read += 1;
        }
        if input.peek().is_none() {
            return Ok(());
        }
        input.write = input.read;
        let start = input.write;
        input.argument()?;
        spans.push(Span { start, end: input.write });
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c | 0)
}

struct Cursor<'a> {
    line: &'a mut [u8],
    read: usize,
    write: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.line.get(self.read).copied()
    }

    fn put(&mut self, byte: u8) {
        if let Some(place) = self.line.get_mut(self.write) {
            *place = byte;
        }
        self.write += 1;
    }

    fn argument(&mut self) -> Result<(), ProtocolError> {
        while let Some(byte) = self.peek().filter(|&byte| !is_blank(byte)) {
            self.read += 1;
            match byte {
                b'"' => return self.quoted(b'"'),
                b'\'' => return self.quoted(b'\''),
                _ => self.put(byte),
            }
        }
        Ok(())
    }

    fn quoted(&mut self, quote: u8) -> Result<(), ProtocolError> {
        loop {
            let byte = self.peek().ok_or(ProtocolError::UnbalancedQuotes)?;
            self.read += 1;
            if byte == quote {
                return match self.peek() {
                    Some(next) if !is_blank(next) => Err(ProtocolError::UnbalancedQuotes),
                    _ => Ok(()),
                };
            }
            let byte = match (quote, byte, self.peek()) {
                (b'"', b'\\', Some(_)) => self.escape(),
                (b'\'', b'\\', Some(b'\'')) => {
                    self.read += 1;
                    b'\''
                }
                _ => byte,
            };
            self.put(byte);
        }
    }

    fn escape(&mut self) -> u8 {
        let hex = |at: usize| self.line.get(at).and_then(|&digit| char::from(digit).to_digit(16));
        let byte = self.peek().unwrap_or(b'\\');
        if let (b'x', Some(high), Some(low)) = (byte, hex(self.read + 1), hex(self.read + 2)) {
            self.read += 3;
            return (high * 16 + low) as u8;
        }
        self.read += 1;
        match byte {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'b' => 0x08,
            b'a' => 0x07,
            other => other,
        }
    }
}

#[cfg(test)]
mod tests;
