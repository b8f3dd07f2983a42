//! Replies and pushes, in either protocol, into a buffer that the caller owns.

use crate::number::format_double;

/// The protocol version that a connection speaks: RESP2 until `HELLO 3` asks for RESP3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// RESP2: five kinds of reply; nulls are `$-1` and `*-1`, maps are flat arrays.
    #[default]
    Resp2,
    /// RESP3: adds null, maps, sets, doubles, booleans, verbatim strings and pushes.
    Resp3,
}

/// Writes replies at the end of a buffer. Aggregates are written as a header followed by as many elements as
/// it announced; the encoder does not count them.
#[derive(Debug)]
pub struct Encoder<'a> {
    buffer: &'a mut Vec<u8>,
    protocol: Protocol,
}

impl<'a> Encoder<'a> {
    /// An encoder that appends to `buffer` in `protocol`.
    pub fn new(buffer: &'a mut Vec<u8>, protocol: Protocol) -> Self {
        Self { buffer, protocol }
    }

    /// The protocol that this encoder writes.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Writes in `protocol` from now on.
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// How many bytes the buffer holds: a mark for [`Encoder::truncate`].
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether the buffer holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Takes back everything that was written after `mark`.
    pub fn truncate(&mut self, mark: usize) {
        self.buffer.truncate(mark);
    }

    /// `+text`. The text must not hold line breaks.
    pub fn status(&mut self, text: &str) {
        debug_assert!(!text.contains(['\r', '\n']), "a status is one line");
        self.buffer.push(b'+');
        self.buffer.extend_from_slice(text.as_bytes());
        self.end_line();
    }

    /// `+OK`.
    pub fn ok(&mut self) {
        self.buffer.extend_from_slice(b"+OK\r\n");
    }

