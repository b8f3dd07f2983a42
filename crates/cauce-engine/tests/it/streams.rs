//! Streams and consumer groups on the wire. Each transcript was compared with redis-server 7.0.15; where 7.2
//! differs from it, a comment says so.

use cauce_engine::{Outcome, SessionId};

use crate::support::World;

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
const INVALID_ID: &str = "-ERR Invalid stream ID specified as stream command argument";
const SYNTAX: &str = "-ERR syntax error";
const XADD_ARITY: &str = "-ERR wrong number of arguments for 'xadd' command";

/// A stream `s` with the entries 1-1, 1-2, 1-3 and a group `g` that begins with the first.
fn three_entries() -> World {
    let mut world = World::new();
    world.check(&[
        ("XADD s 1-1 f a", "$3 1-1"),
        ("XADD s 1-2 f b", "$3 1-2"),
        ("XADD s 1-3 f c", "$3 1-3"),
        ("XGROUP CREATE s g 0", "+OK"),
    ]);
    world
}

#[test]
fn entries_are_added_under_growing_ids() {
    World::new().check(&[
        ("XADD s 1-1 f v", "$3 1-1"),
        ("XADD s 1-* f v g w", "$3 1-2"),
        ("XADD s 2 f v", "$3 2-0"),
        ("XADD s * f v", "$15 1700000000000-0"),
        ("XADD s * f v", "$15 1700000000000-1"),
        (
            "XADD s 1-1 f v",
            "-ERR The ID specified in XADD is equal or smaller than the target stream top item",
        ),
        ("XADD s 0 f v", "-ERR The ID specified in XADD must be greater than 0-0"),
        ("XADD s bad f v", INVALID_ID),
        ("XADD s + f v", INVALID_ID),
        ("XADD s 3 f", "-ERR wrong number of arguments for 'xadd' command"),
        ("XADD s 3 f v g", XADD_ARITY),
        ("XADD s NOMKSTREAM MAXLEN 5 3", XADD_ARITY),
        ("XLEN s", ":5"),
        ("XADD none NOMKSTREAM * f v", "$-1"),
        ("XLEN none", ":0"),
        (
            "XADD t 18446744073709551615-18446744073709551615 f v",
            "$41 18446744073709551615-18446744073709551615",
        ),
        ("XADD t * f v", "-ERR The stream has exhausted the last possible ID, unable to add more items"),
        ("SET str x", "+OK"),
        ("XADD str * f v", WRONG_TYPE),
    ]);
}

#[test]
fn a_clock_that_goes_back_does_not_lower_ids() {
    let mut world = World::new();
    world.check(&[
        ("XADD s 1700000000500-3 f v", "$15 1700000000500-3"),
        ("XADD s * f v", "$15 1700000000500-4"),
    ]);
}

#[test]
fn trimming_options_are_checked_in_redis_order() {
    World::new().check(&[
        ("XADD s MAXLEN x 5 f v", "-ERR value is not an integer or out of range"),
        ("XADD s MAXLEN -1 5 f v", "-ERR The MAXLEN argument must be >= 0."),
        (
            "XADD s MAXLEN 5 MINID 1 5 f v",
            "-ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
        ),
        (
            "XADD s LIMIT 5 5 f v",
            "-ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
        ),
        ("XADD s LIMIT 0 5 f v", "-ERR syntax error, LIMIT cannot be used without the special ~ option"),
        (
            "XADD s MAXLEN 5 LIMIT 1 5 f v",
            "-ERR syntax error, LIMIT cannot be used without the special ~ option",
        ),
        ("XADD s MAXLEN ~ 5 LIMIT -1 5 f v", "-ERR The LIMIT argument must be >= 0."),
        ("XADD s MINID - 5 f v", INVALID_ID),
        ("XTRIM s LIMIT 5", "-ERR syntax error, LIMIT cannot be used without specifying a trimming strategy"),
        ("XTRIM s LIMIT 0", "-ERR syntax error, XTRIM must be called with a trimming strategy"),
        ("XTRIM s MAXLEN 1 x", SYNTAX),
        ("XTRIM s FOO 3", SYNTAX),
        ("EXISTS s", ":0"),
    ]);
}

