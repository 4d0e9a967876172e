//! L9 and S18: some time after the faults every partition is held by exactly one living worker under
//! one leader, and from then on nothing happens any more.

use std::collections::{BTreeMap, BTreeSet};

use super::{Check, Fact, Findings, Process};
use parti_core::{Cause, Instant, Key, PartitionKey, Record, State};

/// A living process and what it holds validly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// Which.
    pub process: Process,
    /// Where it stands.
    pub state: State,
    /// Whether it leads.
    pub leads: bool,
    /// How much it takes relative to the others.
    pub capacity: u32,
    /// What it holds validly.
    pub held: BTreeSet<PartitionKey>,
}

/// Who holds what at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// The list of the source.
    pub partitions: BTreeSet<PartitionKey>,
    /// Whether the strategy may leave a worker without a partition though there are many.
    pub uneven: bool,
    /// Every running process.
    pub workers: Vec<Worker>,
    /// Processes that were told to stop and have not, though it took too long.
    pub unstopped: Vec<Process>,
}

impl Coverage {
    /// What is missing for the group to count as settled; empty if nothing is.
    #[must_use]
    pub fn pending(&self) -> Vec<String> {
        let mut pending = Vec::new();
        let leaders: Vec<_> = self
            .workers
            .iter()
            .filter(|w| w.leads)
            .map(|w| w.process.to_string())
            .collect();
        if leaders.len() != 1 {
            pending.push(format!("the leaders are {leaders:?}"));
        }
        for worker in &self.workers {
            if worker.state != State::Stable {
                pending.push(format!("{} is {}", worker.process, worker.state));
            }
        }
        for process in &self.unstopped {
            pending.push(format!("{process} was told to stop and has not stopped"));
        }
        self.pending_partitions(&mut pending);
        pending
    }

    fn pending_partitions(&self, pending: &mut Vec<String>) {
        let mut holders: BTreeMap<&PartitionKey, Vec<Process>> = BTreeMap::new();
        for worker in &self.workers {
            for partition in &worker.held {
                holders.entry(partition).or_default().push(worker.process);
            }
        }
        let nobody = Vec::new();
        let mut unheld = 0;
        for partition in &self.partitions {
            let held_by = holders.get(partition).unwrap_or(&nobody);
            match held_by.as_slice() {
                [_] => {}
                [] => unheld += 1,
                many => pending.push(format!("{partition} is held by {many:?}")),
            }
        }
        let capable = self.workers.iter().any(|worker| worker.capacity > 0);
        if unheld > 0 && capable {
            let all = self.partitions.len();
            pending.push(format!("{unheld} of {all} partitions are held by nobody"));
        }
        for (partition, by) in holders {
            if !self.partitions.contains(partition) {
                pending.push(format!("{partition} is not in the list and held by {by:?}"));
            }
        }
        let capable: Vec<_> = self.workers.iter().filter(|w| w.capacity > 0).collect();
        if !self.uneven && self.partitions.len() >= capable.len() * 4 {
            let idle = capable.iter().filter(|worker| worker.held.is_empty());
            pending.extend(idle.map(|worker| format!("{} got no partition", worker.process)));
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Settled {
    calm: bool,
    reported: bool,
}

impl Check for Settled {
    fn observe(&mut self, _: Instant, fact: &Fact, findings: &mut Findings) {
        match fact {
            Fact::Due(coverage) | Fact::Over(coverage) => {
                let pending = coverage.pending();
                if !pending.is_empty() && !self.reported {
                    self.reported = true;
                    findings.report(format!("the group has not settled: {}", pending.join("; ")));
                }
                self.calm = true;
            }
            Fact::Commit { process, writes } if self.calm && !self.reported => {
                let head = writes.iter().find(|write| write.key == Key::Head);
                if let Some(Record::Head(head)) = head.and_then(|write| write.record()) {
                    let (version, cause): (_, Cause) = (head.version, head.cause);
                    self.reported = true;
                    findings.report(format!(
                        "{process} committed version {version} ({cause}) though the group had settled"
                    ));
                }
            }
            Fact::Assign {
                process, grants, ..
            }
            | Fact::Revoke {
                process, grants, ..
            } if self.calm && !self.reported => {
                self.reported = true;
                findings.report(format!(
                    "{process} changes {grants:?} though the group had settled"
                ));
            }
            Fact::Began { .. }
            | Fact::Ended { .. }
            | Fact::Commit { .. }
            | Fact::Step { .. }
            | Fact::Request { .. }
            | Fact::Assign { .. }
            | Fact::Revoke { .. }
            | Fact::Released { .. }
            | Fact::Notice { .. }
            | Fact::Settled { .. }
            | Fact::Panicked { .. }
            | Fact::Foreign { .. }
            | Fact::Healed => {}
        }
    }
}
