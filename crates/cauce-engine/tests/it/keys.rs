use cauce_engine::Timestamp;

use crate::support::{START_MS, World};

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

#[test]
fn strings_are_set_and_read() {
    World::new().check(&[
        ("SET k v", "+OK"),
        ("GET k", "$1 v"),
        ("SET k w NX", "$-1"),
        ("SET k w XX GET", "$1 v"),
        ("SET other w XX", "$-1"),
        ("SET k x EX 0", "-ERR invalid expire time in 'set' command"),
        ("SET k x EX", "-ERR syntax error"),
        ("SET k x NX XX", "-ERR syntax error"),
        ("SET k x PX 10 KEEPTTL", "-ERR syntax error"),
        ("SET k x EX ten", "-ERR value is not an integer or out of range"),
        ("STRLEN k", ":1"),
        ("SETNX k z", ":0"),
        ("MSET a 1 b 2", "+OK"),
        ("MSET a 1 b", "-ERR wrong number of arguments for 'mset' command"),
        ("MGET a b c", "*3 $1 1 $1 2 $-1"),
        ("INCR a", ":2"),
        ("INCRBY a 9223372036854775807", "-ERR increment or decrement would overflow"),
        ("INCR k", "-ERR value is not an integer or out of range"),
    ]);
}

#[test]
fn keys_expire_when_they_are_looked_at() {
    let mut world = World::new();
    world.check(&[
        ("SET k v PX 100", "+OK"),
        ("PTTL k", ":100"),
        ("TTL k", ":0"),
        ("SET k w KEEPTTL", "+OK"),
        ("PTTL k", ":100"),
    ]);
    world.advance_ms(99);
    world.check(&[("GET k", "$1 w")]);
    world.advance_ms(1);
    world.check(&[("GET k", "$-1"), ("PTTL k", ":-2"), ("DBSIZE", ":0")]);
}

#[test]
fn keys_expire_when_nobody_looks() {
    let mut world = World::new();
    world.check(&[("SET k v PX 100", "+OK"), ("SET l v", "+OK")]);
    assert_eq!(world.engine.next_deadline(), Some(Timestamp::from_millis(START_MS + 100)));
    world.advance_ms(100);
    world.tick();
    assert_eq!(world.engine.next_deadline(), None);
    world.check(&[("DBSIZE", ":1")]);
}

#[test]
fn expiry_is_changed_under_conditions() {
    World::new().check(&[
        ("EXPIRE k 10", ":0"),
        ("SET k v", "+OK"),
        ("EXPIRE k 10 XX", ":0"),
        ("EXPIRE k 10 GT", ":0"),
        ("EXPIRE k 10 LT", ":1"),
        ("EXPIRE k 10 NX", ":0"),
        ("EXPIRE k 20 GT", ":1"),
        ("EXPIRE k 20 NX XX", "-ERR NX and XX, GT or LT options at the same time are not compatible"),
        ("EXPIRE k 20 GT LT", "-ERR GT and LT options at the same time are not compatible"),
        ("EXPIRE k 20 FOO", "-ERR Unsupported option FOO"),
        ("EXPIRE k 9223372036854775807", "-ERR invalid expire time in 'expire' command"),
        ("EXPIRETIME k", ":1700000020"),
        ("PEXPIRETIME k", ":1700000020000"),
        ("PERSIST k", ":1"),
        ("PERSIST k", ":0"),
        ("TTL k", ":-1"),
        ("EXPIRE k -1", ":1"),
        ("EXISTS k", ":0"),
    ]);
}

#[test]
fn keys_are_named_counted_and_moved() {
    World::new().check(&[
        ("MSET a 1 b 2", "+OK"),
        ("EXISTS a b c a", ":3"),
        ("TYPE a", "+string"),
        ("TYPE c", "+none"),
        ("RENAME c d", "-ERR no such key"),
        ("RENAME a b", "+OK"),
        ("GET b", "$1 1"),
        ("EXISTS a", ":0"),
        ("SET a 2", "+OK"),
        ("RENAMENX a b", ":0"),
        ("RENAMENX a c", ":1"),
        ("UNLINK b c x", ":2"),
        ("RANDOMKEY", "$-1"),
    ]);
}

#[test]
fn a_scan_returns_every_key_that_stays_exactly_once() {
    let mut world = World::new();
    for n in 0..95 {
        world.run(1, &format!("SET key{n} v"));
    }
    let mut seen: Vec<String> = Vec::new();
    let mut cursor = "0".to_owned();
    loop {
        let reply = world.run(1, &format!("SCAN {cursor} COUNT 10"));
        let words: Vec<&str> = reply.split(' ').collect();
        cursor = words[2].to_owned();
        seen.extend(words.iter().filter(|word| word.starts_with("key")).map(|word| (*word).to_owned()));
        // Keys that come and go meanwhile change nothing for those that stay.
        world.run(1, &format!("SET other{cursor} v"));
        world.run(1, &format!("DEL other{cursor} key94"));
        if cursor == "0" {
            break;
        }
    }
    seen.retain(|key| key != "key94");
    seen.sort();
    let mut expected: Vec<String> = (0..94).map(|n| format!("key{n}")).collect();
    expected.sort();
    assert_eq!(seen, expected);
    world.check(&[
        ("SCAN x", "-ERR invalid cursor"),
        ("SCAN 0 COUNT 0", "-ERR syntax error"),
        ("SCAN 0 FOO 1", "-ERR syntax error"),
        ("SCAN 0 MATCH key93 COUNT 1000 TYPE STRING", "*2 $1 0 *1 $5 key93"),
    ]);
}

#[test]
fn flushing_empties_one_database_or_all() {
    World::new().check(&[
        ("SET a 1", "+OK"),
        ("SELECT 2", "+OK"),
        ("SET a 1", "+OK"),
        ("FLUSHDB", "+OK"),
        ("DBSIZE", ":0"),
        ("SELECT 0", "+OK"),
        ("DBSIZE", ":1"),
        ("FLUSHALL FOO", "-ERR syntax error"),
        ("FLUSHALL ASYNC", "+OK"),
        ("DBSIZE", ":0"),
        ("KEYS *", "*0"),
        ("FUNCTION FLUSH", "+OK"),
        ("FUNCTION FLUSH LATER", "-ERR syntax error"),
        ("FUNCTION LIST", "*0"),
        ("FUNCTION LOAD x", "-ERR unknown subcommand 'LOAD'. Try FUNCTION HELP."),
    ]);
}

#[test]
fn a_stream_is_no_string() {
    World::new().check(&[
        ("XADD s 1-1 f v", "$3 1-1"),
        ("GET s", WRONG_TYPE),
        ("INCR s", WRONG_TYPE),
        ("STRLEN s", WRONG_TYPE),
        ("MGET s", "*1 $-1"),
        ("SET s v GET", WRONG_TYPE),
        ("SET s v", "+OK"),
        ("XADD s 1-1 f v", WRONG_TYPE),
    ]);
}
