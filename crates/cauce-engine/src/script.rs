//! Scripts in Lua 5.1: what EVAL runs, in a sandbox as Redis 7 has it.
//!
//! One interpreter lives as long as the engine (or until SCRIPT FLUSH). While a script runs, the engine's state
//! lies in the [`Bridge`] that the interpreter's `redis.call` reaches; afterwards it is put back, whatever happened.
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

use std::fmt;

use sha1_smol::Sha1;

use crate::random::Random;

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

/// The interpreter, if a script was used since the start or the last flush.
#[derive(Debug, Default)]
pub(crate) struct Scripts {
    interpreter: Option<Box<Interpreter>>,
    pub(crate) watch: Watch,
    /// Set while others run commands beside a script.
    pub(crate) running: Option<Running>,
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
    /// Takes the interpreter out, to run a script with the state that holds it. `seed` is what `math.random` begins with
    /// in a new one.
    pub(crate) fn take(&mut self, seed: u64) -> Box<Interpreter> {
        self.interpreter.take().unwrap_or_else(|| {
            // Not the seed itself: scripts see what follows from it.
            let seed = Random::new(seed).below(1 << 31);
            Box::new(Interpreter::new(seed as u32))
        })
    }

    pub(crate) fn put_back(&mut self, interpreter: Box<Interpreter>) {
        self.interpreter = Some(interpreter);
    }

    /// Whether a script with this name can be run.
    pub(crate) fn has(&self, sha: &Sha) -> bool {
        self.interpreter.as_ref().is_some_and(|interpreter| interpreter.has(sha))
    }

    /// Forgets all scripts, and with them everything that they left in the interpreter.
    pub(crate) fn flush(&mut self) {
        self.interpreter = None;
    }
}
