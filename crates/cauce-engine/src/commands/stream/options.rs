//! Arguments that several commands read alike.

use crate::commands::{arg, from, integer, is};
use crate::config::Settings;
use crate::errors::{self, Error, stream as texts};
use crate::stream::{Entries, IntervalIdError, Needs, Stream, StreamId, Trim};

/// A strict id: no `-`, `+` or `(`; `ms` alone means `ms-0`.
pub(super) fn strict_id(text: &[u8]) -> Result<StreamId, Error> {
    StreamId::parse(text, 0).map_err(|_| texts::INVALID_ID)
}

/// Ids that must all be read before anything is changed.
pub(super) fn strict_ids(texts: &[&[u8]]) -> Result<Vec<StreamId>, Error> {
    texts.iter().map(|text| strict_id(text)).collect()
}

/// The first id of an interval.
pub(super) fn interval_start(text: &[u8]) -> Result<StreamId, Error> {
    StreamId::parse_interval_start(text).map_err(|error| match error {
        IntervalIdError::Invalid => texts::INVALID_ID,
        IntervalIdError::Empty => texts::INVALID_START,
    })
}

/// The last id of an interval.
pub(super) fn interval_end(text: &[u8]) -> Result<StreamId, Error> {
    StreamId::parse_interval_end(text).map_err(|error| match error {
        IntervalIdError::Invalid => texts::INVALID_ID,
        IntervalIdError::Empty => texts::INVALID_END,
    })
}

/// The options that come before XADD's id or make up XTRIM.
#[derive(Debug, Default)]
pub(super) struct AddOrTrim<'a> {
    pub(super) trim: Option<TrimRequest>,
    /// XADD adds what the producer has not added before.
    pub(super) once: Option<Once<'a>>,
    pub(super) nomkstream: bool,
    /// What becomes of pending entries whose entry is trimmed away.
    pub(super) references: Option<References>,
    /// Where the first argument is that is no option; the end, if there is none.
    pub(super) end: usize,
}

/// How an addition is told from others of its producer (Redis 8.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Once<'a> {
    /// `IDMP`: by an id that the producer gives.
    Id { producer: &'a [u8], iid: &'a [u8] },
    /// `IDMPAUTO`: by the entry's fields.
    Fields { producer: &'a [u8] },
}

impl<'a> Once<'a> {
    /// Reads `IDMPAUTO producer` or `IDMP producer id`; `None` if it is neither.
    fn read(args: &[&'a [u8]]) -> Result<Option<(Self, usize)>, Error> {
        match *args {
            [option, producer, ..] if is(option, "IDMPAUTO") => {
                if producer.is_empty() {
                    return Err(texts::IDMPAUTO_NO_PRODUCER);
                }
                Ok(Some((Self::Fields { producer }, 2)))
            }
            [option, producer, iid, ..] if is(option, "IDMP") => match (producer, iid) {
                (b"", _) => Err(texts::IDMP_NO_PRODUCER),
                (_, b"") => Err(texts::IDMP_NO_ID),
                _ => Ok(Some((Self::Id { producer, iid }, 3))),
            },
            _ => Ok(None),
        }
    }
}

/// What becomes of the groups' pending entries when the stream's entry goes (Redis 8.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum References {
    /// `KEEPREF`: they stay.
    #[default]
    Keep,
    /// `DELREF`: they go too.
    Remove,
    /// `ACKED`: an entry that a group still needs does not go.
    Respect,
}

impl References {
    /// The mode that an argument names. A second one is an error.
    pub(super) fn read(word: &[u8], before: Option<Self>) -> Result<Option<Self>, Error> {
        let mode = match () {
            () if is(word, "KEEPREF") => Self::Keep,
            () if is(word, "DELREF") => Self::Remove,
            () if is(word, "ACKED") => Self::Respect,
            () => return Ok(None),
        };
        if before.is_some() { Err(errors::SYNTAX) } else { Ok(Some(mode)) }
    }
}

/// `[KEEPREF|DELREF|ACKED] IDS numids id [id ...]`, in any order.
#[derive(Debug)]
pub(super) struct IdBlock {
    pub(super) references: References,
    pub(super) ids: Vec<StreamId>,
}

impl IdBlock {
    pub(super) fn parse(mut args: &[&[u8]]) -> Result<Self, Error> {
        let (mut references, mut ids) = (None, None);
        while let [word, rest @ ..] = args {
            args = match rest {
                [count, rest @ ..] if is(word, "IDS") => {
                    let (block, rest) = counted_ids(count, rest)?;
                    ids = Some(block);
                    rest
                }
                _ => match References::read(word, references)? {
                    Some(mode) => {
                        references = Some(mode);
                        rest
                    }
                    None => return Err(errors::SYNTAX),
                },
            };
        }
        let ids = strict_ids(ids.ok_or(texts::IDS_REQUIRED)?)?;
        Ok(Self { references: references.unwrap_or_default(), ids })
    }
}

/// So many ids as `count` says, and what comes after them.
type Counted<'s, 'a> = (&'s [&'a [u8]], &'s [&'a [u8]]);

fn counted_ids<'s, 'a>(count: &[u8], rest: &'s [&'a [u8]]) -> Result<Counted<'s, 'a>, Error> {
    let count = cauce_resp::parse_i64(count).and_then(|count| usize::try_from(count).ok());
    let count = count.filter(|&count| count > 0).ok_or(texts::IDS_COUNT)?;
    rest.split_at_checked(count).ok_or(texts::IDS_MISMATCH)
}

