//! Frames out of a segment.

use std::io;

use crate::disk::Segment;
use crate::format::{self, EPOCH_AT, FRAME_ALIGNMENT, FRAME_HEADER_BYTES, FrameHeader};

/// How much is read at a time.
const WINDOW_BYTES: usize = 1024 * 1024;

/// Reads a segment through a window, so that memory does not grow with the segment.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    segment: &'a Segment,
    window: Vec<u8>,
    window_at: u64,
}

impl<'a> Reader<'a> {
    pub(super) fn new(segment: &'a Segment) -> Self {
        Self { segment, window: Vec::new(), window_at: 0 }
    }

    /// The frame at an offset, header and payload; none if no whole frame of this segment's epoch begins there.
    pub(super) fn frame(&mut self, at: u64) -> io::Result<Option<(FrameHeader, &[u8])>> {
        let size = self.segment.file.size();
        if at + FRAME_HEADER_BYTES as u64 > size {
            return Ok(None);
        }
        let header = self.bytes(at, FRAME_HEADER_BYTES)?.first_chunk().and_then(FrameHeader::decode);
        let epoch = self.segment.epoch;
        let Some(header) = header.filter(|header| header.epoch == epoch && at + header.total_bytes() <= size)
        else {
            return Ok(None);
        };
        // The length may be anything in a damaged header, but it lies inside the file.
        let frame = self.bytes(at, FRAME_HEADER_BYTES + header.len as usize)?;
        if !format::is_whole(frame) {
            return Ok(None);
        }
        Ok(Some((header, frame.get(FRAME_HEADER_BYTES..).unwrap_or_default())))
    }

    /// Offsets from `from` on where a frame of this epoch begins or began, told by the epoch in its header. `each`
    /// gets the header of those that are whole.
    pub(super) fn leftovers(
        &mut self,
        from: u64,
        each: &mut dyn FnMut(Option<FrameHeader>),
    ) -> io::Result<Vec<u64>> {
        let size = self.segment.file.size();
        let epoch = self.segment.epoch.to_le_bytes();
        let mut found = Vec::new();
        let mut chunk = Vec::new();
        // The epoch of a frame that begins at a multiple of 8 lies at one too, so none lies across two windows.
        let mut at = from + EPOCH_AT as u64;
        while at + (epoch.len() as u64) <= size {
            let len = usize::try_from(size - at).unwrap_or(WINDOW_BYTES).min(WINDOW_BYTES);
            chunk.resize(len, 0);
            self.segment.file.read_at(at, &mut chunk)?;
            let places = memchr::memmem::find_iter(&chunk, &epoch).map(|place| at + place as u64);
            found.extend(
                places.filter(|place| place % FRAME_ALIGNMENT == 0).map(|place| place - EPOCH_AT as u64),
            );
            at += len as u64;
        }
        for &place in &found {
            each(self.frame(place)?.map(|(header, _)| header));
        }
        Ok(found)
    }

    /// Writes a part of the segment once more as it is.
    pub(super) fn rewrite(&mut self, from: u64, to: u64) -> io::Result<()> {
        let mut at = from;
        while at < to {
            let len = usize::try_from(to - at).unwrap_or(WINDOW_BYTES).min(WINDOW_BYTES);
            let file = &self.segment.file;
            let bytes = self.bytes(at, len)?;
            file.write_at(at, bytes)?;
            at += len as u64;
        }
        Ok(())
    }

    fn bytes(&mut self, at: u64, len: usize) -> io::Result<&[u8]> {
        let inside = at >= self.window_at && at + len as u64 <= self.window_at + self.window.len() as u64;
        if !inside {
            let rest = usize::try_from(self.segment.file.size() - at).unwrap_or(usize::MAX);
            self.window.resize(len.max(WINDOW_BYTES).min(rest), 0);
            self.window_at = at;
            self.segment.file.read_at(at, &mut self.window)?;
        }
        let start = usize::try_from(at - self.window_at).unwrap_or(usize::MAX);
        self.window.get(start..start + len).ok_or(io::ErrorKind::UnexpectedEof.into())
    }
}
