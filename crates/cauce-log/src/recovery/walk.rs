//! Reading forward, segment by segment, as far as one frame follows the other.

use std::collections::VecDeque;

use super::read::Reader;
use super::{Damage, OpenError, Replay, refused};
use crate::disk::Segment;
use crate::format::{self, Content, FRAMES_FROM, FrameHeader};

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Index of the segment.
    pub(super) segment: usize,
    pub(super) offset: u64,
}

/// A frame that no later one has proven to be on disk yet.
#[derive(Debug)]
struct Unproven {
    place: Place,
    last: u64,
}

#[derive(Debug)]
pub(super) struct Walk {
    /// The first record that is to be handed over.
    from: u64,
    next: u64,
    replayed: u64,
    durable: u64,
    /// Where the parts of a unit begin whose last part has not come yet, and its bytes so far.
    unit_from: Option<Place>,
    unit: Vec<u8>,
    parts: u32,
    stopped: Place,
    /// The last record that any part was read of.
    touched: u64,
    /// Where reading stopped in each segment, and the last record that it holds any part of.
    ends: Vec<(u64, u64)>,
    unproven: VecDeque<Unproven>,
}

impl Walk {
    pub(super) fn new(segments: &[Segment], from: u64) -> Self {
        Self {
            from,
            next: segments.first().map_or(1, |segment| segment.first),
            replayed: 0,
            durable: 0,
            unit_from: None,
            unit: Vec::new(),
            parts: 0,
            stopped: Place { segment: 0, offset: FRAMES_FROM },
            touched: 0,
            ends: Vec::new(),
            unproven: VecDeque::new(),
        }
    }

    /// Hands over the records of a segment, up to the first place without a frame.
    pub(super) fn segment<E>(
        &mut self,
        index: usize,
        segment: &Segment,
        replay: &mut Replay<'_, E>,
    ) -> Result<(), OpenError<E>> {
        let mut reader = Reader::new(segment);
        let mut offset = FRAMES_FROM;
        self.proven(segment.durable);
        loop {
            self.stopped = Place { segment: index, offset };
            let frame = reader.frame(offset).map_err(refused("read", &segment.name()))?;
            let Some((header, payload)) = frame.filter(|(header, _)| self.follows(header)) else { break };
            if !self.frame(&header, payload, segment, replay)? {
                let (file, record) = (segment.name(), self.next);
                let proof = "the frame is whole and its content is not";
                return Err(OpenError::Damaged(Damage { file, offset, record, proof }));
            }
            let last = header.last();
            self.touched = last;
            self.unproven.push_back(Unproven { place: self.stopped, last });
            self.proven(header.durable);
            offset = format::align(offset + header.total_bytes());
        }
        self.ends.push((offset, self.touched));
        Ok(())
    }

    /// Whether a segment goes on where reading stopped in the one before.
    pub(super) fn leads_to(&self, before: &Segment, segment: &Segment) -> bool {
        segment.number == before.number + 1
            && segment.first == self.next
            && segment.continues == self.unit_from.is_some()
    }

    /// Number of the next record, the first that was not read.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn replayed(&self) -> u64 {
        self.replayed
    }

    /// How many segments were read to their ends.
    pub(super) fn segments(&self) -> usize {
        self.ends.len()
    }

    /// Where no frame followed.
    pub(super) fn stopped(&self) -> Place {
        self.stopped
    }

    /// Behind the last whole unit.
    pub(super) fn end(&self) -> Place {
        self.unit_from.unwrap_or(self.stopped)
    }

    /// Where reading stopped in a segment.
    pub(super) fn end_of(&self, index: usize) -> u64 {
        self.ends.get(index).map_or(FRAMES_FROM, |&(offset, _)| offset)
    }

    /// The last record that a segment holds any part of.
    pub(super) fn last_of(&self, index: usize) -> u64 {
        self.ends.get(index).map_or(0, |&(_, last)| last)
    }

    /// From where on nothing proves that a segment's frames are on disk.
    pub(super) fn unproven_from(&self, index: usize) -> Option<u64> {
        let first = self.unproven.front()?.place;
        match first.segment {
            segment if segment == index => Some(first.offset),
            segment if segment < index => Some(FRAMES_FROM),
            _ => None,
        }
    }

    fn follows(&self, header: &FrameHeader) -> bool {
        header.first == self.next && header.part == self.parts && header.records > 0
    }

    fn proven(&mut self, durable: u64) {
        self.durable = self.durable.max(durable);
        while self.unproven.front().is_some_and(|frame| frame.last <= self.durable) {
            self.unproven.pop_front();
        }
    }

    /// Takes in one frame; false if its content is not what its header says.
    fn frame<E>(
        &mut self,
        header: &FrameHeader,
        payload: &[u8],
        segment: &Segment,
        replay: &mut Replay<'_, E>,
    ) -> Result<bool, OpenError<E>> {
        let whole = match header.content {
            Content::Units => {
                return self.units(header, payload, segment, replay);
            }
            Content::Part => false,
            Content::LastPart => true,
        };
        self.unit_from.get_or_insert(self.stopped);
        self.unit.extend_from_slice(payload);
        self.parts += 1;
        if whole {
            let unit = std::mem::take(&mut self.unit);
            self.unit_from = None;
            self.parts = 0;
            return self.units(header, &unit, segment, replay);
        }
        Ok(true)
    }

    fn units<E>(
        &mut self,
        header: &FrameHeader,
        mut payload: &[u8],
        segment: &Segment,
        replay: &mut Replay<'_, E>,
    ) -> Result<bool, OpenError<E>> {
        let mut refusal = None;
        while !payload.is_empty() && refusal.is_none() {
            let taken = format::take_unit(&mut payload, |record| {
                let number = self.next;
                self.next += 1;
                if number < self.from || refusal.is_some() {
                    return;
                }
                self.replayed += 1;
                if let Err(source) = replay(self.stopped.offset, number, record) {
                    refusal = Some(OpenError::Replay { file: segment.name(), number, source });
                }
            });
            if taken.is_none() {
                return Ok(false);
            }
        }
        match refusal {
            Some(refusal) => Err(refusal),
            None => Ok(self.next == header.first + u64::from(header.records)),
        }
    }
}
