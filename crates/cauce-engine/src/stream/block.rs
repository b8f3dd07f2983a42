//! A packed run of entries.
//!
//! The first entry of a block is its *master*: the others are written as what differs from it. Entries of a
//! stream mostly have the same field names and often some of the same values, so most of them cost little more
//! than the bytes that are new.
//!
//! # Encoding
//!
//! The bytes of a block say all there is to know about its entries but which of them were deleted. All integers
//! that are not drawn with a size are varints.
//!
//! ```text
//! block   := version (1 byte, = 1)  master  entry*
//! master  := ms (8 bytes, little endian)  seq (8 bytes, little endian)  n  (string string){n}    name, value
//! string  := length  bytes
//! entry   := length of the rest  time  seq  (shared | own)
//! time    := (entry.ms - master.ms) << 1 | (1 if own, 0 if shared)
//! seq     := entry.seq - master.seq if entry.ms = master.ms, else entry.seq
//! shared  := differs (one bit per field of the master, at most 64, in whole bytes, low bits first)
//!            string*                                   the values whose bit is set, and all after the 64th
//! own     := n  (string string){n}                     name, value: the names are not the master's
//! ```
//!
//! The master is there twice: as the pattern, and as the first entry, where it costs four bytes. Its pattern
//! stays when the entry itself is deleted.

mod push;

use std::sync::Arc;

use self::push::push_fields;
use super::entry::Entry;
use super::stored::{Bytes, Sealed, Used};
use super::varint::{self, read_string};
use super::{BlockFiles, BlockPlace, StreamId};
use crate::records::{BlockBytes, BlockPart, ReplayError, StoredBytes};

const VERSION: u8 = 1;
/// Where the master's field count is.
const MASTER_FIELDS: usize = 17;
/// No block grows beyond this, however the limits are set: offsets within it stay below 2^32.
const BYTES_MAX: usize = 1 << 30;
/// Milliseconds from the master to the last entry: leaves room for the flag bit.
const SPAN_MS_MAX: u64 = 1 << 62;

/// When a block is full. Redis: `stream-node-max-entries` and `stream-node-max-bytes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockLimits {
    /// Entries per block, deleted ones included; 0 for no limit.
    pub max_entries: u32,
    /// Encoded bytes per block; 0 for no limit but the block's own of 1 GiB. The entry that crosses it is in.
    pub max_bytes: u32,
}

impl Default for BlockLimits {
    fn default() -> Self {
        Self { max_entries: 100, max_bytes: 4096 }
    }
}

impl BlockLimits {
    fn entries(self) -> u32 {
        if self.max_entries == 0 { u32::MAX } else { self.max_entries }
    }

    pub(super) fn bytes(self) -> usize {
        if self.max_bytes == 0 { BYTES_MAX } else { (self.max_bytes as usize).min(BYTES_MAX) }
    }
}

/// The fields of an entry to be added: pairs of name and value, walked more than once.
pub trait FieldPairs<'f>: Iterator<Item = (&'f [u8], &'f [u8])> + Clone {}

impl<'f, I: Iterator<Item = (&'f [u8], &'f [u8])> + Clone> FieldPairs<'f> for I {}

/// A run of entries in ascending order of ids. Grows at its end until it is sealed; from then on only deletions
/// change it, and those are kept beside the bytes.
#[derive(Debug, Clone)]
pub(super) struct Block {
    bytes: Bytes,
    /// One bit per entry, set when it is deleted; words that were never needed are not there.
    deleted: Vec<u64>,
    /// The id of the master entry.
    first_id: StreamId,
    /// The id of the last entry, deleted or not.
    last_id: StreamId,
    /// The first entry that is not deleted. Past the end when none is left.
    head: Position,
    /// Its id.
    head_id: StreamId,
    /// Tells the block from all others of its stream; later blocks have greater ones.
    serial: u64,
    /// Entries, deleted ones included.
    entries: u32,
    /// Entries that are not deleted.
    live: u32,
    /// Since the last look for blocks that need not be in memory.
    used: Used,
}

