//! What hashes, sets and sorted sets are made of, and the three themselves.
//!
//! [`Table`] finds named things in a slab through a hash index: it holds the keys of a database, the fields of
//! a hash and the members of sets. [`Order`](order) adds to the members of a sorted set their order by score,
//! with ranks in logarithmic time.

mod hash;
mod order;
mod replay;
mod set;
mod slab;
mod sorted_set;
mod table;

pub(crate) use hash::{Field, Hash};
pub(crate) use set::Set;
pub(crate) use sorted_set::{LexBound, Member, ScoreBound, SortedSet};
pub(crate) use table::{Named, PACKED_MAX, Table};
