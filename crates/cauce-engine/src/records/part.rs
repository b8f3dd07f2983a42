//! Parts of a stream's state that no command ever makes at once: what a snapshot is written as, beside effects.

use super::{Reader, ReplayError, Writer};
use crate::stream::StreamId;

/// One part of a stream, which exists already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StreamPart<'a> {
    /// The next block of entries.
    Block(BlockPart<'a>),
    /// The numbers kept of the entries; comes behind the last block.
    Counters { last_id: StreamId, max_deleted_id: StreamId, entries_added: u64 },
    /// When a consumer was last seen and last given an entry; comes behind its pending entries.
    ConsumerTimes { group: &'a [u8], consumer: &'a [u8], seen_at: u64, active_at: Option<u64> },
    /// How many marks of producers were ever made; comes behind the last mark.
    MarksAdded { added: u64 },
}

/// A block of entries as it lies in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BlockPart<'a> {
    pub(crate) bytes: &'a [u8],
    /// One bit per entry, set when it is deleted; words that were never needed are not there.
    pub(crate) deleted: Vec<u64>,
    /// The id of the last entry, deleted or not.
    pub(crate) last_id: StreamId,
    /// Entries, deleted ones included.
    pub(crate) entries: u32,
    pub(crate) sealed: bool,
}

pub(super) const FIRST_KIND: u8 = BLOCK;
const BLOCK: u8 = 96;
const COUNTERS: u8 = 97;
const CONSUMER_TIMES: u8 = 98;
const MARKS_ADDED: u8 = 99;
pub(super) const LAST_KIND: u8 = MARKS_ADDED;

impl<'a> StreamPart<'a> {
    pub(super) fn kind(&self) -> u8 {
        match self {
            Self::Block(_) => BLOCK,
            Self::Counters { .. } => COUNTERS,
            Self::ConsumerTimes { .. } => CONSUMER_TIMES,
            Self::MarksAdded { .. } => MARKS_ADDED,
        }
    }

    /// Writes what follows the kind, the database and the key.
    pub(super) fn encode(&self, out: &mut Writer<'_>) {
        match self {
            Self::Block(block) => {
                out.text(block.bytes);
                out.count(block.deleted.len());
                block.deleted.iter().for_each(|&word| out.number(word));
                out.id(block.last_id);
                out.number(u64::from(block.entries));
                out.byte(u8::from(block.sealed));
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
        }
    }

    /// Reads what [`StreamPart::encode`] wrote.
    pub(super) fn decode(kind: u8, reader: &mut Reader<'a>) -> Result<Self, ReplayError> {
        Ok(match kind {
            BLOCK => {
                let bytes = reader.text()?;
                let words = reader.count()?;
                Self::Block(BlockPart {
                    bytes,
                    deleted: (0..words).map(|_| reader.number()).collect::<Result<_, _>>()?,
                    last_id: reader.id()?,
                    entries: u32::try_from(reader.number()?).map_err(|_| ReplayError::Malformed)?,
                    sealed: reader.byte()? != 0,
                })
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
            MARKS_ADDED => Self::MarksAdded { added: reader.number()? },
            unknown => return Err(ReplayError::UnknownKind(unknown)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Effect;
    use super::*;

    #[test]
    fn parts_are_read_back_whole_or_not_at_all() {
        let (last_id, max_deleted_id) = (StreamId::new(7, 1), StreamId::new(3, 0));
        let deleted = vec![0, 5];
        let block = BlockPart { bytes: b"bytes", deleted, last_id, entries: 90, sealed: true };
        for part in [
            StreamPart::Block(block),
            StreamPart::Counters { last_id, max_deleted_id, entries_added: 91 },
            StreamPart::ConsumerTimes { group: b"g", consumer: b"c", seen_at: 8, active_at: None },
            StreamPart::MarksAdded { added: 300 },
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
            let part = BlockPart { bytes, deleted, last_id, entries, sealed: false };
            let mut stream = crate::stream::Stream::default();
            assert_eq!(stream.restore(&StreamPart::Block(part)), Err(ReplayError::Malformed));
        };
        check(b"", &[], 1);
        check(&[9; 40], &[], 1);
        check(&[&[1_u8; 17][..], &[0]].concat(), &[1], 1);
    }
}
