//! Power cuts of a whole server process.

use std::process::Command;

use cauce_testkit::kills;

/// `CAUCE_KILLS=100` for more of them.
fn rounds() -> u64 {
    std::env::var("CAUCE_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(4)
}

fn server(directory: &std::path::Path, sync: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forgetful-server"));
    command.arg(directory).arg(sync);
    command
}

#[test]
fn what_was_acknowledged_outlives_power_cuts() {
    let directory = tempfile::tempdir().unwrap();
    let work = kills::rounds(rounds(), || server(directory.path(), "always"));
    let work = work.unwrap_or_else(|loss| panic!("{loss}"));
    println!("{work:?}");
    assert!(work.added > 90 && work.acknowledged > 10, "{work:?}");
}

/// Without a sync before the reply it would have been noticed.
#[test]
fn a_server_that_answers_before_the_sync_is_found_out() {
    let directory = tempfile::tempdir().unwrap();
    let loss = kills::rounds(4, || server(directory.path(), "everysec")).expect_err("something is lost");
    assert!(loss.what.contains("gone") || loss.what.contains("counter"), "{loss}");
}
