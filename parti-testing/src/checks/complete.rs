//! S12: a generation that says it leaves nothing unfinished grants every partition of its list to
//! somebody.
//!
//! In overlap mode that is every first generation of a plan that fits into one batch; in exclusive mode
//! the last one of a hand-over. A group in which nobody takes anything owns nothing.

use std::collections::BTreeMap;

use super::{Check, Fact, Findings, Kind, Process};
use parti_core::{Instant, Key, Notice, PartitionKey, Record, WorkerId};

#[derive(Debug, Default)]
pub(super) struct Complete {
    granted: BTreeMap<WorkerId, Vec<PartitionKey>>,
    /// How many records grant each partition.
    owners: BTreeMap<PartitionKey, usize>,
    /// The plan that a process asked for last: for how many workers, and whether anybody of them takes
    /// partitions.
    takers: BTreeMap<Process, (usize, bool)>,
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

impl Check for Complete {
    fn sees(&self) -> &[Kind] {
        &[Kind::Commit, Kind::Planned, Kind::Notice]
    }

    fn observe(&mut self, _: Instant, fact: &Fact, findings: &mut Findings) {
        if let Fact::Planned {
            process, planning, ..
        } = fact
        {
            let workers = planning.input.workers.as_slice();
            let takers = workers.iter().any(|worker| worker.capacity > 0);
            self.takers.insert(*process, (workers.len(), takers));
        }
        if let Fact::Notice {
            process,
            notice:
                Notice::StepFailed { .. }
                | Notice::EvictionAverted { .. }
                | Notice::LeadershipLost { .. },
        } = fact
        {
            self.takers.remove(process);
        }
        let Fact::Commit { process, writes } = fact else {
            return;
        };
        let mut finished = None;
        for write in writes {
            match (&write.key, write.record()) {
                (Key::Assignment(worker), Some(Record::Assignment(record))) => {
                    let granted = record.granted.iter().map(|grant| grant.partition.clone());
                    self.replace(worker, granted.collect());
                }
                (Key::Assignment(worker), _) => self.replace(worker, Vec::new()),
                (Key::Head, Some(Record::Head(head))) if head.planned == head.version => {
                    // Without a plan there was nobody to give anything to. A plan made before for
                    // others was given up.
                    let plan = (head.workers as usize, true);
                    let takers = self.takers.remove(process) == Some(plan);
                    finished = Some(head).filter(|head| takers && head.unfinished == 0);
                }
                _ => {}
            }
        }
        if let Some(head) = finished
            && self.owners.len() < head.partitions as usize
        {
            let (owned, all) = (self.owners.len(), head.partitions);
            findings.report(format!(
                "{process} committed version {} as finished, but only {owned} of {all} partitions \
                 have an owner",
                head.version
            ));
        }
    }
}
