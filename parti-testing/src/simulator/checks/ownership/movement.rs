//! S17: a plan takes from a living worker no more than what is above its share, and a generation takes
//! away and grants only what its plan says.
//!
//! The first half is a property of the strategy and holds for those that balance by number; it is
//! judged for the one of the simulator. The second half is the leader's and holds for every strategy.

use std::collections::{BTreeMap, BTreeSet};

use crate::simulator::checks::ownership::rejections::futile;
use crate::simulator::checks::{Check, Findings, Planning, Process, Written};
use parti_core::{
    Epoch, Head, Key, Notice, ParkedGroup, PartitionKey, Record, SessionStatus, WorkerId,
    WorkerInfo,
};

/// The strategy whose movements have this bound.
const BALANCED_BY_NUMBER: &str = "keep-then-fill/1";

#[derive(Debug, Default)]
pub(in crate::simulator) struct MinimalMovement {
    planned: BTreeMap<Process, Planning>,
    /// The plan that the last generation of a leader followed.
    followed: BTreeMap<Process, Planning>,
    granted: BTreeMap<WorkerId, (Epoch, BTreeSet<PartitionKey>)>,
    /// Who had what when a leader's plan began, in whichever session: that may stay there, whatever the
    /// plan says, say for want of room elsewhere, or since the leader has its list from the records.
    had: BTreeMap<Process, BTreeMap<PartitionKey, WorkerId>>,
    /// What is parked because every worker failed with it, whatever the plan says.
    futile: BTreeSet<PartitionKey>,
    /// Whether its names are not all in the record, for want of room.
    futile_unnamed: bool,
    /// Workers that are leaving or gone, and those that were at some time since a leader's last plan.
    leaving: BTreeSet<WorkerId>,
    left: BTreeMap<Process, BTreeSet<WorkerId>>,
    /// What workers ever said that they cannot take: where a plan gives them that, and nobody else may
    /// try it, it stays where it is.
    rejected: BTreeSet<(WorkerId, PartitionKey)>,
}

impl MinimalMovement {
    fn note_sessions(&mut self, writes: &[Written]) {
        for write in writes {
            let Key::Session(worker) = &write.key else {
                continue;
            };
            let said = match write.record() {
                Some(Record::Session(session)) => Some(session),
                _ => None,
            };
            let rejected = said.iter().flat_map(|said| &said.rejections);
            let rejected = rejected.map(|it| (worker.clone(), it.partition.clone()));
            self.rejected.extend(rejected);
            if said.is_some_and(|said| said.status == SessionStatus::Active) {
                self.leaving.remove(worker);
                continue;
            }
            self.leaving.insert(worker.clone());
            for left in self.left.values_mut() {
                left.insert(worker.clone());
            }
        }
    }

    /// Whether this generation follows the plan. Without a plan everything is taken away: nobody is
    /// left who could own anything. A plan made before for others was given up.
    fn follows(&self, process: Process, plan: &Planning, head: &Head, writes: &[Written]) -> bool {
        let workers = plan.input.workers.as_slice();
        let left = |id| {
            self.left
                .get(&process)
                .is_some_and(|left| left.contains(id))
        };
        let owns = |worker: &&WorkerInfo| worker.capacity > 0;
        let nobody = workers.iter().filter(owns).all(|worker| left(&worker.id));
        workers.len() == head.workers as usize && !(nobody && grants_nothing(writes))
    }

    fn commit(&mut self, process: Process, writes: &[Written], findings: &mut Findings) {
        let head = writes.iter().find_map(|write| match write.record() {
            Some(Record::Head(head)) => Some(head),
            _ => None,
        });
        let Some(head) = head else {
            return;
        };
        if head.planned == head.version {
            let all = self.granted.iter().flat_map(|(worker, (_, granted))| {
                granted.iter().map(|one| (one.clone(), worker.clone()))
            });
            self.had.insert(process, all.collect());
            let planned = self.planned.remove(&process);
            match planned.filter(|plan| self.follows(process, plan, head, writes)) {
                Some(planning) => self.followed.insert(process, planning),
                None => self.followed.remove(&process),
            };
        }
        if let Some(parked) = writes.iter().find(|write| write.key == Key::Parked) {
            let groups = || futile(parked.record());
            let named = |group: &ParkedGroup| group.count as usize == group.partitions.len();
            self.futile_unnamed = !groups().all(named);
            self.futile = groups().flat_map(|g| &g.partitions).cloned().collect();
        }
        for write in writes {
            match (&write.key, write.record()) {
                (Key::Assignment(worker), Some(Record::Assignment(record))) => {
                    let granted = record.granted.iter().map(|grant| grant.partition.clone());
                    let next = (record.epoch, granted.collect());
                    self.compare(process, worker, &next, findings);
                    self.granted.insert(worker.clone(), next);
                }
                (Key::Assignment(worker), _) => {
                    self.granted.remove(worker);
                }
                _ => {}
            }
        }
    }

