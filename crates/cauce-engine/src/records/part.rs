//! Parts of a stream's state that no command ever makes at once: what a snapshot is written as, beside effects.

use super::{Claim, Reader, ReplayError, Writer};
use crate::stream::{BlockSpot, StreamId};

/// One part of a stream, which exists already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StreamPart<'a> {
    /// The next blocks of entries.
    Blocks(Vec<BlockPart<'a>>),
    /// The numbers kept of the entries; comes behind the last block.
    Counters { last_id: StreamId, max_deleted_id: StreamId, entries_added: u64 },
    /// When a consumer was last seen and last given an entry; comes behind its pending entries.
    ConsumerTimes { group: &'a [u8], consumer: &'a [u8], seen_at: u64, active_at: Option<u64> },
    /// Pending entries of a consumer.
    Pending { group: &'a [u8], consumer: &'a [u8], claims: Vec<Claim> },
    /// How many marks of producers were ever made; comes behind the last mark.
    MarksAdded { added: u64 },
}

/// A block of entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BlockPart<'a> {
    pub(crate) bytes: BlockBytes<'a>,
    /// One bit per entry, set when it is deleted; words that were never needed are not there.
    pub(crate) deleted: Vec<u64>,
    /// The id of the last entry, deleted or not.
    pub(crate) last_id: StreamId,
    /// Entries, deleted ones included.
    pub(crate) entries: u32,
}

/// The encoded entries of a block, or where they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BlockBytes<'a> {
    Open(&'a [u8]),
    Sealed(&'a [u8]),
    Stored(StoredBytes),
}

/// What has to be known of a block whose bytes are in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredBytes {
    /// The file's number.
    pub(crate) file: u64,
    pub(crate) spot: BlockSpot,
    pub(crate) first_id: StreamId,
    /// The id of the first entry that is not deleted.
    pub(crate) head_id: StreamId,
    /// Where that one begins, and how many entries come before it.
    pub(crate) head: (u32, u32),
}

pub(super) const FIRST_KIND: u8 = BLOCKS;
const BLOCKS: u8 = 96;
const COUNTERS: u8 = 97;
const CONSUMER_TIMES: u8 = 98;
const MARKS_ADDED: u8 = 99;
const PENDING: u8 = 100;

const OPEN: u8 = 0;
const SEALED: u8 = 1;
const STORED: u8 = 2;
pub(super) const LAST_KIND: u8 = PENDING;

impl<'a> StreamPart<'a> {
    pub(super) fn kind(&self) -> u8 {
        match self {
            Self::Blocks(_) => BLOCKS,
            Self::Counters { .. } => COUNTERS,
            Self::ConsumerTimes { .. } => CONSUMER_TIMES,
            Self::MarksAdded { .. } => MARKS_ADDED,
            Self::Pending { .. } => PENDING,
        }
    }

    /// Writes what follows the kind, the database and the key.
    pub(super) fn encode(&self, out: &mut Writer<'_>) {
        match self {
            Self::Blocks(blocks) => {
                out.count(blocks.len());
                blocks.iter().for_each(|block| block.encode(out));
            }
            Self::Counters { last_id, max_deleted_id, entries_added } => {
                out.id(*last_id);
                out.id(*max_deleted_id);
                out.number(*entries_added);
            }
            Self::ConsumerTimes { group, consumer, seen_at, active_at } => {
                out.text(group);
                out.text(consumer);
                out.number(*seen_at);
                out.optional(*active_at);
            }
            Self::MarksAdded { added } => out.number(*added),
            Self::Pending { group, consumer, claims } => {
                out.text(group);
                out.text(consumer);
                encode_claims(claims, out);
            }
        }
    }

    /// Reads what [`StreamPart::encode`] wrote.
    pub(super) fn decode(kind: u8, reader: &mut Reader<'a>) -> Result<Self, ReplayError> {
        Ok(match kind {
            BLOCKS => {
                let count = reader.count()?;
                Self::Blocks((0..count).map(|_| BlockPart::decode(reader)).collect::<Result<_, _>>()?)
            }
            COUNTERS => Self::Counters {
                last_id: reader.id()?,
                max_deleted_id: reader.id()?,
                entries_added: reader.number()?,
            },
            CONSUMER_TIMES => Self::ConsumerTimes {
                group: reader.text()?,
                consumer: reader.text()?,
                seen_at: reader.number()?,
                active_at: reader.optional()?,
            },
            PENDING => {
                let (group, consumer) = (reader.text()?, reader.text()?);
                Self::Pending { group, consumer, claims: decode_claims(reader)? }
            }
            MARKS_ADDED => Self::MarksAdded { added: reader.number()? },
            unknown => return Err(ReplayError::UnknownKind(unknown)),
        })
    }
}

impl<'a> BlockPart<'a> {
    fn encode(&self, out: &mut Writer<'_>) {
        match &self.bytes {
            BlockBytes::Open(bytes) => {
                out.byte(OPEN);
                out.text(bytes);
            }
            BlockBytes::Sealed(bytes) => {
                out.byte(SEALED);
                out.text(bytes);
            }
            BlockBytes::Stored(stored) => {
                out.byte(STORED);
                stored.encode(out);
            }
        }
        out.count(self.deleted.len());
        self.deleted.iter().for_each(|&word| out.number(word));
        out.id(self.last_id);
        out.number(u64::from(self.entries));
    }

