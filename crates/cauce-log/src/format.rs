//! The bytes of a segment: `docs/log-format.md` draws them. All numbers are little-endian.

/// Version of the format that this code writes; it reads no newer one.
pub(crate) const VERSION: u32 = 1;
/// Where a segment's frames begin: the header has a page of its own.
pub(crate) const FRAMES_FROM: u64 = 4096;
/// Bytes of a segment's header that mean something.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 56;
/// Bytes of a frame in front of its payload.
pub(crate) const FRAME_HEADER_BYTES: usize = 40;
/// Frames begin at multiples of this.
pub(crate) const FRAME_ALIGNMENT: u64 = 8;
/// Where the epoch lies in a frame's header.
pub(crate) const EPOCH_AT: usize = 8;

const MAGIC: &[u8; 8] = b"CAUCELOG";

/// What a segment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// Counts up from 1; also in the file's name.
    pub(crate) number: u64,
    /// Drawn anew for every use of the file: a frame of an earlier use has another one.
    pub(crate) epoch: u64,
    /// Number of the first record, or 0 while the segment is only made ready.
    pub(crate) first: u64,
    /// Last record that was known to be on disk when the segment was begun.
    pub(crate) durable: u64,
    /// The segment begins inside a unit whose beginning lies in the one before.
    pub(crate) continues: bool,
}

/// Why the first bytes of a segment are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadHeader {
    Damaged,
    /// Written by a newer version.
    Newer(u32),
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        put(&mut bytes, 0, MAGIC);
        put(&mut bytes, 12, &VERSION.to_le_bytes());
        put(&mut bytes, 16, &self.number.to_le_bytes());
        put(&mut bytes, 24, &self.epoch.to_le_bytes());
        put(&mut bytes, 32, &self.first.to_le_bytes());
        put(&mut bytes, 40, &self.durable.to_le_bytes());
        put(&mut bytes, 48, &u32::from(self.continues).to_le_bytes());
        let sum = checksum_from(&bytes, 12);
        put(&mut bytes, 8, &sum.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; SEGMENT_HEADER_BYTES]) -> Result<Self, BadHeader> {
        if !bytes.starts_with(MAGIC) || u32_at(bytes, 8) != checksum_from(bytes, 12) {
            return Err(BadHeader::Damaged);
        }
        match u32_at(bytes, 12) {
            VERSION => Ok(Self {
                number: u64_at(bytes, 16),
                epoch: u64_at(bytes, 24),
                first: u64_at(bytes, 32),
                durable: u64_at(bytes, 40),
                continues: u32_at(bytes, 48) != 0,
            }),
            0 => Err(BadHeader::Damaged),
            newer => Err(BadHeader::Newer(newer)),
        }
    }
}

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// Whole units.
    Units,
    /// A part of one unit that is too large for one frame; more follow in the next segment.
    Part,
    /// The last part of such a unit.
    LastPart,
}

/// What stands in front of a frame's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    /// Bytes of payload.
    pub(crate) len: u32,
    /// The segment's.
    pub(crate) epoch: u64,
    /// Number of the first record; in parts, of the unit's first record.
    pub(crate) first: u64,
    /// Last record that was known to be on disk when the frame was written.
    pub(crate) durable: u64,
    /// How many records the frame holds; in parts, the unit.
    pub(crate) records: u32,
    pub(crate) content: Content,
    /// How many parts of the unit lie in earlier frames; below 2^24.
    pub(crate) part: u32,
}

impl FrameHeader {
    /// Writes the header into the first bytes of `frame`, the payload being behind them.
    pub(crate) fn seal(&self, frame: &mut [u8]) {
        debug_assert_eq!(frame.len(), FRAME_HEADER_BYTES + self.len as usize);
        let content: u32 = match self.content {
            Content::Units => 0,
            Content::Part => 1,
            Content::LastPart => 2,
        };
        put(frame, 4, &self.len.to_le_bytes());
        put(frame, EPOCH_AT, &self.epoch.to_le_bytes());
        put(frame, 16, &self.first.to_le_bytes());
        put(frame, 24, &self.durable.to_le_bytes());
        put(frame, 32, &self.records.to_le_bytes());
        put(frame, 36, &(content | self.part << 8).to_le_bytes());
        let sum = checksum_from(frame, 4);
        put(frame, 0, &sum.to_le_bytes());
    }

