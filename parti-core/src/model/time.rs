//! The core's own clock value: a point in time as nanoseconds since an origin chosen by the driver.
//!
//! It is separate from `std::time::Instant` because it can be written as a constant, printed as
//! `12.5s`, compared across traces, and because it has no `now()`: time is always an argument.

use core::fmt;
use core::ops::{Add, AddAssign};
use core::time::Duration;

/// A point in time, counted in nanoseconds from an origin that the driver chose once.
///
/// Arithmetic saturates: an absurd configuration can make a deadline "never", it cannot panic.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The origin itself.
    pub const ORIGIN: Self = Self(0);
    /// Later than every real point in time.
    pub const FAR_FUTURE: Self = Self(u64::MAX);

    /// The point `nanos` nanoseconds after the origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The point `millis` milliseconds after the origin.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the origin.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time elapsed since the origin.
    #[must_use]
    pub const fn since_origin(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// How long after `earlier` this is; zero when it is not after it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This point moved back by `duration`, but not before the origin.
    #[must_use]
    pub fn saturating_sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(duration)))
    }
}

/// Nanoseconds of a duration, saturating at `u64::MAX` (584 years).
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.since_origin())
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
    use alloc::string::ToString;

    /// Prevents a wrapped deadline from looking like one long past.
    #[test]
    fn arithmetic_saturates_instead_of_wrapping() {
        let late = Instant::FAR_FUTURE + Duration::from_secs(1);
        assert_eq!(late, Instant::FAR_FUTURE);
        assert_eq!(Instant::ORIGIN.since(late), Duration::ZERO);
        assert_eq!(
            Instant::from_millis(5).saturating_sub(Duration::MAX),
            Instant::ORIGIN
        );
    }

    /// Traces are read by people: a point prints as the time since the origin.
    #[test]
    fn prints_as_elapsed_time() {
        assert_eq!(Instant::from_millis(12_500).to_string(), "12.5s");
    }
}
