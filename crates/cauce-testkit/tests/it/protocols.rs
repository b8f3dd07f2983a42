//! Every reply has the shape that redis-server gives it, in RESP2 and in RESP3: maps, sets, doubles, booleans, nulls, texts.

use cauce_testkit::targets::Target;
use cauce_testkit::wire::{Connection, Value};

const COMMANDS: &str = include_str!("protocols.txt");

#[test]
fn replies_have_the_shapes_of_redis_in_both_protocols() {
    let Some(redis) = Target::redis_server().expect("it starts") else {
        eprintln!("skipped: redis-server is not installed");
        return;
    };
    let ours = Target::embedded().expect("it starts");
    for protocol in ["2", "3"] {
        let compared = check(&redis, &ours, protocol);
        assert!(compared > 150, "only {compared} replies were compared");
    }
}

/// Gives how many replies were compared.
fn check(redis: &Target, ours: &Target, protocol: &str) -> usize {
    let connect = |target: &Target| Connection::open(target.address()).expect("it listens");
    let (mut theirs, mut ours) = (connect(redis), connect(ours));
    for connection in [&mut theirs, &mut ours] {
        for opening in [&["FLUSHALL"][..], &["HELLO", protocol]] {
            assert!(!connection.call(opening).expect("it answers").is_error());
        }
    }
    let mut compared = 0;
    let mut failures = Vec::new();
    for line in COMMANDS.lines().filter(|line| !line.starts_with('#')) {
        let (command, kind_only) = line.strip_prefix("~ ").map_or((line, false), |command| (command, true));
        let args: Vec<&str> = command.split(' ').collect();
        let (expected, got) =
            (theirs.call(&args).expect("it answers"), ours.call(&args).expect("it answers"));
        if is_unknown(&got) {
            continue;
        }
        compared += 1;
        let same = if kind_only {
            std::mem::discriminant(&expected) == std::mem::discriminant(&got)
        } else {
            expected == got
        };
        if !same {
            failures.push(format!(
                "[RESP{protocol}] {command}\n  redis-server: {expected}\n  the broker:   {got}"
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    compared
}

fn is_unknown(reply: &Value) -> bool {
    let text = reply.text().unwrap_or_default();
    reply.is_error()
        && (text.starts_with("ERR unknown command") || text.starts_with("ERR unknown subcommand"))
}
