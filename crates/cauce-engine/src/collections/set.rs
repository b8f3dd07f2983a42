//! Sets.

use super::table::{Named, Table};

/// Members, each once.
#[derive(Debug, Clone)]
pub(crate) struct Set {
    members: Table<Box<[u8]>>,
}

impl Named for Box<[u8]> {
    fn name(&self) -> &[u8] {
        self
    }
}

impl Set {
    pub(crate) fn new(seed: u64) -> Self {
        Self { members: Table::packed(seed) }
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn contains(&self, member: &[u8]) -> bool {
        self.members.find(member).is_some()
    }

    /// Adds a member; says whether it is new.
    pub(crate) fn add(&mut self, member: &[u8]) -> bool {
        let new = !self.contains(member);
        if new {
            self.members.insert(member.into());
        }
        new
    }

    /// Removes a member; says whether it was there.
    pub(crate) fn remove(&mut self, member: &[u8]) -> bool {
        self.members.find(member).map(|at| self.members.remove(at)).is_some()
    }

    /// The members in their places.
    pub(crate) fn members(&self) -> &Table<Box<[u8]>> {
        &self.members
    }
}
