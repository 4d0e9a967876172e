//! S11: what cores write can be read, lies under the right key and names no partition twice; in
//! exclusive mode no two living sessions are granted the same partition.
//!
//! With overlap a leader may grant what a worker out of contact still has in its record.

use std::collections::{BTreeMap, BTreeSet};

use crate::simulator::checks::{Check, Findings, Process, Rules, Value, Written};
use parti_core::{AssignmentRecord, Epoch, Key, PartitionKey, Record, Token, WorkerId};

#[derive(Debug)]
pub(in crate::simulator) struct WellFormed {
    exclusive: bool,
    /// The epoch of each living session.
    living: BTreeMap<WorkerId, Epoch>,
    granted: BTreeMap<WorkerId, (Epoch, BTreeSet<PartitionKey>)>,
}

impl WellFormed {
    pub(in crate::simulator) fn new(rules: &Rules) -> Self {
        let exclusive = rules.mode.waits();
        Self {
            exclusive,
            living: BTreeMap::new(),
            granted: BTreeMap::new(),
        }
    }
}

impl Check for WellFormed {
    fn on_commit(&mut self, process: Process, writes: &[Written], findings: &mut Findings) {
        let mut changed = Vec::new();
        for write in writes {
            if let Value::Undecodable(reason) = &write.value {
                findings.report(format!("{process} wrote {}: {reason}", write.name));
            }
            self.take_in(write, &mut changed, findings);
        }
        for worker in changed.into_iter().filter(|_| self.exclusive) {
            self.check_overlap(&worker, findings);
        }
    }
}

impl WellFormed {
    fn take_in(&mut self, write: &Written, changed: &mut Vec<WorkerId>, findings: &mut Findings) {
        match (&write.key, write.record()) {
            (Key::Session(worker), None) => {
                self.living.remove(worker);
            }
            (Key::Session(worker), Some(Record::Session(record))) => {
                let before = self.living.get(worker).copied();
                let epoch = match record.epoch {
                    Epoch::ZERO => Epoch::from(write.revision),
                    epoch => epoch,
                };
                if record.status.is_living() {
                    self.living.insert(worker.clone(), epoch);
                    if before != Some(epoch) {
                        changed.push(worker.clone());
                    }
                } else {
                    self.living.remove(worker);
                }
            }
            (Key::Assignment(worker), None) => {
                self.granted.remove(worker);
            }
            (Key::Assignment(worker), Some(Record::Assignment(record))) => {
                check_record(worker, record, findings);
                let granted = record.granted.iter().map(|grant| grant.partition.clone());
                self.granted
                    .insert(worker.clone(), (record.epoch, granted.collect()));
                changed.push(worker.clone());
            }
            (Key::Head, Some(Record::Head(_)) | None)
            | (Key::Audit(_), Some(Record::Audit(_)) | None)
            | (Key::Control(..), Some(Record::Control(_)) | None)
            | (Key::Parked, Some(Record::Parked(_)) | None)
            | (Key::Suspicion, Some(Record::Suspicion(_)))
            // The manifest shows what they are together.
            | (Key::Piece(..), Some(Record::Piece(_)) | None)
            | (Key::Source, _) => {}
            (key, value) => findings.report(format!("{key:?} was written as {value:?}")),
        }
    }

    fn living_grants(&self, worker: &WorkerId) -> Option<&BTreeSet<PartitionKey>> {
        let (epoch, granted) = self.granted.get(worker)?;
        (self.living.get(worker) == Some(epoch)).then_some(granted)
    }

    fn check_overlap(&self, worker: &WorkerId, findings: &mut Findings) {
        let Some(own) = self.living_grants(worker) else {
            return;
        };
        for other in self.granted.keys().filter(|other| *other != worker) {
            let Some(theirs) = self.living_grants(other) else {
                continue;
            };
            if let Some(both) = own.intersection(theirs).next() {
                findings.report(format!("{both} is granted to {worker} and to {other}"));
            }
        }
    }
}

fn check_record(worker: &WorkerId, record: &AssignmentRecord, findings: &mut Findings) {
    let mut seen = BTreeSet::new();
    let granted = record.granted.iter().map(|grant| &grant.partition);
    let revoking = record.revoking.iter().map(|revoking| &revoking.partition);
    for partition in granted.chain(revoking) {
        if !seen.insert(partition) {
            findings.report(format!("the record of {worker} names {partition} twice"));
        }
    }
    for grant in &record.granted {
        if grant.token > Token::from(record.version) || grant.token == Token::ZERO {
            let version = record.version;
            findings.report(format!("the record of {worker} of {version} has {grant:?}"));
        }
    }
}
