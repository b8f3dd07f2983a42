//! Looking at a log without changing it, and dropping what is damaged when told.

use std::convert::Infallible;
use std::io;

use super::read::Reader;
use super::walk::{Place, Walk};
use super::{Damage, OpenError, TornTail, clean, judge, open, refused};
use crate::disk::{Segment, segment_number};
use crate::format::FRAMES_FROM;
use crate::storage::Storage;

/// A record, and where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlacedRecord<'a> {
    /// Counted from 1 over the whole life of the log.
    pub number: u64,
    /// The segment that its frame lies in; of a unit in parts, the last one.
    pub file: &'a str,
    /// Where that frame begins.
    pub offset: u64,
    /// The record.
    pub bytes: &'a [u8],
}

/// What [`inspect`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inspection {
    /// The segments up to the end of what can be read, oldest first.
    pub segments: Vec<SegmentSummary>,
    /// Number of the last record that can be read; that of the one before the first if there is none.
    pub last: u64,
    /// What lies behind it.
    pub end: LogEnd,
}

/// A segment of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentSummary {
    /// Its name.
    pub file: String,
    /// Number of its first record.
    pub first: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// Where the last frame ends of those that can be read.
    pub end: u64,
}

/// What lies behind the last record that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogEnd {
    /// Nothing. While another process writes, more may come.
    Whole,
    /// What had not reached the disk whole: opening the log cuts it off.
    Torn(TornTail),
    /// What had been on disk and is missing or altered: the log cannot be opened.
    Damaged(Damage, Lost),
}

/// What is read no more behind a place of damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Lost {
    /// Whole frames behind it.
    pub frames: u64,
    /// The records in them.
    pub records: u64,
    /// Number of the last one.
    pub last: u64,
    /// Segments that cannot be read at all, since their headers are damaged.
    pub unreadable_segments: u64,
}

/// How often a log is read again whose oldest segments are given up meanwhile.
const ATTEMPTS_MAX: u32 = 10;

/// The segments of a log as they lie there.
struct Survey {
    begun: Vec<Segment>,
    /// The first one whose header is damaged, and the names from there on.
    broken: Option<(Damage, Vec<String>)>,
    /// The newest segment's number, begun or not.
    newest: u64,
    /// The names of those before, oldest first.
    unneeded: Vec<String>,
}

