//! Random commands on streams: their records rebuild the state, and what the commands show agrees with itself.

use std::collections::HashSet;

use cauce_engine::{Outcome, SessionId, Settings};
use proptest::prelude::*;

use crate::support::World;

/// Commands on few keys, groups, consumers and ids, so that they meet.
pub(crate) fn command() -> impl Strategy<Value = String> {
    let key = prop_oneof![3 => Just("s"), 1 => Just("t")];
    let group = prop_oneof![3 => Just("g"), 1 => Just("h")];
    let consumer = prop_oneof![Just("c"), Just("d")];
    (key, group, consumer, 0..38_u8, 0..40_u64, 0..6_u64).prop_map(|(key, group, consumer, kind, n, m)| {
        let mode = ["KEEPREF", "DELREF", "ACKED"][n as usize % 3];
        match kind {
            0..6 => format!("XADD {key} * f {n} g {m}"),
            6 => format!("XADD {key} MAXLEN {m} {}-{n} only {m}", 1_700_000_000_000 + n),
            7 => format!("XADD {key} MAXLEN ~ {m} * f {n}"),
            8 => format!("XTRIM {key} MINID {}", 1_700_000_000_000 + n * 10),
            9 => format!("XDEL {key} {0} {0}-1 {0}-2", 1_700_000_000_000 + n * 10),
            10 => format!("XGROUP CREATE {key} {group} {} MKSTREAM", if m > 2 { "$" } else { "0" }),
            11 => format!("XGROUP SETID {key} {group} {}", 1_700_000_000_000 + n * 10),
            12 if m == 0 => format!("XGROUP DESTROY {key} {group}"),
            12 => format!("XGROUP DELCONSUMER {key} {group} {consumer}"),
            13..16 => format!("XREADGROUP GROUP {group} {consumer} COUNT {m} STREAMS {key} >"),
            16 => format!("XREADGROUP GROUP {group} {consumer} COUNT {m} BLOCK {n} STREAMS {key} s > >"),
            17 => format!("XREADGROUP GROUP {group} {consumer} NOACK COUNT {m} STREAMS {key} >"),
            18 => format!("XREADGROUP GROUP {group} {consumer} COUNT {m} STREAMS {key} 0"),
            19 => format!("XACK {key} {group} {0} {0}-1 {0}-2", 1_700_000_000_000 + n * 10),
            20 => format!("XCLAIM {key} {group} {consumer} {m} {} FORCE", 1_700_000_000_000 + n * 10),
            21 => {
                format!("XCLAIM {key} {group} {consumer} 0 {0} JUSTID LASTID {0}", 1_700_000_000_000 + n * 10)
            }
            22 => format!("XAUTOCLAIM {key} {group} {consumer} {n} 0 COUNT {}", m + 1),
            23 if m == 0 => format!("RENAME {key} s"),
            23 => format!("XSETID {key} {}", 1_700_000_000_000 + n * 10),
            26 => format!("XDELEX {key} {mode} IDS 2 {0} {0}-1", 1_700_000_000_000 + n * 10),
            27 => format!("XACKDEL {key} {group} {mode} IDS 2 {0} {0}-1", 1_700_000_000_000 + n * 10),
            28 => format!("XTRIM {key} MAXLEN {} {m} {mode}", if n % 2 == 0 { "~" } else { "=" }),
            29 => format!("XADD {key} {mode} MAXLEN {m} * f {n}"),
            30 => {
                let mode = ["SILENT", "FAIL", "FATAL"][m as usize % 3];
                format!("XNACK {key} {group} {mode} IDS 2 {0} {0}-1 FORCE", 1_700_000_000_000 + n * 10)
            }
            31..33 => {
                format!("XREADGROUP GROUP {group} {consumer} BLOCK {n} CLAIM {n} MAXCOUNT 3 STREAMS {key} >")
            }
            33 => format!("XADD {key} IDMP {consumer} {m} * f {n}"),
            34 => format!("XADD {key} IDMPAUTO {consumer} * f {m}"),
            35 => format!("XIDMPRECORD {key} {consumer} {m} {}", 1_700_000_000_000 + n * 10),
            36 => format!("XCFGSET {key} IDMP-DURATION 1 IDMP-MAXSIZE {}", m % 3 + 1),
            24 => ["MULTI", "EXEC", "DISCARD"][m as usize % 3].to_owned(),
            _ => format!("XREAD BLOCK {n} STREAMS {key} $"),
        }
    })
}

/// Sessions that the last call answered wait no more.
fn forget_served(world: &World, waiting: &mut HashSet<u64>) {
    waiting.retain(|&id| world.out.deliveries.iter().all(|delivery| delivery.to != SessionId::new(id)));
}

/// The pending entries of a group are those of its consumers.
fn assert_pending_agree(world: &mut World) {
    for group in ["g", "h"] {
        let list = |world: &mut World, of: &str| {
            let reply = world.run(4, &format!("XPENDING s {group} - + 1000{of}"));
            reply.strip_prefix('*').and_then(|reply| reply.split(' ').next()?.parse::<usize>().ok())
        };
        let Some(all) = list(world, "") else { continue };
        // What was given back is nobody's.
        let released = world.run(4, &format!("XPENDING s {group} - + 1000")).matches(" :-1 ").count();
        let own: usize = [" c", " d"].iter().filter_map(|of| list(world, of)).sum();
        assert_eq!(all, own + released);
    }
}

proptest! {
    #[test]
    fn replayed_stream_records_give_the_same_state(
        commands in prop::collection::vec((1..4_u64, command(), prop_oneof![9 => 0..20_u64, 1 => 500..3000_u64]), 0..150),
    ) {
        let mut settings = Settings::default();
        settings.stream_node_max_entries = 3;
        let mut world = World::with(settings.clone());
        let mut waiting = HashSet::new();
        for (session, command, ms) in commands {
            if !waiting.contains(&session) {
                let args: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
                if world.run_args(session, &args).0 == Outcome::Blocked {
                    waiting.insert(session);
                }
                forget_served(&world, &mut waiting);
            }
            world.advance_ms(ms);
            world.tick();
            forget_served(&world, &mut waiting);
        }
        assert_pending_agree(&mut world);
        world.assert_recovers();
    }
}
