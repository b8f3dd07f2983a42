//! One file of the log.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;

use crate::format::{FRAME_HEADER_BYTES, FRAMES_FROM, SegmentHeader};
use crate::storage::{Storage, StorageFile};

/// Files that are not part of the log: being made ready, or given up.
pub(crate) const SPARE_PREFIX: &str = "spare-";
const PREFIX: &str = "log-";
/// The smallest segment that there is.
const SEGMENT_BYTES_MIN: u64 = 16 * 1024;

pub(crate) fn segment_name(number: u64) -> String {
    format!("{PREFIX}{number:012}")
}

pub(crate) fn segment_number(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.parse().ok()
}

pub(super) fn spare_name(number: u64) -> String {
    format!("{SPARE_PREFIX}{number:012}")
}

/// A segment: ready for use, written on, or full.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) epoch: u64,
    /// Number of its first record; 0 before it is begun.
    pub(crate) first: u64,
    /// The last record that it holds any part of.
    pub(crate) last: u64,
    /// Last record that was known to be on disk when it was begun.
    pub(crate) durable: u64,
    /// It begins inside a unit.
    pub(crate) continues: bool,
    /// Where the next frame goes.
    pub(crate) offset: u64,
    pub(crate) file: Arc<dyn StorageFile>,
}

impl Segment {
    pub(crate) fn new(header: SegmentHeader, file: Arc<dyn StorageFile>) -> Self {
        let SegmentHeader { number, epoch, first, durable, continues } = header;
        Self { number, epoch, first, last: 0, durable, continues, offset: FRAMES_FROM, file }
    }

    /// Makes the file `spare` ready as segment `number`. Its old content, if any, is told apart by the new epoch.
    pub(super) fn prepare(
        storage: &dyn Storage,
        spare: &str,
        file: Arc<dyn StorageFile>,
        number: u64,
        epoch: u64,
    ) -> io::Result<Self> {
        let header = SegmentHeader { number, epoch, first: 0, durable: 0, continues: false };
        file.write_at(0, &header.encode())?;
        file.sync()?;
        storage.rename(spare, &segment_name(number))?;
        storage.sync_directory()?;
        Ok(Self::new(header, file))
    }

    /// Begins a segment that is ready: it is part of the log from now on.
    pub(super) fn begin(&mut self, first: u64, durable: u64, continues: bool) -> io::Result<()> {
        debug_assert!(self.first == 0 && first > durable, "a segment begins once, with a record to come");
        (self.first, self.durable, self.continues) = (first, durable, continues);
        self.file.write_at(0, &self.header().encode())?;
        self.file.sync()
    }

    /// Begins a log anew with record `first`: a small segment without a record, on disk when this returns.
    pub(crate) fn begin_anew(storage: &dyn Storage, number: u64, first: u64) -> io::Result<()> {
        let spare = spare_name(number);
        let file = storage.create(&spare, SEGMENT_BYTES_MIN)?;
        let epoch = RandomState::new().hash_one(number) | 1;
        Self::prepare(storage, &spare, file, number, epoch)?.begin(first, first - 1, false)
    }

    pub(crate) fn header(&self) -> SegmentHeader {
        let &Self { number, epoch, first, durable, continues, .. } = self;
        SegmentHeader { number, epoch, first, durable, continues }
    }

    pub(crate) fn name(&self) -> String {
        segment_name(self.number)
    }

    /// The largest payload that the next frame can have.
    pub(super) fn room(&self) -> usize {
        let room = self.file.size().saturating_sub(self.offset + FRAME_HEADER_BYTES as u64);
        usize::try_from(room).unwrap_or(usize::MAX)
    }

    pub(super) fn is_fresh(&self) -> bool {
        self.offset == FRAMES_FROM
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_numbers() {
        assert_eq!(segment_number(&segment_name(42)), Some(42));
        assert_eq!(segment_number("log-x"), None);
        assert_eq!(segment_number("LOCK"), None);
    }
}
