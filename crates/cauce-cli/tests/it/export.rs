//! `cauce export`: what a real Redis makes of it.

use std::path::Path;
use std::process::{Command, Stdio};

use cauce_testkit::targets::RedisServer;
use cauce_testkit::wire::{Address, Connection, Value};

use crate::durable::Server;

/// Of each kind at least one, with what is hard to carry over.
const COMMANDS: &str = "\
SET text value
SET binary \u{1}\u{ff}
SET number 12
SET dying value PX 10000000
HSET hash field value other 12
HSET dying:hash f v
PEXPIRE dying:hash 20000000
SADD numbers 1 2 3
SADD words one two
ZADD scores 1 one 2.5 two -inf low inf high 0.1 tenth
XADD s 1-1 n 1
XADD s 1-2 n 2
XADD s 2-0 n 3 more fields
XADD s 3-0 n 4
XADD s 4-0 n 5
XADD s 5-0 n 6
XGROUP CREATE s g 0
XGROUP CREATE s unread 2-0
XGROUP CREATE s guessed 2-0 ENTRIESREAD 3
XGROUP CREATECONSUMER s g idler
XREADGROUP GROUP g alice COUNT 3 STREAMS s >
XREADGROUP GROUP g bob COUNT 2 STREAMS s >
XREADGROUP GROUP unread eve NOACK COUNT 1 STREAMS s >
XACK s g 1-2
XCLAIM s g carol 0 2-0 TIME 1700000000123 RETRYCOUNT 7
XDEL s 3-0
XTRIM s MINID 1-2
XADD gone 1-1 n 1
XADD gone 1-2 n 2
XGROUP CREATE gone g 0
XREADGROUP GROUP g c STREAMS gone >
XTRIM gone MAXLEN 0
XADD emptied 7-7 n 1
XDEL emptied 7-7
XGROUP CREATE made g $ MKSTREAM
XGROUP CREATE unused g $ MKSTREAM
XGROUP DESTROY unused g
XADD ahead 1-1 n 1
XSETID ahead 9-9 ENTRIESADDED 50 MAXDELETEDID 8-0";

/// What no command can set, and what is told differently by versions.
const INCOMPARABLE: [&str; 4] = ["radix-tree-keys", "radix-tree-nodes", "seen-time", "active-time"];

fn fill(server: &Server) {
    let mut connection = server.connect();
    for command in COMMANDS.lines() {
        let reply = connection.call(&command.split(' ').collect::<Vec<_>>()).unwrap();
        assert!(!reply.is_error(), "{command}: {reply}");
    }
    for index in 0..2500_u32 {
        connection.send(&["HSET", "large", &format!("f{index}"), "v"]).unwrap();
        connection.send(&["XADD", "long", "*", "n", &index.to_string()]).unwrap();
    }
    for _ in 0..5000 {
        assert!(!connection.receive().unwrap().is_error());
    }
    for command in [
        "XGROUP CREATE long g 0",
        "XREADGROUP GROUP g c COUNT 2100 STREAMS long >",
        "SELECT 3",
        "SET elsewhere 1",
    ] {
        let reply = connection.call(&command.split(' ').collect::<Vec<_>>()).unwrap();
        assert!(!reply.is_error(), "{command}: {reply}");
    }
    let Address::Tcp(address) = &server.address else { panic!("TCP was asked for") };
    for words in
        ["queue create jobs --vt 20", "queue send jobs first", "queue send jobs second", "queue receive jobs"]
    {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cauce"));
        command.args(words.split(' ')).args(["--url", &format!("redis://{address}")]);
        assert!(command.stdin(Stdio::null()).output().unwrap().status.success(), "{words}");
    }
}

/// Exports, and pipes it into a Redis.
fn carry_over(arguments: &[&str], to: &RedisServer) {
    let Address::Tcp(address) = to.tcp() else { panic!("TCP was asked for") };
    let mut export = Command::new(env!("CARGO_BIN_EXE_cauce"))
        .arg("export")
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let import = Command::new("redis-cli")
        .args(["-p", &address.port().to_string(), "--pipe"])
        .stdin(export.stdout.take().unwrap())
        .output()
        .unwrap();
    assert!(export.wait().unwrap().success());
    let said = String::from_utf8_lossy(&import.stdout).into_owned();
    assert!(import.status.success() && said.contains("errors: 0,"), "{said}");
}

fn ask(connection: &mut Connection, words: &[&str]) -> Value {
    let reply = connection.call(words).unwrap();
    assert!(!reply.is_error(), "{words:?}: {reply}");
    reply
}

