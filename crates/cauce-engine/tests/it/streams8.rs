//! The Streams commands and options that came with Redis 7.4 to 8.10.

use crate::support::{START_MS, World};

/// Entries 1-1 to 1-5 in `s`, all delivered to `c` of group `g`.
fn five_pending() -> World {
    let mut world = World::new();
    for seq in 1..=5 {
        world.run(1, &format!("XADD s 1-{seq} f v{seq}"));
    }
    world.run(1, "XGROUP CREATE s g 0");
    world.run(1, "XREADGROUP GROUP g c STREAMS s >");
    world
}

fn list(world: &mut World) -> String {
    world
        .run(1, "XRANGE s - +")
        .split(' ')
        .filter(|word| word.starts_with("1-"))
        .collect::<Vec<_>>()
        .join(" ")
}

fn pending(world: &mut World, group: &str) -> String {
    let reply = world.run(1, &format!("XPENDING s {group} - + 100"));
    reply.split(' ').filter(|word| word.starts_with("1-")).collect::<Vec<_>>().join(" ")
}

#[test]
fn xdelex_deletes_and_keeps_strips_or_respects_references() {
    let mut world = five_pending();
    world.check(&[
        ("XDELEX s IDS 2 1-1 9-9", "*2 :1 :-1"),
        ("XDELEX s IDS 1 1-2 DELREF", "*1 :1"),
        ("XDELEX s ACKED IDS 2 1-3 1-4", "*2 :2 :2"),
        ("XACK s g 1-3", ":1"),
        ("XDELEX s ACKED IDS 2 1-3 1-4", "*2 :1 :2"),
        ("XDELEX s DELREF IDS 1 1-1", "*1 :-1"),
        ("XDELEX nos IDS 2 1-1 1-2", "*2 :-1 :-1"),
    ]);
    assert_eq!((list(&mut world), pending(&mut world, "g")), ("1-4 1-5".into(), "1-4 1-5".into()));
}

#[test]
fn an_entry_is_needed_until_every_group_has_read_and_acknowledged_it() {
    let mut world = five_pending();
    world.check(&[
        ("XGROUP CREATE s late 1-1", "+OK"),
        ("XACK s g 1-1 1-2 1-3", ":3"),
        ("XDELEX s ACKED IDS 3 1-1 1-2 1-4", "*3 :1 :2 :2"),
        ("XGROUP DESTROY s late", ":1"),
        ("XDELEX s ACKED IDS 1 1-2", "*1 :1"),
        ("XGROUP DESTROY s g", ":1"),
        ("XDELEX s ACKED IDS 2 1-4 1-5", "*2 :1 :1"),
    ]);
}

#[test]
fn xackdel_acknowledges_and_deletes_what_no_other_group_needs() {
    let mut world = five_pending();
    world.check(&[
        ("XGROUP CREATE s h 0", "+OK"),
        (
            "XREADGROUP GROUP h d COUNT 3 NOACK STREAMS s >",
            "*1 *2 $1 s *3 *2 $3 1-1 *2 $1 f $2 v1 *2 $3 1-2 *2 $1 f $2 v2 *2 $3 1-3 *2 $1 f $2 v3",
        ),
        ("XACKDEL s g ACKED IDS 2 1-1 1-4", "*2 :1 :2"),
        ("XACKDEL s g IDS 2 1-1 1-4", "*2 :-1 :-1"),
        ("XDEL s 1-2", ":1"),
        ("XACKDEL s g ACKED IDS 1 1-2", "*1 :1"),
        ("XCLAIM s h d 0 1-5 FORCE JUSTID", "*1 $3 1-5"),
        ("XACKDEL s g DELREF IDS 1 1-5", "*1 :1"),
        ("XACKDEL s nog IDS 1 1-3", "*1 :-1"),
        ("XACKDEL nos g IDS 1 1-3", "*1 :-1"),
    ]);
    assert_eq!((list(&mut world), pending(&mut world, "g")), ("1-3 1-4".into(), "1-3".into()));
    assert_eq!(pending(&mut world, "h"), "");
}

