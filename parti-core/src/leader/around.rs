//! Planning around misfits: partitions that their owner cannot process go to somebody else.
//!
//! It is separate because strategies know nothing of it: the strategy plans as ever, then it is asked
//! again for the few partitions that ended up where they cannot be processed, with only the workers
//! that may try. What always holds: rules of the strategy hold for those, too; a partition for which
//! nobody is left stays where it is, where it is tried again and again, instead of going round; a
//! worker that fails with what it has is given nothing that failed elsewhere, so that a cause which all
//! have in common moves nothing.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::view::View;
use crate::id::WorkerId;
use crate::partition::{Partition, PartitionKey};
use crate::problem::{Problem, ProblemKind};
use crate::record::{Misfit, SessionStatus};
use crate::strategy::{NO_OWNER, Plan, PlanInput, Report, WorkerInfo, WorkerTable};
use crate::table::PartitionTable;
use crate::time::Instant;

/// The most groups of partitions the strategy is asked for again in one plan.
const MOST_GROUPS: usize = 8;

/// Who must not be given what, and why a partition is where it cannot be processed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Barred {
    /// By partition: the workers that failed with it, and those that fail with what they have.
    by_key: BTreeMap<PartitionKey, BTreeSet<WorkerId>>,
    /// What its owner cannot process, with the owner and the reason.
    stuck: BTreeMap<PartitionKey, (WorkerId, alloc::string::String)>,
}

impl Barred {
    pub(crate) fn find(view: &View) -> Self {
        let said = view.sessions.iter().filter_map(|(worker, session)| {
            let record = session.record.as_ref()?;
            let speaks = record.status.is_living() && !record.misfits.is_empty();
            speaks.then_some((worker, record.misfits.as_slice()))
        });
        let said: Vec<(&WorkerId, &[Misfit])> = said.collect();
        let mut barred = Self::default();
        let mut failing: BTreeSet<&WorkerId> = BTreeSet::new();
        for &(worker, misfits) in &said {
            let granted = view.records.get(worker).map(|record| &record.granted);
            for misfit in misfits {
                let key = &misfit.partition;
                let by = barred.by_key.entry(key.clone()).or_default();
                by.insert(worker.clone());
                let has = granted.is_some_and(|all| all.iter().any(|g| g.partition == *key));
                if has {
                    failing.insert(worker);
                    let why = (worker.clone(), misfit.reason.clone());
                    barred.stuck.insert(key.clone(), why);
                }
            }
        }
        for by in barred.by_key.values_mut() {
            by.extend(failing.iter().map(|&worker| worker.clone()));
        }
        barred
    }

    /// What could be moved: stuck partitions for which somebody is left, with those who are barred.
    pub(crate) fn movable(&self, view: &View) -> BTreeMap<PartitionKey, BTreeSet<WorkerId>> {
        if self.stuck.is_empty() {
            return BTreeMap::new();
        }
        let takes = |by: &BTreeSet<WorkerId>| {
            view.sessions.iter().any(|(worker, session)| {
                let record = session.record.as_ref();
                let active = |r: &&crate::record::SessionRecord| {
                    r.status == SessionStatus::Active && r.capacity > 0
                };
                record.filter(active).is_some() && !by.contains(worker)
            })
        };
        let stuck = self.stuck.keys().filter_map(|key| {
            let by = self.by_key.get(key)?;
            takes(by).then(|| (key.clone(), by.clone()))
        });
        stuck.collect()
    }

    /// The problem, if something is stuck.
    pub(crate) fn problem(&self, since: Instant) -> Option<Problem> {
        let (key, (worker, reason)) = self.stuck.first_key_value()?;
        let detail = alloc::format!("{key} cannot be processed by {worker}: {reason}");
        let kind = ProblemKind::HandlerFailing;
        Some(Problem::new(kind, since, self.stuck.len(), detail))
    }

    /// The partitions of a plan that are planned for somebody who is barred, grouped by who may try.
    fn groups(&self, input: &PlanInput, plan: &Plan) -> Vec<Group> {
        let mut groups: BTreeMap<&BTreeSet<WorkerId>, Vec<u32>> = BTreeMap::new();
        for (key, by) in &self.by_key {
            let Some(rank) = input.partitions.rank_of(key) else {
                continue;
            };
            let owner = plan.owners.get(rank as usize).copied();
            let owner = owner.and_then(|owner| input.workers.get(owner));
            if owner.is_some_and(|owner| by.contains(&owner.id)) {
                groups.entry(by).or_default().push(rank);
            }
        }
        let groups = groups.into_iter().take(MOST_GROUPS).map(|(by, ranks)| {
            let workers = input.workers.as_slice().iter();
            let may: Vec<WorkerInfo> = workers
                .filter(|worker| worker.capacity > 0 && !by.contains(&worker.id))
                .cloned()
                .collect();
            Group { ranks, may }
        });
        groups.collect()
    }
}

