//! Times a workload and counts what it allocates once warm.

use std::time::{Duration, Instant};

use parti_core::{Plan, Report};

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
pub(crate) fn measure(case: &mut Case, budget: Duration) -> Measured {
    let mut plan = Plan::default();
    for _ in 0..2 {
        (case.run)(&mut plan);
    }
    let counted = allocation_counter::measure(|| (case.run)(&mut plan));
    let (begin, mut times) = (Instant::now(), Vec::new());
    while times.len() < LEAST_RUNS || (begin.elapsed() < budget && times.len() < MOST_RUNS) {
        let start = Instant::now();
        (case.run)(&mut plan);
        times.push(start.elapsed());
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
