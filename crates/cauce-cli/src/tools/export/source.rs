//! The server that is read, and its replies with their nesting.

use std::io::{Read, Write};

use anyhow::{Context, bail};

use crate::client::resp::{Cursor, Token, encode};
use crate::client::{Server, Stream};

const READ_BYTES: usize = 256 * 1024;

/// One reply of RESP2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    Null,
    /// A string of either kind, or a number as text.
    Text(Vec<u8>),
    List(Vec<Reply>),
}

impl Reply {
    /// The elements of a list; none of anything else.
    pub(super) fn list(self) -> Vec<Reply> {
        match self {
            Self::List(items) => items,
            Self::Null | Self::Text(_) => Vec::new(),
        }
    }

    /// A string's bytes; none of anything else.
    pub(super) fn bytes(self) -> Vec<u8> {
        self.optional().unwrap_or_default()
    }

    pub(super) fn optional(self) -> Option<Vec<u8>> {
        if let Self::Text(bytes) = self { Some(bytes) } else { None }
    }

    pub(super) fn number(&self) -> anyhow::Result<i64> {
        let Self::Text(bytes) = self else {
            bail!("the server replied with {self:?} where a number should be")
        };
        let text = String::from_utf8_lossy(bytes);
        text.parse().with_context(|| format!("the server replied with {text:?} where a number should be"))
    }

    /// The value beside a name in a flat list of names and values.
    pub(super) fn field(&self, name: &str) -> Option<&Reply> {
        let Self::List(items) = self else { return None };
        let (pairs, _) = items.as_chunks::<2>();
        pairs.iter().find(|[found, _]| *found == Self::Text(name.into())).map(|[_, value]| value)
    }
}

/// A connection to the server.
#[derive(Debug)]
pub(super) struct Source {
    stream: Stream,
    label: String,
    received: Vec<u8>,
}

impl Source {
    pub(super) fn connect(server: &Server) -> anyhow::Result<Self> {
        Ok(Self { stream: server.connect()?, label: server.label.clone(), received: Vec::new() })
    }

    /// Sends one command and waits for its reply.
    pub(super) fn call(&mut self, arguments: &[&[u8]]) -> anyhow::Result<Reply> {
        let mut replies = self.call_all(&[arguments])?;
        Ok(replies.remove(0))
    }

    /// Runs commands as one transaction: nothing happens between them.
    pub(super) fn call_at_once(&mut self, commands: &[&[&[u8]]]) -> anyhow::Result<Vec<Reply>> {
        let multi: &[&[u8]] = &[b"MULTI"];
        let exec: &[&[u8]] = &[b"EXEC"];
        let all: Vec<_> = std::iter::once(multi).chain(commands.iter().copied()).chain([exec]).collect();
        let replies = self.call_all(&all)?;
        Ok(replies.into_iter().next_back().unwrap_or(Reply::Null).list())
    }

    fn call_all(&mut self, commands: &[&[&[u8]]]) -> anyhow::Result<Vec<Reply>> {
        let mut request = Vec::new();
        commands.iter().for_each(|arguments| encode(&mut request, arguments));
        self.stream.write_all(&request).with_context(|| format!("{} cannot be written to", self.label))?;
        let reply = |arguments: &&[&[u8]]| {
            let name = arguments.first().map(|name| String::from_utf8_lossy(name).into_owned());
            self.reply().with_context(|| format!("{} on {}", name.unwrap_or_default(), self.label))
        };
        commands.iter().map(reply).collect()
    }

    fn reply(&mut self) -> anyhow::Result<Reply> {
        loop {
            let mut cursor = Cursor::new(&self.received);
            if let Some(reply) = value(&mut cursor)? {
                let used = cursor.position();
                self.received.drain(..used);
                return Ok(reply);
            }
            let before = self.received.len();
            // Twice as much each time: what has come is looked through again.
            self.received.resize(before + READ_BYTES.max(before), 0);
            let read = self.stream.read(self.received.get_mut(before..).unwrap_or_default());
            self.received.truncate(before + read.as_ref().copied().unwrap_or(0));
            if read.context("no reply came")? == 0 {
                bail!("the connection was closed");
            }
        }
    }
}

/// Takes one value, if it is whole.
fn value(cursor: &mut Cursor<'_>) -> anyhow::Result<Option<Reply>> {
    let Some(token) = cursor.next_token()? else { return Ok(None) };
    Ok(Some(match token {
        Token::Array(None) | Token::Bulk(None) => Reply::Null,
        Token::Bulk(Some(text)) | Token::Line(text) => Reply::Text(text.to_vec()),
        Token::Array(Some(len)) => {
            let mut items = Vec::new();
            for _ in 0..len {
                let Some(item) = value(cursor)? else { return Ok(None) };
                items.push(item);
            }
            Reply::List(items)
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_keep_their_nesting() {
        let bytes = b"*3\r\n$1\r\na\r\n*2\r\n:7\r\n$-1\r\n*-1\r\n+OK\r\n";
        let text = |text: &str| Reply::Text(text.into());
        let expected = Reply::List(vec![text("a"), Reply::List(vec![text("7"), Reply::Null]), Reply::Null]);
        let mut cursor = Cursor::new(bytes);
        assert_eq!(value(&mut cursor).unwrap(), Some(expected));
        assert_eq!(value(&mut cursor).unwrap(), Some(text("OK")));
        for end in 0..bytes.len() - 5 {
            assert_eq!(value(&mut Cursor::new(&bytes[..end])).unwrap(), None, "the first {end} bytes");
        }
    }

    #[test]
    fn fields_are_found_by_name() {
        let text = |text: &str| Reply::Text(text.into());
        let map = Reply::List(vec![text("length"), text("3"), text("name"), text("length")]);
        assert_eq!(map.field("length").unwrap().number().unwrap(), 3);
        assert_eq!(map.field("groups"), None);
        assert!(map.number().is_err());
    }
}
