use crate::support::World;

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

#[test]
fn fields_are_set_and_read() {
    World::new().check(&[
        ("HSET h a 1 b 2", ":2"),
        ("HSET h a 3 c 4", ":1"),
        ("HSET h a", "-ERR wrong number of arguments for 'hset' command"),
        ("HSET h a 1 b", "-ERR wrong number of arguments for 'hset' command"),
        ("HMSET h a 1 b", "-ERR wrong number of arguments for 'hmset' command"),
        ("HMSET h a 1", "+OK"),
        ("HGET h a", "$1 1"),
        ("HGET h x", "$-1"),
        ("HGET nothing a", "$-1"),
        ("HMGET h a x b", "*3 $1 1 $-1 $1 2"),
        ("HMGET nothing a b", "*2 $-1 $-1"),
        ("HGETALL h", "*6 $1 a $1 1 $1 b $1 2 $1 c $1 4"),
        ("HKEYS h", "*3 $1 a $1 b $1 c"),
        ("HVALS h", "*3 $1 1 $1 2 $1 4"),
        ("HLEN h", ":3"),
        ("HLEN nothing", ":0"),
        ("HEXISTS h a", ":1"),
        ("HEXISTS h x", ":0"),
        ("HSTRLEN h c", ":1"),
        ("HSTRLEN h x", ":0"),
        ("HSETNX h a 9", ":0"),
        ("HSETNX h d 5", ":1"),
        ("TYPE h", "+hash"),
        ("HGETALL nothing", "*0"),
        ("HKEYS nothing", "*0"),
    ]);
}

#[test]
fn a_hash_without_fields_is_gone() {
    World::new().check(&[
        ("HSET h a 1 b 2 c 3", ":3"),
        ("HDEL h a x", ":1"),
        ("HSET h a 4", ":1"),
        ("HKEYS h", "*3 $1 b $1 c $1 a"),
        ("HDEL h a b c", ":3"),
        ("EXISTS h", ":0"),
        ("HDEL h a", ":0"),
    ]);
}

#[test]
fn numbers_in_fields_are_incremented() {
    World::new().check(&[
        ("HINCRBY h n 5", ":5"),
        ("HINCRBY h n -7", ":-2"),
        ("HINCRBY h n x", "-ERR value is not an integer or out of range"),
        ("HINCRBY h n 9223372036854775807", ":9223372036854775805"),
        ("HINCRBY h n 9223372036854775807", "-ERR increment or decrement would overflow"),
        ("HSET h t text f 10.50", ":2"),
        ("HINCRBY h t 1", "-ERR hash value is not an integer"),
        ("HINCRBYFLOAT h f 0.1", "$4 10.6"),
        ("HINCRBYFLOAT h g 5.0e3", "$4 5000"),
        ("HINCRBYFLOAT h t 1", "-ERR hash value is not a float"),
        ("HINCRBYFLOAT h f x", "-ERR value is not a valid float"),
        ("HINCRBYFLOAT h f inf", "-ERR value is NaN or Infinity"),
        ("HGET h f", "$4 10.6"),
    ]);
}

#[test]
fn hashes_speak_resp3() {
    let mut world = World::new();
    world.run(1, "HELLO 3");
    world.check(&[
        ("HSET h a 1", ":1"),
        ("HGETALL h", "%1 $1 a $1 1"),
        ("HGETALL nothing", "%0"),
        ("HGET h x", "_"),
        ("HRANDFIELD h 1 WITHVALUES", "*1 *2 $1 a $1 1"),
        ("HSCAN h 0", "*2 $1 0 *2 $1 a $1 1"),
    ]);
}

#[test]
fn random_fields_are_chosen() {
    let mut world = World::new();
    world.check(&[
        ("HRANDFIELD h", "$-1"),
        ("HRANDFIELD h 3", "*0"),
        ("HSET h a 1", ":1"),
        ("HRANDFIELD h", "$1 a"),
        ("HRANDFIELD h 5", "*1 $1 a"),
        ("HRANDFIELD h -2 WITHVALUES", "*4 $1 a $1 1 $1 a $1 1"),
        ("HRANDFIELD h 0", "*0"),
        ("HRANDFIELD h x", "-ERR value is not an integer or out of range"),
        ("HRANDFIELD h 1 VALUES", "-ERR syntax error"),
        ("HRANDFIELD h -99999999999", "-ERR value is out of range"),
    ]);
    for n in 0..200 {
        world.run(1, &format!("HSET big field{n} {n}"));
    }
    for count in [3, 150] {
        let reply = world.run(1, &format!("HRANDFIELD big {count}"));
        let mut names: Vec<&str> = reply.split(' ').filter(|word| word.starts_with("field")).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{reply}");
    }
}

#[test]
fn a_hash_is_scanned() {
    let mut world = World::new();
    world.check(&[
        ("HSCAN h 0", "*2 $1 0 *0"),
        ("HSCAN h x", "-ERR invalid cursor"),
        ("HSET h a 1 b 2", ":2"),
        ("HSCAN h 0 COUNT 1", "*2 $1 0 *4 $1 a $1 1 $1 b $1 2"),
        ("HSCAN h 0 MATCH b*", "*2 $1 0 *2 $1 b $1 2"),
        ("HSCAN h 0 TYPE hash", "-ERR syntax error"),
        ("HSCAN h 0 COUNT 0", "-ERR syntax error"),
    ]);
    for n in 0..300 {
        world.run(1, &format!("HSET big field{n} {n}"));
    }
    let (mut cursor, mut seen) = ("0".to_owned(), Vec::new());
    loop {
        let reply = world.run(1, &format!("HSCAN big {cursor} COUNT 7"));
        let words: Vec<&str> = reply.split(' ').collect();
        cursor = words[2].to_owned();
        seen.extend(words.iter().filter(|word| word.starts_with("field")).map(|word| (*word).to_owned()));
        if cursor == "0" {
            break;
        }
    }
    let expected: Vec<String> = (0..300).map(|n| format!("field{n}")).collect();
    assert_eq!(seen, expected);
}

#[test]
fn changes_of_hashes_are_published() {
    let mut world = World::new();
    world.check(&[("CONFIG SET notify-keyspace-events Khg", "+OK")]);
    world.run(2, "PSUBSCRIBE __keyspace*");
    for (command, events) in [
        ("HSET h a 1", &["hset"][..]),
        ("HINCRBY h a 1", &["hincrby"]),
        ("HINCRBYFLOAT h a 1", &["hincrbyfloat"]),
        ("HSETNX h a 1", &[]),
        ("HDEL h x", &[]),
        ("HDEL h a", &["hdel", "del"]),
    ] {
        world.run(1, command);
        let delivered = world.delivered();
        let ends: Vec<&str> = delivered.iter().filter_map(|text| text.rsplit(' ').next()).collect();
        assert_eq!(ends, events, "{command}");
    }
}

#[test]
fn other_types_are_no_hashes() {
    World::new().check(&[
        ("SET s v", "+OK"),
        ("HGET s a", WRONG_TYPE),
        ("HSET s a 1", WRONG_TYPE),
        ("HSET h a 1", ":1"),
        ("GET h", WRONG_TYPE),
        ("XADD h * a 1", WRONG_TYPE),
        ("SET h v", "+OK"),
        ("GET h", "$1 v"),
    ]);
}
