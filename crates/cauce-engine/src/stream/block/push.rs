//! How entries are written into a block.

use super::super::entry::{BITMAP_FIELDS, bitmap_len};
use super::super::varint::{self, push_string, read_string, string_len};
use super::{Block, FieldPairs, MASTER_FIELDS, StreamId};

/// How an entry's fields are best written, and in how many bytes.
enum Plan {
    Shared { differs: u64, len: usize },
    Own { fields: u64, len: usize },
}

impl Block {
    pub(super) fn push<'f>(&mut self, id: StreamId, fields: impl FieldPairs<'f>) {
        let plan = self.plan(fields.clone());
        let start = self.encoded_len();
        let (own, body_len) = match plan {
            Plan::Shared { len, .. } => (0, len),
            Plan::Own { len, .. } => (1, len),
        };
        let time = (id.ms - self.first_id.ms) << 1 | own;
        let seq = if id.ms == self.first_id.ms { id.seq - self.first_id.seq } else { id.seq };
        let len = varint::len(time) + varint::len(seq) + body_len;
        let whole = varint::len(len as u64) + len;
        let bytes = self.bytes.open();
        bytes.reserve(whole);
        varint::push(bytes, len as u64);
        varint::push(bytes, time);
        varint::push(bytes, seq);
        match plan {
            Plan::Shared { differs, .. } => push_differing(bytes, differs, fields),
            Plan::Own { fields: count, .. } => push_fields(bytes, count, fields),
        }
        assert_eq!(self.encoded_len(), start + whole, "an entry is as long as it says");
        self.entries += 1;
        self.live += 1;
    }

    /// Compares the fields with the master's.
    fn plan<'f>(&self, fields: impl FieldPairs<'f>) -> Plan {
        self.plan_shared(fields.clone()).unwrap_or_else(|| {
            let (count, len) = fields.fold((0, 0), |(count, len), (name, value)| {
                (count + 1, len + string_len(name) + string_len(value))
            });
            Plan::Own { fields: count, len: varint::len(count) + len }
        })
    }

    /// A plan that leaves out the names, if they are the master's.
    fn plan_shared<'f>(&self, mut fields: impl FieldPairs<'f>) -> Option<Plan> {
        let (bytes, mut offset) = (self.bytes.get(), MASTER_FIELDS);
        let count = varint::read(bytes, &mut offset);
        let (mut differs, mut len) = (0, bitmap_len(count));
        for index in 0..count as usize {
            let (name, value) = fields.next()?;
            if name != read_string(bytes, &mut offset) {
                return None;
            }
            let same = value == read_string(bytes, &mut offset);
            if index >= BITMAP_FIELDS {
                len += string_len(value);
            } else if !same {
                differs |= 1 << index;
                len += string_len(value);
            }
        }
        fields.next().is_none().then_some(Plan::Shared { differs, len })
    }
}

/// Appends the values that differ from the master's, which `bytes` begins with.
fn push_differing<'f>(bytes: &mut Vec<u8>, differs: u64, fields: impl FieldPairs<'f>) {
    let count = varint::read(bytes, &mut { MASTER_FIELDS });
    bytes.extend_from_slice(&differs.to_le_bytes()[..bitmap_len(count)]);
    for (index, (_, value)) in fields.enumerate() {
        if index >= BITMAP_FIELDS || differs >> index & 1 == 1 {
            push_string(bytes, value);
        }
    }
}

/// Appends fields whole.
pub(super) fn push_fields<'f>(bytes: &mut Vec<u8>, count: u64, fields: impl FieldPairs<'f>) {
    varint::push(bytes, count);
    for (name, value) in fields {
        push_string(bytes, name);
        push_string(bytes, value);
    }
}