/// A place in a block where an entry begins, or its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    offset: u32,
    index: u32,
}

/// What the beginning of an entry says.
struct Head {
    id: StreamId,
    own_names: bool,
    /// Where its fields begin.
    body: usize,
    /// Where the next entry begins.
    end: usize,
}

impl Block {
    /// A block that begins with this entry. `capacity` is a guess at the bytes it will hold.
    pub(super) fn new<'f>(serial: u64, id: StreamId, fields: impl FieldPairs<'f>, capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity);
        bytes.push(VERSION);
        bytes.extend_from_slice(&id.ms.to_le_bytes());
        bytes.extend_from_slice(&id.seq.to_le_bytes());
        assert_eq!(bytes.len(), MASTER_FIELDS);
        push_fields(&mut bytes, fields.clone().count() as u64, fields.clone());
        let head = Position { offset: offset(bytes.len()), index: 0 };
        let mut block = Self {
            bytes: Bytes::Open(bytes),
            deleted: Vec::new(),
            first_id: id,
            last_id: id,
            head,
            head_id: id,
            serial,
            entries: 0,
            live: 0,
            used: Used::default(),
        };
        block.push(id, fields);
        block
    }

    /// The block as a snapshot holds it.
    pub(super) fn part(&self) -> BlockPart<'_> {
        let bytes = match self.bytes.place() {
            Some(place) => BlockBytes::Stored(StoredBytes {
                file: place.file.number(),
                spot: place.spot,
                first_id: self.first_id,
                head_id: self.head_id,
                head: (self.head.offset, self.head.index),
            }),
            None if self.bytes.is_sealed() => BlockBytes::Sealed(self.bytes.get()),
            None => BlockBytes::Open(self.bytes.get()),
        };
        BlockPart { bytes, deleted: self.deleted.clone(), last_id: self.last_id, entries: self.entries }
    }

    /// The block that gave a part; an error if no block can have given it. What the bytes say of single entries
    /// is not looked at: whoever keeps them keeps a checksum.
    pub(super) fn restore(
        serial: u64,
        part: &BlockPart<'_>,
        files: Option<&dyn BlockFiles>,
    ) -> Result<Self, ReplayError> {
        let deleted: u32 = part.deleted.iter().map(|word| word.count_ones()).sum();
        let live = part.entries.checked_sub(deleted).filter(|&live| live > 0);
        let live = live.ok_or(ReplayError::Malformed)?;
        let (bytes, first_id, head) = match &part.bytes {
            BlockBytes::Open(bytes) => (Bytes::Open(bytes.to_vec()), read_first_id(bytes)?, None),
            BlockBytes::Sealed(bytes) => (Bytes::sealed(bytes), read_first_id(bytes)?, None),
            BlockBytes::Stored(stored) => {
                let file = files.and_then(|files| files.find(stored.file));
                let file = file.ok_or(ReplayError::Contradiction("a file of blocks is missing"))?;
                let place = BlockPlace { file, spot: stored.spot };
                let (offset, index) = stored.head;
                let head = (Position { offset, index }, stored.head_id);
                (Bytes::Stored { place, loaded: std::sync::OnceLock::new() }, stored.first_id, Some(head))
            }
        };
        let mut block = Self {
            bytes,
            deleted: part.deleted.clone(),
            first_id,
            last_id: part.last_id,
            head: Position::START,
            head_id: first_id,
            serial,
            entries: part.entries,
            live,
            used: Used::default(),
        };
        match head {
            Some((head, head_id)) => (block.head, block.head_id) = (head, head_id),
            None => {
                block.head = block.skip_deleted(block.behind_master());
                block.head_id = block.id_at(block.head).ok_or(ReplayError::Malformed)?;
            }
        }
        Ok(block)
    }

    /// Where the first entry begins.
    fn behind_master(&self) -> Position {
        let bytes = self.bytes.get();
        let mut at = MASTER_FIELDS;
        for _ in 0..varint::read(bytes, &mut at).saturating_mul(2) {
            read_string(bytes, &mut at);
        }
        Position { offset: offset(at), index: 0 }
    }

    /// A sealed block that is not on disk.
    pub(super) fn unstored(&self) -> Option<&Arc<Sealed>> {
        self.bytes.unstored()
    }

    /// Where the block is on disk, if it is.
    pub(super) fn place(&self) -> Option<&BlockPlace> {
        self.bytes.place()
    }

    /// Where to read the block, if it is in no memory.
    pub(super) fn absent(&self) -> Option<&BlockPlace> {
        self.bytes.absent()
    }

    /// Notes that a command reads the block.
    pub(super) fn note_use(&self) {
        self.used.note();
    }

    /// Puts bytes in that were read from disk; false if they are not missing here.
    pub(super) fn supply(&self, from: &BlockPlace, bytes: &Arc<[u8]>) -> bool {
        self.used.note();
        self.bytes.supply(from, bytes)
    }

    /// Whether the block takes memory that could be let go.
    pub(super) fn is_evictable(&self) -> bool {
        self.bytes.place().is_some() && self.bytes.absent().is_none()
    }

    /// Whether a command has read the block since this was last asked.
    pub(super) fn take_use(&self) -> bool {
        self.used.take()
    }

    /// Lets the memory go of a block that is on disk, and says how many bytes that were.
    pub(super) fn evict(&mut self) -> Option<usize> {
        self.bytes.evict()
    }

    /// Notes that the block is elsewhere on disk now.
    pub(super) fn relocate(&mut self, to: BlockPlace) {
        self.bytes.relocate(to);
    }

    /// Adds an entry at the end. The block must [accept](Self::accepts) it.
    pub(super) fn append<'f>(&mut self, id: StreamId, fields: impl FieldPairs<'f>) {
        assert!(self.accepts(id), "{id} does not belong at the end of this block");
        self.push(id, fields);
        self.last_id = id;
    }

    /// Seals the block if it is full under `limits`.
    pub(super) fn seal_if_full(&mut self, limits: BlockLimits) {
        if self.entries >= limits.entries() || self.encoded_len() >= limits.bytes() {
            self.bytes.seal();
        }
    }

    /// Marks the entry at `position` as deleted. It must not be already.
    pub(super) fn delete(&mut self, position: Position) {
        let (word, bit) = bit_of(position.index);
        if self.deleted.len() <= word {
            self.deleted.resize(word + 1, 0);
        }
        assert_eq!(self.deleted[word] & bit, 0, "an entry is deleted once");
        self.deleted[word] |= bit;
        self.live -= 1;
        if position == self.head {
            self.head = self.skip_deleted(self.head);
            self.head_id = self.id_at(self.head).unwrap_or(self.last_id);
        }
        assert_eq!(
            self.live == 0,
            self.head == self.end(),
            "a block without entries has its head at its end"
        );
    }

    /// Whether an entry with this id can be added at the end.
    pub(super) fn accepts(&self, id: StreamId) -> bool {
        !self.bytes.is_sealed() && id > self.last_id && id.ms - self.first_id.ms < SPAN_MS_MAX
    }

    pub(super) fn serial(&self) -> u64 {
        self.serial
    }

    pub(super) fn first_id(&self) -> StreamId {
        self.first_id
    }

    pub(super) fn last_id(&self) -> StreamId {
        self.last_id
    }

    /// How many entries are not deleted.
    pub(super) fn live(&self) -> u64 {
        u64::from(self.live)
    }

    /// How many bytes the entries take, deleted ones included.
    pub(super) fn encoded_len(&self) -> usize {
        self.bytes.len()
    }

    /// The place of the first entry that is not deleted.
    pub(super) fn head(&self) -> Position {
        self.head
    }

    /// The id of the first entry that is not deleted.
    pub(super) fn head_id(&self) -> StreamId {
        self.head_id
    }

    /// The place of the first entry with an id of at least `id` that is not deleted, or the end.
    pub(super) fn seek(&self, id: StreamId) -> Position {
        if id > self.last_id {
            return self.end();
        }
        if id <= self.head_id {
            return self.head;
        }
        let Some(span_ms) = id.ms.checked_sub(self.first_id.ms) else { return self.head };
        let seq = if span_ms == 0 { id.seq.saturating_sub(self.first_id.seq) } else { id.seq };
        let bytes = self.bytes.get();
        let mut position = self.head;
        while (position.offset as usize) < bytes.len() {
            // Compared as they are written: nothing is worked out for the entries that are passed over.
            let mut at = position.offset as usize;
            let len = varint::read(bytes, &mut at) as usize;
            let end = at + len;
            let time = varint::read(bytes, &mut at) >> 1;
            if time > span_ms || time == span_ms && varint::read(bytes, &mut at) >= seq {
                break;
            }
            position = Position { offset: offset(end), index: position.index + 1 };
        }
        self.skip_deleted(position)
    }

    /// The entry at `position`, which is not deleted, and the place of the next one that is not.
    pub(super) fn entry_at(&self, position: Position) -> Option<(Entry<'_>, Position)> {
        if position.offset as usize >= self.encoded_len() {
            return None;
        }
        let head = self.read_head(position);
        debug_assert!(!self.is_deleted(position.index), "positions are given of entries that are there");
        let bytes = self.bytes.get();
        let master = bytes.get(MASTER_FIELDS..).expect("a block has a master");
        let entry = Entry::new(head.id, head.own_names, master, &bytes[head.body..head.end]);
        Some((entry, self.skip_deleted(position.following(&head))))
    }

    /// The id of the entry at `position`.
    pub(super) fn id_at(&self, position: Position) -> Option<StreamId> {
        ((position.offset as usize) < self.encoded_len()).then(|| self.read_head(position).id)
    }

    /// Puts the places of all entries that are not deleted into `positions`, in order.
    pub(super) fn index(&self, positions: &mut Vec<Position>) {
        positions.clear();
        let mut position = self.head;
        while (position.offset as usize) < self.encoded_len() {
            positions.push(position);
            let head = self.read_head(position);
            position = self.skip_deleted(position.following(&head));
        }
        assert_eq!(positions.len(), self.live as usize);
    }

    /// How many entries from `position` on have an id of at most `end`; stops counting at `limit`.
    pub(super) fn count_until(&self, mut position: Position, end: StreamId, limit: u64) -> u64 {
        if position == self.head && self.last_id <= end {
            return self.live().min(limit);
        }
        let mut count = 0;
        while count < limit && (position.offset as usize) < self.encoded_len() {
            let head = self.read_head(position);
            if head.id > end {
                break;
            }
            count += 1;
            position = self.skip_deleted(position.following(&head));
        }
        count
    }

    #[inline]
    fn read_head(&self, position: Position) -> Head {
        let (bytes, mut offset) = (self.bytes.get(), position.offset as usize);
        let len = varint::read(bytes, &mut offset) as usize;
        let end = offset + len;
        let time = varint::read(bytes, &mut offset);
        let seq = varint::read(bytes, &mut offset);
        let span_ms = time >> 1;
        let id = if span_ms == 0 {
            StreamId::new(self.first_id.ms, self.first_id.seq + seq)
        } else {
            StreamId::new(self.first_id.ms + span_ms, seq)
        };
        Head { id, own_names: time & 1 == 1, body: offset, end }
    }

    /// The first entry at or behind `position` that is not deleted, or the end.
    #[inline]
    pub(super) fn skip_deleted(&self, mut position: Position) -> Position {
        if self.deleted.is_empty() {
            return position;
        }
        while (position.offset as usize) < self.encoded_len() && self.is_deleted(position.index) {
            let mut offset = position.offset as usize;
            let len = varint::read(self.bytes.get(), &mut offset) as usize;
            position = Position { offset: self::offset(offset + len), index: position.index + 1 };
        }
        position
    }

    fn is_deleted(&self, index: u32) -> bool {
        let (word, bit) = bit_of(index);
        self.deleted.get(word).is_some_and(|deleted| deleted & bit != 0)
    }

    /// The place behind the last entry, where the next one will be.
    pub(super) fn end(&self) -> Position {
        Position { offset: offset(self.encoded_len()), index: self.entries }
    }
}

