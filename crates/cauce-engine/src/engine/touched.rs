//! What changed since the last checkpoint, so that the next one writes no more than that.
//!
//! Which keys changed, their positions say. Noted beside that are the keys that are gone, streams whose blocks were moved
//! on disk, and which elements of larger collections changed: a queue is one hash with a million fields.

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};

use crate::keyspace::{Entry, Object};
use crate::outputs::Position;
use crate::records::{CollectionEffect, Effect};

/// Collections with fewer elements are written whole.
const TRACKED_FROM: usize = if cfg!(debug_assertions) { 4 } else { 256 };
/// Names that are noted at most, over all; with more, the next checkpoint writes everything.
const NAMES_MAX: usize = 4_000_000;

type Names = HashSet<Box<[u8]>, FixedState>;

/// What changed since a position.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    /// The position of the last checkpoint; `None` while nothing is noted.
    since: Option<Position>,
    databases: Vec<TouchedKeys>,
    /// Names noted so far.
    names: usize,
    /// More changed than is noted.
    everything: bool,
}

/// The same in one database.
#[derive(Debug, Default)]
struct TouchedKeys {
    /// Keys that were removed; some may be there again.
    removed: Names,
    /// Elements that changed of collections that were there at the last checkpoint.
    elements: HashMap<Box<[u8]>, Names, FixedState>,
    /// Streams that say what they said, but have blocks elsewhere on disk.
    moved: Names,
}

impl Touched {
    /// Begins to note what changes behind a position.
    pub(super) fn since(position: Position, databases: usize) -> Self {
        let databases = std::iter::repeat_with(TouchedKeys::default).take(databases).collect();
        Self { since: Some(position), databases, ..Self::default() }
    }

    /// Notes an effect on a key, before the key's position is that of its record.
    #[inline]
    pub(crate) fn note(&mut self, db: usize, entry: &Entry, effect: &Effect<'_>) {
        let Some(since) = self.since else { return };
        match effect {
            Effect::Stream(_) | Effect::StreamPart(_) | Effect::Expire { .. } | Effect::Encode { .. } => {}
            Effect::Collection(effect) => self.note_elements(db, entry, effect, since),
            _ => self.note_key(db, &entry.key, effect),
        }
    }

    /// Notes an effect that concerns a whole key, or a whole database.
    pub(crate) fn note_key(&mut self, db: usize, key: &[u8], effect: &Effect<'_>) {
        if self.since.is_none() {
            return;
        }
        let Some(keys) = self.databases.get_mut(db) else { return };
        if !keys.elements.is_empty() {
            // What is there from now on is another object, or the elements are not known by their names.
            keys.elements.remove(key);
        }
        let gone = match effect {
            Effect::Remove => key,
            Effect::RenameFrom { from } => from,
            Effect::Swap { .. } | Effect::Flush => {
                self.give_up();
                return;
            }
            _ => return,
        };
        keys.elements.remove(gone);
        keys.removed.insert(gone.into());
        self.count(1);
    }

    /// Notes that blocks of a stream are elsewhere on disk now.
    pub(crate) fn note_moved(&mut self, db: usize, key: &[u8]) {
        let Some(keys) = self.databases.get_mut(db) else { return };
        if !keys.moved.contains(key) {
            keys.moved.insert(key.into());
            self.count(1);
        }
    }

    fn note_elements(&mut self, db: usize, entry: &Entry, effect: &CollectionEffect<'_>, since: Position) {
        let Some(keys) = self.databases.get_mut(db) else { return };
        let (len, first) = (entry.object.elements(), entry.position <= since);
        // A new key has no position yet; one that changed before and is not noted is written whole anyway.
        let is_new = entry.position == Position::default();
        let names = match keys.elements.get_mut(&entry.key) {
            Some(names) => names,
            None if is_new || !first || len < TRACKED_FROM => return,
            None => keys.elements.entry(entry.key.clone()).or_default(),
        };
        let before = names.len();
        for name in effect.names() {
            if !names.contains(name) {
                names.insert(name.into());
            }
        }
        let added = names.len() - before;
        if names.len() > len / 2 {
            keys.elements.remove(&entry.key);
        }
        self.count(added);
    }

    fn count(&mut self, added: usize) {
        self.names += added;
        if self.names > NAMES_MAX {
            self.give_up();
        }
    }

    fn give_up(&mut self) {
        self.everything = true;
        self.since = None;
        self.databases = Vec::new();
    }

    /// The position that changes are known since; `None` if they are not.
    pub(super) fn known_since(&self) -> Option<Position> {
        self.since.filter(|_| !self.everything)
    }

    /// The keys of a database that were removed; some may be there again.
    pub(super) fn removed(&self, db: usize) -> impl Iterator<Item = &[u8]> {
        self.databases.get(db).into_iter().flat_map(|keys| keys.removed.iter().map(|key| &**key))
    }

    /// Whether blocks of a stream are elsewhere on disk now.
    pub(super) fn is_moved(&self, db: usize, key: &[u8]) -> bool {
        self.databases.get(db).is_some_and(|keys| keys.moved.contains(key))
    }

    /// The elements of a key that changed, if only elements did.
    pub(super) fn elements(&self, db: usize, key: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
        let names = self.databases.get(db)?.elements.get(key)?;
        Some(names.iter().map(|name| &**name))
    }
}

impl Object {
    /// How many elements a collection has.
    fn elements(&self) -> usize {
        match self {
            Self::Hash(hash) => hash.len(),
            Self::Set(set) => set.len(),
            Self::SortedSet(set) => set.len(),
            Self::String(_) | Self::Stream(_) => 0,
        }
    }
}