    /// Reads the fields; whether they mean anything only [`is_whole`] can tell.
    pub(crate) fn decode(bytes: &[u8; FRAME_HEADER_BYTES]) -> Option<Self> {
        let word = u32_at(bytes, 36);
        let content = match word & 0xff {
            0 => Content::Units,
            1 => Content::Part,
            2 => Content::LastPart,
            _ => return None,
        };
        Some(Self {
            len: u32_at(bytes, 4),
            epoch: u64_at(bytes, EPOCH_AT),
            first: u64_at(bytes, 16),
            durable: u64_at(bytes, 24),
            records: u32_at(bytes, 32),
            content,
            part: word >> 8,
        })
    }

    /// Number of the last record that the frame holds any part of.
    pub(crate) fn last(&self) -> u64 {
        self.first.saturating_add(u64::from(self.records)).saturating_sub(1)
    }

    /// Bytes of header and payload.
    pub(crate) fn total_bytes(&self) -> u64 {
        FRAME_HEADER_BYTES as u64 + u64::from(self.len)
    }
}

/// Whether the checksum of a frame, header and payload, is right.
pub(crate) fn is_whole(frame: &[u8]) -> bool {
    frame.len() >= FRAME_HEADER_BYTES && u32_at(frame, 0) == checksum_from(frame, 4)
}

/// Where a frame may begin that follows one ending at `end`.
pub(crate) fn align(end: u64) -> u64 {
    end.next_multiple_of(FRAME_ALIGNMENT)
}

/// Appends a number as LEB128: seven bits per byte, low bits first, the top bit set on all bytes but the last.
pub(crate) fn push_number(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// Takes a number off the front.
fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// Takes the records of one unit off the front and hands them to `each`; none if the bytes are no unit.
pub(crate) fn take_unit<'a>(bytes: &mut &'a [u8], mut each: impl FnMut(&'a [u8])) -> Option<u64> {
    let records = take_number(bytes)?;
    for _ in 0..records {
        let len = usize::try_from(take_number(bytes)?).ok()?;
        let (record, rest) = bytes.split_at_checked(len)?;
        *bytes = rest;
        each(record);
    }
    Some(records)
}

fn checksum_from(bytes: &[u8], at: usize) -> u32 {
    crc32c::crc32c(bytes.get(at..).unwrap_or_default())
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes.get_mut(at..at + value.len()).expect("headers have their full length").copy_from_slice(value);
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let bytes = bytes.get(at..).and_then(<[u8]>::first_chunk).expect("headers have their full length");
    u32::from_le_bytes(*bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let bytes = bytes.get(at..).and_then(<[u8]>::first_chunk).expect("headers have their full length");
    u64::from_le_bytes(*bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_back_and_every_flipped_bit_is_seen() {
        let header =
            SegmentHeader { number: 7, epoch: u64::MAX - 3, first: 90, durable: 89, continues: true };
        let bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn frames_are_read_back_and_every_flipped_bit_is_seen() {
        let content = Content::LastPart;
        let header = FrameHeader { len: 5, epoch: 3, first: 4, durable: 2, records: 6, content, part: 7 };
        let mut frame = vec![0; FRAME_HEADER_BYTES];
        frame.extend_from_slice(b"bytes");
        header.seal(&mut frame);
        assert!(is_whole(&frame));
        assert_eq!(FrameHeader::decode(frame.first_chunk().unwrap()), Some(header));
        assert_eq!((header.last(), header.total_bytes()), (9, 45));
        for bit in 0..frame.len() * 8 {
            frame[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_whole(&frame), "bit {bit}");
            frame[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn newer_formats_are_told_from_damage() {
        let header = SegmentHeader { number: 1, epoch: 1, first: 1, durable: 0, continues: false };
        let mut bytes = header.encode();
        put(&mut bytes, 12, &9_u32.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&bytes), Err(BadHeader::Damaged));
        let sum = checksum_from(&bytes, 12);
        put(&mut bytes, 8, &sum.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&bytes), Err(BadHeader::Newer(9)));
    }

    #[test]
    fn units_are_taken_one_by_one() {
        let long = vec![b'x'; 300];
        let mut batch = crate::Batch::default();
        batch.unit(2, [&b"a"[..], b""]);
        batch.unit(0, []);
        batch.unit(1, [&long[..]]);
        let mut bytes = batch.rest();
        let mut records = Vec::new();
        assert_eq!(take_unit(&mut bytes, |record| records.push(record)), Some(2));
        assert_eq!(take_unit(&mut bytes, |record| records.push(record)), Some(1));
        assert!(bytes.is_empty());
        assert_eq!(records, [&b"a"[..], b"", &long]);
        assert_eq!(take_unit(&mut &batch.rest()[..3], |_| ()), None, "a unit that is cut off");
    }
}
