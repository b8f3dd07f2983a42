//! Records back into state, and state into canonical bytes.

use std::sync::Arc;

use super::Core;
use crate::keyspace::{Database, Entry, Object, write_at};
use crate::records::{Effect, ReplayError, StreamEffect, Writer};
use crate::stream::{BlockFiles, BlockLimits, Stream};
use crate::time::Timestamp;

impl Core {
    /// Applies one record exactly as the command that emitted it changed the state.
    pub(super) fn replay(&mut self, record: &[u8]) -> Result<(), ReplayError> {
        let (index, key, effect) = Effect::decode(record)?;
        let position = self.position.advance();
        let limits = self.settings.block_limits();
        match effect {
            Effect::CopyFrom { database: source, from } => self.copy(source, from, index, key)?,
            Effect::Swap { with } => {
                self.swap_databases(index, with).ok_or(ReplayError::Contradiction("no such database"))?;
            }
            _ => {}
        }
        let database = self.databases.get_mut(index).ok_or(ReplayError::Contradiction("no such database"))?;
        database.changed_at = position;
        match database.slot(key) {
            // With its position from before.
            Some(slot) => self.touched.note(index, database.entry(slot), &effect),
            None => self.touched.note_key(index, key, &effect),
        }
        let files = self.block_files.0.as_deref().map(|files| -> &dyn BlockFiles { files });
        let loaded = database.replay(key, &effect, limits, files)?;
        match database.slot(key) {
            Some(slot) => {
                let entry = database.entry_mut(slot);
                entry.position = position;
                entry.encoding = entry.encoding.after(&effect);
                if matches!(effect, Effect::Stream(StreamEffect::Mark { .. })) {
                    self.forgetting.plan(index, database.entry(slot));
                }
            }
            None => database.removed_at = position,
        }
        self.count_load(loaded);
        self.let_blocks_go();
        Ok(())
    }

    fn copy(&mut self, source: usize, from: &[u8], target: usize, to: &[u8]) -> Result<(), ReplayError> {
        let source = self.databases.get(source).ok_or(ReplayError::Contradiction("no such database"))?;
        let slot = source.slot(from).ok_or(ReplayError::Contradiction("no such key"))?;
        let entry = Entry { key: to.into(), ..source.entry(slot).clone() };
        let target = self.databases.get_mut(target);
        target.ok_or(ReplayError::Contradiction("no such database"))?.put(entry);
        Ok(())
    }

    /// See [`super::Engine::dump`].
    pub(super) fn dump(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (index, database) in self.databases.iter().enumerate() {
            let mut entries: Vec<&Entry> = database.scan(0).map(|(_, entry, _)| entry).collect();
            entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
            let mut out = Writer::new(&mut bytes);
            out.count(index);
            out.count(entries.len());
            for entry in entries {
                dump_entry(entry, &mut bytes);
            }
        }
        bytes
    }
}

fn dump_entry(entry: &Entry, bytes: &mut Vec<u8>) {
    let mut out = Writer::new(bytes);
    out.text(&entry.key);
    out.optional(entry.expires_at.map(Timestamp::micros));
    out.text(entry.object.type_name().as_bytes());
    out.byte(entry.encoding.number());
    match &entry.object {
        Object::String(value) => out.text(value),
        Object::Stream(stream) => stream.dump(bytes),
        Object::Hash(hash) => hash.dump(&mut out),
        Object::Set(set) => set.dump(&mut out),
        Object::SortedSet(set) => set.dump(&mut out),
    }
}

impl Database {
    /// Says how many bytes of blocks had to be read.
    fn replay(
        &mut self,
        key: &[u8],
        effect: &Effect<'_>,
        limits: BlockLimits,
        files: Option<&dyn BlockFiles>,
    ) -> Result<u64, ReplayError> {
        match effect {
            Effect::SetString { value, expires_at } => {
                let object = Object::String(value.to_vec());
                let slot = match self.slot(key) {
                    Some(slot) => {
                        self.entry_mut(slot).object = object;
                        slot
                    }
                    None => self.insert(key, object),
                };
                self.set_expiry(slot, *expires_at);
            }
            Effect::WriteString { at, bytes } => {
                let slot = match self.slot(key) {
                    Some(slot) => slot,
                    None => self.insert(key, Object::String(Vec::new())),
                };
                let Object::String(value) = &mut self.entry_mut(slot).object else {
                    return Err(ReplayError::Contradiction("the key holds no string"));
                };
                let at = usize::try_from(*at).map_err(|_| ReplayError::Malformed)?;
                write_at(value, at, bytes);
            }
            Effect::Encode { .. } => {
                self.slot(key).ok_or(ReplayError::Contradiction("no such key"))?;
            }
            Effect::Absent => {
                if let Some(slot) = self.slot(key) {
                    self.remove(slot);
                }
            }
            Effect::AbsentElements { names } => {
                let slot = self.slot(key).ok_or(ReplayError::Contradiction("no such key"))?;
                names.iter().for_each(|name| self.entry_mut(slot).object.forget_element(name));
            }
            // They concern two databases: already done.
            Effect::CopyFrom { .. } | Effect::Swap { .. } => {}
            Effect::Remove => {
                let slot = self.slot(key).ok_or(ReplayError::Contradiction("no such key"))?;
                self.remove(slot);
            }
            Effect::Expire { at } => {
                let slot = self.slot(key).ok_or(ReplayError::Contradiction("no such key"))?;
                self.set_expiry(slot, *at);
            }
            Effect::RenameFrom { from } => {
                let from = self.slot(from).ok_or(ReplayError::Contradiction("no such key"))?;
                self.rename(from, key);
            }
            Effect::Flush => self.clear(),
            Effect::Stream(effect) => {
                let makes = matches!(effect, StreamEffect::Create | StreamEffect::Append { .. });
                return self.stream_mut(key, makes)?.replay(effect, limits);
            }
            Effect::StreamPart(part) => self.stream_mut(key, false)?.restore(part, files)?,
            Effect::Collection(effect) => {
                let slot = match self.slot(key) {
                    Some(slot) => slot,
                    None => {
                        let object = Object::for_effect(effect, self.seed());
                        self.insert(key, object.ok_or(ReplayError::Contradiction("no such key"))?)
                    }
                };
                self.entry_mut(slot).object.replay(effect)?;
            }
        }
        Ok(0)
    }

    /// The stream of a key, which is made if it may be.
    fn stream_mut(&mut self, key: &[u8], make: bool) -> Result<&mut Stream, ReplayError> {
        let slot = match self.slot(key) {
            Some(slot) => slot,
            None if make => self.insert(key, Object::Stream(Arc::default())),
            None => return Err(ReplayError::Contradiction("no such key")),
        };
        match &mut self.entry_mut(slot).object {
            Object::Stream(stream) => Ok(Arc::make_mut(stream)),
            _ => Err(ReplayError::Contradiction("the key holds no stream")),
        }
    }
}
