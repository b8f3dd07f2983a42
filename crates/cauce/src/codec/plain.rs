//! Values that are texts as they are: strings, integers, variants without content. They are written without a tree in between.

use std::fmt;

use serde::ser::{Impossible, Serialize, Serializer};

use crate::entry::Fields;

/// Writes one value into a field of that name; a value that is nothing writes no field.
pub(super) struct Plain<'a> {
    pub(super) fields: &'a mut Fields,
    pub(super) name: &'a str,
}

/// The value is not plain. Nothing was written.
#[derive(Debug)]
pub(super) struct NotPlain;

impl fmt::Display for NotPlain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a plain value")
    }
}

impl std::error::Error for NotPlain {}

impl serde::ser::Error for NotPlain {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

macro_rules! integers {
    ($($method:ident $type:ty,)*) => {
        $(fn $method(self, value: $type) -> Result<(), NotPlain> {
            self.serialize_str(itoa::Buffer::new().format(value))
        })*
    };
}

macro_rules! not_plain {
    ($($method:ident($($argument:ty),*) -> $ok:ty,)*) => {
        $(fn $method(self, $(_: $argument),*) -> Result<$ok, NotPlain> {
            Err(NotPlain)
        })*
    };
}

impl Serializer for Plain<'_> {
    type Ok = ();
    type Error = NotPlain;
    type SerializeSeq = Impossible<(), NotPlain>;
    type SerializeTuple = Impossible<(), NotPlain>;
    type SerializeTupleStruct = Impossible<(), NotPlain>;
    type SerializeTupleVariant = Impossible<(), NotPlain>;
    type SerializeMap = Impossible<(), NotPlain>;
    type SerializeStruct = Impossible<(), NotPlain>;
    type SerializeStructVariant = Impossible<(), NotPlain>;

    integers! {
        serialize_i8 i8, serialize_i16 i16, serialize_i32 i32, serialize_i64 i64,
        serialize_u8 u8, serialize_u16 u16, serialize_u32 u32, serialize_u64 u64,
    }

    not_plain! {
        serialize_f32(f32) -> (),
        serialize_f64(f64) -> (),
        serialize_bytes(&[u8]) -> (),
        serialize_seq(Option<usize>) -> Self::SerializeSeq,
        serialize_tuple(usize) -> Self::SerializeTuple,
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct,
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Self::SerializeTupleVariant,
        serialize_map(Option<usize>) -> Self::SerializeMap,
        serialize_struct(&'static str, usize) -> Self::SerializeStruct,
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Self::SerializeStructVariant,
    }

    fn serialize_str(self, value: &str) -> Result<(), NotPlain> {
        self.fields.push_text(self.name, value);
        Ok(())
    }

    fn serialize_bool(self, value: bool) -> Result<(), NotPlain> {
        self.serialize_str(if value { "true" } else { "false" })
    }

    fn serialize_char(self, value: char) -> Result<(), NotPlain> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), NotPlain> {
        self.serialize_str(variant)
    }

    fn serialize_none(self) -> Result<(), NotPlain> {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), NotPlain> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), NotPlain> {
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), NotPlain> {
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), NotPlain> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), NotPlain> {
        Err(NotPlain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Serialize)]
    enum Kind {
        Late,
        By(u8),
    }

    /// What is plain is written as its JSON says, without the quotes.
    fn check<T: Serialize>(value: &T) {
        let mut fields = Fields::new();
        let plain = value.serialize(Plain { fields: &mut fields, name: "x" });
        let expected = match serde_json::to_value(value).unwrap() {
            serde_json::Value::Null => None,
            serde_json::Value::String(text) => Some(text),
            other => Some(other.to_string()),
        };
        match plain {
            Ok(()) => assert_eq!(fields.text("x"), expected.as_deref()),
            Err(_) => assert!(fields.is_empty()),
        }
    }

    #[test]
    fn plain_values_are_written_as_json_has_them() {
        check(&"text \"quoted\"");
        check(&i64::MIN);
        check(&u64::MAX);
        check(&true);
        check(&'é');
        check(&Kind::Late);
        check(&Some(Some(7_u8)));
        check(&None::<u8>);
        check(&());
        check(&std::num::Wrapping(7));
        check(&std::time::Duration::from_secs(1));
        check(&0.5);
        check(&Kind::By(1));
        check(&[1, 2]);
    }
}
