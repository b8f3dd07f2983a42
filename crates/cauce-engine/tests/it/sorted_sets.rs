use cauce_engine::{Outcome, Timestamp};

use crate::support::{START_MS, World};

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

/// A world where `z` holds a to e with the scores 1 to 5.
fn five() -> World {
    let mut world = World::new();
    world.check(&[("ZADD z 1 a 2 b 3 c 4 d 5 e", ":5")]);
    world
}

#[test]
fn members_are_added_under_conditions() {
    World::new().check(&[
        ("ZADD z 1 a 2 b", ":2"),
        ("ZADD z 3 a 4 c", ":1"),
        ("ZADD z CH 5 a 4 c", ":1"),
        ("ZADD z NX 9 a 1 d", ":1"),
        ("ZADD z XX 9 x", ":0"),
        ("ZADD z GT CH 4 a", ":0"),
        ("ZADD z GT CH 6 a 1 n", ":2"),
        ("ZADD z LT CH 7 a", ":0"),
        ("ZADD z LT CH 1.5 a", ":1"),
        ("ZADD z INCR 2 a", "$3 3.5"),
        ("ZADD z INCR NX 2 a", "$-1"),
        ("ZADD z INCR XX 2 x", "$-1"),
        ("ZADD z GT INCR -1 a", "$-1"),
        ("ZINCRBY z -1.5 a", "$1 2"),
        ("ZINCRBY z 1 new", "$1 1"),
        ("ZADD nothing XX 1 a", ":0"),
        ("EXISTS nothing", ":0"),
        ("ZADD z inf i", ":1"),
        ("ZINCRBY z -inf i", "-ERR resulting score is not a number (NaN)"),
        ("ZSCORE z i", "$3 inf"),
        ("TYPE z", "+zset"),
    ]);
}

#[test]
fn arguments_of_zadd_are_checked_in_redis_order() {
    World::new().check(&[
        ("ZADD z NX XX 1 a", "-ERR XX and NX options at the same time are not compatible"),
        ("ZADD z GT NX 1 a", "-ERR GT, LT, and/or NX options at the same time are not compatible"),
        ("ZADD z GT LT 1 a", "-ERR GT, LT, and/or NX options at the same time are not compatible"),
        ("ZADD z INCR 1 a 2 b", "-ERR INCR option supports a single increment-element pair"),
        ("ZADD z NX XX 1", "-ERR syntax error"),
        ("ZADD z NX CH", "-ERR syntax error"),
        ("ZADD z 1 a x b", "-ERR value is not a valid float"),
        ("ZADD z nan a", "-ERR value is not a valid float"),
        ("ZINCRBY z x a", "-ERR value is not a valid float"),
        ("EXISTS z", ":0"),
    ]);
}

#[test]
fn scores_and_ranks_are_read() {
    five().check(&[
        ("ZCARD z", ":5"),
        ("ZCARD nothing", ":0"),
        ("ZSCORE z c", "$1 3"),
        ("ZSCORE z x", "$-1"),
        ("ZMSCORE z a x c", "*3 $1 1 $-1 $1 3"),
        ("ZMSCORE nothing a", "*1 $-1"),
        ("ZRANK z a", ":0"),
        ("ZREVRANK z a", ":4"),
        ("ZRANK z b WITHSCORE", "*2 :1 $1 2"),
        ("ZRANK z x", "$-1"),
        ("ZRANK z x WITHSCORE", "*-1"),
        ("ZRANK nothing x", "$-1"),
        ("ZRANK z a FOO", "-ERR syntax error"),
        ("ZREVRANK z a FOO BAR", "-ERR wrong number of arguments for 'zrevrank' command"),
        ("ZCOUNT z 2 (4", ":2"),
        ("ZCOUNT z -inf +inf", ":5"),
        ("ZCOUNT z 4 2", ":0"),
        ("ZCOUNT z x 2", "-ERR min or max is not a float"),
        ("ZLEXCOUNT z - +", ":5"),
        ("ZLEXCOUNT z x +", "-ERR min or max not valid string range item"),
    ]);
}

