//! The entries of a stream: a queue of packed blocks, and the numbers that describe it.

mod range;

pub use self::range::{Range, RangeReverse};
use super::block::{Block, BlockLimits, FieldPairs, Position};
use super::blocks::{At, BlockQueue};
use super::{BlockFiles, Entry, StreamId};
use crate::records::{BlockPart, ReplayError};

/// The numbers kept of a stream's entries. Groups reckon their progress with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Entries in the stream now.
    pub length: u64,
    /// The id of the first entry in the stream; [`StreamId::MIN`] when it has none.
    pub first_id: StreamId,
    /// The id that the next entry must be greater than: that of the last entry ever added, or set by XSETID.
    pub last_id: StreamId,
    /// The greatest id ever deleted by XDEL. Trimming does not count.
    pub max_deleted_id: StreamId,
    /// Entries ever added. Never falls, but when set by XSETID.
    pub entries_added: u64,
}

/// How much of the beginning of a stream is trimmed away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trim {
    /// Leave at most so many entries, the newest.
    MaxLen(u64),
    /// Leave the entries with at least this id.
    MinId(StreamId),
}

/// The entries of one stream, in order of their ids.
///
/// Entries are added at the end, and leave from the front (trimming) or from anywhere (deletion). A block is
/// freed when its last entry leaves.
#[derive(Debug, Clone, Default)]
pub struct Entries {
    /// In ascending order. Only the last may be unsealed; none is without entries.
    pub(super) blocks: BlockQueue,
    counters: Counters,
    next_serial: u64,
    /// Some block may be in no memory.
    pub(super) has_absent: bool,
}

/// A place between two entries, to go on reading from. Stays good while entries are added and deleted around it,
/// until its block is freed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    block_serial: u64,
    position: Position,
}

