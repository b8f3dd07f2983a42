//! `LCS key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]`: the longest common subsequence.

use std::ops::Range;

use crate::call::{Call, Flow};
use crate::commands::{arg, from, integer, is};
use crate::errors::{self, Error};
use crate::keyspace::Object;

/// What the reply has.
#[derive(Debug, Default)]
struct Options {
    len: bool,
    indexes: bool,
    /// Shorter matches are left out of the indexes.
    min_match_len: usize,
    with_match_len: bool,
}

impl Options {
    fn parse(mut options: &[&[u8]]) -> Result<Self, Error> {
        let mut parsed = Self::default();
        while let [option, rest @ ..] = options {
            options = rest;
            match (rest, ()) {
                _ if is(option, "LEN") => parsed.len = true,
                _ if is(option, "IDX") => parsed.indexes = true,
                _ if is(option, "WITHMATCHLEN") => parsed.with_match_len = true,
                ([min, rest @ ..], ()) if is(option, "MINMATCHLEN") => {
                    parsed.min_match_len = usize::try_from(integer(min)?).unwrap_or_default();
                    options = rest;
                }
                _ => return Err(errors::SYNTAX),
            }
        }
        if parsed.len && parsed.indexes { Err(errors::LCS_LEN_AND_IDX) } else { Ok(parsed) }
    }
}

pub(super) fn lcs(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let slots = [arg(args, 1), arg(args, 2)].map(|key| call.find(key));
    let value = |slot| match slot {
        None => Ok(&b""[..]),
        Some(slot) => match &call.core.database(call.db).entry(slot).object {
            Object::String(value) => Ok(value.as_slice()),
            _ => Err(errors::LCS_NO_STRING),
        },
    };
    let (a, b) = (value(slots[0])?, value(slots[1])?);
    let options = Options::parse(from(args, 3))?;
    let lengths = Lengths::new(a, b, call.core.settings.proto_max_bulk_len)?;
    if options.len {
        call.reply.count(lengths.of(a.len(), b.len()));
        return Ok(Flow::Done);
    }
    let matches = lengths.matches(a, b);
    if !options.indexes {
        let common = matches.iter().rev().filter_map(|found| a.get(found.a.clone()));
        call.reply.bulk(&common.flatten().copied().collect::<Vec<u8>>());
        return Ok(Flow::Done);
    }
    let shown: Vec<&Match> = matches.iter().filter(|found| found.a.len() >= options.min_match_len).collect();
    call.reply.map(2);
    call.reply.bulk(b"matches");
    call.reply.array(shown.len());
    for found in shown {
        call.reply.array(if options.with_match_len { 3 } else { 2 });
        for range in [&found.a, &found.b] {
            call.reply.array(2);
            call.reply.count(range.start);
            call.reply.count(range.end - 1);
        }
        if options.with_match_len {
            call.reply.count(found.a.len());
        }
    }
    call.reply.bulk(b"len");
    call.reply.count(lengths.of(a.len(), b.len()));
    Ok(Flow::Done)
}

/// Bytes that are the same in both strings, one behind the other; never empty.
#[derive(Debug, PartialEq, Eq)]
struct Match {
    a: Range<usize>,
    b: Range<usize>,
}

/// How long the longest common subsequence of each beginning of `a` with each beginning of `b` is.
struct Lengths {
    cells: Vec<u32>,
    width: usize,
}

impl Lengths {
    /// Fails if the table would take more than `bytes_max`.
    fn new(a: &[u8], b: &[u8], bytes_max: usize) -> Result<Self, Error> {
        let width = b.len() + 1;
        let cells = (a.len() + 1).checked_mul(width).filter(|&cells| cells <= bytes_max / size_of::<u32>());
        let mut cells = vec![0; cells.ok_or(errors::LCS_TOO_LARGE)?];
        let (mut above, mut rest) = cells.split_at_mut(width);
        for &byte in a {
            let (row, below) = rest.split_at_mut(width);
            let mut left = 0;
            let neighbours = above.iter().zip(above.iter().skip(1));
            for ((cell, &other), (&diagonal, &up)) in row.iter_mut().skip(1).zip(b).zip(neighbours) {
                left = if byte == other { diagonal + 1 } else { up.max(left) };
                *cell = left;
            }
            (above, rest) = (row, below);
        }
        Ok(Self { cells, width })
    }

    fn of(&self, a_len: usize, b_len: usize) -> usize {
        self.cells.get(a_len * self.width + b_len).map_or(0, |&len| len as usize)
    }

    /// The longest common subsequence, from its end to its beginning, as Redis chooses among several.
    fn matches(&self, a: &[u8], b: &[u8]) -> Vec<Match> {
        let mut matches: Vec<Match> = Vec::new();
        let (mut i, mut j) = (a.len(), b.len());
        while i > 0 && j > 0 {
            if a.get(i - 1) == b.get(j - 1) {
                match matches.last_mut().filter(|last| last.a.start == i && last.b.start == j) {
                    Some(last) => (last.a.start, last.b.start) = (i - 1, j - 1),
                    None => matches.push(Match { a: i - 1..i, b: j - 1..j }),
                }
                (i, j) = (i - 1, j - 1);
            } else if self.of(i - 1, j) > self.of(i, j - 1) {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        matches
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_beyond_the_limit_is_refused() {
        assert!(Lengths::new(b"abc", b"abc", 64).is_ok());
        assert!(Lengths::new(b"abc", b"abc", 63).is_err());
    }

    #[test]
    fn matches_come_from_the_end() {
        let (a, b) = (b"ohmytext", b"mynewtext");
        let lengths = Lengths::new(a, b, usize::MAX).expect("no limit");
        assert_eq!(lengths.of(a.len(), b.len()), 6);
        let expected = [Match { a: 4..8, b: 5..9 }, Match { a: 2..4, b: 0..2 }];
        assert_eq!(lengths.matches(a, b), expected);
    }
}
