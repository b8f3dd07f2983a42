use std::sync::Arc;

use cauce_log::{FaultyStorage, Log, MemoryStorage, OpenError, Storage};

use crate::support::{by_hand, commit, open, try_open};

#[test]
fn a_unit_larger_than_a_segment_is_kept_whole() {
    let storage = Arc::new(MemoryStorage::default());
    let large: Vec<u8> = (0..100_000_u32).map(|number| number as u8).collect();
    let (log, _) = open(&storage, by_hand());
    commit(&log, &[b"before"]);
    log.append(&mut |batch| batch.unit(3, [&b"with"[..], &large, b"it"]));
    commit(&log, &[b"after"]);
    assert!(log.state().segments > 6, "{:?}", log.state());
    drop(log);
    let (log, records) = open(&storage, by_hand());
    assert_eq!(records, [b"before".to_vec(), b"with".to_vec(), large, b"it".to_vec(), b"after".to_vec()]);
    assert_eq!(log.durable(), 5);
}

#[test]
fn a_unit_whose_last_part_is_missing_is_gone_whole() {
    let storage = Arc::new(MemoryStorage::default());
    let (log, _) = open(&storage, by_hand());
    commit(&log, &[b"before", &[7; 40_000]]);
    drop(log);
    let names = storage.list().unwrap();
    let last = names.iter().filter(|name| name.starts_with("log-")).rev().nth(1).unwrap();
    storage.remove(last).unwrap();
    storage.remove(names.iter().rfind(|name| name.starts_with("log-")).unwrap()).unwrap();
    let (log, records) = open(&storage, by_hand());
    assert_eq!(records, [b"before".to_vec()]);
    commit(&log, &[b"after"]);
    drop(log);
    assert_eq!(open(&storage, by_hand()).1, [b"before".to_vec(), b"after".to_vec()]);
}

#[test]
fn segments_that_nobody_needs_are_used_again() {
    let storage = Arc::new(MemoryStorage::default());
    let (log, _) = open(&storage, by_hand());
    for round in 0..200_u64 {
        commit(&log, &[&[round as u8; 1000]]);
        log.forget(log.durable());
        log.keep();
    }
    assert!(storage.list().unwrap().len() <= 5, "{:?}", storage.list());
    assert!(log.state().disk_bytes <= 5 * 16 * 1024, "{:?}", log.state());
    drop(log);
    let mut options = by_hand();
    options.from = 200;
    let (log, records, recovery) = try_open(&storage, options).unwrap();
    assert_eq!((records, recovery.last), (vec![vec![199; 1000]], 200));
    drop(log);
    match try_open(&storage, by_hand()) {
        Err(OpenError::Missing { needed: 1, first }) => assert!(first > 180, "{first}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_order_of_units_is_the_order_of_appending() {
    let storage = Arc::new(FaultyStorage::new(1));
    let (log, _) = open(&storage, by_hand());
    let records: Vec<Vec<u8>> = (0..500_usize).map(|number| vec![number as u8; number % 97]).collect();
    for chunk in records.chunks(7) {
        commit(&log, &chunk.iter().map(Vec::as_slice).collect::<Vec<_>>());
    }
    drop(log);
    assert_eq!(open(&storage, by_hand()).1, records);
}