impl Entries {
    /// Adds an entry. `id` must be greater than [`Counters::last_id`].
    pub fn append<'f>(&mut self, id: StreamId, fields: impl FieldPairs<'f>, limits: BlockLimits) {
        assert!(id > self.counters.last_id, "{id} is not greater than {}", self.counters.last_id);
        match self.blocks.back_mut() {
            Some(tail) if tail.accepts(id) => tail.append(id, fields),
            // XSETID may have moved the last id below that of a deleted entry that the tail still holds: the
            // tail does not accept the id then either.
            tail => {
                let capacity = tail.map_or(0, |tail| tail.encoded_len().min(limits.bytes()));
                self.blocks.push_back(Block::new(self.next_serial, id, fields, capacity));
                self.next_serial += 1;
            }
        }
        self.blocks.back_mut().expect("an entry was added to the last block").seal_if_full(limits);
        if self.counters.length == 0 {
            self.counters.first_id = id;
        }
        self.counters.length += 1;
        self.counters.entries_added += 1;
        self.counters.last_id = id;
    }

    /// The blocks in order, as a snapshot holds them, some at a time.
    pub(crate) fn block_parts(&self) -> impl Iterator<Item = Vec<BlockPart<'_>>> {
        let pages = (0..self.blocks.page_count()).filter_map(|page| self.blocks.page(page));
        pages.map(|page| page.iter().map(Block::part).collect())
    }

    /// Adds the next block that a snapshot holds.
    pub(crate) fn restore_block(
        &mut self,
        part: &BlockPart<'_>,
        files: Option<&dyn BlockFiles>,
    ) -> Result<(), ReplayError> {
        let block = Block::restore(self.next_serial, part, files)?;
        self.has_absent |= block.absent().is_some();
        if self.blocks.back().is_some_and(|before| before.last_id() >= block.first_id()) {
            return Err(ReplayError::Contradiction("the blocks are out of order"));
        }
        self.next_serial += 1;
        self.counters.length += block.live();
        self.blocks.push_back(block);
        Ok(())
    }

    /// Sets the numbers that a snapshot holds, behind its last block.
    pub(crate) fn restore_counters(
        &mut self,
        last_id: StreamId,
        max_deleted_id: StreamId,
        entries_added: u64,
    ) -> Result<(), ReplayError> {
        if !self.accepts_last_id(last_id, Some(entries_added), None) {
            return Err(ReplayError::Contradiction("the numbers are not those of the entries"));
        }
        self.counters = Counters { last_id, max_deleted_id, entries_added, ..self.counters };
        self.refresh_first_id();
        Ok(())
    }

    /// Deletes an entry, and says whether it was there.
    pub fn delete(&mut self, id: StreamId) -> bool {
        let Some((block, position)) = self.find(id) else { return false };
        self.delete_at(block, position);
        self.counters.max_deleted_id = self.counters.max_deleted_id.max(id);
        self.refresh_first_id();
        true
    }

    /// Trims exactly, and says how many entries left.
    pub fn trim(&mut self, trim: Trim) -> u64 {
        let mut trimmed = self.trim_blocks(trim, 0);
        while let Some(block) = self.blocks.front() {
            let gone = match trim {
                Trim::MaxLen(max) => self.counters.length > max,
                Trim::MinId(min) => block.head_id() < min,
            };
            if !gone {
                break;
            }
            let head = block.head();
            self.delete_at(At::default(), head);
            trimmed += 1;
        }
        self.refresh_first_id();
        trimmed
    }

    /// Trims whole blocks only, and at most `limit` entries (0: no limit), and says how many entries left.
    pub fn trim_approximately(&mut self, trim: Trim, limit: u64) -> u64 {
        let trimmed = self.trim_blocks(trim, limit);
        self.refresh_first_id();
        trimmed
    }

    /// The entries that trimming would take, oldest first, but for those that are `needed`: these are passed
    /// over, and newer ones are looked at in their place. `blocks_only` and `limit` as in
    /// [`Entries::trim_approximately`].
    pub fn trim_candidates(
        &self,
        trim: Trim,
        blocks_only: bool,
        limit: u64,
        needed: impl Fn(StreamId) -> bool,
    ) -> Vec<StreamId> {
        let mut ids = Vec::new();
        let mut at = At::default();
        while let Some(block) = self.blocks.get(at) {
            let length = self.counters.length - ids.len() as u64;
            let (touched, whole) = match trim {
                Trim::MaxLen(max) => (length > max, length.saturating_sub(block.live()) >= max),
                Trim::MinId(min) => (block.head_id() < min, block.last_id() < min),
            };
            if !touched {
                break;
            }
            if blocks_only && (!whole || limit != 0 && ids.len() as u64 + block.live() > limit) {
                break;
            }
            let in_block = Range { entries: self, block: at, position: block.head(), end: block.last_id() };
            for entry in in_block {
                let id = entry.id();
                let gone = match trim {
                    Trim::MaxLen(max) => self.counters.length - ids.len() as u64 > max,
                    Trim::MinId(min) => id < min,
                };
                if !gone {
                    return ids;
                }
                if !needed(id) {
                    ids.push(id);
                }
            }
            at = self.blocks.next(at);
        }
        ids
    }

    /// Takes out one entry as trimming does: it does not count as deleted. Says whether it was there.
    pub fn trim_one(&mut self, id: StreamId) -> bool {
        let Some((block, position)) = self.find(id) else { return false };
        self.delete_at(block, position);
        self.refresh_first_id();
        true
    }

    /// Sets what XSETID sets, which must be [acceptable](Self::accepts_last_id).
    pub fn set_last_id(
        &mut self,
        last_id: StreamId,
        entries_added: Option<u64>,
        max_deleted_id: Option<StreamId>,
    ) {
        assert!(self.accepts_last_id(last_id, entries_added, max_deleted_id));
        self.counters.last_id = last_id;
        self.counters.entries_added = entries_added.unwrap_or(self.counters.entries_added);
        self.counters.max_deleted_id = max_deleted_id.unwrap_or(self.counters.max_deleted_id);
    }

    /// Whether the numbers could be those of a stream with these entries: no entry and no deleted id is behind
    /// the last id, and no fewer were added than there are.
    #[must_use]
    pub fn accepts_last_id(
        &self,
        last_id: StreamId,
        entries_added: Option<u64>,
        max_deleted_id: Option<StreamId>,
    ) -> bool {
        let ends_before = |tail: &Block| tail.last_id() <= last_id;
        (self.blocks.back().is_none_or(ends_before) || self.last().is_none_or(|last| last.id() <= last_id))
            && entries_added.is_none_or(|added| added >= self.counters.length)
            && max_deleted_id.is_none_or(|deleted| deleted <= last_id)
    }

    /// The numbers kept of the entries.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.counters.length
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counters.length == 0
    }

    /// How many bytes of memory the entries take, about.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.blocks.iter().map(|block| size_of::<Block>() + block.encoded_len()).sum()
    }

    /// How many blocks hold the entries.
    #[must_use]
    pub fn block_count(&self) -> usize {
        self.blocks.len()
    }

    /// Whether an entry with this id is there.
    #[must_use]
    pub fn contains(&self, id: StreamId) -> bool {
        self.find(id).is_some()
    }

    /// The entry with this id.
    #[must_use]
    pub fn entry(&self, id: StreamId) -> Option<Entry<'_>> {
        let (block, position) = self.find(id)?;
        self.blocks.get(block)?.entry_at(position).map(|(entry, _)| entry)
    }

    /// The first entry.
    #[must_use]
    pub fn first(&self) -> Option<Entry<'_>> {
        let block = self.blocks.front()?;
        block.entry_at(block.head()).map(|(entry, _)| entry)
    }

    /// The last entry.
    #[must_use]
    pub fn last(&self) -> Option<Entry<'_>> {
        self.range_reverse(StreamId::MIN, StreamId::MAX).next()
    }

    /// The entries from `start` to `end`, both included, oldest first. Allocates nothing.
    #[must_use]
    pub fn range(&self, start: StreamId, end: StreamId) -> Range<'_> {
        let (block, position) = self.seek(start);
        Range { entries: self, block, position, end }
    }

    /// All entries from a place on, oldest first. The place must be known still (see [`Self::is_behind`]).
    #[must_use]
    pub fn range_from(&self, place: Place) -> Range<'_> {
        let (block, position) = self.at(place).expect("the place is current");
        Range { entries: self, block, position, end: StreamId::MAX }
    }

    /// The place behind the entry with this id, whether it is there or not; `None` in a stream without entries.
    #[must_use]
    pub fn place_behind(&self, id: StreamId) -> Option<Place> {
        let (block, position) = match id.next() {
            Some(next) => self.seek(next),
            None => (self.blocks.last()?, self.blocks.back()?.end()),
        };
        Some(Place { block_serial: self.blocks.get(block)?.serial(), position })
    }

    /// Whether a place is still known, and nothing from there on is as old as `id`. Reads no block that has nothing behind `id`: nobody brought it in.
    #[must_use]
    pub fn is_behind(&self, place: Place, id: StreamId) -> bool {
        let Some(at) = self.blocks.find_serial(place.block_serial) else { return false };
        let has_more = |block: &&Block| place.position.index() < block.end().index();
        let first = self.blocks.get(at).filter(has_more).or_else(|| self.blocks.get(self.blocks.next(at)));
        match first {
            None => true,
            Some(block) if block.last_id() <= id => false,
            Some(_) => self.range_from(place).next().is_none_or(|entry| entry.id() > id),
        }
    }

    /// How many entries there are from a place on; stops counting at `limit`.
    #[must_use]
    pub fn count_from(&self, place: Place, limit: u64) -> u64 {
        let (block, position) = self.at(place).expect("the place is current");
        self.count_blocks(block, position, StreamId::MAX, limit)
    }

    /// The entries from `start` to `end`, both included, newest first.
    #[must_use]
    pub fn range_reverse(&self, start: StreamId, end: StreamId) -> RangeReverse<'_> {
        let block = self.blocks.find_before(end);
        RangeReverse::new(self, block, start, end)
    }

    /// How many entries there are from `start` to `end`, both included; stops counting at `limit`. Blocks that
    /// lie between the two are not walked.
    #[must_use]
    pub fn count_range(&self, start: StreamId, end: StreamId, limit: u64) -> u64 {
        let (block, position) = self.seek(start);
        self.count_blocks(block, position, end, limit)
    }

    fn count_blocks(&self, mut at: At, mut position: Position, end: StreamId, limit: u64) -> u64 {
        let mut count = 0;
        while count < limit
            && let Some(block) = self.blocks.get(at)
        {
            if block.first_id() > end {
                break;
            }
            count += block.count_until(position, end, limit - count);
            at = self.blocks.next(at);
            position = self.head_of(at);
        }
        count
    }

    /// Removes blocks from the front as long as all their entries are to be trimmed and the sum stays within
    /// `limit` (0: no limit).
    fn trim_blocks(&mut self, trim: Trim, limit: u64) -> u64 {
        let mut trimmed = 0;
        while let Some(block) = self.blocks.front() {
            let live = block.live();
            let whole = match trim {
                Trim::MaxLen(max) => self.counters.length - live >= max && self.counters.length > max,
                Trim::MinId(min) => block.last_id() < min,
            };
            if !whole || (limit != 0 && trimmed + live > limit) {
                break;
            }
            self.blocks.remove(At::default());
            self.counters.length -= live;
            trimmed += live;
        }
        trimmed
    }

    fn delete_at(&mut self, at: At, position: Position) {
        let block = self.blocks.get_mut(at).expect("the block was just found");
        block.delete(position);
        self.counters.length -= 1;
        if block.live() == 0 {
            self.blocks.remove(at);
        }
    }

    fn refresh_first_id(&mut self) {
        self.counters.first_id = self.blocks.front().map_or(StreamId::MIN, Block::head_id);
        assert_eq!(self.counters.length == 0, self.blocks.is_empty(), "no block is without entries");
    }

    fn find(&self, id: StreamId) -> Option<(At, Position)> {
        let at = self.blocks.find(id);
        // What a block cannot hold is not looked for in it: it need not be in memory.
        let block = self.blocks.get(at).filter(|block| (block.head_id()..=block.last_id()).contains(&id))?;
        let position = block.seek(id);
        (block.id_at(position) == Some(id)).then_some((at, position))
    }

    /// Where the first entry with an id of at least `id` is; maybe the end of the block before it.
    fn seek(&self, id: StreamId) -> (At, Position) {
        let at = self.blocks.find(id);
        (at, self.blocks.get(at).map_or(Position::START, |block| block.seek(id)))
    }

    /// Where a place is now.
    fn at(&self, place: Place) -> Option<(At, Position)> {
        let at = self.blocks.find_serial(place.block_serial)?;
        Some((at, self.blocks.get(at)?.skip_deleted(place.position)))
    }

    fn head_of(&self, at: At) -> Position {
        self.blocks.get(at).map_or(Position::START, Block::head)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const LIMITS: BlockLimits = BlockLimits { max_entries: 4, max_bytes: 4096 };

    fn id(ms: u64) -> StreamId {
        StreamId::new(ms, 0)
    }

    fn add(entries: &mut Entries, ms: u64) {
        let value = ms.to_string();
        entries.append(id(ms), [(&b"f"[..], value.as_bytes())].into_iter(), LIMITS);
    }

    fn stream_of(range: impl IntoIterator<Item = u64>) -> Entries {
        let mut entries = Entries::default();
        range.into_iter().for_each(|ms| add(&mut entries, ms));
        entries
    }

    fn ids(entries: &Entries) -> Vec<u64> {
        entries.range(StreamId::MIN, StreamId::MAX).map(|entry| entry.id().ms).collect()
    }

    #[test]
    fn approximate_trimming_takes_whole_blocks_within_the_limit() {
        let check = |trim, limit, expected: std::ops::RangeInclusive<u64>| {
            let mut entries = stream_of(1..=18);
            let trimmed = entries.trim_approximately(trim, limit);
            assert_eq!(ids(&entries), expected.collect::<Vec<_>>(), "{trim:?} limit {limit}");
            assert_eq!(trimmed, 18 - entries.len());
        };
        check(Trim::MaxLen(10), 0, 9..=18);
        check(Trim::MaxLen(11), 0, 5..=18);
        check(Trim::MaxLen(10), 7, 5..=18);
        check(Trim::MaxLen(10), 3, 1..=18);
        check(Trim::MaxLen(18), 0, 1..=18);
        check(Trim::MinId(id(9)), 0, 9..=18);
        check(Trim::MinId(id(8)), 0, 5..=18);
        let mut entries = stream_of(1..=18);
        assert_eq!(entries.trim_approximately(Trim::MaxLen(0), 0), 18);
        assert_eq!(
            entries.counters(),
            Counters { last_id: id(18), entries_added: 18, ..Counters::default() }
        );
    }

    #[test]
    fn trimming_leaves_no_tombstone_and_deleting_does() {
        let mut entries = stream_of(1..=10);
        assert_eq!(entries.trim(Trim::MinId(id(4))), 3);
        assert_eq!(entries.counters().max_deleted_id, StreamId::MIN);
        assert_eq!(entries.counters().first_id, id(4));
        assert!(entries.delete(id(4)));
        assert!(!entries.delete(id(4)));
        assert_eq!(entries.counters().max_deleted_id, id(4));
        assert_eq!(entries.counters().first_id, id(5));
    }

    #[test]
    fn a_last_id_set_back_below_a_deleted_entry_is_built_on() {
        let mut entries = stream_of(1..=3);
        entries.delete(id(3));
        entries.set_last_id(id(3), None, Some(StreamId::MIN));
        entries.set_last_id(id(2), None, None);
        add(&mut entries, 3);
        assert_eq!(ids(&entries), [1, 2, 3]);
        assert_eq!(entries.count_range(StreamId::MIN, StreamId::MAX, u64::MAX), 3);
        assert!(entries.delete(id(3)));
        assert_eq!(ids(&entries), [1, 2]);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Add(u64),
        Delete(u64),
        MaxLen(u64),
        MinId(u64),
        SetLastId(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            8 => (1..4_u64).prop_map(Step::Add),
            4 => (0..80_u64).prop_map(Step::Delete),
            1 => (0..20_u64).prop_map(Step::MaxLen),
            1 => (0..80_u64).prop_map(Step::MinId),
            1 => (0..80_u64).prop_map(Step::SetLastId),
        ];
        prop::collection::vec(step, 0..80)
    }

    fn apply(step: &Step, entries: &mut Entries, model: &mut BTreeMap<u64, String>) {
        let last = entries.counters().last_id.ms;
        match *step {
            Step::Add(gap) => {
                add(entries, last + gap);
                model.insert(last + gap, (last + gap).to_string());
            }
            Step::Delete(ms) => assert_eq!(entries.delete(id(ms)), model.remove(&ms).is_some()),
            Step::MaxLen(max) => {
                let gone = model.len().saturating_sub(max as usize);
                (0..gone).for_each(|_| drop(model.pop_first()));
                assert_eq!(entries.trim(Trim::MaxLen(max)), gone as u64);
            }
            Step::MinId(min) => {
                let left = model.split_off(&min);
                assert_eq!(entries.trim(Trim::MinId(id(min))), model.len() as u64);
                *model = left;
            }
            Step::SetLastId(ms) => {
                let top = model.last_key_value().map_or(0, |(&top, _)| top);
                entries.set_last_id(id(ms.max(top)), None, Some(StreamId::MIN));
            }
        }
    }

    fn assert_same(entries: &Entries, model: &BTreeMap<u64, String>, start: u64, end: u64) {
        let read = |entry: Entry<'_>| {
            let mut fields = entry.fields();
            let (name, value) = fields.next().expect("one field");
            assert_eq!((name, fields.next()), (&b"f"[..], None));
            (entry.id().ms, String::from_utf8_lossy(value).into_owned())
        };
        let expected: Vec<_> = if start <= end {
            model.range(start..=end).map(|(&ms, value)| (ms, value.clone())).collect()
        } else {
            Vec::new()
        };
        assert_eq!(entries.range(id(start), id(end)).map(read).collect::<Vec<_>>(), expected);
        assert_eq!(entries.count_range(id(start), id(end), u64::MAX), expected.len() as u64);
        assert_eq!(entries.count_range(id(start), id(end), 3), expected.len().min(3) as u64);
        let mut reversed: Vec<_> = entries.range_reverse(id(start), id(end)).map(read).collect();
        reversed.reverse();
        assert_eq!(reversed, expected);
        assert_eq!(entries.contains(id(start)), model.contains_key(&start));
        assert_eq!(entries.entry(id(start)).map(read).map(|(_, value)| value), model.get(&start).cloned());
        assert_eq!(entries.len(), model.len() as u64);
        assert_eq!(entries.counters().first_id.ms, model.first_key_value().map_or(0, |(&ms, _)| ms));
        assert_eq!(entries.first().map(read), model.first_key_value().map(|(&ms, v)| (ms, v.clone())));
        assert_eq!(entries.last().map(read), model.last_key_value().map(|(&ms, v)| (ms, v.clone())));
    }

    proptest! {
        #[test]
        fn entries_behave_as_an_ordered_map(steps in steps(), bounds in prop::collection::vec((0..90_u64, 0..90_u64), 1..4)) {
            let (mut entries, mut model) = (Entries::default(), BTreeMap::new());
            for step in &steps {
                apply(step, &mut entries, &mut model);
                for &(start, end) in &bounds {
                    assert_same(&entries, &model, start, end);
                }
            }
            assert_same(&entries, &model, 0, 1000);
        }
    }
}