#[test]
fn streams_are_trimmed_and_entries_deleted() {
    let mut world = three_entries();
    world.check(&[
        ("XADD s MAXLEN = 3 1-4 f d", "$3 1-4"),
        ("XADD s MAXLEN ~ 2 1-5 f e", "$3 1-5"),
        ("XLEN s", ":4"),
        ("XTRIM s MINID 1-3", ":1"),
        ("XDEL s 1-3 x", INVALID_ID),
        ("XDEL s 1-4 1-4 9-9", ":1"),
        ("XRANGE s - +", "*2 *2 $3 1-3 *2 $1 f $1 c *2 $3 1-5 *2 $1 f $1 e"),
        ("XTRIM s MAXLEN 0", ":2"),
        ("EXISTS s", ":1"),
        ("XTRIM none MAXLEN 0", ":0"),
        ("XDEL none x", ":0"),
    ]);
}

#[test]
fn approximate_trimming_takes_whole_blocks_and_keeps_to_its_limit() {
    let mut world = World::new();
    for n in 1..=350 {
        world.run(1, &format!("XADD s {n} f v"));
    }
    world.check(&[
        ("XTRIM s MAXLEN ~ 151", ":100"),
        ("XTRIM s MAXLEN ~ 0 LIMIT 99", ":0"),
        ("XTRIM s MINID ~ 200 LIMIT 0", ":0"),
        ("XTRIM s MINID ~ 201", ":100"),
        ("CONFIG SET stream-node-max-entries 1", "+OK"),
        ("XTRIM s MAXLEN ~ 0", ":100"),
        ("XTRIM s MAXLEN ~ 0 LIMIT 0", ":50"),
    ]);
}

#[test]
fn ranges_include_exclude_and_reverse() {
    let mut world = three_entries();
    let one = "*2 $3 1-1 *2 $1 f $1 a";
    let two = "*2 $3 1-2 *2 $1 f $1 b";
    let three = "*2 $3 1-3 *2 $1 f $1 c";
    world.check(&[
        ("XRANGE s - +", &format!("*3 {one} {two} {three}")),
        ("XRANGE s 1 1", &format!("*3 {one} {two} {three}")),
        ("XRANGE s - + COUNT 2", &format!("*2 {one} {two}")),
        ("XRANGE s (1-1 (1-3", &format!("*1 {two}")),
        ("XRANGE s + -", "*0"),
        ("XRANGE s - + COUNT 0", "*-1"),
        ("XRANGE s - + COUNT -1", "*-1"),
        ("XRANGE none - + COUNT 0", "*0"),
        ("XRANGE s - + COUNT", SYNTAX),
        ("XRANGE s - + FOO 1", SYNTAX),
        ("XRANGE s (- +", INVALID_ID),
        ("XRANGE s - (0-0", "-ERR invalid end ID for the interval"),
        ("XRANGE s (18446744073709551615-18446744073709551615 +", "-ERR invalid start ID for the interval"),
        ("XREVRANGE s + -", &format!("*3 {three} {two} {one}")),
        ("XREVRANGE s (1-3 - COUNT 1", &format!("*1 {two}")),
    ]);
}

#[test]
fn reading_gives_what_is_behind_an_id() {
    let mut world = three_entries();
    world.check(&[
        ("XREAD COUNT 1 STREAMS s none 0 0", "*1 *2 $1 s *1 *2 $3 1-1 *2 $1 f $1 a"),
        ("XREAD STREAMS s $", "*-1"),
        ("XREAD STREAMS s s 1-2 1-2", "*2 *2 $1 s *1 *2 $3 1-3 *2 $1 f $1 c *2 $1 s *1 *2 $3 1-3 *2 $1 f $1 c"),
        ("XREAD STREAMS s t 0", "-ERR Unbalanced 'xread' list of streams: for each stream key an ID, '+', or '$' must be specified."),
        ("XREAD STREAMS s >", "-ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option."),
        ("XREAD GROUP g c STREAMS s >", "-ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead."),
        ("XREAD NOACK STREAMS s 0", "-ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead."),
        ("XREAD COUNT 1 BLOCK 0", SYNTAX),
        ("XREAD BLOCK x STREAMS s 0", "-ERR timeout is not an integer or out of range"),
        ("XREAD BLOCK -1 STREAMS s 0", "-ERR timeout is negative"),
    ]);
    world.run(1, "HELLO 3");
    world.check(&[
        ("XREAD COUNT 1 STREAMS s 0", "%1 $1 s *1 *2 $3 1-1 *2 $1 f $1 a"),
        ("XREAD STREAMS s $", "_"),
        ("XRANGE s - + COUNT 0", "_"),
        ("XADD none NOMKSTREAM * f v", "_"),
    ]);
}

