//! S3: a worker whose deadline has passed on its own clock revokes everything before anything else.
//!
//! What it promised before the deadline does not matter: a process that was paused may be the last
//! to learn that its partitions belong to somebody else.

use std::collections::{BTreeMap, BTreeSet};

use crate::simulator::checks::{Check, Fact, Findings, Kind, Process};
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
    fn sees(&self) -> &[Kind] {
        &[
            Kind::Ended,
            Kind::Step,
            Kind::Request,
            Kind::Assign,
            Kind::Revoke,
            Kind::Settled,
        ]
    }

    fn observe(&mut self, _: Instant, fact: &Fact, findings: &mut Findings) {
        match fact {
            Fact::Ended { process } => {
                self.holders.remove(process);
            }
            Fact::Step { process, local, .. } => {
                let holder = self.holders.entry(*process).or_default();
                let passed = holder.deadline.is_none_or(|deadline| deadline <= *local);
                holder.overdue = passed && !holder.held.is_empty();
            }
            Fact::Request { process } => self.first(*process, "a request", findings),
            Fact::Assign {
                process,
                grants,
                local,
                deadline,
            } => {
                self.first(*process, "an assignment", findings);
                if deadline.is_none_or(|deadline| deadline <= *local) {
                    findings.report(format!(
                        "{process} at {local} assigns {grants:?} with the deadline {deadline:?}"
                    ));
                }
                let holder = self.holders.entry(*process).or_default();
                holder
                    .held
                    .extend(grants.iter().map(|grant| grant.partition.clone()));
            }
            Fact::Revoke {
                process, grants, ..
            } => {
                let holder = self.holders.entry(*process).or_default();
                for grant in grants {
                    holder.held.remove(&grant.partition);
                }
                holder.overdue &= !holder.held.is_empty();
            }
            Fact::Settled {
                process, deadline, ..
            } => {
                self.first(*process, "the end of the step", findings);
                self.holders.entry(*process).or_default().deadline = *deadline;
            }
            Fact::Began { .. }
            | Fact::Commit { .. }
            | Fact::Released { .. }
            | Fact::Notice { .. }
            | Fact::Panicked { .. }
            | Fact::Heard { .. }
            | Fact::Asked { .. }
            | Fact::Planned { .. }
            | Fact::Proposes { .. }
            | Fact::Foreign { .. }
            | Fact::Healed
            | Fact::Milestone(..)
            | Fact::Due(_)
            | Fact::Over(_) => {}
        }
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
