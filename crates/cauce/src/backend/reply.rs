//! Replies decoded by hand: the values are moved out of the client crate's tree, never copied.

use redis::Value;

use crate::entry::{Entry, EntryId, Fields};
use crate::error::CommandError;

/// A reply, or the error that it holds.
pub(crate) fn checked(value: Value) -> Result<Value, CommandError> {
    match value {
        Value::ServerError(error) => Err(CommandError::Refused {
            code: error.code().to_owned(),
            message: error.details().unwrap_or_default().to_owned(),
        }),
        Value::Attribute { data, .. } => checked(*data),
        value => Ok(value),
    }
}

pub(crate) fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text.into_bytes()),
        Value::Okay => Some(b"OK".to_vec()),
        Value::Int(number) => Some(number.to_string().into_bytes()),
        _ => None,
    }
}

pub(crate) fn text(value: Value) -> Option<String> {
    bytes(value).map(|bytes| {
        String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    })
}

pub(crate) fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
        Value::SimpleString(text) => text.parse().ok(),
        _ => None,
    }
}

pub(crate) fn count(value: &Value) -> Option<u64> {
    integer(value).and_then(|number| u64::try_from(number).ok())
}

pub(crate) fn entry_id(value: &Value) -> Option<EntryId> {
    match value {
        Value::BulkString(bytes) => EntryId::from_bytes(bytes),
        Value::SimpleString(text) => EntryId::from_bytes(text.as_bytes()),
        _ => None,
    }
}

/// A list; nothing counts as the empty list.
pub(crate) fn list(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(items) | Value::Set(items) => Some(items),
        Value::Nil => Some(Vec::new()),
        _ => None,
    }
}

/// Whether the reply to `COMMAND INFO` of one command describes it. Of one that is not known there is nil in the list, or an empty list.
pub(crate) fn has_command(reply: Value) -> bool {
    list(reply).is_some_and(|found| matches!(found.first(), Some(Value::Array(about)) if !about.is_empty()))
}

/// Pairs: a map of RESP3, or the flat list of RESP2.
pub(crate) fn pairs(value: Value) -> Option<Vec<(Value, Value)>> {
    match value {
        Value::Map(pairs) => Some(pairs),
        Value::Array(items) => {
            let mut items = items.into_iter();
            let mut pairs = Vec::with_capacity(items.len() / 2);
            while let Some(first) = items.next() {
                pairs.push((first, items.next()?));
            }
            Some(pairs)
        }
        Value::Nil => Some(Vec::new()),
        _ => None,
    }
}

/// What XINFO says about one thing.
pub(crate) struct Attributes(Vec<(String, Value)>);

impl Attributes {
    pub(crate) fn of(value: Value) -> Option<Self> {
        let pairs = pairs(value)?;
        pairs.into_iter().map(|(name, value)| Some((text(name)?, value))).collect::<Option<_>>().map(Self)
    }

    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.iter_mut().find(|(found, _)| found == name).map(|(_, value)| std::mem::take(value))
    }
}

/// `[id, [name, value, ...]]`; `None` in place of the fields means that the entry was deleted while pending.
pub(crate) fn entry(value: Value) -> Option<(EntryId, Option<Fields>)> {
    let Value::Array(parts) = value else { return None };
    let mut parts = parts.into_iter();
    let id = entry_id(&parts.next()?)?;
    match parts.next()? {
        Value::Array(items) => {
            let mut fields = Fields::with_capacity(items.len() / 2);
            let mut items = items.into_iter();
            while let Some(name) = items.next() {
                fields.push(bytes(name)?, bytes(items.next()?)?);
            }
            Some((id, Some(fields)))
        }
        Value::Nil => Some((id, None)),
        _ => None,
    }
}

/// The entries of XRANGE or XCLAIM that still exist. Redis before 7.0 answers nothing in place of a deleted one.
pub(crate) fn entries(value: Value) -> Option<Vec<Entry>> {
    let items = list(value)?;
    let mut entries = Vec::with_capacity(items.len());
    for item in items {
        if matches!(item, Value::Nil) {
            continue;
        }
        if let (id, Some(fields)) = entry(item)? {
            entries.push(Entry { id, fields });
        }
    }
    Some(entries)
}

/// The reply of XREAD and XREADGROUP: per stream its name and its entries; nothing when the block timed out.
pub(crate) fn streams(value: Value) -> Option<Vec<(Vec<u8>, Vec<Value>)>> {
    match value {
        Value::Map(pairs) => {
            pairs.into_iter().map(|(name, entries)| Some((bytes(name)?, list(entries)?))).collect()
        }
        Value::Array(items) => items
            .into_iter()
            .map(|item| {
                let Value::Array(parts) = item else { return None };
                let mut parts = parts.into_iter();
                Some((bytes(parts.next()?)?, list(parts.next()?)?))
            })
            .collect(),
        Value::Nil => Some(Vec::new()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn a_read_has_the_same_shape_in_both_protocols() {
        let entry = Value::Array(vec![bulk("1-2"), Value::Array(vec![bulk("a"), bulk("b")])]);
        let resp3 = Value::Map(vec![(bulk("s"), Value::Array(vec![entry.clone()]))]);
        let resp2 = Value::Array(vec![Value::Array(vec![bulk("s"), Value::Array(vec![entry.clone()])])]);
        let expected = vec![(b"s".to_vec(), vec![entry.clone()])];
        assert_eq!(streams(resp3), Some(expected.clone()));
        assert_eq!(streams(resp2), Some(expected));
        assert_eq!(streams(Value::Nil), Some(Vec::new()));
        let (id, fields) = super::entry(entry).unwrap();
        assert_eq!((id, fields.unwrap().text("a")), (EntryId::new(1, 2), Some("b")));
    }

    #[test]
    fn deleted_entries_have_no_fields() {
        let deleted = Value::Array(vec![bulk("1-1"), Value::Nil]);
        assert_eq!(entry(deleted.clone()), Some((EntryId::new(1, 1), None)));
        assert_eq!(entries(Value::Array(vec![deleted, Value::Nil])), Some(Vec::new()));
    }
}
