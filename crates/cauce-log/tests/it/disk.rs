use std::convert::Infallible;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use cauce_log::{CheckpointWriter, DirectoryError, DiskLog, FileStorage, Log, OpenError, Storage};

use crate::support::{append, by_hand, commit, open, threaded, try_open, wait_until};

fn hold(directory: &Path) -> Arc<FileStorage> {
    Arc::new(FileStorage::open(directory).expect("it is free"))
}

#[test]
fn many_threads_share_one_log() {
    let directory = tempfile::tempdir().unwrap();
    let storage = hold(&directory.path().join("made/when/missing"));
    let (log, _) = open(&storage, threaded());
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let log = &log;
            scope.spawn(move || (0..250).for_each(|_| append(log, &[&[thread; 30]])));
        }
    });
    wait_until(&log, "all are safe", || log.durable() == 1000);
    assert!(log.state().syncs < 1000, "{:?}", log.state());
    drop(log);
    let (_, records) = open(&storage, threaded());
    for thread in 0..4 {
        assert_eq!(records.iter().filter(|record| **record == [thread; 30]).count(), 250);
    }
}

#[test]
fn a_directory_has_one_holder() {
    let directory = tempfile::tempdir().unwrap();
    let storage = hold(directory.path());
    let error = FileStorage::open(directory.path()).unwrap_err();
    assert!(matches!(&error, DirectoryError::Held { holder: Some(pid), .. } if *pid == std::process::id()));
    assert!(error.to_string().contains("is held by another process (number "), "{error}");
    drop(storage);
    hold(directory.path());
}

#[test]
fn a_newer_format_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let storage = hold(directory.path());
    commit(&open(&storage, by_hand()).0, &[b"record"]);
    let path = directory.path().join("log-000000000001");
    let mut bytes = fs::read(&path).unwrap();
    bytes[12] = 9;
    let sum = crc32c(&bytes[12..56]);
    bytes[8..12].copy_from_slice(&sum.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    match try_open(&storage, by_hand()) {
        Err(OpenError::Newer { version: 9, .. }) => {}
        other => panic!("{other:?}"),
    }
}

/// The checksum of the format, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| sum >> 1 ^ if sum & 1 == 1 { 0x82f6_3b78 } else { 0 })
    })
}

#[test]
fn a_reader_written_from_the_documentation_finds_the_same_records() {
    let directory = tempfile::tempdir().unwrap();
    let storage = hold(directory.path());
    let (log, _) = open(&storage, by_hand());
    commit(&log, &[b"first", b"", &[5; 40_000], b"between"]);
    for number in 0..50_u8 {
        commit(&log, &[&[number; 700], b"small"]);
    }
    log.forget(20);
    log.keep();
    // Used again: old frames lie behind the new ones.
    for number in 0..20_u8 {
        commit(&log, &[&[number; 300]]);
    }
    drop(log);
    let mut expected = String::new();
    let mut options = by_hand();
    options.from = 20;
    let storage_of_log: Arc<FileStorage> = Arc::clone(&storage);
    DiskLog::open(storage_of_log, options, |number, record| {
        let hex: String = record.iter().map(|byte| format!("{byte:02x}")).collect();
        expected.push_str(&format!("{number} {hex}\n"));
        Ok::<(), Infallible>(())
    })
    .unwrap();
    let listed = read_by_script(&[directory.path().as_os_str()]);
    let from_20 = listed.find("\n20 ").map_or(0, |at| at + 1);
    assert_eq!(listed[from_20..], expected);
    assert!(expected.lines().count() > 80);
}

#[test]
fn the_reader_finds_the_records_of_a_checkpoint_too() {
    let directory = tempfile::tempdir().unwrap();
    let storage = hold(directory.path());
    let mut writer = CheckpointWriter::begin(&*storage, 42).unwrap();
    let mut expected = String::new();
    // More than one part can hold.
    for number in 1..=14_u8 {
        let record = vec![number; if number == 5 { 0 } else { 700_000 }];
        writer.record(&record).unwrap();
        let hex: String = record.iter().map(|byte| format!("{byte:02x}")).collect();
        expected.push_str(&format!("{number} {hex}\n"));
    }
    writer.finish(&[]).unwrap();
    assert!(storage.list().unwrap().iter().filter(|name| name.starts_with("part-")).count() > 1);
    let listed = read_by_script(&[OsStr::new("--checkpoint"), directory.path().as_os_str()]);
    assert!(listed == format!("{expected}position 42\n"), "{} bytes are listed", listed.len());
}

fn read_by_script(arguments: &[&OsStr]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/log_reader.py");
    let output = Command::new("python3").arg(script).args(arguments).output().expect("python3 runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("it prints text")
}
