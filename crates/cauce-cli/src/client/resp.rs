//! Requests encoded once, replies counted without building values: the generator must cost far less
//! than the server that it measures.

use memchr::memchr;

/// Appends one request to `out`, as Redis clients encode it: an array of bulk strings.
pub(crate) fn encode(out: &mut Vec<u8>, arguments: &[&[u8]]) {
    array_header(out, arguments.len());
    for argument in arguments {
        bulk(out, argument);
    }
}

/// Appends the header of a request of `len` arguments.
pub(crate) fn array_header(out: &mut Vec<u8>, len: usize) {
    out.extend_from_slice(format!("*{len}\r\n").as_bytes());
}

/// Appends one argument.
pub(crate) fn bulk(out: &mut Vec<u8>, argument: &[u8]) {
    out.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
    out.extend_from_slice(argument);
    out.extend_from_slice(b"\r\n");
}

/// Why a reply stops a measurement.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReplyError {
    /// The server answered with an error.
    #[error("the server replied with an error: {0}")]
    Refused(String),
    /// The bytes are not RESP2.
    #[error("byte {0:#04x} stands where a RESP2 reply should begin")]
    NotResp(u8),
}

/// Counts whole RESP2 replies in a byte stream that may be cut anywhere.
#[derive(Debug)]
pub(crate) struct Scanner {
    state: State,
    /// Values still missing before the current reply is whole.
    missing: u64,
}

#[derive(Debug)]
enum State {
    /// A value begins.
    Kind,
    /// Inside the length of a bulk string (`true`: of an array).
    Length { array: bool, negative: bool, value: u64 },
    /// Inside a simple string or integer.
    Line,
    /// Inside an error, whose text is kept.
    ErrorLine(Vec<u8>),
    /// Inside a bulk string: so many bytes to go, its line end counted.
    Body(usize),
}

impl Scanner {
    /// A scanner at the beginning of a reply.
    pub(crate) fn new() -> Self {
        Self { state: State::Kind, missing: 1 }
    }

    /// Returns how many replies end within `bytes`.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Result<u64, ReplyError> {
        let mut whole = 0;
        while let Some((&first, rest)) = bytes.split_first() {
            match &mut self.state {
                State::Kind => {
                    self.state = match first {
                        b'$' => State::Length { array: false, negative: false, value: 0 },
                        b'*' => State::Length { array: true, negative: false, value: 0 },
                        b'+' | b':' => State::Line,
                        b'-' => State::ErrorLine(Vec::new()),
                        other => return Err(ReplyError::NotResp(other)),
                    };
                    bytes = rest;
                }
                State::Length { array, negative, value } => {
                    match first {
                        b'\n' if *negative => whole += self.value_ends(0),
                        b'\n' if *array => {
                            let items = *value;
                            whole += self.value_ends(items);
                        }
                        b'\n' => self.state = State::Body(*value as usize + 2),
                        b'-' => *negative = true,
                        b'0'..=b'9' => *value = *value * 10 + u64::from(first - b'0'),
                        _ => {}
                    }
                    bytes = rest;
                }
                State::Line => match memchr(b'\n', bytes) {
                    Some(end) => {
                        whole += self.value_ends(0);
                        bytes = &bytes[end + 1..];
                    }
                    None => break,
                },
                State::ErrorLine(text) => match memchr(b'\n', bytes) {
                    Some(end) => {
                        text.extend_from_slice(&bytes[..end]);
                        return Err(ReplyError::Refused(String::from_utf8_lossy(text).trim_end().to_owned()));
                    }
                    None => {
                        text.extend_from_slice(bytes);
                        break;
                    }
                },
                State::Body(left) if *left > bytes.len() => {
                    *left -= bytes.len();
                    break;
                }
                State::Body(left) => {
                    bytes = &bytes[*left..];
                    whole += self.value_ends(0);
                }
            }
        }
        Ok(whole)
    }

    /// A value ended that announces `items` more; returns 1 if that makes a reply whole.
    fn value_ends(&mut self, items: u64) -> u64 {
        self.state = State::Kind;
        self.missing = self.missing - 1 + items;
        if self.missing > 0 {
            return 0;
        }
        self.missing = 1;
        1
    }
}

