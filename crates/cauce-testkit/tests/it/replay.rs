//! Any commands, right and wrong, on the engine alone: the differential tester's table, with arguments that were spoiled, waiting
//! clients, transactions and keys whose time runs out. Nothing panics, everything that is sent is RESP of the session's
//! protocol, and replaying the records gives the state that the commands gave, bit for bit.

use std::collections::BTreeSet;

use cauce_engine::{DeliveryKind, Engine, Outcome, Outputs, SessionId, SessionInfo, Settings, Timestamp};
use cauce_testkit::differential;
use cauce_testkit::wire::{Value, decode};

const SESSIONS: usize = 5;
/// Commands of one history.
const COMMANDS: usize = 400;
/// Histories, if the environment does not say how many.
const HISTORIES: u64 = 50;

#[test]
fn any_commands_are_answered_in_resp_and_replay_to_their_state() {
    let histories = std::env::var("CAUCE_HISTORIES").ok().and_then(|text| text.parse().ok());
    let histories = histories.unwrap_or(HISTORIES);
    let records: usize = (0..histories).map(check).sum();
    assert!(records > histories as usize * COMMANDS / 15, "only {records} records: the commands do nothing");
}

/// What takes the place of an argument, so that no parser gets only what it expects.
const JUNK: [&[u8]; 14] = [
    b"",
    b"-1",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"18446744073709551616",
    b"1e400",
    b"nan",
    b"\xff\x00\r\n",
    b"18446744073709551615-18446744073709551615",
    b"(",
    b"[",
    b"COUNT",
    b"STREAMS",
    b"a",
];

/// One argument of every eighth command is something else; no session changes its protocol.
fn spoil(rng: &mut fastrand::Rng, args: &mut Vec<Vec<u8>>) {
    if args[0].eq_ignore_ascii_case(b"HELLO") || args[0].eq_ignore_ascii_case(b"RESET") {
        args.truncate(1);
        args[0] = b"DISCARD".to_vec();
    }
    if rng.u8(..8) > 0 {
        return;
    }
    let junk = JUNK[rng.usize(..JUNK.len())].to_vec();
    match rng.usize(1..=args.len()) {
        end if end == args.len() => args.push(junk),
        at => args[at] = junk,
    }
}

/// Whole frames of the protocol, and nothing behind them; gives how many.
fn frames(mut bytes: &[u8], resp3: bool, context: &dyn Fn() -> String) -> usize {
    let mut count = 0;
    while !bytes.is_empty() {
        let decoded = decode(bytes).unwrap_or_else(|error| panic!("{error}: {}", context()));
        let (value, length) = decoded.unwrap_or_else(|| panic!("half a frame: {}", context()));
        assert!(is_of(&value, resp3), "{value} is not of the session's protocol: {}", context());
        bytes = &bytes[length..];
        count += 1;
    }
    count
}

/// Whether a frame may be sent in a protocol.
fn is_of(value: &Value, resp3: bool) -> bool {
    match value {
        Value::Simple(_) | Value::Error(_) | Value::Integer(_) | Value::Bulk(_) => true,
        Value::NullBulk | Value::NullArray => !resp3,
        Value::Array(items) => items.iter().all(|item| is_of(item, resp3)),
        Value::Set(items) | Value::Push(items) => resp3 && items.iter().all(|item| is_of(item, resp3)),
        Value::Map(pairs) => {
            resp3 && pairs.iter().all(|(key, value)| is_of(key, resp3) && is_of(value, resp3))
        }
        _ => resp3,
    }
}

/// Gives the number of records.
fn check(seed: u64) -> usize {
    let mut now = Timestamp::from_millis(1_360_281_600_000);
    let mut engine = Engine::new(Settings::default());
    let mut out = Outputs::default();
    let mut records: Vec<Vec<u8>> = Vec::new();
    let mut waiting: BTreeSet<SessionId> = BTreeSet::new();
    let sessions: Vec<SessionId> = (1..=SESSIONS as u64).map(SessionId::new).collect();
    let resp3 = |session: SessionId| (session.number() + seed).is_multiple_of(2);
    let mut rng = fastrand::Rng::with_seed(seed);
    for session in &sessions {
        engine.open_session(now, *session, SessionInfo::default());
        greet(&mut engine, now, *session, resp3(*session));
    }
    let opening =
        ["XGROUP CREATE a g 0 MKSTREAM", "XGROUP CREATE b g 0 MKSTREAM", "XGROUP CREATE c h $ MKSTREAM"];
    let opening = opening.into_iter().map(|command| (0, words(command)));
    let random = differential::commands(seed, SESSIONS).take(COMMANDS).enumerate();
    // What is begun is ended, or everybody would soon be in a transaction or listening.
    let random = random.flat_map(|(index, (client, args))| {
        let end = match index / 4 % 8 {
            0 => "UNSUBSCRIBE",
            1 => "PUNSUBSCRIBE",
            2 => "SUNSUBSCRIBE",
            _ => "EXEC",
        };
        let end = (index % 4 == 0).then(|| (client, words(end)));
        [Some((client, args)), end].into_iter().flatten()
    });
    for (client, mut args) in opening.chain(random) {
        let session = sessions[client];
        if !waiting.contains(&session) {
            spoil(&mut rng, &mut args);
            let context = || format!("seed {seed}: {}", String::from_utf8_lossy(&args.join(&b' ')));
            let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            out.clear();
            let outcome = engine.apply(now, session, &args, &mut out);
            let replies = frames(&out.replies, resp3(session), &context);
            if outcome == Outcome::Blocked {
                waiting.insert(session);
            } else {
                assert!(replies > 0, "no answer: {}", context());
            }
            for delivery in &out.deliveries {
                let bytes = &out.shared[delivery.bytes.clone()];
                frames(bytes, resp3(delivery.to), &context);
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
            greet(&mut engine, now, first, resp3(first));
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

/// Chooses the protocol.
fn greet(engine: &mut Engine, now: Timestamp, session: SessionId, resp3: bool) {
    let protocol: &[u8] = if resp3 { b"3" } else { b"2" };
    let outcome = engine.apply(now, session, &[b"HELLO", protocol], &mut Outputs::default());
    assert_eq!(outcome, Outcome::Replied);
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
