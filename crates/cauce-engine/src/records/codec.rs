//! The primitives of records.

use super::ReplayError;

/// Appends primitives to a buffer.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    bytes: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(bytes: &'a mut Vec<u8>) -> Self {
        Self { bytes }
    }

    pub(crate) fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    pub(crate) fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    pub(crate) fn count(&mut self, value: usize) {
        self.number(value as u64);
    }

    pub(crate) fn text(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.bytes.extend_from_slice(bytes);
    }

    /// Eight bytes, so that every bit comes back.
    pub(crate) fn double(&mut self, value: f64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// `None` as 0, a value as itself plus one.
    pub(crate) fn optional(&mut self, value: Option<u64>) {
        self.number(value.map_or(0, |value| value.saturating_add(1)));
    }
}

/// Reads what [`Writer`] wrote; every method fails on bytes that are not there.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(crate) fn byte(&mut self) -> Result<u8, ReplayError> {
        let (&byte, rest) = self.bytes.split_first().ok_or(ReplayError::Malformed)?;
        self.bytes = rest;
        Ok(byte)
    }

    pub(crate) fn number(&mut self) -> Result<u64, ReplayError> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(ReplayError::Malformed);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(ReplayError::Malformed)
    }

    /// A count of things that each take at least one byte: a larger count cannot be honest.
    pub(crate) fn count(&mut self) -> Result<usize, ReplayError> {
        let count = usize::try_from(self.number()?).map_err(|_| ReplayError::Malformed)?;
        if count > self.bytes.len() { Err(ReplayError::Malformed) } else { Ok(count) }
    }

    pub(crate) fn text(&mut self) -> Result<&'a [u8], ReplayError> {
        let len = self.count()?;
        let (text, rest) = self.bytes.split_at_checked(len).ok_or(ReplayError::Malformed)?;
        self.bytes = rest;
        Ok(text)
    }

    pub(crate) fn double(&mut self) -> Result<f64, ReplayError> {
        let (bytes, rest) = self.bytes.split_first_chunk().ok_or(ReplayError::Malformed)?;
        self.bytes = rest;
        Ok(f64::from_le_bytes(*bytes))
    }

    pub(crate) fn optional(&mut self) -> Result<Option<u64>, ReplayError> {
        Ok(self.number()?.checked_sub(1))
    }

    /// Fails if bytes are left over.
    pub(crate) fn finish(self) -> Result<(), ReplayError> {
        if self.bytes.is_empty() { Ok(()) } else { Err(ReplayError::Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let numbers = [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX];
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        for number in numbers {
            writer.number(number);
        }
        writer.text(b"key");
        writer.double(-0.5);
        writer.optional(None);
        writer.optional(Some(7));
        let mut reader = Reader::new(&bytes);
        for number in numbers {
            assert_eq!(reader.number(), Ok(number));
        }
        assert_eq!(reader.text(), Ok(&b"key"[..]));
        assert_eq!(reader.double(), Ok(-0.5));
        assert_eq!((reader.optional(), reader.optional()), (Ok(None), Ok(Some(7))));
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn damage_is_reported_not_guessed() {
        assert_eq!(Reader::new(&[0x80]).number(), Err(ReplayError::Malformed));
        assert_eq!(Reader::new(&[0xff; 10]).number(), Err(ReplayError::Malformed));
        assert_eq!(Reader::new(&[5, b'a']).text(), Err(ReplayError::Malformed));
        assert_eq!(Reader::new(&[0]).finish(), Err(ReplayError::Malformed));
    }
}
