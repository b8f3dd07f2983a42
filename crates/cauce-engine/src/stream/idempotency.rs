//! What producers have added already: XADD with IDMP or IDMPAUTO (Redis 8.6).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::StreamId;

/// How long and how many marks are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdempotencyLimits {
    /// A mark is forgotten after so many seconds.
    pub duration_s: u64,
    /// Marks per producer; the oldest make room.
    pub max_size: u64,
}

/// The marks of one stream: which entry each idempotent id of each producer became.
#[derive(Debug, Clone)]
pub struct Idempotency {
    limits: IdempotencyLimits,
    producers: BTreeMap<Arc<[u8]>, Producer>,
    /// The oldest mark of each producer.
    oldest: BTreeSet<(u64, Arc<[u8]>)>,
    /// The time of the newest mark: what is too old beside it is not kept, in whatever order marks come.
    newest_ms: u64,
    /// Marks ever made.
    added: u64,
    /// Additions that were none because of a mark. Not part of the durable state.
    duplicates: u64,
}

#[derive(Debug, Clone, Default)]
struct Producer {
    marks: BTreeMap<Arc<[u8]>, Mark>,
    by_time: BTreeSet<(u64, StreamId, Arc<[u8]>)>,
}

/// What became of one idempotent id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The entry.
    pub id: StreamId,
    /// When it was added, in Unix milliseconds.
    pub at_ms: u64,
}

impl Idempotency {
    /// No marks.
    #[must_use]
    pub fn new(limits: IdempotencyLimits) -> Self {
        Self {
            limits,
            producers: BTreeMap::new(),
            oldest: BTreeSet::new(),
            newest_ms: 0,
            added: 0,
            duplicates: 0,
        }
    }

    /// The limits in force.
    #[must_use]
    pub fn limits(&self) -> IdempotencyLimits {
        self.limits
    }

    /// Sets the limits; if they change, all marks are forgotten.
    pub fn set_limits(&mut self, limits: IdempotencyLimits) {
        if limits != self.limits {
            self.limits = limits;
            self.producers.clear();
            self.oldest.clear();
            self.newest_ms = 0;
        }
    }

    /// The mark of an idempotent id, if it is not too old.
    #[must_use]
    pub fn find(&self, producer: &[u8], iid: &[u8], now_ms: u64) -> Option<Mark> {
        let mark = *self.producers.get(producer)?.marks.get(iid)?;
        self.forgotten_at(now_ms).is_none_or(|until| mark.at_ms > until).then_some(mark)
    }

    /// Adds a mark, over one of the same id. What is too old at that time is forgotten, and what is too much.
    pub fn mark(&mut self, producer: &[u8], iid: &[u8], mark: Mark) {
        let name = match self.producers.get_key_value(producer) {
            Some((name, _)) => Arc::clone(name),
            None => Arc::from(producer),
        };
        let before = self.oldest_of(&name);
        let own = self.producers.entry(Arc::clone(&name)).or_default();
        own.insert(Arc::from(iid), mark);
        while own.marks.len() as u64 > self.limits.max_size {
            own.remove_oldest();
        }
        self.refresh_oldest(&name, before);
        self.added += 1;
        self.newest_ms = self.newest_ms.max(mark.at_ms);
        if let Some(until) = self.forgotten_at(self.newest_ms) {
            self.forget(until);
        }
    }

    /// Forgets the marks made up to then.
    pub fn forget(&mut self, until_ms: u64) {
        while let Some((at, name)) = self.oldest.first().filter(|(at, _)| *at <= until_ms).cloned() {
            if let Some(own) = self.producers.get_mut(&name) {
                own.remove_oldest();
            }
            self.refresh_oldest(&name, Some(at));
        }
        if self.producers.is_empty() {
            self.newest_ms = 0;
        }
    }

    /// Counts an addition that was none.
    pub fn count_duplicate(&mut self) {
        self.duplicates += 1;
    }

    /// Up to when marks are too old at `now_ms`.
    #[must_use]
    pub fn forgotten_at(&self, now_ms: u64) -> Option<u64> {
        now_ms.checked_sub(self.limits.duration_s.saturating_mul(1000))
    }

