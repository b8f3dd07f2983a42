use std::sync::Arc;

use cauce_log::{FaultyStorage, OpenError};

use crate::support::{by_hand, commit, open, try_open};

const FILE: &str = "log-000000000001";
/// Offsets of the frames that [`three_frames`] writes, each of 40 bytes and a payload of 12, and where they end.
const FRAMES: [usize; 4] = [4096, 4152, 4208, 4260];

fn three_frames() -> Arc<FaultyStorage> {
    let storage = Arc::new(FaultyStorage::new(0));
    let (log, _) = open(&storage, by_hand());
    for record in [b"one-------", b"two-------", b"three-----"] {
        commit(&log, &[record]);
    }
    storage
}

/// Opens a log in which one bit is flipped: how many records are left and where it was cut, or the place of damage.
fn flipped(byte: usize, bit: u8) -> Result<(usize, Option<u64>), u64> {
    let storage = three_frames();
    storage.flip_bit(FILE, byte, bit);
    match try_open(&storage, by_hand()) {
        Ok((_, records, recovery)) => Ok((records.len(), recovery.torn.map(|torn| torn.offset))),
        Err(OpenError::Damaged(damage)) => {
            assert_eq!(damage.file, FILE);
            Err(damage.offset)
        }
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn every_flipped_bit_of_a_frame_that_is_vouched_for_is_damage() {
    for (frame, from) in FRAMES.into_iter().take(2).enumerate() {
        for byte in from..from + 52 {
            for bit in 0..8 {
                assert_eq!(flipped(byte, bit), Err(FRAMES[frame] as u64), "byte {byte}, bit {bit}");
            }
        }
    }
}

#[test]
fn a_last_frame_that_nobody_vouches_for_is_cut_off() {
    for byte in FRAMES[2]..FRAMES[3] {
        let (records, cut) = flipped(byte, 3).unwrap();
        assert_eq!(records, 2, "byte {byte}");
        // With another epoch it looks like what the file held before.
        let epoch = FRAMES[2] + 8..FRAMES[2] + 16;
        assert_eq!(cut, (!epoch.contains(&byte)).then_some(FRAMES[2] as u64), "byte {byte}");
    }
}

#[test]
fn gaps_and_what_lies_behind_the_end_have_no_meaning() {
    for byte in [FRAMES[0] + 52, FRAMES[1] - 1, FRAMES[3], 8000, 60, 4095] {
        assert_eq!(flipped(byte, 0), Ok((3, None)), "byte {byte}");
    }
}

#[test]
fn a_damaged_header_is_named() {
    for byte in 0..56 {
        assert_eq!(flipped(byte, 0), Err(0), "byte {byte}");
    }
}

#[test]
fn damage_leaves_the_files_as_they_are() {
    let storage = three_frames();
    storage.flip_bit(FILE, FRAMES[1] + 45, 0);
    let calls = storage.calls();
    let error = try_open(&storage, by_hand()).unwrap_err();
    assert_eq!(storage.calls(), calls, "nothing was written");
    let message = error.to_string();
    assert!(
        message.contains("log-000000000001 is damaged at byte 4152, where record 2 should be"),
        "{message}"
    );
    storage.flip_bit(FILE, FRAMES[1] + 45, 0);
    assert_eq!(try_open(&storage, by_hand()).unwrap().1.len(), 3);
}

/// A frame of an earlier life ends where a shorter new one ends: if cutting left it there, the next opening would take it
/// for the next record.
#[test]
fn what_was_cut_off_never_comes_back() {
    let storage = three_frames();
    storage.flip_bit(FILE, FRAMES[2] + 50, 0);
    let (log, records) = open(&storage, by_hand());
    assert_eq!(records.len(), 2);
    commit(&log, &[b"new-three-"]);
    drop(log);
    let (_, records) = open(&storage, by_hand());
    assert_eq!(records.last().unwrap(), b"new-three-");
    assert_eq!(records.len(), 3);
}