/// What `MAXLEN` or `MINID` with their modifiers ask for.
#[derive(Debug, Clone, Copy)]
pub(super) struct TrimRequest {
    to: Trim,
    approximate: bool,
    /// Entries at most; 0 for no limit.
    limit: u64,
    references: References,
}

/// Which of the two commands is read: XADD's options end with the first argument that is none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OptionsOf {
    Xadd,
    Xtrim,
}

impl<'a> AddOrTrim<'a> {
    /// Reads the options from the third argument on.
    pub(super) fn parse(args: &[&'a [u8]], of: OptionsOf, settings: &Settings) -> Result<Self, Error> {
        let mut parsed = Self::default();
        let mut limit = None;
        let mut at = 2;
        while at < args.len() {
            let (option, more) = (arg(args, at), args.len() - at - 1);
            // The most frequent XADD names no option.
            if of == OptionsOf::Xadd && option == b"*" {
                break;
            } else if more > 0 && (is(option, "MAXLEN") || is(option, "MINID")) {
                if parsed.trim.is_some() {
                    return Err(texts::MAXLEN_AND_MINID);
                }
                at += parsed.parse_strategy(args, at)?;
            } else if more > 0 && is(option, "LIMIT") {
                let value = integer(arg(args, at + 1))?;
                limit = Some(u64::try_from(value).map_err(|_| texts::NEGATIVE_LIMIT)?);
                at += 2;
            } else if let Some(mode) = References::read(option, parsed.references)? {
                parsed.references = Some(mode);
                at += 1;
            } else if of == OptionsOf::Xadd && is(option, "NOMKSTREAM") {
                parsed.nomkstream = true;
                at += 1;
            } else if of == OptionsOf::Xadd
                && let Some((once, len)) = Once::read(from(args, at))?
            {
                if parsed.once.replace(once).is_some() {
                    return Err(texts::IDMP_TWICE);
                }
                at += len;
            } else if of == OptionsOf::Xadd {
                break;
            } else {
                return Err(errors::SYNTAX);
            }
        }
        parsed.end = at;
        parsed.apply_limit(limit, of, settings)?;
        Ok(parsed)
    }

    /// Reads `MAXLEN|MINID [=|~] threshold` at `at`, and says how many arguments that were.
    fn parse_strategy(&mut self, args: &[&[u8]], at: usize) -> Result<usize, Error> {
        let more = args.len() - at - 1;
        let (len, approximate) = match arg(args, at + 1) {
            b"~" if more >= 2 => (3, true),
            b"=" if more >= 2 => (3, false),
            _ => (2, false),
        };
        let threshold = arg(args, at + len - 1);
        let to = if is(arg(args, at), "MAXLEN") {
            let max = integer(threshold)?;
            Trim::MaxLen(u64::try_from(max).map_err(|_| texts::NEGATIVE_MAXLEN)?)
        } else {
            Trim::MinId(strict_id(threshold)?)
        };
        self.trim = Some(TrimRequest { to, approximate, limit: 0, references: References::Keep });
        Ok(len)
    }

    fn apply_limit(&mut self, limit: Option<u64>, of: OptionsOf, settings: &Settings) -> Result<(), Error> {
        if limit.is_some_and(|limit| limit > 0) && self.trim.is_none() {
            return Err(texts::LIMIT_WITHOUT_STRATEGY);
        }
        if of == OptionsOf::Xtrim && self.trim.is_none() {
            return Err(texts::TRIM_WITHOUT_STRATEGY);
        }
        if let Some(trim) = &mut self.trim {
            trim.references = self.references.unwrap_or_default();
        }
        match (&mut self.trim, limit) {
            (Some(trim), Some(limit)) if trim.approximate => trim.limit = limit,
            (_, Some(_)) => return Err(texts::LIMIT_WITHOUT_APPROXIMATION),
            (Some(trim), None) if trim.approximate => trim.limit = default_limit(settings),
            (_, None) => {}
        }
        Ok(())
    }
}

impl TrimRequest {
    pub(super) fn references(self) -> References {
        self.references
    }

    /// What is read when it trims, once `added` more entries are there; `None` if whole blocks go unread.
    pub(super) fn needs(self, added: u64) -> Option<Needs<'static>> {
        let ids = self.references != References::Keep;
        let reads = ids || !self.approximate;
        reads.then_some(Needs::Trim { trim: self.to, added, ids, limit: self.limit })
    }

    /// Trims whatever groups need, and says how many entries left.
    pub(super) fn apply(self, entries: &mut Entries) -> u64 {
        if self.approximate { entries.trim_approximately(self.to, self.limit) } else { entries.trim(self.to) }
    }

    /// The entries that go, one by one.
    pub(super) fn candidates(self, stream: &Stream) -> Vec<StreamId> {
        let delivered = stream.delivered_to_all();
        let respect = self.references == References::Respect;
        stream.entries().trim_candidates(self.to, self.approximate, self.limit, |id| {
            respect && stream.is_needed(id, delivered)
        })
    }
}

/// Trimming must not take long where nobody said how much: a hundred blocks.
fn default_limit(settings: &Settings) -> u64 {
    const WHEN_BLOCKS_ARE_UNLIMITED: u64 = 10_000;
    const MAX: u64 = 1_000_000;
    match settings.stream_node_max_entries {
        0 => WHEN_BLOCKS_ARE_UNLIMITED,
        entries => (entries as u64).saturating_mul(100).min(MAX),
    }
}
