//! What `OBJECT ENCODING` answers: how Redis 7.2 would hold a value.
//!
//! This engine holds a value in one way only. The encoding is a mark beside it, which follows Redis's rules: a
//! collection leaves its compact encoding when it crosses a threshold, and never goes back while the key lives.
//! Most marks follow from the effects alone ([`Encoding::after`]); what depends on thresholds, which can be
//! changed at any time, is recorded, so that a replay needs no thresholds.

use crate::collections::{Hash, Set, SortedSet};
use crate::keyspace::Object;
use crate::records::{CollectionEffect, Effect};

/// A mark; see the module's documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Encoding {
    Int,
    Embstr,
    Raw,
    Intset,
    Listpack,
    Hashtable,
    Skiplist,
    Stream,
}

/// All of them, in the order of their numbers in records.
const ALL: [(Encoding, &str); 8] = [
    (Encoding::Int, "int"),
    (Encoding::Embstr, "embstr"),
    (Encoding::Raw, "raw"),
    (Encoding::Intset, "intset"),
    (Encoding::Listpack, "listpack"),
    (Encoding::Hashtable, "hashtable"),
    (Encoding::Skiplist, "skiplist"),
    (Encoding::Stream, "stream"),
];

/// A string up to this length is held together with its head.
const EMBSTR_BYTES_MAX: usize = 44;
/// No longer string is an integer.
const INT_BYTES_MAX: usize = 20;

impl Encoding {
    pub(crate) fn name(self) -> &'static str {
        ALL.get(self as usize).map_or("unknown", |(_, name)| name)
    }

    pub(crate) fn number(self) -> u8 {
        self as u8
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        ALL.get(usize::from(number)).map(|(encoding, _)| *encoding)
    }

    /// Of a value that was just made.
    pub(crate) fn natural(object: &Object) -> Self {
        match object {
            Object::String(value) => Self::of_string(value),
            Object::Stream(_) => Self::Stream,
            Object::Hash(_) | Object::SortedSet(_) => Self::Listpack,
            Object::Set(_) => Self::Intset,
        }
    }

    fn of_string(value: &[u8]) -> Self {
        match value.len() {
            ..=INT_BYTES_MAX if is_integer(value) => Self::Int,
            ..=EMBSTR_BYTES_MAX => Self::Embstr,
            _ => Self::Raw,
        }
    }

    /// What an effect on a value with this mark makes of it.
    pub(crate) fn after(self, effect: &Effect<'_>) -> Self {
        match effect {
            Effect::SetString { value, .. } => Self::of_string(value),
            Effect::WriteString { .. } => Self::Raw,
            Effect::Encode { encoding } => *encoding,
            Effect::Collection(CollectionEffect::SetAdd { members })
                if self == Self::Intset && !members.iter().all(|member| is_integer(member)) =>
            {
                Self::Listpack
            }
            _ => self,
        }
    }
}

fn is_integer(text: &[u8]) -> bool {
    cauce_resp::parse_i64(text).is_some()
}

/// How many elements a collection has at most, and how long they are at most, while it is compact.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Compact {
    pub(crate) entries: usize,
    pub(crate) value_bytes: usize,
}

/// Redis's thresholds, with its defaults.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Thresholds {
    pub(crate) hash: Compact,
    pub(crate) set: Compact,
    pub(crate) sorted_set: Compact,
    /// Members of a set of integers.
    pub(crate) intset_entries: usize,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            hash: Compact { entries: 512, value_bytes: 64 },
            set: Compact { entries: 128, value_bytes: 64 },
            sorted_set: Compact { entries: 128, value_bytes: 64 },
            intset_entries: 512,
        }
    }
}

impl Compact {
    fn holds<'t>(self, count: usize, mut texts: impl Iterator<Item = &'t [u8]>) -> bool {
        count <= self.entries && texts.all(|text| text.len() <= self.value_bytes)
    }
}

impl Thresholds {
    /// Of a hash after `pairs`, names and values in turn, were set in it.
    pub(crate) fn hash_after(&self, before: Encoding, hash: &Hash, pairs: &[&[u8]]) -> Encoding {
        let count = hash.len().max(pairs.len() / 2);
        let fits = before == Encoding::Listpack && self.hash.holds(count, pairs.iter().copied());
        if fits { before } else { Encoding::Hashtable }
    }

    /// Of a set before a command that names `members` adds them: a new one (`None`) is made for as many, and for
    /// the first of them.
    pub(crate) fn set_before(&self, existing: Option<Encoding>, members: &[&[u8]]) -> Encoding {
        let as_integers = match existing {
            Some(encoding) => encoding == Encoding::Intset,
            None => members.first().is_some_and(|member| is_integer(member)),
        };
        let is_compact = existing.is_none_or(|encoding| encoding == Encoding::Listpack);
        if as_integers && members.len() <= self.intset_entries {
            Encoding::Intset
        } else if is_compact && members.len() <= self.set.entries {
            Encoding::Listpack
        } else {
            Encoding::Hashtable
        }
    }

    /// Of a set after a new member was added to it.
    pub(crate) fn set_after(&self, before: Encoding, set: &Set, member: &[u8]) -> Encoding {
        let fits = || set.len() <= self.set.entries && member.len() <= self.set.value_bytes;
        match before {
            Encoding::Intset if is_integer(member) && set.len() <= self.intset_entries => before,
            Encoding::Intset if is_integer(member) => Encoding::Hashtable,
            Encoding::Intset => self.compact_set(set),
            Encoding::Listpack if fits() => before,
            _ => Encoding::Hashtable,
        }
    }

    /// Of a set that was just made with all its members.
    pub(crate) fn whole_set(&self, set: &Set) -> Encoding {
        let members = || set.members().iter().map(|member| &**member);
        if set.len() <= self.intset_entries && members().all(is_integer) {
            Encoding::Intset
        } else {
            self.compact_set(set)
        }
    }

    /// The same, where Redis does not look whether all members are integers.
    pub(crate) fn compact_set(&self, set: &Set) -> Encoding {
        let fits = self.set.holds(set.len(), set.members().iter().map(|member| &**member));
        if fits { Encoding::Listpack } else { Encoding::Hashtable }
    }

    /// Of a sorted set after `names` were put into it by a command that named as many.
    pub(crate) fn sorted_set_after<'n>(
        &self,
        before: Encoding,
        set: &SortedSet,
        named: usize,
        names: impl Iterator<Item = &'n [u8]>,
    ) -> Encoding {
        let fits = before == Encoding::Listpack && self.sorted_set.holds(set.len().max(named), names);
        if fits { before } else { Encoding::Skiplist }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_encodings_stand_for_them() {
        for (encoding, name) in ALL {
            assert_eq!((Encoding::from_number(encoding.number()), encoding.name()), (Some(encoding), name));
        }
        assert_eq!(Encoding::from_number(8), None);
    }

    #[test]
    fn strings_are_marked_by_what_they_hold() {
        for (text, expected) in [
            ("0", Encoding::Int),
            ("-9223372036854775808", Encoding::Int),
            ("9223372036854775808", Encoding::Embstr),
            ("007", Encoding::Embstr),
            ("", Encoding::Embstr),
            (&"x".repeat(44), Encoding::Embstr),
            (&"x".repeat(45), Encoding::Raw),
        ] {
            assert_eq!(Encoding::of_string(text.as_bytes()), expected, "{text:?}");
        }
    }
}
