//! Scripts: what must happen at once at the broker.

use std::sync::OnceLock;

use redis::{Cmd, Value};

use crate::backend::link::Link;
use crate::error::CommandError;

/// A script and the hash under which servers know it.
pub(crate) struct Script {
    code: &'static str,
    hash: OnceLock<String>,
}

/// A call of a script, to be sent by its hash; the arguments follow.
pub(crate) struct Invocation {
    script: &'static Script,
    keys: usize,
    arguments: Vec<Vec<u8>>,
}

impl Script {
    pub(crate) const fn new(code: &'static str) -> Self {
        Self { code, hash: OnceLock::new() }
    }

    pub(crate) fn with_keys<'a>(&'static self, keys: impl IntoIterator<Item = &'a str>) -> Invocation {
        let arguments: Vec<_> = keys.into_iter().map(|key| key.as_bytes().to_vec()).collect();
        Invocation { script: self, keys: arguments.len(), arguments }
    }

    fn hash(&self) -> &str {
        self.hash.get_or_init(|| redis::Script::new(self.code).get_hash().to_owned())
    }
}

impl Invocation {
    pub(crate) fn arg(&mut self, argument: impl Into<Vec<u8>>) -> &mut Self {
        self.arguments.push(argument.into());
        self
    }

    pub(crate) fn by_hash(&self) -> Cmd {
        self.command("EVALSHA", self.script.hash())
    }

    /// Carries the whole script, which the server then knows.
    pub(crate) fn in_full(&self) -> Cmd {
        self.command("EVAL", self.script.code)
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let size = self.arguments.iter().map(Vec::len).sum::<usize>();
        let mut command = Cmd::with_capacity(3 + self.arguments.len(), 64 + script.len() + size);
        command.arg(name).arg(script).arg(self.keys);
        for argument in &self.arguments {
            command.arg(argument.as_slice());
        }
        command
    }

    /// Runs it alone. A server that does not know the script (it was restarted, or SCRIPT FLUSH) refuses before anything is done, so
    /// sending it again in full is safe.
    ///
    /// # Errors
    /// If the broker can't be reached or refuses.
    pub(crate) async fn run(&self, link: &Link) -> Result<Value, CommandError> {
        match link.send(&self.by_hash()).await {
            Err(error) if error.is_refused("NOSCRIPT") => link.send(&self.in_full()).await,
            result => result,
        }
    }
}
