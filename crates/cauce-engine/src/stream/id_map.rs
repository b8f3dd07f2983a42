//! An ordered map from entry ids, made for pending entries lists.

use std::collections::VecDeque;
use std::sync::Arc;

use super::StreamId;

/// Ids per chunk at most. Removing from the middle of a chunk moves at most so many.
const CHUNK_MAX: usize = 128;
/// Neighbours that hold at most this many ids together are joined, so that scattered ids don't hold memory.
const JOIN_MAX: usize = CHUNK_MAX / 2;

/// An ordered map from [`StreamId`] to `V`.
///
/// A queue of sorted arrays. Ids are mostly added in ascending order and removed in about the same order: adding at
/// the end leaves full arrays behind, removing at the front moves nothing, and neither allocates but once per
/// array. Everywhere else a change moves a part of one array.
///
/// Clones share the arrays until one of them changes: cloning costs one step per array.
#[derive(Debug, Clone)]
pub struct IdMap<V> {
    /// In ascending order; none is empty.
    chunks: VecDeque<Chunk<V>>,
    len: usize,
    /// The arrays of the chunk that was emptied last, for the next one: a list that is filled and emptied all
    /// the time allocates nothing.
    spare: Option<Arc<Arrays<V>>>,
}

/// The ids of a chunk and beside them their values.
#[derive(Debug, Clone)]
struct Arrays<V> {
    ids: Vec<StreamId>,
    values: Vec<V>,
}

impl<V> Default for Arrays<V> {
    fn default() -> Self {
        Self { ids: Vec::new(), values: Vec::new() }
    }
}

/// A sorted array whose front can be taken off.
#[derive(Debug, Clone)]
struct Chunk<V> {
    /// The first and the last id, so that finding the chunk of an id stays in the queue's own memory.
    first: StreamId,
    last: StreamId,
    /// How many of the ids and values at the front are gone.
    start: usize,
    arrays: Arc<Arrays<V>>,
}

impl<V> Default for IdMap<V> {
    fn default() -> Self {
        Self { chunks: VecDeque::new(), len: 0, spare: None }
    }
}

impl<V: Copy> IdMap<V> {
    /// An empty map.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the value of `id`, and gives the one that it had.
    pub fn insert(&mut self, id: StreamId, value: V) -> Option<V> {
        match self.chunks.back_mut() {
            Some(tail) if id <= tail.last => {
                let index = self.chunk_of(id).unwrap_or(0);
                return self.insert_into(index, id, value);
            }
            Some(tail) if !tail.is_full() => tail.push(id, value),
            _ => {
                let arrays = self.spare.take().unwrap_or_default();
                self.chunks.push_back(Chunk::new(id, value, arrays));
            }
        }
        self.len += 1;
        None
    }

    /// Removes `id`, and gives the value that it had.
    pub fn remove(&mut self, id: StreamId) -> Option<V> {
        let index = self.chunk_of(id)?;
        let chunk = &mut self.chunks[index];
        let value = chunk.remove(id)?;
        self.len -= 1;
        if chunk.is_empty() {
            self.spare = self.chunks.remove(index).and_then(Chunk::into_spare);
        } else if chunk.len() <= JOIN_MAX {
            self.join(index);
        }
        Some(value)
    }

    /// The value of `id`.
    #[must_use]
    pub fn get(&self, id: StreamId) -> Option<&V> {
        self.chunks[self.chunk_of(id)?].get(id)
    }

    /// The value of `id`, to be changed.
    pub fn get_mut(&mut self, id: StreamId) -> Option<&mut V> {
        let index = self.chunk_of(id)?;
        self.chunks[index].get_mut(id)
    }

    /// Whether `id` is in the map.
    #[must_use]
    pub fn contains(&self, id: StreamId) -> bool {
        self.get(id).is_some()
    }

    /// How many ids are in the map.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the map is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The smallest id.
    #[must_use]
    pub fn first(&self) -> Option<StreamId> {
        self.chunks.front().map(|chunk| chunk.first)
    }

    /// The greatest id.
    #[must_use]
    pub fn last(&self) -> Option<StreamId> {
        self.chunks.back().map(|chunk| chunk.last)
    }

    /// The ids and values from `start` to `end`, both included, in ascending order.
    pub fn range(&self, start: StreamId, end: StreamId) -> impl Iterator<Item = (StreamId, V)> {
        self.range_from(start).take_while(move |&(id, _)| id <= end)
    }