#[test]
fn a_group_delivers_each_entry_once_and_tells_history() {
    let mut world = three_entries();
    world.check(&[
        (
            "XREADGROUP GROUP g c COUNT 2 STREAMS s >",
            "*1 *2 $1 s *2 *2 $3 1-1 *2 $1 f $1 a *2 $3 1-2 *2 $1 f $1 b",
        ),
        ("XREADGROUP GROUP g d STREAMS s >", "*1 *2 $1 s *1 *2 $3 1-3 *2 $1 f $1 c"),
        ("XREADGROUP GROUP g d STREAMS s >", "*-1"),
        ("XDEL s 1-1", ":1"),
        ("XREADGROUP GROUP g c STREAMS s 0", "*1 *2 $1 s *2 *2 $3 1-1 *-1 *2 $3 1-2 *2 $1 f $1 b"),
        ("XREADGROUP GROUP g c STREAMS s 1-1", "*1 *2 $1 s *1 *2 $3 1-2 *2 $1 f $1 b"),
        ("XPENDING s g 1-1 1-2 9 c", "*2 *4 $3 1-1 $1 c :0 :1 *4 $3 1-2 $1 c :0 :3"),
        ("XREADGROUP GROUP g e STREAMS s 0", "*1 *2 $1 s *0"),
        ("XACK s g 1-1 x", INVALID_ID),
        ("XACK s g 1-1 1-2 1-1 9", ":2"),
        ("XACK s nog 1-3", ":0"),
        ("XACK none g x", ":0"),
        ("XPENDING s g", "*4 :1 $3 1-3 $3 1-3 *1 *2 $1 d $1 1"),
    ]);
    world.run(1, "HELLO 3");
    world.check(&[
        ("XDEL s 1-3", ":1"),
        ("XREADGROUP GROUP g d STREAMS s 0", "%1 $1 s *1 *2 $3 1-3 _"),
        ("XREADGROUP GROUP g d STREAMS s >", "_"),
    ]);
}

#[test]
fn a_stream_named_twice_gives_the_second_what_the_first_left() {
    three_entries().check(&[(
        "XREADGROUP GROUP g c COUNT 2 STREAMS s s s > > 0",
        "*3 *2 $1 s *2 *2 $3 1-1 *2 $1 f $1 a *2 $3 1-2 *2 $1 f $1 b *2 $1 s *1 *2 $3 1-3 *2 $1 f $1 c *2 $1 s *2 *2 $3 1-1 *2 $1 f $1 a *2 $3 1-2 *2 $1 f $1 b",
    )]);
}

#[test]
fn noack_moves_the_cursor_only() {
    three_entries().check(&[
        (
            "XREADGROUP GROUP g c NOACK COUNT 2 STREAMS s >",
            "*1 *2 $1 s *2 *2 $3 1-1 *2 $1 f $1 a *2 $3 1-2 *2 $1 f $1 b",
        ),
        ("XPENDING s g", "*4 :0 $-1 $-1 *-1"),
        ("XREADGROUP GROUP g c COUNT 2 STREAMS s >", "*1 *2 $1 s *1 *2 $3 1-3 *2 $1 f $1 c"),
    ]);
}

#[test]
fn a_cursor_set_back_delivers_again_to_whoever_asks() {
    three_entries().check(&[
        ("XREADGROUP GROUP g c COUNT 1 STREAMS s >", "*1 *2 $1 s *1 *2 $3 1-1 *2 $1 f $1 a"),
        ("XREADGROUP GROUP g c COUNT 1 STREAMS s 0", "*1 *2 $1 s *1 *2 $3 1-1 *2 $1 f $1 a"),
        ("XGROUP SETID s g 0", "+OK"),
        ("XREADGROUP GROUP g d COUNT 1 STREAMS s >", "*1 *2 $1 s *1 *2 $3 1-1 *2 $1 f $1 a"),
        ("XPENDING s g - + 9", "*1 *4 $3 1-1 $1 d :0 :1"),
        ("XPENDING s g - + 9 c", "*0"),
    ]);
}

