//! What an episode has done so far, as far as it guides what comes next. It may be wrong: the servers know.

use std::collections::VecDeque;

/// An entry id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) ms: u64,
    pub(super) seq: u64,
}

/// What a key holds, as far as it matters for which command meets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    Nothing,
    /// A string that no number can be read from.
    Text,
    Integer,
    /// A string that a number that is no integer can be read from.
    Float,
    Hash,
    Set,
    SortedSet,
    Stream,
    Other,
}

/// Ids remembered per key.
const IDS_MAX: usize = 12;

/// The keys: few, so that commands meet. Stream commands prefer the first four, of which `auto` alone gets ids from the clock.
pub(super) const KEYS: [&str; 8] = ["a", "b", "c", "auto", "v", "w", "x", "y"];

/// How many of the keys, from the first, are mostly streams.
pub(super) const STREAMS: usize = 4;

/// The index of the key with ids from the clock.
pub(super) const AUTO: usize = 3;

/// The names of groups: few, so that commands meet.
pub(super) const GROUPS: &[&str] = &["g", "h", "i"];

/// A sorted set apart, whose members have one score: no command that gives others meets it.
pub(super) const LEX: &str = "lex";

/// Every key that a command may make.
pub(super) const ALL_KEYS: [&str; 10] = ["a", "b", "c", "auto", "v", "w", "x", "y", LEX, "lua"];

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct World {
    keys: Vec<Key>,
    /// How many ids the clock has made.
    pub(super) autos: usize,
    /// How many clients there are.
    pub(super) clients: usize,
    /// Whether a command may begin to wait, for ever if it likes.
    pub(super) may_block: bool,
    /// Whether a key may be given a time to live that runs out at once.
    pub(super) may_expire: bool,
    /// From which key on commands of collections and strings choose theirs.
    pub(super) others_from: usize,
}

#[derive(Debug, Clone)]
struct Key {
    holds: Holds,
    groups: Vec<&'static str>,
    ids: VecDeque<Id>,
    last: Id,
}

impl World {
    pub(super) fn new(clients: usize) -> World {
        let key = Key {
            holds: Holds::Nothing,
            groups: Vec::new(),
            ids: VecDeque::new(),
            last: Id { ms: 0, seq: 0 },
        };
        World {
            keys: vec![key; KEYS.len()],
            autos: 0,
            clients,
            may_block: true,
            may_expire: true,
            others_from: STREAMS,
        }
    }

    /// Remembers an id that was or will be added to a key.
    pub(super) fn added(&mut self, key: usize, id: Id) {
        let key = &mut self.keys[key];
        if id > key.last {
            key.last = id;
        }
        key.ids.push_back(id);
        if key.ids.len() > IDS_MAX {
            key.ids.pop_front();
        }
    }

    pub(super) fn name(key: usize) -> &'static str {
        KEYS[key]
    }

    pub(super) fn ids(&self, key: usize) -> &VecDeque<Id> {
        &self.keys[key].ids
    }

    pub(super) fn last(&self, key: usize) -> Id {
        self.keys[key].last
    }

    pub(super) fn holds(&self, key: usize) -> Holds {
        self.keys[key].holds
    }

    pub(super) fn set_holds(&mut self, key: usize, holds: Holds) {
        self.keys[key].holds = holds;
    }

    /// The groups of a stream.
    pub(super) fn groups(&self, key: usize) -> &[&'static str] {
        &self.keys[key].groups
    }

    pub(super) fn set_groups(&mut self, key: usize, groups: Vec<&'static str>) {
        self.keys[key].groups = groups;
    }

    /// The keys from one on, but for `auto`, that hold what is asked for.
    pub(super) fn holding(&self, from: usize, wanted: impl Fn(Holds) -> bool) -> Vec<usize> {
        (from..KEYS.len()).filter(|key| *key != AUTO && wanted(self.keys[*key].holds)).collect()
    }
}
