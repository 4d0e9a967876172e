//! Jumps: time that passed without the monotonic clock noticing, as the wall clock tells it.
//!
//! Separate from the clock because it is a judgement on two clocks, as plain values. What always holds:
//! only a wall clock that runs *ahead* counts. A machine that stood still without its monotonic
//! clock, such as a virtual machine that its host paused, shows so as soon as its wall clock is set
//! right; a lease then lasts longer than it may. A wall clock that is stepped back says nothing of
//! the kind.

use std::time::Duration;

use parti_core::{Config, Instant};

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) monotonic: Instant,
    /// Since 1970.
    pub(crate) wall: Duration,
}

/// Compares the clocks over the last one to two leases.
#[derive(Debug)]
pub(crate) struct Jumps {
    /// What is not noticed, nor several of them within a lease that add up to less.
    tolerance: Duration,
    span: Duration,
    /// At least one lease before the newer one, once there are two.
    older: Option<Sample>,
    newer: Option<Sample>,
}

impl Jumps {
    /// The least that counts as a jump, where the margin of the lease is shorter than usual.
    const LEAST: Duration = Duration::from_millis(10);

    /// What is too small to be noticed takes up a quarter of the lease's margin at most.
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            tolerance: (config.lease_margin() / 4).max(Self::LEAST),
            span: config.lease(),
            older: None,
            newer: None,
        }
    }

    /// How far the wall clock has run ahead, if it has.
    pub(crate) fn look(&mut self, now: Sample) -> Option<Duration> {
        let older = *self.older.get_or_insert(now);
        let newer = *self.newer.get_or_insert(now);
        let passed = now.monotonic.since(older.monotonic);
        let expected = older.wall.saturating_add(passed);
        let ahead = now.wall.saturating_sub(expected);
        let behind = expected.saturating_sub(now.wall);
        if ahead.max(behind) > self.tolerance {
            // From here on the wall clock is right, as far as anybody knows.
            (self.older, self.newer) = (Some(now), Some(now));
        } else if now.monotonic.since(newer.monotonic) >= self.span {
            (self.older, self.newer) = (Some(newer), Some(now));
        }
        Some(ahead).filter(|ahead| *ahead > self.tolerance)
    }
}

#[cfg(test)]
mod tests {
    use parti_core::Preset;

    use super::*;

    /// Looks at these moments, in milliseconds of either clock; what was found at each.
    fn looks(samples: &[(u64, u64)]) -> Vec<u64> {
        let config = Config::builder("g").preset(Preset::Default).build();
        let mut jumps = Jumps::new(&config.expect("coherent"));
        let look = |&(monotonic, wall): &(u64, u64)| {
            let monotonic = Instant::from_millis(monotonic);
            let wall = Duration::from_millis(1_700_000_000_000 + wall);
            let found = jumps.look(Sample { monotonic, wall });
            u64::try_from(found.unwrap_or_default().as_millis()).expect("small")
        };
        samples.iter().map(look).collect()
    }

    /// A host that pauses a virtual machine stops its monotonic clock as well: its lease would last
    /// as much longer, beside the next owner's.
    #[test]
    fn a_wall_clock_that_runs_ahead_is_told_once_with_how_far() {
        assert_eq!(
            looks(&[(0, 0), (1000, 1000), (2000, 9000), (3000, 10_000)]),
            [0, 0, 7000, 0]
        );
        // Also when the machine was found late, and again after the first time.
        assert_eq!(
            looks(&[(0, 0), (60_000, 61_000), (61_000, 64_000)]),
            [0, 1000, 2000]
        );
    }

    /// A time server that sets the clock back, or corrects it a little, must not cost the lease.
    #[test]
    fn a_wall_clock_that_steps_back_or_is_corrected_a_little_is_nothing() {
        assert_eq!(looks(&[(0, 0), (1000, 1050), (2000, 2050)]), [0, 0, 0]);
        assert_eq!(looks(&[(10_000, 10_000), (11_000, 3000)]), [0, 0]);
        // What comes after a step back is measured from there.
        let again = [
            (10_000, 10_000),
            (11_000, 3000),
            (12_000, 4000),
            (13_000, 8000),
        ];
        assert_eq!(looks(&again), [0, 0, 0, 3000]);
    }

    /// Many small pauses within one lease are a long one; over an hour they are clocks that drift.
    #[test]
    fn small_steps_add_up_within_a_lease_and_are_forgotten_after_two() {
        let quick: Vec<_> = (0..5).map(|i| (i * 1000, i * 1020)).collect();
        assert_eq!(looks(&quick), [0, 0, 0, 60, 0]);
        let slow: Vec<_> = (0..100).map(|i| (i * 7000, i * 7020)).collect();
        assert!(looks(&slow).iter().all(|found| *found == 0));
    }
}
