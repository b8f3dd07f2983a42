//! Housekeeping off the way of those who wait: the next segment, syncs in the background, segments to be used again.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::segment::{Segment, segment_name, spare_name};
use super::{Core, Failure, SyncPolicy, lock};
use crate::storage::StorageFile;

/// How often [`SyncPolicy::EverySecond`] syncs.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// How soon a segment that could not be made is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(200);
/// Segments that are kept to be used again.
const SPARES_MAX: usize = 2;
/// Writes are refused when no segment can be made and less than this part of the current one is left: what is under way
/// has room in it.
const RESERVE_DIVISOR: u64 = 4;
/// The next segment is made at least so many times as fast as the current one fills up.
const READY_AT: f64 = 2.0;
/// Where that is slower than the disk can, the disk is left to commits so many times as long as it is filled with zeros.
const REST: u32 = 4;
/// The first segment is this much smaller than the later ones.
const FIRST_DIVISOR: u64 = 16;

#[derive(Debug)]
pub(super) struct Keeper {
    /// Full segments, oldest first.
    full: VecDeque<Segment>,
    /// Those of them that are not synced, each with the last record that ends in it.
    unsynced: VecDeque<(Segment, u64)>,
    current: Option<Segment>,
    ready: Option<Segment>,
    /// Files that were segments.
    spares: Vec<(String, Arc<dyn StorageFile>)>,
    /// Records before this one are not needed.
    needed_from: u64,
    next_number: u64,
    /// The last segment could not be made.
    short_of_room: bool,
    /// Bytes left in the current segment, and of how many.
    room: (u64, u64),
    wanted: bool,
    closing: bool,
}

impl Keeper {
    pub(super) fn new(full: Vec<Segment>, current: Option<Segment>, ready: Option<Segment>) -> Self {
        let newest = ready.as_ref().or(current.as_ref()).map_or(0, |segment| segment.number);
        let room = current.as_ref().map_or((0, 0), |segment| {
            (segment.file.size().saturating_sub(segment.offset), segment.file.size())
        });
        Self {
            full: full.into(),
            unsynced: VecDeque::new(),
            current,
            ready,
            spares: Vec::new(),
            needed_from: 0,
            next_number: newest + 1,
            short_of_room: false,
            room,
            wanted: true,
            closing: false,
        }
    }

    pub(super) fn close(&mut self) {
        self.closing = true;
    }

    /// How many segments hold records, and how many bytes all files have.
    pub(super) fn extent(&self) -> (u64, u64) {
        let begun = self.full.iter().chain(&self.current);
        let (count, bytes) = begun.fold((0, 0), |(n, sum), segment| (n + 1, sum + segment.file.size()));
        let idle =
            self.ready.iter().map(|segment| &segment.file).chain(self.spares.iter().map(|(_, file)| file));
        (count, bytes + idle.map(|file| file.size()).sum::<u64>())
    }

    /// Bytes of the full segments.
    pub(super) fn full_bytes(&self) -> u64 {
        self.full.iter().map(|segment| segment.file.size()).sum()
    }

    fn admits(&self) -> bool {
        let (left, size) = self.room;
        !self.short_of_room || self.ready.is_some() || left >= size / RESERVE_DIVISOR && size > 0
    }

    /// How many full segments, from the oldest on, hold nothing that is needed.
    fn outlived(&self) -> usize {
        let synced_before = self.unsynced.front().map_or(u64::MAX, |(segment, _)| segment.number);
        let unneeded = |segment: &&Segment| segment.last < self.needed_from && segment.number < synced_before;
        let mut count = self.full.iter().take_while(unneeded).count();
        // A segment that begins inside a unit needs the one before.
        while count > 0 && self.full.get(count).or(self.current.as_ref()).is_some_and(|next| next.continues) {
            count -= 1;
        }
        count
    }
}

/// Whether the next segment, of which part `made` is there, is needed before long: the current one has so much room left of so much.
fn is_late(made: f64, (left, size): (u64, u64)) -> bool {
    let used = if size == 0 { 1.0 } else { 1.0 - left as f64 / size as f64 };
    made < READY_AT * used
}

