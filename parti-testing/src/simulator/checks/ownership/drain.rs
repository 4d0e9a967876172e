//! S28: in true time, the next owner of a partition begins when the callback of the one before has
//! returned, or has had its time, or when the lease of its session is over.
//!
//! It goes beyond S4: a guard is invalid as soon as its session is lost, and the callback that ends its
//! work still runs. It goes beyond S5, which says the same of runs without faults.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::simulator::checks::sessions::suspected::Suspected;
use crate::simulator::checks::{
    Assigned, Check, Findings, Process, Revoked, Rules, StepEnd, Written,
};
use parti_core::{Grant, Instant, PartitionKey};

#[derive(Debug)]
pub(in crate::simulator) struct Drain {
    /// The least time that a callback has.
    least: Duration,
    /// The last deadline of each process that it could rely on, also one it has given up since.
    until: BTreeMap<Process, Instant>,
    /// Callbacks that run, and until when the next owner has to wait for them.
    running: BTreeMap<PartitionKey, BTreeMap<Process, Instant>>,
    /// What these do is refused by what they write to.
    suspected: Suspected,
}

impl Drain {
    pub(in crate::simulator) fn new(rules: &Rules) -> Self {
        Self {
            least: rules.shortest_drain(),
            until: BTreeMap::new(),
            running: BTreeMap::new(),
            suspected: Suspected::default(),
        }
    }
}

impl Check for Drain {
    fn on_commit(&mut self, process: Process, writes: &[Written], _: &mut Findings) {
        for ended in self.suspected.listen(process, writes) {
            for running in self.running.values_mut() {
                running.remove(&ended);
            }
        }
    }

    fn on_settled(&mut self, process: Process, end: &StepEnd, _: &mut Findings) {
        if let Some(until) = end.until {
            self.until.insert(process, until);
        }
    }

    fn on_revoke(&mut self, process: Process, revoked: &Revoked, findings: &mut Findings) {
        let at = findings.now();
        let valid = self.until.get(&process).copied().unwrap_or_default();
        let until = valid.min(at + self.least);
        let counts = at < until && !self.suspected.contains(process);
        for grant in revoked.grants.iter().filter(|_| counts) {
            let running = self.running.entry(grant.partition.clone()).or_default();
            running.insert(process, until);
        }
    }

    fn on_assign(&mut self, process: Process, assigned: &Assigned, findings: &mut Findings) {
        let at = findings.now();
        for Grant { partition, .. } in &assigned.grants {
            let others = self.running.get(partition).into_iter().flatten();
            for (other, until) in others.filter(|(other, until)| **other != process && at < **until)
            {
                findings.report(format!(
                    "{process} begins {partition} while the callback of {other} runs, which has \
                     until {until}"
                ));
            }
        }
    }

    fn on_released(&mut self, process: Process, grants: &[Grant]) {
        for grant in grants {
            if let Some(running) = self.running.get_mut(&grant.partition) {
                running.remove(&process);
            }
        }
    }

    fn on_ended(&mut self, process: Process) {
        self.until.remove(&process);
        for running in self.running.values_mut() {
            running.remove(&process);
        }
    }
}
