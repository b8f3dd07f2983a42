//! Random commands on hashes, sets and sorted sets: their records rebuild the state.

use proptest::prelude::*;

use crate::support::World;

/// Commands on few keys and elements, so that they meet.
fn command() -> impl Strategy<Value = String> {
    let key = prop_oneof![2 => Just("h"), 2 => Just("z"), 2 => Just("s"), 1 => Just("k")];
    (key, 0..36_u8, 0..12_u32, 0..12_u32).prop_map(|(key, kind, n, m)| match kind {
        0..3 => format!("HSET {key} f{n} {m} f{m} {n}"),
        3 => format!("HSETNX {key} f{n} {m}"),
        4 => format!("HDEL {key} f{n} f{m} f{}", n + 1),
        5 => format!("HINCRBY {key} f{n} {m}"),
        6 => format!("HINCRBYFLOAT {key} f{n} 0.{m}"),
        7..10 => format!("ZADD {key} {n} f{m} {m}.5 f{n}"),
        10 => format!("ZADD {key} GT CH {n} f{m} {m} f{n}"),
        11 => format!("ZADD {key} INCR {n} f{m}"),
        12 => format!("ZREM {key} f{n} f{m} f{}", n + 1),
        13 => format!("ZPOPMIN {key} {}", n % 3),
        14 => format!("ZPOPMAX {key}"),
        15 => format!("ZREMRANGEBYSCORE {key} {n} {m}"),
        16 => format!("ZREMRANGEBYRANK {key} {n} {}", n + 1),
        17 => format!("ZRANGESTORE z {key} {n} ({m} BYSCORE"),
        18..21 => format!("SADD {key} f{n} f{m}"),
        21 => format!("SREM {key} f{n} f{m}"),
        22 => format!("SPOP {key} {}", n % 3),
        23 => format!("SMOVE {key} s f{n}"),
        24 => format!("SUNIONSTORE {key} s h"),
        25 => format!("SDIFFSTORE s {key} h"),
        26 => format!("ZUNIONSTORE {key} 2 z s WEIGHTS {n} -{m}"),
        27 => format!("ZINTERSTORE z 2 {key} z AGGREGATE MAX"),
        28 => format!("ZDIFFSTORE {key} 2 z s"),
        29 => format!("ZMPOP 2 {key} z MAX COUNT {}", n % 3 + 1),
        30 => format!("CONFIG SET hash-max-listpack-entries {n} zset-max-listpack-entries {m}"),
        31 => format!("CONFIG SET set-max-intset-entries {n} set-max-listpack-entries {m}"),
        32 => format!("SADD {key} {n} {m} 7"),
        33 => format!("COPY {key} {} REPLACE", ["h", "s", "z", "k"][n as usize % 4]),
        _ if n == 0 => format!("RENAME {key} k"),
        _ => format!("DEL {key}"),
    })
}

proptest! {
    #[test]
    fn replayed_collection_records_give_the_same_state(commands in prop::collection::vec(command(), 0..150)) {
        let mut world = World::new();
        for command in commands {
            world.run(1, &command);
        }
        world.assert_recovers();
    }
}
