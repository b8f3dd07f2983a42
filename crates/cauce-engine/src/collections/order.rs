//! A sequence with ranks: a B+ tree whose nodes know how many items are below each child.
//!
//! It is told where to insert and what to remove by rank; where something belongs is found with
//! [`Order::partition`]. All three take logarithmic time. Clones share nodes until one of them changes.

use std::sync::Arc;

/// Items per leaf at most.
const LEAF_MAX: usize = 128;
/// Children per inner node at most.
const INNER_MAX: usize = 64;

/// A member of a sorted set: its score, and where its name lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Item {
    pub(super) score: f64,
    pub(super) member: u32,
}

#[derive(Debug, Clone)]
pub(super) struct Order {
    root: Node,
    len: usize,
}

#[derive(Debug, Clone)]
enum Node {
    Leaf(Vec<Item>),
    Inner(Vec<Child>),
}

#[derive(Debug, Clone)]
struct Child {
    /// Items below; never 0.
    count: usize,
    first: Item,
    node: Arc<Node>,
}

impl Order {
    pub(super) fn new() -> Self {
        Self { root: Node::Leaf(Vec::new()), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// How many items there are before the first that `is_before` denies. It must hold for a beginning of the
    /// sequence and for nothing behind that.
    pub(super) fn partition(&self, is_before: impl Fn(&Item) -> bool) -> usize {
        let (mut node, mut rank) = (&self.root, 0);
        loop {
            match node {
                Node::Leaf(items) => return rank + items.partition_point(&is_before),
                Node::Inner(children) => {
                    let at = children.partition_point(|child| is_before(&child.first)).saturating_sub(1);
                    rank += children.iter().take(at).map(|child| child.count).sum::<usize>();
                    node = &children.get(at).expect("an inner node has children").node;
                }
            }
        }
    }

    /// Inserts so that the item has this rank.
    pub(super) fn insert(&mut self, rank: usize, item: Item) {
        assert!(rank <= self.len, "an item goes between or behind others");
        let appends = rank == self.len;
        self.len += 1;
        if let Some(right) = self.root.insert(rank, item, appends) {
            let left = std::mem::replace(&mut self.root, Node::Inner(Vec::with_capacity(2)));
            let count = self.len - right.count;
            self.root = Node::Inner(vec![Child { count, first: left.first(), node: Arc::new(left) }, right]);
        }
    }

    /// Takes out the item of this rank.
    pub(super) fn remove(&mut self, rank: usize) -> Item {
        assert!(rank < self.len, "there is an item of this rank");
        self.len -= 1;
        let item = self.root.remove(rank);
        if let Node::Inner(children) = &mut self.root
            && children.len() == 1
        {
            self.root = Arc::unwrap_or_clone(children.pop().expect("it has one child").node);
        }
        item
    }

    /// Items from a rank on, upwards or downwards.
    pub(super) fn walk(&self, rank: usize, count: usize, downwards: bool) -> Walk<'_> {
        Walk { order: self, rank, left: count, downwards, leaf: &[], at: 0 }
    }

    /// The leaf that holds a rank, and where in it.
    fn leaf(&self, mut rank: usize) -> (&[Item], usize) {
        let mut node = &self.root;
        loop {
            match node {
                Node::Leaf(items) => return (items, rank),
                Node::Inner(children) => {
                    let (at, inside) = child_of(children, rank, false);
                    node = &children.get(at).expect("the child was just found").node;
                    rank = inside;
                }
            }
        }
    }
}

/// See [`Order::walk`].
#[derive(Debug)]
pub(super) struct Walk<'a> {
    order: &'a Order,
    rank: usize,
    left: usize,
    downwards: bool,
    leaf: &'a [Item],
    at: usize,
}

impl Iterator for Walk<'_> {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        if self.left == 0 {
            return None;
        }
        if self.leaf.get(self.at).is_none() {
            (self.leaf, self.at) = self.order.leaf(self.rank);
        }
        let item = *self.leaf.get(self.at)?;
        self.left -= 1;
        if self.downwards {
            self.rank = self.rank.wrapping_sub(1);
            self.at = self.at.wrapping_sub(1);
        } else {
            self.rank += 1;
            self.at += 1;
        }
        Some(item)
    }
}

/// Which child holds a rank, and the rank inside it. With `end`, a rank just behind a child belongs to it.
fn child_of(children: &[Child], mut rank: usize, end: bool) -> (usize, usize) {
    for (at, child) in children.iter().enumerate() {
        if rank < child.count || (end && rank == child.count) {
            return (at, rank);
        }
        rank -= child.count;
    }
    unreachable!("a rank is below the number of items");
}

impl Node {
    fn first(&self) -> Item {
        match self {
            Self::Leaf(items) => *items.first().expect("only the root is ever empty"),
            Self::Inner(children) => children.first().expect("an inner node has children").first,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Leaf(items) => items.len(),
            Self::Inner(children) => children.len(),
        }
    }