    fn compare(
        &self,
        process: Process,
        worker: &WorkerId,
        next: &(Epoch, BTreeSet<PartitionKey>),
        findings: &mut Findings,
    ) {
        let Some(planning) = self.followed.get(&process) else {
            return;
        };
        let Some(owners) = &planning.owners else {
            return;
        };
        let owner = |partition: &PartitionKey| {
            let rank = planning.input.partitions.rank_of(partition)?;
            let owner = *owners.get(rank as usize)? as usize;
            Some(planning.input.workers.as_slice().get(owner).map(|w| &w.id))
        };
        let nothing = BTreeSet::new();
        let before = match self.granted.get(worker) {
            Some((epoch, granted)) if *epoch == next.0 => granted,
            Some(_) | None => &nothing,
        };
        for lost in before.difference(&next.1) {
            if owner(lost) == Some(Some(worker))
                && !self.futile.contains(lost)
                && !self.futile_unnamed
            {
                findings.report(format!(
                    "{process} takes {lost} from {worker}, to whom the plan gives it"
                ));
            }
        }
        let all = self.had.get(&process);
        let had = |one: &PartitionKey| all.and_then(|all| all.get(one)) == Some(worker);
        let stays = |one: &PartitionKey| {
            let to = owner(one).flatten();
            to.is_some_and(|to| self.rejected.contains(&(to.clone(), one.clone())))
        };
        for gained in next.1.difference(before) {
            let kept = had(gained) || stays(gained);
            if owner(gained) != Some(Some(worker)) && !kept {
                let to = owner(gained);
                findings.report(format!(
                    "{process} grants {gained} to {worker}, the plan gives it to {to:?}"
                ));
            }
        }
    }
}

fn grants_nothing(writes: &[Written]) -> bool {
    writes.iter().all(|write| match write.record() {
        Some(Record::Assignment(record)) => record.granted.is_empty(),
        _ => true,
    })
}

/// What is wrong with a plan, if anything.
fn judge(planning: &Planning) -> Option<String> {
    let owners = planning.owners.as_ref()?;
    if planning.strategy.as_str() != BALANCED_BY_NUMBER {
        return None;
    }
    let workers = planning.input.workers.as_slice();
    let total: u64 = workers
        .iter()
        .map(|worker| u64::from(worker.capacity))
        .sum();
    let (mut had, mut lost) = (vec![0_u64; workers.len()], vec![0_u64; workers.len()]);
    for (rank, owner) in (0_u32..).zip(owners) {
        if let Some(previous) = planning.input.living_owner(rank) {
            had[previous as usize] += 1;
            lost[previous as usize] += u64::from(*owner != previous);
        }
    }
    for (index, worker) in workers.iter().enumerate() {
        let share = (owners.len() as u64 * u64::from(worker.capacity))
            .checked_div(total)
            .unwrap_or(0);
        if lost[index] > had[index].saturating_sub(share) {
            let (had, lost) = (had[index], lost[index]);
            return Some(format!(
                "the plan takes {lost} of {had} partitions from {}, whose share is {share}",
                worker.id
            ));
        }
    }
    None
}

impl MinimalMovement {
    fn forget_plans(&mut self, process: Process) {
        self.planned.remove(&process);
        self.followed.remove(&process);
    }
}

impl Check for MinimalMovement {
    fn on_planned(&mut self, process: Process, planning: &Planning, findings: &mut Findings) {
        if let Some(reason) = judge(planning) {
            findings.report(format!("{process}: {reason}"));
        }
        self.planned.insert(process, planning.clone());
        self.left.insert(process, self.leaving.clone());
    }

    fn on_commit(&mut self, process: Process, writes: &[Written], findings: &mut Findings) {
        self.note_sessions(writes);
        self.commit(process, writes, findings);
    }

    fn on_notice(&mut self, process: Process, notice: &Notice, _: &mut Findings) {
        if let Notice::PlanUnchanged { .. } = notice {
            // From then on it is followed, as it was pinned: nobody else knows how.
            self.forget_plans(process);
        } else if let Notice::LeadershipGained { .. } | Notice::LeadershipLost { .. } = notice {
            self.on_ended(process);
        }
    }

    fn on_ended(&mut self, process: Process) {
        self.forget_plans(process);
        self.had.remove(&process);
    }
}