#[test]
fn id_blocks_are_checked_before_anything_is_done() {
    let mut world = five_pending();
    world.check(&[
        ("XDELEX s IDS 0 1-1", "-ERR Number of IDs must be a positive integer"),
        ("XDELEX s IDS x 1-1", "-ERR Number of IDs must be a positive integer"),
        ("XDELEX s IDS 2 1-1", "-ERR The `numids` parameter must match the number of arguments"),
        ("XDELEX s IDS 1 1-1 1-2", "-ERR syntax error"),
        ("XDELEX s KEEPREF DELREF IDS 1", "-ERR syntax error"),
        ("XDELEX s KEEPREF ACKED ACKED", "-ERR syntax error"),
        ("XDELEX s IDS 2 1-1 x", "-ERR Invalid stream ID specified as stream command argument"),
        ("XACKDEL s g IDS 2 1-1 x", "-ERR Invalid stream ID specified as stream command argument"),
        ("XDELEX s KEEPREF KEEPREF KEEPREF", "-ERR syntax error"),
        ("XACKDEL s g IDS 1", "-ERR wrong number of arguments for 'xackdel' command"),
        ("XLEN s", ":5"),
    ]);
    assert_eq!(pending(&mut world, "g"), "1-1 1-2 1-3 1-4 1-5");
}

#[test]
fn trimming_strips_references_or_passes_over_what_is_needed() {
    let mut world = five_pending();
    world.check(&[("XTRIM s MAXLEN 4 KEEPREF", ":1"), ("XTRIM s MAXLEN 3 DELREF", ":1")]);
    assert_eq!(pending(&mut world, "g"), "1-1 1-3 1-4 1-5");
    world.check(&[
        ("XACK s g 1-4", ":1"),
        ("XTRIM s ACKED MAXLEN 1", ":1"),
        ("XTRIM s MAXLEN 0 ACKED", ":0"),
        ("XTRIM s MINID 9 KEEPREF DELREF", "-ERR syntax error"),
        ("XADD s DELREF MAXLEN 1 2-1 f v", "$3 2-1"),
    ]);
    assert_eq!((list(&mut world), pending(&mut world, "g")), (String::new(), "1-1".into()));
    world.check(&[("XLEN s", ":1"), ("XADD s ACKED KEEPREF MAXLEN 1 3-1 f v", "-ERR syntax error")]);
}

#[test]
fn approximate_trimming_with_acked_looks_at_whole_blocks() {
    let mut settings = cauce_engine::Settings::default();
    settings.stream_node_max_entries = 2;
    let mut world = World::with(settings);
    for seq in 1..=6 {
        world.run(1, &format!("XADD s 1-{seq} f v"));
    }
    world.run(1, "XGROUP CREATE s g 1-5");
    world.check(&[("XCLAIM s g c 0 1-1 FORCE JUSTID", "*1 $3 1-1"), ("XTRIM s MAXLEN ~ 1 ACKED", ":4")]);
    // What is needed is passed over, and newer entries go in its place.
    assert_eq!(list(&mut world), "1-1 1-6");
}

#[test]
fn xnack_gives_entries_back_ahead_of_all_others() {
    let mut world = five_pending();
    world.advance_ms(10);
    world.check(&[
        ("XNACK s g FAIL IDS 2 1-4 1-2", ":2"),
        ("XNACK s g SILENT IDS 1 1-3", ":1"),
        ("XNACK s g FATAL IDS 2 1-5 9-9", ":1"),
        ("XPENDING s g", "*4 :5 $3 1-1 $3 1-5 *1 *2 $1 c $1 1"),
        ("XPENDING s g 1-1 1-3 9", "*3 *4 $3 1-1 $1 c :10 :1 *4 $3 1-2 $0  :-1 :1 *4 $3 1-3 $0  :-1 :0"),
        ("XPENDING s g - + 9 c", "*1 *4 $3 1-1 $1 c :10 :1"),
        ("XPENDING s g 1-5 + 9", "*1 *4 $3 1-5 $0  :-1 :9223372036854775807"),
        (
            "XREADGROUP GROUP g d COUNT 2 CLAIM 1000 STREAMS s >",
            "*1 *2 $1 s *2 *4 $3 1-4 *2 $1 f $2 v4 :-1 :1 *4 $3 1-2 *2 $1 f $2 v2 :-1 :1",
        ),
        ("XAUTOCLAIM s g e 100000 0 COUNT 1 JUSTID", "*3 $3 1-4 *1 $3 1-3 *0"),
        ("XCLAIM s g e 100000 1-5 JUSTID", "*1 $3 1-5"),
        ("XPENDING s g", "*4 :5 $3 1-1 $3 1-5 *3 *2 $1 c $1 1 *2 $1 d $1 2 *2 $1 e $1 2"),
    ]);
}

