//! Times a workload and counts what it allocates.

use std::time::{Duration, Instant};

use parti_core::Report;

use super::build::Case;

const LEAST_RUNS: usize = 7;
const MOST_RUNS: usize = 2001;

/// What was found.
pub(crate) struct Measured {
    pub(crate) least: Duration,
    pub(crate) median: Duration,
    pub(crate) runs: usize,
    pub(crate) allocations: u64,
    pub(crate) report: Report,
}

/// Repeats a workload for about as long as the budget, at least [`LEAST_RUNS`] times.
pub(crate) fn measure(case: &Case, budget: Duration) -> Measured {
    let mut plan = (case.run)();
    let counted = allocation_counter::measure(|| plan = (case.run)());
    let (begin, mut times) = (Instant::now(), Vec::new());
    while times.len() < LEAST_RUNS || (begin.elapsed() < budget && times.len() < MOST_RUNS) {
        let start = Instant::now();
        let planned = (case.run)();
        times.push(start.elapsed());
        drop(planned);
    }
    times.sort_unstable();
    Measured {
        least: times[0],
        median: times[times.len() / 2],
        runs: times.len(),
        allocations: counted.count_total,
        report: plan.report,
    }
}
