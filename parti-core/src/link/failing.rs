//! Steps that keep failing: since when, how often in a row, and why.
//!
//! They outlive the leadership in which they failed: a leader that resigns for its failures is the one
//! that knows what they were. What always holds: whatever tells of a failed step notes it here, and
//! a success forgets it.

use alloc::collections::BTreeMap;
use alloc::string::String;

use crate::io::notice::{FailedStep, Notice};
use crate::model::time::Instant;
use crate::records::problem::{Problem, ProblemKind};

/// The steps of a leader, and what it is called when they keep failing.
const OF_A_LEADER: [(FailedStep, ProblemKind); 3] = [
    (FailedStep::Plan, ProblemKind::PlanFailing),
    (FailedStep::ListPartitions, ProblemKind::SourceFailing),
    (FailedStep::Commit, ProblemKind::CommitFailing),
];

/// The steps that fail now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Failing(BTreeMap<FailedStep, Failed>);

#[derive(Clone, Debug)]
struct Failed {
    since: Instant,
    times: usize,
    reason: String,
}

impl Failing {
    /// Something is told.
    pub(crate) fn on_notice(&mut self, now: Instant, notice: &Notice) {
        let Notice::StepFailed { step, reason, .. } = notice else {
            return;
        };
        let failed = self.0.entry(*step).or_insert_with(|| Failed {
            since: now,
            times: 0,
            reason: String::new(),
        });
        failed.times = failed.times.saturating_add(1);
        failed.reason.clone_from(reason);
    }

    /// A step succeeded.
    pub(crate) fn done(&mut self, step: FailedStep) {
        self.0.remove(&step);
    }

    /// Somebody else leads and does well: what failed here says nothing of the group any more.
    pub(crate) fn leave_to_others(&mut self) {
        for (step, _) in OF_A_LEADER {
            self.done(step);
        }
    }

    /// What fails of a leader's work.
    pub(crate) fn problems(&self) -> impl Iterator<Item = Problem> {
        OF_A_LEADER.into_iter().filter_map(|(step, kind)| {
            let failed = self.0.get(&step)?;
            let reason = failed.reason.clone();
            Some(Problem::new(kind, failed.since, failed.times, reason))
        })
    }
}