#[test]
fn xnack_takes_a_count_and_forces() {
    let mut world = five_pending();
    world.check(&[
        ("XACK s g 1-1", ":1"),
        ("XNACK s g SILENT IDS 2 1-1 1-2 RETRYCOUNT 7", ":1"),
        ("XNACK s g SILENT IDS 2 1-1 9-9 FORCE", ":1"),
        ("XPENDING s g 1-1 1-2 9", "*2 *4 $3 1-1 $0  :-1 :0 *4 $3 1-2 $0  :-1 :7"),
        ("XACK s g 1-2", ":1"),
    ]);
    let full = world.run(1, "XINFO STREAM s FULL");
    assert!(full.contains("$9 pel-count :4 $12 nacked-count :1 $7 pending"), "{full}");
    world.run(1, "XCLAIM s g c 0 1-1");
    assert!(!world.run(1, "XINFO STREAM s FULL").contains("nacked"), "clients of 7.2 see what they know");
}

#[test]
fn xnack_is_checked() {
    five_pending().check(&[
        ("XNACK s g LOUD IDS 1 1-1", "-ERR mode must be SILENT, FAIL, or FATAL"),
        ("XNACK s g FAIL ID 1 1-1", "-ERR syntax error, expected IDS keyword"),
        ("XNACK s g FAIL IDS 0 1-1", "-ERR numids must be a positive integer"),
        ("XNACK s g FAIL IDS 2 1-1", "-ERR number of IDs doesn't match numids"),
        ("XNACK s g FAIL IDS 1 1-1 RETRYCOUNT -1", "-ERR Invalid RETRYCOUNT value, must be >= 0"),
        ("XNACK s g FAIL IDS 1 1-1 NOW", "-ERR Unrecognized XNACK option 'NOW'"),
        ("XNACK s g FAIL IDS 1 x", "-ERR Invalid stream ID specified as stream command argument"),
        ("XNACK s h FAIL IDS 1 1-1", "-NOGROUP No such key 's' or consumer group 'h'"),
        ("XNACK t g FAIL IDS 1 1-1", "-NOGROUP No such key 't' or consumer group 'g'"),
        ("XNACK s g FAIL IDS 1", "-ERR wrong number of arguments for 'xnack' command"),
    ]);
}

#[test]
fn a_claiming_reader_gets_idle_entries_first_then_new_ones() {
    let mut world = five_pending();
    world.advance_ms(50);
    world.check(&[
        ("XCLAIM s g c 0 1-1 JUSTID", "*1 $3 1-1"),
        ("XACK s g 1-3 1-4", ":2"),
        ("XADD s 2-1 f n", "$3 2-1"),
        ("XADD s 2-2 f n", "$3 2-2"),
        ("XDEL s 1-2", ":1"),
        (
            "XREADGROUP GROUP g d COUNT 2 CLAIM 50 STREAMS s >",
            "*1 *2 $1 s *2 *4 $3 1-5 *2 $1 f $2 v5 :50 :1 *4 $3 2-1 *2 $1 f $1 n :0 :0",
        ),
        ("XREADGROUP GROUP g d NOACK CLAIM 50 STREAMS s >", "*1 *2 $1 s *1 *4 $3 2-2 *2 $1 f $1 n :0 :0"),
        ("XREADGROUP GROUP g d CLAIM 50 STREAMS s >", "*-1"),
        ("XREADGROUP GROUP g d CLAIM 0 STREAMS s 2", "*1 *2 $1 s *1 *2 $3 2-1 *2 $1 f $1 n"),
        (
            "XPENDING s g - + 9",
            "*4 *4 $3 1-1 $1 c :0 :1 *4 $3 1-2 $1 c :50 :1 *4 $3 1-5 $1 d :0 :2 *4 $3 2-1 $1 d :0 :2",
        ),
        ("XREADGROUP GROUP g d CLAIM x STREAMS s >", "-ERR min-idle-time is not an integer or out of range"),
        ("XREADGROUP GROUP g d CLAIM -1 STREAMS s >", "-ERR min-idle-time must be a positive integer"),
        (
            "XREAD CLAIM 1 STREAMS s 0",
            "-ERR The CLAIM option is only supported by XREADGROUP. You called XREAD instead.",
        ),
    ]);
}