/// Everything that a key is, in words that both servers say alike.
fn described(connection: &mut Connection, key: &str) -> Vec<Value> {
    let kind = ask(connection, &["TYPE", key]).text().unwrap();
    let sorted = |value: Value| {
        let mut items = value.elements().unwrap().to_vec();
        items.sort();
        Value::Array(items)
    };
    let content = match kind.as_str() {
        "string" => ask(connection, &["GET", key]),
        "hash" => {
            let names = sorted(ask(connection, &["HKEYS", key]));
            let names: Vec<String> =
                names.elements().unwrap().iter().map(|name| name.text().unwrap()).collect();
            let words = ["HMGET", key].into_iter().chain(names.iter().map(String::as_str));
            let values = ask(connection, &words.collect::<Vec<_>>());
            Value::Array(names.iter().map(Value::bulk).chain([values]).collect())
        }
        "set" => sorted(ask(connection, &["SMEMBERS", key])),
        "zset" => {
            // 7.0 writes 0.1 as 0.10000000000000001.
            let number = |value: &Value| value.text().and_then(|text| text.parse::<f64>().ok());
            let scored = ask(connection, &["ZRANGE", key, "0", "-1", "WITHSCORES"]);
            let plain =
                |value: &Value| number(value).map_or(value.clone(), |number| Value::bulk(number.to_string()));
            Value::Array(scored.elements().unwrap().iter().map(plain).collect())
        }
        "stream" => comparable(&ask(connection, &["XINFO", "STREAM", key, "FULL", "COUNT", "0"])),
        other => panic!("{key} is of type {other}"),
    };
    vec![Value::bulk(kind), ask(connection, &["PEXPIRETIME", key]), content]
}

/// Without the values that cannot be compared.
fn comparable(value: &Value) -> Value {
    let Some(items) = value.elements() else { return value.clone() };
    let mut kept = Vec::new();
    let mut items = items.iter();
    while let Some(item) = items.next() {
        if item.text().is_some_and(|name| INCOMPARABLE.contains(&name.as_str())) {
            items.next();
        } else {
            kept.push(comparable(item));
        }
    }
    Value::Array(kept)
}

fn compare(ours: &mut Connection, theirs: &mut Connection) {
    for database in ["3", "0"] {
        let mut keys = [&mut *ours, &mut *theirs].map(|side| {
            ask(side, &["SELECT", database]);
            let keys = ask(side, &["KEYS", "*"]);
            let mut keys: Vec<String> =
                keys.elements().unwrap().iter().map(|key| key.text().unwrap()).collect();
            keys.sort();
            keys
        });
        let found = keys[1].split_off(0);
        assert_eq!(found, keys[0]);
        for key in &found {
            let (ours, theirs) = (described(ours, key), described(theirs, key));
            for (ours, theirs) in ours.iter().zip(&theirs) {
                assert_eq!(ours.to_string(), theirs.to_string(), "{key}");
            }
        }
    }
}

#[test]
fn a_real_redis_takes_it_all() {
    let Some(redis) = RedisServer::start_if_installed().unwrap() else {
        println!("redis-server is not installed: nothing can take what is exported");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    fill(&server);
    let Address::Tcp(address) = &server.address else { panic!("TCP was asked for") };
    let url = format!("redis://{address}");
    let (mut ours, mut theirs) = (server.connect(), Connection::open(&redis.tcp()).unwrap());
    carry_over(&["--url", &url], &redis);
    compare(&mut ours, &mut theirs);
    // Again, over what is there, from the directory that the server works in.
    carry_over(&["--dir", path(directory.path()), "--replace"], &redis);
    compare(&mut ours, &mut theirs);
    // And from the real one, whose streams we could make in the same way.
    let Address::Tcp(address) = redis.tcp() else { panic!("TCP was asked for") };
    let other = RedisServer::start().unwrap();
    carry_over(&["--url", &format!("redis://{address}")], &other);
    let mut copy = Connection::open(&other.tcp()).unwrap();
    for key in ["text", "hash", "scores", "s", "gone", "emptied", "ahead"] {
        let (content, copied) = (described(&mut theirs, key), described(&mut copy, key));
        if key != "s" && key != "gone" {
            assert_eq!(content, copied, "{key}");
        }
    }
}

#[test]
fn what_nobody_owns_is_due_at_once() {
    let Some(redis) = RedisServer::start_if_installed().unwrap() else {
        println!("redis-server is not installed: nothing can take what is exported");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    for command in [
        "XADD s 1-1 n 1",
        "XGROUP CREATE s g 0",
        "XREADGROUP GROUP g c STREAMS s >",
        "XNACK s g FAIL IDS 1 1-1",
    ] {
        assert!(!server.ask(command).is_error(), "{command}");
    }
    drop(server);
    carry_over(&["--dir", path(directory.path())], &redis);
    let mut theirs = Connection::open(&redis.tcp()).unwrap();
    let pending = ask(&mut theirs, &["XPENDING", "s", "g", "IDLE", "1000000", "-", "+", "10"]);
    let owner = pending.elements().unwrap()[0].elements().unwrap()[1].text();
    assert_eq!(owner.as_deref(), Some("cauce:released"));
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
