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
    hash: OnceLock<String>,
}

/// A call of a script, to be sent by its hash; the arguments follow.
pub(crate) struct Invocation {
    script: &'static Script,
    keys: usize,
    arguments: usize,
    /// Keys and arguments, in the bytes of the wire.
    bulks: Vec<u8>,
}

impl Script {
    pub(crate) const fn new(code: &'static str) -> Self {
        Self { code, hash: OnceLock::new() }
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

    pub(crate) fn by_hash(&self, request: &mut Request) {
        self.write(request, "EVALSHA", self.script.hash());
    }

    fn write(&self, request: &mut Request, name: &str, script: &str) {
        request
            .command(3 + self.arguments)
            .arg(name)
            .arg(script)
            .number(self.keys as u64)
            .packed(&self.bulks);
    }

    /// Runs it alone. A server that does not know the script (it was restarted, or SCRIPT FLUSH) refuses before anything is done, so
    /// sending it again in full is safe.
    ///
    /// # Errors
    /// If the broker can't be reached or refuses.
    pub(crate) async fn call(&self, link: &Link) -> Result<Replies, CommandError> {
        let mut request = Request::with_capacity(USUAL_LENGTH + self.bulks.len());
        self.by_hash(&mut request);
        match link.call(&request).await?.checked() {
            Err(error) if error.is_refused("NOSCRIPT") => self.call_in_full(link).await,
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