    fn decode(reader: &mut Reader<'a>) -> Result<Self, ReplayError> {
        let bytes = match reader.byte()? {
            OPEN => BlockBytes::Open(reader.text()?),
            SEALED => BlockBytes::Sealed(reader.text()?),
            STORED => BlockBytes::Stored(StoredBytes::decode(reader)?),
            unknown => return Err(ReplayError::UnknownKind(unknown)),
        };
        let words = reader.count()?;
        Ok(Self {
            bytes,
            deleted: (0..words).map(|_| reader.number()).collect::<Result<_, _>>()?,
            last_id: reader.id()?,
            entries: small(reader)?,
        })
    }
}

impl StoredBytes {
    fn encode(&self, out: &mut Writer<'_>) {
        out.number(self.file);
        out.number(self.spot.offset);
        out.number(u64::from(self.spot.len));
        out.number(u64::from(self.spot.sum));
        out.id(self.first_id);
        out.number(u64::from(self.head.0));
        out.number(u64::from(self.head.1));
        if self.head.1 > 0 {
            out.id(self.head_id);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, ReplayError> {
        let file = reader.number()?;
        let spot = BlockSpot { offset: reader.number()?, len: small(reader)?, sum: small(reader)? };
        let first_id = reader.id()?;
        let head = (small(reader)?, small(reader)?);
        let head_id = if head.1 > 0 { reader.id()? } else { first_id };
        Ok(Self { file, spot, first_id, head_id, head })
    }
}

/// Ids and times mostly come in ascending order and close to each other: each is written against the one before.
fn encode_claims(claims: &[Claim], out: &mut Writer<'_>) {
    let ids: Vec<StreamId> = claims.iter().map(|claim| claim.id).collect();
    out.ids(&ids);
    let mut before = 0_u64;
    for claim in claims {
        let step = claim.delivered_at.wrapping_sub(before).cast_signed();
        out.number((step << 1 ^ step >> 63).cast_unsigned());
        out.number(claim.delivery_count);
        before = claim.delivered_at;
    }
}

fn decode_claims(reader: &mut Reader<'_>) -> Result<Vec<Claim>, ReplayError> {
    let ids = reader.ids()?;
    let mut before = 0_u64;
    let claims = ids.into_iter().map(|id| {
        let step = reader.number()?;
        before = before.wrapping_add(step >> 1 ^ (step & 1).wrapping_neg());
        Ok(Claim { id, delivered_at: before, delivery_count: reader.number()? })
    });
    claims.collect()
}

/// A number of 32 bits.
fn small(reader: &mut Reader<'_>) -> Result<u32, ReplayError> {
    u32::try_from(reader.number()?).map_err(|_| ReplayError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::super::Effect;
    use super::*;

    #[test]
    fn parts_are_read_back_whole_or_not_at_all() {
        let (last_id, max_deleted_id) = (StreamId::new(7, 1), StreamId::new(3, 0));
        let spot = BlockSpot { offset: 300, len: 70, sum: u32::MAX };
        let (first_id, head_id) = (StreamId::new(1, 1), StreamId::new(1, 9));
        let stored = |index| StoredBytes {
            file: 7,
            spot,
            first_id,
            head_id: if index > 0 { head_id } else { first_id },
            head: (40, index),
        };
        let block = |bytes| BlockPart { bytes, deleted: vec![0, 5], last_id, entries: 90 };
        let blocks = vec![
            block(BlockBytes::Stored(stored(0))),
            block(BlockBytes::Stored(stored(3))),
            block(BlockBytes::Sealed(b"bytes")),
            block(BlockBytes::Open(b"more")),
        ];
        for part in [
            StreamPart::Blocks(blocks),
            StreamPart::Counters { last_id, max_deleted_id, entries_added: 91 },
            StreamPart::ConsumerTimes { group: b"g", consumer: b"c", seen_at: 8, active_at: None },
            StreamPart::MarksAdded { added: 300 },
            StreamPart::Pending {
                group: b"g",
                consumer: b"c",
                claims: [(7, 900, 1), (8, u64::MAX, 3), (8, 0, u64::MAX), (9, 1 << 63, 0)]
                    .iter()
                    .enumerate()
                    .map(|(seq, &(ms, delivered_at, delivery_count))| Claim {
                        id: StreamId::new(ms, seq as u64),
                        delivered_at,
                        delivery_count,
                    })
                    .collect(),
            },
        ] {
            let effect = Effect::StreamPart(part);
            let mut bytes = Vec::new();
            effect.encode(3, b"key", &mut Writer::new(&mut bytes));
            assert_eq!(Effect::decode(&bytes), Ok((3, &b"key"[..], effect)));
            for len in 0..bytes.len() {
                assert!(Effect::decode(&bytes[..len]).is_err(), "a record cut at {len} is refused");
            }
        }
    }

    #[test]
    fn a_block_that_none_can_have_given_is_refused() {
        let last_id = StreamId::new(7, 1);
        let check = |bytes: &[u8], deleted: &[u64], entries| {
            let deleted = deleted.to_vec();
            let part = BlockPart { bytes: BlockBytes::Open(bytes), deleted, last_id, entries };
            let mut stream = crate::stream::Stream::default();
            let restored = stream.restore(&StreamPart::Blocks(vec![part]), None);
            assert_eq!(restored, Err(ReplayError::Malformed));
        };
        check(b"", &[], 1);
        check(&[9; 40], &[], 1);
        check(&[&[1_u8; 17][..], &[0]].concat(), &[1], 1);
    }
}
