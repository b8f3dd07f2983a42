//! Effects back into collections, and collections into canonical bytes.

use std::sync::Arc;

use super::{Hash, Set, SortedSet};
use crate::keyspace::{Collection, Object};
use crate::records::{CollectionEffect, ReplayError, Writer};

const NO_ELEMENT: ReplayError = ReplayError::Contradiction("no such field or member");
const WRONG_TYPE: ReplayError = ReplayError::Contradiction("the key holds another type");

impl Object {
    /// The empty collection that an effect adds to; `None` if it needs one that is there.
    pub(crate) fn for_effect(effect: &CollectionEffect<'_>, seed: u64) -> Option<Self> {
        match effect {
            CollectionEffect::HashSet { .. } => Some(Hash::new(seed).into_object()),
            CollectionEffect::SetAdd { .. } => Some(Set::new(seed).into_object()),
            CollectionEffect::SortedSetPut { .. } => Some(SortedSet::new(seed).into_object()),
            CollectionEffect::HashDelete { .. }
            | CollectionEffect::SetRemove { .. }
            | CollectionEffect::SortedSetRemove { .. } => None,
        }
    }

    /// Changes the collection as the command that recorded the effect did.
    pub(crate) fn replay(&mut self, effect: &CollectionEffect<'_>) -> Result<(), ReplayError> {
        match (self, effect) {
            (Self::Hash(hash), CollectionEffect::HashSet { pairs }) => {
                let hash = Arc::make_mut(hash);
                let (pairs, rest) = pairs.as_chunks::<2>();
                for &[name, value] in pairs {
                    hash.set(name, value);
                }
                if rest.is_empty() { Ok(()) } else { Err(ReplayError::Malformed) }
            }
            (Self::Hash(hash), CollectionEffect::HashDelete { fields }) => {
                let hash = Arc::make_mut(hash);
                removed(fields.iter().all(|field| hash.delete(field)))
            }
            (Self::Set(set), CollectionEffect::SetAdd { members }) => {
                let set = Arc::make_mut(set);
                for member in members.iter() {
                    set.add(member);
                }
                Ok(())
            }
            (Self::Set(set), CollectionEffect::SetRemove { members }) => {
                let set = Arc::make_mut(set);
                removed(members.iter().all(|member| set.remove(member)))
            }
            (Self::SortedSet(set), CollectionEffect::SortedSetPut { scored }) => {
                let set = Arc::make_mut(set);
                for &(score, member) in scored.iter() {
                    if score.is_nan() {
                        return Err(ReplayError::Malformed);
                    }
                    set.put(member, score);
                }
                Ok(())
            }
            (Self::SortedSet(set), CollectionEffect::SortedSetRemove { members }) => {
                let set = Arc::make_mut(set);
                removed(members.iter().all(|member| set.remove(member)))
            }
            _ => Err(WRONG_TYPE),
        }
    }
}

impl Object {
    /// Takes an element out of a collection, if it is there.
    pub(crate) fn forget_element(&mut self, name: &[u8]) {
        let _was_there = match self {
            Self::Hash(hash) => Arc::make_mut(hash).delete(name),
            Self::Set(set) => Arc::make_mut(set).remove(name),
            Self::SortedSet(set) => Arc::make_mut(set).remove(name),
            Self::String(_) | Self::Stream(_) => false,
        };
    }
}

fn removed(all: bool) -> Result<(), ReplayError> {
    if all { Ok(()) } else { Err(NO_ELEMENT) }
}

impl Hash {
    /// Appends the hash in canonical form.
    pub(crate) fn dump(&self, out: &mut Writer<'_>) {
        out.count(self.len());
        for field in self.fields().sorted() {
            out.text(field.name());
            out.text(field.value());
        }
    }
}

impl Set {
    /// Appends the set in canonical form.
    pub(crate) fn dump(&self, out: &mut Writer<'_>) {
        out.count(self.len());
        self.members().sorted().into_iter().for_each(|member| out.text(member));
    }
}

impl SortedSet {
    /// Appends the sorted set in canonical form.
    pub(crate) fn dump(&self, out: &mut Writer<'_>) {
        out.count(self.len());
        for member in self.range(0..self.len(), false) {
            out.double(member.score());
            out.text(member.name());
        }
    }
}
