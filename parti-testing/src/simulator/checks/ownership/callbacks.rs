//! S19: for each partition of a process assignment, revocation and release alternate, and nothing is
//! held when the core says that it has stopped, unless it also says that a release did not come.

use std::collections::BTreeMap;

use crate::simulator::checks::{Assigned, Check, Findings, Process, Revoked};
use parti_core::{Grant, Notice, PartitionKey, Token};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CallbackStage {
    Assigned,
    Revoking,
}

#[derive(Debug, Default)]
pub(in crate::simulator) struct Callbacks {
    stages: BTreeMap<Process, BTreeMap<PartitionKey, (CallbackStage, Token)>>,
}

impl Check for Callbacks {
    fn on_assign(&mut self, process: Process, assigned: &Assigned, findings: &mut Findings) {
        let stages = self.stages.entry(process).or_default();
        for grant in &assigned.grants {
            let next = (CallbackStage::Assigned, grant.token);
            if let Some(before) = stages.insert(grant.partition.clone(), next) {
                findings.report(format!("{process} assigns {grant:?} while {before:?}"));
            }
        }
    }

    fn on_revoke(&mut self, process: Process, revoked: &Revoked, findings: &mut Findings) {
        let stages = self.stages.entry(process).or_default();
        for grant in &revoked.grants {
            let next = (CallbackStage::Revoking, grant.token);
            let before = stages.insert(grant.partition.clone(), next);
            if before != Some((CallbackStage::Assigned, grant.token)) {
                findings.report(format!("{process} revokes {grant:?} while {before:?}"));
            }
        }
    }

    fn on_released(&mut self, process: Process, grants: &[Grant]) {
        let stages = self.stages.entry(process).or_default();
        for grant in grants {
            stages.remove(&grant.partition);
        }
    }

    fn on_notice(&mut self, process: Process, notice: &Notice, findings: &mut Findings) {
        let Notice::Stopped { errors } = notice else {
            return;
        };
        let mut held = self.stages.remove(&process).unwrap_or_default();
        // A callback that does not return is given up, and said so.
        held.retain(|_, (stage, _)| errors.is_empty() || *stage == CallbackStage::Assigned);
        if !held.is_empty() {
            findings.report(format!("{process} has stopped and still holds {held:?}"));
        }
    }

    fn on_ended(&mut self, process: Process) {
        self.stages.remove(&process);
    }
}
