//! S19: for each partition of a process assignment, revocation and release alternate, and nothing is
//! held when the core says that it has stopped, unless it also says that a release did not come.

use std::collections::BTreeMap;

use crate::simulator::checks::{Check, Fact, Findings, Kind, Process};
use parti_core::{Instant, Notice, PartitionKey, Token};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Assigned,
    Revoking,
}

#[derive(Debug, Default)]
pub(in crate::simulator) struct Callbacks {
    stages: BTreeMap<Process, BTreeMap<PartitionKey, (Stage, Token)>>,
}

impl Check for Callbacks {
    fn sees(&self) -> &[Kind] {
        &[
            Kind::Ended,
            Kind::Assign,
            Kind::Revoke,
            Kind::Released,
            Kind::Notice,
        ]
    }

    fn observe(&mut self, _: Instant, fact: &Fact, findings: &mut Findings) {
        match fact {
            Fact::Ended { process } => {
                self.stages.remove(process);
            }
            Fact::Assign {
                process, grants, ..
            } => {
                let stages = self.stages.entry(*process).or_default();
                for grant in grants {
                    let next = (Stage::Assigned, grant.token);
                    if let Some(before) = stages.insert(grant.partition.clone(), next) {
                        findings.report(format!("{process} assigns {grant:?} while {before:?}"));
                    }
                }
            }
            Fact::Revoke {
                process, grants, ..
            } => {
                let stages = self.stages.entry(*process).or_default();
                for grant in grants {
                    let next = (Stage::Revoking, grant.token);
                    let before = stages.insert(grant.partition.clone(), next);
                    if before != Some((Stage::Assigned, grant.token)) {
                        findings.report(format!("{process} revokes {grant:?} while {before:?}"));
                    }
                }
            }
            Fact::Released { process, grants } => {
                let stages = self.stages.entry(*process).or_default();
                for grant in grants {
                    stages.remove(&grant.partition);
                }
            }
            Fact::Notice {
                process,
                notice: Notice::Stopped { errors },
            } => {
                let mut held = self.stages.remove(process).unwrap_or_default();
                // A callback that does not return is given up, and said so.
                held.retain(|_, (stage, _)| errors.is_empty() || *stage == Stage::Assigned);
                if !held.is_empty() {
                    findings.report(format!("{process} has stopped and still holds {held:?}"));
                }
            }
            Fact::Began { .. }
            | Fact::Commit { .. }
            | Fact::Step { .. }
            | Fact::Request { .. }
            | Fact::Notice { .. }
            | Fact::Settled { .. }
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
