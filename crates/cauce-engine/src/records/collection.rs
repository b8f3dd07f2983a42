//! The kinds of effect on hashes, sets and sorted sets, and their bytes.

use std::borrow::Cow;

use super::{Reader, ReplayError, Writer};

/// One change of one collection. The key is made by what adds to it; a collection never stays empty, the
/// command that takes its last element records that the key is gone instead.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum CollectionEffect<'a> {
    /// Fields were set. Names and values alternate.
    HashSet {
        pairs: Cow<'a, [&'a [u8]]>,
    },
    HashDelete {
        fields: Cow<'a, [&'a [u8]]>,
    },
    SetAdd {
        members: Cow<'a, [&'a [u8]]>,
    },
    SetRemove {
        members: Cow<'a, [&'a [u8]]>,
    },
    /// Members have these scores now.
    SortedSetPut {
        scored: Cow<'a, [(f64, &'a [u8])]>,
    },
    SortedSetRemove {
        members: Cow<'a, [&'a [u8]]>,
    },
}

/// Record kinds of collections begin here.
pub(super) const FIRST_KIND: u8 = HASH_SET;

const HASH_SET: u8 = 64;
const HASH_DELETE: u8 = 65;
const SET_ADD: u8 = 66;
const SET_REMOVE: u8 = 67;
const SORTED_SET_PUT: u8 = 68;
const SORTED_SET_REMOVE: u8 = 69;
/// And they end here.
pub(super) const LAST_KIND: u8 = SORTED_SET_REMOVE;

impl<'a> CollectionEffect<'a> {
    /// The elements that it concerns.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'a [u8]> {
        let (texts, step): (&[&'a [u8]], usize) = match self {
            Self::HashSet { pairs } => (pairs, 2),
            Self::HashDelete { fields } => (fields, 1),
            Self::SetAdd { members } | Self::SetRemove { members } | Self::SortedSetRemove { members } => {
                (members, 1)
            }
            Self::SortedSetPut { .. } => (&[], 1),
        };
        let scored: &[(f64, &'a [u8])] = if let Self::SortedSetPut { scored } = self { scored } else { &[] };
        texts.iter().step_by(step).copied().chain(scored.iter().map(|&(_, member)| member))
    }

    pub(super) fn kind(&self) -> u8 {
        match self {
            Self::HashSet { .. } => HASH_SET,
            Self::HashDelete { .. } => HASH_DELETE,
            Self::SetAdd { .. } => SET_ADD,
            Self::SetRemove { .. } => SET_REMOVE,
            Self::SortedSetPut { .. } => SORTED_SET_PUT,
            Self::SortedSetRemove { .. } => SORTED_SET_REMOVE,
        }
    }

    pub(super) fn encode(&self, out: &mut Writer<'_>) {
        match self {
            Self::HashSet { pairs: texts }
            | Self::HashDelete { fields: texts }
            | Self::SetAdd { members: texts }
            | Self::SetRemove { members: texts }
            | Self::SortedSetRemove { members: texts } => {
                out.count(texts.len());
                texts.iter().for_each(|text| out.text(text));
            }
            Self::SortedSetPut { scored } => {
                out.count(scored.len());
                for &(score, member) in scored.iter() {
                    out.double(score);
                    out.text(member);
                }
            }
        }
    }

    pub(super) fn decode(kind: u8, reader: &mut Reader<'a>) -> Result<Self, ReplayError> {
        let count = reader.count()?;
        if kind == SORTED_SET_PUT {
            let scored = (0..count).map(|_| Ok((reader.double()?, reader.text()?)));
            return Ok(Self::SortedSetPut { scored: scored.collect::<Result<_, _>>()? });
        }
        let texts: Cow<'a, [&'a [u8]]> = (0..count).map(|_| reader.text()).collect::<Result<_, _>>()?;
        Ok(match kind {
            HASH_SET => Self::HashSet { pairs: texts },
            HASH_DELETE => Self::HashDelete { fields: texts },
            SET_ADD => Self::SetAdd { members: texts },
            SET_REMOVE => Self::SetRemove { members: texts },
            SORTED_SET_REMOVE => Self::SortedSetRemove { members: texts },
            unknown => return Err(ReplayError::UnknownKind(unknown)),
        })
    }
}
