//! Scripts: what must happen at once at the broker.

use std::sync::OnceLock;

use redis::Value;

use crate::backend::command::each_id;
use crate::backend::link::Link;
use crate::backend::replies::Replies;
use crate::backend::request::{Request, push_bulk};
use crate::entry::{EntryId, Fields};
use crate::error::CommandError;

/// Keys and short arguments take less.
const USUAL_LENGTH: usize = 256;

/// A script and the hash under which servers know it.
pub(crate) struct Script {
    code: &'static str,
    /// A command that does the same with the same arguments, where the broker has commands for queues.
    command: Option<&'static str>,
    hash: OnceLock<String>,
}

/// A call of a script, to be sent by its hash (or as the command that does the same); the arguments follow.
pub(crate) struct Invocation {
    script: &'static Script,
    keys: usize,
    arguments: usize,
    /// Keys and arguments, in the bytes of the wire.
    bulks: Vec<u8>,
}

impl Script {
    pub(crate) const fn new(code: &'static str) -> Self {
        Self::or_command(code, None)
    }

    /// With a command of brokers with commands for queues that does the same, takes the same and replies the same.
    pub(crate) const fn or_command(code: &'static str, command: Option<&'static str>) -> Self {
        Self { code, command, hash: OnceLock::new() }
    }

    pub(crate) fn with_keys<'a>(&'static self, keys: impl IntoIterator<Item = &'a str>) -> Invocation {
        let bulks = Vec::with_capacity(USUAL_LENGTH);
        let mut invocation = Invocation { script: self, keys: 0, arguments: 0, bulks };
        for key in keys {
            invocation.arg(key);
        }
        invocation.keys = invocation.arguments;
        invocation
    }

    fn hash(&self) -> &str {
        self.hash.get_or_init(|| redis::Script::new(self.code).get_hash().to_owned())
    }
}

impl Invocation {
    pub(crate) fn arg(&mut self, argument: impl AsRef<[u8]>) -> &mut Self {
        push_bulk(&mut self.bulks, argument.as_ref());
        self.arguments += 1;
        self
    }

    pub(crate) fn number(&mut self, number: u64) -> &mut Self {
        self.arg(itoa::Buffer::new().format(number))
    }

    /// As `1` or `0`.
    pub(crate) fn flag(&mut self, flag: bool) -> &mut Self {
        self.arg(if flag { "1" } else { "0" })
    }

    /// Ids of entries, without an allocation for each.
    pub(crate) fn ids(&mut self, ids: impl IntoIterator<Item = EntryId>) -> &mut Self {
        each_id(ids, |id| {
            self.arg(id);
        });
        self
    }

    /// Names and values.
    pub(crate) fn fields(&mut self, fields: &Fields) -> &mut Self {
        self.bulks.extend_from_slice(fields.bulks());
        self.arguments += 2 * fields.len();
        self
    }

    /// Adds it to a request, in the shortest form that the broker at the other end knows.
    pub(crate) fn short(&self, request: &mut Request, link: &Link) {
        match self.script.command {
            Some(command) if link.has_queues() => {
                request.command(1 + self.arguments).arg(command).packed(&self.bulks);
            }
            _ => self.write(request, "EVALSHA", self.script.hash()),
        }
    }

    /// Whether the broker refused the short form before anything was done, so that it is safe to be sent [in full](Self::call_in_full): a
    /// server that does not know the script was restarted, or told SCRIPT FLUSH; one that does not know the command is another one.
    pub(crate) fn is_unknown(&self, error: &CommandError, link: &Link) -> bool {
        let is_no_command = self.script.command.is_some() && error.is_no_command() && link.has_queues();
        if is_no_command {
            link.renounce_queues();
        }
        is_no_command || error.is_refused("NOSCRIPT")
    }

    fn write(&self, request: &mut Request, name: &str, script: &str) {
        request
            .command(3 + self.arguments)
            .arg(name)
            .arg(script)
            .number(self.keys as u64)
            .packed(&self.bulks);
    }

    /// Runs it alone.
    ///
    /// # Errors
    /// If the broker can't be reached or refuses.
    pub(crate) async fn call(&self, link: &Link) -> Result<Replies, CommandError> {
        let mut request = Request::with_capacity(USUAL_LENGTH + self.bulks.len());
        self.short(&mut request, link);
        match link.call(&request).await?.checked() {
            Err(error) if self.is_unknown(&error, link) => self.call_in_full(link).await,
            result => result,
        }
    }

    /// As [`call`](Self::call); the reply as a tree.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub(crate) async fn run(&self, link: &Link) -> Result<Value, CommandError> {
        self.call(link).await?.tree()
    }

    /// With the whole script, which the server then knows.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub(crate) async fn call_in_full(&self, link: &Link) -> Result<Replies, CommandError> {
        let mut request = Request::default();
        self.write(&mut request, "EVAL", self.script.code);
        link.call(&request).await?.checked()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_written_in_full() {
        static SCRIPT: Script = Script::new("return 1");
        let mut call = SCRIPT.with_keys(["s"]);
        call.ids([EntryId::new(u64::MAX, u64::MAX), EntryId::new(1, 0)]);
        let packed = String::from_utf8(call.bulks).unwrap();
        assert!(packed.contains("18446744073709551615-18446744073709551615"), "{packed}");
        assert!(packed.ends_with("$3\r\n1-0\r\n"), "{packed}");
    }
}