impl Core {
    /// The keeper's thread.
    pub(super) fn run_keeper(&self) {
        let everysec = self.options.policy == SyncPolicy::EverySecond;
        let mut due = Instant::now() + SYNC_EVERY;
        loop {
            let mut keeper = lock(&self.keeper);
            if !keeper.wanted && !keeper.closing {
                let wait = match (keeper.short_of_room, everysec) {
                    (true, _) => RETRY_AFTER,
                    (false, true) => due.saturating_duration_since(Instant::now()),
                    (false, false) => Duration::MAX,
                };
                let waited = self.keeper_wanted.wait_timeout(keeper, wait);
                keeper = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            if keeper.closing || self.has_failed() {
                return;
            }
            keeper.wanted = false;
            drop(keeper);
            let tick = everysec && Instant::now() >= due;
            if tick {
                due = Instant::now() + SYNC_EVERY;
            }
            self.keep(tick);
        }
    }

    /// One round of housekeeping; `tick` if what the policy lets wait is to be synced now.
    pub(super) fn keep(&self, tick: bool) {
        if self.has_failed() {
            return;
        }
        if let Err(failure) = self.sync_behind(tick && self.options.policy == SyncPolicy::EverySecond) {
            self.fail(failure);
            return;
        }
        // What fails here touches no record: it is tried again.
        let recycled = self.recycle();
        let made = self.make_ready();
        let mut keeper = lock(&self.keeper);
        // One that is being made is given up when the log closes.
        keeper.short_of_room = recycled.and(made).is_err() && !keeper.closing;
        let admits = keeper.admits();
        drop(keeper);
        self.set_admits(admits);
    }

    /// Syncs full segments that are not, and the current one too if asked.
    pub(super) fn sync_behind(&self, current: bool) -> Result<(), Failure> {
        let _one = lock(&self.syncing_behind);
        // In this order: what is written by now lies in the segments that are looked at after.
        let written = self.written.load(Ordering::SeqCst);
        let (full, current) = {
            let keeper = lock(&self.keeper);
            (keeper.unsynced.clone(), keeper.current.clone().filter(|_| current))
        };
        for (segment, last) in full {
            self.sync(&segment)?;
            self.publish_synced(last);
            lock(&self.keeper).unsynced.pop_front();
        }
        if let Some(segment) = current.filter(|_| written > self.synced()) {
            self.sync(&segment)?;
            self.publish_synced(written);
        }
        Ok(())
    }

    /// Makes a segment ready unless there is one.
    pub(super) fn make_ready(&self) -> io::Result<()> {
        let (number, size, spare) = {
            let mut keeper = lock(&self.keeper);
            if keeper.ready.is_some() {
                return Ok(());
            }
            let number = keeper.next_number;
            let size = self.size_of(number);
            let fitting = keeper.spares.iter().position(|(_, file)| file.size() == size);
            (number, size, fitting.map(|index| keeper.spares.swap_remove(index)))
        };
        let (name, file) = match spare {
            Some((name, file)) => (name, Ok(file)),
            None => (spare_name(number), self.create(&spare_name(number), size)),
        };
        let epoch = self.epoch_of(number);
        let prepared = file.and_then(|file| Segment::prepare(&*self.storage, &name, file, number, epoch));
        let segment = match prepared {
            Ok(segment) => segment,
            Err(error) => {
                // Whichever name it has by now; what is left all the same is removed at the next start.
                let _removed =
                    self.storage.remove(&name).or_else(|_| self.storage.remove(&segment_name(number)));
                return Err(error);
            }
        };
        let mut keeper = lock(&self.keeper);
        keeper.ready = Some(segment);
        keeper.next_number = number + 1;
        drop(keeper);
        lock(&self.pending).room = true;
        self.writer_wanted.notify_all();
        Ok(())
    }

    /// Makes a file for a segment. Where commits wait for the disk it takes its time, as long as the segment comes before it is needed.
    fn create(&self, name: &str, size: u64) -> io::Result<Arc<dyn StorageFile>> {
        let mut begun = Instant::now();
        self.storage.create_in_pieces(name, size, &mut |made| {
            let goes_on = self.rest(made as f64 / size as f64, begun.elapsed());
            begun = Instant::now();
            goes_on
        })
    }

    /// Leaves the disk to those who commit, after a piece that took so long; part `made` of the next segment is there. False if the log closes.
    fn rest(&self, made: f64, took: Duration) -> bool {
        let keeper = lock(&self.keeper);
        if keeper.closing || is_late(made, keeper.room) || self.options.policy != SyncPolicy::Always {
            return !keeper.closing;
        }
        // Whoever wakes it early only makes the rest shorter.
        let waited = self.keeper_wanted.wait_timeout(keeper, took * REST);
        !waited.unwrap_or_else(PoisonError::into_inner).0.closing
    }

    /// Takes segments out of the log that nobody needs.
    fn recycle(&self) -> io::Result<()> {
        let outlived: Vec<_> = {
            let keeper = lock(&self.keeper);
            keeper.full.iter().take(keeper.outlived()).cloned().collect()
        };
        // Each is one of the log's until it is gone for certain: the next one must not go before.
        for segment in outlived {
            let name = spare_name(segment.number);
            match self.storage.rename(&segment.name(), &name) {
                // Renamed in an earlier attempt, and not synced.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                renamed => renamed?,
            }
            // Before it is written to: until then the old name may come back.
            self.storage.sync_directory()?;
            let mut keeper = lock(&self.keeper);
            keeper.full.pop_front();
            if keeper.spares.len() < SPARES_MAX && segment.file.size() == self.options.segment_bytes {
                keeper.spares.push((name, segment.file));
            } else {
                drop(keeper);
                self.storage.remove(&name)?;
            }
        }
        Ok(())
    }

    pub(super) fn forget(&self, before: u64) {
        let mut keeper = lock(&self.keeper);
        keeper.needed_from = keeper.needed_from.max(before);
        keeper.wanted = true;
        drop(keeper);
        self.keeper_wanted.notify_all();
    }

    /// Takes the segment that is ready.
    pub(super) fn take_ready(&self) -> Option<Segment> {
        let mut keeper = lock(&self.keeper);
        keeper.wanted = true;
        let ready = keeper.ready.take();
        drop(keeper);
        // Either the one after it is to be made, or this one at last.
        self.keeper_wanted.notify_all();
        ready
    }

    /// A segment is full; record `last` is the last one that ends in it.
    pub(super) fn put_away(&self, segment: Segment, last: u64) {
        let mut keeper = lock(&self.keeper);
        if self.options.policy != SyncPolicy::Always {
            keeper.unsynced.push_back((segment.clone(), last));
        }
        keeper.full.push_back(segment);
        keeper.current = None;
    }

    /// A segment was begun.
    pub(super) fn begun(&self, segment: Segment) {
        lock(&self.keeper).current = Some(segment);
    }

    /// Notes how much room is left in the current segment.
    pub(super) fn note_room(&self, left: u64, size: u64) {
        let mut keeper = lock(&self.keeper);
        keeper.room = (left, size);
        let admits = keeper.admits();
        drop(keeper);
        self.admits.store(admits, Ordering::SeqCst);
    }

    fn set_admits(&self, admits: bool) {
        if self.admits.swap(admits, Ordering::SeqCst) != admits {
            self.tell();
        }
    }

    fn size_of(&self, number: u64) -> u64 {
        let largest = self.options.segment_bytes;
        let doublings = u32::try_from(number - 1).unwrap_or(u32::MAX);
        let grown = (largest / FIRST_DIVISOR).checked_shl(doublings).filter(|&size| size > 0);
        let size = if number > u64::from(FIRST_DIVISOR.ilog2()) { largest } else { grown.unwrap_or(largest) };
        size.clamp(16 * 1024, largest)
    }

    fn epoch_of(&self, number: u64) -> u64 {
        // Never 0: fresh files are full of zeros.
        fastrand::Rng::with_seed(self.options.seed ^ number.rotate_left(32)).u64(1..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_segment_is_there_when_the_current_one_is_half_full() {
        assert!(is_late(0.99, (0, 0)), "nothing can be written without it");
        assert!(!is_late(0.01, (1000, 1000)));
        assert!(!is_late(0.3, (900, 1000)) && is_late(0.1, (900, 1000)));
        assert!(is_late(0.99, (500, 1000)) && is_late(0.99, (10, 1000)));
    }
}
