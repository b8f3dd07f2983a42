//! A stream: its entries and its consumer groups.

use std::collections::BTreeMap;

use super::{Entries, Group, Idempotency, IdempotencyLimits, StreamId};

/// A stream.
#[derive(Debug, Clone, Default)]
pub struct Stream {
    entries: Entries,
    /// In order of their names, which is the order in which XINFO shows them.
    groups: BTreeMap<Box<[u8]>, Group>,
    /// Of streams whose producers use it.
    idempotency: Option<Box<Idempotency>>,
}

impl Stream {
    /// The entries, to be changed.
    pub fn entries_mut(&mut self) -> &mut Entries {
        &mut self.entries
    }

    /// The marks of producers, if any ever used them.
    #[must_use]
    pub fn idempotency(&self) -> Option<&Idempotency> {
        self.idempotency.as_deref()
    }

    /// The same, to be changed.
    pub fn idempotency_mut(&mut self) -> Option<&mut Idempotency> {
        self.idempotency.as_deref_mut()
    }

    /// Sets how marks are kept; from now on the stream keeps them.
    pub fn set_idempotency_limits(&mut self, limits: IdempotencyLimits) {
        match &mut self.idempotency {
            Some(table) => table.set_limits(limits),
            None => self.idempotency = Some(Box::new(Idempotency::new(limits))),
        }
    }

    /// Adds a group, and says whether its name was free; if not, nothing changes.
    pub fn create_group(&mut self, name: &[u8], group: Group) -> bool {
        if self.groups.contains_key(name) {
            return false;
        }
        self.groups.insert(name.into(), group);
        true
    }

    /// Removes a group with its consumers and pending entries, and says whether it was there.
    pub fn destroy_group(&mut self, name: &[u8]) -> bool {
        self.groups.remove(name).is_some()
    }

    /// The group with this name, to be changed, and beside it the entries, to be read.
    pub fn group_mut(&mut self, name: &[u8]) -> Option<(&mut Group, &Entries)> {
        Some((self.groups.get_mut(name)?, &self.entries))
    }

    /// Up to which id every group was delivered the entries; `None` if there is no group.
    #[must_use]
    pub fn delivered_to_all(&self) -> Option<StreamId> {
        self.groups.values().map(Group::last_delivered_id).min()
    }

    /// Whether a group still needs the entry: it was not delivered to all, or is pending somewhere.
    /// `delivered_to_all` is what [`Stream::delivered_to_all`] says, asked once for many ids.
    #[must_use]
    pub fn is_needed(&self, id: StreamId, delivered_to_all: Option<StreamId>) -> bool {
        delivered_to_all.is_some_and(|delivered| id > delivered)
            || self.groups.values().any(|group| group.pending().contains(id))
    }

    /// Takes the entries off the pending entries of every group. Gives what was taken off which.
    pub fn strip(&mut self, ids: &[StreamId]) -> Vec<(&[u8], Vec<StreamId>)> {
        let mut stripped = Vec::new();
        for (name, group) in &mut self.groups {
            if group.pending().is_empty() {
                continue;
            }
            let taken: Vec<StreamId> = ids.iter().copied().filter(|&id| group.ack(id)).collect();
            if !taken.is_empty() {
                stripped.push((&**name, taken));
            }
        }
        stripped
    }

    /// The entries.
    #[must_use]
    pub fn entries(&self) -> &Entries {
        &self.entries
    }

    /// The group with this name.
    #[must_use]
    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.groups.get(name)
    }

    /// All groups, in order of their names.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = (&[u8], &Group)> {
        self.groups.iter().map(|(name, group)| (&**name, group))
    }
}
