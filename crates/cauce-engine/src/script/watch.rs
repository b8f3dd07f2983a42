//! Who watches scripts that do not end. The engine has no clock, so its owner looks.

use std::fmt;

/// What becomes of a running script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScriptFate {
    /// It goes on.
    Continue,
    /// It ends now, with the error of `SCRIPT KILL`. A script that has written is ended only because the process
    /// ends: half of its effects would be seen otherwise.
    Kill,
}

/// Looks at a running script now and then: about every 100,000 instructions and every 64 commands.
pub trait ScriptWatch: Send {
    /// A script begins.
    fn begin(&mut self);

    /// A script is still running; `wrote` says whether it has changed anything. May take its time.
    fn poll(&mut self, wrote: bool) -> ScriptFate;

    /// The script has ended.
    fn end(&mut self);
}

/// The watch that was handed in, if any.
#[derive(Default)]
pub(crate) struct Watch(pub(crate) Option<Box<dyn ScriptWatch>>);

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watch").field(&self.0.is_some()).finish()
    }
}
