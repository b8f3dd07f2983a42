//! Looking at logs, whole and damaged, and repairing them.

use std::convert::Infallible;
use std::sync::Arc;

use cauce_log::{CheckpointWriter, FaultyStorage, Inspection, LogEnd, OpenError, Storage, inspect, repair};

use crate::support::{by_hand, commit, open, try_open};

fn look(storage: &FaultyStorage) -> (Inspection, Vec<(u64, u64)>) {
    let mut places = Vec::new();
    let inspection = inspect(storage, 1, |placed| {
        places.push((placed.number, placed.offset));
        Ok::<(), Infallible>(())
    });
    (inspection.expect("the log can be read"), places)
}

/// Several segments, the first of which holds records 1 to 20 and more.
fn filled() -> Arc<FaultyStorage> {
    let storage = Arc::new(FaultyStorage::new(0));
    let (log, _) = open(&storage, by_hand());
    for number in 0..60_u8 {
        commit(&log, &[&[number; 700]]);
    }
    storage
}

#[test]
fn a_whole_log_is_listed_and_left_alone() {
    let storage = filled();
    let calls = storage.calls();
    let (inspection, places) = look(&storage);
    assert_eq!((inspection.last, &inspection.end), (60, &LogEnd::Whole));
    assert_eq!(places.len(), 60);
    assert_eq!(places[..2], [(1, 4096), (2, 4096 + 744)]);
    assert!(inspection.segments.len() > 2, "{inspection:?}");
    assert_eq!(inspection.segments[1].file, "log-000000000002");
    assert_eq!(storage.calls(), calls, "nothing was written");
    // While somebody writes on.
    let (log, _) = open(&storage, by_hand());
    commit(&log, &[b"more"]);
    assert_eq!(look(&storage).0.last, 61);
}

#[test]
fn damage_is_described_and_dropped_when_told() {
    let storage = filled();
    storage.flip_bit("log-000000000001", 4096 + 744 + 50, 0);
    let (inspection, places) = look(&storage);
    let LogEnd::Damaged(damage, lost) = &inspection.end else { panic!("{inspection:?}") };
    assert_eq!((damage.file.as_str(), damage.offset, damage.record), ("log-000000000001", 4096 + 744, 2));
    assert_eq!((places.len(), lost.records, lost.last), (1, 58, 60));
    assert!(matches!(try_open(&storage, by_hand()), Err(OpenError::Damaged(_))));
    repair(&*storage, 1).unwrap();
    assert_eq!(look(&storage).0.end, LogEnd::Whole);
    let (log, records) = open(&storage, by_hand());
    assert_eq!(records, [vec![0; 700]]);
    commit(&log, &[b"goes on"]);
    drop(log);
    storage.cut_power();
    assert_eq!(open(&storage, by_hand()).1.len(), 2);
}

#[test]
fn a_damaged_header_costs_its_segment_and_what_follows() {
    let storage = filled();
    let before = look(&storage).0.segments[1].first;
    storage.flip_bit("log-000000000002", 20, 0);
    let (inspection, places) = look(&storage);
    let LogEnd::Damaged(damage, lost) = &inspection.end else { panic!("{inspection:?}") };
    assert_eq!((damage.file.as_str(), damage.offset), ("log-000000000002", 0));
    assert!(lost.unreadable_segments >= 2, "{lost:?}");
    assert_eq!(places.len() as u64, before - 1);
    repair(&*storage, 1).unwrap();
    storage.cut_power();
    assert_eq!(open(&storage, by_hand()).1.len() as u64, before - 1);
}

/// What is left of the log ends before the checkpoint, or begins after it: only the checkpoint counts.
#[test]
fn a_log_that_does_not_reach_the_checkpoint_begins_anew_behind_it() {
    for damaged in [true, false] {
        let storage = filled();
        let mut writer = CheckpointWriter::begin(&*storage, 30).unwrap();
        writer.record(b"state").unwrap();
        writer.finish(&[]).unwrap();
        if damaged {
            // The one with record 31.
            storage.flip_bit("log-000000000002", 4096 + 50, 0);
        } else {
            for name in ["log-000000000001", "log-000000000002"] {
                storage.remove(name).unwrap();
            }
        }
        let mut options = by_hand();
        options.from = 31;
        assert!(try_open(&storage, options.clone()).is_err(), "{damaged}");
        repair(&*storage, 31).unwrap();
        storage.cut_power();
        let (log, records, recovery) = try_open(&storage, options.clone()).unwrap();
        assert_eq!((records.len(), recovery.last), (0, 30), "{damaged}");
        commit(&log, &[b"goes on"]);
        drop(log);
        storage.cut_power();
        assert_eq!(try_open(&storage, options).unwrap().1, [b"goes on".to_vec()], "{damaged}");
    }
}

/// A segment that only old records lie in may be damaged, or go while others are read.
#[test]
fn segments_before_the_first_needed_record_do_not_matter() {
    let storage = filled();
    let second = look(&storage).0.segments[1].first;
    storage.flip_bit("log-000000000001", 20, 0);
    let inspection = inspect(&*storage, second + 1, |_| Ok::<(), Infallible>(())).unwrap();
    assert_eq!((inspection.last, inspection.segments[0].first), (60, second));
    assert_eq!(inspection.end, LogEnd::Whole);
    let mut options = by_hand();
    options.from = second + 1;
    assert!(try_open(&storage, options.clone()).is_err());
    repair(&*storage, second + 1).unwrap();
    assert_eq!(try_open(&storage, options).unwrap().2.last, 60);
}
