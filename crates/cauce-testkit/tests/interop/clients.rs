//! The clients of other languages. Each has a script that uses the client's own API from the handshake to a restart of
//! the server, and prints what came back.

use crate::both::{Seen, same_on_both, same_on_both_protected};
use crate::process::Process;
use crate::server::{PASSWORD, Server};

/// Every script goes through these.
const SECTIONS: [&str; 10] = [
    "handshake",
    "streams",
    "groups",
    "blocking",
    "pubsub",
    "transactions",
    "keys",
    "collections",
    "scripts",
    "reconnect",
];

#[test]
#[ignore = "needs the Node clients; ./test installs them"]
fn node_redis_2_8() {
    check(|port| Process::node("clients/flat.js", &[port, "redis2"]));
}

#[test]
#[ignore = "needs the Node clients; ./test installs them"]
fn node_redis_3_1() {
    check(|port| Process::node("clients/flat.js", &[port, "redis3"]));
}

#[test]
#[ignore = "needs the Node clients; ./test installs them"]
fn node_redis_current() {
    check(|port| Process::node("clients/modern.js", &[port]));
}

#[test]
#[ignore = "needs the Node clients; ./test installs them"]
fn ioredis() {
    check(|port| Process::node("clients/flat.js", &[port, "ioredis"]));
}

#[test]
#[ignore = "needs the Python client; ./test installs it"]
fn redis_py() {
    check(|port| Process::python("client.py", &[port]));
}

#[test]
#[ignore = "needs the Node clients; ./test installs them"]
fn node_clients_give_a_password() {
    same_on_both_protected(|server| {
        let port = server.port().to_string();
        Process::node("clients/password.js", &[&port, PASSWORD]).finish()
    });
}

fn check(start: impl Fn(&str) -> Process) {
    let seen = same_on_both(|server| run(start(&server.port().to_string()), server));
    assert_all_sections(&seen);
}

/// Runs a script to its end, restarting the server when the script asks for it.
fn run(mut script: Process, server: &mut Server) -> Seen {
    while let Some(line) = script.line() {
        if line == "restart" {
            server.restart();
            script.tell("restarted");
        }
    }
    let seen = script.finish();
    assert_eq!(seen.last().map(String::as_str), Some("end"), "the script stopped early: {seen:#?}");
    seen
}

/// Fails if a section of the script saw nothing.
pub(crate) fn assert_all_sections(seen: &Seen) {
    for section in SECTIONS {
        let prefix = format!("{section} ");
        assert!(seen.iter().any(|line| line.starts_with(&prefix)), "nothing about {section} in {seen:#?}");
    }
}
