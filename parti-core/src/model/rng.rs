//! Seeded randomness: jitter and nonces are a function of the seed the driver passes in.
//!
//! SplitMix64 (Steele, Lea, Flood 2014): small, fast, and good enough for jitter. Uniqueness of
//! nonces rests on the seed, which the driver takes from the operating system.

use core::time::Duration;

use crate::model::id::Nonce;

/// A deterministic random number generator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rng(u128);

impl Rng {
    /// A generator whose whole output follows from the seed.
    #[must_use]
    pub const fn new(seed: u128) -> Self {
        Self(seed)
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        // The upper half of the state is a second key, so that all 128 bits of the seed count.
        let key = (self.0 >> 64) as u64;
        let low = (self.0 as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0 = (u128::from(key) << 64) | u128::from(low);
        mix(mix(low) ^ key)
    }

    /// A number below `bound`; zero when the bound is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        // Lemire's multiply-shift; its bias below 2^-32 is of no consequence for jitter.
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A duration below `bound`.
    pub fn duration_below(&mut self, bound: Duration) -> Duration {
        let nanos = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.below(nanos))
    }

    /// A name for a session.
    pub fn nonce(&mut self) -> Nonce {
        Nonce::new((u128::from(self.next_u64()) << 64) | u128::from(self.next_u64()))
    }
}

fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two processes that start with almost the same seed must not share nonces.
    #[test]
    fn seeds_that_differ_in_any_half_give_other_numbers() {
        let seeds = [0, 1, 1 << 64, (1 << 64) | 1];
        let mut first: [u64; 4] = core::array::from_fn(|i| Rng::new(seeds[i]).next_u64());
        first.sort_unstable();
        assert!(first.windows(2).all(|pair| pair[0] != pair[1]));
        assert_eq!(Rng::new(7).nonce(), Rng::new(7).nonce());
    }

    /// A jitter outside its bound would break a deadline computed from it.
    #[test]
    fn bounded_numbers_stay_below_their_bound() {
        let mut rng = Rng::new(3);
        assert_eq!(rng.below(0), 0);
        assert!((0..1000).all(|_| rng.below(7) < 7));
        let bound = Duration::from_millis(5);
        assert!((0..1000).all(|_| rng.duration_below(bound) < bound));
    }
}