/// One token of a reply that is wholly in memory, for the few replies whose content matters.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// An array of so many values, or null.
    Array(Option<usize>),
    /// A bulk string with its place in the bytes, or null.
    Bulk(Option<&'a [u8]>),
    /// A simple string or an integer.
    Line(&'a [u8]),
}

/// Reads tokens one after the other.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// A cursor at the beginning of `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes were read.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// The next token; `None` if its bytes have not all come yet. An error reply is passed over.
    pub(crate) fn next_token(&mut self) -> Result<Option<Token<'a>>, ReplyError> {
        let rest = &self.bytes[self.at..];
        let Some(end) = memchr(b'\n', rest) else { return Ok(None) };
        let line = &rest[1..end.max(2) - 1];
        let mut used = end + 1;
        let token = match rest[0] {
            b'*' => Token::Array(length(line)),
            b'$' => match length(line) {
                None => Token::Bulk(None),
                Some(len) if rest.len() < used + len + 2 => return Ok(None),
                Some(len) => {
                    let body = &rest[used..used + len];
                    used += len + 2;
                    Token::Bulk(Some(body))
                }
            },
            b'+' | b':' => Token::Line(line),
            b'-' => {
                self.at += used;
                return Err(ReplyError::Refused(String::from_utf8_lossy(line).into_owned()));
            }
            other => return Err(ReplyError::NotResp(other)),
        };
        self.at += used;
        Ok(Some(token))
    }
}

/// A length as the wire spells it; `None` for -1.
fn length(line: &[u8]) -> Option<usize> {
    std::str::from_utf8(line).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the bytes whole, then cut at every place: the count must be the same.
    #[track_caller]
    fn check(bytes: &str, expected: &Result<u64, ReplyError>) {
        assert_eq!(&Scanner::new().feed(bytes.as_bytes()), expected, "whole");
        for cut in 0..bytes.len() {
            let (head, tail) = bytes.as_bytes().split_at(cut);
            let mut scanner = Scanner::new();
            let counted = scanner.feed(head).and_then(|n| Ok(n + scanner.feed(tail)?));
            assert_eq!(&counted, expected, "cut at {cut}");
        }
    }

    #[test]
    fn replies_are_counted_wherever_they_are_cut() {
        check("+OK\r\n:12\r\n$5\r\nhel\nl\r\n$-1\r\n*-1\r\n*0\r\n$0\r\n\r\n", &Ok(7));
        check("*2\r\n*2\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n+PONG\r\n", &Ok(2));
        check("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n", &Ok(0));
    }

    #[test]
    fn an_error_reply_is_never_counted() {
        let refused = ReplyError::Refused("ERR no such thing".into());
        check("+OK\r\n-ERR no such thing\r\n", &Err(refused));
        let nested = ReplyError::Refused("ERR inside".into());
        check("*2\r\n+OK\r\n-ERR inside\r\n", &Err(nested));
        check("hello", &Err(ReplyError::NotResp(b'h')));
    }

    #[test]
    fn tokens_wait_for_their_last_byte() {
        let bytes = b"*1\r\n$3\r\nabc\r\n";
        for cut in 5..bytes.len() {
            let mut cursor = Cursor::new(&bytes[..cut]);
            assert_eq!(cursor.next_token(), Ok(Some(Token::Array(Some(1)))));
            assert_eq!(cursor.next_token(), Ok(None), "cut at {cut}");
        }
        let mut cursor = Cursor::new(bytes);
        cursor.next_token().unwrap();
        assert_eq!(cursor.next_token(), Ok(Some(Token::Bulk(Some(b"abc")))));
        assert_eq!(cursor.position(), bytes.len());
    }

    #[test]
    fn what_follows_an_error_reply_is_read() {
        let mut cursor = Cursor::new(b"-ERR no\r\n:1\r\n");
        assert_eq!(cursor.next_token(), Err(ReplyError::Refused("ERR no".into())));
        assert_eq!(cursor.next_token(), Ok(Some(Token::Line(b"1"))));
    }

    #[test]
    fn a_request_is_an_array_of_bulk_strings() {
        let mut out = Vec::new();
        encode(&mut out, &[b"GET", b"key"]);
        assert_eq!(out, b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n");
    }
}
