//! Things found by name: a slab, so that they have a place, with a hash index.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::quality::FixedState;
use hashbrown::HashTable;

use super::slab::{self, Slab};
use crate::random::Random;

/// What a [`Table`] holds: anything with a name that does not change.
pub(crate) trait Named: Clone {
    fn name(&self) -> &[u8];
}

/// A packed table holds this many at most (Redis: `hash-max-listpack-entries` and its like).
pub(crate) const PACKED_MAX: usize = slab::PAGE_PLACES;

/// Probes for a random element before the next one in line is taken.
const PROBES_MAX: usize = 100;

/// Named things in a slab that a hash table points into.
///
/// A *placed* table never moves what it holds, so that a scan's cursor is simply a slab index: what is there
/// during the whole scan is returned exactly once. A *packed* table is one that has always been small: without
/// index, without holes, in the order of insertion, and scanned in one go. It becomes placed when it grows, and
/// stays so.
///
/// Clones share what they hold, page by page, until one of them changes it.
#[derive(Debug, Clone)]
pub(crate) struct Table<E> {
    slab: Slab<E>,
    /// Places that were free when they were put here; they may be used or beyond the slab's end by now.
    free: Vec<u32>,
    /// Unused while packed.
    index: Arc<HashTable<u32>>,
    hasher: FixedState,
    packed: bool,
}

impl<E: Named> Table<E> {
    /// An empty table that never moves what it holds.
    pub(crate) fn placed(seed: u64) -> Self {
        let hasher = FixedState::with_seed(seed);
        Self { slab: Slab::default(), free: Vec::new(), index: Arc::default(), hasher, packed: false }
    }

    /// An empty table that is packed while it is small.
    pub(crate) fn packed(seed: u64) -> Self {
        Self { packed: true, ..Self::placed(seed) }
    }

    pub(crate) fn len(&self) -> usize {
        if self.packed { self.slab.len() as usize } else { self.index.len() }
    }

    /// Where a name is.
    pub(crate) fn find(&self, name: &[u8]) -> Option<u32> {
        if self.packed {
            return self.slab.iter().find(|(_, element)| element.name() == name).map(|(at, _)| at);
        }
        let named = |&at: &u32| self.element(at).is_some_and(|element| element.name() == name);
        self.index.find(self.hasher.hash_one(name), named).copied()
    }

    /// What is at a place that is in use.
    pub(crate) fn get(&self, at: u32) -> &E {
        self.element(at).expect("a place is used while its element exists")
    }

    /// The same, to change anything but its name.
    pub(crate) fn get_mut(&mut self, at: u32) -> &mut E {
        self.slab.get_mut(at).expect("a place is used while its element exists")
    }

    /// Adds an element whose name is not there.
    pub(crate) fn insert(&mut self, element: E) -> u32 {
        debug_assert!(self.find(element.name()).is_none(), "a name is inserted once");
        if self.packed && self.slab.len() as usize == PACKED_MAX {
            self.place();
        }
        let hash = self.hasher.hash_one(element.name());
        let at = self.free_place();
        match at {
            Some(at) => self.slab.fill(at, element),
            None => self.slab.push(element),
        }
        let at = at.unwrap_or(self.slab.len() - 1);
        if !self.packed {
            self.add_to_index(hash, at);
        }
        at
    }

    /// Takes an element out. In a packed table, those behind it move up.
    pub(crate) fn remove(&mut self, at: u32) -> E {
        if self.packed {
            return self.slab.shift_out(at).expect("a packed table has no holes");
        }
        let hash = self.hasher.hash_one(self.get(at).name());
        if let Ok(found) = Arc::make_mut(&mut self.index).find_entry(hash, |&other| other == at) {
            found.remove();
        }
        let element = self.slab.take(at);
        self.free.push(at);
        if self.slab.len() == 0 {
            self.free.clear();
        }
        element.expect("a place is used while its element exists")
    }

    /// The places in use from `cursor` on with what they hold, in order.
    pub(crate) fn scan(&self, cursor: usize) -> impl Iterator<Item = (u32, &E)> {
        self.slab.iter_from(cursor)
    }

