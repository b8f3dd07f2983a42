//! Choices for SPOP and its like.
//!
//! The engine asks no source of randomness: the numbers follow from the seed in its settings, and what was
//! chosen is recorded, so that equal calls give equal bytes and a replay chooses nothing.

/// A stream of numbers that look random (`SplitMix64`). Not for secrets.
#[derive(Debug, Default)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`, each about equally likely.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        assert!(bound > 0, "there is no number below 0");
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// The generator of POSIX's `lrand48`: what `math.random` in scripts follows.
#[derive(Debug)]
pub(crate) struct Rand48(u64);

impl Rand48 {
    /// What Redis divides by.
    pub(crate) const MAX: u32 = 0x7fff_ffff;

    pub(crate) fn new(seed: u32) -> Self {
        Self((u64::from(seed) << 16) | 0x330e)
    }

    /// A number below 2^31.
    pub(crate) fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(0x5_deec_e66d).wrapping_add(0xb) & 0xffff_ffff_ffff;
        (self.0 >> 17) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_below_the_bound_comes_about_equally_often() {
        let mut random = Random::new(7);
        let mut counts = [0_u32; 5];
        for _ in 0..10_000 {
            counts[random.below(5)] += 1;
        }
        assert!(counts.iter().all(|&count| (1800..2200).contains(&count)), "{counts:?}");
    }
}
