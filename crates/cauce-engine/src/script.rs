//! Scripts in Lua 5.1: what EVAL runs, in a sandbox as Redis 7 has it.
//!
//! The engine keeps the texts of scripts; each thread that runs scripts has an [`Interpreter`], which compiles them when
//! it meets them. While a script runs, the engine's state lies in the [`Bridge`] that the interpreter's `redis.call`
//! reaches; afterwards it is put back, whatever happened.
//! A script's effects are one unit of the log, time stands still while it runs, and those who wait for data are
//! served after it.

mod api;
mod bridge;
mod interpreter;
mod libraries;
mod memory;
mod number;
mod raise;
mod reply;
mod result;
mod shebang;
mod watch;
mod words;

pub(crate) use interpreter::{Interpreter, Request};
pub(crate) use watch::Watch;
pub use watch::{RunningScript, ScriptFate, ScriptWatch};

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use sha1_smol::Sha1;

use crate::random::{Rand48, Random};

/// A script's name: the hexadecimal SHA-1 of its text, in lower case.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Sha([u8; 40]);

impl Sha {
    /// The name of a script.
    pub(crate) fn of(text: &[u8]) -> Self {
        let mut hex = [0; 40];
        hex.copy_from_slice(Sha1::from(text).digest().to_string().as_bytes());
        Self(hex)
    }

    /// A name that a client sent, in any case.
    pub(crate) fn parse(name: &[u8]) -> Option<Self> {
        let hex: [u8; 40] = name.try_into().ok()?;
        Some(Self(hex.map(|byte| byte.to_ascii_lowercase())))
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Sha {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Scripts that were sent with EVAL are known by their names until there are more than this: then those go first that
/// were not used since. As Redis has it from 7.4 on; what SCRIPT LOAD loaded stays.
const EVALUATED_MAX: usize = 500;

/// The scripts that are known, and what concerns the running one.
#[derive(Debug)]
pub(crate) struct Scripts {
    texts: HashMap<Sha, Text, FixedState>,
    /// Those that nobody loaded, the oldest first.
    evaluated: VecDeque<Sha>,
    pub(crate) kept: Kept,
    seed: u32,
    pub(crate) watch: Watch,
    /// Set while others run commands beside a script.
    pub(crate) running: Option<Running>,
}

#[derive(Debug)]
struct Text {
    text: Arc<[u8]>,
    /// By SCRIPT LOAD.
    loaded: bool,
    /// Since it was last spared.
    used: bool,
}

/// What one script leaves to the next, until SCRIPT FLUSH.
#[derive(Debug)]
pub(crate) struct Kept {
    /// Of `math.random`.
    pub(crate) random: Rand48,
    pub(crate) cjson: libraries::cjson::Config,
}

impl Kept {
    fn new(seed: u32) -> Self {
        Self { random: Rand48::new(seed), cjson: libraries::cjson::Config::default() }
    }
}

/// What commands beside a running script have to know of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Running {
    /// It has written: it can't be killed.
    pub(crate) wrote: bool,
    /// `SCRIPT KILL` was accepted.
    pub(crate) kill_requested: bool,
}

impl Scripts {
    /// `seed` is what `math.random` begins with.
    pub(crate) fn new(seed: u64) -> Self {
        // Not the seed itself: scripts see what follows from it.
        let seed = Random::new(seed).below(1 << 31) as u32;
        Self {
            texts: HashMap::default(),
            evaluated: VecDeque::new(),
            kept: Kept::new(seed),
            seed,
            watch: Watch::default(),
            running: None,
        }
    }

    /// Whether a script with this name can be run.
    pub(crate) fn has(&self, sha: &Sha) -> bool {
        self.texts.contains_key(sha)
    }

    /// How many scripts can be run by their names.
    pub(crate) fn len(&self) -> usize {
        self.texts.len()
    }

    /// The text of a script that is about to be run.
    pub(crate) fn text(&mut self, sha: &Sha) -> Option<Arc<[u8]>> {
        let known = self.texts.get_mut(sha)?;
        known.used = true;
        Some(Arc::clone(&known.text))
    }

    /// Remembers a script that compiles.
    pub(crate) fn remember(&mut self, sha: Sha, text: &[u8], loaded: bool) {
        if let Some(known) = self.texts.get_mut(&sha) {
            known.loaded |= loaded;
            return;
        }
        self.texts.insert(sha, Text { text: text.into(), loaded, used: true });
        if !loaded {
            self.evaluated.push_back(sha);
            self.make_room();
        }
    }

    fn make_room(&mut self) {
        while self.evaluated.len() > EVALUATED_MAX
            && let Some(sha) = self.evaluated.pop_front()
        {
            match self.texts.get_mut(&sha) {
                Some(known) if known.loaded => {}
                Some(known) if known.used => {
                    known.used = false;
                    self.evaluated.push_back(sha);
                }
                _ => {
                    self.texts.remove(&sha);
                }
            }
        }
    }

    /// Forgets all scripts, and what they left behind.
    pub(crate) fn flush(&mut self) {
        self.texts.clear();
        self.evaluated.clear();
        self.kept = Kept::new(self.seed);
        Interpreter::forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sha(n: usize) -> Sha {
        Sha::of(format!("return {n}").as_bytes())
    }

    #[test]
    fn the_oldest_scripts_that_were_not_used_again_are_forgotten() {
        let mut scripts = Scripts::new(0);
        scripts.remember(sha(0), b"", true);
        for n in 1..=EVALUATED_MAX {
            scripts.remember(sha(n), b"", false);
        }
        // A round in which all are spared, but for the oldest.
        scripts.remember(sha(1001), b"", false);
        assert!(!scripts.has(&sha(1)));
        scripts.text(&sha(2)).expect("it is known");
        scripts.remember(sha(1002), b"", false);
        assert!(scripts.has(&sha(2)) && !scripts.has(&sha(3)), "what was used is spared");
        for n in 2000..4000 {
            scripts.remember(sha(n), b"", false);
        }
        assert!(scripts.has(&sha(0)), "what was loaded stays");
        assert_eq!(scripts.texts.len(), EVALUATED_MAX + 1);
        scripts.flush();
        assert!(!scripts.has(&sha(0)) && scripts.evaluated.is_empty());
    }
}
