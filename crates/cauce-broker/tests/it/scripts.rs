//! Scripts that do not end: others are answered, and an operator can end them.

use std::time::Duration;

use cauce_broker::{Broker, Config};

use crate::support::Client;

const BUSY: &str = "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.|";

fn broker(password: &str) -> Broker {
    let mut config = Config::default();
    config.settings.busy_reply_threshold_ms = 20;
    config.settings.requirepass = password.to_owned();
    config.limits.script_time_max = Duration::from_millis(50);
    Broker::in_memory(config)
}

/// Sends a script and returns when the broker is known to be busy with it.
async fn keep_busy(client: &mut Client, other: &mut Client, script: &str) {
    client.send(&format!("EVAL \"{script}\" 0")).await;
    loop {
        other.send("PING").await;
        if other.read_line().await.starts_with("-BUSY") {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_script_that_does_not_end_is_killed() {
    let broker = broker("");
    let (mut stuck, mut other) = (Client::new(&broker), Client::new(&broker));
    for script in ["while true do end", "while true do pcall(function() while true do end end) end"] {
        keep_busy(&mut stuck, &mut other, script).await;
        other.ask("GET k", BUSY).await;
        other.ask("MULTI", "+OK|").await;
        other.ask("GET k", BUSY).await;
        other.ask("DISCARD", "+OK|").await;
        other.ask("SHUTDOWN", BUSY).await;
        other.ask("SCRIPT KILL", "+OK|").await;
        let reply = stuck.read_line().await;
        assert!(reply.starts_with("-ERR Script killed by user with SCRIPT KILL... script: "), "{reply}");
        stuck.ask("PING", "+PONG|").await;
        other.ask("SCRIPT KILL", "-NOTBUSY No scripts in execution right now.|").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn connections_come_and_go_while_a_script_runs() {
    let broker = broker("secret");
    let (mut stuck, mut other) = (Client::new(&broker), Client::new(&broker));
    stuck.ask("AUTH secret", "+OK|").await;
    other.ask("AUTH secret", "+OK|").await;
    keep_busy(&mut stuck, &mut other, "while true do end").await;
    drop(other);
    let mut operator = Client::new(&broker);
    operator.ask("SCRIPT KILL", "-NOAUTH Authentication required.|").await;
    operator.ask("AUTH wrong", "-WRONGPASS invalid username-password pair or user is disabled.|").await;
    operator.ask("AUTH secret", "+OK|").await;
    operator.ask("SCRIPT KILL", "+OK|").await;
    assert!(stuck.read_line().await.starts_with("-ERR Script killed"));
    operator.ask("CLIENT ID", ":3|").await;
    crate::support::until("the other connection is gone", || broker.connections() == 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_script_that_has_written_goes_on() {
    let broker = broker("");
    let (mut stuck, mut other) = (Client::new(&broker), Client::new(&broker));
    let script =
        "redis.call('SET', 'k', 'v') local s = os.clock() while os.clock() - s < 0.5 do end return 'done'";
    keep_busy(&mut stuck, &mut other, script).await;
    other.send("SCRIPT KILL").await;
    assert!(other.read_line().await.starts_with("-UNKILLABLE Sorry the script already executed write"));
    stuck.expect("$4|done|").await;
    other.ask("GET k", "$1|v|").await;
}

#[tokio::test]
async fn where_nobody_can_be_told_a_script_ends_by_itself() {
    let broker = broker("");
    let mut client = Client::new(&broker);
    client.send("EVAL \"while true do end\" 0").await;
    assert!(client.read_line().await.starts_with("-ERR Script killed"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn shutdown_is_told_to_the_owner() {
    let broker = broker("");
    let mut client = Client::new(&broker);
    client.ask("SHUTDOWN SAVE NOSAVE", "-ERR syntax error|").await;
    client.ask("SHUTDOWN ABORT", "-ERR No shutdown in progress.|").await;
    client.send("SHUTDOWN NOSAVE").await;
    assert_eq!(client.read_to_end().await, "");
    broker.shutdown_requested().await;
}
