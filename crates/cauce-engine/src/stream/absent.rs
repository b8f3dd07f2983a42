//! Blocks that are on disk only: which ones a command needs, and how they come and go.

use std::io;
use std::sync::Arc;

use super::block::Block;
use super::blocks::At;
use super::stored::Sealed;
use super::{BlockPlace, Entries, StreamId, Trim};

/// What a command or a record is going to read of a stream's entries.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Needs<'a> {
    /// The entries from `start` to `end`, oldest first: at most `count`, and of those that fill a reply of `bytes`.
    Forward { start: StreamId, end: StreamId, count: u64, bytes: u64 },
    /// The entries from `end` back to `start`, at most `count`.
    Backward { start: StreamId, end: StreamId, count: u64 },
    /// Single entries, whether they are there or not.
    Ids(&'a [StreamId]),
    /// What trimming touches once `added` more entries are there: where it ends or, if the ids are asked for, all of
    /// it; no more than `limit` entries (0: no limit).
    Trim { trim: Trim, added: u64, ids: bool, limit: u64 },
}

impl Needs<'_> {
    /// The last entry.
    pub(crate) const LAST: Self = Self::Backward { start: StreamId::MIN, end: StreamId::MAX, count: 1 };

    /// The first `count` entries.
    pub(crate) fn first(count: u64) -> Self {
        Self::Forward { start: StreamId::MIN, end: StreamId::MAX, count, bytes: u64::MAX }
    }
}

/// A block of a stream that is in no memory.
#[derive(Debug, Clone)]
pub(crate) struct Absent {
    pub(crate) serial: u64,
    pub(crate) place: BlockPlace,
}

/// How a page of blocks stands after a look at it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    /// Bytes that were let go.
    pub(crate) freed: u64,
    /// Bytes in memory that could be let go.
    pub(crate) left: u64,
}

impl Entries {
    /// The blocks that `needs` names and that are in no memory. Those that are in memory count as used.
    pub(crate) fn absent(&self, needs: &Needs<'_>) -> Vec<Absent> {
        let mut absent = Vec::new();
        if !self.has_absent {
            return absent;
        }
        self.visit(needs, |block| match block.absent() {
            Some(place) => absent.push(Absent { serial: block.serial(), place: place.clone() }),
            None => block.note_use(),
        });
        absent.dedup_by_key(|absent| absent.serial);
        absent
    }

    /// Reads what `needs` names and is in no memory, here and now; says how many bytes that were.
    pub(crate) fn load(&mut self, needs: &Needs<'_>) -> Result<u64, (BlockPlace, io::Error)> {
        let mut loaded = 0;
        for Absent { serial, place } in self.absent(needs) {
            let bytes = place.read().map_err(|error| (place.clone(), error))?;
            self.supply(serial, &place, &bytes);
            loaded += bytes.len() as u64;
        }
        Ok(loaded)
    }

    /// Puts in the bytes of a block that were read; false if they are not missing (any more).
    pub(crate) fn supply(&mut self, serial: u64, place: &BlockPlace, bytes: &Arc<[u8]>) -> bool {
        let Some(at) = self.blocks.find_serial(serial) else { return false };
        self.blocks.warm(at);
        self.blocks.get(at).is_some_and(|block| block.supply(place, bytes))
    }

    /// Visits the blocks that are read: those of which more must be known than their ends and counts.
    fn visit(&self, needs: &Needs<'_>, mut visit: impl FnMut(&Block)) {
        match *needs {
            Needs::Forward { start, end, count, bytes } => {
                self.visit_forward(start, end, count, bytes, visit);
            }
            Needs::Backward { start, end, count } => self.visit_backward(start, end, count, visit),
            Needs::Ids(ids) => {
                for &id in ids {
                    let block = self.blocks.get(self.blocks.find(id));
                    block.filter(|block| block.head_id() <= id && id <= block.last_id()).map(&mut visit);
                }
            }
            Needs::Trim { trim, added, ids, limit } => self.visit_trimmed(trim, added, ids, limit, visit),
        }
    }

