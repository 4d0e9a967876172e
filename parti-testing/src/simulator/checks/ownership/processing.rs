//! S5: processing of a partition by one process ends before it begins in another.
//!
//! This is promised only where every handoff goes the normal way: exclusive mode, and nobody is paused,
//! cut off or killed. A process that stands still cannot end anything; what holds then are S4 and S6.

use std::collections::BTreeMap;

use crate::simulator::checks::{Assigned, Check, Findings, Process};
use parti_core::{Grant, PartitionKey};

#[derive(Debug, Default)]
pub(in crate::simulator) struct Processing {
    by: BTreeMap<PartitionKey, Process>,
}

impl Check for Processing {
    fn on_assign(&mut self, process: Process, assigned: &Assigned, findings: &mut Findings) {
        for Grant { partition, .. } in &assigned.grants {
            let before = self.by.insert(partition.clone(), process);
            if let Some(other) = before.filter(|other| *other != process) {
                findings.report(format!(
                    "{process} begins {partition} while {other} still processes it"
                ));
            }
        }
    }

    fn on_released(&mut self, process: Process, grants: &[Grant]) {
        for grant in grants {
            if self.by.get(&grant.partition) == Some(&process) {
                self.by.remove(&grant.partition);
            }
        }
    }

    fn on_ended(&mut self, process: Process) {
        self.by.retain(|_, by| *by != process);
    }
}
