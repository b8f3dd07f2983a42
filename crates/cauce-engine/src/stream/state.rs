//! A stream: its entries and its consumer groups.

use std::collections::BTreeMap;

use super::{Entries, Group};

/// A stream.
#[derive(Debug, Clone, Default)]
pub struct Stream {
    entries: Entries,
    /// In order of their names, which is the order in which XINFO shows them.
    groups: BTreeMap<Box<[u8]>, Group>,
}

impl Stream {
    /// The entries, to be changed.
    pub fn entries_mut(&mut self) -> &mut Entries {
        &mut self.entries
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
