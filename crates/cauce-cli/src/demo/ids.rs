//! A set of event numbers, one bit each: a year of flights has a million of them, in every ledger.

/// Numbers that were written down.
#[derive(Debug, Default, Clone)]
pub(super) struct IdSet {
    words: Vec<u64>,
    len: u64,
}

impl IdSet {
    /// Adds a number; false if it was there.
    pub(super) fn insert(&mut self, id: u64) -> bool {
        let (word, bit) = place(id);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let is_new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        self.len += u64::from(is_new);
        is_new
    }

    /// Whether it is there.
    pub(super) fn contains(&self, id: u64) -> bool {
        let (word, bit) = place(id);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// How many there are.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// All of them, the smallest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = u64> {
        (0..self.words.len() as u64 * 64).filter(|id| self.contains(*id))
    }
}

fn place(id: u64) -> (usize, u64) {
    ((id / 64) as usize, 1 << (id % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_kept_once() {
        let mut set = IdSet::default();
        let is_new: Vec<_> = [5, 64, 0, 5, 1_000, 64].into_iter().map(|id| set.insert(id)).collect();
        assert_eq!(is_new, [true, true, true, false, true, false]);
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 5, 64, 1_000]);
        assert_eq!(set.len(), 4);
        assert!(set.contains(64) && !set.contains(63) && !set.contains(1_000_000));
    }
}
