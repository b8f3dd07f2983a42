//! Unsigned integers in as few bytes as they need: seven bits per byte, low bits first, the top bit set on all
//! bytes but the last (LEB128). And strings behind their length.

/// How many bytes [`push`] writes for `value`: 1 to 10.
#[inline]
pub(super) fn len(value: u64) -> usize {
    // One byte per started group of seven bits, at least one.
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Appends `value`.
#[inline]
pub(super) fn push(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// Reads the value at `*position` and moves past it. The bytes were written by [`push`].
#[inline]
pub(super) fn read(bytes: &[u8], position: &mut usize) -> u64 {
    let first = bytes[*position];
    *position += 1;
    // Nearly all values in a block are below 128, and most others below 128 squared.
    if first < 0x80 {
        return u64::from(first);
    }
    let second = bytes[*position];
    if second < 0x80 {
        *position += 1;
        return u64::from(first & 0x7f) | u64::from(second) << 7;
    }
    read_rest(bytes, position, first)
}

fn read_rest(bytes: &[u8], position: &mut usize, first: u8) -> u64 {
    let mut value = u64::from(first & 0x7f);
    for shift in (7..64).step_by(7) {
        let byte = bytes[*position];
        *position += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return value;
        }
    }
    unreachable!("a varint has at most ten bytes");
}

/// How many bytes [`push_string`] writes.
pub(super) fn string_len(string: &[u8]) -> usize {
    len(string.len() as u64) + string.len()
}

/// Appends a string behind its length.
pub(super) fn push_string(bytes: &mut Vec<u8>, string: &[u8]) {
    push(bytes, string.len() as u64);
    bytes.extend_from_slice(string);
}

/// Reads the string at `*offset` and moves past it.
pub(super) fn read_string<'a>(bytes: &'a [u8], offset: &mut usize) -> &'a [u8] {
    let len = read(bytes, offset) as usize;
    let string = &bytes[*offset..*offset + len];
    *offset += len;
    string
}

/// Takes the string off the front of `bytes`.
#[inline]
pub(super) fn take_string<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let mut offset = 0;
    let string = read_string(bytes, &mut offset);
    *bytes = &bytes[offset..];
    string
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_written_in_the_length_announced() {
        let edges = (0..64).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit, (1 << bit) + 1]).chain([u64::MAX]);
        for value in edges {
            let mut bytes = vec![0xff];
            push(&mut bytes, value);
            assert_eq!(bytes.len() - 1, len(value), "{value}");
            let mut position = 1;
            assert_eq!(read(&bytes, &mut position), value);
            assert_eq!(position, bytes.len());
        }
    }
}
