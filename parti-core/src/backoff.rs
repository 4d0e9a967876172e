//! Exponential backoff with jitter as a pure value: a policy without a clock.
//!
//! The jitter is drawn from the un-jittered delay, so that it never compounds and never exceeds the
//! maximum ("full jitter" over the upper half: AWS Architecture Blog, "Exponential Backoff And
//! Jitter").

use core::time::Duration;

use crate::rng::Rng;

/// Delays between tries: doubling from `first` to `most`, each drawn from its upper half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    first: Duration,
    most: Duration,
    tries: u32,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, most: Duration) -> Self {
        Self {
            first,
            most,
            tries: 0,
        }
    }

    /// How many delays have been given out.
    pub(crate) const fn tries(&self) -> u32 {
        self.tries
    }

    /// The next delay.
    pub(crate) fn next(&mut self, rng: &mut Rng) -> Duration {
        let factor = 1_u32.checked_shl(self.tries.min(20)).unwrap_or(u32::MAX);
        self.tries = self.tries.saturating_add(1);
        let delay = self.first.saturating_mul(factor).min(self.most);
        delay / 2 + rng.duration_below(delay / 2)
    }

    pub(crate) const fn reset(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Delays that compound or outgrow their bound turn a short outage into a long one.
    #[test]
    fn delays_double_stay_in_their_half_and_below_the_maximum() {
        let (first, most) = (Duration::from_millis(10), Duration::from_millis(65));
        for seed in 0..200 {
            let mut rng = Rng::new(seed);
            let mut backoff = Backoff::new(first, most);
            for expected in [10, 20, 40, 65, 65, 65] {
                let delay = backoff.next(&mut rng);
                let expected = Duration::from_millis(expected);
                assert!(
                    delay >= expected / 2 && delay < expected,
                    "{delay:?} of {expected:?}"
                );
            }
        }
    }
}
