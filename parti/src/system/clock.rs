//! The one clock of a worker: how long this machine has been running, suspension included.
//!
//! It is separate because leases hang on it: a clock that stands still while the machine sleeps
//! would let a worker believe in a lease that the others saw end. What always holds: it never goes
//! back, and its origin is chosen once, so that two readings can be compared.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parti_core::Instant;

use crate::system::jump::Sample;
use crate::system::machine::Machine;

/// A monotonic clock with an origin. Clones share the origin.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    Boot {
        origin: Duration,
    },
    Tokio {
        origin: tokio::time::Instant,
    },
    Machine(Machine),
    /// Both clocks as a test sets them, in milliseconds.
    #[cfg(test)]
    Set(std::sync::Arc<[std::sync::atomic::AtomicU64; 2]>),
}

/// How far apart the readings of both clocks may be to be compared: between two of them a thread can
/// be kept from running.
const AT_ONCE: Duration = Duration::from_millis(1);

impl Clock {
    /// The clock of the machine. On Linux and Android it is `CLOCK_BOOTTIME`, on other Unix systems
    /// `CLOCK_MONOTONIC`, elsewhere the standard library's. Which of them go on while the machine is
    /// suspended is listed in `docs/OPERATIONS.md`; where one does not, the wall clock tells.
    #[must_use]
    pub fn boot() -> Self {
        Self(Source::Boot {
            origin: since_boot(),
        })
    }

    /// The clock of the tokio runtime, which tests can pause and advance. It may stand still while
    /// the machine sleeps, so it is not for production.
    #[must_use]
    pub fn tokio() -> Self {
        Self(Source::Tokio {
            origin: tokio::time::Instant::now(),
        })
    }

    /// The present.
    #[must_use]
    pub fn now(&self) -> Instant {
        let elapsed = match &self.0 {
            Source::Boot { origin } => since_boot().saturating_sub(*origin),
            Source::Tokio { origin } => origin.elapsed(),
            Source::Machine(machine) => machine.elapsed().0,
            #[cfg(test)]
            Source::Set(clocks) => set(&clocks[0]),
        };
        Instant::ORIGIN + elapsed
    }

    /// This clock beside the wall clock; `None` where there is nothing to compare, or not this time.
    pub(crate) fn sample(&self) -> Option<Sample> {
        let before = self.now();
        let wall = match &self.0 {
            Source::Boot { .. } => SystemTime::now().duration_since(UNIX_EPOCH).ok()?,
            // It may be paused, which the wall clock never is.
            Source::Tokio { .. } => return None,
            Source::Machine(machine) => machine.elapsed().1,
            #[cfg(test)]
            Source::Set(clocks) => set(&clocks[1]),
        };
        let monotonic = self.now();
        let sample = Sample { monotonic, wall };
        (monotonic.since(before) < AT_ONCE).then_some(sample)
    }

    pub(crate) const fn of(machine: Machine) -> Self {
        Self(Source::Machine(machine))
    }

    /// A clock, and the wall clock beside it, that stand where a test sets them, in milliseconds.
    #[cfg(test)]
    pub(crate) fn set(clocks: std::sync::Arc<[std::sync::atomic::AtomicU64; 2]>) -> Self {
        Self(Source::Set(clocks))
    }
}

#[cfg(test)]
fn set(clock: &std::sync::atomic::AtomicU64) -> Duration {
    Duration::from_millis(clock.load(std::sync::atomic::Ordering::SeqCst))
}

#[cfg(unix)]
fn since_boot() -> Duration {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Boottime;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Monotonic;
    let time = rustix::time::clock_gettime(CLOCK);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanos)
}

#[cfg(not(unix))]
fn since_boot() -> Duration {
    use std::sync::OnceLock;
    use std::time::Instant as StdInstant;
    static FIRST: OnceLock<StdInstant> = OnceLock::new();
    FIRST.get_or_init(StdInstant::now).elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock that went back would bring an ended lease back to life.
    #[test]
    fn the_boot_clock_moves_forward_from_its_origin() {
        let clock = Clock::boot();
        let shared = clock.clone();
        let first = clock.now();
        std::thread::sleep(Duration::from_millis(2));
        let second = shared.now();
        assert!(second.since(first) >= Duration::from_millis(2));
        assert!(second.since_origin() < Duration::from_secs(60));
    }
}
