use crate::support::World;

/// Runs commands and then compares the encoding of `k`.
#[track_caller]
fn check(commands: &[&str], expected: &str) {
    let mut world = World::new();
    for command in commands {
        let answer = world.run(1, command);
        assert!(!answer.starts_with('-'), "{command}: {answer}");
    }
    let answer = world.run(1, "OBJECT ENCODING k");
    assert_eq!(answer.split(' ').nth(1), Some(expected), "{commands:?}");
}

/// `command` with `count` members, numbered from `first` on behind `prefix`.
fn with_members(command: &str, prefix: &str, first: usize, count: usize) -> String {
    (first..first + count).fold(command.to_owned(), |text, n| text + &format!(" {prefix}{n}"))
}

#[test]
fn sets_are_compact_while_they_are_small() {
    let many = |prefix, count| with_members("SADD k", prefix, 1, count);
    check(&["SADD k 1 2 3"], "intset");
    check(&["SADD k a"], "listpack");
    check(&["SADD k 1 a"], "listpack");
    check(&["SADD k 1", "SADD k a", "SREM k a"], "listpack");
    check(&[&many("", 512)], "intset");
    check(&[&many("", 512), "SADD k 513"], "hashtable");
    check(&[&many("", 513)], "hashtable");
    check(&[&many("", 127), "SADD k a"], "listpack");
    check(&[&many("", 128), "SADD k a"], "hashtable");
    check(&[&many("m", 128)], "listpack");
    check(&[&many("m", 128), "SADD k a"], "hashtable");
    check(&[&many("m", 128), "SADD k m1"], "listpack");
    check(&[&format!("SADD k {}", "x".repeat(64))], "listpack");
    check(&[&format!("SADD k {}", "x".repeat(65))], "hashtable");
    check(&[&format!("SADD k {}", "x".repeat(65)), "SADD k a", "SPOP k"], "hashtable");
}

#[test]
fn a_set_is_made_for_as_many_members_as_its_command_names() {
    let repeated = |name: &str| vec![name; 129].join(" ");
    check(&[&format!("SADD k {}", repeated("a"))], "hashtable");
    check(&[&format!("SADD k {}", repeated("1"))], "intset");
    check(&["SADD k a", &format!("SADD k {}", repeated("a"))], "hashtable");
}

#[test]
fn stored_sets_are_as_compact_as_they_can_be() {
    let many = with_members("SADD big", "", 1, 600);
    check(&[&many, "SADD few 1 2 3", "SINTERSTORE k big few"], "intset");
    check(&[&many, "SADD few 1 2 a", "SUNIONSTORE k few"], "listpack");
    check(&[&many, "SUNIONSTORE k big"], "hashtable");
    check(&["SADD a x 1", "SADD b 1 2", "SDIFFSTORE k b nos"], "intset");
    check(&["SADD a 1", "SMOVE a k 1"], "intset");
}

#[test]
fn what_is_left_of_many_popped_members_is_compact_again() {
    let many = with_members("SADD k", "m", 1, 200);
    check(&[&many, "SPOP k 190"], "listpack");
    check(&[&many, "SPOP k 100"], "hashtable");
    check(&[&many, "SPOP k"], "hashtable");
}

#[test]
fn hashes_and_sorted_sets_are_compact_while_they_are_small() {
    let fields = |count: usize| (0..count).fold("HSET k".to_owned(), |text, n| text + &format!(" f{n} v"));
    check(&[&fields(512)], "listpack");
    check(&[&fields(513)], "hashtable");
    check(&[&fields(513), "HDEL k f0 f1 f2"], "hashtable");
    check(&[&fields(512), "HSETNX k new v"], "hashtable");
    let members = |count: usize| (0..count).fold("ZADD k".to_owned(), |text, n| text + &format!(" 1 m{n}"));
    check(&[&members(128)], "listpack");
    check(&[&members(129)], "skiplist");
    check(&[&members(129), "ZPOPMIN k 128"], "skiplist");
    check(&[&members(129), "ZRANGESTORE k k 0 3"], "listpack");
    check(&[&members(128), "ZINCRBY k 1 m1"], "listpack");
    check(&[&members(128), "ZINCRBY k 1 new"], "skiplist");
}

