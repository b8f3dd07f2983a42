//! A directory that several processes use, one of them `cauce serve`.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use cauce::{Bus, Event};
use cauce_testkit::wire::Value;
use serde::{Deserialize, Serialize};

use crate::durable::Server;

/// Bytes of a segment's header.
const HEADER_BYTES: usize = 56;

#[derive(Event, Serialize, Deserialize)]
#[event(stream = "flights", action = "flight.cancelled")]
struct Cancelled {
    flight: String,
}

async fn connect(directory: &Path) -> Bus {
    Bus::connect(&format!("file:{}", directory.display())).await.unwrap()
}

async fn publish(bus: &Bus) {
    bus.publish(&Cancelled { flight: "UA 1".to_owned() }).await.unwrap();
}

/// Publishes until that works: an event that was under way when its broker ended has no known outcome.
async fn publish_at_last(bus: &Bus) {
    let event = Cancelled { flight: "UA 1".to_owned() };
    let trying = async { while bus.publish(&event).await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(20), trying).await.unwrap();
}

/// CRC-32C, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |sum: u32, _| if sum & 1 == 1 { sum >> 1 ^ 0x82f6_3b78 } else { sum >> 1 };
    !bytes.iter().fold(u32::MAX, |sum, &byte| (0..8).fold(sum ^ u32::from(byte), step))
}

/// What a second `cauce serve` on the directory says.
fn refused(directory: &Path) -> String {
    let mut second = Command::new(env!("CARGO_BIN_EXE_cauce"));
    let second = second.args(["serve", "--port", "0", "--dir"]).arg(directory).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    String::from_utf8(second.stderr).unwrap()
}

#[tokio::test]
async fn a_bus_joins_the_server_that_holds_the_directory_and_takes_over_from_it() {
    let directory = tempfile::tempdir().unwrap();
    // The owner of the files needs no password.
    let mut server = Server::start(directory.path(), &["--requirepass", "secret"]);
    let bus = connect(directory.path()).await;
    publish(&bus).await;
    let mut client = server.connect();
    assert_eq!(
        client.call(&["XLEN", "flights"]).unwrap(),
        Value::Error(b"NOAUTH Authentication required.".into())
    );
    client.call(&["AUTH", "secret"]).unwrap();
    assert_eq!(client.call(&["XLEN", "flights"]).unwrap(), Value::Integer(1));
    let expected = format!("is held by another process (number {}, `cauce`); stop that one", server.pid);
    let message = refused(directory.path());
    assert!(message.contains(&expected) && message.contains("by the URL file:"), "{message}");

    // It stops in order, and the bus goes on.
    assert!(Command::new("kill").arg(&server.pid).status().unwrap().success());
    assert_eq!(server.process.wait().unwrap().code(), Some(0));
    publish_at_last(&bus).await;
    let message = refused(directory.path());
    assert!(message.contains(&format!("(number {}, ", std::process::id())), "{message}");
    assert_eq!(bus.stream("flights").range(.., 10).await.unwrap().len(), 2);

    // Nobody uses it here any more: a server can have it again.
    drop(bus);
    let server = Server::start(directory.path(), &[]);
    assert_eq!(server.ask("XLEN flights"), Value::Integer(2));
}

#[tokio::test]
async fn a_server_that_is_killed_leaves_its_directory_to_those_who_use_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Server::start(directory.path(), &[]);
    let bus = connect(directory.path()).await;
    publish(&bus).await;
    server.kill();
    publish_at_last(&bus).await;
    assert!(bus.stream("flights").range(.., 10).await.unwrap().len() >= 2);
}

#[tokio::test]
async fn the_socket_is_for_its_owner_and_its_path_may_be_long() {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("a".repeat(150)).join("b".repeat(150));
    let server = Server::start(&directory, &[]);
    let mode = std::fs::metadata(directory.join("socket")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let bus = connect(&directory).await;
    publish(&bus).await;
    assert_eq!(server.ask("XLEN flights"), Value::Integer(1));
}

#[tokio::test]
async fn a_log_of_a_newer_format_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    server.ask("SET k v");
    drop(server);
    let path = directory.path().join("log-000000000001");
    let mut bytes = std::fs::read(&path).unwrap();
    // As docs/log-format.md draws a segment's header: the sum of what follows it, and the version.
    bytes[12] += 1;
    let sum = crc32c(&bytes[12..HEADER_BYTES]);
    bytes[8..12].copy_from_slice(&sum.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let url = format!("file:{}", directory.path().display());
    let error = Bus::connect(&url).await.unwrap_err().to_string();
    assert!(
        error.contains("log-000000000001 has format ") && error.contains("use the version that wrote it"),
        "{error}"
    );
    let message = refused(directory.path());
    assert!(message.contains("log-000000000001 has format "), "{message}");
}
