//! The log records effects: replaying them gives the same state, bit for bit.

use cauce_engine::{Engine, ReplayError, Settings};
use proptest::prelude::*;

use crate::support::World;

/// Commands on few keys, so that they meet; some fail, which records nothing.
fn command() -> impl Strategy<Value = String> {
    let key = prop_oneof![Just("a"), Just("b"), Just("c")];
    (key.clone(), key, 0..22_u8, 0..60_u32).prop_map(|(key, other, kind, n)| match kind {
        0 => format!("SET {key} {n}"),
        1 => format!("SET {key} {n} PX {}", n + 1),
        2 => format!("INCRBY {key} {n}"),
        3 => format!("DEL {key}"),
        4 => format!("PEXPIRE {key} {n}"),
        5 => format!("PERSIST {key}"),
        6 => format!("RENAME {key} {other}"),
        7 => "FLUSHDB".to_owned(),
        8 => format!("SELECT {}", n % 3),
        9 => "MULTI".to_owned(),
        10 => "EXEC".to_owned(),
        11 => format!("MSET {key} {n} {other} {n}"),
        12 => format!("WATCH {key}"),
        13 => format!("APPEND {key} {n}"),
        14 => format!("SETRANGE {key} {} x", n % 9),
        15 => format!("INCRBYFLOAT {key} 0.5"),
        16 => format!("GETEX {key} PX {}", n + 1),
        17 => format!("COPY {key} {other} DB {} REPLACE", n % 3),
        18 => format!("MOVE {key} {}", n % 3),
        19 => format!("SWAPDB {} {}", n % 3, n % 2),
        20 => format!("GETSET {key} {n}"),
        _ => format!("GET {key}"),
    })
}

proptest! {
    #[test]
    fn replayed_records_give_the_same_state(
        commands in prop::collection::vec((1..4_u64, command(), 0..20_u64), 0..120),
    ) {
        let mut world = World::new();
        for (session, command, ms) in commands {
            world.run(session, &command);
            world.advance_ms(ms);
            world.tick();
        }
        world.assert_recovers();
    }
}

#[test]
fn reads_and_failures_record_nothing() {
    let mut world = World::new();
    world.check(&[("SET k v", "+OK")]);
    let before = world.records.len();
    for command in ["GET k", "INCR k", "DEL nothing", "PERSIST k", "EXPIRE nothing 1", "SET k w NX", "KEYS *"]
    {
        world.run(1, command);
    }
    assert_eq!(world.records.len(), before);
}

#[test]
fn a_transaction_is_one_unit() {
    let mut world = World::new();
    world.check(&[("MULTI", "+OK"), ("SET a 1", "+QUEUED"), ("SET b 1", "+QUEUED"), ("EXEC", "*2 +OK +OK")]);
    assert_eq!(world.out.records.unit_lens().collect::<Vec<_>>(), [2]);
}

#[test]
fn replies_depend_on_the_newest_record_of_what_they_show() {
    let mut world = World::new();
    let mut after = |command: &str| {
        world.run(1, command);
        world.out.after().0
    };
    assert_eq!(after("PING"), 0);
    assert_eq!(after("SET a 1"), 1);
    assert_eq!(after("SET b 1"), 2);
    assert_eq!(after("GET a"), 1, "a read waits for its own key, not for the log's end");
    assert_eq!(after("GET c"), 0);
    assert_eq!(after("DEL a"), 3);
    assert_eq!(after("GET a"), 3, "absence depends on the removal");
    assert_eq!(after("GET b"), 2);
    assert_eq!(after("DBSIZE"), 3);
}

#[test]
fn damaged_records_are_refused() {
    let mut engine = Engine::new(Settings::default());
    assert_eq!(engine.replay(&[]), Err(ReplayError::Malformed));
    assert_eq!(engine.replay(&[250, 0, 0]), Err(ReplayError::UnknownKind(250)));
    let mut world = World::new();
    world.check(&[("SET k v", "+OK"), ("DEL k", ":1")]);
    let [set, del] = &world.records[..] else { panic!("two records") };
    assert!(matches!(engine.replay(del), Err(ReplayError::Contradiction(_))));
    for len in 0..set.len() {
        assert!(engine.replay(&set[..len]).is_err(), "cut to {len} bytes");
    }
}
