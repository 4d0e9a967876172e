//! S5: processing of a partition by one process ends before it begins in another.
//!
//! This is promised only where every handoff goes the normal way: exclusive mode, and nobody is paused,
//! cut off or killed. A process that stands still cannot end anything; what holds then are S4 and S6.

use std::collections::BTreeMap;

use crate::simulator::checks::{Check, Fact, Findings, Kind, Process};
use parti_core::{Instant, PartitionKey};

#[derive(Debug, Default)]
pub(in crate::simulator) struct Processing {
    by: BTreeMap<PartitionKey, Process>,
}

impl Check for Processing {
    fn sees(&self) -> &[Kind] {
        &[Kind::Assign, Kind::Released, Kind::Ended]
    }

    fn observe(&mut self, _: Instant, fact: &Fact, findings: &mut Findings) {
        match fact {
            Fact::Assign {
                process, grants, ..
            } => {
                for grant in grants {
                    let partition = &grant.partition;
                    let before = self.by.insert(partition.clone(), *process);
                    if let Some(other) = before.filter(|other| other != process) {
                        findings.report(format!(
                            "{process} begins {partition} while {other} still processes it"
                        ));
                    }
                }
            }
            Fact::Released { process, grants } => {
                for grant in grants {
                    if self.by.get(&grant.partition) == Some(process) {
                        self.by.remove(&grant.partition);
                    }
                }
            }
            Fact::Ended { process } => self.by.retain(|_, by| by != process),
            Fact::Began { .. }
            | Fact::Commit { .. }
            | Fact::Step { .. }
            | Fact::Heard { .. }
            | Fact::Asked { .. }
            | Fact::Request { .. }
            | Fact::Planned { .. }
            | Fact::Proposes { .. }
            | Fact::Revoke { .. }
            | Fact::Notice { .. }
            | Fact::Settled { .. }
            | Fact::Panicked { .. }
            | Fact::Foreign { .. }
            | Fact::Healed
            | Fact::Milestone(..)
            | Fact::Due(_)
            | Fact::Over(_) => {}
        }
    }
}
