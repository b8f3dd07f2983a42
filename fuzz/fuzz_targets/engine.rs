//! Any commands, one per line: the engine never panics, and its records rebuild its state.

#![no_main]

use cauce_engine::{Engine, Outcome, Outputs, SessionId, SessionInfo, Settings, Timestamp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let (mut now, session) = (Timestamp::from_millis(1_360_281_600_000), SessionId::new(1));
    let (mut engine, mut again) = (Engine::new(Settings::default()), Engine::new(Settings::default()));
    engine.open_session(now, session, SessionInfo::default());
    let mut out = Outputs::default();
    for line in input.split(|byte| *byte == b'\n') {
        let args: Vec<&[u8]> = line.split(|byte| *byte == b' ').filter(|arg| !arg.is_empty()).collect();
        if args.is_empty() {
            continue;
        }
        out.clear();
        let outcome = engine.apply(now, session, &args, &mut out);
        now = now.saturating_add(std::time::Duration::from_millis(1));
        engine.tick(now, &mut out);
        for record in out.records.iter() {
            again.replay(record).expect("the engine reads what it writes");
        }
        if outcome != Outcome::Replied {
            engine.close_session(session);
            engine.open_session(now, session, SessionInfo::default());
        }
    }
    assert!(engine.dump() == again.dump(), "the replayed state differs");
});
