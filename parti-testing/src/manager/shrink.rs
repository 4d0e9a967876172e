//! Makes a failing plan smaller while it shows the same violation first.

use super::judge::Property;
use super::plan::{HandlerFaults, Plan};
use super::run::Run;
use super::world::run;

/// The most runs one shrinking may take.
const MAX_RUNS: u32 = 300;

/// A smaller plan that shows the same violation first, or `None` if this one shows none.
#[must_use]
pub fn shrink(of: &Run, plan: &Plan) -> Option<Plan> {
    let outcome = run(of, plan);
    let first = outcome.violations.first()?;
    let mut best = Shrinking {
        of,
        property: first.property,
        plan: plan.clone(),
        runs: 0,
    };
    best.attempt(|plan| {
        plan.faults_ms = plan.faults_ms.min(first.at_ms + 1);
        plan.actions.retain(|timed| timed.at_ms <= first.at_ms);
    });
    loop {
        let before = best.plan.clone();
        best.take_out_actions();
        best.attempt(|plan| plan.handlers = HandlerFaults::default());
        best.attempt(|plan| plan.handlers.hang_ppm = 0);
        best.attempt(|plan| plan.handlers.panic_ppm = 0);
        best.attempt(|plan| plan.handlers.fail_ppm = 0);
        best.attempt(|plan| plan.handlers.slow_ppm = 0);
        best.attempt(|plan| plan.handlers.late_write_ppm = 0);
        for partitions in [1, 2, 4, 8, 16] {
            best.attempt(|plan| plan.partitions = plan.partitions.min(partitions));
        }
        if best.plan == before || best.runs >= MAX_RUNS {
            return Some(best.plan);
        }
    }
}

struct Shrinking<'a> {
    of: &'a Run,
    property: Property,
    plan: Plan,
    runs: u32,
}

impl Shrinking<'_> {
    /// Takes a smaller plan over if it fails in the same way.
    fn attempt(&mut self, change: impl FnOnce(&mut Plan)) -> bool {
        let mut candidate = self.plan.clone();
        change(&mut candidate);
        if self.runs >= MAX_RUNS || candidate == self.plan {
            return false;
        }
        self.runs += 1;
        let found = run(self.of, &candidate).violations;
        let same = found
            .first()
            .is_some_and(|found| found.property == self.property);
        if same {
            self.plan = candidate;
        }
        same
    }

    /// Takes out halves, quarters and so on down to single actions.
    fn take_out_actions(&mut self) {
        let mut size = self.plan.actions.len();
        while size > 0 {
            let mut start = 0;
            while start < self.plan.actions.len() {
                let end = (start + size).min(self.plan.actions.len());
                if !self.attempt(|plan| drop(plan.actions.drain(start..end))) {
                    start += size;
                }
            }
            size /= 2;
        }
    }
}
