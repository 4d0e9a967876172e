//! Numbers that look random and follow from a seed.
//!
//! They are in one place because faults and mixes of requests must be the same again for the same
//! seed. What always holds: the sequence depends on the seed and on nothing else.

#[cfg(feature = "chaos")]
use core::time::Duration;

/// A generator with one word of state (SplitMix64).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// A sequence of its own for each pair of seed and name.
    pub(crate) fn new(seed: u64, name: &str) -> Self {
        let mut random = Self(seed);
        for byte in name.bytes() {
            random.0 ^= u64::from(byte);
            random.0 = random.next();
        }
        random
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below a bound, which must not be zero.
    pub(crate) const fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

#[cfg(feature = "chaos")]
impl Random {
    /// From nothing to one.
    pub(crate) fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// From nothing to so much.
    pub(crate) fn part_of(&mut self, most: Duration) -> Duration {
        if most.is_zero() {
            return most;
        }
        most.mul_f64(self.part())
    }
}
