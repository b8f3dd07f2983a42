//! Pending entries that belong to nobody: given back by XNACK, taken again before all others.

use std::collections::BTreeMap;

use super::{IdMap, StreamId};

/// The entries of a group that were given back, in the order in which that happened.
#[derive(Debug, Clone, Default)]
pub(super) struct Released {
    order: BTreeMap<u64, StreamId>,
    /// The place of each in `order`.
    tickets: IdMap<u64>,
}

impl Released {
    /// Adds an entry at the end; one that is there keeps its place.
    pub(super) fn push(&mut self, id: StreamId) {
        if self.tickets.contains(id) {
            return;
        }
        let ticket = self.order.last_key_value().map_or(0, |(&last, _)| last + 1);
        self.order.insert(ticket, id);
        self.tickets.insert(id, ticket);
    }

    /// Takes out an entry that is there.
    pub(super) fn remove(&mut self, id: StreamId) {
        let ticket = self.tickets.remove(id).expect("what is nobody's was released");
        let removed = self.order.remove(&ticket);
        assert_eq!(removed, Some(id), "both lists hold the same entries");
    }

    /// The entries, the one that was given back first first.
    pub(super) fn iter(&self) -> impl Iterator<Item = StreamId> {
        self.order.values().copied()
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }
}
