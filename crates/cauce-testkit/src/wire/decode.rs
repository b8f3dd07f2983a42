//! Bytes of a server into a [`Value`]. Written apart from `cauce-resp`, so that one mistake cannot hide another.

use super::Value;

/// The deepest nesting that is read; deeper is malformed.
const DEPTH_MAX: usize = 64;

/// What was read is not RESP.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the server sent a malformed frame: {what}")]
#[non_exhaustive]
pub struct MalformedFrame {
    /// What is wrong with it.
    pub what: &'static str,
}

/// Decodes the first frame of `bytes` and tells how many bytes it took; `None` while the frame is incomplete.
///
/// # Errors
///
/// [`MalformedFrame`] if the bytes can't be the beginning of a frame.
pub fn decode(bytes: &[u8]) -> Result<Option<(Value, usize)>, MalformedFrame> {
    let mut cursor = Cursor { bytes, at: 0 };
    match cursor.value(0) {
        Ok(value) => Ok(Some((value, cursor.at))),
        Err(Stop::Incomplete) => Ok(None),
        Err(Stop::Malformed(what)) => Err(MalformedFrame { what }),
    }
}

enum Stop {
    Incomplete,
    Malformed(&'static str),
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn value(&mut self, depth: usize) -> Result<Value, Stop> {
        if depth > DEPTH_MAX {
            return Err(Stop::Malformed("nested too deeply"));
        }
        let line = self.line()?;
        let (kind, rest) = line.split_first().ok_or(Stop::Malformed("an empty line"))?;
        match kind {
            b'+' => Ok(Value::Simple(rest.to_vec())),
            b'-' => Ok(Value::Error(rest.to_vec())),
            b':' => Ok(Value::Integer(number(rest)?)),
            b',' => Ok(Value::Double(rest.to_vec())),
            b'(' => Ok(Value::BigNumber(rest.to_vec())),
            b'_' if rest.is_empty() => Ok(Value::Null),
            b'#' => match rest {
                b"t" => Ok(Value::Boolean(true)),
                b"f" => Ok(Value::Boolean(false)),
                _ => Err(Stop::Malformed("a boolean that is neither t nor f")),
            },
            b'$' if rest == b"-1" => Ok(Value::NullBulk),
            b'*' if rest == b"-1" => Ok(Value::NullArray),
            b'$' => self.blob(rest).map(Value::Bulk),
            b'!' => self.blob(rest).map(Value::BulkError),
            b'=' => self.blob(rest).map(Value::Verbatim),
            b'*' => self.items(rest, depth).map(Value::Array),
            b'~' => self.items(rest, depth).map(Value::Set),
            b'>' => self.items(rest, depth).map(Value::Push),
            b'%' => self.pairs(rest, depth),
            _ => Err(Stop::Malformed("an unknown kind of frame")),
        }
    }

    fn line(&mut self) -> Result<&'a [u8], Stop> {
        let rest = &self.bytes[self.at..];
        let end = rest.windows(2).position(|pair| pair == b"\r\n").ok_or(Stop::Incomplete)?;
        self.at += end + 2;
        Ok(&rest[..end])
    }

    fn blob(&mut self, length: &[u8]) -> Result<Vec<u8>, Stop> {
        let length = count(length)?;
        let rest = &self.bytes[self.at..];
        if rest.len() < length + 2 {
            return Err(Stop::Incomplete);
        }
        if &rest[length..length + 2] != b"\r\n" {
            return Err(Stop::Malformed("a bulk string longer than its length"));
        }
        self.at += length + 2;
        Ok(rest[..length].to_vec())
    }

    fn items(&mut self, length: &[u8], depth: usize) -> Result<Vec<Value>, Stop> {
        (0..count(length)?).map(|_| self.value(depth + 1)).collect()
    }

    fn pairs(&mut self, length: &[u8], depth: usize) -> Result<Value, Stop> {
        let pairs: Result<Vec<_>, Stop> =
            (0..count(length)?).map(|_| Ok((self.value(depth + 1)?, self.value(depth + 1)?))).collect();
        pairs.map(Value::Map)
    }
}

fn number(text: &[u8]) -> Result<i64, Stop> {
    let text = std::str::from_utf8(text).map_err(|_| Stop::Malformed("a number that is not text"))?;
    text.parse().map_err(|_| Stop::Malformed("a number that is none"))
}

fn count(text: &[u8]) -> Result<usize, Stop> {
    usize::try_from(number(text)?).map_err(|_| Stop::Malformed("a negative length"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_nulls_stay_apart() {
        for (bytes, expected) in
            [(&b"$-1\r\n"[..], Value::NullBulk), (b"*-1\r\n", Value::NullArray), (b"_\r\n", Value::Null)]
        {
            assert_eq!(decode(bytes), Ok(Some((expected, bytes.len()))));
        }
    }

    #[test]
    fn a_frame_is_incomplete_until_its_last_byte() {
        let bytes = b"*3\r\n$2\r\nab\r\n%1\r\n+k\r\n:-7\r\n>1\r\n_\r\n";
        for end in 0..bytes.len() {
            assert_eq!(decode(&bytes[..end]), Ok(None), "the first {end} bytes");
        }
        let (value, taken) = decode(bytes).unwrap().unwrap();
        assert_eq!((value.to_string().as_str(), taken), (r#"["ab", {+k: :-7}, >[_]]"#, bytes.len()));
    }

    #[test]
    fn what_is_not_resp_is_malformed() {
        for bytes in [&b"x\r\n"[..], b":a\r\n", b"$1\r\nabc\r\n", b"*-2\r\n", b"\r\n"] {
            assert!(decode(bytes).is_err(), "{bytes:?}");
        }
    }
}
