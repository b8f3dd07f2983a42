//! The codec `fields`: one field per value of a flat struct. Values that are not flat (lists, structs) are JSON text in their field.

use std::collections::HashSet;
use std::fmt;

use serde::de::value::BytesDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, Visitor};
use serde::ser::{Impossible, SerializeMap, SerializeStruct};
use serde::{Serialize, Serializer, forward_to_deserialize_any};

use super::flat_value::Text;
use super::json;
use super::plain::Plain;
use crate::entry::{self, Fields};
use crate::event::{DecodeError, EncodeError};

/// Appends one field per value. `None` and `()` are left out.
///
/// # Errors
/// If the payload is not a struct or map of values.
pub fn encode<T: Serialize>(payload: &T, fields: &mut Fields) -> Result<(), EncodeError> {
    Ok(payload.serialize(Writer(fields))?)
}

/// Reads the flat fields; an entry that holds JSON in `data` and says so in `content-type` is read as JSON.
///
/// # Errors
/// If they don't fit the type.
pub fn decode<T: DeserializeOwned>(fields: &Fields) -> Result<T, DecodeError> {
    match fields.text(json::CONTENT_TYPE) {
        Some(json::APPLICATION_JSON) if fields.field(json::DATA).is_some() => json::decode(fields),
        _ => read(fields).map_err(DecodeError::Fields),
    }
}

/// Reads a struct whose values each stand in a field.
pub(crate) fn read<T: DeserializeOwned>(fields: &Fields) -> Result<T, FlatError> {
    T::deserialize(Reader { fields })
}

/// A flat entry that does not fit the type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct FlatError {
    field: Option<String>,
    problem: String,
}

impl FlatError {
    /// The field that does not fit, if it is one.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    fn at(mut self, field: &[u8]) -> Self {
        self.field.get_or_insert_with(|| String::from_utf8_lossy(field).into_owned());
        self
    }
}

impl fmt::Display for FlatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) => write!(f, "field `{field}`: {}", self.problem),
            None => f.write_str(&self.problem),
        }
    }
}

impl serde::de::Error for FlatError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { field: None, problem: message.to_string() }
    }
}

struct Reader<'a> {
    fields: &'a Fields,
}

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = FlatError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FlatError> {
        visitor.visit_map(Pairs { rest: self.fields.pairs(), seen: Seen::default(), value: None })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, FlatError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FlatError> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, FlatError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

struct Pairs<'a> {
    rest: entry::Pairs<'a>,
    seen: Seen<'a>,
    value: Option<(&'a [u8], &'a [u8])>,
}

/// The names so far. Most entries have few, which are the quickest looked through; one with thousands must not cost their square.
#[derive(Default)]
struct Seen<'a> {
    few: Vec<&'a [u8]>,
    many: HashSet<&'a [u8]>,
}

impl<'a> Seen<'a> {
    const FEW: usize = 32;

    /// Whether it is the first of that name.
    fn is_new(&mut self, name: &'a [u8]) -> bool {
        if self.few.contains(&name) {
            return false;
        }
        if self.few.len() < Self::FEW {
            self.few.push(name);
            return true;
        }
        self.many.insert(name)
    }
}

impl<'de> MapAccess<'de> for Pairs<'de> {
    type Error = FlatError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, FlatError> {
        loop {
            let Some((name, value)) = self.rest.next() else { return Ok(None) };
            if self.seen.is_new(name) {
                self.value = Some((name, value));
                return match std::str::from_utf8(name) {
                    Ok(text) => seed.deserialize(text.into_deserializer()),
                    Err(_) => seed.deserialize(BytesDeserializer::new(name)),
                }
                .map(Some);
            }
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, FlatError> {
        let (name, value) = self.value.take().expect("serde asks for a value only after its key");
        seed.deserialize(Text(value)).map_err(|error: FlatError| error.at(name))
    }
}

struct Writer<'a>(&'a mut Fields);

impl Writer<'_> {
    fn pair<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), serde_json::Error> {
        use serde_json::Value;
        if value.serialize(Plain { fields: self.0, name }).is_ok() {
            return Ok(());
        }
        let text = match serde_json::to_value(value)? {
            Value::Null => return Ok(()),
            Value::String(text) => text,
            other => other.to_string(),
        };
        self.0.push_text(name, text);
        Ok(())
    }
}

impl SerializeStruct for Writer<'_> {
    type Ok = ();
    type Error = serde_json::Error;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Self::Error> {
        self.pair(name, value)
    }

    fn end(self) -> Result<(), Self::Error> {
        Ok(())
    }
}

