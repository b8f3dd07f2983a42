//! Databases: keys, their values and when they expire.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::collections::{Hash, Named, Set, SortedSet, Table};
use crate::encoding::Encoding;
use crate::outputs::Position;
use crate::random::Random;
use crate::stream::Stream;
use crate::time::Timestamp;

/// What a key holds. A clone shares it until one of the two changes.
#[derive(Debug, Clone)]
pub(crate) enum Object {
    String(Vec<u8>),
    Stream(Arc<Stream>),
    Hash(Arc<Hash>),
    Set(Arc<Set>),
    SortedSet(Arc<SortedSet>),
}

impl Object {
    /// The name that `TYPE` answers.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::String(_) => "string",
            Self::Stream(_) => "stream",
            Self::Hash(_) => "hash",
            Self::Set(_) => "set",
            Self::SortedSet(_) => "zset",
        }
    }
}

/// Puts bytes into a string from a place on, with zeros before them where it is shorter.
pub(crate) fn write_at(value: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if value.len() < end {
        value.resize(end, 0);
    }
    value.get_mut(at..end).expect("the string was just made long enough").copy_from_slice(bytes);
}

/// A type of collection, found in an object.
pub(crate) trait Collection: Sized {
    fn empty(seed: u64) -> Self;
    fn into_object(self) -> Object;
    fn of(object: &Object) -> Option<&Self>;
    fn of_mut(object: &mut Object) -> Option<&mut Self>;
    /// How many elements there are.
    fn size(&self) -> usize;
}

macro_rules! collection {
    ($type:ident) => {
        impl Collection for $type {
            fn empty(seed: u64) -> Self {
                Self::new(seed)
            }

            fn into_object(self) -> Object {
                Object::$type(Arc::new(self))
            }

            fn of(object: &Object) -> Option<&Self> {
                if let Object::$type(own) = object { Some(own) } else { None }
            }

            fn of_mut(object: &mut Object) -> Option<&mut Self> {
                if let Object::$type(own) = object { Some(Arc::make_mut(own)) } else { None }
            }

            fn size(&self) -> usize {
                self.len()
            }
        }
    };
}

collection!(Hash);
collection!(Set);
collection!(SortedSet);

/// Where a key lies in its database. Stays valid while the key exists, whatever happens to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot(u32);

/// A key with all that belongs to it.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: Box<[u8]>,
    pub(crate) object: Object,
    pub(crate) expires_at: Option<Timestamp>,
    /// The newest record of this key.
    pub(crate) position: Position,
    /// When a command last looked at the value, in seconds since the epoch; 0 for never.
    pub(crate) accessed: Accessed,
    /// How Redis would hold the value.
    pub(crate) encoding: Encoding,
}

/// A time in seconds that readers of a shared value may set.
#[derive(Debug, Default)]
pub(crate) struct Accessed(AtomicU32);

impl Accessed {
    pub(crate) fn set(&self, seconds: u32) {
        self.0.store(seconds, Ordering::Relaxed);
    }

    pub(crate) fn seconds(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Clone for Accessed {
    fn clone(&self) -> Self {
        Self(AtomicU32::new(self.seconds()))
    }
}

impl Named for Entry {
    fn name(&self) -> &[u8] {
        &self.key
    }
}

/// One numbered database. A key never moves while it exists, so that `SCAN` returns keys that exist during the
/// whole scan exactly once.
#[derive(Debug)]
pub(crate) struct Database {
    keys: Table<Entry>,
    seed: u64,
    expiries: BTreeSet<(Timestamp, u32)>,
    /// The newest record that removed a key: what the reply "no such key" depends on.
    pub(crate) removed_at: Position,
    /// The newest record of any key.
    pub(crate) changed_at: Position,
}

impl Database {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            keys: Table::placed(seed),
            seed,
            expiries: BTreeSet::new(),
            removed_at: Position::default(),
            changed_at: Position::default(),
        }
    }

    /// The seed of hash tables.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// The keys with all that belongs to them.
    pub(crate) fn keys(&self) -> &Table<Entry> {
        &self.keys
    }

    /// How many keys there are, expired ones that nobody looked at included.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// How many keys have an expiry.
    pub(crate) fn expiring(&self) -> usize {
        self.expiries.len()
    }

    pub(crate) fn slot(&self, key: &[u8]) -> Option<Slot> {
        self.keys.find(key).map(Slot)
    }

    pub(crate) fn entry(&self, slot: Slot) -> &Entry {
        self.keys.get(slot.0)
    }

    /// The collection in a slot that was found with this type.
    pub(crate) fn look<C: Collection>(&self, slot: Slot) -> &C {
        C::of(&self.entry(slot).object).expect("the slot was found with this type")
    }

    pub(crate) fn entry_mut(&mut self, slot: Slot) -> &mut Entry {
        self.keys.get_mut(slot.0)
    }

    /// Adds a key that does not exist.
    pub(crate) fn insert(&mut self, key: &[u8], object: Object) -> Slot {
        let encoding = Encoding::natural(&object);
        let (key, position) = (key.into(), Position::default());
        let entry =
            Entry { key, object, expires_at: None, position, accessed: Accessed::default(), encoding };
        Slot(self.keys.insert(entry))
    }

    pub(crate) fn remove(&mut self, slot: Slot) -> Entry {
        self.set_expiry(slot, None);
        self.keys.remove(slot.0)
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
        self.insert_entry(Entry { key: to.into(), expires_at, ..entry })
    }

    /// Puts a key with all that belongs to it in place of what has its name.
    pub(crate) fn put(&mut self, entry: Entry) -> Slot {
        if let Some(old) = self.slot(&entry.key) {
            self.remove(old);
        }
        self.insert_entry(entry)
    }

    fn insert_entry(&mut self, entry: Entry) -> Slot {
        let expires_at = entry.expires_at;
        let slot = Slot(self.keys.insert(Entry { expires_at: None, ..entry }));
        self.set_expiry(slot, expires_at);
        slot
    }

    /// Any key; `None` if there is none.
    pub(crate) fn random(&self, random: &mut Random) -> Option<Slot> {
        self.keys.random(random).map(Slot)
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
        self.keys.clear();
        self.expiries = BTreeSet::new();
    }

    /// The next key from `cursor` on, with the cursor to go on after it; a few keys that hold no stream are passed over.
    pub(crate) fn streams_from(&self, cursor: usize) -> Option<(Slot, &Entry, usize)> {
        const PASSED_MAX: usize = 256;
        let mut keys = self.scan(cursor).take(PASSED_MAX);
        let mut last = None;
        for key in &mut keys {
            let is_stream = matches!(key.1.object, Object::Stream(_));
            last = Some(key);
            if is_stream {
                break;
            }
        }
        last
    }

    /// The slots in use from `cursor` on, and for each the cursor to go on after it.
    pub(crate) fn scan(&self, cursor: usize) -> impl Iterator<Item = (Slot, &Entry, usize)> {
        self.keys.scan(cursor).map(|(at, entry)| (Slot(at), entry, at as usize + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
