//! The clock of one process: true time to local time and back, with a constant rate error.
//!
//! It is separate because every lease argument is about the difference of two such clocks. Local
//! time starts at an arbitrary origin, so that no two processes can compare their clocks.

use core::time::Duration;

use parti_core::Instant;

/// A monotonic clock that runs too fast or too slow by a fixed rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started: Instant,
    origin: Instant,
    ppm: i64,
}

const MILLION: i64 = 1_000_000;

impl Clock {
    /// A clock that shows `origin` at the true time `started` and gains `ppm` microseconds a second.
    pub(crate) const fn new(started: Instant, origin: Instant, ppm: i32) -> Self {
        Self {
            started,
            origin,
            ppm: ppm as i64,
        }
    }

    /// The clock stood still for a while.
    pub(crate) fn stood_still(&mut self, length: Duration) {
        self.started += length;
    }

    /// What the clock shows.
    pub(crate) fn local(&self, now: Instant) -> Instant {
        let elapsed = i128::from(now.as_nanos()) - i128::from(self.started.as_nanos());
        let shown =
            i128::from(self.origin.as_nanos()) + elapsed + scaled(elapsed, self.ppm, MILLION);
        Instant::from_nanos(clamp(shown))
    }

    /// The first true time at which the clock shows at least `local`.
    pub(crate) fn true_time(&self, local: Instant) -> Instant {
        if local == Instant::FAR_FUTURE {
            return local;
        }
        let wanted = i128::from(local.as_nanos()) - i128::from(self.origin.as_nanos());
        let elapsed = scaled(wanted, MILLION, MILLION + self.ppm);
        let guess = i128::from(self.started.as_nanos()) + elapsed;
        if self.ppm == 0 {
            return Instant::from_nanos(clamp(guess));
        }
        let mut found = Instant::from_nanos(clamp(guess - 2));
        while self.local(found) < local {
            found = Instant::from_nanos(found.as_nanos() + 1);
        }
        found
    }
}

/// `value * by / over`. Nearly all values fit 64 bits, where a division takes a tenth of the time.
fn scaled(value: i128, by: i64, over: i64) -> i128 {
    let product = i64::try_from(value).ok().and_then(|v| v.checked_mul(by));
    match product {
        Some(product) => i128::from(product / over),
        None => value * i128::from(by) / i128::from(over),
    }
}

fn clamp(value: i128) -> u64 {
    u64::try_from(value.max(0)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wake-up that comes a nanosecond early makes a core arm the same timer again.
    #[test]
    fn the_way_back_is_never_early() {
        for ppm in [-50_000, -1000, -3, 0, 7, 1000, 50_000] {
            let clock = Clock::new(Instant::from_millis(3), Instant::from_millis(77), ppm);
            for nanos in [77_000_001, 80_123_457, 9_999_999_999] {
                let local = Instant::from_nanos(nanos);
                let found = clock.true_time(local);
                assert!(clock.local(found) >= local);
                let before = Instant::from_nanos(found.as_nanos() - 4);
                assert!(clock.local(before) < local, "{ppm} {nanos}");
            }
        }
    }
}
