//! The whole state at one position, for whoever writes it down while commands go on.

use std::borrow::Cow;
use std::sync::Arc;

use super::Core;
use super::touched::Touched;
use crate::collections::{Member, Table};
use crate::keyspace::{Entry, Object};
use crate::outputs::Position;
use crate::records::{CollectionEffect, Effect, ReplayError, Writer};
use crate::stream::{BlockPlace, Sealed, Stream};

/// Elements of a collection per record.
const ELEMENTS_PER_RECORD: usize = 256;

/// The state as it was at one position. Taking one costs a step per page of keys, and what is changed afterwards
/// is copied page by page when it first changes; it can be written down on any thread.
#[derive(Debug)]
pub struct Snapshot {
    databases: Vec<Table<Entry>>,
    position: Position,
    /// What changed since the checkpoint before, if that is known.
    touched: Touched,
}

impl Snapshot {
    /// The last record that it holds the effect of.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Hands out records that make the state, in order, for [`super::Engine::restore`]. None is larger than some
    /// kilobytes, unless a single value or block of entries is.
    ///
    /// # Errors
    /// What `sink` returns; nothing is handed out after that.
    pub fn write<E>(&self, mut sink: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut bytes = Vec::new();
        for (index, keys) in self.databases.iter().enumerate() {
            for entry in keys.iter() {
                write_entry(entry, &mut |effect: &Effect<'_>| {
                    bytes.clear();
                    effect.encode(index, &entry.key, &mut Writer::new(&mut bytes));
                    sink(&bytes)
                })?;
            }
        }
        Ok(())
    }
}

impl Snapshot {
    /// The position that [`Snapshot::write_changes`] needs to begin at; `None` if it is not known what changed.
    #[must_use]
    pub fn changes_since(&self) -> Option<Position> {
        self.touched.known_since()
    }