    /// Everything, in the order of places.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &E> {
        self.slab.iter().map(|(_, element)| element)
    }

    /// Everything, by name.
    pub(crate) fn sorted(&self) -> Vec<&E> {
        let mut all: Vec<&E> = self.iter().collect();
        all.sort_unstable_by(|a, b| a.name().cmp(b.name()));
        all
    }

    /// The place of any element; `None` if there is none.
    pub(crate) fn random(&self, random: &mut Random) -> Option<u32> {
        if self.len() == 0 {
            return None;
        }
        let mut at = 0;
        for _ in 0..PROBES_MAX {
            at = random.below(self.slab.len() as usize);
            if self.element(at as u32).is_some() {
                return Some(at as u32);
            }
        }
        // Nearly all places are free.
        self.scan(at).chain(self.scan(0)).next().map(|(at, _)| at)
    }

    /// Removes everything and gives its memory back.
    pub(crate) fn clear(&mut self) {
        self.slab = Slab::default();
        self.free = Vec::new();
        self.index = Arc::default();
    }

    fn element(&self, at: u32) -> Option<&E> {
        self.slab.get(at)
    }

    fn free_place(&mut self) -> Option<u32> {
        while let Some(at) = self.free.pop() {
            if at < self.slab.len() && self.slab.get(at).is_none() {
                return Some(at);
            }
        }
        None
    }

    /// Makes a packed table a placed one.
    fn place(&mut self) {
        self.packed = false;
        for at in 0..self.slab.len() {
            let hash = self.hasher.hash_one(self.get(at).name());
            self.add_to_index(hash, at);
        }
    }

    fn add_to_index(&mut self, hash: u64, at: u32) {
        let (slab, hasher) = (&self.slab, &self.hasher);
        let name = |at: u32| slab.get(at).map_or(&[][..], E::name);
        Arc::make_mut(&mut self.index).insert_unique(hash, at, |&at| hasher.hash_one(name(at)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Named for String {
        fn name(&self) -> &[u8] {
            self.as_bytes()
        }
    }

    fn filled(mut table: Table<String>, count: usize) -> Table<String> {
        for n in 0..count {
            table.insert(format!("name{n}"));
        }
        table
    }

    #[test]
    fn elements_keep_their_place_while_others_come_and_go() {
        let mut table = filled(Table::placed(1), 100);
        for n in (0..100).step_by(2) {
            let at = table.find(format!("name{n}").as_bytes()).expect("inserted");
            assert_eq!(table.remove(at), format!("name{n}"));
        }
        assert_eq!(table.len(), 50);
        let expected: Vec<String> = (1..100).step_by(2).map(|n| format!("name{n}")).collect();
        assert!(table.iter().eq(&expected));
    }

    #[test]
    fn a_packed_table_keeps_the_order_of_insertion_until_it_grows() {
        let mut table = filled(Table::packed(1), 10);
        assert_eq!(table.remove(3), "name3");
        table.insert("name3".to_owned());
        let last = table.iter().last().cloned();
        assert_eq!((last.as_deref(), table.len(), table.packed), (Some("name3"), 10, true));
        let table = filled(Table::packed(1), PACKED_MAX + 1);
        assert_eq!((table.len(), table.packed), (PACKED_MAX + 1, false));
        for n in 0..=PACKED_MAX {
            assert_eq!(table.find(format!("name{n}").as_bytes()), Some(n as u32));
        }
    }

    #[test]
    fn places_freed_at_the_end_are_used_once() {
        let mut table = filled(Table::placed(1), 10);
        for n in (0..10).rev() {
            table.remove(n);
            assert_eq!(table.scan(0).count(), n as usize);
        }
        let mut table = filled(table, 3);
        table.remove(1);
        table.remove(2);
        let table = filled(Table { free: table.free, ..table }, 0);
        let mut table = table;
        let places: Vec<u32> = (0..5).map(|n| table.insert(format!("other{n}"))).collect();
        assert_eq!((places, table.len()), (vec![1, 2, 3, 4, 5], 6));
    }

    #[test]
    fn a_random_element_is_found_among_holes() {
        let mut table = filled(Table::placed(1), 10_000);
        for n in 0..9_999 {
            table.remove(n);
        }
        let mut random = Random::new(1);
        assert_eq!(table.random(&mut random), Some(9_999));
        table.remove(9_999);
        assert_eq!(table.random(&mut random), None);
    }
}
