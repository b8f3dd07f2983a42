//! Runs a check on both servers and compares what it saw.

use std::fmt::Write;

use crate::server::{Program, Server};

/// What a check saw, in order: one observation per line.
pub(crate) type Seen = Vec<String>;

/// Says what was seen: `say!(seen, "section step", value)`, with the value's debug form.
macro_rules! say {
    ($seen:expr, $step:expr, $value:expr) => {
        $seen.push(format!("{} => {:?}", $step, $value))
    };
}
pub(crate) use say;

/// Runs the check on a fresh redis-server and on a fresh broker of ours; panics with the differing lines if they did
/// not show the same. Returns what both showed.
pub(crate) fn same_on_both(check: impl Fn(&mut Server) -> Seen) -> Seen {
    compare(Program::ALL.map(|program| check(&mut Server::start(program))))
}

/// The same on servers that want a password and listen on a Unix socket too.
pub(crate) fn same_on_both_protected(check: impl Fn(&mut Server) -> Seen) -> Seen {
    compare(Program::ALL.map(|program| check(&mut Server::start_protected(program))))
}

/// The same for checks that are async.
pub(crate) fn same_on_both_async(check: &impl AsyncFn(&mut Server) -> Seen) -> Seen {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    same_on_both(|server| runtime.block_on(check(server)))
}

fn compare([redis, cauce]: [Seen; 2]) -> Seen {
    assert!(!redis.is_empty(), "the check saw nothing");
    assert!(redis == cauce, "{}", difference(&redis, &cauce));
    redis
}

/// What stands between the first and the last line that differ.
fn difference(redis: &Seen, cauce: &Seen) -> String {
    let same_start = redis.iter().zip(cauce).take_while(|(a, b)| a == b).count();
    let (redis, cauce) = (&redis[same_start..], &cauce[same_start..]);
    let same_end = redis.iter().rev().zip(cauce.iter().rev()).take_while(|(a, b)| a == b).count();
    let mut text = format!("the servers differ from line {}\n", same_start + 1);
    for (name, lines) in [("redis-server", redis), ("cauce", cauce)] {
        for line in &lines[..lines.len() - same_end] {
            writeln!(text, "  {name:12} {line}").expect("a String takes it");
        }
    }
    text
}