/// Partitions that the same workers may try.
#[derive(Clone, Debug)]
struct Group {
    ranks: Vec<u32>,
    may: Vec<WorkerInfo>,
}

/// A plan on its way around misfits.
#[derive(Clone, Debug)]
pub(crate) struct Around {
    plan: Plan,
    /// What is still to be asked for, the next one last.
    groups: Vec<Group>,
    changed: bool,
}

impl Around {
    /// The plan, and what is wrong with it.
    pub(crate) fn begin(barred: &Barred, input: &PlanInput, plan: Plan) -> Self {
        let groups = barred.groups(input, &plan);
        Self {
            plan,
            groups,
            changed: false,
        }
    }

    /// What to ask the strategy next; `None` when the plan is done.
    pub(crate) fn next(&mut self, input: &PlanInput) -> Option<PlanInput> {
        while let Some(group) = self.groups.last() {
            if let Some(question) = group.question(input) {
                return Some(question);
            }
            self.answer(input, None);
        }
        None
    }

    /// What the strategy said about the last question.
    pub(crate) fn answer(&mut self, input: &PlanInput, answer: Option<&Plan>) {
        let Some(group) = self.groups.pop() else {
            return;
        };
        for (position, &rank) in group.ranks.iter().enumerate() {
            let given = answer.and_then(|plan| plan.owners.get(position));
            let given = given.and_then(|&owner| group.may.get(owner as usize));
            let given = given.and_then(|worker| input.workers.index_of(&worker.id));
            // Nobody may try: it stays where it is, if that is possible.
            let owner = given.or_else(|| input.living_owner(rank));
            if let (Some(owner), Some(planned)) = (owner, self.plan.owners.get_mut(rank as usize)) {
                self.changed |= *planned != owner;
                *planned = owner;
            }
        }
    }

    /// The plan, with a certificate that counts what it moves.
    pub(crate) fn finish(mut self, input: &PlanInput) -> Plan {
        if self.changed {
            recount(input, &self.plan.owners, &mut self.plan.report);
        }
        self.plan
    }
}

impl Group {
    fn question(&self, input: &PlanInput) -> Option<PlanInput> {
        let all = input.partitions.as_slice();
        let partitions: Vec<Partition> = self
            .ranks
            .iter()
            .filter_map(|&rank| all.get(rank as usize).cloned())
            .collect();
        let table = Arc::new(PartitionTable::new(partitions).ok()?);
        let workers = Arc::new(WorkerTable::new(self.may.clone()).ok()?);
        if workers.is_empty() {
            return None;
        }
        let previous = self.ranks.iter().map(|&rank| {
            let owner = input.living_owner(rank);
            let owner = owner.and_then(|owner| input.workers.get(owner));
            owner
                .and_then(|owner| workers.index_of(&owner.id))
                .unwrap_or(NO_OWNER)
        });
        let previous = previous.collect();
        Some(PlanInput {
            previous,
            ..PlanInput::fresh(table, workers)
        })
    }
}

/// Counts moves again; what must be known of balance is as the strategy said.
pub(super) fn recount(input: &PlanInput, owners: &[u32], report: &mut Report) {
    let (mut moved, mut weight, mut forced) = (0, 0_u64, 0);
    for (partition, (&before, &after)) in input
        .partitions
        .as_slice()
        .iter()
        .zip(input.previous.iter().zip(owners))
    {
        if before != NO_OWNER && after != NO_OWNER && before != after {
            moved += 1;
            weight = weight.saturating_add(partition.weight);
            let living = input.workers.get(before);
            forced += u32::from(living.is_none_or(|worker| worker.capacity == 0));
        }
    }
    (report.moved, report.moved_weight, report.forced) = (moved, weight, forced);
    report.voluntary = moved - forced;
    report.lower_bound = report.lower_bound.min(moved);
    report.moved_weight_bound = report.moved_weight_bound.min(weight);
    report.settled = false;
}
