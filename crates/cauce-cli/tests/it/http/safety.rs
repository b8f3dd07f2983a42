//! Who may ask, and how it ends.

use std::io::{Read, Write};
use std::process::Command;

use serde_json::json;

use super::client::{Answer, Api, request};

/// Runs `cauce serve` with arguments that it must refuse: its exit code and what it says.
fn refused(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_cauce"))
        .args(["serve", "--memory", "--port", "0"])
        .args(arguments)
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[track_caller]
fn check_token(api: &Api, token: &str) {
    let path = "/v1/streams/s/entries";
    let ask = |headers: &[&str]| api.ask("GET", path, headers, "");
    let unasked = ask(&[]);
    unasked.is_problem(401, "unauthorized", "send `Authorization: Bearer TOKEN`");
    assert!(unasked.head.contains("www-authenticate: Bearer"), "{unasked:?}");
    for wrong in
        ["Bearer", "Bearer ", "Bearer x", &format!("Basic {token}"), &format!("Bearer {token}x"), token]
    {
        ask(&[&format!("Authorization: {wrong}")]).is_problem(401, "unauthorized", "not the token");
    }
    assert_eq!(ask(&[&format!("Authorization: Bearer {token}")]).status, 200);
    assert_eq!(ask(&[&format!("authorization: bearer {token}")]).status, 200);
    api.get("/v1/openapi.json").is_problem(401, "unauthorized", "");
    assert_eq!(api.get("/health").status, 200, "probes have no token");
}

#[test]
fn a_token_is_wanted_where_one_is_set() {
    check_token(&Api::start(&["--http-token", "s3cret"]), "s3cret");
    check_token(
        &Api::start_at("0.0.0.0:0", &["--requirepass", "p@ss"], Some("from-the-environment")),
        "from-the-environment",
    );
}

#[test]
fn what_is_not_safe_is_refused() {
    let check = |arguments: &[&str], code, expected: &str| {
        let (found, message) = refused(arguments);
        assert_eq!(found, Some(code), "{message}");
        assert!(message.contains(expected), "{message}");
    };
    check(&["--http", "0.0.0.0:0"], 1, "refusing to serve HTTP on 0.0.0.0 without a token");
    check(&["--http", "[::]:0"], 1, "set one with --http-token or CAUCE_HTTP_TOKEN, or use 127.0.0.1");
    check(
        &["--http", "127.0.0.1:0", "--requirepass", "x"],
        1,
        "everyone on this machine could go around --requirepass",
    );
    check(&["--http", "127.0.0.1:0", "--http-token", ""], 2, "a token needs at least one character");
    check(
        &["--http", "127.0.0.1:0", "--http-followers-max", "1024"],
        1,
        "must be less than --http-connections-max 1024",
    );
    check(&["--http", "127.0.0.1:0", "--http-timeout", "0"], 2, "a number of seconds");
    check(&["--http", "8080"], 2, "8080");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    check(&["--http", &taken], 1, &format!("cannot serve HTTP on {taken}"));
}

/// A page in a browser on this machine must not reach the server, neither under a name of its own nor across origins.
#[test]
fn without_a_token_pages_of_strangers_are_refused() {
    let api = Api::start(&[]);
    let ask = |headers: &[&str]| api.ask("GET", "/v1/streams/s/entries", headers, "");
    let own = format!("Origin: http://{}", api.address);
    for fine in [&[][..], &["Host: localhost"], &["Host: [::1]:80"], &[&own], &["Sec-Fetch-Site: none"]] {
        assert_eq!(ask(fine).status, 200, "{fine:?}");
    }
    for host in ["Host: evil.example", "Host: 127.0.0.1.evil.example:80", "Host: 10.0.0.1"] {
        ask(&[host]).is_problem(403, "foreignHost", "--http-token");
    }
    api.ask("GET", "http://evil.example/health", &[], "").is_problem(403, "foreignHost", "localhost");
    for origin in [
        "Origin: http://evil.example",
        "Origin: null",
        "Origin: http://localhost:1",
        "Sec-Fetch-Site: cross-site",
    ] {
        ask(&[origin]).is_problem(403, "foreignOrigin", "--http-token");
    }
    let answer = ask(&[&own]);
    assert!(!answer.head.contains("access-control-"), "no other origin may read: {answer:?}");
}

#[test]
fn sigterm_ends_what_follows_and_finishes_requests() {
    let mut api = Api::start(&[]);
    let mut events = api.follow("/v1/streams/s/follow", &[]);
    let whole = request(
        &api.address,
        "POST",
        "/v1/streams/s/entries",
        &["Content-Type: application/json", "Expect: 100-continue"],
        &json!({"fields": {"a": "1"}}).to_string(),
    );
    let (begun, rest) = whole.split_at(whole.len() - 3);
    let mut request = api.connect();
    request.write_all(begun.as_bytes()).unwrap();
    // The server says so once it waits for the body: then the request is under way.
    let mut goes_on = [0; 25];
    request.read_exact(&mut goes_on).unwrap();
    assert_eq!(&goes_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    api.terminate();
    assert_eq!(events.next(), None, "it ends in order");
    request.write_all(rest.as_bytes()).unwrap();
    assert_eq!(Answer::read(request).status, 201);
    assert_eq!(api.server.process.wait().unwrap().code(), Some(0));
}