/// The group remembered the end of the stream as its place, and took what was added there for new.
#[test]
fn a_cursor_ahead_of_the_stream_is_not_passed_by_smaller_ids() {
    three_entries().check(&[
        ("XGROUP SETID s g 5", "+OK"),
        ("XREADGROUP GROUP g c STREAMS s >", "*-1"),
        ("XADD s 4 f d", "$3 4-0"),
        ("XREADGROUP GROUP g c STREAMS s >", "*-1"),
        ("XADD s 6 f e", "$3 6-0"),
        ("XREADGROUP GROUP g c STREAMS s >", "*1 *2 $1 s *1 *2 $3 6-0 *2 $1 f $1 e"),
    ]);
}

#[test]
fn reading_as_a_group_names_what_is_wrong() {
    let mut world = three_entries();
    world.check(&[
        ("XREADGROUP GROUP nog c STREAMS s >", "-NOGROUP No such key 's' or consumer group 'nog' in XREADGROUP with GROUP option"),
        ("XREADGROUP GROUP g c STREAMS s none > >", "-NOGROUP No such key 'none' or consumer group 'g' in XREADGROUP with GROUP option"),
        ("XREADGROUP GROUP g c STREAMS s $", "-ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set."),
        ("XREADGROUP GROUP g c STREAMS s -", INVALID_ID),
        ("XREADGROUP COUNT 1 BLOCK 5 STREAMS s >", "-ERR Missing GROUP option for XREADGROUP"),
        ("XREADGROUP GROUP g c STREAMS s > x", "-ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must be specified."),
        ("XPENDING s g", "*4 :0 $-1 $-1 *-1"),
    ]);
}

#[test]
fn groups_and_consumers_come_and_go() {
    World::new().check(&[
        ("XGROUP CREATE s g $", "-ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically."),
        ("XGROUP CREATE s g x MKSTREAM", INVALID_ID),
        ("EXISTS s", ":0"),
        ("XGROUP CREATE s g $ MKSTREAM", "+OK"),
        ("XGROUP CREATE s g $ MKSTREAM", "-BUSYGROUP Consumer Group name already exists"),
        ("XGROUP CREATE s h 0 ENTRIESREAD -2", "-ERR value for ENTRIESREAD must be positive or -1"),
        ("XGROUP CREATE s h 0 FOO", "-ERR unknown subcommand or wrong number of arguments for 'CREATE'. Try XGROUP HELP."),
        ("XGROUP SETID s h $", "-NOGROUP No such consumer group 'h' for key name 's'"),
        ("XGROUP CREATECONSUMER s g c", ":1"),
        ("XGROUP CREATECONSUMER s g c", ":0"),
        ("XGROUP CREATECONSUMER s h c", "-NOGROUP No such consumer group 'h' for key name 's'"),
        ("XADD s 1-1 f v", "$3 1-1"),
        ("XREADGROUP GROUP g c STREAMS s >", "*1 *2 $1 s *1 *2 $3 1-1 *2 $1 f $1 v"),
        ("XGROUP DELCONSUMER s g c", ":1"),
        ("XGROUP DELCONSUMER s g c", ":0"),
        ("XPENDING s g", "*4 :0 $-1 $-1 *-1"),
        ("XGROUP DESTROY s g", ":1"),
        ("XGROUP DESTROY s g", ":0"),
        ("XGROUP DESTROY none g", "-ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically."),
        ("XGROUP FOO", "-ERR unknown subcommand 'FOO'. Try XGROUP HELP."),
    ]);
}