/// Runs what is due at the next deadline, and says when that was.
fn pass_deadline(world: &mut World) -> u64 {
    let at = world.engine.next_deadline().expect("something is due");
    world.now = at.max(world.now);
    world.tick();
    world.now.millis() - START_MS
}

#[test]
fn a_waiting_claimer_wakes_when_the_oldest_pending_entry_ripens() {
    let mut world = five_pending();
    world.run(1, "XACK s g 1-2 1-3 1-4 1-5");
    world.advance_ms(30);
    assert_eq!(world.run(2, "XREADGROUP GROUP g d BLOCK 0 CLAIM 100 STREAMS s >"), "");
    assert_eq!(pass_deadline(&mut world), 100);
    assert_eq!(world.delivered(), ["2!*1 *2 $1 s *1 *4 $3 1-1 *2 $1 f $2 v1 :100 :1"]);
    assert_eq!(world.engine.next_deadline(), None);
}

#[test]
fn a_waiting_claimer_follows_what_becomes_of_the_pending_entries() {
    let mut world = World::new();
    world.run(1, "XGROUP CREATE s g 0 MKSTREAM");
    assert_eq!(world.run(2, "XREADGROUP GROUP g d BLOCK 1000 CLAIM 100 STREAMS s >"), "");
    // Another consumer's delivery makes something that ripens; it is delivered again in time.
    assert_eq!(world.run(3, "XREADGROUP GROUP g first BLOCK 0 STREAMS s >"), "");
    world.run(1, "XGROUP SETID s g 1-1");
    world.advance_ms(10);
    world.run(1, "XADD s 1-1 f v");
    assert_eq!(world.run(1, "XCLAIM s g c 0 1-1 FORCE JUSTID"), "*1 $3 1-1");
    world.advance_ms(60);
    world.run(1, "XREADGROUP GROUP g c STREAMS s 0");
    assert_eq!(pass_deadline(&mut world), 110);
    assert_eq!(world.delivered(), Vec::<String>::new());
    assert_eq!(pass_deadline(&mut world), 170);
    assert_eq!(world.delivered(), ["2!*1 *2 $1 s *1 *4 $3 1-1 *2 $1 f $1 v :100 :2"]);
    // What is given back wakes at once; the deadline of the wait stays what it was.
    assert_eq!(world.run(2, "XREADGROUP GROUP g d BLOCK 500 CLAIM 400 STREAMS s >"), "");
    world.run(1, "XNACK s g FAIL IDS 1 1-1");
    assert_eq!(world.delivered(), ["2!*1 *2 $1 s *1 *4 $3 1-1 *2 $1 f $1 v :-1 :3"]);
    assert_eq!(world.run(2, "XREADGROUP GROUP g d BLOCK 300 CLAIM 400 STREAMS s >"), "");
    assert_eq!(pass_deadline(&mut world), 470);
    assert_eq!(world.delivered(), ["2!*-1"]);
}

#[test]
fn plus_reads_the_newest_entry() {
    let mut world = five_pending();
    world.check(&[
        ("XREAD STREAMS s +", "*1 *2 $1 s *1 *2 $3 1-5 *2 $1 f $2 v5"),
        ("XDEL s 1-5", ":1"),
        ("XREAD COUNT 3 STREAMS s t + +", "*1 *2 $1 s *1 *2 $3 1-4 *2 $1 f $2 v4"),
        ("XREAD STREAMS t +", "*-1"),
        ("XTRIM s MAXLEN 0", ":4"),
        ("XREAD STREAMS s +", "*-1"),
        ("2> XREAD BLOCK 0 STREAMS s +", ""),
        ("XREADGROUP GROUP g c STREAMS s +", "-ERR The + ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The + ID would just return an empty result set."),
    ]);
    world.run(1, "XADD s 2-1 f v");
    assert_eq!(world.delivered(), ["2!*1 *2 $1 s *1 *2 $3 2-1 *2 $1 f $1 v"]);
}

