//! Streams and consumer groups as plain data: entries in packed blocks, groups with their pending entries.
//!
//! Nothing here knows commands, replies or a clock. Every change is a method that takes concrete ids and times,
//! which is also what replaying a log calls, so that the effects of a command, applied again in order, give the
//! same state.

mod absent;
mod block;
mod blocks;
mod entries;
mod entry;
mod group;
mod id;
mod id_map;
mod idempotency;
mod released;
mod replay;
mod restore;
mod state;
mod stored;
mod varint;

pub(crate) use absent::Needs;
pub use block::{BlockLimits, FieldPairs};
pub use entries::{Counters, Entries, Place, Range, RangeReverse, Trim};
pub use entry::{Entry, EntryFields};
pub use group::{Consumer, ConsumerIndex, DELIVERY_COUNT_MAX, Group, Pending};
pub use id::{IdBuffer, IntervalIdError, InvalidStreamId, NewId, NewIdError, StreamId};
pub use id_map::IdMap;
pub use idempotency::{Idempotency, IdempotencyLimits, Mark};
pub use state::Stream;
pub(crate) use stored::Sealed;
pub use stored::{BlockFile, BlockFiles, BlockPlace, BlockSpot};