#[test]
fn pending_entries_are_listed_by_range_idle_time_and_consumer() {
    let mut world = three_entries();
    world.check(&[(
        "XREADGROUP GROUP g c COUNT 2 STREAMS s >",
        "*1 *2 $1 s *2 *2 $3 1-1 *2 $1 f $1 a *2 $3 1-2 *2 $1 f $1 b",
    )]);
    world.advance_ms(50);
    world.run(1, "XREADGROUP GROUP g d STREAMS s >");
    world.advance_ms(50);
    world.check(&[
        ("XPENDING s g", "*4 :3 $3 1-1 $3 1-3 *2 *2 $1 c $1 2 *2 $1 d $1 1"),
        ("XPENDING s g IDLE 60 - + 9", "*2 *4 $3 1-1 $1 c :100 :1 *4 $3 1-2 $1 c :100 :1"),
        ("XPENDING s g (1-1 + 1", "*1 *4 $3 1-2 $1 c :100 :1"),
        ("XPENDING s g - + 9 d", "*1 *4 $3 1-3 $1 d :50 :1"),
        ("XPENDING s g - + 9 nobody", "*0"),
        ("XPENDING s g - + -1", "*0"),
        ("XPENDING s g - +", SYNTAX),
        ("XPENDING s g IDLE 5 - +", SYNTAX),
        ("XPENDING s g IDLE x - +", "-ERR value is not an integer or out of range"),
        ("XPENDING s nog", "-NOGROUP No such key 's' or consumer group 'nog'"),
    ]);
}

#[test]
fn claims_move_entries_count_them_and_drop_the_dead() {
    let mut world = three_entries();
    world.run(1, "XREADGROUP GROUP g c COUNT 2 STREAMS s >");
    world.advance_ms(100);
    world.check(&[
        ("XCLAIM s g d 101 1-1", "*0"),
        ("XCLAIM s g d 100 1-1", "*1 *2 $3 1-1 *2 $1 f $1 a"),
        ("XPENDING s g 1-1 1-1 1", "*1 *4 $3 1-1 $1 d :0 :2"),
        ("XCLAIM s g d 0 1-1 JUSTID IDLE 70", "*1 $3 1-1"),
        ("XPENDING s g 1-1 1-1 1", "*1 *4 $3 1-1 $1 d :70 :2"),
        ("XCLAIM s g d 0 1-1 RETRYCOUNT 9 JUSTID TIME 99999999999999", "*1 $3 1-1"),
        ("XPENDING s g 1-1 1-1 1", "*1 *4 $3 1-1 $1 d :0 :9"),
        ("XCLAIM s g d 0 1-3", "*0"),
        ("XCLAIM s g d 0 1-3 9-9 FORCE", "*1 *2 $3 1-3 *2 $1 f $1 c"),
        ("XPENDING s g 1-3 1-3 1", "*1 *4 $3 1-3 $1 d :0 :2"),
        ("XCLAIM s g d 0 1-1 LASTID 1-9 JUSTID", "*1 $3 1-1"),
        ("XREADGROUP GROUP g c STREAMS s >", "*-1"),
        ("XDEL s 1-1", ":1"),
        ("XCLAIM s g d 0 1-1", "*0"),
        ("XPENDING s g", "*4 :2 $3 1-2 $3 1-3 *2 *2 $1 c $1 1 *2 $1 d $1 1"),
        ("XCLAIM s g d x 1-1", "-ERR Invalid min-idle-time argument for XCLAIM"),
        ("XCLAIM s g d 0 1-2 IDLE x", "-ERR Invalid IDLE option argument for XCLAIM"),
        ("XCLAIM s g d 0 1-2 FOO 1-3", "-ERR Unrecognized XCLAIM option 'FOO'"),
        ("XCLAIM none g d x 1-1", "-NOGROUP No such key 'none' or consumer group 'g'"),
    ]);
}

#[test]
fn autoclaim_scans_on_from_where_it_stopped() {
    let mut world = three_entries();
    world.run(1, "XREADGROUP GROUP g c STREAMS s >");
    world.check(&[
        ("XDEL s 1-1", ":1"),
        ("XAUTOCLAIM s g d 0 0 COUNT 1", "*3 $3 1-2 *0 *1 $3 1-1"),
        ("XAUTOCLAIM s g d 0 1-2 COUNT 1", "*3 $3 1-3 *1 *2 $3 1-2 *2 $1 f $1 b *0"),
        ("XAUTOCLAIM s g d 0 (1-2 JUSTID", "*3 $3 0-0 *1 $3 1-3 *0"),
        ("XAUTOCLAIM s g e 1 0", "*3 $3 0-0 *0 *0"),
        ("XPENDING s g - + 9", "*2 *4 $3 1-2 $1 d :0 :2 *4 $3 1-3 $1 d :0 :1"),
        ("XAUTOCLAIM s g d 0 0 COUNT 0", "-ERR COUNT must be > 0"),
        ("XAUTOCLAIM s g d x y", "-ERR Invalid min-idle-time argument for XAUTOCLAIM"),
        ("XAUTOCLAIM s g d 0 0 FOO", SYNTAX),
        ("XAUTOCLAIM none g d 0 0", "-NOGROUP No such key 'none' or consumer group 'g'"),
    ]);
}

