//! S36: the owner of a partition is told to end only when the worker that prepares for it has ended
//! that very preparation. So a partition is without an owner by plan for no longer than a handoff takes,
//! whatever a warm-up takes.
//!
//! S37: what a process was told to get ready for is assigned or withdrawn once its record does not ask for
//! it any more.

use std::collections::{BTreeMap, BTreeSet};

use crate::simulator::checks::{Assigned, Check, Findings, Process, Written};
use parti_core::{
    AssignmentRecord, Epoch, Key, PartitionKey, Preparation, Record, RejectedAt, Rejection,
    SessionRecord, Version, WorkerId,
};

/// S36.
#[derive(Debug, Default)]
pub(in crate::simulator) struct ReadyFirst {
    records: BTreeMap<WorkerId, AssignmentRecord>,
    sessions: BTreeMap<WorkerId, SessionRecord>,
    /// What a worker said to have ended without failing. It remains true, also when there is no room to
    /// say it again.
    ended: BTreeSet<(WorkerId, Preparation)>,
    /// What was taken from a living owner while somebody prepared for it: the one that did, and whether
    /// its preparation had ended. Judged when it gets it: it may have been taken away for others.
    taken: BTreeMap<PartitionKey, (WorkerId, Preparation, bool)>,
}

impl ReadyFirst {
    /// The worker that prepares for a partition, and for how long it has been asked to.
    fn gainer(&self, partition: &PartitionKey) -> Option<(WorkerId, Preparation)> {
        let coming = self.records.iter().filter_map(|(worker, record)| {
            let said = self.sessions.get(worker)?;
            let named = |told: &&Preparation| told.partition == *partition;
            let told = record.preparing.iter().find(named)?;
            let asked = said.epoch == record.epoch && said.readiness.prepares;
            asked.then(|| (worker.clone(), told.clone()))
        });
        coming.max_by_key(|(_, told)| told.version)
    }

    /// The owner of a partition is told to end.
    fn take_away(&mut self, worker: &WorkerId, partition: &PartitionKey) {
        self.taken.remove(partition);
        let said = self.sessions.get(worker);
        let mut rejections = said.iter().flat_map(|said| &said.rejections);
        let failing =
            |it: &Rejection| it.at == RejectedAt::Processing && it.partition == *partition;
        if rejections.any(failing) {
            return;
        }
        if let Some((gainer, told)) = self.gainer(partition) {
            let ended = self.ended.contains(&(gainer.clone(), told.clone()));
            self.taken.insert(partition.clone(), (gainer, told, ended));
        }
    }

    fn give(
        &mut self,
        (worker, epoch): (&WorkerId, Epoch),
        partition: &PartitionKey,
        findings: &mut Findings,
    ) {
        let Some((gainer, told, ended)) = self.taken.remove(partition) else {
            return;
        };
        // Taken away for others, it may come to this worker after all; then nobody waited for it.
        let same = |record: &&AssignmentRecord| record.epoch == epoch;
        let still = self.records.get(worker).filter(same);
        let still = still.is_some_and(|record| record.preparing.contains(&told));
        if gainer != *worker || !still {
            return;
        }
        findings.met("moved_after_preparation");
        if !ended {
            findings.report(format!(
                "{partition} was taken from its owner for {gainer} before that had ended {told:?}"
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
                    let ended = record.readiness.prepared.iter();
                    let ended = ended.filter(|ended| !ended.failed);
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
        let written = after
            .iter()
            .filter_map(|(worker, record)| Some((*worker, (*record)?)));
        let written: Vec<(&WorkerId, &AssignmentRecord)> = written.collect();
        for &(worker, record) in &written {
            let before = self.records.get(worker);
            let before = before.filter(|before| before.epoch == record.epoch);
            let kept: BTreeSet<&PartitionKey> = record
                .granted
                .iter()
                .map(|grant| &grant.partition)
                .collect();
            let gone = before.iter().flat_map(|before| &before.granted);
            let gone = gone.filter(|grant| !kept.contains(&grant.partition));
            let gone: Vec<PartitionKey> = gone.map(|grant| grant.partition.clone()).collect();
            for partition in &gone {
                self.take_away(worker, partition);
            }
            // What nobody may own is taken away for nobody.
            let parked = record.revoking.iter().filter(|it| it.parked.is_some());
            for revoking in parked {
                self.taken.remove(&revoking.partition);
            }
        }
        for &(worker, record) in &written {
            let new = record.granted.iter();
            for grant in new.filter(|grant| grant.token.get() == record.version.get()) {
                self.give((worker, record.epoch), &grant.partition, findings);
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