#[test]
fn equal_scores_are_ordered_by_name() {
    World::new().check(&[
        ("ZADD z 0 b 0 a 0 c 0 aa", ":4"),
        ("ZRANGE z 0 -1", "*4 $1 a $2 aa $1 b $1 c"),
        ("ZRANGEBYLEX z [aa (c", "*2 $2 aa $1 b"),
        ("ZREVRANGEBYLEX z + [b", "*2 $1 c $1 b"),
        ("ZRANGE z - + BYLEX LIMIT 1 2", "*2 $2 aa $1 b"),
        ("ZRANGE z + - BYLEX REV LIMIT 1 1", "*1 $1 b"),
        ("ZLEXCOUNT z (a [b", ":2"),
        ("ZREMRANGEBYLEX z (a [b", ":2"),
        ("ZRANGE z 0 -1", "*2 $1 a $1 c"),
    ]);
}

#[test]
fn ranges_are_by_rank_score_or_name_in_both_directions() {
    five().check(&[
        ("ZRANGE z 1 2", "*2 $1 b $1 c"),
        ("ZRANGE z -2 -1 WITHSCORES", "*4 $1 d $1 4 $1 e $1 5"),
        ("ZRANGE z 0 1 REV", "*2 $1 e $1 d"),
        ("ZREVRANGE z 3 9", "*2 $1 b $1 a"),
        ("ZRANGE z 3 1", "*0"),
        ("ZRANGE z 9 10", "*0"),
        ("ZRANGE z -99 0", "*1 $1 a"),
        ("ZRANGE z (1 3 BYSCORE", "*2 $1 b $1 c"),
        ("ZRANGE z 4 2 BYSCORE REV LIMIT 1 1", "*1 $1 c"),
        ("ZRANGE z 1 5 BYSCORE LIMIT 1 -1", "*4 $1 b $1 c $1 d $1 e"),
        ("ZRANGE z 1 5 BYSCORE LIMIT -1 2", "*0"),
        ("ZRANGE z 1 5 BYSCORE LIMIT 9 2", "*0"),
        ("ZRANGEBYSCORE z -inf 2.5 LIMIT 0 1", "*1 $1 a"),
        ("ZRANGEBYSCORE z (5 +inf", "*0"),
        ("ZREVRANGEBYSCORE z 3 (1 WITHSCORES", "*4 $1 c $1 3 $1 b $1 2"),
        ("ZRANGE nothing 0 -1", "*0"),
    ]);
}

#[test]
fn options_of_ranges_are_checked() {
    const BY_RANK: &str =
        "-ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX";
    five().check(&[
        ("ZRANGE z 0 1 LIMIT 0 1", BY_RANK),
        ("ZREVRANGE z 0 1 LIMIT 0 1", BY_RANK),
        ("ZRANGE z 3 4 LIMIT 1 -1", "*2 $1 d $1 e"),
        (
            "ZRANGE z - + BYLEX WITHSCORES",
            "-ERR syntax error, WITHSCORES not supported in combination with BYLEX",
        ),
        ("ZRANGE z 0 1 BYLEX BYSCORE", "-ERR syntax error"),
        ("ZRANGE z 0 1 REV REV", "-ERR syntax error"),
        ("ZRANGE z 0 1 BYSCORE LIMIT 1", "-ERR syntax error"),
        ("ZRANGE z 0 1 BYSCORE LIMIT x 1", "-ERR value is not an integer or out of range"),
        ("ZRANGE z x 1", "-ERR value is not an integer or out of range"),
        ("ZRANGE z x 1 BYSCORE", "-ERR min or max is not a float"),
        ("ZRANGE z x 1 BYLEX", "-ERR min or max not valid string range item"),
        ("ZRANGEBYSCORE z 0 1 REV", "-ERR syntax error"),
        ("ZRANGESTORE d z 0 1 WITHSCORES", "-ERR syntax error"),
    ]);
}

