//! S31: once the group has settled, what one worker cannot process is with one that can.
//!
//! S32: what a process said it could not begin is not given to it again before its quarantine is over,
//! but for once: what it says may be on its way to the leader. So nothing is passed round in circles.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use crate::simulator::checks::{
    Assigned, Check, Coverage, Findings, Process, Revoked, Rules, Written,
};
use parti_core::{
    Instant, Notice, ParkReason, ParkedGroup, PartitionKey, Record, RejectedAt, Rejection, Token,
};

/// What is parked because every worker failed with it, according to a record.
pub(in crate::simulator) fn futile(record: Option<&Record>) -> impl Iterator<Item = &ParkedGroup> {
    let groups = match record {
        Some(Record::Parked(record)) => record.groups.as_slice(),
        _ => &[],
    };
    let failed = |group: &&ParkedGroup| group.reason == ParkReason::FailedEverywhere;
    groups.iter().filter(failed)
}

/// S31.
#[derive(Debug, Default)]
pub(in crate::simulator) struct Fits;

impl Check for Fits {
    fn on_due(&mut self, coverage: &Coverage, findings: &mut Findings) {
        for (partition, unfit) in &coverage.unfit {
            if unfit.able.is_empty() || coverage.homeless.contains(partition) {
                continue;
            }
            findings.met("rejection_judged");
            let mut holders = coverage.core().filter(|w| w.held.contains(partition));
            let failing = holders.find(|worker| unfit.failing.contains(&worker.process));
            if let Some(worker) = failing {
                let able = &unfit.able;
                findings.report(format!(
                    "{} has {partition} and cannot process it, though {able:?} could",
                    worker.process
                ));
            }
        }
    }
}

/// S32.
#[derive(Debug)]
pub(in crate::simulator) struct NotInCircles {
    least: Duration,
    /// When a process last said that it could not begin with a partition it was given, and how often
    /// it was given it again since.
    said: BTreeMap<(Process, PartitionKey), (Instant, u32)>,
    /// Under which token a process was given a partition last: what it gets back after its lease was
    /// lost is the same ownership.
    given: BTreeMap<(Process, PartitionKey), Token>,
    /// What it has now: what it says of anything else it has said before.
    held: BTreeSet<(Process, PartitionKey)>,
}

impl NotInCircles {
    pub(in crate::simulator) fn new(rules: &Rules) -> Self {
        Self {
            least: rules.shortest_lease() * 50,
            said: BTreeMap::new(),
            given: BTreeMap::new(),
            held: BTreeSet::new(),
        }
    }
}

impl NotInCircles {
    /// A worker that joins again is not known to have failed.
    fn forget(&mut self, process: Process) {
        self.said.retain(|(by, _), _| *by != process);
        self.given.retain(|(by, _), _| *by != process);
        self.held.retain(|(by, _)| *by != process);
    }
}

impl Check for NotInCircles {
    fn on_commit(&mut self, process: Process, writes: &[Written], findings: &mut Findings) {
        let at = findings.now();
        for write in writes {
            let Some(Record::Session(record)) = write.record() else {
                continue;
            };
            let judged =
                |it: &&Rejection| it.at == RejectedAt::Processing && record.status.is_living();
            for rejection in record.rejections.iter().filter(judged) {
                let place = (process, rejection.partition.clone());
                if self.held.contains(&place) {
                    self.said.entry(place).or_insert((at, 0));
                }
            }
            // What a session does not tell any more, for want of room, nobody can heed.
            let told = |key: &PartitionKey| record.rejections.iter().any(|it| it.partition == *key);
            self.said.retain(|place, _| {
                place.0 != process || self.held.contains(place) || told(&place.1)
            });
        }
    }

    fn on_assign(&mut self, process: Process, assigned: &Assigned, findings: &mut Findings) {
        let at = findings.now();
        for grant in &assigned.grants {
            let place = (process, grant.partition.clone());
            self.held.insert(place.clone());
            if self.given.insert(place.clone(), grant.token) == Some(grant.token) {
                continue;
            }
            let Some((since, again)) = self.said.get_mut(&place) else {
                continue;
            };
            if at.since(*since) >= self.least {
                // It may be tried again, and counts again once it has failed.
                self.said.remove(&place);
                continue;
            }
            *again += 1;
            if *again > 1 {
                findings.report(format!(
                    "{process} is given {} for the third time since {since}, though it said \
                     that it cannot process it",
                    grant.partition
                ));
            }
        }
    }

    fn on_revoke(&mut self, process: Process, revoked: &Revoked, _: &mut Findings) {
        for grant in &revoked.grants {
            self.held.remove(&(process, grant.partition.clone()));
        }
    }

    fn on_notice(&mut self, process: Process, notice: &Notice, _: &mut Findings) {
        if let Notice::Claimed { .. } = notice {
            self.forget(process);
        }
    }

    fn on_ended(&mut self, process: Process) {
        self.forget(process);
    }
}
