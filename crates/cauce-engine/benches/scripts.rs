//! What a script costs: nanoseconds per run, through the engine.
//!
//! `cargo bench -p cauce-engine --bench scripts -- [NAME]`. Each figure is the best of several rounds on one thread.

use std::time::{Duration, Instant};

use cauce_engine::{Engine, Outcome, Outputs, SessionId, SessionInfo, Settings, Timestamp};

const RUNS: u32 = 100_000;
const ROUNDS: usize = 9;
const START_MS: u64 = 1_700_000_000_000;
const CLIENT: SessionId = SessionId::new(1);

/// RSMQ's receive, as `cauce bench --only receive` runs it.
const RECEIVE: &str = r#"
local due = redis.call("ZRANGEBYSCORE", KEYS[1], "-inf", KEYS[2], "LIMIT", "0", "1")
if #due == 0 then
  return {}
end
local id, hash = due[1], KEYS[1] .. ":Q"
redis.call("ZADD", KEYS[1], KEYS[3], id)
redis.call("HINCRBY", hash, "totalrecv", 1)
local body = redis.call("HGET", hash, id)
local count = redis.call("HINCRBY", hash, id .. ":rc", 1)
local reply = { id, body, count }
if count == 1 then
  redis.call("HSET", hash, id .. ":fr", KEYS[2])
  table.insert(reply, KEYS[2])
else
  table.insert(reply, redis.call("HGET", hash, id .. ":fr"))
end
return reply
"#;

fn main() {
    let only = std::env::args().nth(1).filter(|arg| !arg.starts_with("--")).unwrap_or_default();
    let scripts: [(&str, &str); 7] = [
        ("nothing", "return 1"),
        ("arithmetic", "local n = 0 for i = 1, 100 do n = n + i end return n"),
        ("strings", "local s = '' for i = 1, 10 do s = s .. i end return s"),
        ("keys", "return {KEYS[1], KEYS[2], KEYS[3]}"),
        ("get", "return redis.call('GET', 'text')"),
        ("set", "return redis.call('SET', 'text', KEYS[2])"),
        ("receive", RECEIVE),
    ];
    for (name, script) in scripts {
        if name.contains(&only) {
            report(name, script);
        }
    }
    if "commands".contains(&only) {
        commands();
    }
}

/// An engine with a queue of a thousand messages.
fn engine() -> (Engine, Outputs) {
    let mut engine = Engine::new(Settings::default());
    engine.open_session(Timestamp::from_millis(START_MS), CLIENT, SessionInfo::default());
    let mut out = Outputs::default();
    for n in 0..1000 {
        let id = format!("{n:032}");
        run(&mut engine, &mut out, &["ZADD", "queue", "1700000000000", &id]);
        run(&mut engine, &mut out, &["HSET", "queue:Q", &id, &"m".repeat(64)]);
    }
    (engine, out)
}

fn run(engine: &mut Engine, out: &mut Outputs, args: &[&str]) {
    let args: Vec<&[u8]> = args.iter().map(|arg| arg.as_bytes()).collect();
    apply(engine, out, &args);
    assert!(!out.replies.starts_with(b"-"), "{}", String::from_utf8_lossy(&out.replies));
}

fn apply(engine: &mut Engine, out: &mut Outputs, args: &[&[u8]]) {
    out.clear();
    assert_eq!(engine.apply(Timestamp::from_millis(START_MS), CLIENT, args, out), Outcome::Replied);
}

/// Nanoseconds per operation, of the best round.
fn best(mut round: impl FnMut()) -> f64 {
    let timed = |_| {
        let from = Instant::now();
        round();
        from.elapsed()
    };
    let best = (0..ROUNDS).map(timed).min().unwrap_or(Duration::ZERO);
    best.as_nanos() as f64 / f64::from(RUNS)
}

fn report(name: &str, script: &str) {
    let (mut engine, mut out) = engine();
    run(&mut engine, &mut out, &["SET", "text", "value"]);
    run(&mut engine, &mut out, &["SCRIPT", "LOAD", script]);
    let sha = String::from_utf8_lossy(&out.replies).lines().nth(1).unwrap_or_default().to_owned();
    let args = ["EVALSHA", &sha, "3", "queue", "1700000000000", "1700000000000"];
    run(&mut engine, &mut out, &args);
    let args = args.map(str::as_bytes);
    let nanos = best(|| (0..RUNS).for_each(|_| apply(&mut engine, &mut out, &args)));
    println!("{name:<44} {nanos:>8.1} ns");
}

/// The commands of RSMQ's receive without a script.
fn commands() {
    let (mut engine, mut out) = engine();
    let (id, body, count) = (format!("{:032}", 0), format!("{:032}:fr", 0), format!("{:032}:rc", 0));
    let commands: [Vec<&[u8]>; 6] = [
        vec![b"ZRANGEBYSCORE", b"queue", b"-inf", b"1700000000000", b"LIMIT", b"0", b"1"],
        vec![b"ZADD", b"queue", b"1700000000000", id.as_bytes()],
        vec![b"HINCRBY", b"queue:Q", b"totalrecv", b"1"],
        vec![b"HGET", b"queue:Q", id.as_bytes()],
        vec![b"HINCRBY", b"queue:Q", count.as_bytes(), b"1"],
        vec![b"HGET", b"queue:Q", body.as_bytes()],
    ];
    let nanos = best(|| {
        for _ in 0..RUNS {
            commands.iter().for_each(|command| apply(&mut engine, &mut out, command));
        }
    });
    println!("{:<44} {nanos:>8.1} ns", "commands of receive, without a script");
}
