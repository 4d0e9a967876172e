//! S20: a reader that adds up what a core tells knows what is assigned: the effects and the notices agree
//! with each other, and with the record that was taken in.
//!
//! What a record grants may be missing only while its revocation before is still ending, or while the
//! session may not be relied on. A subscriber that is too slow is the business of the facade.

use std::collections::{BTreeMap, BTreeSet};

use crate::simulator::checks::{Assigned, Check, Findings, Process, Revoked, StepEnd, Written};
use parti_core::{
    Epoch, Grant, Key, Notice, PartitionKey, Record, RevokeCause, Token, Version, WorkerId,
};

#[derive(Debug, Default)]
struct Folded {
    slot: Option<(WorkerId, Epoch)>,
    assigned: BTreeMap<PartitionKey, Token>,
    ending: BTreeSet<PartitionKey>,
    /// What the notices add up to.
    total: usize,
    /// Everything was revoked because the session may not be relied on, or for good.
    suspended: bool,
    /// The record to compare with at the end of the step.
    version: Option<Version>,
}

type Granted = BTreeMap<PartitionKey, Token>;

#[derive(Debug, Default)]
pub(in crate::simulator) struct Fold {
    processes: BTreeMap<Process, Folded>,
    /// What records granted, from the last one taken in on.
    records: BTreeMap<(WorkerId, Epoch), BTreeMap<Version, Granted>>,
}

impl Fold {
    /// Compares at the end of a step that changed something.
    fn settle(&mut self, process: Process, findings: &mut Findings) {
        let Some(folded) = self.processes.get_mut(&process) else {
            return;
        };
        if folded.assigned.len() != folded.total {
            let (assigned, total) = (folded.assigned.len(), folded.total);
            findings.report(format!(
                "{process} was assigned {assigned} partitions, its notices add up to {total}"
            ));
        }
        let (Some(version), Some(slot)) = (folded.version.take(), &folded.slot) else {
            return;
        };
        if folded.suspended {
            if !folded.assigned.is_empty() {
                let assigned = &folded.assigned;
                findings.report(format!(
                    "{process} keeps {assigned:?} though all was revoked"
                ));
            }
            return;
        }
        let Some(records) = self.records.get_mut(slot) else {
            return;
        };
        *records = records.split_off(&version);
        let Some(granted) = records.get(&version) else {
            return;
        };
        let agrees = |(partition, token): (&PartitionKey, &Token)| {
            let assigned = folded.assigned.get(partition);
            assigned == Some(token) || (assigned.is_none() && folded.ending.contains(partition))
        };
        let surplus = folded.assigned.keys().find(|p| !granted.contains_key(*p));
        let differs = granted.iter().find(|(p, t)| !agrees((p, t)));
        if let Some(partition) = surplus.or(differs.map(|(partition, _)| partition)) {
            findings.report(format!(
                "{process} has taken in version {version} and differs from it in {partition}"
            ));
        }
    }
}

impl Check for Fold {
    fn on_commit(&mut self, _: Process, writes: &[Written], _: &mut Findings) {
        for write in writes {
            if let (Key::Assignment(worker), Some(Record::Assignment(record))) =
                (&write.key, write.record())
            {
                let granted = record.granted.iter();
                let granted = granted.map(|grant| (grant.partition.clone(), grant.token));
                self.records
                    .entry((worker.clone(), record.epoch))
                    .or_default()
                    .insert(record.version, granted.collect());
            }
        }
    }

    fn on_assign(&mut self, process: Process, assigned: &Assigned, _: &mut Findings) {
        let folded = self.processes.entry(process).or_default();
        folded.suspended = false;
        for grant in &assigned.grants {
            folded.assigned.insert(grant.partition.clone(), grant.token);
        }
    }

    fn on_revoke(&mut self, process: Process, revoked: &Revoked, _: &mut Findings) {
        let cause = revoked.cause;
        let folded = self.processes.entry(process).or_default();
        folded.suspended |= cause != RevokeCause::Reassigned;
        for grant in &revoked.grants {
            folded.assigned.remove(&grant.partition);
            folded.ending.insert(grant.partition.clone());
        }
    }

    fn on_released(&mut self, process: Process, grants: &[Grant]) {
        let folded = self.processes.entry(process).or_default();
        for grant in grants {
            folded.ending.remove(&grant.partition);
        }
    }

    fn on_notice(&mut self, process: Process, notice: &Notice, findings: &mut Findings) {
        let folded = self.processes.entry(process).or_default();
        if let Notice::Claimed { worker, epoch, .. } = notice {
            folded.slot = Some((worker.clone(), *epoch));
            folded.suspended = false;
            self.records
                .retain(|(of, at), _| of != worker || at >= epoch);
        } else if let Notice::AssignmentChanged {
            version,
            added,
            removed,
            total,
        } = notice
        {
            if (folded.total + added).checked_sub(*removed) != Some(*total) {
                let before = folded.total;
                findings.report(format!(
                    "{process} had {before}, gained {added}, lost {removed} and says {total}"
                ));
            }
            folded.total = *total;
            folded.version = Some(*version);
        }
    }

    fn on_settled(&mut self, process: Process, end: &StepEnd, findings: &mut Findings) {
        if end.effects > 0 {
            self.settle(process, findings);
        }
    }

    fn on_ended(&mut self, process: Process) {
        self.processes.remove(&process);
    }
}