#[test]
fn thresholds_can_be_changed_but_nothing_goes_back() {
    let small = "CONFIG SET set-max-listpack-entries 1 zset-max-ziplist-entries 0 hash-max-ziplist-value 2";
    check(&[small, "SADD k a b"], "hashtable");
    check(&[small, "ZADD k 1 a"], "skiplist");
    check(&[small, "HSET k f abc"], "hashtable");
    check(&["HSET k f abc", small], "listpack");
    check(
        &["HSET k f abc", small, "HSET k f abcd", "CONFIG SET hash-max-listpack-value 64", "HSET k f a"],
        "hashtable",
    );
    check(
        &[
            small,
            "SADD k a b",
            "CONFIG SET set-max-listpack-entries 128",
            "SADD k c",
            "RENAME k o",
            "COPY o k",
        ],
        "hashtable",
    );
}

#[test]
fn a_compact_collection_is_scanned_in_one_go() {
    let mut world = World::new();
    world.run(1, &with_members("SADD s", "", 1, 500));
    assert!(world.run(1, "SSCAN s 0 COUNT 5").starts_with("*2 $1 0 *500"));
    world.run(1, "SADD s x");
    assert!(world.run(1, "SSCAN s 0 COUNT 5").starts_with("*2 $1 5 *5"));
}

#[test]
fn idle_time_counts_from_the_last_look() {
    let mut world = World::new();
    world.check(&[("SET k v", "+OK"), ("OBJECT IDLETIME k", ":0")]);
    world.advance_ms(5000);
    world.check(&[
        ("EXISTS k", ":1"),
        ("TYPE k", "+string"),
        ("TTL k", ":-1"),
        ("OBJECT ENCODING k", "$6 embstr"),
        ("OBJECT IDLETIME k", ":5"),
        ("TOUCH k nos", ":1"),
        ("OBJECT IDLETIME k", ":0"),
        ("OBJECT REFCOUNT k", ":1"),
    ]);
}

#[test]
fn a_client_with_no_touch_leaves_idle_times_alone_but_for_touch() {
    let mut world = World::new();
    world.check(&[("SET k v", "+OK"), ("CLIENT NO-TOUCH ON", "+OK")]);
    world.advance_ms(5000);
    world.check(&[("GET k", "$1 v"), ("APPEND k w", ":2"), ("OBJECT IDLETIME k", ":5")]);
    world.check(&[("EVAL return(redis.call('GET',KEYS[1])) 1 k", "$2 vw"), ("OBJECT IDLETIME k", ":5")]);
    world.check(&[("TOUCH k", ":1"), ("OBJECT IDLETIME k", ":0")]);
    world.advance_ms(5000);
    world.check(&[("CLIENT NO-TOUCH OFF", "+OK"), ("GET k", "$2 vw"), ("OBJECT IDLETIME k", ":0")]);
    world.advance_ms(5000);
    world.check(&[("CLIENT NO-TOUCH ON", "+OK"), ("RESET", "+RESET"), ("GET k", "$2 vw")]);
    assert_eq!(world.run(1, "OBJECT IDLETIME k"), ":0", "RESET ends it");
}

#[test]
fn memory_usage_grows_with_the_value() {
    let mut world = World::new();
    let mut usage = |commands: &[&str], samples: &str| {
        world.run(1, "FLUSHALL");
        for command in commands {
            world.run(1, command);
        }
        let answer = world.run(1, &format!("MEMORY USAGE k{samples}"));
        answer.trim_start_matches(':').parse::<usize>().expect("a number of bytes")
    };
    let long = "x".repeat(1000);
    let small = usage(&["SET k v"], "");
    assert!((50..200).contains(&small), "{small}");
    assert!(usage(&[&format!("SET k {long}")], "") >= small + 999);
    let members = with_members("SADD k", "member", 1000, 1000);
    let sampled = usage(&[&members], "");
    assert!((10_000..100_000).contains(&sampled), "{sampled}");
    assert_eq!(usage(&[&members], " SAMPLES 0"), sampled, "all members are equally long");
    for value in ["HSET k f", "ZADD k 1", "XADD k * f"] {
        assert!(usage(&[&format!("{value} {long}")], " SAMPLES 1") > 1000, "{value}");
    }
}

#[test]
fn wait_answers_when_its_time_is_over() {
    let mut world = World::new();
    world.check(&[("WAIT 0 0", ":0"), ("WAIT 1 10", ""), ("2> WAIT 2 0", ""), ("3> CLIENT UNBLOCK 2", ":1")]);
    assert_eq!(world.delivered(), ["2!:0"]);
    world.advance_ms(10);
    world.tick();
    assert_eq!(world.delivered(), ["1!:0"]);
}