#[test]
fn autoclaim_looks_at_ten_entries_for_each_that_it_may_claim() {
    let mut world = World::new();
    world.run(1, "XGROUP CREATE s g 0 MKSTREAM");
    for n in 1..=30 {
        world.run(1, &format!("XADD s {n} f v"));
    }
    world.run(1, "XREADGROUP GROUP g c COUNT 25 STREAMS s >");
    world.check(&[("XAUTOCLAIM s g d 1000 0 COUNT 2", "*3 $4 21-0 *0 *0")]);
}

#[test]
fn introspection_shows_streams_groups_and_consumers() {
    let mut world = three_entries();
    world.check(&[
        ("XGROUP CREATE s h 1-2", "+OK"),
        ("XGROUP CREATECONSUMER s g idle", ":1"),
        ("XREADGROUP GROUP g c COUNT 1 STREAMS s >", "*1 *2 $1 s *1 *2 $3 1-1 *2 $1 f $1 a"),
    ]);
    world.advance_ms(30);
    world.run(1, "XREADGROUP GROUP g c STREAMS s 9");
    world.advance_ms(5);
    let prefix = "$6 length :3 $15 radix-tree-keys :1 $16 radix-tree-nodes :2 $17 last-generated-id $3 1-3 $20 max-deleted-entry-id $3 0-0 $13 entries-added :3 $23 recorded-first-entry-id $3 1-1";
    let ends = "$6 groups :2 $11 first-entry *2 $3 1-1 *2 $1 f $1 a $10 last-entry *2 $3 1-3 *2 $1 f $1 c";
    let full = "$7 entries *1 *2 $3 1-1 *2 $1 f $1 a $6 groups *2 %7 $4 name $1 g $17 last-delivered-id $3 1-1 $12 entries-read :1 $3 lag :2 $9 pel-count :1 $7 pending *1 *4 $3 1-1 $1 c :1700000000000 :1 $9 consumers *2 %5 $4 name $1 c $9 seen-time :1700000000030 $11 active-time :1700000000000 $9 pel-count :1 $7 pending *1 *3 $3 1-1 :1700000000000 :1 %5 $4 name $4 idle $9 seen-time :1700000000000 $11 active-time :-1 $9 pel-count :0 $7 pending *0 %7 $4 name $1 h $17 last-delivered-id $3 1-2 $12 entries-read _ $3 lag _ $9 pel-count :0 $7 pending *0 $9 consumers *0";
    world.check(&[
        ("XINFO STREAM s", &format!("*20 {prefix} {ends}")),
        ("XINFO CONSUMERS s g", "*2 *8 $4 name $1 c $7 pending :1 $4 idle :5 $8 inactive :35 *8 $4 name $4 idle $7 pending :0 $4 idle :35 $8 inactive :-1"),
        ("XINFO GROUPS s", "*2 *12 $4 name $1 g $9 consumers :2 $7 pending :1 $17 last-delivered-id $3 1-1 $12 entries-read :1 $3 lag :2 *12 $4 name $1 h $9 consumers :0 $7 pending :0 $17 last-delivered-id $3 1-2 $12 entries-read $-1 $3 lag $-1"),
        ("XINFO STREAM s FULL FOO 1", "-ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP."),
        ("XINFO STREAM none FOO", "-ERR no such key"),
        ("XINFO CONSUMERS s nog", "-NOGROUP No such consumer group 'nog' for key name 's'"),
        ("XGROUP CREATE empty g $ MKSTREAM", "+OK"),
    ]);
    let empty = world.run(1, "XINFO STREAM empty");
    assert!(empty.ends_with("$11 first-entry $-1 $10 last-entry $-1"), "{empty}");
    world.run(1, "HELLO 3");
    world.check(&[
        ("XINFO STREAM s", &format!("%10 {prefix} {ends}")),
        ("XINFO STREAM s FULL COUNT 1", &format!("%9 {prefix} {full}")),
    ]);
}