    /// All ids and values, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = (StreamId, V)> {
        self.range_from(StreamId::MIN)
    }

    fn range_from(&self, start: StreamId) -> impl Iterator<Item = (StreamId, V)> {
        let chunk = self.chunks.partition_point(|chunk| chunk.last < start);
        let skip = self.chunks.get(chunk).map_or(0, |chunk| chunk.lower_bound(start));
        self.chunks.range(chunk..).flat_map(Chunk::iter).skip(skip)
    }

    /// The chunk that holds `id` if any does: the last one that does not begin after it.
    fn chunk_of(&self, id: StreamId) -> Option<usize> {
        let front = self.chunks.front()?;
        if id <= front.last {
            // What is oldest is acknowledged first.
            return (id >= front.first).then_some(0);
        }
        Some(self.chunks.partition_point(|chunk| chunk.first <= id) - 1)
    }

    fn insert_into(&mut self, mut index: usize, id: StreamId, value: V) -> Option<V> {
        if let Some(old) = self.chunks[index].get_mut(id) {
            return Some(std::mem::replace(old, value));
        }
        if self.chunks[index].start > 0 {
            self.chunks[index].drop_front();
        }
        if self.chunks[index].is_full() {
            let upper = self.chunks[index].split();
            let goes_up = id > upper.first;
            self.chunks.insert(index + 1, upper);
            index += usize::from(goes_up);
        }
        self.chunks[index].insert(id, value);
        self.len += 1;
        None
    }

    /// Joins the chunk with a neighbour if the two are nearly empty.
    fn join(&mut self, index: usize) {
        let joins = |left: usize| {
            let (left, right) = (self.chunks.get(left)?, self.chunks.get(left + 1)?);
            (left.len() + right.len() <= JOIN_MAX).then_some(())
        };
        let left = match joins(index) {
            Some(()) => index,
            None if index > 0 && joins(index - 1).is_some() => index - 1,
            None => return,
        };
        let right = self.chunks.remove(left + 1).expect("the right neighbour was looked at");
        self.chunks[left].append(&right);
    }
}

impl<V: Copy> Chunk<V> {
    fn new(id: StreamId, value: V, mut arrays: Arc<Arrays<V>>) -> Self {
        let own = Arc::make_mut(&mut arrays);
        assert!(own.ids.is_empty() && own.values.is_empty());
        own.ids.push(id);
        own.values.push(value);
        Self { first: id, last: id, start: 0, arrays }
    }

    /// The emptied arrays, if no clone of the map has them too.
    fn into_spare(mut self) -> Option<Arc<Arrays<V>>> {
        let own = Arc::get_mut(&mut self.arrays)?;
        own.ids.clear();
        own.values.clear();
        Some(self.arrays)
    }

    fn ids(&self) -> &[StreamId] {
        &self.arrays.ids[self.start..]
    }

    fn values(&self) -> &[V] {
        &self.arrays.values[self.start..]
    }