#[test]
fn a_reply_is_bounded_over_all_streams() {
    let mut world = five_pending();
    for seq in 1..=3 {
        world.run(1, &format!("XADD t 1-{seq} f v{seq}"));
    }
    world.run(1, "XGROUP CREATE t g 0");
    let entry = |seq| format!("*2 $3 1-{seq} *2 $1 f $2 v{seq}");
    let (one, two, three) = (entry(1), entry(2), entry(3));
    world.check(&[
        ("XREAD COUNT 2 MAXCOUNT 3 STREAMS s t 0 0", &format!("*2 *2 $1 s *2 {one} {two} *2 $1 t *1 {one}")),
        ("XREAD MAXCOUNT 2 STREAMS s t 0 0", &format!("*1 *2 $1 s *2 {one} {two}")),
        ("XREAD MAXSIZE 1 STREAMS s t 0 0", &format!("*1 *2 $1 s *1 {one}")),
        ("XREAD MAXSIZE 50 STREAMS t s 0 0", &format!("*1 *2 $1 t *2 {one} {two}")),
        ("XREAD MAXSIZE 100000 STREAMS t 0", &format!("*1 *2 $1 t *3 {one} {two} {three}")),
        ("XREADGROUP GROUP g c MAXCOUNT 1 STREAMS s t 0 >", &format!("*1 *2 $1 s *1 {one}")),
        ("XREADGROUP GROUP g c MAXCOUNT 2 STREAMS t s > 0", &format!("*1 *2 $1 t *2 {one} {two}")),
        ("XPENDING t g", "*4 :2 $3 1-1 $3 1-2 *1 *2 $1 c $1 2"),
        (
            "XREADGROUP GROUP g d MAXCOUNT 2 CLAIM 0 STREAMS t >",
            "*1 *2 $1 t *2 *4 $3 1-1 *2 $1 f $2 v1 :0 :1 *4 $3 1-2 *2 $1 f $2 v2 :0 :1",
        ),
        ("XREAD COUNT 3 MAXCOUNT 2 STREAMS s 0", "-ERR MAXCOUNT must be greater than or equal to COUNT"),
        ("XREAD MAXCOUNT 0 STREAMS s 0", "-ERR MAXCOUNT must be a positive integer"),
        ("XREAD MAXSIZE -1 STREAMS s 0", "-ERR MAXSIZE must be a positive integer"),
    ]);
}

#[test]
fn an_addition_with_an_idempotent_id_happens_once() {
    let mut world = World::new();
    world.run(1, "XADD s 1700000000500-1 f v");
    let first = world.run(1, "XADD s IDMP p 1 * f v");
    assert_eq!(first, "$15 1700000000500-2");
    assert_eq!(world.run(1, "XADD s NOMKSTREAM IDMP p 1 MAXLEN 1 * other fields"), first);
    assert_eq!(world.run(1, "XADD s IDMP q 1 * f v"), "$15 1700000000500-3");
    let digest = world.run(1, "XADD s IDMPAUTO p * a 1 b 2");
    assert_eq!(world.run(1, "XADD s IDMPAUTO p * b 2 a 1"), digest);
    assert_ne!(world.run(1, "XADD s IDMPAUTO p * a 1 b 22"), digest);
    world.check(&[("XDEL s 1700000000500-2", ":1"), ("XADD s IDMP p 1 * f v", &first), ("XLEN s", ":4")]);
    let info = world.run(1, "XINFO STREAM s");
    assert!(info.starts_with("*32 ") && info.contains(
        "$13 idmp-duration :100 $12 idmp-maxsize :100 $12 pids-tracked :2 $12 iids-tracked :4 $10 iids-added :4 $15 iids-duplicates :3 $6 groups",
    ), "{info}");
    assert!(world.run(1, "XINFO STREAM s FULL").starts_with("*30 "));
}