    /// When the oldest mark is too old, in Unix milliseconds.
    #[must_use]
    pub fn next_forgotten_ms(&self) -> Option<u64> {
        let (at, _) = self.oldest.first()?;
        Some(at.saturating_add(self.limits.duration_s.saturating_mul(1000)))
    }

    /// All marks: producer, idempotent id, mark.
    pub fn marks(&self) -> impl Iterator<Item = (&[u8], &[u8], Mark)> {
        self.producers
            .iter()
            .flat_map(|(producer, own)| own.marks.iter().map(move |(iid, &mark)| (&**producer, &**iid, mark)))
    }

    /// How many producers have marks.
    #[must_use]
    pub fn producers(&self) -> usize {
        self.producers.len()
    }

    /// How many marks were ever made.
    #[must_use]
    pub fn added(&self) -> u64 {
        self.added
    }

    /// Sets how many marks were ever made.
    pub fn set_added(&mut self, added: u64) {
        self.added = added;
    }

    /// How many additions were none, since the process began.
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    fn oldest_of(&self, producer: &[u8]) -> Option<u64> {
        self.producers.get(producer)?.by_time.first().map(|(at, ..)| *at)
    }

    /// Keeps `oldest` right for a producer whose oldest mark was of the time `before`.
    fn refresh_oldest(&mut self, producer: &Arc<[u8]>, before: Option<u64>) {
        let now = self.oldest_of(producer);
        if let Some(before) = before {
            self.oldest.remove(&(before, Arc::clone(producer)));
        }
        match now {
            Some(now) => {
                self.oldest.insert((now, Arc::clone(producer)));
            }
            None => {
                self.producers.remove(producer);
            }
        }
    }
}

impl Producer {
    fn insert(&mut self, iid: Arc<[u8]>, mark: Mark) {
        if let Some(before) = self.marks.insert(Arc::clone(&iid), mark) {
            self.by_time.remove(&(before.at_ms, before.id, Arc::clone(&iid)));
        }
        self.by_time.insert((mark.at_ms, mark.id, iid));
    }

    fn remove_oldest(&mut self) {
        if let Some((.., iid)) = self.by_time.pop_first() {
            self.marks.remove(&iid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(max_size: u64) -> Idempotency {
        Idempotency::new(IdempotencyLimits { duration_s: 10, max_size })
    }

    fn at(ms: u64) -> Mark {
        Mark { id: StreamId::new(ms, 0), at_ms: ms }
    }

    #[test]
    fn marks_are_found_until_they_are_too_old_or_too_many() {
        let mut table = table(2);
        table.mark(b"p", b"1", at(100));
        table.mark(b"q", b"1", at(150));
        assert_eq!(table.find(b"p", b"1", 10_099), Some(at(100)));
        assert_eq!(table.find(b"p", b"1", 10_100), None);
        table.mark(b"p", b"2", at(200));
        table.mark(b"p", b"3", at(300));
        assert_eq!((table.find(b"p", b"1", 300), table.find(b"p", b"3", 300)), (None, Some(at(300))));
        assert_eq!((table.producers(), table.marks().count(), table.added()), (2, 3, 4));
        table.mark(b"q", b"2", at(10_200));
        assert_eq!((table.producers(), table.marks().count()), (2, 2));
        assert_eq!(table.next_forgotten_ms(), Some(10_300));
        table.mark(b"a", b"late", at(200));
        assert_eq!((table.producers(), table.find(b"a", b"late", 300)), (2, None));
    }

    #[test]
    fn other_limits_forget_everything_and_the_same_nothing() {
        let mut table = table(2);
        table.mark(b"p", b"1", at(100));
        table.set_limits(table.limits());
        assert_eq!(table.marks().count(), 1);
        table.set_limits(IdempotencyLimits { duration_s: 11, max_size: 2 });
        assert_eq!((table.marks().count(), table.producers(), table.next_forgotten_ms()), (0, 0, None));
    }
}
