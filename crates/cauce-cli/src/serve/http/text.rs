//! Bytes of Redis as JSON. Names and values are nearly always UTF-8; where they are not, JSON texts show U+FFFD in place of what is no
//! text, and the bytes stand beside them in base64, so that nothing is lost.

use std::collections::HashSet;
use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cauce::{Entry, Fields};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use utoipa::ToSchema;

/// Names and values in the order in which they were written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pairs(Vec<(String, String)>);

impl Pairs {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn into_fields(self) -> Fields {
        let mut fields = Fields::new();
        for (name, value) in self.0 {
            fields.push(name.into_bytes(), value.into_bytes());
        }
        fields
    }
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor)
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Pairs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object whose values are strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Pairs(pairs))
    }
}

/// An entry of a stream.
#[derive(Debug, serde::Serialize, ToSchema)]
pub(super) struct EntryView {
    /// Its id.
    #[schema(example = "1700000000000-0")]
    id: String,
    /// Its fields. Of fields that share a name the first is here.
    #[schema(value_type = std::collections::HashMap<String, String>)]
    fields: FieldsView,
    /// All names and values in order, each in base64. Only there if `fields` can't hold the whole entry, because names repeat or something is
    /// not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pairs_base64: Option<Vec<[String; 2]>>,
}

impl From<Entry> for EntryView {
    fn from(entry: Entry) -> Self {
        let fields = &entry.fields;
        let is_text = |bytes| std::str::from_utf8(bytes).is_ok();
        let mut names = HashSet::new();
        let is_whole =
            fields.iter().all(|(name, value)| is_text(name) && is_text(value) && names.insert(name));
        let encoded = |(name, value)| [base64(name), base64(value)];
        let pairs_base64 = (!is_whole).then(|| fields.iter().map(encoded).collect());
        Self { id: entry.id.to_string(), fields: FieldsView(entry.fields), pairs_base64 }
    }
}

#[derive(Debug)]
struct FieldsView(Fields);

impl Serialize for FieldsView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let mut seen = HashSet::new();
        for (name, value) in self.0.iter() {
            let name = String::from_utf8_lossy(name);
            if !seen.contains(&name) {
                map.serialize_entry(&name, &String::from_utf8_lossy(value))?;
                seen.insert(name);
            }
        }
        map.end()
    }
}

pub(super) fn base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use cauce::EntryId;

    use super::*;

    #[test]
    fn fields_keep_their_order_and_repeats() {
        let pairs: Pairs = serde_json::from_str(r#"{"b": "1", "a": "2", "b": "3"}"#).unwrap();
        let fields = pairs.into_fields();
        let shown: Vec<_> = fields.iter().collect();
        assert_eq!(shown, [(&b"b"[..], &b"1"[..]), (b"a", b"2"), (b"b", b"3")]);
        let error = serde_json::from_str::<Pairs>(r#"{"a": 1}"#).unwrap_err().to_string();
        assert!(error.contains("expected a string"), "{error}");
    }

    #[test]
    fn what_json_can_not_hold_stands_beside_it() {
        let check = |pairs: &[(&'static [u8], &'static [u8])], expected: &str| {
            let mut fields = Fields::new();
            for (name, value) in pairs {
                fields.push(*name, *value);
            }
            let view = EntryView::from(Entry { id: EntryId::new(1, 2), fields });
            assert_eq!(serde_json::to_string(&view).unwrap(), expected);
        };
        check(&[(b"b", b"1"), (b"a", b"2")], r#"{"id":"1-2","fields":{"b":"1","a":"2"}}"#);
        check(
            &[(b"a", b"1"), (b"a", b"2")],
            r#"{"id":"1-2","fields":{"a":"1"},"pairs_base64":[["YQ==","MQ=="],["YQ==","Mg=="]]}"#,
        );
        check(
            &[(b"a", b"\xFF")],
            "{\"id\":\"1-2\",\"fields\":{\"a\":\"\u{FFFD}\"},\"pairs_base64\":[[\"YQ==\",\"/w==\"]]}",
        );
    }
}
