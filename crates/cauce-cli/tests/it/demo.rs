//! `cauce demo`: the books balance, and notice when they should not.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use cauce_testkit::targets::Target;

/// Replays the blizzard in one second and gives up soon.
fn demo(arguments: &[&str]) -> (Output, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_cauce"))
        .args(["demo", "--seconds", "1", "--patience", "4"])
        .args(arguments)
        .output()
        .unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output, text)
}

/// With this fault, the demo ends with 1 and this complaint.
#[track_caller]
fn check_fault(fault: &str, complaint: &str) {
    let ledgers = tempfile::tempdir().unwrap();
    let (output, text) = demo(&["--fault", fault, "--ledgers", ledgers.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("The books do not balance"), "{text}");
    assert!(text.contains(complaint), "{complaint:?} is not in\n{text}");
}

/// How many ledgers of `dir` have a line with these fields among its own.
fn lines_with(dir: &Path, words: &[&str]) -> usize {
    let mut count = 0;
    for file in std::fs::read_dir(dir).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "ledger") {
            let text = std::fs::read_to_string(path).unwrap();
            let fields = |line: &str| words.iter().all(|word| line.split('\t').any(|field| field == *word));
            count += text.lines().filter(|line| fields(line)).count();
        }
    }
    count
}

#[test]
fn the_books_balance() {
    let ledgers = tempfile::tempdir().unwrap();
    let (output, text) = demo(&["--ledgers", ledgers.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for expected in [
        "930 flight.scheduled, 458 flight.departed, 473 flight.cancelled, 456 flight.arrived",
        "delay-2 was killed (SIGKILL)",
        "tickets-2 was killed (SIGKILL)",
        "The books balance",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in\n{text}");
    }
    let dir = ledgers.path();
    assert_eq!(lines_with(dir, &["published"]), 2317);
    assert!(lines_with(dir, &["delay", "handled", "2"]) >= 1, "claimed after the kill, a second attempt");
    assert_eq!(lines_with(dir, &["rebooking", "dead-lettered"]), 1, "the poison");
    assert_eq!(lines_with(dir, &["statistics", "dead-lettered"]), 1, "the poison");
    assert!(lines_with(dir, &["rebooking", "failed"]) > 10);
    assert_eq!(lines_with(dir, &["rebooking", "sent"]), lines_with(dir, &["rebooking", "handled"]));
    assert!(
        lines_with(dir, &["tickets", "handled", "2"]) >= 1,
        "come again after the kill, a second receipt"
    );
    for display in ["display-1", "display-2", "display-3"] {
        assert!(lines_with(dir, &[display, "seen"]) > 0, "{display}");
    }
}

#[test]
fn the_books_balance_on_redis_server_run_after_run() {
    let Some(server) = Target::redis_server().unwrap() else { return };
    let url = format!("redis://{}", server.address());
    let mut observer = server.observe().unwrap();
    for _ in 0..2 {
        let (output, text) = demo(&["--url", &url]);
        assert_eq!(output.status.code(), Some(0), "{text}");
        assert_eq!(observer.call(&["DBSIZE"]).unwrap().to_string(), ":0", "it leaves nothing behind");
    }
}

#[test]
fn a_stream_of_somebody_else_is_left_alone() {
    let Some(server) = Target::redis_server().unwrap() else { return };
    let mut observer = server.observe().unwrap();
    observer.call(&["XADD", "flights", "*", "mine", "1"]).unwrap();
    let (output, text) = demo(&["--url", &format!("redis://{}", server.address())]);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("holds a stream 'flights' that is not the demo's"), "{text}");
    assert_eq!(observer.call(&["XLEN", "flights"]).unwrap().to_string(), ":1");
}

#[test]
fn no_part_outlives_its_conductor() {
    let ledgers = tempfile::tempdir().unwrap();
    let path = ledgers.path().to_str().unwrap();
    let mut conductor = Command::new(env!("CARGO_BIN_EXE_cauce"))
        .args(["demo", "--seconds", "60", "--ledgers", path])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(conductor.stdout.take().unwrap()).lines();
    let at_work = lines.map_while(Result::ok).any(|line| line.contains("processes are at work"));
    assert!(at_work && processes_with(path) > 10, "the parts have started");
    conductor.kill().unwrap();
    conductor.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while processes_with(path) > 0 {
        assert!(Instant::now() < deadline, "{} parts are still there", processes_with(path));
        std::thread::yield_now();
    }
}

/// Running processes that were called with this argument.
fn processes_with(argument: &str) -> usize {
    let mut count = 0;
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        count += usize::from(String::from_utf8_lossy(&line).contains(argument));
    }
    count
}

#[test]
fn a_handler_that_acknowledges_without_handling_is_found() {
    check_fault("ack-without-handling", "delay neither handled nor dead-lettered: 1 event (");
}

#[test]
fn a_line_missing_at_the_operations_desk_is_found() {
    check_fault("drop-published", "the operations desk had 2317 events to publish and wrote down 2316");
}

#[test]
fn a_line_missing_at_a_service_is_found() {
    check_fault("drop-handled", "statistics neither handled nor dead-lettered: 1 event (");
}

#[test]
fn a_line_missing_at_a_display_is_found() {
    check_fault(
        "drop-seen",
        "display-1 saw 2315 messages (0 of them twice) and was told that it missed 0, of 2316",
    );
}

#[test]
fn an_unreachable_server_is_named() {
    let (output, text) = demo(&["--url", "redis://127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("can't reach redis://127.0.0.1:1"), "{text}");
}

#[test]
fn ledgers_need_a_directory_of_their_own() {
    let ledgers = tempfile::tempdir().unwrap();
    std::fs::write(ledgers.path().join("old.ledger"), "1\n").unwrap();
    let (output, text) = demo(&["--ledgers", ledgers.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("is not empty"), "{text}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let (output, text) = demo(&["--year", "/nowhere/flights.csv"]);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("can't open /nowhere/flights.csv"), "{text}");
}
