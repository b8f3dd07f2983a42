//! The commands that are tried, one row each, and those that are not, each with its reason.

mod collections;
mod keys;
mod left_out;
mod others;
mod streams;
mod strings;

pub use left_out::{LEFT_OUT, LeftOut};

/// What a command is about: an episode prefers some families.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Streams and their groups.
    Streams,
    /// Commands that may wait for data.
    Waiting,
    /// Keys of any type.
    Keys,
    /// Strings.
    Strings,
    /// Hashes.
    Hashes,
    /// Sets.
    Sets,
    /// Sorted sets.
    SortedSets,
    /// Messages.
    PubSub,
    /// MULTI and its kin.
    Transactions,
    /// The connection and the server.
    Connection,
    /// Scripts.
    Scripts,
}

/// One command: how it is written (see the notation in `grammar.rs`) and how often it is chosen.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// What it is about.
    pub family: Family,
    /// Its syntax; the words before the first argument are its name.
    pub syntax: &'static str,
    /// How often it is chosen, relative to the others of its family.
    pub weight: u32,
}

impl Row {
    /// The command that it runs: its first word, and the second of a container.
    pub fn name(&self) -> String {
        name_of(self.syntax.split(' '))
    }
}

const fn row(family: Family, weight: u32, syntax: &'static str) -> Row {
    Row { family, syntax, weight }
}

/// Commands whose second word names what they do.
const CONTAINERS: [&str; 14] = [
    "ACL", "CLIENT", "COMMAND", "CONFIG", "DEBUG", "FUNCTION", "LATENCY", "MEMORY", "OBJECT", "PUBSUB",
    "SCRIPT", "SLOWLOG", "XGROUP", "XINFO",
];

/// A command's name by its words.
pub(super) fn name_of<'a>(mut words: impl Iterator<Item = &'a str>) -> String {
    let first = words.next().unwrap_or_default();
    match words.next() {
        Some(second) if CONTAINERS.contains(&first) => format!("{first} {second}"),
        _ => first.to_owned(),
    }
}

/// Every row. A later command is one more, in the file of its family.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    [streams::ROWS, keys::ROWS, strings::ROWS, collections::ROWS, others::ROWS].into_iter().flatten()
}
