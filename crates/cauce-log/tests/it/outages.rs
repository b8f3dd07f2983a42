use std::sync::Arc;
use std::time::{Duration, Instant};

use cauce_log::{FaultyStorage, Log, Outage, SyncPolicy};

use crate::support::{append, by_hand, commit, open, threaded, wait_until};

const EIO: i32 = 5;

#[test]
fn a_failed_sync_is_never_tried_again() {
    let storage = Arc::new(FaultyStorage::new(0));
    let (log, _) = open(&storage, by_hand());
    commit(&log, &[b"safe"]);
    append(&log, &[b"lost"]);
    // The write, then the sync.
    storage.plan(storage.calls() + 2, Outage::Error(EIO));
    assert!(!log.commit() || log.failure().is_some());
    let failure = log.failure().expect("it is told").to_string();
    assert!(failure.starts_with("cannot sync log-000000000001: "), "{failure}");
    let calls = storage.calls();
    append(&log, &[b"refused"]);
    log.commit();
    log.keep();
    assert_eq!((log.durable(), log.state().appended, storage.calls()), (1, 2, calls));
    drop(log);
    assert_eq!(storage.calls(), calls, "not even at the end");
}

/// Nor by a checkpoint, which wants the log synced as far as it goes: the next sync may well succeed, without the records.
#[test]
fn a_failed_sync_is_not_made_up_for_by_the_next_one() {
    let storage = Arc::new(FaultyStorage::new(0));
    let (log, _) = open(&storage, by_hand());
    commit(&log, &[b"safe"]);
    append(&log, &[b"lost"]);
    storage.plan(storage.calls() + 2, Outage::Error(EIO));
    log.commit();
    assert_eq!((log.written(), log.durable()), (2, 1));
    assert!(!log.sync_to(2));
    assert_eq!(log.durable(), 1);
}

/// The header of a new segment was shown by the system after its sync had failed, and was not on the disk: a later power
/// cut took the segment away from under records that had been confirmed.
#[test]
fn what_a_failed_sync_left_is_written_again_before_it_is_built_on() {
    for seed in 0..50 {
        let storage = Arc::new(FaultyStorage::new(seed));
        let (log, _) = open(&storage, by_hand());
        log.keep();
        append(&log, &[b"first"]);
        // The header of the first segment is written, and its sync fails.
        storage.plan(storage.calls() + 2, Outage::Error(EIO));
        log.commit();
        assert!(log.failure().is_some());
        drop(log);
        let (log, _) = open(&storage, by_hand());
        commit(&log, &[b"confirmed"]);
        storage.switch_off();
        drop(log);
        storage.cut_power();
        assert_eq!(open(&storage, by_hand()).1, [b"confirmed".to_vec()], "seed {seed}");
    }
}

#[test]
fn a_full_disk_is_met_before_it_is_needed_and_passes() {
    let storage = Arc::new(FaultyStorage::new(0));
    storage.set_capacity(16 * 1024);
    let (log, _) = open(&storage, threaded());
    append(&log, &[&[1; 5000]]);
    wait_until(&log, "the first is safe", || log.durable() == 1);
    assert!(log.admits_writes(), "there is room in the segment");
    append(&log, &[&[2; 5000]]);
    wait_until(&log, "writes are refused", || log.durable() == 2 && !log.admits_writes());
    // What comes all the same waits.
    append(&log, &[&[3; 5000]]);
    assert_eq!((log.failure().is_none(), log.durable()), (true, 2));
    storage.set_capacity(u64::MAX);
    wait_until(&log, "writes go on", || log.durable() == 3 && log.admits_writes());
    drop(log);
    assert_eq!(open(&storage, by_hand()).1.len(), 3);
}

#[test]
fn a_slow_disk_delays_and_loses_nothing() {
    let storage = Arc::new(FaultyStorage::new(0));
    let (log, _) = open(&storage, threaded());
    append(&log, &[b"first"]);
    wait_until(&log, "the first is safe", || log.durable() == 1);
    storage.delay_syncs(Duration::from_millis(100));
    let began = Instant::now();
    let syncs = log.state().syncs;
    for number in 0..100_u8 {
        append(&log, &[&[number]]);
    }
    wait_until(&log, "all are safe", || log.durable() == 101);
    assert!(began.elapsed() >= Duration::from_millis(100));
    assert!(log.state().syncs - syncs <= 3, "one sync pays for all that came during the one before");
}

#[test]
fn every_second_is_safe_when_written_and_synced_soon() {
    let storage = Arc::new(FaultyStorage::new(0));
    let mut options = threaded();
    options.policy = SyncPolicy::EverySecond;
    let (log, _) = open(&storage, options);
    append(&log, &[b"first"]);
    wait_until(&log, "it is written", || log.durable() == 1);
    let began = Instant::now();
    while log.state().synced < 1 {
        assert!(began.elapsed() < Duration::from_secs(10), "it is synced within about a second");
        std::thread::yield_now();
    }
}
