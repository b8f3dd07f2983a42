//! What HSCAN, SSCAN and ZSCAN share with SCAN.

use cauce_resp::Encoder;

use super::{integer, is};
use crate::collections::{Named, PACKED_MAX, Table};
use crate::encoding::Encoding;
use crate::errors::{self, Error};
use crate::glob;

/// The options of a scan.
pub(super) struct ScanOptions<'a> {
    pub(super) pattern: Option<&'a [u8]>,
    pub(super) count: usize,
    /// Only SCAN itself takes it.
    pub(super) type_name: Option<&'a [u8]>,
}

impl<'a> ScanOptions<'a> {
    pub(super) fn parse(mut options: &[&'a [u8]], takes_type: bool) -> Result<Self, Error> {
        let mut parsed = Self { pattern: None, count: 10, type_name: None };
        while let [option, value, rest @ ..] = options {
            options = rest;
            if is(option, "COUNT") {
                let count = usize::try_from(integer(value)?).ok();
                parsed.count = count.filter(|&n| n > 0).ok_or(errors::SYNTAX)?;
            } else if is(option, "MATCH") {
                parsed.pattern = Some(value);
            } else if takes_type && is(option, "TYPE") {
                parsed.type_name = Some(value);
            } else {
                return Err(errors::SYNTAX);
            }
        }
        if options.is_empty() { Ok(parsed) } else { Err(errors::SYNTAX) }
    }

    pub(super) fn matches(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| name_matches(pattern, name))
    }
}

/// A star alone is every name, also the empty one, which it would not match as a pattern.
pub(super) fn name_matches(pattern: &[u8], name: &[u8]) -> bool {
    pattern == b"*" || glob::matches(pattern, name)
}

/// The place to go on at, as C's `strtoul` reads it: nothing is zero, and a sign is allowed.
pub(super) fn cursor(text: &[u8]) -> Result<usize, Error> {
    let (negative, digits) = match text {
        [] => (false, &b"0"[..]),
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    // The standard parser would take a sign of its own.
    let number =
        std::str::from_utf8(digits).ok().filter(|text| text.starts_with(|c: char| c.is_ascii_digit()));
    let number: u64 = number.and_then(|text| text.parse().ok()).ok_or(errors::INVALID_CURSOR)?;
    let number = if negative { number.wrapping_neg() } else { number };
    Ok(usize::try_from(number).unwrap_or(usize::MAX))
}

/// Writes the reply to a scan of a key that is not there.
pub(super) fn write_nothing(reply: &mut Encoder<'_>) {
    reply.array(2);
    reply.bulk(b"0");
    reply.array(0);
}

/// Whether a collection is scanned in one go: those that are compact in Redis, and those that are small here.
pub(super) fn is_whole(encoding: Encoding, len: usize) -> bool {
    matches!(encoding, Encoding::Intset | Encoding::Listpack) || len <= PACKED_MAX
}

/// Writes the elements from a cursor on (`None`: all in one go), each by `write` as `width` replies.
pub(super) fn write_elements<E: Named>(
    reply: &mut Encoder<'_>,
    table: &Table<E>,
    start: Option<usize>,
    options: &ScanOptions<'_>,
    width: usize,
    write: impl Fn(&mut Encoder<'_>, &E),
) {
    let mut elements = table.scan(start.unwrap_or_default());
    let count = start.map_or(usize::MAX, |_| options.count);
    let found: Vec<&E> = elements.by_ref().take(count).map(|(_, element)| element).collect();
    let next = elements.next().map_or(0, |(at, _)| u64::from(at));
    let found: Vec<&E> = found.into_iter().filter(|element| options.matches(element.name())).collect();
    reply.array(2);
    reply.bulk_unsigned(next);
    reply.array(found.len() * width);
    found.into_iter().for_each(|element| write(reply, element));
}
