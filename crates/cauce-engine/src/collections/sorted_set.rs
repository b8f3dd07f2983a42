//! Sorted sets.

use std::cmp::Ordering;
use std::ops::Range;

use super::order::{Item, Order};
use super::table::{Named, Table};

/// Members with scores, ordered by score and then by name.
#[derive(Debug, Clone)]
pub(crate) struct SortedSet {
    members: Table<Member>,
    order: Order,
}

#[derive(Debug, Clone)]
pub(crate) struct Member {
    name: Box<[u8]>,
    /// Never NaN.
    score: f64,
}

impl Member {
    pub(crate) fn name(&self) -> &[u8] {
        &self.name
    }

    pub(crate) fn score(&self) -> f64 {
        self.score
    }

    pub(crate) fn scored(&self) -> (f64, &[u8]) {
        (self.score, &self.name)
    }
}

impl Named for Member {
    fn name(&self) -> &[u8] {
        &self.name
    }
}

/// An end of a range of scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ScoreBound {
    pub(crate) score: f64,
    pub(crate) exclusive: bool,
}

/// An end of a range of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LexBound<'a> {
    /// Before every name.
    Min,
    /// Behind every name.
    Max,
    Inclusive(&'a [u8]),
    Exclusive(&'a [u8]),
}

/// One end of a range. Where it lies between ranks depends on which end it is.
pub(crate) trait Bound {
    /// Whether a member lies before a range that begins here.
    fn is_before_start(&self, name: &[u8], score: f64) -> bool;
    /// Whether a member does not lie behind a range that ends here.
    fn is_before_end(&self, name: &[u8], score: f64) -> bool;
}

impl Bound for ScoreBound {
    fn is_before_start(&self, _name: &[u8], score: f64) -> bool {
        if self.exclusive { score <= self.score } else { score < self.score }
    }

    fn is_before_end(&self, _name: &[u8], score: f64) -> bool {
        if self.exclusive { score < self.score } else { score <= self.score }
    }
}

impl Bound for LexBound<'_> {
    fn is_before_start(&self, name: &[u8], _score: f64) -> bool {
        match *self {
            Self::Min => false,
            Self::Max => true,
            Self::Inclusive(bound) => name < bound,
            Self::Exclusive(bound) => name <= bound,
        }
    }

    fn is_before_end(&self, name: &[u8], _score: f64) -> bool {
        match *self {
            Self::Min => false,
            Self::Max => true,
            Self::Inclusive(bound) => name <= bound,
            Self::Exclusive(bound) => name < bound,
        }
    }
}

impl SortedSet {
    pub(crate) fn new(seed: u64) -> Self {
        Self { members: Table::placed(seed), order: Order::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    pub(crate) fn score(&self, name: &[u8]) -> Option<f64> {
        self.members.find(name).map(|at| self.members.get(at).score)
    }

    /// How many members come before this one.
    pub(crate) fn rank(&self, name: &[u8]) -> Option<usize> {
        self.members.find(name).map(|at| self.rank_of(at))
    }

    /// Gives a member its score, adding it if it is new. Zero has no sign, as in Redis's compact encoding.
    pub(crate) fn put(&mut self, name: &[u8], score: f64) {
        assert!(!score.is_nan(), "scores have an order");
        let score = score + 0.0;
        let member = match self.members.find(name) {
            Some(at) => {
                let rank = self.rank_of(at);
                self.order.remove(rank);
                self.members.get_mut(at).score = score;
                at
            }
            None => self.members.insert(Member { name: name.into(), score }),
        };
        let rank = self.rank_of(member);
        self.order.insert(rank, Item { score, member });
    }

    /// Removes a member; says whether it was there.
    pub(crate) fn remove(&mut self, name: &[u8]) -> bool {
        let Some(at) = self.members.find(name) else { return false };
        let rank = self.rank_of(at);
        let item = self.order.remove(rank);
        assert!(item.member == at, "the order holds every member once");
        self.members.remove(at);
        true
    }

    /// The ranks from one bound to the other.
    pub(crate) fn ranks(&self, start: &impl Bound, end: &impl Bound) -> Range<usize> {
        let start = self.order.partition(|item| start.is_before_start(self.name(item), item.score));
        let end = self.order.partition(|item| end.is_before_end(self.name(item), item.score));
        start..end.max(start)
    }

    /// The members of some ranks that exist, upwards or downwards.
    pub(crate) fn range(
        &self,
        ranks: Range<usize>,
        downwards: bool,
    ) -> impl ExactSizeIterator<Item = &Member> {
        assert!(ranks.start <= ranks.end && ranks.end <= self.len(), "the ranks exist");
        let first = if downwards { ranks.end.saturating_sub(1) } else { ranks.start };
        let mut walk = self.order.walk(first, ranks.len(), downwards);
        ranks.map(move |_| {
            let item = walk.next().expect("there are as many items as ranks");
            self.members.get(item.member)
        })
    }

    /// The members in their places.
    pub(crate) fn members(&self) -> &Table<Member> {
        &self.members
    }

    /// How many items come before a member, which itself may be in the order or not.
    fn rank_of(&self, at: u32) -> usize {
        let member = self.members.get(at);
        self.order.partition(|item| match item.score.partial_cmp(&member.score) {
            Some(Ordering::Equal) => self.name(item) < &*member.name,
            ordering => ordering == Some(Ordering::Less),
        })
    }

    fn name(&self, item: &Item) -> &[u8] {
        &self.members.get(item.member).name
    }
}
