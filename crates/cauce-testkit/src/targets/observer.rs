//! A connection of its own that looks at the server from outside: who is blocked, and a clean beginning for the next case.

use std::collections::HashMap;

use crate::wire::{Connection, Value, WireError, encode};

/// See the module.
#[derive(Debug)]
pub struct Observer {
    connection: Connection,
}

impl Observer {
    pub(super) fn new(connection: Connection) -> Observer {
        Observer { connection }
    }

    /// Runs a command on the observing connection.
    ///
    /// # Errors
    ///
    /// [`WireError`] if the server does not answer.
    pub fn call(&mut self, args: &[&str]) -> Result<Value, WireError> {
        self.connection.call(args)
    }

    /// Runs several in one write.
    ///
    /// # Errors
    ///
    /// As [`Observer::call`].
    pub fn calls(&mut self, commands: &[Vec<&str>]) -> Result<Vec<Value>, WireError> {
        let mut bytes = Vec::new();
        for command in commands {
            encode(command, &mut bytes);
        }
        self.connection.send_raw(&bytes)?;
        commands.iter().map(|_| self.connection.receive()).collect()
    }

    /// Removes every key.
    ///
    /// # Errors
    ///
    /// As [`Observer::call`].
    pub fn flush(&mut self) -> Result<(), WireError> {
        self.call(&["FLUSHALL"]).map(drop)
    }

    /// For each of these client ids, whether it waits in a blocking command; one that is gone does not.
    ///
    /// # Errors
    ///
    /// As [`Observer::call`].
    pub fn blocked(&mut self, ids: &[i64]) -> Result<Vec<bool>, WireError> {
        let ids_text: Vec<String> = ids.iter().map(i64::to_string).collect();
        let mut args = vec!["CLIENT", "LIST", "ID"];
        args.extend(ids_text.iter().map(String::as_str));
        let list = self.call(&args)?.text().unwrap_or_default();
        let flags: HashMap<&str, &str> =
            list.lines().filter_map(|line| Some((field(line, "id=")?, field(line, "flags=")?))).collect();
        Ok(ids_text
            .iter()
            .map(|id| flags.get(id.as_str()).is_some_and(|flags| flags.contains('b')))
            .collect())
    }

    /// Ends the blocking command of a client, as its timeout would.
    ///
    /// # Errors
    ///
    /// As [`Observer::call`].
    pub fn unblock(&mut self, id: i64) -> Result<(), WireError> {
        self.call(&["CLIENT", "UNBLOCK", &id.to_string()]).map(drop)
    }
}

fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split(' ').find_map(|word| word.strip_prefix(name))
}
