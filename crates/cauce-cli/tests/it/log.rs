//! `cauce log` and `cauce repair`.

use std::fs;
use std::path::Path;
use std::process::Command;

use cauce_testkit::wire::Value as Reply;
use serde_json::{Value, json};

use crate::durable::Server;

/// Runs `cauce` with these words and the directory: its exit code and what it says.
fn cauce(words: &str, directory: &Path) -> (i32, String) {
    let (verb, options) = words.split_once(' ').unwrap_or((words, ""));
    let output = Command::new(env!("CARGO_BIN_EXE_cauce"))
        .arg(verb)
        .arg(directory)
        .args(options.split(' ').filter(|option| !option.is_empty()))
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap().trim_end().to_owned())
}

fn lines(words: &str, directory: &Path) -> Vec<Value> {
    let (code, text) = cauce(&format!("{words} --json"), directory);
    assert_eq!(code, 0, "{text}");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn records_are_shown_in_words() {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("data");
    let server = Server::start(&directory, &[]);
    for command in [
        "SET k v",
        "XADD s 1-1 f v",
        "XGROUP CREATE s g 0",
        "XREADGROUP GROUP g c STREAMS s >",
        "XACK s g 1-1",
        "ZADD z 1.5 m",
    ] {
        assert!(!server.ask(command).is_error(), "{command}");
    }
    // While the server works.
    let (code, text) = cauce("log", &directory);
    assert_eq!(code, 0, "{text}");
    let shown: Vec<&str> = text.lines().collect();
    assert_eq!(shown[0], "1 log-000000000001@4096 set-string db0 \"k\" value=\"v\"");
    assert!(shown[1].ends_with("append db0 \"s\" id=1-1 fields=[\"f\" \"v\"]"), "{}", shown[1]);
    assert!(text.contains("ack db0 \"s\" group=\"g\" ids=[1-1]"), "{text}");
    assert!(text.contains("sorted-set-put db0 \"z\" members=[\"m\":1.5]"), "{text}");
    assert!(text.ends_with("in 1 segments; there is no checkpoint"), "{text}");
    let acks = lines("log --effect ack --key s", &directory);
    assert_eq!((acks.len(), &acks[0]["group"], &acks[0]["ids"]), (2, &json!("g"), &json!(["1-1"])));
    assert_eq!(acks[1]["summary"]["end"], json!("whole"));
    let some = lines("log --from 2 --to 3", &directory);
    assert_eq!((some.len(), &some[0]["number"], &some[1]["number"]), (3, &json!(2), &json!(3)));
    assert_eq!(cauce("log --checkpoint", &directory), (0, "there is no checkpoint".to_owned()));
    let (code, text) = cauce("log", &place.path().join("nowhere"));
    assert!(code == 1 && text.contains("cannot look at"), "{text}");
}

#[test]
fn what_is_damaged_is_dropped_only_when_told() {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("data");
    let server = Server::start(&directory, &[]);
    for number in 0..5 {
        server.ask(&format!("SET k {number}"));
    }
    let (code, text) = cauce("repair", &directory);
    assert!(code == 1 && text.contains("is held by another process"), "{text}");
    drop(server);
    let (code, text) = cauce("repair", &directory);
    assert!(code == 0 && text.contains("nothing is damaged; records up to "), "{text}");
    let offset = lines("log --from 3 --to 3", &directory)[0]["offset"].as_u64().unwrap();
    let path = directory.join("log-000000000001");
    let mut bytes = fs::read(&path).unwrap();
    bytes[usize::try_from(offset).unwrap() + 41] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let (code, text) = cauce("log", &directory);
    assert_eq!(code, 3, "{text}");
    let (code, text) = cauce("repair", &directory);
    assert_eq!(code, 3, "{text}");
    let place = format!("log-000000000001 is damaged at byte {offset}, where record 3 should be");
    assert!(text.contains(&place) && text.contains("--drop` drops it"), "{text}");
    assert!(text.contains("2 whole frames with 2 records behind it, up to record 5,"), "{text}");
    assert_eq!(fs::read(&path).unwrap(), bytes, "nothing was changed");
    let (code, text) = cauce("repair --drop", &directory);
    assert!(code == 0 && text.ends_with("goes on behind record 2"), "{text}");
    let server = Server::start(&directory, &[]);
    assert_eq!(server.ask("GET k").text().as_deref(), Some("1"));
    assert_eq!(server.ask("SET k 9"), Reply::Simple(b"OK".into()));
}