#[test]
fn marks_are_forgotten_when_old_or_too_many_or_reconfigured() {
    let mut world = World::new();
    world.check(&[("CONFIG SET stream-idmp-duration 2 stream-idmp-maxsize 2", "+OK")]);
    for id in ["a", "b", "c"] {
        world.run(1, &format!("XADD s IDMP p {id} * f v"));
    }
    world.run(1, "XADD s IDMP p a * f v");
    assert_eq!(world.run(1, "XLEN s"), ":4");
    world.advance_ms(1999);
    world.run(1, "XADD s IDMP p a * f v");
    assert_eq!(world.run(1, "XLEN s"), ":4");
    world.advance_ms(1);
    assert!(world.run(1, "XINFO STREAM s").contains("$12 iids-tracked :0"));
    world.run(1, "XADD s IDMP p a * f v");
    world.check(&[("XLEN s", ":5"), ("XCFGSET s IDMP-DURATION 2", "+OK")]);
    world.run(1, "XADD s IDMP p a * f v");
    world.check(&[("XLEN s", ":5"), ("XCFGSET s IDMP-MAXSIZE 3", "+OK")]);
    world.run(1, "XADD s IDMP p a * f v");
    assert_eq!(world.run(1, "XLEN s"), ":6");
    // Nobody comes again: the memory is given back all the same, and the log knows.
    let records = world.records.len();
    while world.engine.next_deadline().is_some() {
        pass_deadline(&mut world);
    }
    assert_eq!(world.records.len(), records + 1);
}

#[test]
fn marks_can_be_recorded_and_limits_set() {
    let mut world = World::new();
    world.run(1, "XADD s 1700000000000-0 f v");
    world.run(1, "XADD s 1700000000000-1 f v");
    world.check(&[
        ("XIDMPRECORD s p 1 1700000000000-0", "+OK"),
        ("XIDMPRECORD s p 1 1700000000000-0", "+OK"),
        (
            "XIDMPRECORD s p 1 1700000000000-1",
            "-ERR IID already exists for this producer with a different stream ID",
        ),
        ("XIDMPRECORD s p 2 1-1", "-ERR No such message in stream"),
        ("XIDMPRECORD t p 2 1-1", "-ERR no such key"),
        ("XIDMPRECORD s  2 1-1", "-ERR producer ID must be non-empty"),
        ("XIDMPRECORD s p  1-1", "-ERR idempotent ID must be non-empty"),
        ("XADD s IDMP p 1 * f v", "$15 1700000000000-0"),
        ("XCFGSET s", "-ERR At least one parameter must be specified"),
        ("XCFGSET t IDMP-DURATION 1", "-ERR no such key"),
        ("XCFGSET s IDMP-DURATION 0", "-ERR IDMP-DURATION must be between 1 and 86400 seconds"),
        ("XCFGSET s IDMP-DURATION 1 IDMP-DURATION 1", "-ERR IDMP-DURATION specified multiple times"),
        ("XCFGSET s IDMP-MAXSIZE 10001", "-ERR IDMP-MAXSIZE must be between 1 and 10000 entries"),
        ("XCFGSET s IDMP-MAXSIZE 1 IDMP-MAXSIZE 1", "-ERR IDMP-MAXSIZE specified multiple times"),
        ("XCFGSET s NOPE 1", "-ERR syntax error"),
        ("CONFIG GET stream-idmp-*", "*4 $20 stream-idmp-duration $3 100 $19 stream-idmp-maxsize $3 100"),
    ]);
}

#[test]
fn idempotent_additions_are_checked() {
    World::new().check(&[
        ("XADD s IDMP p 1 IDMPAUTO p * f v", "-ERR syntax error, IDMP/IDMPAUTO specified multiple times"),
        ("XADD s IDMPAUTO  * f v", "-ERR syntax error, IDMPAUTO requires a non-empty producer ID"),
        ("XADD s IDMP  1 * f v", "-ERR syntax error, IDMP requires a non-empty producer ID"),
        ("XADD s IDMP p  * f v", "-ERR syntax error, IDMP requires a non-empty idempotent ID"),
        (
            "XADD s IDMP p 1 1-1 f v",
            "-ERR syntax error, IDMP/IDMPAUTO can be used only with auto-generated IDs",
        ),
        (
            "XADD s IDMP p 1 1-* f v",
            "-ERR syntax error, IDMP/IDMPAUTO can be used only with auto-generated IDs",
        ),
        ("XADD s NOMKSTREAM IDMP p 1 * f v", "$-1"),
        ("EXISTS s", ":0"),
    ]);
}
