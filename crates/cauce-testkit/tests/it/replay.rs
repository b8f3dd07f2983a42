//! Replaying the records of any commands gives the state that the commands gave, bit for bit: the differential tester's table
//! of commands on the engine alone, with waiting clients, transactions and keys whose time runs out.

use std::collections::BTreeSet;

use cauce_engine::{DeliveryKind, Engine, Outcome, Outputs, SessionId, SessionInfo, Settings, Timestamp};
use cauce_testkit::differential;

const SESSIONS: usize = 5;
const COMMANDS: usize = 400;

#[test]
fn replayed_records_are_the_state_after_any_commands() {
    let records: usize = (0..40).map(check).sum();
    assert!(records > 40 * COMMANDS / 10, "only {records} records: the commands do nothing");
}

/// Gives the number of records.
fn check(seed: u64) -> usize {
    let mut now = Timestamp::from_millis(1_360_281_600_000);
    let mut engine = Engine::new(Settings::default());
    let mut out = Outputs::default();
    let mut records: Vec<Vec<u8>> = Vec::new();
    let mut waiting: BTreeSet<SessionId> = BTreeSet::new();
    let sessions: Vec<SessionId> = (1..=SESSIONS as u64).map(SessionId::new).collect();
    for session in &sessions {
        engine.open_session(now, *session, SessionInfo::default());
    }
    let opening =
        ["XGROUP CREATE a g 0 MKSTREAM", "XGROUP CREATE b g 0 MKSTREAM", "XGROUP CREATE c h $ MKSTREAM"];
    let opening = opening.into_iter().map(|command| (0, words(command)));
    let random = differential::commands(seed, SESSIONS).take(COMMANDS).enumerate();
    // What is begun is ended, or everybody would soon be in a transaction or listening.
    let random = random.flat_map(|(index, (client, args))| {
        let end = if index % 20 == 0 { "RESET" } else { "EXEC" };
        let end = (index % 4 == 0).then(|| (client, words(end)));
        [Some((client, args)), end].into_iter().flatten()
    });
    for (client, args) in opening.chain(random) {
        let session = sessions[client];
        if !waiting.contains(&session) {
            let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            out.clear();
            if engine.apply(now, session, &args, &mut out) == Outcome::Blocked {
                waiting.insert(session);
            }
            take(&out, &mut records, &mut waiting);
        }
        now = now.saturating_add(std::time::Duration::from_millis(1));
        out.clear();
        engine.tick(now, &mut out);
        take(&out, &mut records, &mut waiting);
        if waiting.len() == SESSIONS {
            // Everybody waits: one is let go, as a client that disconnects.
            let first = *waiting.iter().next().expect("it is not empty");
            engine.close_session(first);
            engine.open_session(now, first, SessionInfo::default());
            waiting.remove(&first);
        }
    }
    for _ in 0..2 {
        let mut again = Engine::new(Settings::default());
        for record in &records {
            again.replay(record).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        }
        assert!(again.dump() == engine.dump(), "seed {seed}: the replayed state differs");
        assert_eq!(again.position(), engine.position(), "seed {seed}");
    }
    records.len()
}

fn words(command: &str) -> Vec<Vec<u8>> {
    command.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

/// Keeps what was recorded, and notes who no longer waits.
fn take(out: &Outputs, records: &mut Vec<Vec<u8>>, waiting: &mut BTreeSet<SessionId>) {
    records.extend(out.records.iter().map(<[u8]>::to_vec));
    for delivery in &out.deliveries {
        if delivery.kind == DeliveryKind::Unblocked {
            waiting.remove(&delivery.to);
        }
    }
}
