//! How late the machine is at the moment: what a bound in milliseconds has to make room for.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How often to look.
const LOOK: Duration = Duration::from_millis(5);
/// How many waits for a turn a take-over consists of: timers, messages there and back, writes, lines.
const STEPS: u64 = 40;

/// Looks at how late a thread is that does nothing but sleep, as long as it lives.
pub(crate) struct Strain(Arc<AtomicU64>);

impl Strain {
    pub(crate) fn begin() -> Self {
        let latest = Arc::new(AtomicU64::new(0));
        let seen = Arc::downgrade(&latest);
        thread::spawn(move || {
            while let Some(latest) = seen.upgrade() {
                let begun = Instant::now();
                thread::sleep(LOOK);
                let late = begun.elapsed().saturating_sub(LOOK).as_millis();
                let late = u64::try_from(late).unwrap_or(u64::MAX);
                latest.fetch_max(late, Ordering::Relaxed);
            }
        });
        Self(latest)
    }

    /// A bound for a machine with nothing else to do, in milliseconds, as one for this machine now.
    pub(crate) fn allows(&self, bound_ms: u64) -> u64 {
        bound_ms + STEPS * self.0.load(Ordering::Relaxed)
    }
}

impl fmt::Display for Strain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let late = self.0.load(Ordering::Relaxed);
        write!(f, "on a machine that is up to {late} ms late")
    }
}