#[test]
fn ranges_are_stored_and_removed() {
    five().check(&[
        ("ZRANGESTORE d z 2 4 BYSCORE REV", ":0"),
        ("ZRANGESTORE d z 4 2 BYSCORE REV LIMIT 0 2", ":2"),
        ("ZRANGE d 0 -1 WITHSCORES", "*4 $1 c $1 3 $1 d $1 4"),
        ("ZRANGESTORE d nothing 0 -1", ":0"),
        ("EXISTS d", ":0"),
        ("ZRANGESTORE z z 0 3", ":4"),
        ("ZREMRANGEBYRANK z 0 0", ":1"),
        ("ZREMRANGEBYSCORE z (2 3", ":1"),
        ("ZRANGE z 0 -1", "*2 $1 b $1 d"),
        ("ZREM z x b", ":1"),
        ("ZREMRANGEBYRANK z 0 -1", ":1"),
        ("EXISTS z", ":0"),
        ("ZREM z b", ":0"),
        ("ZREMRANGEBYSCORE z 0 1", ":0"),
    ]);
}

#[test]
fn the_lowest_and_the_highest_are_popped() {
    five().check(&[
        ("ZPOPMIN z", "*2 $1 a $1 1"),
        ("ZPOPMAX z 2", "*4 $1 e $1 5 $1 d $1 4"),
        ("ZPOPMIN z 0", "*0"),
        ("ZPOPMIN z -1", "-ERR value is out of range, must be positive"),
        ("ZPOPMIN z 1 2", "-ERR syntax error"),
        ("ZPOPMIN z 9", "*4 $1 b $1 2 $1 c $1 3"),
        ("EXISTS z", ":0"),
        ("ZPOPMAX z", "*0"),
    ]);
}

#[test]
fn scores_are_doubles_in_resp3() {
    let mut world = five();
    world.run(1, "HELLO 3");
    world.check(&[
        ("ZSCORE z a", ",1"),
        ("ZRANGE z 0 0 WITHSCORES", "*1 *2 $1 a ,1"),
        ("ZRANDMEMBER z 9 WITHSCORES", "*5 *2 $1 a ,1 *2 $1 b ,2 *2 $1 c ,3 *2 $1 d ,4 *2 $1 e ,5"),
        ("ZPOPMIN z", "*2 $1 a ,1"),
        ("ZPOPMIN z 1", "*1 *2 $1 b ,2"),
        ("ZRANK z c WITHSCORE", "*2 :0 ,3"),
        ("ZRANK z x WITHSCORE", "_"),
        ("BZPOPMIN z 0", "*3 $1 z $1 c ,3"),
        ("ZSCAN z 0", "*2 $1 0 *4 $1 d $1 4 $1 e $1 5"),
    ]);
}

#[test]
fn who_waits_for_members_is_served_in_turn() {
    let mut world = World::new();
    let wait = |world: &mut World, id: u64, command: &str| {
        let args: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        assert_eq!(world.run_args(id, &args).0, Outcome::Blocked, "{command}");
    };
    wait(&mut world, 2, "BZPOPMIN y z 0");
    wait(&mut world, 3, "BZPOPMAX z 0.01");
    wait(&mut world, 4, "BZPOPMAX z 2");
    world.check(&[("SET y v", "+OK")]);
    assert_eq!(world.delivered(), [""; 0], "another type wakes nobody");
    world.check(&[("DEL y", ":1"), ("ZADD z 1 a 2 b 3 c", ":3")]);
    assert_eq!(world.delivered(), ["2!*3 $1 z $1 a $1 1", "3!*3 $1 z $1 c $1 3", "4!*3 $1 z $1 b $1 2",]);
    world.check(&[("EXISTS z", ":0")]);
    wait(&mut world, 2, "BZPOPMIN z 0.01");
    assert_eq!(world.engine.next_deadline(), Some(Timestamp::from_millis(START_MS + 10)));
    world.advance_ms(10);
    world.tick();
    assert_eq!(world.delivered(), ["2!*-1"]);
    world.check(&[
        ("BZPOPMIN z x", "-ERR timeout is not a float or out of range"),
        ("BZPOPMIN z -1", "-ERR timeout is negative"),
        ("BZPOPMIN z 1e300", "-ERR timeout is out of range"),
        ("MULTI", "+OK"),
        ("BZPOPMIN z 0", "+QUEUED"),
        ("EXEC", "*1 *-1"),
    ]);
}

