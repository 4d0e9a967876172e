//! S36: the owner of a partition is told to end only when the worker that prepares for it has ended
//! that very preparation. So a partition is without an owner by plan for no longer than a handoff takes,
//! whatever a warm-up takes.
//!
//! S37: what a process was told to get ready for is assigned or withdrawn once its record does not ask for
//! it any more.

use std::collections::{BTreeMap, BTreeSet};

use crate::simulator::checks::{Assigned, Check, Findings, Process, Written};
use parti_core::{
    AssignmentRecord, Key, PartitionKey, Preparation, Record, SessionRecord, Version, WorkerId,
};

/// S36.
#[derive(Debug, Default)]
pub(in crate::simulator) struct ReadyFirst {
    records: BTreeMap<WorkerId, AssignmentRecord>,
    sessions: BTreeMap<WorkerId, SessionRecord>,
    /// What a worker said to have ended without failing. It remains true, also when there is no room to
    /// say it again.
    ended: BTreeSet<(WorkerId, Preparation)>,
}

impl ReadyFirst {
    /// The worker that prepares for a partition, before a commit and after it.
    fn gainer(
        &self,
        after: &BTreeMap<&WorkerId, Option<&AssignmentRecord>>,
        partition: &PartitionKey,
    ) -> Option<(&WorkerId, Preparation)> {
        let coming = self.records.iter().filter_map(|(worker, before)| {
            let named = |told: &&Preparation| told.partition == *partition;
            let told = before.preparing.iter().find(named)?;
            let still = match after.get(worker) {
                Some(Some(record)) => record.preparing.contains(told),
                Some(None) => false,
                None => true,
            };
            still.then(|| (worker, told.clone()))
        });
        coming.max_by_key(|(_, told)| told.version)
    }

    fn judge(
        &self,
        worker: &WorkerId,
        partition: &PartitionKey,
        after: &BTreeMap<&WorkerId, Option<&AssignmentRecord>>,
        findings: &mut Findings,
    ) {
        let Some((gainer, told)) = self.gainer(after, partition) else {
            return;
        };
        let said = self.sessions.get(worker);
        let failing = said.is_some_and(|said| {
            let mut named = said.rejections.iter();
            named.any(|rejection| rejection.partition == *partition)
        });
        let Some(said) = self
            .sessions
            .get(gainer)
            .filter(|said| said.readiness.prepares)
        else {
            return;
        };
        let ended = (gainer.clone(), told.clone());
        findings.met("moved_after_preparation");
        if !failing && !self.ended.contains(&ended) {
            findings.report(format!(
                "{partition} is taken from {worker} although {gainer} has not ended {told:?}: {:?}",
                said.readiness.prepared
            ));
        }
    }
}

impl Check for ReadyFirst {
    fn on_commit(&mut self, _: Process, writes: &[Written], findings: &mut Findings) {
        let mut after = BTreeMap::new();
        for write in writes {
            match (&write.key, write.record()) {
                (Key::Session(worker), Some(Record::Session(record))) => {
                    let ended = record
                        .readiness
                        .prepared
                        .iter()
                        .filter(|ended| !ended.failed);
                    let ended = ended.map(|ended| (worker.clone(), ended.preparation.clone()));
                    self.ended.extend(ended);
                    self.sessions.insert(worker.clone(), record.clone());
                }
                (Key::Session(worker), _) => drop(self.sessions.remove(worker)),
                (Key::Assignment(worker), Some(Record::Assignment(record))) => {
                    after.insert(worker, Some(record));
                }
                (Key::Assignment(worker), _) => drop(after.insert(worker, None)),
                _ => {}
            }
        }
        for (worker, record) in &after {
            let (Some(record), Some(before)) = (record, self.records.get(*worker)) else {
                continue;
            };
            if before.epoch != record.epoch {
                continue;
            }
            let kept: BTreeSet<&PartitionKey> = record
                .granted
                .iter()
                .map(|grant| &grant.partition)
                .collect();
            for grant in &before.granted {
                if !kept.contains(&grant.partition) {
                    self.judge(worker, &grant.partition, &after, findings);
                }
            }
        }
        for (worker, record) in after {
            match record {
                Some(record) => drop(self.records.insert(worker.clone(), record.clone())),
                None => drop(self.records.remove(worker)),
            }
        }
    }
}

/// S37.
#[derive(Debug, Default)]
pub(in crate::simulator) struct Withdrawn {
    /// What each process gets ready for, since which generation.
    underway: BTreeMap<Process, BTreeMap<PartitionKey, Version>>,
    records: BTreeMap<WorkerId, AssignmentRecord>,
}

impl Check for Withdrawn {
    fn on_prepare(&mut self, process: Process, told: &[Preparation], findings: &mut Findings) {
        let underway = self.underway.entry(process).or_default();
        for told in told {
            if underway
                .insert(told.partition.clone(), told.version)
                .is_some()
            {
                findings.report(format!("{process} is told twice to prepare for {told:?}"));
            }
        }
    }

    fn on_withdraw(&mut self, process: Process, told: &[Preparation]) {
        let underway = self.underway.entry(process).or_default();
        for told in told {
            underway.remove(&told.partition);
        }
    }

    fn on_assign(&mut self, process: Process, assigned: &Assigned, _: &mut Findings) {
        let underway = self.underway.entry(process).or_default();
        for grant in &assigned.grants {
            underway.remove(&grant.partition);
        }
    }

    fn on_ended(&mut self, process: Process) {
        self.underway.remove(&process);
    }

    fn on_commit(&mut self, process: Process, writes: &[Written], findings: &mut Findings) {
        for write in writes {
            match (&write.key, write.record()) {
                (Key::Assignment(worker), Some(Record::Assignment(record))) => {
                    self.records.insert(worker.clone(), record.clone());
                }
                (Key::Assignment(worker), _) => drop(self.records.remove(worker)),
                (Key::Session(worker), Some(Record::Session(said))) if said.status.is_living() => {
                    let record = self.records.get(worker);
                    let record =
                        record.filter(|r| r.version == said.applied && r.epoch == said.epoch);
                    let (Some(record), Some(underway)) = (record, self.underway.get(&process))
                    else {
                        continue;
                    };
                    // What it took in since it said so is not judged by this record.
                    let old = underway
                        .iter()
                        .filter(|(_, version)| **version <= said.applied);
                    for (partition, version) in old {
                        let listed = record
                            .preparing
                            .iter()
                            .any(|told| told.partition == *partition);
                        let granted = record.granted.iter().any(|g| g.partition == *partition);
                        if !listed && !granted {
                            findings.report(format!(
                                "{process} prepares for {partition} since {version}, its record of {} not",
                                said.applied
                            ));
                        }
                    }
                }
                _ => {}
            }
        }
    }
}
