//! What an earlier run left: its segments are read in order, and the end is made clean to go on from.
//!
//! Reading stops at the first place where no whole frame of the segment's epoch with the next number begins. Three
//! things can be there. The end: nothing of this epoch follows. A torn tail: something follows, but nothing that was
//! ever known to be on disk, since writes that were not synced may reach the disk in part and in any order. Or damage:
//! every frame says up to which record everything was known to be on disk when it was written, so a later frame (or a
//! later segment's header) that says so of the missing record proves that it was there. A torn tail is cut off and
//! reported; damage is refused.

mod inspect;
mod read;
mod walk;

use std::io;

use crate::format::{BadHeader, FRAMES_FROM, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::storage::Storage;
pub use inspect::{Inspection, LogEnd, Lost, PlacedRecord, SegmentSummary, inspect, repair};
use read::Reader;
use walk::{Place, Walk};

use crate::disk::{SPARE_PREFIX, Segment, segment_number};

/// What was found when a log was opened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Recovery {
    /// Records that were handed over.
    pub replayed: u64,
    /// Number of the last record; 0 for an empty log.
    pub last: u64,
    /// What had to be cut off.
    pub torn: Option<TornTail>,
}

/// The end of a log that did not reach the disk whole. None of it had been known to be on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TornTail {
    /// The segment that is cut.
    pub file: String,
    /// Where.
    pub offset: u64,
    /// Frames, or what looks like their beginnings, found behind that place.
    pub frames: u64,
}

impl std::fmt::Display for TornTail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { file, offset, frames } = self;
        write!(f, "{file} was cut at byte {offset}: {frames} frames behind it had not reached the disk whole")
    }
}

/// A place where something is missing or altered that had been on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// The file.
    pub file: String,
    /// Where in it.
    pub offset: u64,
    /// The first record that is lost.
    pub record: u64,
    /// What shows that this is no torn tail.
    pub proof: &'static str,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { file, offset, record, proof } = self;
        write!(f, "{file} is damaged at byte {offset}, where record {record} should be ({proof})")
    }
}

/// A log that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError<E> {
    /// Something that had been on disk is missing or altered. Nothing was changed.
    #[error("{0}; everything before that place is intact; restore the directory from a backup")]
    Damaged(Damage),
    /// A newer version wrote the log.
    #[error(
        "{file} has format {version}, which this version cannot read; use the version that wrote it, or a newer one"
    )]
    Newer {
        /// The file.
        file: String,
        /// Its format.
        version: u32,
    },
    /// The oldest records that are there come after the ones that are needed.
    #[error(
        "record {needed} is needed and the log begins with record {first}; restore the directory from a backup"
    )]
    Missing {
        /// The first record that is needed.
        needed: u64,
        /// The first record that is there.
        first: u64,
    },
    /// Checkpoints follow each other faster than they can be read.
    #[error("the directory changes faster than it can be read; try again when less is written to it")]
    Restless,
    /// A record was refused by the one who replays it.
    #[error("record {number} in {file}: {source}")]
    Replay {
        /// The file.
        file: String,
        /// The record.
        number: u64,
        /// Why it was refused.
        source: E,
    },
    /// The system refuses.
    #[error("cannot {action} {file}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        file: String,
        /// What the system said.
        source: io::Error,
    },
}

/// What the log goes on from.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    pub(crate) report: Recovery,
    /// Segments with records, oldest first; the last one is written on.
    pub(crate) segments: Vec<Segment>,
    /// A segment that is ready for use.
    pub(crate) ready: Option<Segment>,
}

/// Takes a record, with the offset of its frame and its number.
type Replay<'a, E> = dyn FnMut(u64, u64, &[u8]) -> Result<(), E> + 'a;

