//! S3: a worker whose deadline has passed on its own clock revokes everything before anything else.
//!
//! What it promised before the deadline does not matter: a process that was paused may be the last
//! to learn that its partitions belong to somebody else.

use std::collections::{BTreeMap, BTreeSet};

use crate::simulator::checks::{Assigned, Check, Findings, Process, Revoked, StepEnd};
use parti_core::{Instant, PartitionKey};

#[derive(Debug, Default)]
struct Holder {
    deadline: Option<Instant>,
    held: BTreeSet<PartitionKey>,
    /// The step began past the deadline and this is still to be revoked.
    overdue: bool,
}

#[derive(Debug, Default)]
pub(in crate::simulator) struct SelfFence {
    holders: BTreeMap<Process, Holder>,
}

impl Check for SelfFence {
    fn on_step(&mut self, process: Process, local: Instant, _: Option<u64>, _: &mut Findings) {
        let holder = self.holders.entry(process).or_default();
        let passed = holder.deadline.is_none_or(|deadline| deadline <= local);
        holder.overdue = passed && !holder.held.is_empty();
    }

    fn on_request(&mut self, process: Process, findings: &mut Findings) {
        self.first(process, "a request", findings);
    }

    fn on_assign(&mut self, process: Process, assigned: &Assigned, findings: &mut Findings) {
        self.first(process, "an assignment", findings);
        let (grants, local, deadline) = (&assigned.grants, assigned.local, assigned.deadline);
        if deadline.is_none_or(|deadline| deadline <= local) {
            findings.report(format!(
                "{process} at {local} assigns {grants:?} with the deadline {deadline:?}"
            ));
        }
        let holder = self.holders.entry(process).or_default();
        holder
            .held
            .extend(grants.iter().map(|grant| grant.partition.clone()));
    }

    fn on_revoke(&mut self, process: Process, revoked: &Revoked, _: &mut Findings) {
        let holder = self.holders.entry(process).or_default();
        for grant in &revoked.grants {
            holder.held.remove(&grant.partition);
        }
        holder.overdue &= !holder.held.is_empty();
    }

    fn on_settled(&mut self, process: Process, end: &StepEnd, findings: &mut Findings) {
        self.first(process, "the end of the step", findings);
        self.holders.entry(process).or_default().deadline = end.deadline;
    }

    fn on_ended(&mut self, process: Process) {
        self.holders.remove(&process);
    }
}

impl SelfFence {
    fn first(&mut self, process: Process, what: &str, findings: &mut Findings) {
        let holder = self.holders.entry(process).or_default();
        if core::mem::take(&mut holder.overdue) {
            let held = &holder.held;
            findings.report(format!(
                "{process} is past its deadline {:?}, but {what} comes before the revocation of \
                 {held:?}",
                holder.deadline
            ));
        }
    }
}