#[test]
fn who_waits_hears_of_keys_that_come_not_of_keys_that_change() {
    let served = "2!*3 $1 w $2 m1 $1 1";
    for (commands, expected) in [
        (&["ZUNIONSTORE w 1 x"][..], served),
        (&["SET w text", "ZUNIONSTORE w 1 x"], ""),
        (&["SADD w member", "ZRANGESTORE w x 0 -1"], ""),
        (&["XADD w 1-1 f v", "ZUNIONSTORE w 1 x"], ""),
        // It is no news that it changes then.
        (&["SET w text", "ZUNIONSTORE w 1 x", "ZADD w 0 m0"], ""),
        (&["SET w text", "ZUNIONSTORE w 1 x", "ZINCRBY w 1 m1"], ""),
        (&["SET w text", "ZUNIONSTORE w 1 x", "RENAME w y", "RENAME y w"], served),
        (&["SET w text", "RENAME x w"], served),
        (&["SET w text", "COPY x w REPLACE"], served),
        (&["SELECT 1", "ZADD w 1 m1", "SELECT 0", "SET w text", "SWAPDB 0 1"], served),
        (&["SELECT 1", "ZADD w 1 m1", "MOVE w 0"], served),
        (&["MULTI", "DEL w", "SET w text", "ZUNIONSTORE w 1 x", "EXEC"], ""),
        (&["MULTI", "ZADD w 9 m9", "SET w text", "ZUNIONSTORE w 1 x", "EXEC"], served),
    ] {
        let mut world = World::new();
        world.run(1, "ZADD x 1 m1");
        assert_eq!(world.run_args(2, &[b"BZPOPMIN", b"w", b"0"]).0, Outcome::Blocked);
        let mut delivered = Vec::new();
        for command in commands {
            world.run(1, command);
            delivered.extend(world.delivered());
        }
        assert_eq!(delivered.concat(), expected, "{commands:?}");
        world.assert_recovers();
    }
}

#[test]
fn who_reads_for_a_group_hears_when_a_sorted_set_is_stored_over_its_stream() {
    let mut world = World::new();
    world.check(&[("XGROUP CREATE w g 0 MKSTREAM", "+OK"), ("ZADD x 1 m1", ":1")]);
    let args: Vec<&[u8]> = b"XREADGROUP GROUP g c BLOCK 0 STREAMS w >".split(|&byte| byte == b' ').collect();
    assert_eq!(world.run_args(2, &args).0, Outcome::Blocked);
    world.check(&[("ZUNIONSTORE w 1 x", ":1")]);
    assert_eq!(world.delivered(), [format!("2!{WRONG_TYPE}")]);
}

#[test]
fn a_key_is_new_unless_something_is_stored_over_it() {
    let mut world = World::new();
    world.check(&[
        ("CONFIG SET notify-keyspace-events EAn", "+OK"),
        ("ZADD x 1 m1", ":1"),
        ("SADD s 1", ":1"),
        ("2> PSUBSCRIBE *:new", "*3 $10 psubscribe $5 *:new :1"),
    ]);
    for (command, is_new) in [
        ("ZUNIONSTORE y 1 x", true),
        ("ZUNIONSTORE y 1 x", false),
        ("SUNIONSTORE y s", false),
        ("SET y text", false),
        ("COPY x y", false),
        ("COPY x y REPLACE", true),
        ("RENAME x y", true),
    ] {
        world.run(1, command);
        assert_eq!(world.delivered().len(), usize::from(is_new), "{command}");
    }
}

#[test]
fn zero_has_no_sign_once_it_is_stored() {
    World::new().check(&[
        ("ZADD z -0 a", ":1"),
        ("ZSCORE z a", "$1 0"),
        ("ZADD z XX CH 0 a", ":0"),
        ("ZADD z INCR -0 b", "$2 -0"),
        ("ZINCRBY z -0 a", "$1 0"),
        ("ZRANGEBYSCORE z -0 0 WITHSCORES", "*4 $1 a $1 0 $1 b $1 0"),
        ("ZUNIONSTORE y 1 z WEIGHTS -1", ":2"),
        ("ZMSCORE y a b", "*2 $1 0 $1 0"),
    ]);
}

