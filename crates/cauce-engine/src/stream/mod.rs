//! Streams: packed blocks of entries, consumer groups and their pending entries.

/// A stream.
#[derive(Debug, Default)]
pub struct Stream {}

impl Stream {
    /// Appends the stream's state in canonical form.
    pub(crate) fn dump(&self, _bytes: &mut Vec<u8>) {}
}