    fn visit_forward(
        &self,
        start: StreamId,
        end: StreamId,
        mut count: u64,
        mut bytes: u64,
        mut visit: impl FnMut(&Block),
    ) {
        let mut at = self.blocks.find(start);
        while let Some(block) = self.blocks.get(at).filter(|block| count > 0 && block.first_id() <= end) {
            if block.last_id() >= start {
                visit(block);
                if block.head_id() >= start && block.last_id() <= end {
                    count = count.saturating_sub(block.live());
                    if bytes == 0 {
                        break;
                    }
                    // An entry takes more bytes in a reply than in a block.
                    bytes = bytes.saturating_sub(block.encoded_len() as u64);
                }
            }
            at = self.blocks.next(at);
        }
    }

    fn visit_backward(&self, start: StreamId, end: StreamId, mut count: u64, mut visit: impl FnMut(&Block)) {
        let mut place = self.blocks.find_before(end);
        while let Some(block) = place.and_then(|at| self.blocks.get(at)).filter(|_| count > 0) {
            if block.last_id() < start {
                break;
            }
            visit(block);
            if block.head_id() >= start && block.last_id() <= end {
                count = count.saturating_sub(block.live());
            }
            place = place.and_then(|at| self.blocks.previous(at));
        }
    }

    fn visit_trimmed(&self, trim: Trim, added: u64, ids: bool, limit: u64, mut visit: impl FnMut(&Block)) {
        let mut length = self.len() + added;
        let mut at = At::default();
        let mut seen = 0;
        while let Some(block) = self.blocks.get(at) {
            let (touched, whole) = match trim {
                Trim::MaxLen(max) => (length > max, length.saturating_sub(block.live()) >= max),
                Trim::MinId(min) => (block.head_id() < min, block.last_id() < min),
            };
            if touched && (ids || !whole) {
                visit(block);
            }
            seen += block.live();
            // Entries that a group needs are passed over, and newer ones looked at in their place.
            if !touched || !whole || limit != 0 && seen > limit {
                return;
            }
            length -= block.live();
            at = self.blocks.next(at);
        }
    }

    /// The sealed blocks that are not on disk.
    pub(crate) fn unstored(&self) -> impl Iterator<Item = &Arc<Sealed>> {
        self.blocks.warm_pages().flat_map(|page| page.iter().filter_map(Block::unstored))
    }

    /// Where all the blocks are that are on disk.
    pub(crate) fn places(&self) -> impl Iterator<Item = &BlockPlace> {
        self.blocks.iter().filter_map(Block::place)
    }

    /// Whether any of the entries may be on disk only.
    pub(crate) fn may_be_absent(&self) -> bool {
        self.has_absent
    }

    /// Whether any page at or behind `from` may have blocks in memory.
    pub(crate) fn is_warm(&self, from: usize) -> bool {
        self.blocks.next_warm_page(from).is_some()
    }

    /// Goes on from a page to one that has blocks in memory, lets those go that were not used lately, and says where
    /// to go on; `None` at the end.
    pub(crate) fn sweep(&mut self, from: usize) -> Option<(usize, Swept)> {
        let page = self.blocks.next_warm_page(from)?;
        let blocks = self.blocks.page(page)?;
        let mut swept = Swept::default();
        let mut victims = Vec::new();
        let (mut cold, all) = (0, blocks.len());
        for (index, block) in blocks.iter().enumerate() {
            cold += usize::from(block.absent().is_some());
            if block.is_evictable() {
                swept.left += block.encoded_len() as u64;
                if !block.take_use() {
                    victims.push(index);
                }
            }
        }
        if !victims.is_empty() {
            self.has_absent = true;
            let blocks = self.blocks.page_mut(page)?;
            for &index in &victims {
                let len = blocks.get_mut(index).and_then(Block::evict).unwrap_or_default() as u64;
                swept.freed += len;
                swept.left -= len;
            }
        }
        if cold + victims.len() == all {
            self.blocks.chill(page);
        }
        Some((page + 1, swept))
    }

    /// Notes for the blocks of a page where they are on disk now; `None` at the end. Says how many were moved.
    pub(crate) fn relocate(
        &mut self,
        page: usize,
        moved: &impl Fn(&BlockPlace) -> Option<BlockPlace>,
    ) -> Option<usize> {
        let blocks = self.blocks.page(page)?;
        let found = blocks.iter().enumerate();
        let places: Vec<(usize, BlockPlace)> =
            found.filter_map(|(index, block)| Some((index, moved(block.place()?)?))).collect();
        let count = places.len();
        if count > 0 {
            let blocks = self.blocks.page_mut(page)?;
            for (index, place) in places {
                blocks.get_mut(index)?.relocate(place);
            }
        }
        Some(count)
    }
}