/// Hands the records from number `from` on to `replay`, and leaves a log that ends behind the last of them.
pub(crate) fn recover<E>(
    storage: &dyn Storage,
    from: u64,
    replay: &mut impl FnMut(u64, &[u8]) -> Result<(), E>,
) -> Result<Recovered, OpenError<E>> {
    let (mut begun, mut ready) = find(storage)?;
    // Their beginnings were given up and removed; that was interrupted before it came to them.
    let headless = begun.iter().take_while(|segment| segment.continues).count();
    if begun.get(headless).is_some_and(|segment| segment.first <= from) {
        for segment in begun.drain(..headless) {
            storage.remove(&segment.name()).map_err(refused("remove", &segment.name()))?;
        }
    }
    if let Some(first) = begun.first().map(|segment| segment.first).filter(|&first| first > from) {
        return Err(OpenError::Missing { needed: from, first });
    }
    if begun.is_empty() {
        if from > 1 {
            return Err(OpenError::Missing { needed: from, first: 1 });
        }
        storage.sync_directory().map_err(refused("sync", "the directory"))?;
        return Ok(Recovered { ready, ..Recovered::default() });
    }
    let mut walk = Walk::new(&begun, from);
    let mut continued = 0;
    for (index, segment) in begun.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|before| begun.get(before));
        if before.is_some_and(|before| !walk.leads_to(before, segment)) {
            break;
        }
        walk.segment(index, segment, &mut |_, number, record| replay(number, record))?;
        continued = index + 1;
    }
    let end = walk.end();
    let torn = judge(&begun, continued, &walk, end)?;
    let report = Recovery { replayed: walk.replayed(), last: walk.next() - 1, torn };
    // The one that is ready follows the newest segment: it goes with that.
    let cut = end.segment + 1 < begun.len();
    if let Some(segment) = ready.take_if(|_| cut) {
        storage.remove(&segment.name()).map_err(refused("remove", &segment.name()))?;
    }
    let segments = clean(storage, begun, &walk, end)?;
    Ok(Recovered { report, segments, ready })
}

/// The segments that were begun, oldest first, and the one that is ready. What is neither is removed.
fn find<E>(storage: &dyn Storage) -> Result<(Vec<Segment>, Option<Segment>), OpenError<E>> {
    let mut names = storage.list().map_err(refused("list", "the directory"))?;
    names.sort_unstable();
    let (mut begun, mut ready): (Vec<Segment>, Vec<Segment>) = (Vec::new(), Vec::new());
    for name in names {
        if name.starts_with(SPARE_PREFIX) {
            storage.remove(&name).map_err(refused("remove", &name))?;
        }
        let Some(number) = segment_number(&name) else { continue };
        let segment = open(storage, number, &name)?;
        if segment.first > 0 { begun.push(segment) } else { ready.push(segment) }
    }
    let next = begun.last().map_or(1, |last| last.number + 1);
    let mut kept = None;
    for segment in ready {
        if segment.number == next {
            kept = Some(segment);
        } else {
            let name = segment.name();
            storage.remove(&name).map_err(refused("remove", &name))?;
        }
    }
    Ok((begun, kept))
}

fn open<E>(storage: &dyn Storage, number: u64, name: &str) -> Result<Segment, OpenError<E>> {
    let file = storage.open(name).map_err(refused("open", name))?;
    let mut bytes = [0; SEGMENT_HEADER_BYTES];
    let damaged = |proof| OpenError::Damaged(Damage { file: name.to_owned(), offset: 0, record: 0, proof });
    if file.size() < FRAMES_FROM {
        return Err(damaged("the file is shorter than a segment's header"));
    }
    file.read_at(0, &mut bytes).map_err(refused("read", name))?;
    match SegmentHeader::decode(&bytes) {
        Ok(header) if header.number == number => Ok(Segment::new(header, file)),
        Ok(_) => Err(damaged("its header belongs to another segment")),
        Err(BadHeader::Newer(version)) => Err(OpenError::Newer { file: name.to_owned(), version }),
        Err(BadHeader::Damaged) => Err(damaged("its header is not whole")),
    }
}