    fn len(&self) -> usize {
        self.arrays.ids.len() - self.start
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn is_full(&self) -> bool {
        self.arrays.ids.len() == CHUNK_MAX
    }

    fn lower_bound(&self, id: StreamId) -> usize {
        self.ids().partition_point(|&other| other < id)
    }

    /// Where `id` is in the arrays.
    fn find(&self, id: StreamId) -> Option<usize> {
        if id == self.first {
            return Some(self.start);
        }
        self.ids().binary_search(&id).ok().map(|at| self.start + at)
    }

    fn get(&self, id: StreamId) -> Option<&V> {
        self.find(id).map(|at| &self.arrays.values[at])
    }

    fn get_mut(&mut self, id: StreamId) -> Option<&mut V> {
        self.find(id).map(|at| &mut Arc::make_mut(&mut self.arrays).values[at])
    }

    fn iter(&self) -> impl Iterator<Item = (StreamId, V)> {
        self.ids().iter().copied().zip(self.values().iter().copied())
    }

    fn push(&mut self, id: StreamId, value: V) {
        assert!(id > self.last && !self.is_full());
        let own = Arc::make_mut(&mut self.arrays);
        own.ids.push(id);
        own.values.push(value);
        self.last = id;
    }

    /// Adds an id that is not there yet to a chunk that is not full.
    fn insert(&mut self, id: StreamId, value: V) {
        assert!(!self.is_full());
        let at = self.start + self.lower_bound(id);
        let own = Arc::make_mut(&mut self.arrays);
        own.ids.insert(at, id);
        own.values.insert(at, value);
        self.refresh_ends();
    }

    fn remove(&mut self, id: StreamId) -> Option<V> {
        let at = self.find(id)?;
        let value = self.arrays.values[at];
        if at == self.start {
            self.start += 1;
        } else {
            let own = Arc::make_mut(&mut self.arrays);
            own.ids.remove(at);
            own.values.remove(at);
        }
        if !self.is_empty() {
            self.refresh_ends();
        }
        Some(value)
    }

    /// Takes off the upper half.
    fn split(&mut self) -> Self {
        assert!(self.is_full() && self.start == 0);
        let own = Arc::make_mut(&mut self.arrays);
        let middle = own.ids.len() / 2;
        let (ids, values) = (own.ids.split_off(middle), own.values.split_off(middle));
        self.refresh_ends();
        let arrays = Arc::new(Arrays { ids, values });
        let mut upper = Self { first: self.first, last: self.last, start: 0, arrays };
        upper.refresh_ends();
        upper
    }

    /// Adds all of a chunk whose ids come after this one's.
    fn append(&mut self, right: &Self) {
        assert!(self.last < right.first);
        self.drop_front();
        let own = Arc::make_mut(&mut self.arrays);
        own.ids.extend_from_slice(right.ids());
        own.values.extend_from_slice(right.values());
        self.refresh_ends();
    }

    fn drop_front(&mut self) {
        let own = Arc::make_mut(&mut self.arrays);
        own.ids.drain(..self.start);
        own.values.drain(..self.start);
        self.start = 0;
    }

    fn refresh_ends(&mut self) {
        self.first = self.arrays.ids[self.start];
        self.last = *self.arrays.ids.last().expect("a chunk in the queue has ids");
        debug_assert!(self.ids().is_sorted());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn id(seq: u64) -> StreamId {
        StreamId::new(1, seq)
    }

    fn assert_same(map: &IdMap<u32>, model: &BTreeMap<StreamId, u32>) {
        assert!(map.iter().eq(model.iter().map(|(&id, &value)| (id, value))));
        assert_eq!((map.len(), map.is_empty()), (model.len(), model.is_empty()));
        assert_eq!(map.first(), model.first_key_value().map(|(&id, _)| id));
        assert_eq!(map.last(), model.last_key_value().map(|(&id, _)| id));
        assert!(map.chunks.iter().all(|chunk| (1..=CHUNK_MAX).contains(&chunk.len())));
        assert!(map.chunks.iter().all(|chunk| chunk.ids().len() == chunk.values().len()));
    }

    #[test]
    fn adding_at_the_end_leaves_full_chunks_and_scattered_rests_are_joined() {
        let mut map = IdMap::new();
        (0..10_000).for_each(|seq| assert_eq!(map.insert(id(seq), 0), None));
        assert_eq!(map.chunks.len(), 10_000_usize.div_ceil(CHUNK_MAX));
        (0..10_000).filter(|seq| seq % 128 != 0).for_each(|seq| assert_eq!(map.remove(id(seq)), Some(0)));
        assert_eq!(map.len(), 79);
        assert!(map.chunks.len() <= 3, "{} chunks", map.chunks.len());
    }

    #[test]
    fn a_full_chunk_whose_front_is_gone_takes_ids_again() {
        let mut map = IdMap::new();
        let mut model = BTreeMap::new();
        for seq in (0..256).step_by(2) {
            map.insert(id(seq), 1);
            model.insert(id(seq), 1);
        }
        for seq in 0..254 {
            assert_eq!(map.remove(id(seq)), model.remove(&id(seq)));
        }
        for seq in [251, 253, 252] {
            map.insert(id(seq), 2);
            model.insert(id(seq), 2);
        }
        assert_same(&map, &model);
    }

    #[test]
    fn clones_do_not_see_each_others_changes() {
        let mut map: IdMap<u32> = IdMap::new();
        (0..1000).for_each(|seq| assert_eq!(map.insert(id(seq), 1), None));
        let before = map.clone();
        for seq in (0..1000).step_by(3) {
            map.remove(id(seq));
        }
        *map.get_mut(id(1)).expect("it is there") = 2;
        map.insert(id(1000), 1);
        assert!(before.iter().eq((0..1000).map(|seq| (id(seq), 1))));
        assert_eq!((map.len(), map.get(id(1))), (667, Some(&2)));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Fill { from: u64, len: u64, step: u64 },
        Drain { from: u64, len: u64, step: u64 },
        Insert(u64, u32),
        Remove(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let run = || (0..600_u64, 1..300_u64, 1..4_u64);
        let step = prop_oneof![
            run().prop_map(|(from, len, step)| Step::Fill { from, len, step }),
            run().prop_map(|(from, len, step)| Step::Drain { from, len, step }),
            (0..900_u64, any::<u32>()).prop_map(|(seq, value)| Step::Insert(seq, value)),
            (0..900_u64).prop_map(Step::Remove),
        ];
        prop::collection::vec(step, 1..40)
    }

    proptest! {
        #[test]
        fn it_behaves_as_a_btree_map(steps in steps()) {
            let (mut map, mut model) = (IdMap::new(), BTreeMap::new());
            for step in steps {
                match step {
                    Step::Fill { from, len, step } => {
                        for seq in (from..).step_by(step as usize).take(len as usize) {
                            assert_eq!(map.insert(id(seq), 0), model.insert(id(seq), 0));
                        }
                    }
                    Step::Drain { from, len, step } => {
                        for seq in (from..).step_by(step as usize).take(len as usize) {
                            assert_eq!(map.remove(id(seq)), model.remove(&id(seq)));
                        }
                    }
                    Step::Insert(seq, value) => {
                        assert_eq!(map.insert(id(seq), value), model.insert(id(seq), value));
                    }
                    Step::Remove(seq) => assert_eq!(map.remove(id(seq)), model.remove(&id(seq))),
                }
                assert_same(&map, &model);
            }
            for seq in (0..900).step_by(37) {
                assert_eq!(map.get(id(seq)), model.get(&id(seq)));
                assert_eq!(map.get_mut(id(seq)), model.get_mut(&id(seq)));
                let (start, end) = (id(seq), id(seq + 200));
                assert!(map.range(start, end).eq(model.range(start..=end).map(|(&id, &value)| (id, value))));
            }
        }
    }
}
