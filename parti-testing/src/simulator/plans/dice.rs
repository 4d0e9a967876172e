//! Keyed randomness: every decision is a hash of the seed, its purpose, who is concerned and a
//! running number, never the next value of one shared stream.
//!
//! It is separate because shrinking rests on it: taking one fault out of a plan leaves all other
//! decisions as they were. Only integer arithmetic is used, so a seed means the same everywhere.

use core::time::Duration;

/// What a decision is about; decisions of different purposes never share their randomness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Purpose {
    Plan = 1,
    Boot,
    Origin,
    RequestDelay,
    RequestDrop,
    RequestDuplicate,
    ReplyDelay,
    ReplyDrop,
    Refuse,
    Stale,
    StaleAge,
    Outage,
    WatchDelay,
    WatchLost,
    WatchStall,
    WatchDuplicate,
    WatchOrder,
    Callback,
    Source,
    Timer,
    Spurious,
    AtLimit,
    VeryLate,
    SnapshotCut,
    Strategy,
    Stuck,
    SlowStore,
    External,
    Fail,
    Warmup,
    Probe,
    ProbePair,
}

/// The source of all decisions of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dice {
    seed: u64,
}

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The decision number `number` of `who` about `purpose`.
    pub(crate) fn roll(self, purpose: Purpose, who: u64, number: u64) -> Roll {
        let salted = scramble(self.seed ^ (purpose as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let keyed = scramble(salted ^ who.wrapping_mul(0xc2b2_ae3d_27d4_eb4f));
        Roll(scramble(keyed ^ number.wrapping_mul(0x1656_67b1_9e37_79f9)))
    }
}

/// One random value, read in the way the decision needs it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Roll(u64);

impl Roll {
    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    /// A second value that follows from this one.
    pub(crate) const fn again(self) -> Self {
        Self(scramble(self.0 ^ 0x27d4_eb2f_1656_67c5))
    }

    /// A number below `bound`; zero when the bound is zero.
    pub(crate) const fn below(self, bound: u64) -> u64 {
        ((self.0 as u128 * bound as u128) >> 64) as u64
    }

    /// A number from `low` to `high`, both included.
    pub(crate) const fn within(self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True in `parts` of a million cases.
    pub(crate) const fn ppm(self, parts: u32) -> bool {
        self.below(1_000_000) < parts as u64
    }

    pub(crate) fn pick<T: Copy>(self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// A duration below `bound`.
    pub(crate) fn duration(self, bound: Duration) -> Duration {
        Duration::from_nanos(self.below(nanos(bound)))
    }

    /// An exponentially distributed duration of this mean, to within a tenth.
    ///
    /// The logarithm is taken by leading zeros and a straight line between powers of two.
    pub(crate) fn exponential(self, mean: Duration) -> Duration {
        let bits = self.0 | 1;
        let zeros = u64::from(bits.leading_zeros());
        let mantissa = ((bits << zeros) << 1) >> 48;
        let log2_scaled = ((zeros + 1) << 16) - mantissa;
        // ln 2 = 0.693147, in units of 2^-32 after the scaling by 2^16.
        let scaled = u128::from(nanos(mean)) * u128::from(log2_scaled) * 45_426;
        Duration::from_nanos((scaled >> 32) as u64)
    }
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

pub(crate) const fn scramble(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A distribution with a wrong mean would make every intensity in a plan a lie.
    #[test]
    fn exponential_delays_have_the_mean_that_was_asked_for() {
        let dice = Dice::new(7);
        let mean = Duration::from_millis(10);
        let total: Duration = (0..100_000)
            .map(|number| {
                dice.roll(Purpose::RequestDelay, 1, number)
                    .exponential(mean)
            })
            .sum();
        let measured = total / 100_000;
        assert!(
            measured > mean * 9 / 10 && measured < mean * 11 / 10,
            "{measured:?}"
        );
    }

    /// Shrinking needs decisions that do not depend on each other.
    #[test]
    fn purposes_and_numbers_give_unrelated_values() {
        let dice = Dice::new(7);
        let one = dice.roll(Purpose::RequestDrop, 1, 1).bits();
        assert_ne!(one, dice.roll(Purpose::ReplyDrop, 1, 1).bits());
        assert_ne!(one, dice.roll(Purpose::RequestDrop, 2, 1).bits());
        assert_ne!(one, dice.roll(Purpose::RequestDrop, 1, 2).bits());
        assert_ne!(one, Dice::new(8).roll(Purpose::RequestDrop, 1, 1).bits());
    }
}
