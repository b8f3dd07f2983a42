//! The arguments of a command, as bytes.

use mlua::{MultiValue, Value};

use super::number::write_argument;

/// Arguments that are passed on without an allocation of their list.
const INLINE: usize = 16;

/// Arguments one behind the other, in buffers that are used again.
#[derive(Debug, Default)]
pub(super) struct Words {
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Words {
    /// Takes in the arguments of a call; false if one is neither a string nor a number.
    pub(super) fn fill(&mut self, arguments: &MultiValue) -> bool {
        self.bytes.clear();
        self.ends.clear();
        for value in arguments {
            match value {
                Value::String(text) => self.bytes.extend_from_slice(&text.as_bytes()),
                // Larger ones are written with an exponent.
                Value::Integer(number) if number.unsigned_abs() < 100_000_000_000_000_000 => {
                    self.bytes.extend_from_slice(itoa::Buffer::new().format(*number).as_bytes());
                }
                Value::Integer(number) => write_argument(*number as f64, &mut self.bytes),
                Value::Number(number) => write_argument(*number, &mut self.bytes),
                _ => return false,
            }
            self.ends.push(self.bytes.len());
        }
        true
    }

    /// Hands them over.
    pub(super) fn with(&self, run: impl FnOnce(&[&[u8]])) {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let words =
            starts.zip(&self.ends).map(|(start, &end)| self.bytes.get(start..end).unwrap_or_default());
        let mut inline: [&[u8]; INLINE] = [b""; INLINE];
        match inline.get_mut(..self.ends.len()) {
            Some(list) => {
                for (place, word) in list.iter_mut().zip(words) {
                    *place = word;
                }
                run(list);
            }
            None => run(&words.collect::<Vec<_>>()),
        }
    }
}