/// Tells an end and a torn tail from damage.
fn judge<E>(
    begun: &[Segment],
    continued: usize,
    walk: &Walk,
    end: Place,
) -> Result<Option<TornTail>, OpenError<E>> {
    let segment = begun.get(end.segment).expect("reading ended in a segment");
    let stopped = walk.stopped();
    let damage = |proof| {
        let segment = begun.get(stopped.segment).unwrap_or(segment);
        let (file, offset, record) = (segment.name(), stopped.offset, walk.next());
        Err(OpenError::Damaged(Damage { file, offset, record, proof }))
    };
    let mut frames = 0;
    for (index, segment) in begun.iter().enumerate().skip(end.segment) {
        let beyond = index >= continued;
        if beyond && segment.durable >= walk.next() {
            return damage("a later segment was begun when it was known to be on disk");
        }
        let numbered =
            index.checked_sub(1).and_then(|before| begun.get(before)).map(|before| before.number + 1);
        if beyond && numbered.is_some_and(|number| number != segment.number) {
            return damage("a segment between this one and a later one is missing");
        }
        if beyond && segment.first < walk.next() {
            return damage("a later segment begins with a record before it");
        }
        let from = if index == end.segment { end.offset } else { FRAMES_FROM };
        let mut proven = false;
        let found = Reader::new(segment).leftovers(from, &mut |frame| {
            proven |= frame.is_some_and(|frame| frame.durable >= walk.next());
        });
        frames += found.map_err(refused("read", &segment.name()))?.len() as u64;
        if proven {
            return damage("a later frame was written when it was known to be on disk");
        }
    }
    let torn = frames > 0 || end.segment + 1 < begun.len();
    Ok(torn.then(|| TornTail { file: segment.name(), offset: end.offset, frames }))
}

/// Removes what lies behind the end, and makes sure that what lies before it is on disk.
fn clean<E>(
    storage: &dyn Storage,
    mut begun: Vec<Segment>,
    walk: &Walk,
    end: Place,
) -> Result<Vec<Segment>, OpenError<E>> {
    // From the newest down: whenever this is interrupted, what is left looks as it did before.
    while begun.len() > end.segment + 1 {
        let name = begun.pop().map(|segment| segment.name()).unwrap_or_default();
        storage.remove(&name).map_err(refused("remove", &name))?;
        storage.sync_directory().map_err(refused("sync", "the directory"))?;
    }
    for (index, segment) in begun.iter_mut().enumerate() {
        segment.last = walk.last_of(index).min(walk.next() - 1);
        let name = segment.name();
        if index == end.segment {
            segment.offset = end.offset;
            let leftovers = Reader::new(segment).leftovers(end.offset, &mut |_| ());
            for at in leftovers.map_err(refused("read", &name))? {
                segment.file.write_at(at, &[0; 16]).map_err(refused("write", &name))?;
            }
        }
        let unproven = walk.unproven_from(index);
        if index < end.segment && unproven.is_none() {
            continue;
        }
        // If an earlier sync failed, the system may show bytes that the disk does not have, and take them for
        // written: only what is written again is sure to be synced.
        let to = walk.end_of(index).min(if index == end.segment { end.offset } else { u64::MAX });
        let header = segment.file.write_at(0, &segment.header().encode());
        let rewritten = header.and_then(|()| Reader::new(segment).rewrite(unproven.unwrap_or(to), to));
        rewritten.map_err(refused("write", &name))?;
        segment.file.sync().map_err(refused("sync", &name))?;
    }
    storage.sync_directory().map_err(refused("sync", "the directory"))?;
    Ok(begun)
}

fn refused<'a, E>(action: &'static str, file: &'a str) -> impl FnOnce(io::Error) -> OpenError<E> + 'a {
    move |source| OpenError::Io { action, file: file.to_owned(), source }
}
