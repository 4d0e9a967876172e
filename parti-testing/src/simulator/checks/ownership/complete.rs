//! S12: a generation that says it leaves nothing unfinished grants every partition of its list to
//! somebody, but those that its plan places nowhere or that everybody failed with, and it says how many
//! these are.
//!
//! In overlap mode that is every first generation of a plan that fits into one batch; in exclusive mode
//! the last one of a handoff. A group in which nobody takes anything owns nothing.

use std::collections::BTreeMap;

use crate::simulator::checks::ownership::rejections::futile;
use crate::simulator::checks::{Check, Findings, Planning, Process, Written};
use parti_core::{Key, NO_OWNER, Notice, ParkReason, PartitionKey, Record, WorkerId};

#[derive(Debug, Default)]
pub(in crate::simulator) struct Complete {
    granted: BTreeMap<WorkerId, Vec<PartitionKey>>,
    /// How many records grant each partition.
    owners: BTreeMap<PartitionKey, usize>,
    /// The plan that a process asked for last: for how many workers, whether anybody of them takes
    /// partitions, and how many it places nowhere.
    plans: BTreeMap<Process, (usize, bool, u32)>,
    /// How many partitions are parked since no record has room for them, whatever a plan says.
    spilled: u32,
    /// How many are parked because every worker failed with them, whatever the plan says.
    futile: u32,
}

impl Complete {
    fn replace(&mut self, worker: &WorkerId, granted: Vec<PartitionKey>) {
        for partition in &granted {
            *self.owners.entry(partition.clone()).or_default() += 1;
        }
        for partition in self.granted.remove(worker).unwrap_or_default() {
            if let Some(count) = self.owners.get_mut(&partition) {
                *count -= 1;
                if *count == 0 {
                    self.owners.remove(&partition);
                }
            }
        }
        if !granted.is_empty() {
            self.granted.insert(worker.clone(), granted);
        }
    }
}

/// Whether it says that there is no worker to own anything.
fn has_nobody(record: Option<&Record>) -> bool {
    let Some(Record::Parked(record)) = record else {
        return false;
    };
    let mut groups = record.groups.iter();
    groups.any(|group| group.reason == ParkReason::NoWorkers)
}

impl Check for Complete {
    fn on_planned(&mut self, process: Process, planning: &Planning, _: &mut Findings) {
        let workers = planning.input.workers.as_slice();
        let takers = workers.iter().any(|worker| worker.capacity > 0);
        let owners = planning.owners.iter().flatten();
        let unplaced = owners.filter(|owner| **owner == NO_OWNER).count() as u32;
        // A question about a partition that an operator wants elsewhere is no plan of the group.
        let asked = &planning.input;
        let wish = asked.workers.len() == 1 && asked.previous.len() < self.owners.len();
        if !(wish && self.plans.contains_key(&process)) {
            self.plans
                .insert(process, (workers.len(), takers, unplaced));
        }
    }

    fn on_notice(&mut self, process: Process, notice: &Notice, _: &mut Findings) {
        let given_up = matches!(
            notice,
            Notice::StepFailed { .. }
                | Notice::PlanUnchanged { .. }
                | Notice::EvictionCancelled { .. }
                | Notice::LeadershipLost { .. }
        );
        if given_up {
            self.plans.remove(&process);
        }
    }

    fn on_commit(&mut self, process: Process, writes: &[Written], findings: &mut Findings) {
        let mut finished = None;
        for write in writes {
            match (&write.key, write.record()) {
                (Key::Assignment(worker), Some(Record::Assignment(record))) => {
                    let granted = record.granted.iter().map(|grant| grant.partition.clone());
                    self.replace(worker, granted.collect());
                }
                (Key::Assignment(worker), _) => self.replace(worker, Vec::new()),
                (Key::Parked, record) => {
                    self.futile = futile(record).map(|g| g.count).sum();
                    self.spilled = spilled(record);
                    if has_nobody(record) {
                        // The strategy was not asked: what it planned before was given up.
                        finished = None;
                    }
                }
                (Key::Head, Some(Record::Head(head))) if head.planned == head.version => {
                    // Without a plan there was nobody to give anything to. A plan made before for
                    // others was given up.
                    let plan = self.plans.remove(&process);
                    let plan =
                        plan.filter(|plan| (plan.0, plan.1) == (head.workers as usize, true));
                    let plan = plan.filter(|_| head.unfinished == 0);
                    finished = plan.map(|(_, _, unplaced)| (head, unplaced));
                }
                _ => {}
            }
        }
        if let Some((head, unplaced)) = finished {
            let (owned, all) = (self.owners.len(), head.partitions);
            let (version, parked) = (head.version, head.parked.count);
            let unplaced = unplaced + self.futile + self.spilled;
            if parked != unplaced {
                findings.report(format!(
                    "{process} committed version {version} with {parked} parked partitions, its plan \
                     places {unplaced} nowhere"
                ));
            }
            if owned + (parked as usize) < all as usize {
                findings.report(format!(
                    "{process} committed version {version} as finished, but only {owned} of {all} \
                     partitions have an owner and {parked} are parked"
                ));
            }
        }
    }
}

/// How many partitions a record parks since no assignment has room for them.
fn spilled(record: Option<&Record>) -> u32 {
    let Some(Record::Parked(record)) = record else {
        return 0;
    };
    let groups = record.groups.iter();
    let spilled = groups.filter(|group| group.reason == ParkReason::DoesNotFit);
    spilled.map(|group| group.count).sum()
}
