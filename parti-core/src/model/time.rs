//! The core's own clock value: a point in time as nanoseconds before or after an origin chosen by the driver.
//!
//! It is separate from `std::time::Instant` because it can be written as a constant, printed as
//! `12.5s`, compared across traces, and because it has no `now()`: time is always an argument.

use core::fmt;
use core::ops::{Add, AddAssign};
use core::time::Duration;

/// A point in time, counted in nanoseconds from an origin that the driver chose once.
///
/// It may lie before the origin: a process whose clock began a second ago hears from a record that something
/// has been waiting for a minute. Arithmetic saturates: an absurd configuration can make a deadline
/// "never", it cannot panic.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(i64);

impl Instant {
    /// The origin itself.
    pub const ORIGIN: Self = Self(0);
    /// Later than every real point in time.
    pub const FAR_FUTURE: Self = Self(i64::MAX);

    /// The point `nanos` nanoseconds after the origin; [`FAR_FUTURE`](Self::FAR_FUTURE) beyond 292 years.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        if nanos > i64::MAX as u64 {
            Self::FAR_FUTURE
        } else {
            Self(nanos as i64)
        }
    }

    /// The point `millis` milliseconds after the origin.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self::from_nanos(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the origin; zero for a point before it.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        if self.0 < 0 { 0 } else { self.0 as u64 }
    }

    /// Time elapsed since the origin; zero for a point before it.
    #[must_use]
    pub const fn since_origin(self) -> Duration {
        Duration::from_nanos(self.as_nanos())
    }

    /// How long after `earlier` this is; zero when it is not after it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        if self.0 > earlier.0 {
            Duration::from_nanos(self.0.abs_diff(earlier.0))
        } else {
            Duration::ZERO
        }
    }

    /// This point moved back by `duration`, also before the origin.
    #[must_use]
    pub fn saturating_sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub_unsigned(nanos(duration)))
    }
}

/// Nanoseconds of a duration, saturating at `u64::MAX` (584 years).
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add_unsigned(nanos(duration)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self < Self::ORIGIN {
            write!(f, "-{:?}", Self::ORIGIN.since(*self))
        } else {
            write!(f, "{:?}", self.since_origin())
        }
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::borrow::ToOwned;
    use alloc::string::ToString;

    /// Prevents a wrapped deadline from looking like one long past.
    #[test]
    fn arithmetic_saturates_instead_of_wrapping() {
        let late = Instant::FAR_FUTURE + Duration::from_secs(1);
        assert_eq!(late, Instant::FAR_FUTURE);
        assert_eq!(Instant::ORIGIN.since(late), Duration::ZERO);
        assert_eq!(Instant::from_nanos(u64::MAX), Instant::FAR_FUTURE);
        let first = Instant::ORIGIN.saturating_sub(Duration::MAX);
        assert!(first < Instant::ORIGIN && first.saturating_sub(Duration::MAX) == first);
        assert_eq!(Instant::FAR_FUTURE.since(first).as_nanos(), u64::MAX.into());
    }

    /// A process that has just started took what its group had waited for to be as young as itself.
    #[test]
    fn what_began_before_the_clock_keeps_its_age() {
        let now = Instant::from_millis(2);
        let begun = now.saturating_sub(Duration::from_secs(6));
        assert_eq!(now.since(begun), Duration::from_secs(6));
        assert_eq!(begun + Duration::from_secs(6), now);
        assert_eq!(begun.since(now), Duration::ZERO);
        assert_eq!(
            (begun.as_nanos(), begun.to_string()),
            (0, "-5.998s".to_owned())
        );
    }

    /// Traces are read by people: a point prints as the time since the origin.
    #[test]
    fn prints_as_elapsed_time() {
        assert_eq!(Instant::from_millis(12_500).to_string(), "12.5s");
    }
}
