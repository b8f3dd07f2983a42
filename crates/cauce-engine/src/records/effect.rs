//! The kinds of effect and their bytes.

use super::{CollectionEffect, Reader, ReplayError, StreamEffect, Writer, collection, stream};
use crate::time::Timestamp;

/// One change of one key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect<'a> {
    /// The key holds this string; its expiry is replaced too.
    SetString { value: &'a [u8], expires_at: Option<Timestamp> },
    /// The key is gone.
    Remove,
    /// The key expires then, or never.
    Expire { at: Option<Timestamp> },
    /// The value moved here from `from` of the same database, with its expiry; what was here is gone.
    RenameFrom { from: &'a [u8] },
    /// Every key of the database is gone. The key is empty.
    Flush,
    /// The stream at this key changed.
    Stream(StreamEffect<'a>),
    /// The hash, set or sorted set at this key changed.
    Collection(CollectionEffect<'a>),
}

const SET_STRING: u8 = 1;
const REMOVE: u8 = 2;
const EXPIRE: u8 = 3;
const RENAME_FROM: u8 = 4;
const FLUSH: u8 = 5;

impl<'a> Effect<'a> {
    /// Whether clients blocked on the key have to look again.
    pub(crate) fn wakes(&self) -> bool {
        match self {
            Self::SetString { .. } | Self::Remove | Self::RenameFrom { .. } | Self::Flush => true,
            Self::Expire { .. } => false,
            Self::Stream(effect) => effect.wakes(),
            Self::Collection(effect) => effect.wakes(),
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
            | Self::Remove
            | Self::Expire { .. }
            | Self::RenameFrom { .. }
            | Self::Flush
            | Self::Collection(_) => true,
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
            Self::Remove => begin(REMOVE),
            Self::Expire { at } => {
                begin(EXPIRE);
                out.optional(at.map(Timestamp::micros));
            }
            Self::RenameFrom { from } => {
                begin(RENAME_FROM);
                out.text(from);
            }
            Self::Flush => begin(FLUSH),
            Self::Stream(effect) => {
                begin(effect.kind());
                effect.encode(out);
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
        let database = usize::try_from(reader.number()?).map_err(|_| ReplayError::Malformed)?;
        let key = reader.text()?;
        let effect = match kind {
            SET_STRING => Self::SetString {
                value: reader.text()?,
                expires_at: reader.optional()?.map(Timestamp::from_micros),
            },
            REMOVE => Self::Remove,
            EXPIRE => Self::Expire { at: reader.optional()?.map(Timestamp::from_micros) },
            RENAME_FROM => Self::RenameFrom { from: reader.text()? },
            FLUSH => Self::Flush,
            stream::FIRST_KIND..=stream::LAST_KIND => Self::Stream(StreamEffect::decode(kind, &mut reader)?),
            collection::FIRST_KIND..=collection::LAST_KIND => {
                Self::Collection(CollectionEffect::decode(kind, &mut reader)?)
            }
            unknown => return Err(ReplayError::UnknownKind(unknown)),
        };
        reader.finish()?;
        Ok((database, key, effect))
    }
}
