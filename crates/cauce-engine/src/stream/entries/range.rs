//! Walking over entries, in both directions.

use super::super::block::{Block, Position};
use super::super::blocks::At;
use super::super::{Entry, StreamId};
use super::{Entries, Place};

/// Entries oldest first: see [`Entries::range`].
#[derive(Debug, Clone)]
pub struct Range<'a> {
    pub(super) entries: &'a Entries,
    pub(super) block: At,
    pub(super) position: Position,
    pub(super) end: StreamId,
}

impl Range<'_> {
    /// The place of the next entry; `None` if there never was one.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        // Behind the last entry it is the end of the last block, where the next entry may come.
        let (block, position) = match self.entries.blocks.get(self.block) {
            Some(block) => (block, self.position),
            None => self.entries.blocks.back().map(|block| (block, block.end()))?,
        };
        Some(Place { block_serial: block.serial(), position })
    }
}

impl<'a> Iterator for Range<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            let block = self.entries.blocks.get(self.block)?;
            if let Some((entry, next)) = block.entry_at(self.position) {
                self.position = next;
                return (entry.id() <= self.end).then_some(entry);
            }
            self.block = self.entries.blocks.next(self.block);
            // A block behind the end need not be in memory.
            let next = self.entries.blocks.get(self.block)?;
            self.position = next.head();
            if next.first_id() > self.end {
                return None;
            }
        }
    }
}

/// Entries newest first: see [`Entries::range_reverse`].
#[derive(Debug, Clone)]
pub struct RangeReverse<'a> {
    entries: &'a Entries,
    /// The block that `positions` is of.
    block: Option<At>,
    /// The entries of the current block that are still to come: blocks can only be walked forward.
    positions: Vec<Position>,
    start: StreamId,
}

impl<'a> RangeReverse<'a> {
    /// From the last entry up to `end`, which is in the block `block` if it is there at all.
    pub(super) fn new(entries: &'a Entries, block: Option<At>, start: StreamId, end: StreamId) -> Self {
        let mut range = Self { entries, block, positions: Vec::new(), start };
        range.load_block();
        if let Some(block) = range.block() {
            while range.positions.last().is_some_and(|&position| block.id_at(position) > Some(end)) {
                range.positions.pop();
            }
        }
        range
    }

    fn block(&self) -> Option<&'a Block> {
        self.entries.blocks.get(self.block?)
    }

    fn load_block(&mut self) {
        // A block before the start need not be in memory.
        match self.block().filter(|block| block.last_id() >= self.start) {
            Some(block) => block.index(&mut self.positions),
            None => self.block = None,
        }
    }
}

impl<'a> Iterator for RangeReverse<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        while let Some(block) = self.block() {
            if let Some(position) = self.positions.pop() {
                let (entry, _) = block.entry_at(position)?;
                return (entry.id() >= self.start).then_some(entry);
            }
            self.block = self.entries.blocks.previous(self.block?);
            self.load_block();
        }
        None
    }
}
