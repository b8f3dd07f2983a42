use std::time::Duration;

use cauce_broker::{Broker, Config};
use tokio::time::Instant;

use crate::support::{Client, until};

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let broker = Broker::in_memory(Config::default());
    let mut client = Client::new(&broker);
    let (mut requests, mut replies) = (String::new(), String::new());
    for n in 0..5_000 {
        requests.push_str(&format!("SET key{n} {n}\r\nGET key{n}\r\n"));
        replies.push_str(&format!("+OK|${}|{n}|", n.to_string().len()));
    }
    client.send_bytes(requests.as_bytes()).await;
    client.expect(&replies).await;
}

#[tokio::test]
async fn no_two_brokers_make_the_same_passwords() {
    let mut made = Vec::new();
    for broker in [Broker::in_memory(Config::default()), Broker::in_memory(Config::default())] {
        let mut client = Client::new(&broker);
        client.send("ACL GENPASS").await;
        assert_eq!(client.read_line().await, "$64");
        made.push(client.read_line().await);
    }
    assert_ne!(made[0], made[1]);
}

#[tokio::test]
async fn half_a_request_disturbs_nobody() {
    let broker = Broker::in_memory(Config::default());
    let (mut slow, mut other) = (Client::new(&broker), Client::new(&broker));
    slow.send_bytes(b"*2\r\n$4\r\nEC").await;
    other.ask("PING", "+PONG|").await;
    slow.send_bytes(b"HO\r\n$2\r\nhi").await;
    other.ask("PING", "+PONG|").await;
    slow.send_bytes(b"\r\n").await;
    slow.expect("$2|hi|").await;
}

#[tokio::test]
async fn a_protocol_error_is_told_and_ends_the_connection() {
    let broker = Broker::in_memory(Config::default());
    let mut client = Client::new(&broker);
    client.send_bytes(b"PING\r\n*1\r\nPING\r\nPING\r\n").await;
    assert_eq!(client.read_to_end().await, "+PONG\r\n-ERR Protocol error: expected '$', got 'P'\r\n");
    Client::new(&broker).ask("PING", "+PONG|").await;
}

#[tokio::test(start_paused = true)]
async fn a_blocked_read_ends_at_its_time_on_the_runtimes_clock() {
    let broker = Broker::in_memory(Config::default());
    let mut client = Client::new(&broker);
    let begun = Instant::now();
    client.ask("XREAD BLOCK 15000 STREAMS s $", "*-1|").await;
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_secs(15) && waited < Duration::from_millis(15_010), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn keys_expire_on_the_runtimes_clock() {
    let broker = Broker::in_memory(Config::default());
    let mut client = Client::new(&broker);
    client.ask("SET k v EX 100", "+OK|").await;
    tokio::time::advance(Duration::from_secs(99)).await;
    client.ask("EXISTS k", ":1|").await;
    tokio::time::advance(Duration::from_secs(1)).await;
    client.ask("EXISTS k", ":0|").await;
}

#[tokio::test]
async fn requests_behind_a_blocked_one_wait() {
    let broker = Broker::in_memory(Config::default());
    let (mut reader, mut writer) = (Client::new(&broker), Client::new(&broker));
    reader.send("XREAD BLOCK 0 STREAMS s $\r\nECHO \"a b\"\r\nPING").await;
    reader.expect_silence().await;
    writer.ask("XADD s 1-1 f v", "$3|1-1|").await;
    reader.expect("*1|*2|$1|s|*1|*2|$3|1-1|*2|$1|f|$1|v|$3|a b|+PONG|").await;
}

#[tokio::test]
async fn a_blocked_client_that_leaves_is_forgotten() {
    let broker = Broker::in_memory(Config::default());
    let mut writer = Client::new(&broker);
    writer.ask("XGROUP CREATE s g $ MKSTREAM", "+OK|").await;
    let mut gone = Client::new(&broker);
    gone.send("XREADGROUP GROUP g c BLOCK 0 STREAMS s >").await;
    gone.expect_silence().await;
    drop(gone);
    until("the broker sees the client leave", || broker.connections() == 1).await;
    let mut reader = Client::new(&broker);
    reader.send("XREADGROUP GROUP g d BLOCK 0 STREAMS s >").await;
    reader.expect_silence().await;
    writer.ask("XADD s 1-1 f v", "$3|1-1|").await;
    reader.expect("*1|*2|$1|s|*1|*2|$3|1-1|*2|$1|f|$1|v|").await;
}

#[tokio::test]
async fn a_blocked_client_is_unblocked_by_another() {
    let broker = Broker::in_memory(Config::default());
    let (mut blocked, mut other) = (Client::new(&broker), Client::new(&broker));
    blocked.ask("CLIENT ID", ":1|").await;
    for (reason, reply) in
        [("", "*-1|"), (" TIMEOUT", "*-1|"), (" ERROR", "-UNBLOCKED client unblocked via CLIENT UNBLOCK|")]
    {
        blocked.send("XREAD BLOCK 0 STREAMS s $").await;
        blocked.expect_silence().await;
        other.ask(&format!("CLIENT UNBLOCK 1{reason}"), ":1|").await;
        blocked.expect(reply).await;
    }
    other.ask("CLIENT UNBLOCK 1", ":0|").await;
    other.ask("CLIENT UNBLOCK 1 FOO", "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR|").await;
}

#[tokio::test]
async fn a_killed_client_is_disconnected() {
    let broker = Broker::in_memory(Config::default());
    let (mut victim, mut other) = (Client::new(&broker), Client::new(&broker));
    victim.ask("PING", "+PONG|").await;
    other.ask("CLIENT KILL ID 1", ":1|").await;
    assert_eq!(victim.read_to_end().await, "");
    until("the session ends", || broker.connections() == 1).await;
    other.ask("CLIENT KILL ID 2 SKIPME no", ":1|").await;
    assert_eq!(other.read_to_end().await, "");
}
