//! Each limit, crossed.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use super::client::{Answer, Api, Events, request};

const JSON: &str = "Content-Type: application/json";

/// That the server hangs up without a word that matters, within a time that the test may take.
#[track_caller]
fn is_hung_up(mut stream: TcpStream) {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}

#[test]
fn a_body_may_not_be_too_long() {
    let api = Api::start(&["--http-body-max", "1000"]);
    let body = |length: usize| json!({"message": "x".repeat(length - r#"{"message":""}"#.len())});
    assert_eq!(api.post("/v1/channels/c/messages", &body(1000)).status, 200);
    api.post("/v1/channels/c/messages", &body(1001)).is_problem(413, "bodyTooLarge", "--http-body-max");
    // Nor may one that does not say how long it is.
    let mut stream = api.connect();
    let head =
        request(&api.address, "POST", "/v1/channels/c/messages", &[JSON, "Transfer-Encoding: chunked"], "");
    stream.write_all(head.replace("Content-Length: 0\r\n", "").as_bytes()).unwrap();
    stream.write_all(format!("3e9\r\n{}\r\n0\r\n\r\n", "x".repeat(1001)).as_bytes()).unwrap();
    Answer::read(stream).is_problem(413, "bodyTooLarge", "at most 1000 bytes");
}

#[test]
fn a_request_may_not_take_too_long_to_arrive() {
    let api = Api::start(&["--http-timeout", "0.2"]);
    let whole = request(&api.address, "POST", "/v1/channels/c/messages", &[JSON], r#"{"message": "x"}"#);
    for length in [0, 20] {
        let mut stream = api.connect();
        stream.write_all(&whole.as_bytes()[..length]).unwrap();
        is_hung_up(stream);
    }
    let mut stream = api.connect();
    stream.write_all(&whole.as_bytes()[..whole.len() - 1]).unwrap();
    Answer::read(stream).is_problem(408, "requestTimeout", "--http-timeout");
}

#[test]
fn a_head_may_not_be_too_long() {
    let api = Api::start(&[]);
    let long = format!("X-Long: {}", "x".repeat(33_000));
    let mut stream = api.connect();
    // The server may hang up before all is sent.
    let _ = stream.write_all(request(&api.address, "GET", "/health", &[&long], "").as_bytes());
    let mut answer = String::new();
    if stream.read_to_string(&mut answer).is_ok() {
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
    assert_eq!(api.get("/health").status, 200);
}

#[test]
fn connections_beyond_the_limit_wait_for_a_free_one() {
    let api =
        Api::start(&["--http-connections-max", "2", "--http-followers-max", "1", "--http-timeout", "0.5"]);
    let idle = [api.connect(), api.connect()];
    let began = Instant::now();
    assert_eq!(api.get("/v1/streams/s/entries").status, 200);
    assert!(began.elapsed() > Duration::from_millis(200), "the idle ones were there first");
    for stream in idle {
        is_hung_up(stream);
    }
}

#[test]
fn followers_beyond_the_limit_are_refused() {
    let api = Api::start(&["--http-followers-max", "1"]);
    let first = api.follow("/v1/channels/c/follow", &[]);
    for path in ["/v1/channels/c/follow", "/v1/streams/s/follow"] {
        let refused = api.get(path);
        refused.is_problem(503, "tooManyFollowers", "--http-followers-max");
        assert!(refused.head.contains("retry-after: "), "{refused:?}");
    }
    drop(first);
    follow_soon(&api);
}

/// Follows once there is room.
fn follow_soon(api: &Api) -> Events {
    let began = Instant::now();
    loop {
        let mut stream = api.connect();
        stream.write_all(request(&api.address, "GET", "/v1/streams/s/follow", &[], "").as_bytes()).unwrap();
        let mut start = [0; 12];
        while stream.peek(&mut start).unwrap() < start.len() {}
        if start.ends_with(b"200") {
            return Events::read(stream);
        }
        assert!(began.elapsed() < Duration::from_secs(10), "the place must be free again");
    }
}

fn resident_bytes(api: &Api) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", api.server.process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
}

#[test]
fn a_follower_that_takes_nothing_costs_little_and_is_given_up() {
    let api = Api::start(&["--http-followers-max", "1", "--http-timeout", "1"]);
    let large = json!({"fields": {"large": "x".repeat(1_000_000)}});
    for _ in 0..64 {
        assert_eq!(api.post("/v1/streams/s/entries", &large).status, 201);
    }
    let before = resident_bytes(&api);
    let mut deaf = api.connect();
    deaf.write_all(request(&api.address, "GET", "/v1/streams/s/follow?from=0", &[], "").as_bytes()).unwrap();
    // Once it follows, nobody else may, until it is given up.
    let mut start = [0; 12];
    while deaf.peek(&mut start).unwrap() < start.len() {}
    api.get("/v1/streams/s/follow").is_problem(503, "tooManyFollowers", "");
    let mut after = follow_soon(&api);
    let growth = resident_bytes(&api).saturating_sub(before);
    assert!(growth < 48_000_000, "memory grew by {growth} bytes");
    api.append("s", 1);
    assert_eq!(after.next_number(), 1);
}
