//! What every store backend must do, as one table of cases.
//!
//! The in-memory store, the NATS store and a user's own backend run the same cases, so that the fake
//! is held to the real thing and the other way round. It needs no runtime: a case that waits too
//! long is ended by a thread of its own.
//!
//! ```
//! # async fn example() {
//! use parti_testing::kit::{conformance, memory_store::MemoryStore};
//! let report = conformance::run(async || MemoryStore::new()).await;
//! assert!(report.is_ok(), "{report}");
//! # }
//! ```

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::time::Duration;

use parti_core::Store;

mod commits;
mod contention;
mod following;
mod outages;
mod reads;
mod support;
mod timer;
mod watches;

pub use outages::{Rig, Unable, outage_cases, run_outages};

/// How long one case may take.
pub const CASE_TIMEOUT: Duration = Duration::from_secs(20);

/// The outcome of a case: what was wrong, in words.
pub type Verdict = Result<(), String>;

/// What a case does with a fresh, empty store.
pub type Run = for<'a> fn(&'a dyn Store) -> Pin<Box<dyn Future<Output = Verdict> + Send + 'a>>;

/// One requirement.
#[derive(Clone, Copy)]
pub struct Case {
    /// What must hold.
    pub name: &'static str,
    /// What breaks if it does not.
    pub why: &'static str,
    /// Tries it.
    pub run: Run,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Every case.
pub fn cases() -> impl Iterator<Item = &'static Case> {
    commits::CASES
        .iter()
        .chain(reads::CASES)
        .chain(watches::CASES)
        .chain(contention::CASES)
        .chain(following::CASES)
}

/// Runs every case, each on a store of its own from `make`, which must be empty.
///
/// # Cancellation safety
/// Dropping the future abandons the case that is running; its store may keep what was written. Each
/// case is bounded by 20 s, and fails then; `make` has no deadline.
pub async fn run<S: Store>(make: impl AsyncFn() -> S) -> SuiteReport {
    let mut report = SuiteReport::default();
    for case in cases() {
        let store = make().await;
        let verdict = timer::within(CASE_TIMEOUT, (case.run)(&store)).await;
        let verdict = verdict.unwrap_or_else(|| Err(format!("not done after {CASE_TIMEOUT:?}")));
        report.add(case.name, case.why, verdict);
    }
    report
}

/// What came out of the cases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SuiteReport {
    /// The names of the cases that hold.
    pub passed: Vec<&'static str>,
    /// The names of the cases that this store cannot be put through.
    pub skipped: Vec<&'static str>,
    /// The cases that do not.
    pub failed: Vec<Failed>,
}

/// A case that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Its name.
    pub name: &'static str,
    /// What breaks because of it.
    pub why: &'static str,
    /// What was seen.
    pub reason: String,
}

impl SuiteReport {
    fn add(&mut self, name: &'static str, why: &'static str, verdict: Verdict) {
        match verdict {
            Ok(()) => self.passed.push(name),
            Err(reason) => self.failed.push(Failed { name, why, reason }),
        }
    }

    /// Whether every case holds.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.failed.is_empty() && !self.passed.is_empty()
    }
}

impl fmt::Display for SuiteReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for failed in &self.failed {
            writeln!(
                f,
                "FAILED {}: {} ({})",
                failed.name, failed.reason, failed.why
            )?;
        }
        let (passed, failed) = (self.passed.len(), self.failed.len());
        write!(f, "{passed} passed, {failed} failed")?;
        match self.skipped.len() {
            0 => Ok(()),
            skipped => write!(f, ", {skipped} skipped"),
        }
    }
}

#[cfg(test)]
mod tests;
