//! Hashes.

use super::table::{Named, Table};

/// Named values.
#[derive(Debug, Clone)]
pub(crate) struct Hash {
    fields: Table<Field>,
}

/// A field's name and value behind each other: one allocation for both.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    bytes: Box<[u8]>,
    name_len: u32,
}

impl Field {
    fn new(name: &[u8], value: &[u8]) -> Self {
        let name_len = u32::try_from(name.len()).expect("requests are shorter than 4 GB");
        Self { bytes: [name, value].concat().into(), name_len }
    }

    pub(crate) fn name(&self) -> &[u8] {
        self.bytes.get(..self.name_len as usize).expect("the name comes first")
    }

    pub(crate) fn value(&self) -> &[u8] {
        self.bytes.get(self.name_len as usize..).expect("the value follows the name")
    }
}

impl Named for Field {
    fn name(&self) -> &[u8] {
        self.name()
    }
}

impl Hash {
    pub(crate) fn new(seed: u64) -> Self {
        Self { fields: Table::packed(seed) }
    }

    pub(crate) fn len(&self) -> usize {
        self.fields.len()
    }

    pub(crate) fn value(&self, name: &[u8]) -> Option<&[u8]> {
        self.fields.find(name).map(|at| self.fields.get(at).value())
    }

    /// Sets a field; says whether it is new.
    pub(crate) fn set(&mut self, name: &[u8], value: &[u8]) -> bool {
        match self.fields.find(name) {
            Some(at) => {
                let field = self.fields.get_mut(at);
                let before = field.name_len as usize;
                match field.bytes.get_mut(before..) {
                    Some(old) if old.len() == value.len() => old.copy_from_slice(value),
                    _ => *field = Field::new(name, value),
                }
                false
            }
            None => {
                self.fields.insert(Field::new(name, value));
                true
            }
        }
    }

    /// Deletes a field; says whether it was there.
    pub(crate) fn delete(&mut self, name: &[u8]) -> bool {
        self.fields.find(name).map(|at| self.fields.remove(at)).is_some()
    }

    /// The fields in their places.
    pub(crate) fn fields(&self) -> &Table<Field> {
        &self.fields
    }
}