#[test]
fn random_members_are_chosen() {
    five().check(&[
        ("ZRANDMEMBER nothing", "$-1"),
        ("ZRANDMEMBER nothing 1", "*0"),
        ("ZRANDMEMBER z 0", "*0"),
        ("ZRANDMEMBER z 9", "*5 $1 a $1 b $1 c $1 d $1 e"),
        ("ZRANDMEMBER z x FOO", "-ERR value is not an integer or out of range"),
        ("ZRANDMEMBER z 1 FOO", "-ERR syntax error"),
        ("ZRANDMEMBER z 5000000000000000000 WITHSCORES", "-ERR value is out of range"),
        ("ZREMRANGEBYRANK z 1 -1", ":4"),
        ("ZRANDMEMBER z -3", "*3 $1 a $1 a $1 a"),
        ("ZRANDMEMBER z", "$1 a"),
    ]);
}

#[test]
fn a_sorted_set_is_scanned_by_order_while_it_is_small() {
    let mut world = World::new();
    world.check(&[
        ("ZADD z 2 b 1.5 a", ":2"),
        ("ZSCAN z 0 COUNT 1", "*2 $1 0 *4 $1 a $3 1.5 $1 b $1 2"),
        ("ZSCAN z 0 MATCH b", "*2 $1 0 *2 $1 b $1 2"),
        ("ZSCAN nothing 0 FOO", "*2 $1 0 *0"),
        ("ZSCAN z 0 FOO", "-ERR syntax error"),
    ]);
    for n in 0..200 {
        world.run(1, &format!("ZADD big {} member{n}", n % 7));
    }
    let first = world.run(1, "ZSCAN big 0 COUNT 150");
    let second = world.run(1, "ZSCAN big 150 COUNT 150");
    assert!(first.starts_with("*2 $3 150 *300 ") && second.starts_with("*2 $1 0 *100 "));
}

#[test]
fn changes_of_sorted_sets_are_published() {
    let mut world = World::new();
    world.check(&[("CONFIG SET notify-keyspace-events Kzg", "+OK")]);
    world.run(2, "PSUBSCRIBE __keyspace*");
    for (command, events) in [
        ("ZADD z 1 a 2 b 3 c 4 d 5 e", &["zadd"][..]),
        ("ZADD z 1 a", &[]),
        ("ZINCRBY z 1 a", &["zincr"]),
        ("ZREM z a", &["zrem"]),
        ("ZPOPMIN z", &["zpopmin"]),
        ("ZRANGESTORE d z 0 -1", &["zrangestore"]),
        ("ZRANGESTORE d z 9 9", &["del"]),
        ("ZREMRANGEBYSCORE z 3 3", &["zremrangebyscore"]),
        ("ZREMRANGEBYRANK z 0 0", &["zremrangebyrank"]),
        ("ZPOPMAX z", &["zpopmax", "del"]),
    ] {
        world.run(1, command);
        let delivered = world.delivered();
        let ends: Vec<&str> = delivered.iter().filter_map(|text| text.rsplit(' ').next()).collect();
        assert_eq!(ends, events, "{command}");
    }
}

#[test]
fn other_types_are_no_sorted_sets() {
    World::new().check(&[
        ("HSET h a 1", ":1"),
        ("ZADD h 1 a", WRONG_TYPE),
        ("ZRANGE h 0 -1", WRONG_TYPE),
        ("ZSCORE h a", WRONG_TYPE),
        ("BZPOPMIN nothing h 0", WRONG_TYPE),
        ("ZRANGESTORE d h 0 -1", WRONG_TYPE),
        ("ZADD z 1 a", ":1"),
        ("HGET z a", WRONG_TYPE),
        ("ZRANGESTORE h z 0 -1", ":1"),
        ("TYPE h", "+zset"),
    ]);
}