/// Reads a log without changing anything, and hands each record over, in order, with its place: those from number `from` on,
/// and what lies in one segment with it. Reading stops where a record is missing; what that means stands in
/// [`Inspection::end`].
///
/// Works while another process writes to the log: what had been written before is found. If segments are given up meanwhile,
/// it begins again, so a record may be handed over twice; nobody gives up those that a checkpoint in force needs: see
/// [`while_unchanged`](crate::while_unchanged).
///
/// # Errors
/// [`OpenError::Newer`], [`OpenError::Io`], or what `visit` refuses.
pub fn inspect<E>(
    storage: &dyn Storage,
    from: u64,
    mut visit: impl FnMut(PlacedRecord<'_>) -> Result<(), E>,
) -> Result<Inspection, OpenError<E>> {
    for _ in 0..ATTEMPTS_MAX {
        let mut found = look(storage, from, &mut visit)?;
        if !matches!(found.end, LogEnd::Damaged(..)) {
            return Ok(found);
        }
        // Written between the look at its place and the look behind it? Then it is there now.
        let again = look::<E>(storage, from, &mut |_| Ok(()))?;
        if again.last <= found.last && matches!(again.end, LogEnd::Damaged(..)) {
            return Ok(found);
        }
        let first = |found: &Inspection| found.segments.first().map(|segment| segment.first);
        if first(&found) == first(&again) {
            found.end = LogEnd::Whole;
            return Ok(found);
        }
    }
    Err(OpenError::Restless)
}

fn look<E>(
    storage: &dyn Storage,
    from: u64,
    visit: &mut dyn FnMut(PlacedRecord<'_>) -> Result<(), E>,
) -> Result<Inspection, OpenError<E>> {
    let survey = survey(storage, from)?;
    let begun = &survey.begun;
    let (walk, mut damage) = read(begun, visit)?;
    if let (None, Some((header, _))) = (&damage, &survey.broken) {
        damage = Some(header.clone());
    }
    let end = match damage {
        Some(damage) => LogEnd::Damaged(damage, lost(begun, &walk, &survey)?),
        None if begun.is_empty() => LogEnd::Whole,
        None => match judge(begun, walk.segments(), &walk, walk.end()) {
            Ok(None) => LogEnd::Whole,
            Ok(Some(torn)) => LogEnd::Torn(torn),
            Err(OpenError::Damaged(damage)) => LogEnd::Damaged(damage, lost(begun, &walk, &survey)?),
            Err(other) => return Err(other),
        },
    };
    Ok(Inspection { segments: summaries(begun, &walk), last: walk.next() - 1, end })
}

/// Drops segments that are not needed, and what [`inspect`] says lies behind the last record that can be read, so that the log can be opened again. If records
/// are missing then between `from`, the first one that is needed, and what is left, everything that is left is dropped too: the
/// log goes on with number `from`.
///
/// # Errors
/// [`OpenError::Newer`], [`OpenError::Io`]
pub fn repair(storage: &dyn Storage, from: u64) -> Result<(), OpenError<Infallible>> {
    let Survey { mut begun, broken, newest, unneeded } = survey(storage, from)?;
    for name in unneeded {
        remove(storage, &name)?;
    }
    for name in broken.into_iter().flat_map(|(_, names)| names).rev() {
        remove(storage, &name)?;
    }
    let (walk, _) = read::<Infallible>(&begun, &mut |_| Ok(()))?;
    let reaches = begun.first().is_some_and(|segment| segment.first <= from) && walk.next() >= from;
    if reaches {
        let end = walk.end();
        clean(storage, begun, &walk, end)?;
        return Ok(());
    }
    while let Some(segment) = begun.pop() {
        remove(storage, &segment.name())?;
    }
    if from > 1 {
        Segment::begin_anew(storage, newest + 1, from).map_err(refused("create", "a segment"))?;
    }
    Ok(())
}

fn remove<E>(storage: &dyn Storage, name: &str) -> Result<(), OpenError<E>> {
    storage.remove(name).map_err(refused("remove", name))?;
    storage.sync_directory().map_err(refused("sync", "the directory"))
}

/// The segments from the one with record `from` on. Looked for from the newest back: older ones may be going.
fn survey<E>(storage: &dyn Storage, from: u64) -> Result<Survey, OpenError<E>> {
    let mut names = storage.list().map_err(refused("list", "the directory"))?;
    names.retain(|name| segment_number(name).is_some());
    names.sort_unstable();
    let newest = names.last().and_then(|name| segment_number(name)).unwrap_or(0);
    let (mut begun, mut broken) = (Vec::new(), None);
    while let Some(name) = names.pop() {
        let number = segment_number(&name).expect("others were left out");
        match open::<E>(storage, number, &name) {
            Ok(segment) if segment.first > 0 => {
                let is_first = segment.first <= from && !segment.continues;
                begun.push(segment);
                if is_first {
                    break;
                }
            }
            Ok(_) => {}
            Err(OpenError::Damaged(damage)) => {
                // What comes after it cannot be read either.
                let after = begun.drain(..).rev().map(|segment| segment.name());
                let known = broken.take().map_or(Vec::new(), |(_, names)| names);
                broken = Some((damage, std::iter::once(name).chain(after).chain(known).collect()));
            }
            // Given up since it was listed, and all before it.
            Err(OpenError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                names.clear();
            }
            Err(other) => return Err(other),
        }
    }
    begun.reverse();
    // Their beginnings were given up.
    let headless = begun.iter().take_while(|segment| segment.continues).count();
    if headless < begun.len() {
        begun.drain(..headless);
    }
    Ok(Survey { begun, broken, newest, unneeded: names })
}

/// Reads as far as one record follows the other.
fn read<E>(
    begun: &[Segment],
    visit: &mut dyn FnMut(PlacedRecord<'_>) -> Result<(), E>,
) -> Result<(Walk, Option<Damage>), OpenError<E>> {
    let mut walk = Walk::new(begun, 0);
    for (index, segment) in begun.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|before| begun.get(before));
        if before.is_some_and(|before| !walk.leads_to(before, segment)) {
            break;
        }
        let file = segment.name();
        let read = walk.segment(index, segment, &mut |offset, number, bytes| {
            visit(PlacedRecord { number, file: &file, offset, bytes })
        });
        match read {
            Ok(()) => {}
            Err(OpenError::Damaged(damage)) => return Ok((walk, Some(damage))),
            Err(other) => return Err(other),
        }
    }
    Ok((walk, None))
}

/// What lies behind the end.
fn lost<E>(begun: &[Segment], walk: &Walk, survey: &Survey) -> Result<Lost, OpenError<E>> {
    let unreadable = survey.broken.as_ref().map_or(0, |(_, names)| names.len());
    let mut lost = Lost { unreadable_segments: unreadable as u64, ..Lost::default() };
    let Place { segment: at, offset } = walk.end();
    for (index, segment) in begun.iter().enumerate().skip(at) {
        let from = if index == at { offset } else { FRAMES_FROM };
        let found = Reader::new(segment).leftovers(from, &mut |frame| {
            let Some(frame) = frame else { return };
            lost.frames += 1;
            lost.records += u64::from(frame.records);
            lost.last = lost.last.max(frame.last());
        });
        found.map_err(refused("read", &segment.name()))?;
    }
    Ok(lost)
}

fn summaries(begun: &[Segment], walk: &Walk) -> Vec<SegmentSummary> {
    let end = walk.end();
    let readable = begun.iter().enumerate().take(end.segment + 1);
    let summary = |(index, segment): (usize, &Segment)| SegmentSummary {
        file: segment.name(),
        first: segment.first,
        bytes: segment.file.size(),
        end: if index == end.segment { end.offset } else { walk.end_of(index) },
    };
    readable.map(summary).collect()
}
