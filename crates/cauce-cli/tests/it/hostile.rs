//! What comes over the wire from the broken and the hostile: each costs little, and the others are served.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::serve::Server;

/// What a hostile connection may make the broker's resident memory grow by.
const GROWTH_BYTES_MAX: u64 = 4 * 1024 * 1024;

fn resident_bytes(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() * 1024
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(&server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// Sends bytes; the connection is then answered with `expected` and closed, or, without an answer, kept open.
/// Either way another client is served, and memory hardly grows.
#[track_caller]
fn check(server: &Server, bytes: &[u8], expected: Option<&str>) {
    let before = resident_bytes(server);
    let mut stream = connect(server);
    stream.write_all(bytes).unwrap();
    match expected {
        Some(expected) => {
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert_eq!(answer, expected);
        }
        None => {
            // What was sent before is dealt with when a later connection has been answered twice.
            server.ask("PING\r\nPING", "+PONG\r\n+PONG\r\n");
            stream.set_nonblocking(true).unwrap();
            assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        }
    }
    server.ask("PING", "+PONG\r\n");
    let growth = resident_bytes(server).saturating_sub(before);
    assert!(growth < GROWTH_BYTES_MAX, "memory grew by {growth} bytes");
}

#[test]
fn announced_sizes_cost_nothing_until_the_bytes_come() {
    let server = Server::start(&[]);
    check(&server, b"*2\r\n$4\r\nECHO\r\n$536870912\r\nonly this", None);
    check(&server, b"*1000000\r\n$4\r\nMGET\r\n", None);
    check(&server, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n", None);
    check(&server, b"*2\r\n$4\r\nEC", None);
}

#[test]
fn what_is_no_request_is_refused_and_ends_the_connection() {
    let server = Server::start(&[]);
    let refused =
        |bytes: &[u8], why: &str| check(&server, bytes, Some(&format!("-ERR Protocol error: {why}\r\n")));
    refused(b"*2\r\n$4\r\nECHO\r\n$536870913\r\n", "invalid bulk length");
    refused(b"*2\r\n$4\r\nECHO\r\n$-1\r\n", "invalid bulk length");
    refused(b"*2147483648\r\n", "invalid multibulk length");
    refused(b"*1\r\n*1\r\n$4\r\nPING\r\n", "expected '$', got '*'");
    refused(&b"*1\r\n".repeat(100_000), "expected '$', got '*'");
    refused(&[b'x'; 100_000], "too big inline request");
    refused(b"SET k \"half a quote\r\n", "unbalanced quotes in request");
}

#[test]
fn garbage_is_an_unknown_command() {
    let server = Server::start(&[]);
    let mut stream = connect(&server);
    let garbage: Vec<u8> =
        (0..4096_u32).map(|n| 0x80 | (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    stream.write_all(&[&garbage, &b"\r\nPING\r\n"[..]].concat()).unwrap();
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while !answer.ends_with(b"+PONG\r\n") {
        let n = stream.read(&mut buffer).unwrap();
        assert!(n > 0, "the connection goes on after an unknown command");
        answer.extend_from_slice(&buffer[..n]);
    }
    assert!(answer.starts_with(b"-ERR unknown command"), "{}", String::from_utf8_lossy(&answer));
}

#[test]
fn a_subscriber_that_never_reads_is_cut_off_and_its_messages_freed() {
    let server = Server::start(&[]);
    let mut deaf = connect(&server);
    deaf.write_all(b"SUBSCRIBE c\r\n").unwrap();
    let mut publisher = connect(&server);
    let message =
        [b"*3\r\n$7\r\nPUBLISH\r\n$1\r\nc\r\n$1000000\r\n", vec![b'x'; 1_000_000].as_slice(), b"\r\n"]
            .concat();
    let (mut reply, mut sent) = ([0; 4], 0);
    while reply != *b":0\r\n" {
        assert!(sent < 200, "200 MB are more than a subscriber's buffer and the sockets' take");
        publisher.write_all(&message).unwrap();
        publisher.read_exact(&mut reply).unwrap();
        sent += 1;
    }
    assert!(sent > 8, "the hard limit is 32 MB, the soft one 8");
    let began = Instant::now();
    while resident_bytes(&server) > 64 * 1024 * 1024 {
        assert!(began.elapsed() < Duration::from_secs(10), "the messages must be freed");
        server.ask("PING", "+PONG\r\n");
    }
}

#[test]
fn ten_thousand_idle_connections_are_held_and_cost_little() {
    const CONNECTIONS: usize = 9_990;
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    if limit.maximum.is_some_and(|most| most < 12_000) {
        eprintln!("skipped: this machine allows {:?} open files, 12,000 are needed", limit.maximum);
        return;
    }
    limit.current = limit.maximum;
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    let server = Server::start(&[]);
    let before = resident_bytes(&server);
    let idle: Vec<TcpStream> = (0..CONNECTIONS)
        .map(|_| {
            let mut stream = connect(&server);
            // Answered, so that each has been served once and is not only waiting to be accepted.
            stream.write_all(b"PING\r\n").unwrap();
            stream
        })
        .collect();
    for mut stream in &idle {
        let mut reply = [0; 7];
        stream.read_exact(&mut reply).unwrap();
        assert_eq!(&reply, b"+PONG\r\n");
    }
    server.ask("SET k v", "+OK\r\n");
    let each = (resident_bytes(&server) - before) / CONNECTIONS as u64;
    assert!(each < 16 * 1024, "an idle connection costs {each} bytes");
    // The limit of 10,000 is met: the one too many is told so.
    let more: Vec<TcpStream> = (0..10).map(|_| connect(&server)).collect();
    let mut last = connect(&server);
    let mut answer = String::new();
    last.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "-ERR max number of clients reached\r\n");
    drop(more);
}