impl Position {
    /// How many entries of the block are before it, deleted ones too.
    pub(super) const fn index(self) -> u32 {
        self.index
    }

    /// Stands for the place in a block that there is not.
    pub(super) const START: Self = Self { offset: 0, index: 0 };

    fn following(self, head: &Head) -> Self {
        Self { offset: offset(head.end), index: self.index + 1 }
    }
}

/// The id of the master; an error if the bytes cannot be those of a block.
fn read_first_id(bytes: &[u8]) -> Result<StreamId, ReplayError> {
    let master = bytes.get(1..MASTER_FIELDS).ok_or(ReplayError::Malformed)?;
    if bytes.first() != Some(&VERSION) || bytes.len() > u32::MAX as usize {
        return Err(ReplayError::Malformed);
    }
    let (ms, seq) = master.split_at(8);
    let number = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes);
    let (Ok(ms), Ok(seq)) = (number(ms), number(seq)) else { return Err(ReplayError::Malformed) };
    Ok(StreamId::new(ms, seq))
}

fn offset(at: usize) -> u32 {
    u32::try_from(at)
        .expect("a block is smaller than 4 GiB: it is sealed at 1 GiB and an entry is at most 1 GiB")
}

fn bit_of(index: u32) -> (usize, u64) {
    ((index / 64) as usize, 1 << (index % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Fields = Vec<(Vec<u8>, Vec<u8>)>;

    fn pairs(fields: &[(Vec<u8>, Vec<u8>)]) -> impl FieldPairs<'_> {
        fields.iter().map(|(name, value)| (&name[..], &value[..]))
    }

    fn text(fields: &[(&str, &str)]) -> Fields {
        fields.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
    }

    fn block_of(entries: &[(StreamId, Fields)]) -> Block {
        let mut block = Block::new(0, entries[0].0, pairs(&entries[0].1), 0);
        for (id, fields) in &entries[1..] {
            block.append(*id, pairs(fields));
        }
        block
    }

    fn read_all(block: &Block) -> Vec<(StreamId, Fields)> {
        let (mut read, mut position) = (Vec::new(), block.head());
        while let Some((entry, next)) = block.entry_at(position) {
            assert_eq!(entry.fields().len(), entry.fields().count());
            let fields = entry.fields().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
            read.push((entry.id(), fields));
            position = next;
        }
        read
    }

    fn check(entries: &[(StreamId, Fields)]) {
        let block = block_of(entries);
        assert_eq!(read_all(&block), entries);
        assert_eq!((block.first_id(), block.last_id()), (entries[0].0, entries[entries.len() - 1].0));
        assert_eq!(block.live(), entries.len() as u64);
    }

    #[test]
    fn entries_of_any_shape_are_read_as_they_were_added() {
        let id = StreamId::new;
        let same = text(&[("action", "made"), ("key", "1")]);
        check(&[(id(5, 5), same.clone())]);
        check(&[
            (id(5, 5), same.clone()),
            (id(5, 6), text(&[("action", "made"), ("key", "2")])),
            (id(5, 900), text(&[("action", "made")])),
            (id(6, 1), text(&[("action", "made"), ("key", "1"), ("more", "x")])),
            (id(7, u64::MAX), text(&[("key", "1"), ("action", "made")])),
            (id(5 + (1 << 62) - 1, 0), text(&[("action", ""), ("", "1")])),
        ]);
        check(&[(StreamId::new(0, 1), text(&[("", "")])), (StreamId::new(0, u64::MAX), text(&[("", "")]))]);
    }

    #[test]
    fn fields_beyond_the_bitmap_are_kept_whole() {
        let wide = |changed: usize| -> Fields {
            (0..130).map(|n| (vec![n as u8], vec![if n == changed { 1 } else { 0 }; 3])).collect()
        };
        check(&[
            (StreamId::new(1, 0), wide(200)),
            (StreamId::new(2, 0), wide(63)),
            (StreamId::new(3, 0), wide(64)),
        ]);
    }

    #[test]
    fn an_entry_like_the_master_costs_little_more_than_what_is_new() {
        let fields = |n: usize| {
            text(&[
                ("action", "order.created"),
                ("key_1", &format!("{n:08}")),
                ("key_2", "b"),
                ("key_3", "c"),
            ])
        };
        let mut block = Block::new(0, StreamId::new(1_700_000_000_000, 0), pairs(&fields(0)), 0);
        let before = block.encoded_len();
        for n in 1..100 {
            block.append(StreamId::new(1_700_000_000_000 + n as u64, 0), pairs(&fields(n)));
        }
        let per_entry = (block.encoded_len() - before).div_ceil(99);
        assert!(per_entry <= 14, "{per_entry} bytes for 8 new ones");
    }

    #[test]
    fn a_block_is_sealed_by_either_limit_and_then_takes_no_more() {
        let fields = text(&[("name", "0123456789")]);
        let sealed_at = |max_entries, max_bytes| {
            let mut block = Block::new(0, StreamId::new(1, 0), pairs(&fields), 0);
            (2..1000)
                .find(|&ms| {
                    block.seal_if_full(BlockLimits { max_entries, max_bytes });
                    let open = block.accepts(StreamId::new(ms, 0));
                    if open {
                        block.append(StreamId::new(ms, 0), pairs(&fields));
                    }
                    !open
                })
                .map(|_| block.entries)
        };
        assert_eq!(sealed_at(10, 0), Some(10));
        assert_eq!(sealed_at(1, 1), Some(1));
        assert_eq!(sealed_at(0, 0), None);
        // The pattern takes 34 bytes, each entry 4 (one more where the milliseconds need two bytes).
        assert_eq!(sealed_at(0, 74), Some(10));
    }

    #[test]
    fn ids_too_far_from_the_master_do_not_fit() {
        let block = Block::new(0, StreamId::new(10, 5), pairs(&text(&[("f", "v")])), 0);
        assert!(block.accepts(StreamId::new(10, 6)));
        assert!(!block.accepts(StreamId::new(10, 5)));
        assert!(!block.accepts(StreamId::new(9, 6)));
        assert!(block.accepts(StreamId::new(9 + (1 << 62), 0)));
        assert!(!block.accepts(StreamId::new(10 + (1 << 62), 0)));
    }

    #[test]
    fn deleted_entries_are_passed_over_everywhere() {
        let entries: Vec<_> = (1..=200).map(|ms| (StreamId::new(ms, 0), text(&[("f", "v")]))).collect();
        let mut block = block_of(&entries);
        let mut left = entries;
        // From the front, the back, the middle; across words of the map.
        for ms in [1, 2, 200, 64, 65, 66, 128, 129, 3] {
            let id = StreamId::new(ms, 0);
            let position = block.seek(id);
            assert_eq!(block.id_at(position), Some(id));
            block.delete(position);
            left.retain(|(other, _)| *other != id);
            assert_eq!(read_all(&block), left);
            assert_eq!(block.live(), left.len() as u64);
            assert_ne!(block.id_at(block.seek(id)), Some(id));
        }
        let mut positions = Vec::new();
        block.index(&mut positions);
        let ids: Vec<_> = positions.iter().filter_map(|&position| block.id_at(position)).collect();
        assert_eq!(ids, left.iter().map(|(id, _)| *id).collect::<Vec<_>>());
        let count = |start, end, limit| {
            block.count_until(block.seek(StreamId::new(start, 0)), StreamId::new(end, 0), limit)
        };
        assert_eq!(count(0, 500, 500), left.len() as u64);
        assert_eq!(count(0, 500, 7), 7);
        assert_eq!(count(60, 70, 500), 8);
        assert_eq!(count(300, 500, 500), 0);
    }
}
