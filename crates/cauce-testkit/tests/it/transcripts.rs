//! Every transcript on every target.

use std::fs;
use std::path::Path;

use cauce_broker::Config;
use cauce_testkit::targets::Target;
use cauce_testkit::transcript::{Protocol, Runner, parse};

#[test]
fn every_transcript_holds_on_redis_server() {
    match Target::redis_server().unwrap() {
        Some(target) => check(&target),
        None => eprintln!("skipped: redis-server is not installed"),
    }
}

#[test]
fn every_transcript_holds_on_the_embedded_broker() {
    check(&Target::embedded().unwrap());
}

/// Blocks of two entries, so that every stream has some that are full. A case that depends on their size fails in memory
/// too; all others must hold wherever the blocks are.
#[test]
fn every_transcript_holds_while_streams_are_on_disk() {
    let mut config = Config::default();
    config.settings.stream_node_max_entries = 2;
    let memory = Target::embedded_with(config.clone()).unwrap();
    let disk = Target::embedded_on_disk(config).unwrap();
    let mut in_memory = Runner::new(&memory).expect("the target answers");
    let mut on_disk = Runner::new(&disk).expect("the target answers");
    let (mut failures, mut ran, mut left_out) = (Vec::new(), 0, 0);
    // One of the cases of connections says that nothing is on disk.
    let of_streams = |(file, text): &(String, String)| text.contains("XADD") && file != "connection.txt";
    for (file, text) in transcripts().into_iter().filter(of_streams) {
        for case in parse(&text).unwrap_or_else(|error| panic!("{file}, {error}")) {
            if case.excuse(memory.features()).is_some() {
                continue;
            }
            for protocol in [Protocol::Resp2, Protocol::Resp3].into_iter().filter(|one| case.speaks(*one)) {
                if in_memory.run(&case, protocol).is_err() {
                    left_out += 1;
                    continue;
                }
                ran += 1;
                if let Err(failure) = on_disk.run(&case, protocol) {
                    failures.push(format!("{file}: {failure}"));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} of {ran} cases fail:\n{}", failures.len(), failures.join("\n"));
    assert!(ran > 50 && left_out * 5 < ran, "{ran} cases ran, {left_out} depend on the size of blocks");
    let info = disk.connect().unwrap().call(&["INFO", "persistence"]).unwrap();
    let info = info.text().expect("INFO is text");
    let reads = info.split("cauce_block_reads:").nth(1).and_then(|rest| rest.lines().next());
    assert!(reads.is_some_and(|reads| reads != "0"), "blocks were read from disk: {info}");
}

/// Runs all cases of all files and tells all that do not hold at once.
fn check(target: &Target) {
    let mut runner = Runner::new(target).expect("the target answers");
    let mut failures = Vec::new();
    let mut ran = 0;
    for (file, text) in transcripts() {
        for case in parse(&text).unwrap_or_else(|error| panic!("{file}, {error}")) {
            if case.excuse(target.features()).is_some() {
                continue;
            }
            for protocol in [Protocol::Resp2, Protocol::Resp3].into_iter().filter(|one| case.speaks(*one)) {
                ran += 1;
                if let Err(failure) = runner.run(&case, protocol) {
                    failures.push(format!("{file}: {failure}"));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} of {ran} cases fail:\n{}", failures.len(), failures.join("\n"));
    assert!(ran > 0, "no transcript was found");
}

fn transcripts() -> Vec<(String, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("transcripts");
    let mut files: Vec<(String, String)> = fs::read_dir(directory)
        .expect("the transcripts are there")
        .map(|entry| {
            let path = entry.expect("the directory can be read").path();
            let text = fs::read_to_string(&path).expect("a transcript is text");
            (path.file_name().expect("a file has a name").to_string_lossy().into_owned(), text)
        })
        .collect();
    files.sort();
    files
}
