//! Databases: keys, their values and when they expire.

use std::collections::BTreeSet;

use foldhash::quality::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

use crate::outputs::Position;
use crate::stream::Stream;
use crate::time::Timestamp;

/// What a key holds.
#[derive(Debug)]
pub(crate) enum Object {
    String(Vec<u8>),
    Stream(Box<Stream>),
}

impl Object {
    /// The name that `TYPE` answers.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::String(_) => "string",
            Self::Stream(_) => "stream",
        }
    }
}

/// Where a key lies in its database. Stays valid while the key exists, whatever happens to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot(u32);

/// A key with all that belongs to it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: Box<[u8]>,
    pub(crate) object: Object,
    pub(crate) expires_at: Option<Timestamp>,
    /// The newest record of this key.
    pub(crate) position: Position,
}

/// One numbered database.
///
/// Keys live in a slab that a hash table points into. A key never moves while it exists, so that a `SCAN`
/// cursor is simply a slab index: keys that exist during the whole scan are returned exactly once.
#[derive(Debug)]
pub(crate) struct Database {
    slab: Vec<Option<Entry>>,
    free: Vec<u32>,
    index: HashTable<u32>,
    hasher: FixedState,
    expiries: BTreeSet<(Timestamp, u32)>,
    /// The newest record that removed a key: what the reply "no such key" depends on.
    pub(crate) removed_at: Position,
    /// The newest record of any key.
    pub(crate) changed_at: Position,
}

impl Database {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            slab: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            hasher: FixedState::with_seed(seed),
            expiries: BTreeSet::new(),
            removed_at: Position::default(),
            changed_at: Position::default(),
        }
    }

    /// How many keys there are, expired ones that nobody looked at included.
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// How many keys have an expiry.
    pub(crate) fn expiring(&self) -> usize {
        self.expiries.len()
    }

    pub(crate) fn slot(&self, key: &[u8]) -> Option<Slot> {
        let hash = self.hasher.hash_one(key);
        self.index.find(hash, |&at| self.key_at(at) == Some(key)).map(|&at| Slot(at))
    }

    pub(crate) fn entry(&self, slot: Slot) -> &Entry {
        self.slab.get(slot.0 as usize).and_then(Option::as_ref).expect("a slot is used while its key exists")
    }

    pub(crate) fn entry_mut(&mut self, slot: Slot) -> &mut Entry {
        self.slab
            .get_mut(slot.0 as usize)
            .and_then(Option::as_mut)
            .expect("a slot is used while its key exists")
    }

    /// Adds a key that does not exist.
    pub(crate) fn insert(&mut self, key: &[u8], object: Object) -> Slot {
        assert!(self.slot(key).is_none(), "a key is inserted once");
        let entry = Entry { key: key.into(), object, expires_at: None, position: Position::default() };
        let at = match self.free.pop() {
            Some(at) => at,
            None => {
                self.slab.push(None);
                u32::try_from(self.slab.len() - 1).expect("a database has fewer than 2^32 keys")
            }
        };
        *self.slab.get_mut(at as usize).expect("the place was just made or free") = Some(entry);
        let hash = self.hasher.hash_one(key);
        let (slab, hasher) = (&self.slab, &self.hasher);
        let rehash = |&at: &u32| {
            hasher.hash_one(slab.get(at as usize).and_then(Option::as_ref).map_or(&[][..], |e| &e.key))
        };
        self.index.insert_unique(hash, at, rehash);
        Slot(at)
    }

    pub(crate) fn remove(&mut self, slot: Slot) -> Entry {
        self.set_expiry(slot, None);
        let hash = self.hasher.hash_one(&*self.entry(slot).key);
        if let Ok(found) = self.index.find_entry(hash, |&at| at == slot.0) {
            found.remove();
        }
        self.free.push(slot.0);
        self.slab
            .get_mut(slot.0 as usize)
            .and_then(Option::take)
            .expect("a slot is used while its key exists")
    }

    /// Moves a key's value and expiry to another name, over what is there.
    pub(crate) fn rename(&mut self, from: Slot, to: &[u8]) -> Slot {
        if let Some(old) = self.slot(to) {
            if old == from {
                return from;
            }
            self.remove(old);
        }
        let expires_at = self.entry(from).expires_at;
        let entry = self.remove(from);
        let slot = self.insert(to, entry.object);
        self.set_expiry(slot, expires_at);
        slot
    }

    pub(crate) fn set_expiry(&mut self, slot: Slot, at: Option<Timestamp>) {
        let before = std::mem::replace(&mut self.entry_mut(slot).expires_at, at);
        if let Some(before) = before {
            self.expiries.remove(&(before, slot.0));
        }
        if let Some(at) = at {
            self.expiries.insert((at, slot.0));
        }
    }

    /// The key that expires first.
    pub(crate) fn next_expiry(&self) -> Option<(Timestamp, Slot)> {
        self.expiries.first().map(|&(at, slot)| (at, Slot(slot)))
    }

    /// Removes every key; positions stay.
    pub(crate) fn clear(&mut self) {
        self.slab = Vec::new();
        self.free = Vec::new();
        self.index = HashTable::new();
        self.expiries = BTreeSet::new();
    }

    /// The slots in use from `cursor` on, and for each the cursor to go on after it.
    pub(crate) fn scan(&self, cursor: usize) -> impl Iterator<Item = (Slot, &Entry, usize)> {
        let slots = self.slab.iter().enumerate().skip(cursor);
        slots.filter_map(|(at, entry)| entry.as_ref().map(|entry| (Slot(at as u32), entry, at + 1)))
    }

    fn key_at(&self, at: u32) -> Option<&[u8]> {
        self.slab.get(at as usize).and_then(Option::as_ref).map(|entry| &*entry.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_their_place_while_others_come_and_go() {
        let mut database = Database::new(1);
        let names: Vec<Vec<u8>> = (0..100).map(|n| format!("key{n}").into_bytes()).collect();
        for name in &names {
            database.insert(name, Object::String(name.clone()));
        }
        for name in names.iter().step_by(2) {
            let slot = database.slot(name).expect("inserted");
            assert_eq!(&*database.remove(slot).key, &name[..]);
        }
        assert_eq!(database.len(), 50);
        let left: Vec<&[u8]> = database.scan(0).map(|(_, entry, _)| &*entry.key).collect();
        let expected: Vec<&[u8]> = names.iter().skip(1).step_by(2).map(|name| &name[..]).collect();
        assert_eq!(left, expected);
    }

    #[test]
    fn the_next_expiry_follows_changes() {
        let mut database = Database::new(1);
        let a = database.insert(b"a", Object::String(Vec::new()));
        let b = database.insert(b"b", Object::String(Vec::new()));
        database.set_expiry(a, Some(Timestamp::from_millis(20)));
        database.set_expiry(b, Some(Timestamp::from_millis(10)));
        assert_eq!(database.next_expiry(), Some((Timestamp::from_millis(10), b)));
        database.set_expiry(b, None);
        assert_eq!(database.next_expiry(), Some((Timestamp::from_millis(20), a)));
        database.remove(a);
        assert_eq!((database.next_expiry(), database.expiring()), (None, 0));
    }
}
