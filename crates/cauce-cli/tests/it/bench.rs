//! `cauce bench`: measures, and refuses what it can't measure.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Output};

fn bench(arguments: &[&str]) -> (Output, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_cauce")).arg("bench").args(arguments).output().unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output, text)
}

#[test]
fn every_scenario_measures_the_broker() {
    let (output, text) = bench(&["--spawn-cauce", "--rounds", "1", "--seconds", "0.1", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{text}");
    let names = [
        "xadd-pipelined",
        "xadd",
        "group-drain",
        "fan-out",
        "get",
        "set",
        "incr",
        "mset",
        "hset",
        "sadd",
        "zadd",
        "receive-pipelined",
        "receive",
        "ping",
        "latency",
    ];
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().map(|line| line["scenario"].as_str().unwrap()).collect::<Vec<_>>(), names);
    for line in lines {
        assert!(line["a"]["figure"]["median"].as_f64().unwrap() > 0.0, "{line}");
    }
}

#[test]
fn the_pipe_is_measured_against_tcp() {
    let (output, text) = bench(&["--in-process", "--rounds", "1", "--seconds", "0.1", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for name in ["publish", "consume"] {
        assert!(text.contains(&format!("{{\"scenario\":\"{name}\"")), "{text}");
    }
}

#[test]
fn memory_is_measured_per_item() {
    // Says so where none is installed, and fails where one is required.
    if cauce_testkit::targets::Target::redis_server().unwrap().is_none() {
        eprintln!("skipped: redis-server is not installed");
        return;
    }
    let (output, text) = bench(&["--memory", "--items", "50000", "--only", "entry,pending", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{text}");
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{text}");
    for line in lines {
        assert!(line["cauce_bytes"].as_f64().unwrap() > 1.0, "{line}");
        assert!(line["redis_bytes"].as_f64().unwrap() > 1.0, "{line}");
    }
}

#[test]
fn an_error_reply_fails_the_scenario() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(n @ 1..) = connection.read(&mut buffer) {
                    let reply: &[u8] = if buffer[..n].windows(4).any(|word| word == b"PING") {
                        b"-LOADING not yet\r\n"
                    } else {
                        b":0\r\n"
                    };
                    if connection.write_all(reply).is_err() {
                        return;
                    }
                }
            });
        }
    });
    let (output, text) = bench(&["--url", &url, "--only", "ping", "--rounds", "1", "--seconds", "0.1"]);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("LOADING not yet"), "{text}");
}

#[test]
fn unknown_scenarios_and_servers_are_named() {
    let (output, text) = bench(&["--url", "redis://127.0.0.1:1", "--only", "teleport"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("there is no scenario 'teleport'"), "{text}");
    let (output, text) = bench(&["--url", "redis://127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("can't reach redis://127.0.0.1:1"), "{text}");
}
