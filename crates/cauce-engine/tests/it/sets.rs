use crate::support::World;

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

#[test]
fn members_are_added_looked_up_and_removed() {
    World::new().check(&[
        ("SADD s a b a", ":2"),
        ("SADD s a c", ":1"),
        ("SCARD s", ":3"),
        ("SCARD nothing", ":0"),
        ("SMEMBERS s", "*3 $1 a $1 b $1 c"),
        ("SMEMBERS nothing", "*0"),
        ("SISMEMBER s b", ":1"),
        ("SISMEMBER s x", ":0"),
        ("SMISMEMBER s a x c", "*3 :1 :0 :1"),
        ("SMISMEMBER nothing a b", "*2 :0 :0"),
        ("SREM s a x", ":1"),
        ("SREM nothing a", ":0"),
        ("TYPE s", "+set"),
        ("SREM s b c", ":2"),
        ("EXISTS s", ":0"),
    ]);
}

#[test]
fn a_member_moves_to_another_set() {
    World::new().check(&[
        ("SADD s a b", ":2"),
        ("SMOVE s t a", ":1"),
        ("SMOVE s t x", ":0"),
        ("SMOVE nothing t a", ":0"),
        ("SMOVE s s b", ":1"),
        ("SMOVE s t b", ":1"),
        ("SMEMBERS t", "*2 $1 a $1 b"),
        ("EXISTS s", ":0"),
        ("SET v v", "+OK"),
        ("SMOVE t v x", WRONG_TYPE),
        ("SMOVE nothing v x", ":0"),
    ]);
}

#[test]
fn random_members_are_chosen_and_popped() {
    let mut world = World::new();
    world.check(&[
        ("SPOP nothing", "$-1"),
        ("SPOP nothing 1", "*0"),
        ("SRANDMEMBER nothing", "$-1"),
        ("SRANDMEMBER nothing 1", "*0"),
        ("SADD s a", ":1"),
        ("SRANDMEMBER s", "$1 a"),
        ("SRANDMEMBER s 4", "*1 $1 a"),
        ("SRANDMEMBER s -2", "*2 $1 a $1 a"),
        ("SRANDMEMBER s 1 2", "-ERR syntax error"),
        ("SPOP s -1", "-ERR value is out of range, must be positive"),
        ("SPOP s 1 2", "-ERR syntax error"),
        ("SPOP s 0", "*0"),
        ("SPOP s", "$1 a"),
        ("EXISTS s", ":0"),
    ]);
    for n in 0..300 {
        world.run(1, &format!("SADD big {n}"));
    }
    assert!(world.run(1, "SPOP big 120").starts_with("*120 "));
    world.check(&[("SCARD big", ":180")]);
}

#[test]
fn sets_are_combined() {
    World::new().check(&[
        ("SADD a 1 2 3 4", ":4"),
        ("SADD b 3 4 5", ":3"),
        ("SADD c 4", ":1"),
        ("SUNION a b nothing", "*5 $1 1 $1 2 $1 3 $1 4 $1 5"),
        ("SINTER a b", "*2 $1 3 $1 4"),
        ("SINTER a b c", "*1 $1 4"),
        ("SINTER a nothing", "*0"),
        ("SDIFF a b nothing", "*2 $1 1 $1 2"),
        ("SDIFF nothing a", "*0"),
        ("SDIFF a a", "*0"),
        ("SUNIONSTORE d a b", ":5"),
        ("SINTERSTORE d d b", ":3"),
        ("SMEMBERS d", "*3 $1 3 $1 4 $1 5"),
        ("SDIFFSTORE d d d", ":0"),
        ("EXISTS d", ":0"),
        ("SINTERCARD 2 a b", ":2"),
        ("SINTERCARD 2 a b LIMIT 1", ":1"),
        ("SINTERCARD 2 a b LIMIT 0", ":2"),
        ("SINTERCARD 2 a nothing", ":0"),
        ("SINTERCARD 0 a", "-ERR numkeys should be greater than 0"),
        ("SINTERCARD x a", "-ERR numkeys should be greater than 0"),
        ("SINTERCARD 3 a b", "-ERR Number of keys can't be greater than number of args"),
        ("SINTERCARD 1 a LIMIT -1", "-ERR LIMIT can't be negative"),
        ("SINTERCARD 1 a LIMIT", "-ERR syntax error"),
        ("SINTERCARD 1 a FOO 1", "-ERR syntax error"),
        ("COMMAND GETKEYS SINTERCARD 2 a b LIMIT 1", "*2 $1 a $1 b"),
        ("SET v v", "+OK"),
        ("SUNION a v", WRONG_TYPE),
        ("SINTER nothing v", WRONG_TYPE),
        ("SUNIONSTORE v a", ":4"),
    ]);
}

#[test]
fn sets_have_a_type_of_their_own_in_resp3() {
    let mut world = World::new();
    world.run(1, "HELLO 3");
    world.check(&[
        ("SADD s a", ":1"),
        ("SMEMBERS s", "~1 $1 a"),
        ("SUNION s", "~1 $1 a"),
        ("SRANDMEMBER s 1", "*1 $1 a"),
        ("SSCAN s 0", "*2 $1 0 *1 $1 a"),
        ("SPOP s 1", "~1 $1 a"),
        ("SPOP s", "_"),
    ]);
}

#[test]
fn changes_of_sets_are_published() {
    let mut world = World::new();
    world.check(&[("CONFIG SET notify-keyspace-events Ksg", "+OK")]);
    world.run(2, "PSUBSCRIBE __keyspace*");
    for (command, events) in [
        ("SADD s a b", &["sadd"][..]),
        ("SADD s a", &[]),
        ("SMOVE s t a", &["srem", "sadd"]),
        ("SPOP s", &["spop", "del"]),
        ("SUNIONSTORE u t", &["sunionstore"]),
        ("SDIFFSTORE u t t", &["del"]),
        ("SREM t a", &["srem", "del"]),
    ] {
        world.run(1, command);
        let delivered = world.delivered();
        let ends: Vec<&str> = delivered.iter().filter_map(|text| text.rsplit(' ').next()).collect();
        assert_eq!(ends, events, "{command}");
    }
}