impl SerializeMap for Writer<'_> {
    type Ok = ();
    type Error = serde_json::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, _: &T) -> Result<(), Self::Error> {
        Err(not_flat())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, _: &T) -> Result<(), Self::Error> {
        Err(not_flat())
    }

    fn serialize_entry<K, V>(&mut self, key: &K, value: &V) -> Result<(), Self::Error>
    where
        K: Serialize + ?Sized,
        V: Serialize + ?Sized,
    {
        match serde_json::to_value(key)? {
            serde_json::Value::String(name) => self.pair(&name, value),
            other => self.pair(&other.to_string(), value),
        }
    }

    fn end(self) -> Result<(), Self::Error> {
        Ok(())
    }
}

fn not_flat() -> serde_json::Error {
    serde::ser::Error::custom(
        "the codec `fields` writes structs with named fields; use the codec `json` for other shapes",
    )
}

macro_rules! not_flat {
    ($($method:ident $type:ty,)*) => { $(fn $method(self, _: $type) -> Result<(), Self::Error> { Err(not_flat()) })* };
}

impl Serializer for Writer<'_> {
    type Ok = ();
    type Error = serde_json::Error;
    type SerializeSeq = Impossible<(), serde_json::Error>;
    type SerializeTuple = Impossible<(), serde_json::Error>;
    type SerializeTupleStruct = Impossible<(), serde_json::Error>;
    type SerializeTupleVariant = Impossible<(), serde_json::Error>;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Impossible<(), serde_json::Error>;

    not_flat! {
        serialize_bool bool, serialize_i8 i8, serialize_i16 i16, serialize_i32 i32, serialize_i64 i64, serialize_u8 u8,
        serialize_u16 u16, serialize_u32 u32, serialize_u64 u64, serialize_f32 f32, serialize_f64 f64, serialize_char char,
        serialize_str &str, serialize_bytes &[u8],
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Self::Error> {
        Ok(self)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self, Self::Error> {
        Ok(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Self::Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Self::Error> {
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Self::Error> {
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Self::Error> {
        Err(not_flat())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<(), Self::Error> {
        Err(not_flat())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<(), Self::Error> {
        Err(not_flat())
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Self::Error> {
        Err(not_flat())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, Self::Error> {
        Err(not_flat())
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Self::Error> {
        Err(not_flat())
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, Self::Error> {
        Err(not_flat())
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Self::Error> {
        Err(not_flat())
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Self::Error> {
        Err(not_flat())
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        Late,
        Early,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Flight {
        number: String,
        minutes: i32,
        ratio: f64,
        international: bool,
        gate: Option<String>,
        kind: Kind,
        stops: Vec<String>,
    }

    fn flight() -> Flight {
        Flight {
            number: "UA 1".to_owned(),
            minutes: -5,
            ratio: 0.5,
            international: true,
            gate: None,
            kind: Kind::Early,
            stops: vec!["ORD".to_owned()],
        }
    }

    #[test]
    fn a_struct_becomes_one_field_per_value_and_back() {
        let mut fields = Fields::new();
        encode(&flight(), &mut fields).unwrap();
        assert_eq!(fields.text("minutes"), Some("-5"));
        assert_eq!(fields.text("international"), Some("true"));
        assert_eq!(fields.text("kind"), Some("early"));
        assert_eq!(fields.text("stops"), Some(r#"["ORD"]"#));
        assert_eq!(fields.field("gate"), None);
        assert_eq!(decode::<Flight>(&fields).unwrap(), flight());
    }

    #[test]
    fn texts_written_by_hand_are_parsed_as_the_struct_wants_them() {
        #[derive(Debug, PartialEq, Deserialize)]
        struct Typed {
            key_1: String,
            count: u64,
            on: bool,
            #[serde(default)]
            absent: Option<u8>,
        }
        let mut fields = Fields::new();
        for (name, value) in [("action", "x"), ("key_1", "42"), ("count", "42"), ("on", "1"), ("count", "7")]
        {
            fields.push_text(name, value);
        }
        let expected = Typed { key_1: "42".to_owned(), count: 42, on: true, absent: None };
        assert_eq!(read::<Typed>(&fields).unwrap(), expected);
    }

    #[test]
    fn an_error_names_the_field() {
        #[derive(Debug, Deserialize)]
        #[expect(dead_code, reason = "only its decoding is looked at")]
        struct Typed {
            count: u64,
        }
        let mut fields = Fields::new();
        fields.push_text("count", "many");
        let error = read::<Typed>(&fields).unwrap_err();
        assert_eq!(error.to_string(), "field `count`: `many` is not a u64");
        assert_eq!(read::<Typed>(&Fields::new()).unwrap_err().to_string(), "missing field `count`");
    }

    #[test]
    fn only_structs_can_be_flat() {
        let error = encode(&7, &mut Fields::new()).unwrap_err();
        assert!(error.to_string().contains("use the codec `json`"), "{error}");
    }
}