    /// `-text`, where the text begins with the error's code. Line breaks in it become spaces, since user input
    /// may be quoted in it.
    pub fn error(&mut self, text: &[u8]) {
        self.buffer.push(b'-');
        self.buffer.extend(text.iter().map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }));
        self.end_line();
    }

    /// `:value`.
    pub fn integer(&mut self, value: i64) {
        self.header(b':', value);
    }

    /// `:1` or `:0` from a count of things.
    pub fn count(&mut self, value: usize) {
        self.header(b':', i64::try_from(value).unwrap_or(i64::MAX));
    }

    /// A bulk string.
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.length(b'$', bytes.len());
        self.buffer.extend_from_slice(bytes);
        self.end_line();
    }

    /// A bulk string that holds a decimal integer.
    pub fn bulk_integer(&mut self, value: i64) {
        self.bulk(itoa::Buffer::new().format(value).as_bytes());
    }

    /// A bulk string that holds an unsigned decimal integer.
    pub fn bulk_unsigned(&mut self, value: u64) {
        self.bulk(itoa::Buffer::new().format(value).as_bytes());
    }

    /// Text for people: `=…txt:` in RESP3, a bulk string in RESP2.
    pub fn verbatim(&mut self, text: &str) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text.as_bytes()),
            Protocol::Resp3 => {
                self.length(b'=', text.len() + 4);
                self.buffer.extend_from_slice(b"txt:");
                self.buffer.extend_from_slice(text.as_bytes());
                self.end_line();
            }
        }
    }

    /// Text of a format with a name of three bytes: `=…fmt:` in RESP3 (a longer name is cut, a shorter one filled
    /// up), a bulk string in RESP2.
    pub fn verbatim_as(&mut self, format: &[u8], text: &[u8]) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text),
            Protocol::Resp3 => {
                self.length(b'=', text.len() + 4);
                let name = format.iter().copied().chain(std::iter::repeat(b' '));
                self.buffer.extend(name.take(3));
                self.buffer.push(b':');
                self.buffer.extend_from_slice(text);
                self.end_line();
            }
        }
    }

    /// A number of any length in decimal digits: `(digits` in RESP3, a bulk string in RESP2. Line breaks in it
    /// become spaces.
    pub fn big_number(&mut self, digits: &[u8]) {
        let line = digits.iter().map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte });
        match self.protocol {
            Protocol::Resp2 => {
                self.length(b'$', digits.len());
                self.buffer.extend(line);
                self.end_line();
            }
            Protocol::Resp3 => {
                self.buffer.push(b'(');
                self.buffer.extend(line);
                self.end_line();
            }
        }
    }

    /// Corrects the header of an array that was written at `mark` and announced `before` elements.
    pub fn correct_array(&mut self, mark: usize, before: usize, now: usize) {
        let header = |len: usize| format!("*{len}\r\n").into_bytes();
        self.buffer.splice(mark..mark + header(before).len(), header(now));
    }

    /// A double: `,value` in RESP3, a bulk string in RESP2.
    pub fn double(&mut self, value: f64) {
        let text = format_double(value);
        match self.protocol {
            Protocol::Resp2 => self.bulk(text.as_bytes()),
            Protocol::Resp3 => {
                self.buffer.push(b',');
                self.buffer.extend_from_slice(text.as_bytes());
                self.end_line();
            }
        }
    }

    /// A boolean: `#t`/`#f` in RESP3, `:1`/`:0` in RESP2.
    pub fn boolean(&mut self, value: bool) {
        let bytes: &[u8] = match (self.protocol, value) {
            (Protocol::Resp2, true) => b":1\r\n",
            (Protocol::Resp2, false) => b":0\r\n",
            (Protocol::Resp3, true) => b"#t\r\n",
            (Protocol::Resp3, false) => b"#f\r\n",
        };
        self.buffer.extend_from_slice(bytes);
    }

    /// The null that stands for a missing string: `$-1`, or `_` in RESP3.
    pub fn null(&mut self) {
        self.by_protocol(b"$-1\r\n", b"_\r\n");
    }

    /// The null that stands for a missing array: `*-1`, or `_` in RESP3.
    pub fn null_array(&mut self) {
        self.by_protocol(b"*-1\r\n", b"_\r\n");
    }

    /// The header of an array of `len` elements.
    pub fn array(&mut self, len: usize) {
        self.length(b'*', len);
    }

    /// The header of a map of `len` pairs; a flat array of `2 * len` in RESP2.
    pub fn map(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.length(b'*', len * 2),
            Protocol::Resp3 => self.length(b'%', len),
        }
    }

    /// The header of a set of `len` elements; an array in RESP2.
    pub fn set(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.length(b'*', len),
            Protocol::Resp3 => self.length(b'~', len),
        }
    }

    /// The header of a push of `len` elements; an array in RESP2.
    pub fn push(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.length(b'*', len),
            Protocol::Resp3 => self.length(b'>', len),
        }
    }

    /// Bytes that are a whole reply already.
    pub fn raw(&mut self, reply: &[u8]) {
        self.buffer.extend_from_slice(reply);
    }

    fn by_protocol(&mut self, resp2: &[u8], resp3: &[u8]) {
        self.buffer.extend_from_slice(match self.protocol {
            Protocol::Resp2 => resp2,
            Protocol::Resp3 => resp3,
        });
    }

    fn length(&mut self, kind: u8, len: usize) {
        // Most lengths have one digit: written without formatting.
        if len < 10 {
            self.buffer.extend_from_slice(&[kind, b'0' + len as u8, b'\r', b'\n']);
        } else {
            self.header(kind, i64::try_from(len).unwrap_or(i64::MAX));
        }
    }

    fn header(&mut self, kind: u8, value: i64) {
        self.buffer.push(kind);
        self.buffer.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        self.end_line();
    }

    fn end_line(&mut self) {
        self.buffer.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
#[expect(clippy::redundant_closure_for_method_calls, reason = "the method's path has too narrow a lifetime")]
mod tests {
    use super::*;

    fn check(write: impl Fn(&mut Encoder<'_>), resp2: &str, resp3: &str) {
        for (protocol, expected) in [(Protocol::Resp2, resp2), (Protocol::Resp3, resp3)] {
            let mut buffer = Vec::new();
            write(&mut Encoder::new(&mut buffer, protocol));
            assert_eq!(String::from_utf8_lossy(&buffer), expected, "{protocol:?}");
        }
    }

    #[test]
    fn every_kind_of_reply_has_its_form_in_both_protocols() {
        check(|e| e.ok(), "+OK\r\n", "+OK\r\n");
        check(|e| e.integer(-12), ":-12\r\n", ":-12\r\n");
        check(|e| e.bulk(b"hello, world"), "$12\r\nhello, world\r\n", "$12\r\nhello, world\r\n");
        check(|e| e.null(), "$-1\r\n", "_\r\n");
        check(|e| e.null_array(), "*-1\r\n", "_\r\n");
        check(|e| e.map(2), "*4\r\n", "%2\r\n");
        check(|e| e.set(2), "*2\r\n", "~2\r\n");
        check(|e| e.push(3), "*3\r\n", ">3\r\n");
        check(|e| e.array(12), "*12\r\n", "*12\r\n");
        check(|e| e.double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n");
        check(|e| e.boolean(true), ":1\r\n", "#t\r\n");
        check(|e| e.verbatim("ab"), "$2\r\nab\r\n", "=6\r\ntxt:ab\r\n");
        check(|e| e.verbatim_as(b"mkdn", b"ab"), "$2\r\nab\r\n", "=6\r\nmkd:ab\r\n");
        check(|e| e.big_number(b"12\n3"), "$4\r\n12 3\r\n", "(12 3\r\n");
    }

    #[test]
    fn an_array_that_ends_early_is_corrected() {
        let write = |e: &mut Encoder<'_>| {
            e.array(10);
            e.integer(1);
            e.correct_array(0, 10, 1);
        };
        check(write, "*1\r\n:1\r\n", "*1\r\n:1\r\n");
    }

    #[test]
    fn an_error_that_quotes_a_line_break_stays_one_line() {
        check(|e| e.error(b"ERR bad 'a\r\nb'"), "-ERR bad 'a  b'\r\n", "-ERR bad 'a  b'\r\n");
    }
}
