//! What an episode has done so far, as far as it guides what comes next. It may be wrong: the servers know.

use std::collections::VecDeque;

/// An entry id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) ms: u64,
    pub(super) seq: u64,
}

/// Ids remembered per key.
const IDS_MAX: usize = 12;

/// The keys: few, so that commands meet. `auto` alone gets ids from the clock; `v` and `w` are mostly strings.
const KEYS: [&str; 7] = ["a", "b", "c", "auto", "v", "w", "x"];

/// How many of the keys, from the first, are mostly streams.
pub(super) const STREAMS: usize = 4;

/// The index of the key with ids from the clock.
pub(super) const AUTO: usize = 3;

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
}

#[derive(Debug, Clone)]
struct Key {
    ids: VecDeque<Id>,
    last: Id,
}

impl World {
    pub(super) fn new(clients: usize) -> World {
        let key = Key { ids: VecDeque::new(), last: Id { ms: 0, seq: 0 } };
        World { keys: vec![key; KEYS.len()], autos: 0, clients, may_block: true, may_expire: true }
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

    pub(super) fn keys(&self) -> usize {
        self.keys.len()
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
}
