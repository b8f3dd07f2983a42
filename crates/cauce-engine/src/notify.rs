//! Keyspace notifications: classes of events and how `notify-keyspace-events` writes them (Redis 7).

use std::fmt;

/// A set of event classes; the bit order is that of [`LETTERS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct NotifyClasses(u16);

/// Letters in the order in which Redis shows them; `A` stands for the first ten.
const LETTERS: [u8; 14] = *b"g$lshzxetdKEmn";
const ALL_CLASSES: u16 = (1 << 10) - 1;

impl NotifyClasses {
    pub(crate) const GENERIC: Self = Self(1);
    pub(crate) const STRING: Self = Self(1 << 1);
    pub(crate) const SET: Self = Self(1 << 3);
    pub(crate) const HASH: Self = Self(1 << 4);
    pub(crate) const SORTED_SET: Self = Self(1 << 5);
    pub(crate) const EXPIRED: Self = Self(1 << 6);
    pub(crate) const STREAM: Self = Self(1 << 8);
    pub(crate) const KEYSPACE: Self = Self(1 << 10);
    pub(crate) const KEYEVENT: Self = Self(1 << 11);
    pub(crate) const NEW: Self = Self(1 << 13);

    /// Reads the letters; `None` if one is unknown.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        text.bytes().try_fold(Self(0), |classes, letter| match letter {
            b'A' => Some(Self(classes.0 | ALL_CLASSES)),
            _ => LETTERS.iter().position(|&known| known == letter).map(|bit| Self(classes.0 | 1 << bit)),
        })
    }

    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl fmt::Display for NotifyClasses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.0 & ALL_CLASSES == ALL_CLASSES;
        if all {
            f.write_str("A")?;
        }
        for (bit, &letter) in LETTERS.iter().enumerate() {
            let covered = all && bit < 10;
            if self.0 & (1 << bit) != 0 && !covered {
                write!(f, "{}", char::from(letter))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_read_and_shown_as_redis_does() {
        for (text, shown) in [("", ""), ("KEA", "AKE"), ("Kxg", "gxK"), ("g$lshzxetd", "A"), ("Em", "Em")] {
            assert_eq!(NotifyClasses::parse(text).map(|c| c.to_string()).as_deref(), Some(shown));
        }
        assert_eq!(NotifyClasses::parse("q"), None);
    }
}
