//! Units of records on their way to the log.

use crate::format::{self, FRAME_HEADER_BYTES};

/// A buffer that keeps more than this is given back once it is written.
const KEPT_BYTES: usize = 4 * 1024 * 1024;

/// Units in the order in which they were appended, encoded as they will lie in a frame.
///
/// The bytes of the first frame's header are left free in front, so that a batch is written as it is.
#[derive(Debug)]
pub struct Batch {
    bytes: Vec<u8>,
    records: u64,
    /// How many bytes of the payload are written, and the records that are complete with them.
    written: usize,
    written_records: u64,
}

impl Default for Batch {
    fn default() -> Self {
        Self { bytes: vec![0; FRAME_HEADER_BYTES], records: 0, written: 0, written_records: 0 }
    }
}

impl Batch {
    /// Adds records that belong together: after a crash all of them are there or none. A unit without records is
    /// left out.
    ///
    /// # Panics
    /// If there are not `len` records.
    pub fn unit<'a>(&mut self, len: usize, records: impl IntoIterator<Item = &'a [u8]>) {
        if len == 0 {
            return;
        }
        format::push_number(&mut self.bytes, len as u64);
        let mut left = len;
        for record in records {
            format::push_number(&mut self.bytes, record.len() as u64);
            self.bytes.extend_from_slice(record);
            left = left.checked_sub(1).expect("a unit has as many records as were announced");
        }
        assert_eq!(left, 0, "a unit has as many records as were announced");
        self.records += len as u64;
    }

    /// How many records were added.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Bytes that are not written yet.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.bytes.len() - FRAME_HEADER_BYTES - self.written
    }

    /// The payload that is not written yet.
    pub(crate) fn rest(&self) -> &[u8] {
        self.bytes.get(FRAME_HEADER_BYTES + self.written..).unwrap_or_default()
    }

    /// The next `len` bytes of payload behind room for a frame's header. What lies there has been written before.
    pub(crate) fn frame_mut(&mut self, len: usize) -> &mut [u8] {
        let end = self.written + FRAME_HEADER_BYTES + len;
        self.bytes.get_mut(self.written..end).expect("the frame lies inside the batch")
    }

    /// Records that are not written yet.
    pub(crate) fn waiting_records(&self) -> u64 {
        self.records - self.written_records
    }

    /// Notes that the next `len` bytes of payload are written, and `records` complete with them.
    pub(crate) fn advance(&mut self, len: usize, records: u64) {
        self.written += len;
        self.written_records += records;
        debug_assert!(self.written + FRAME_HEADER_BYTES <= self.bytes.len());
    }

    pub(crate) fn clear(&mut self) {
        if self.bytes.capacity() > KEPT_BYTES {
            self.bytes = vec![0; FRAME_HEADER_BYTES];
        }
        self.bytes.truncate(FRAME_HEADER_BYTES);
        self.records = 0;
        self.written = 0;
        self.written_records = 0;
    }
}
