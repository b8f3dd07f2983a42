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

/// The lines that only one of them has, at their place.
fn difference(redis: &Seen, cauce: &Seen) -> String {
    let mut text = String::from("the servers differ\n");
    for place in 0..redis.len().max(cauce.len()) {
        let (expected, found) = (redis.get(place), cauce.get(place));
        if expected != found {
            let none = String::from("(nothing)");
            let (expected, found) = (expected.unwrap_or(&none), found.unwrap_or(&none));
            writeln!(text, "  redis-server: {expected}\n  cauce:        {found}").expect("a String takes it");
        }
    }
    text
}