#[test]
fn lag_is_known_unless_a_tombstone_lies_ahead() {
    let mut world = World::new();
    for n in 1..=5 {
        world.run(1, &format!("XADD s {n} f v"));
    }
    let mut progress = |commands: &[&str], expected: &str| {
        for command in commands {
            world.run(1, command);
        }
        let info = world.run(1, "XINFO GROUPS s");
        let (_, shown) = info.split_once("$12 entries-read ").expect("a group");
        assert_eq!(shown, expected, "after {commands:?}");
    };
    progress(&["XGROUP CREATE s g 0"], "$-1 $3 lag :5");
    progress(&["XREADGROUP GROUP g c COUNT 1 STREAMS s >"], ":1 $3 lag :4");
    progress(&["XTRIM s MINID 3"], ":1 $3 lag :3");
    progress(&["XREADGROUP GROUP g c COUNT 1 STREAMS s >"], ":3 $3 lag :2");
    progress(&["XDEL s 4"], ":3 $3 lag $-1");
    progress(&["XREADGROUP GROUP g c COUNT 1 STREAMS s >"], ":5 $3 lag :0");
    progress(&["XGROUP SETID s g 3"], "$-1 $3 lag $-1");
    progress(&["XGROUP SETID s g 3 ENTRIESREAD 3"], ":3 $3 lag $-1");
    progress(&["XADD s 6 f v", "XGROUP SETID s g 5 ENTRIESREAD 5"], ":5 $3 lag :1");
    progress(&["XTRIM s MAXLEN 0"], ":5 $3 lag :0");
}

#[test]
fn the_last_id_is_set_within_what_the_stream_holds() {
    let mut world = three_entries();
    world.check(&[
        ("XSETID none 1-1", "-ERR no such key"),
        ("XSETID s x", INVALID_ID),
        ("XSETID s 1-2", "-ERR The ID specified in XSETID is smaller than the target stream top item"),
        (
            "XSETID s 1-3 ENTRIESADDED 2",
            "-ERR The entries_added specified in XSETID is smaller than the target stream length",
        ),
        ("XSETID s 1-3 ENTRIESADDED -1", "-ERR entries_added must be positive"),
        (
            "XSETID s 1-3 MAXDELETEDID 1-4",
            "-ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
        ),
        ("XSETID s 1-3 FOO 1", SYNTAX),
        ("XSETID s 1-9 MAXDELETEDID 1-8 ENTRIESADDED 50", "+OK"),
        // Redis 7.0 does not check this.
        ("XSETID s 1-7", "-ERR The ID specified in XSETID is smaller than current max_deleted_entry_id"),
        (
            "XADD s 1-9 f v",
            "-ERR The ID specified in XADD is equal or smaller than the target stream top item",
        ),
    ]);
}

#[test]
fn a_reader_that_waits_is_served_when_data_comes() {
    let mut world = three_entries();
    let block = |world: &mut World, session, command: &str| {
        let args: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        assert_eq!(world.run_args(session, &args), (Outcome::Blocked, String::new()), "{command}");
    };
    world.run(1, "XGROUP SETID s g $");
    block(&mut world, 2, "XREAD BLOCK 0 STREAMS s $");
    block(&mut world, 3, "XREADGROUP GROUP g c BLOCK 0 COUNT 1 STREAMS s >");
    block(&mut world, 4, "XREADGROUP GROUP g d BLOCK 0 STREAMS s >");
    world.run(1, "MULTI");
    world.run(1, "XADD s 2-1 f d");
    world.run(1, "XADD s 2-2 f e");
    world.check(&[("EXEC", "*2 $3 2-1 $3 2-2")]);
    let (first, second) = ("*2 $3 2-1 *2 $1 f $1 d", "*2 $3 2-2 *2 $1 f $1 e");
    assert_eq!(
        world.delivered(),
        [
            format!("2!*1 *2 $1 s *2 {first} {second}"),
            format!("3!*1 *2 $1 s *1 {first}"),
            format!("4!*1 *2 $1 s *1 {second}"),
        ]
    );
    // What came and went within a transaction wakes nobody.
    block(&mut world, 3, "XREADGROUP GROUP g c BLOCK 10 STREAMS s >");
    for command in ["MULTI", "XADD s 3-1 f d", "XDEL s 3-1", "EXEC"] {
        world.run(1, command);
    }
    assert_eq!(world.delivered(), [""; 0]);
    world.advance_ms(10);
    world.tick();
    assert_eq!(world.delivered(), ["3!*-1"]);
}

