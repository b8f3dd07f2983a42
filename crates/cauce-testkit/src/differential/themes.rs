//! What an episode is about: which families it draws from, and how much it sends in one write.

use super::table::Family;
use super::world::STREAMS;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(super) struct Theme {
    /// How often it is chosen, relative to the others.
    share: u32,
    /// The families with their weights.
    pub(super) families: &'static [(Family, u32)],
    /// Commands of one write, at most, while nobody waits or listens.
    pub(super) batch: usize,
    /// Commands of an episode.
    pub(super) commands: usize,
    /// From which key on commands that are not of streams choose theirs.
    pub(super) others_from: usize,
}

use Family::{
    Connection, Hashes, Keys, PubSub, Scripts, Sets, SortedSets, Streams, Strings, Transactions, Waiting,
};

const THEMES: &[Theme] = &[
    Theme {
        share: 25,
        families: &[
            (Streams, 80),
            (Keys, 6),
            (Strings, 2),
            (SortedSets, 2),
            (Transactions, 5),
            (Connection, 2),
            (Scripts, 1),
        ],
        batch: 40,
        commands: 1_000,
        others_from: STREAMS,
    },
    Theme {
        share: 45,
        families: &[
            (Hashes, 20),
            (Sets, 20),
            (SortedSets, 35),
            (Strings, 25),
            (Keys, 18),
            (Streams, 1),
            (Transactions, 3),
            (Connection, 1),
            (Scripts, 4),
        ],
        batch: 40,
        commands: 1_000,
        others_from: 0,
    },
    Theme {
        share: 10,
        families: &[
            (Waiting, 25),
            (Streams, 35),
            (SortedSets, 15),
            (Keys, 6),
            (Strings, 1),
            (Sets, 1),
            (Transactions, 8),
            (Connection, 4),
        ],
        batch: 5,
        commands: 300,
        others_from: STREAMS,
    },
    Theme {
        share: 8,
        families: &[(PubSub, 60), (Transactions, 10), (Connection, 10), (Keys, 2), (Strings, 2)],
        batch: 5,
        commands: 300,
        others_from: STREAMS,
    },
    Theme {
        share: 12,
        families: &[
            (Streams, 40),
            (Waiting, 8),
            (Keys, 10),
            (Strings, 6),
            (Hashes, 4),
            (Sets, 4),
            (SortedSets, 8),
            (PubSub, 12),
            (Transactions, 6),
            (Connection, 5),
            (Scripts, 2),
        ],
        batch: 5,
        commands: 300,
        others_from: STREAMS,
    },
];

/// Chooses by the shares.
pub(super) fn choose(rng: &mut fastrand::Rng) -> &'static Theme {
    weighted(rng, THEMES, |theme| theme.share)
}

/// Everything alike, for tests of the engine alone.
pub(super) fn mixed() -> &'static Theme {
    &THEMES[THEMES.len() - 1]
}

/// One of these, by weight.
pub(super) fn weighted<'a, T>(rng: &mut fastrand::Rng, from: &'a [T], weight: impl Fn(&T) -> u32) -> &'a T {
    let total: u32 = from.iter().map(&weight).sum();
    let mut pick = rng.u32(..total);
    let picked = from.iter().find(|one| {
        let here = pick < weight(one);
        pick = pick.saturating_sub(weight(one));
        here
    });
    picked.expect("the pick is below the sum of weights")
}
