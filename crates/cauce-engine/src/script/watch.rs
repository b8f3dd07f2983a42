//! Who watches scripts that do not end. The engine has no clock, so its owner looks.

use std::fmt;
use std::time::Duration;

use super::bridge::Bridge;
use crate::outputs::{Outcome, Outputs};
use crate::session::{SessionId, SessionInfo};

/// What becomes of a running script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScriptFate {
    /// It goes on.
    Continue,
    /// It ends now, with the error of `SCRIPT KILL`. A script that has written is to be ended only because the process
    /// ends: half of its effects would be seen otherwise.
    Kill,
}

/// Looks at a running script now and then: about every 100,000 instructions and every 64 commands, as often as Redis
/// does. A script that is inside one long command or one long function of Lua is not looked at.
pub trait ScriptWatch: Send {
    /// A script begins. Others may be told that the engine is busy when it takes longer than `threshold`; never, if
    /// that is `None`.
    fn begin(&mut self, threshold: Option<Duration>);

    /// A script is still running.
    fn poll(&mut self, script: &mut RunningScript<'_>) -> ScriptFate;

    /// The script has ended.
    fn end(&mut self);
}

/// A script that is running, and what can be done meanwhile.
#[derive(Debug)]
pub struct RunningScript<'a> {
    bridge: &'a mut Bridge,
}

impl<'a> RunningScript<'a> {
    pub(super) fn new(bridge: &'a mut Bridge) -> Self {
        Self { bridge }
    }

    /// Whether it has changed anything, or may have.
    #[must_use]
    pub fn wrote(&self) -> bool {
        self.bridge.wrote()
    }

    /// Whether `SCRIPT KILL` was accepted.
    #[must_use]
    pub fn kill_requested(&self) -> bool {
        self.bridge.kill_requested()
    }

    /// Takes in a new connection; see [`crate::Engine::open_session`].
    pub fn open_session(&mut self, id: SessionId, info: SessionInfo) {
        self.bridge.open_session(id, info);
    }

    /// Lets a connection go; see [`crate::Engine::close_session`]. Not the one whose script runs.
    pub fn close_session(&mut self, id: SessionId) {
        self.bridge.close_session(id);
    }

    /// Runs a command of another session, if it is one of those that are allowed meanwhile; all others are answered
    /// with `BUSY`. Its replies are appended to `out`; it changes no key.
    pub fn apply(&mut self, by: SessionId, args: &[&[u8]], out: &mut Outputs) -> Outcome {
        self.bridge.apply_meanwhile(by, args, out)
    }
}

/// The watch that was handed in, if any.
#[derive(Default)]
pub(crate) struct Watch(pub(crate) Option<Box<dyn ScriptWatch>>);

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watch").field(&self.0.is_some()).finish()
    }
}
