//! The blocks of a stream in order, in pages that clones share until one of them changes a page.

use std::collections::VecDeque;
use std::sync::Arc;

use super::StreamId;
use super::block::Block;

/// Blocks per page at most: what the first change after a clone copies.
pub(super) const PAGE_BLOCKS: usize = 128;

/// Blocks in ascending order of ids and serials. Blocks come at the end, and leave from anywhere.
#[derive(Debug, Clone, Default)]
pub(super) struct BlockQueue {
    /// None is empty.
    pages: VecDeque<PageRef>,
    len: usize,
}

/// A page, and what it begins with: finding one stays in the queue's own memory.
#[derive(Debug, Clone)]
struct PageRef {
    first_id: StreamId,
    first_serial: u64,
    /// All of its blocks are known to be in no memory.
    cold: bool,
    blocks: Arc<VecDeque<Block>>,
}

/// Where a block is in a queue that has not been changed since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct At {
    page: usize,
    index: usize,
}

impl PageRef {
    fn blocks_mut(&mut self) -> &mut VecDeque<Block> {
        self.cold = false;
        Arc::make_mut(&mut self.blocks)
    }
}

impl At {
    /// Where the first block of a page is.
    pub(super) fn page(page: usize) -> Self {
        Self { page, index: 0 }
    }
}

impl BlockQueue {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn page_count(&self) -> usize {
        self.pages.len()
    }

    /// The blocks of a page.
    pub(super) fn page(&self, page: usize) -> Option<&VecDeque<Block>> {
        self.pages.get(page).map(|page| &*page.blocks)
    }

    /// The same, to be changed; not in number or order.
    pub(super) fn page_mut(&mut self, page: usize) -> Option<&mut VecDeque<Block>> {
        self.pages.get_mut(page).map(PageRef::blocks_mut)
    }

    /// The pages that may have blocks in memory.
    pub(super) fn warm_pages(&self) -> impl Iterator<Item = &VecDeque<Block>> {
        self.pages.iter().filter(|page| !page.cold).map(|page| &*page.blocks)
    }

    /// The first page at or behind `from` that may have blocks in memory.
    pub(super) fn next_warm_page(&self, from: usize) -> Option<usize> {
        let pages = self.pages.range(from.min(self.pages.len())..);
        pages.zip(from..).find(|(page, _)| !page.cold).map(|(_, index)| index)
    }

    /// Notes that none of a page's blocks is in memory.
    pub(super) fn chill(&mut self, page: usize) {
        if let Some(page) = self.pages.get_mut(page) {
            page.cold = true;
        }
    }

    /// Notes that a block comes into memory.
    pub(super) fn warm(&mut self, at: At) {
        if let Some(page) = self.pages.get_mut(at.page) {
            page.cold = false;
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Block> {
        self.pages.iter().flat_map(|page| page.blocks.iter())
    }

    #[inline]
    pub(super) fn get(&self, at: At) -> Option<&Block> {
        self.pages.get(at.page)?.blocks.get(at.index)
    }

    pub(super) fn get_mut(&mut self, at: At) -> Option<&mut Block> {
        self.page_mut(at.page)?.get_mut(at.index)
    }

    pub(super) fn front(&self) -> Option<&Block> {
        self.pages.front()?.blocks.front()
    }

    pub(super) fn back(&self) -> Option<&Block> {
        self.pages.back()?.blocks.back()
    }

    pub(super) fn back_mut(&mut self) -> Option<&mut Block> {
        self.pages.back_mut()?.blocks_mut().back_mut()
    }

    /// Where the last block is.
    pub(super) fn last(&self) -> Option<At> {
        let page = self.pages.len().checked_sub(1)?;
        Some(At { page, index: self.pages.back()?.blocks.len() - 1 })
    }

    /// Where the next block is, or would be.
    #[inline]
    pub(super) fn next(&self, at: At) -> At {
        let more = self.pages.get(at.page).is_some_and(|page| at.index + 1 < page.blocks.len());
        if more { At { index: at.index + 1, ..at } } else { At::page(at.page + 1) }
    }

    /// Where the block before is.
    pub(super) fn previous(&self, at: At) -> Option<At> {
        if let Some(index) = at.index.checked_sub(1) {
            return Some(At { index, ..at });
        }
        let page = at.page.checked_sub(1)?;
        Some(At { page, index: self.pages.get(page)?.blocks.len() - 1 })
    }

    /// Adds a block at the end.
    pub(super) fn push_back(&mut self, block: Block) {
        self.len += 1;
        match self.pages.back_mut() {
            Some(page) if page.blocks.len() < PAGE_BLOCKS => {
                page.blocks_mut().push_back(block);
            }
            _ => {
                let (first_id, first_serial) = (block.first_id(), block.serial());
                let blocks = Arc::new(VecDeque::from([block]));
                self.pages.push_back(PageRef { first_id, first_serial, cold: false, blocks });
            }
        }
    }

    /// Takes a block out.
    pub(super) fn remove(&mut self, at: At) -> Option<Block> {
        let page = self.pages.get_mut(at.page)?;
        let blocks = page.blocks_mut();
        let block = blocks.remove(at.index)?;
        self.len -= 1;
        match blocks.front() {
            Some(first) => (page.first_id, page.first_serial) = (first.first_id(), first.serial()),
            None => drop(self.pages.remove(at.page)),
        }
        Some(block)
    }

    /// Where the last block is whose first id is not greater than `id`, else the first one.
    pub(super) fn find(&self, id: StreamId) -> At {
        match (self.back(), self.last()) {
            // Readers that keep up read from the last block.
            (Some(tail), Some(last)) if tail.first_id() <= id => last,
            _ => self.find_before(id).unwrap_or_default(),
        }
    }

    /// Where the last block is whose first id is not greater than `id`; `None` if all begin behind it.
    pub(super) fn find_before(&self, id: StreamId) -> Option<At> {
        let page = self.pages.partition_point(|page| page.first_id <= id).checked_sub(1)?;
        let blocks = &self.pages.get(page)?.blocks;
        let index = blocks.partition_point(|block| block.first_id() <= id).checked_sub(1)?;
        Some(At { page, index })
    }

    /// Where the block with this serial is.
    pub(super) fn find_serial(&self, serial: u64) -> Option<At> {
        let last = self.pages.len().checked_sub(1)?;
        let page = match self.pages.back() {
            Some(tail) if tail.first_serial <= serial => last,
            _ => self.pages.partition_point(|page| page.first_serial <= serial).checked_sub(1)?,
        };
        let PageRef { first_serial, blocks, .. } = self.pages.get(page)?;
        // Serials are mostly without gaps.
        let guess = usize::try_from(serial - first_serial).unwrap_or(usize::MAX);
        let index = match blocks.get(guess) {
            Some(block) if block.serial() == serial => guess,
            _ => blocks.binary_search_by_key(&serial, Block::serial).ok()?,
        };
        Some(At { page, index })
    }
}
