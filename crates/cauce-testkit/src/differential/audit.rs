//! What is looked at when an episode ends: everything that is left.

use std::rc::Rc;

use super::episode::{Generated, Step};
use super::side::AUDITOR;
use super::world::ALL_KEYS;

/// Reads the whole state of a server: keys, types, times to live, encodings and contents.
pub(super) fn audit(has: impl Fn(&str) -> bool) -> Step {
    let mut commands: Vec<Rc<Generated>> = Vec::new();
    let mut ask = |words: &[&str]| {
        let generated = Generated::plain(words);
        if has(&generated.name) {
            commands.push(Rc::new(generated));
        }
    };
    for database in ["1", "0"] {
        ask(&["SELECT", database]);
        ask(&["DBSIZE"]);
        ask(&["KEYS", "*"]);
        for key in ALL_KEYS {
            ask(&["TYPE", key]);
            ask(&["PEXPIRETIME", key]);
            ask(&["OBJECT", "ENCODING", key]);
            ask(&["GET", key]);
            ask(&["HGETALL", key]);
            ask(&["SMEMBERS", key]);
            ask(&["ZRANGE", key, "0", "-1", "WITHSCORES"]);
            ask(&["XRANGE", key, "-", "+"]);
            ask(&["XINFO", "STREAM", key, "FULL", "COUNT", "0"]);
        }
    }
    Step { client: AUDITOR, commands }
}
