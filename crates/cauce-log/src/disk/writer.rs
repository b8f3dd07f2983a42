//! Writing: batches into frames, frames into segments.

use super::segment::Segment;
use super::{Core, Failure, SyncPolicy};
use crate::batch::Batch;
use crate::format::{self, Content, FRAME_HEADER_BYTES, FRAMES_FROM, FrameHeader};

/// Who holds it writes.
#[derive(Debug)]
pub(super) struct Writer {
    /// Where frames go; none until the first record.
    segment: Option<Segment>,
    /// What is being written.
    pub(super) batch: Batch,
    /// Number of the first record that is not written.
    next: u64,
    /// The unit that is being written in parts.
    split: Option<Split>,
}

#[derive(Debug, Clone, Copy)]
struct Split {
    bytes_left: usize,
    records: u32,
    parts: u32,
}

/// What the next frame takes from the batch.
struct Piece {
    len: usize,
    records: u32,
    content: Content,
}

impl Writer {
    pub(super) fn new(segment: Option<Segment>, next: u64) -> Self {
        Self { segment, batch: Batch::default(), next, split: None }
    }

    /// Writes as much of the batch as there are segments for; false if some is left. What is written is not synced,
    /// unless a segment was finished with it.
    pub(super) fn write(&mut self, core: &Core) -> Result<bool, Failure> {
        while self.batch.waiting_bytes() > 0 {
            match self.next_piece() {
                Some(piece) => self.write_frame(&piece, core)?,
                None if self.turn_over(core)? => {}
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Syncs the segment that is written on.
    pub(super) fn sync(&self, core: &Core) -> Result<(), Failure> {
        match &self.segment {
            Some(segment) => core.sync(segment),
            None => Ok(()),
        }
    }

    fn next_piece(&self) -> Option<Piece> {
        let segment = self.segment.as_ref()?;
        let room = segment.room();
        let rest = self.batch.rest();
        if let Some(Split { bytes_left, records, .. }) = self.split {
            let content = if bytes_left <= room { Content::LastPart } else { Content::Part };
            let len = bytes_left.min(room);
            return (len > 0).then_some(Piece { len, records, content });
        }
        if rest.len() <= room {
            let records = count(self.batch.waiting_records());
            return Some(Piece { len: rest.len(), records, content: Content::Units });
        }
        let mut behind = rest;
        let (mut len, mut total) = (0, 0);
        while let Some(records) = format::take_unit(&mut behind, |_| ()) {
            let end = rest.len() - behind.len();
            if end > room {
                // Only a unit that no segment could hold is split, and it begins at the beginning of one.
                if len == 0 && segment.is_fresh() {
                    return Some(Piece { len: room, records: count(records), content: Content::Part });
                }
                break;
            }
            len = end;
            total += records;
        }
        (len > 0).then_some(Piece { len, records: count(total), content: Content::Units })
    }

    fn write_frame(&mut self, piece: &Piece, core: &Core) -> Result<(), Failure> {
        if piece.content == Content::Part && self.split.is_none() {
            let mut behind = self.batch.rest();
            format::take_unit(&mut behind, |_| ()).expect("a batch holds whole units");
            let bytes_left = self.batch.rest().len() - behind.len();
            self.split = Some(Split { bytes_left, records: piece.records, parts: 0 });
        }
        let segment = self.segment.as_mut().expect("a piece was cut for a segment");
        let header = FrameHeader {
            len: count(piece.len as u64),
            epoch: segment.epoch,
            first: self.next,
            durable: core.synced(),
            records: piece.records,
            content: piece.content,
            part: self.split.map_or(0, |split| split.parts),
        };
        let frame = self.batch.frame_mut(piece.len);
        header.seal(frame);
        debug_assert_eq!(frame.len(), FRAME_HEADER_BYTES + piece.len);
        let written = match core.options.policy {
            SyncPolicy::Always => segment.file.write_on(segment.offset, frame),
            // The system is to have it at once, the disk later.
            SyncPolicy::EverySecond | SyncPolicy::Off => segment.file.write_at(segment.offset, frame),
        };
        written.map_err(|source| Failure::new("write", segment, source))?;
        segment.offset = format::align(segment.offset + header.total_bytes());
        segment.last = header.last();
        let records = if piece.content == Content::Part { 0 } else { piece.records };
        self.batch.advance(piece.len, records.into());
        if let Some(split) = &mut self.split {
            split.bytes_left -= piece.len;
            split.parts += 1;
        }
        if piece.content != Content::Part {
            self.split = None;
            self.next += u64::from(piece.records);
            core.publish_written(self.next - 1);
        }
        core.note_room(segment.file.size().saturating_sub(segment.offset), segment.file.size());
        Ok(())
    }

    /// Goes on in the next segment; false if none is ready.
    fn turn_over(&mut self, core: &Core) -> Result<bool, Failure> {
        let Some(mut next) = core.take_ready() else { return Ok(false) };
        if let Some(full) = self.segment.take() {
            if core.options.policy == SyncPolicy::Always {
                core.sync(&full)?;
                core.publish_synced(self.next - 1);
            }
            core.put_away(full, self.next - 1);
        }
        let began = next.begin(self.next, core.synced(), self.split.is_some());
        began.map_err(|source| Failure::new("begin", &next, source))?;
        core.note_room(next.file.size() - FRAMES_FROM, next.file.size());
        core.begun(next.clone());
        self.segment = Some(next);
        Ok(true)
    }
}

fn count(value: u64) -> u32 {
    u32::try_from(value).expect("a frame is smaller than 4 GiB")
}