#[test]
fn a_group_reader_that_waits_learns_that_its_group_is_gone() {
    let no_group = "2!-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option";
    for (ending, expected) in [
        ("XGROUP DESTROY s g", no_group),
        ("DEL s", no_group),
        ("RENAME s t", no_group),
        ("FLUSHALL", no_group),
        ("SET s x", "2!-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ] {
        let mut world = World::new();
        world.check(&[
            ("XGROUP CREATE s g $ MKSTREAM", "+OK"),
            ("2> XREADGROUP GROUP g c BLOCK 0 STREAMS s >", ""),
            ("3> XREAD BLOCK 0 STREAMS s $", ""),
        ]);
        world.run(1, ending);
        assert_eq!(world.delivered(), [expected], "{ending}");
        world.engine.close_session(SessionId::new(3));
    }
}

#[test]
fn inside_a_transaction_nobody_waits() {
    three_entries().check(&[
        ("MULTI", "+OK"),
        ("XREAD BLOCK 0 STREAMS s $", "+QUEUED"),
        ("XREADGROUP GROUP g c BLOCK 0 COUNT 1 STREAMS s >", "+QUEUED"),
        ("EXEC", "*2 *-1 *1 *2 $1 s *1 *2 $3 1-1 *2 $1 f $1 a"),
    ]);
}

#[test]
fn keyspace_events_are_published_for_each_change() {
    let mut world = World::new();
    world.check(&[("CONFIG SET notify-keyspace-events Kt", "+OK")]);
    world.run(2, "SUBSCRIBE __keyspace@0__:s");
    let mut check = |command: &str, expected: &[&str]| {
        world.run(1, command);
        let event = |name: &&str| format!("2:*3 $7 message $16 __keyspace@0__:s ${} {name}", name.len());
        assert_eq!(world.delivered(), expected.iter().map(event).collect::<Vec<_>>(), "{command}");
    };
    check("XADD s 1 f v", &["xadd"]);
    check("XADD s MAXLEN 1 2 f v", &["xadd", "xtrim"]);
    check("XADD s MAXLEN 5 3 f v", &["xadd"]);
    check("XDEL s 2", &["xdel"]);
    check("XDEL s 2", &[]);
    check("XTRIM s MAXLEN 1", &[]);
    check("XSETID s 9", &["xsetid"]);
    check("XGROUP CREATE s g 0", &["xgroup-create"]);
    check("XREADGROUP GROUP g c STREAMS s >", &["xgroup-createconsumer"]);
    check("XGROUP CREATECONSUMER s g c", &[]);
    check("XACK s g 3", &[]);
    check("XGROUP SETID s g 0", &["xgroup-setid"]);
    check("XGROUP DELCONSUMER s g c", &["xgroup-delconsumer"]);
    check("XGROUP DESTROY s g", &["xgroup-destroy"]);
}

#[test]
fn reads_that_deliver_nothing_record_nothing() {
    let mut world = three_entries();
    world.run(1, "XGROUP SETID s g $");
    world.run(1, "XGROUP CREATECONSUMER s g c");
    let before = world.records.len();
    for command in [
        "XREADGROUP GROUP g c STREAMS s >",
        "XREADGROUP GROUP g c STREAMS s 0",
        "XREAD STREAMS s 0",
        "XACK s g 1-1",
        "XCLAIM s g c 0 1-1",
        "XAUTOCLAIM s g c 0 0",
        "XTRIM s MAXLEN 100",
        "XDEL s 9-9",
        "XADD s 1-1 f v",
    ] {
        world.run(1, command);
        assert_eq!(world.records.len(), before, "{command}");
    }
}
