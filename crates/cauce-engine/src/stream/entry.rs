//! Entries as they are read from a block.

use super::StreamId;
use super::varint::{self, take_string};

/// How many fields the bitmap of an entry that shares the master's names covers.
pub(super) const BITMAP_FIELDS: usize = 64;

/// An entry as it is read: its id and its fields, borrowed from the stream.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    id: StreamId,
    own_names: bool,
    /// The block's bytes from the master's field count on.
    master: &'a [u8],
    /// The entry's own bytes after its id.
    body: &'a [u8],
}

impl<'a> Entry<'a> {
    /// An entry from its part of a block: see the drawing there.
    pub(super) fn new(id: StreamId, own_names: bool, master: &'a [u8], body: &'a [u8]) -> Self {
        Self { id, own_names, master, body }
    }

    /// The entry's id.
    #[must_use]
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// The pairs of field name and value, in the order in which they were added.
    #[must_use]
    pub fn fields(&self) -> EntryFields<'a> {
        let (mut master_offset, mut body_offset) = (0, 0);
        let master_fields = varint::read(self.master, &mut master_offset);
        let (remaining, differs) = if self.own_names {
            (varint::read(self.body, &mut body_offset), 0)
        } else {
            body_offset = bitmap_len(master_fields);
            let mut differs = [0; 8];
            differs[..body_offset].copy_from_slice(&self.body[..body_offset]);
            (master_fields, u64::from_le_bytes(differs))
        };
        EntryFields {
            master: (!self.own_names).then_some(&self.master[master_offset..]),
            body: &self.body[body_offset..],
            differs,
            index: 0,
            remaining: remaining as usize,
        }
    }
}

/// The fields of an [`Entry`].
#[derive(Debug, Clone)]
pub struct EntryFields<'a> {
    /// The master's fields that are still to come, if the entry shares their names.
    master: Option<&'a [u8]>,
    body: &'a [u8],
    differs: u64,
    index: usize,
    remaining: usize,
}

impl<'a> Iterator for EntryFields<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.remaining = self.remaining.checked_sub(1)?;
        let Some(master) = &mut self.master else {
            return Some((take_string(&mut self.body), take_string(&mut self.body)));
        };
        let (name, master_value) = (take_string(master), take_string(master));
        let differs = self.index >= BITMAP_FIELDS || self.differs >> self.index & 1 == 1;
        self.index += 1;
        Some((name, if differs { take_string(&mut self.body) } else { master_value }))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining, Some(self.remaining))
    }
}

impl ExactSizeIterator for EntryFields<'_> {}

/// Bytes of the bitmap of a shared entry when the master has `fields` fields.
pub(super) fn bitmap_len(fields: u64) -> usize {
    (fields as usize).min(BITMAP_FIELDS).div_ceil(8)
}