    /// Hands out records that make this state from that at the position of [`Snapshot::changes_since`], in order, for
    /// [`super::Engine::restore`]. They hold the keys that changed: larger collections with no more than the elements
    /// that did, streams without what is in files of blocks.
    ///
    /// # Errors
    /// What `sink` returns; nothing is handed out after that.
    ///
    /// # Panics
    /// If it is not known what changed.
    pub fn write_changes<E>(&self, mut sink: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let since = self.changes_since().expect("it is known what changed");
        let mut bytes = Vec::new();
        let mut emit = |index: usize, key: &[u8], effect: &Effect<'_>| {
            bytes.clear();
            effect.encode(index, key, &mut Writer::new(&mut bytes));
            sink(&bytes)
        };
        for (index, keys) in self.databases.iter().enumerate() {
            for key in self.touched.removed(index).filter(|key| keys.find(key).is_none()) {
                emit(index, key, &Effect::Absent)?;
            }
            let is_written =
                |entry: &&Entry| entry.position > since || self.touched.is_moved(index, &entry.key);
            for entry in keys.iter().filter(is_written) {
                let mut emit = |effect: &Effect<'_>| emit(index, &entry.key, effect);
                match self.touched.elements(index, &entry.key) {
                    Some(names) => write_elements(entry, names, &mut emit)?,
                    None => {
                        emit(&Effect::Absent)?;
                        write_entry(entry, &mut emit)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Takes sealed blocks to disk.
pub trait BlockStore {
    /// What may go wrong.
    type Error;

    /// Takes a block, and says where it will be once [`BlockStore::flush`] has returned.
    ///
    /// # Errors
    /// What refuses.
    fn put(&mut self, bytes: &[u8]) -> Result<BlockPlace, Self::Error>;

    /// Sees to it that everything that was put is on disk.
    ///
    /// # Errors
    /// What refuses.
    fn flush(&mut self) -> Result<(), Self::Error>;
}

impl Snapshot {
    /// Writes the sealed blocks down that are not on disk yet, each once and for ever: from now on this snapshot, and the
    /// engine too, know where they are. Says how many bytes that were, for [`super::Engine::stored`].
    ///
    /// # Errors
    /// What `store` returns. What was not flushed then counts as not written.
    pub fn store_blocks<S: BlockStore>(&self, store: &mut S) -> Result<u64, S::Error> {
        let mut written: Vec<(&Arc<Sealed>, BlockPlace)> = Vec::new();
        let mut bytes = 0;
        for sealed in self.streams().flat_map(|stream| stream.entries().unstored()) {
            written.push((sealed, store.put(sealed.bytes())?));
            bytes += sealed.bytes().len() as u64;
        }
        store.flush()?;
        for (sealed, place) in written {
            sealed.set_place(place);
        }
        Ok(bytes)
    }

    /// Where all blocks are that are on disk.
    pub fn block_places(&self) -> impl Iterator<Item = &BlockPlace> {
        self.streams().flat_map(|stream| stream.entries().places())
    }

    fn streams(&self) -> impl Iterator<Item = &Stream> {
        self.databases.iter().flat_map(Table::iter).filter_map(|entry| match &entry.object {
            Object::Stream(stream) => Some(&**stream),
            _ => None,
        })
    }
}

impl Core {
    /// See [`super::Engine::snapshot`].
    pub(super) fn snapshot(&self) -> Snapshot {
        let databases = self.databases.iter().map(|database| database.keys().clone()).collect();
        Snapshot { databases, position: self.position, touched: Touched::default() }
    }

    /// See [`super::Engine::snapshot_for_checkpoint`].
    pub(super) fn snapshot_for_checkpoint(&mut self) -> Snapshot {
        let mut snapshot = self.snapshot();
        let next = Touched::since(self.position, self.databases.len());
        snapshot.touched = std::mem::replace(&mut self.touched, next);
        snapshot
    }

    /// See [`super::Engine::restore`].
    pub(super) fn restore(&mut self, record: &[u8]) -> Result<(), ReplayError> {
        let before = self.position;
        let restored = self.replay(record);
        self.position = before;
        restored
    }
}

/// Hands out these elements of a collection as they are now.
fn write_elements<'n, E>(
    entry: &Entry,
    names: impl Iterator<Item = &'n [u8]>,
    emit: &mut impl FnMut(&Effect<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let (mut pairs, mut members, mut scored, mut absent) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for name in names {
        match &entry.object {
            Object::Hash(hash) => match hash.value(name) {
                Some(value) => pairs.extend([name, value]),
                None => absent.push(name),
            },
            Object::SortedSet(set) => match set.score(name) {
                Some(score) => scored.push((score, name)),
                None => absent.push(name),
            },
            Object::Set(set) if set.contains(name) => members.push(name),
            _ => absent.push(name),
        }
    }
    in_parts(pairs.into_iter(), 2 * ELEMENTS_PER_RECORD, |pairs| {
        emit(&Effect::Collection(CollectionEffect::HashSet { pairs: Cow::Borrowed(pairs) }))
    })?;
    in_parts(members.into_iter(), ELEMENTS_PER_RECORD, |members| {
        emit(&Effect::Collection(CollectionEffect::SetAdd { members: Cow::Borrowed(members) }))
    })?;
    in_parts(scored.into_iter(), ELEMENTS_PER_RECORD, |scored| {
        emit(&Effect::Collection(CollectionEffect::SortedSetPut { scored: Cow::Borrowed(scored) }))
    })?;
    in_parts(absent.into_iter(), ELEMENTS_PER_RECORD, |names| {
        emit(&Effect::AbsentElements { names: Cow::Borrowed(names) })
    })?;
    // It may have had an expiry.
    emit(&Effect::Expire { at: None })?;
    write_rest(entry, emit)
}

fn write_entry<E>(entry: &Entry, emit: &mut impl FnMut(&Effect<'_>) -> Result<(), E>) -> Result<(), E> {
    match &entry.object {
        Object::String(value) => emit(&Effect::SetString { value, expires_at: None })?,
        Object::Stream(stream) => stream.write_records(emit)?,
        Object::Hash(hash) => {
            let pairs = hash.fields().iter().flat_map(|field| [field.name(), field.value()]);
            in_parts(pairs, 2 * ELEMENTS_PER_RECORD, |pairs| {
                emit(&Effect::Collection(CollectionEffect::HashSet { pairs: Cow::Borrowed(pairs) }))
            })?;
        }
        Object::Set(set) => {
            let members = set.members().iter().map(|member| &**member);
            in_parts(members, ELEMENTS_PER_RECORD, |members| {
                emit(&Effect::Collection(CollectionEffect::SetAdd { members: Cow::Borrowed(members) }))
            })?;
        }
        Object::SortedSet(set) => {
            let scored = set.range(0..set.len(), false).map(Member::scored);
            in_parts(scored, ELEMENTS_PER_RECORD, |scored| {
                let scored = Cow::Borrowed(scored);
                emit(&Effect::Collection(CollectionEffect::SortedSetPut { scored }))
            })?;
        }
    }
    write_rest(entry, emit)
}

/// Hands out what belongs to a key beside its value.
fn write_rest<E>(entry: &Entry, emit: &mut impl FnMut(&Effect<'_>) -> Result<(), E>) -> Result<(), E> {
    emit(&Effect::Encode { encoding: entry.encoding })?;
    match entry.expires_at {
        Some(at) => emit(&Effect::Expire { at: Some(at) }),
        None => Ok(()),
    }
}

/// Hands on what an iterator gives, `len` at a time.
fn in_parts<T, E>(
    mut all: impl Iterator<Item = T>,
    len: usize,
    mut take: impl FnMut(&[T]) -> Result<(), E>,
) -> Result<(), E> {
    let mut part = Vec::with_capacity(len);
    loop {
        part.clear();
        part.extend(all.by_ref().take(len));
        if part.is_empty() {
            return Ok(());
        }
        take(&part)?;
    }
}
