//! Effects as records: what a log stores and a restart replays.
//!
//! A record says what happened, never what was asked: ids and times are concrete, so that replaying depends
//! neither on a clock nor on the order of readers. A record is self-contained: one byte of kind, the database,
//! the key, then the kind's own fields; lengths and numbers as LEB128, byte strings behind their length.

mod codec;
mod collection;
mod describe;
mod effect;
mod part;
mod stream;

pub(crate) use codec::{Reader, Writer};
pub(crate) use collection::CollectionEffect;
pub use describe::{Description, Detail, describe};
pub(crate) use effect::{Effect, Wakes};
pub(crate) use part::{BlockBytes, BlockPart, StoredBytes, StreamPart};
pub(crate) use stream::{Claim, Release, StreamEffect};

use crate::outputs::Position;

/// A record that cannot be replayed: it was damaged, or written by a newer version.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplayError {
    /// The record ends too early or has bytes left over.
    Malformed,
    /// The record's kind is unknown.
    UnknownKind(u8),
    /// The record names a key, group or consumer that is not there, or of another type.
    Contradiction(&'static str),
    /// A block of entries that the record needs cannot be read.
    Unreadable(String),
}

impl std::fmt::Display for ReplayError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Malformed => f.write_str("the record is malformed; restore the log from a backup"),
            Self::UnknownKind(kind) => {
                write!(
                    f,
                    "the record's kind {kind} is unknown; it was written by a newer version, use that one"
                )
            }
            Self::Unreadable(what) => {
                write!(f, "the record needs history that cannot be read ({what}); restore it from a backup")
            }
            Self::Contradiction(what) => {
                write!(
                    f,
                    "the record contradicts the state before it ({what}); restore the log from a backup"
                )
            }
        }
    }
}

impl std::error::Error for ReplayError {}

/// Records in the order of their effects, in one buffer.
///
/// The records of one command (or of one transaction) form a unit: a log must keep them all or none.
#[derive(Debug, Default)]
pub struct RecordBuf {
    bytes: Vec<u8>,
    /// Where each record ends in `bytes`.
    ends: Vec<usize>,
    /// How many records were complete when each unit ended.
    units: Vec<usize>,
    disabled: bool,
}

impl RecordBuf {
    /// A buffer that drops what is written to it, for a broker that keeps no log. Positions count on.
    #[must_use]
    pub fn disabled() -> Self {
        Self { disabled: true, ..Self::default() }
    }

    /// The records, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(self.ends.iter().copied()).filter_map(|(start, end)| self.bytes.get(start..end))
    }

    /// How many records each unit has, in order.
    pub fn unit_lens(&self) -> impl Iterator<Item = usize> {
        let starts = std::iter::once(0).chain(self.units.iter().copied());
        starts.zip(self.units.iter().copied()).map(|(start, end)| end - start)
    }

    /// Whether nothing was recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Empties the buffer and keeps its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.units.clear();
    }

    pub(crate) fn push(&mut self, database: usize, key: &[u8], effect: &Effect<'_>) {
        if !self.disabled {
            effect.encode(database, key, &mut Writer::new(&mut self.bytes));
            self.ends.push(self.bytes.len());
        }
    }

    pub(crate) fn end_unit(&mut self) {
        if self.units.last().copied().unwrap_or_default() < self.ends.len() {
            self.units.push(self.ends.len());
        }
    }
}

impl Position {
    pub(crate) fn advance(&mut self) -> Self {
        self.0 += 1;
        *self
    }
}