    /// Inserts; a node that would become too large splits, and its right half is returned. Where items are
    /// only ever appended, nodes are left full.
    fn insert(&mut self, rank: usize, item: Item, appends: bool) -> Option<Child> {
        match self {
            Self::Leaf(items) if items.len() < LEAF_MAX => {
                items.insert(rank, item);
                None
            }
            Self::Leaf(items) => {
                let keep = if appends { LEAF_MAX } else { LEAF_MAX / 2 };
                let mut right = Vec::with_capacity(LEAF_MAX);
                right.extend(items.drain(keep..));
                if rank > keep || appends {
                    right.insert(rank - keep, item);
                } else {
                    items.insert(rank, item);
                }
                let first = *right.first().expect("the right half is not empty");
                Some(Child { count: right.len(), first, node: Arc::new(Self::Leaf(right)) })
            }
            Self::Inner(children) => {
                let (at, inside) = child_of(children, rank, true);
                let child = children.get_mut(at).expect("the child was just found");
                child.count += 1;
                let split = Arc::make_mut(&mut child.node).insert(inside, item, appends);
                if inside == 0 {
                    child.first = item;
                }
                let right = split?;
                child.count -= right.count;
                children.insert(at + 1, right);
                if children.len() <= INNER_MAX {
                    return None;
                }
                let right = children.split_off(if appends { INNER_MAX } else { INNER_MAX / 2 });
                let count = right.iter().map(|child| child.count).sum();
                let first = right.first().expect("the right half is not empty").first;
                Some(Child { count, first, node: Arc::new(Self::Inner(right)) })
            }
        }
    }

    fn remove(&mut self, rank: usize) -> Item {
        let children = match self {
            Self::Leaf(items) => return items.remove(rank),
            Self::Inner(children) => children,
        };
        let (at, inside) = child_of(children, rank, false);
        let child = children.get_mut(at).expect("the child was just found");
        let item = Arc::make_mut(&mut child.node).remove(inside);
        child.count -= 1;
        if child.count == 0 {
            children.remove(at);
            return item;
        }
        if inside == 0 {
            child.first = child.node.first();
        }
        if child.node.len() < LEAF_MAX / 8 {
            merge_around(children, at);
        }
        item
    }
}

/// Joins a small child with a neighbour, if both fit into half a node.
fn merge_around(children: &mut Vec<Child>, at: usize) {
    let left = at.saturating_sub(1);
    let Some([a, b]) = children.get_mut(left..left + 2) else { return };
    let joined = a.node.len() + b.node.len();
    match (Arc::make_mut(&mut a.node), Arc::make_mut(&mut b.node)) {
        (Node::Leaf(a), Node::Leaf(b)) if joined <= LEAF_MAX / 2 => a.append(b),
        (Node::Inner(a), Node::Inner(b)) if joined <= INNER_MAX / 2 => a.append(b),
        _ => return,
    }
    a.count += b.count;
    children.remove(left + 1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// Checks that inner nodes tell the truth about what is below them; returns the number of items.
    fn check_node(node: &Node, root: bool) -> usize {
        match node {
            Node::Leaf(items) => {
                assert!(root || !items.is_empty());
                assert!(items.len() <= LEAF_MAX);
                items.len()
            }
            Node::Inner(children) => {
                assert!(!children.is_empty() && children.len() <= INNER_MAX);
                for child in children {
                    assert_eq!(child.count, check_node(&child.node, false));
                    assert_eq!(child.first, child.node.first());
                }
                children.iter().map(|child| child.count).sum()
            }
        }
    }

    fn check(order: &Order, model: &[f64]) {
        assert_eq!(check_node(&order.root, true), model.len());
        assert_eq!(order.len(), model.len());
        assert!(order.walk(0, model.len(), false).map(|item| item.score).eq(model.iter().copied()));
        let last = model.len().saturating_sub(1);
        let downwards = order.walk(last, model.len(), true).map(|item| item.score);
        assert!(downwards.eq(model.iter().rev().copied()));
    }

    fn insert(order: &mut Order, model: &mut Vec<f64>, score: f64) {
        let rank = order.partition(|item| item.score < score);
        assert_eq!(rank, model.partition_point(|&other| other < score));
        order.insert(rank, Item { score, member: 0 });
        model.insert(rank, score);
    }

    #[test]
    fn it_agrees_with_a_sorted_vector() {
        let mut random = Random::new(3);
        let (mut order, mut model) = (Order::new(), Vec::new());
        for round in 0..6 {
            for _ in 0..8000 {
                let grow = random.below(10) < if round % 2 == 0 { 9 } else { 1 };
                if grow {
                    insert(&mut order, &mut model, random.below(100_000) as f64);
                } else if !model.is_empty() {
                    let rank = random.below(model.len());
                    assert_eq!(order.remove(rank).score, model.remove(rank));
                }
            }
            check(&order, &model);
        }
    }

    #[test]
    fn what_is_appended_fills_its_nodes_and_leaves_from_the_front() {
        let (mut order, mut model) = (Order::new(), Vec::new());
        for score in 0..50_000 {
            insert(&mut order, &mut model, f64::from(score));
        }
        check(&order, &model);
        let Node::Inner(children) = &order.root else { panic!("it has grown") };
        assert_eq!(children.len(), 50_000_usize.div_ceil(LEAF_MAX * INNER_MAX));
        for score in 0..50_000 {
            assert_eq!(order.remove(0).score, f64::from(score));
        }
        check(&order, &[]);
    }
}
