//! The entries of an XREADGROUP reply, and the XACK that follows from them.

use crate::client::resp::{Cursor, ReplyError, Token, array_header, bulk};

/// What the scenarios need of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// Its id.
    pub(super) id: &'a [u8],
    /// The value of its last field.
    pub(super) last_value: &'a [u8],
}

/// Why a reply has no entries to give.
#[derive(Debug, thiserror::Error)]
pub(super) enum EntriesError {
    /// The server answered with an error, or not in RESP2.
    #[error(transparent)]
    Reply(#[from] ReplyError),
    /// A reply of another shape.
    #[error("XREADGROUP replied with something that is not a stream's entries")]
    Shape,
}

/// Reads an XREADGROUP reply of one stream (null means no entries); `None` if its end has not come yet.
pub(super) fn read_entries<'a>(cursor: &mut Cursor<'a>) -> Result<Option<Vec<Entry<'a>>>, EntriesError> {
    // [[key, [[id, [field, value, ...]], ...]]]
    let Some(streams) = array(cursor)? else { return Ok(None) };
    if streams == 0 {
        return Ok(Some(Vec::new()));
    }
    let (Some(_), Some(_)) = (array(cursor)?, cursor.next_token()?) else { return Ok(None) };
    let Some(count) = array(cursor)? else { return Ok(None) };
    let mut entries = Vec::with_capacity(count.min(1024));
    for _ in 0..count {
        let (Some(_), Some(id), Some(fields)) = (array(cursor)?, cursor.next_token()?, array(cursor)?) else {
            return Ok(None);
        };
        let Token::Bulk(Some(id)) = id else { return Err(EntriesError::Shape) };
        let mut last_value = b"".as_slice();
        for _ in 0..fields {
            match cursor.next_token()? {
                None => return Ok(None),
                Some(Token::Bulk(Some(value))) => last_value = value,
                Some(_) => return Err(EntriesError::Shape),
            }
        }
        entries.push(Entry { id, last_value });
    }
    Ok(Some(entries))
}

/// Appends the XACK of `entries`.
pub(super) fn acknowledge(out: &mut Vec<u8>, key: &[u8], group: &[u8], entries: &[Entry<'_>]) {
    array_header(out, 3 + entries.len());
    for argument in [b"XACK", key, group] {
        bulk(out, argument);
    }
    for entry in entries {
        bulk(out, entry.id);
    }
}

/// An array's length, 0 for null; `None` if its header has not come yet.
fn array(cursor: &mut Cursor<'_>) -> Result<Option<usize>, EntriesError> {
    match cursor.next_token()? {
        None => Ok(None),
        Some(Token::Array(items)) => Ok(Some(items.unwrap_or(0))),
        Some(_) => Err(EntriesError::Shape),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLY: &[u8] = b"*1\r\n*2\r\n$1\r\nk\r\n*2\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n\
                           *2\r\n$3\r\n2-0\r\n*2\r\n$1\r\nf\r\n$1\r\nw\r\n";

    #[test]
    fn entries_wait_for_their_last_byte() {
        for cut in 0..REPLY.len() {
            assert_eq!(read_entries(&mut Cursor::new(&REPLY[..cut])).unwrap(), None, "cut at {cut}");
        }
        let expected = vec![Entry { id: b"1-0", last_value: b"v" }, Entry { id: b"2-0", last_value: b"w" }];
        assert_eq!(read_entries(&mut Cursor::new(REPLY)).unwrap(), Some(expected));
    }

    #[test]
    fn null_is_no_entries_and_an_error_is_an_error() {
        assert_eq!(read_entries(&mut Cursor::new(b"*-1\r\n")).unwrap(), Some(Vec::new()));
        let refused = read_entries(&mut Cursor::new(b"-NOGROUP none\r\n")).unwrap_err();
        assert!(refused.to_string().contains("NOGROUP none"));
        assert!(read_entries(&mut Cursor::new(b":1\r\n")).is_err());
    }

    #[test]
    fn all_ids_are_acknowledged_at_once() {
        let mut out = Vec::new();
        let entries = read_entries(&mut Cursor::new(REPLY)).unwrap().unwrap();
        acknowledge(&mut out, b"k", b"g", &entries);
        assert_eq!(out, b"*5\r\n$4\r\nXACK\r\n$1\r\nk\r\n$1\r\ng\r\n$3\r\n1-0\r\n$3\r\n2-0\r\n");
    }
}
