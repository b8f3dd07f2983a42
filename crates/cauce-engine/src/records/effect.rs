//! The kinds of effect and their bytes.

use std::borrow::Cow;

use super::{
    CollectionEffect, Reader, ReplayError, StreamEffect, StreamPart, Writer, collection, part, stream,
};
use crate::encoding::Encoding;
use crate::time::Timestamp;

/// One change of one key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect<'a> {
    /// The key holds this string; its expiry is replaced too.
    SetString { value: &'a [u8], expires_at: Option<Timestamp> },
    /// These bytes are in the string from there on; what it lacked before them is zeros. Its expiry stays.
    WriteString { at: u64, bytes: &'a [u8] },
    /// Redis would hold the value so from now on.
    Encode { encoding: Encoding },
    /// The key is gone.
    Remove,
    /// The key expires then, or never.
    Expire { at: Option<Timestamp> },
    /// The value moved here from `from` of the same database, with its expiry; what was here is gone.
    RenameFrom { from: &'a [u8] },
    /// A copy of the value of `from` in another database or this one, with its expiry; what was here is gone.
    CopyFrom { database: usize, from: &'a [u8] },
    /// The keys of this database are those of the other now, and the other way round. The key is empty.
    Swap { with: usize },
    /// Every key of the database is gone. The key is empty.
    Flush,
    /// In a checkpoint: there is no such key (any more), or it follows as it is now.
    Absent,
    /// In a checkpoint: the collection does not have these elements (any more).
    AbsentElements { names: Cow<'a, [&'a [u8]]> },
    /// The stream at this key changed.
    Stream(StreamEffect<'a>),
    /// A snapshot of the stream at this key has this part.
    StreamPart(StreamPart<'a>),
    /// The hash, set or sorted set at this key changed.
    Collection(CollectionEffect<'a>),
}

/// Who looks again after an effect on the key that they wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wakes {
    Nobody,
    /// What the key held is gone: an error for those who read for a group, nothing to others.
    GroupReaders,
    Everybody,
}

const SET_STRING: u8 = 1;
const REMOVE: u8 = 2;
const EXPIRE: u8 = 3;
const RENAME_FROM: u8 = 4;
const FLUSH: u8 = 5;
const WRITE_STRING: u8 = 6;
const ENCODE: u8 = 7;
const COPY_FROM: u8 = 8;
const SWAP: u8 = 9;
const ABSENT: u8 = 10;
const ABSENT_ELEMENTS: u8 = 11;

impl<'a> Effect<'a> {
    /// Which of the clients blocked on the key have to look again. Who waits for a sorted set is told by
    /// [`Call::insert`](crate::call::Call::insert) that one has come.
    pub(crate) fn wakes(&self) -> Wakes {
        match self {
            Self::RenameFrom { .. } | Self::CopyFrom { .. } | Self::Swap { .. } | Self::Flush => {
                Wakes::Everybody
            }
            Self::SetString { .. } | Self::Remove => Wakes::GroupReaders,
            Self::Stream(effect) if effect.wakes() => Wakes::Everybody,
            Self::WriteString { .. }
            | Self::Encode { .. }
            | Self::Expire { .. }
            | Self::Stream(_)
            | Self::StreamPart(_)
            | Self::Absent
            | Self::AbsentElements { .. }
            | Self::Collection(_) => Wakes::Nobody,
        }
    }

    /// Since when the entries are pending that it gave to a consumer, in Unix milliseconds.
    pub(crate) fn pending_since_ms(&self) -> Option<u64> {
        if let Self::Stream(effect) = self { effect.pending_since_ms() } else { None }
    }

    /// Whether a transaction that watches the key is broken by it.
    pub(crate) fn breaks_watch(&self) -> bool {
        match self {
            Self::SetString { .. }
            | Self::WriteString { .. }
            | Self::Remove
            | Self::Expire { .. }
            | Self::RenameFrom { .. }
            | Self::CopyFrom { .. }
            | Self::Swap { .. }
            | Self::Flush
            | Self::Collection(_) => true,
            Self::Encode { .. } | Self::StreamPart(_) | Self::Absent | Self::AbsentElements { .. } => false,
            Self::Stream(effect) => effect.breaks_watch(),
        }
    }

    pub(crate) fn encode(&self, database: usize, key: &[u8], out: &mut Writer<'_>) {
        let mut begin = |kind: u8| {
            out.byte(kind);
            out.count(database);
            out.text(key);
        };
        match self {
            Self::SetString { value, expires_at } => {
                begin(SET_STRING);
                out.text(value);
                out.optional(expires_at.map(Timestamp::micros));
            }
            Self::WriteString { at, bytes } => {
                begin(WRITE_STRING);
                out.number(*at);
                out.text(bytes);
            }
            Self::Encode { encoding } => {
                begin(ENCODE);
                out.byte(encoding.number());
            }
            Self::Remove => begin(REMOVE),
            Self::Expire { at } => {
                begin(EXPIRE);
                out.optional(at.map(Timestamp::micros));
            }
            Self::RenameFrom { from } => {
                begin(RENAME_FROM);
                out.text(from);
            }
            Self::CopyFrom { database, from } => {
                begin(COPY_FROM);
                out.count(*database);
                out.text(from);
            }
            Self::Swap { with } => {
                begin(SWAP);
                out.count(*with);
            }
            Self::Flush => begin(FLUSH),
            Self::Absent => begin(ABSENT),
            Self::AbsentElements { names } => {
                begin(ABSENT_ELEMENTS);
                out.count(names.len());
                names.iter().for_each(|name| out.text(name));
            }
            Self::Stream(effect) => {
                begin(effect.kind());
                effect.encode(out);
            }
            Self::StreamPart(part) => {
                begin(part.kind());
                part.encode(out);
            }
            Self::Collection(effect) => {
                begin(effect.kind());
                effect.encode(out);
            }
        }
    }

    /// The effect of a whole record, with its database and key.
    pub(crate) fn decode(record: &'a [u8]) -> Result<(usize, &'a [u8], Self), ReplayError> {
        let mut reader = Reader::new(record);
        let kind = reader.byte()?;
        let database = index(&mut reader)?;
        let key = reader.text()?;
        let effect = match kind {
            SET_STRING => Self::SetString {
                value: reader.text()?,
                expires_at: reader.optional()?.map(Timestamp::from_micros),
            },
            WRITE_STRING => Self::WriteString { at: reader.number()?, bytes: reader.text()? },
            ENCODE => {
                let encoding = Encoding::from_number(reader.byte()?);
                Self::Encode { encoding: encoding.ok_or(ReplayError::Malformed)? }
            }
            REMOVE => Self::Remove,
            EXPIRE => Self::Expire { at: reader.optional()?.map(Timestamp::from_micros) },
            RENAME_FROM => Self::RenameFrom { from: reader.text()? },
            COPY_FROM => Self::CopyFrom { database: index(&mut reader)?, from: reader.text()? },
            SWAP => Self::Swap { with: index(&mut reader)? },
            FLUSH => Self::Flush,
            ABSENT => Self::Absent,
            ABSENT_ELEMENTS => {
                let count = reader.count()?;
                Self::AbsentElements { names: (0..count).map(|_| reader.text()).collect::<Result<_, _>>()? }
            }
            stream::FIRST_KIND..=stream::LAST_KIND => Self::Stream(StreamEffect::decode(kind, &mut reader)?),
            collection::FIRST_KIND..=collection::LAST_KIND => {
                Self::Collection(CollectionEffect::decode(kind, &mut reader)?)
            }
            part::FIRST_KIND..=part::LAST_KIND => Self::StreamPart(StreamPart::decode(kind, &mut reader)?),
            unknown => return Err(ReplayError::UnknownKind(unknown)),
        };
        reader.finish()?;
        Ok((database, key, effect))
    }
}

/// The number of a database.
fn index(reader: &mut Reader<'_>) -> Result<usize, ReplayError> {
    usize::try_from(reader.number()?).map_err(|_| ReplayError::Malformed)
}
