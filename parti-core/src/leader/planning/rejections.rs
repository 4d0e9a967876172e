//! Planning around rejections: partitions that their owner cannot process go to somebody else.
//!
//! It is separate because strategies know nothing of it: the strategy plans as ever, then it is asked
//! again for the few partitions that ended up where they cannot be processed, with only the workers
//! that may try. What always holds: rules of the strategy hold for those, too; what every worker that
//! may own it has failed with is parked and tried again after a while, instead of going round; a worker
//! that fails with what it has is given nothing that failed elsewhere, so that a cause which all have
//! in common moves nothing.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::leader::knowledge::view::View;
use crate::leader::planning::adopted::is_concerned;
use crate::leader::planning::failed_everywhere::{FailedEverywhere, FailedPartition};
use crate::leader::planning::pins::Pinning;
use crate::model::id::WorkerId;
use crate::model::partition::{Partition, PartitionKey};
use crate::model::table::PartitionTable;
use crate::model::time::Instant;
use crate::ports::strategy::{NO_OWNER, Plan, PlanInput, Report, WorkerInfo, WorkerTable};
use crate::records::orders::Ordered;
use crate::records::problem::{Problem, ProblemKind};
use crate::records::record::{RejectedAt, SessionRecord, SessionStatus};

/// The most groups of partitions the strategy is asked for again in one plan.
const MOST_GROUPS: usize = 32;

/// A worker that tells of so many fails for a reason of its own, and is no evidence against a partition.
const TOO_MANY: usize = 32;

/// Who must not be given what, and why a partition is where it cannot be processed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Barred {
    /// By partition: the workers that failed with it, and those that fail with what they have.
    by_key: BTreeMap<PartitionKey, BTreeSet<WorkerId>>,
    /// By partition: the workers that failed with it, and what the first of them said.
    failed: BTreeMap<PartitionKey, Failed>,
    /// The workers that failed with something and process something else: with them it is not the
    /// worker.
    sound: BTreeSet<WorkerId>,
    /// What its owner cannot process, with the owner and the reason.
    stuck: BTreeMap<PartitionKey, (WorkerId, alloc::string::String)>,
}

/// Who failed with a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Failed {
    by: BTreeSet<WorkerId>,
    why: alloc::string::String,
}

impl Barred {
    pub(crate) fn find(view: &View) -> Self {
        let said = view.sessions.iter().filter_map(|(worker, session)| {
            let record = session.record.as_ref()?;
            let tells = record.status.is_living() && !record.rejections.is_empty();
            tells.then_some((worker, record))
        });
        let said: Vec<(&WorkerId, &SessionRecord)> = said.collect();
        let mut barred = Self::default();
        let mut failing: BTreeSet<&WorkerId> = BTreeSet::new();
        for &(worker, session) in &said {
            let rejections = session.rejections.as_slice();
            let record = view.records.get(worker);
            let granted = record.map(|record| &record.granted);
            let names = |key: &PartitionKey| {
                rejections
                    .iter()
                    .any(|rejection| rejection.partition == *key)
            };
            let processes = granted.is_some_and(|all| all.iter().any(|g| !names(&g.partition)));
            if processes && rejections.len() < TOO_MANY {
                barred.sound.insert(worker.clone());
            }
            for rejection in rejections {
                let key = &rejection.partition;
                let by = barred.by_key.entry(key.clone()).or_default();
                by.insert(worker.clone());
                let concerned = is_concerned(record, session, key);
                // What fails to prepare has an owner, and is no evidence against the partition.
                if rejection.at == RejectedAt::Processing {
                    let failed = barred.failed.entry(key.clone()).or_default();
                    if failed.by.is_empty() {
                        failed.why = alloc::format!("{worker} says: {}", rejection.reason);
                    }
                    failed.by.insert(worker.clone());
                    failing.extend(concerned.then_some(worker));
                }
                if concerned {
                    let why = (worker.clone(), rejection.reason.clone());
                    barred.stuck.insert(key.clone(), why);
                }
            }
        }
        for by in barred.by_key.values_mut() {
            by.extend(failing.iter().map(|&worker| worker.clone()));
        }
        barred
    }

    /// What could be moved or has to be parked: stuck partitions that somebody else may try, and those
    /// with which everybody failed; with those who are barred.
    pub(crate) fn movable(&self, view: &View) -> BTreeMap<PartitionKey, BTreeSet<WorkerId>> {
        if self.stuck.is_empty() {
            return BTreeMap::new();
        }
        let takers = view.sessions.iter().filter(|(_, session)| {
            let record = session.record.as_ref();
            record.is_some_and(|r| r.status == SessionStatus::Active && r.capacity > 0)
        });
        let takers: Vec<&WorkerId> = takers.map(|(worker, _)| worker).collect();
        let stuck = self.stuck.keys().filter_map(|key| {
            let by = self.by_key.get(key)?;
            let takes = takers.iter().any(|worker| !by.contains(*worker));
            let parks = self.failed.get(key).is_some_and(|failed| {
                let mut takers = takers.iter();
                self.blames(failed) && takers.all(|worker| failed.by.contains(*worker))
            });
            (takes || parks).then(|| (key.clone(), by.clone()))
        });
        stuck.collect()
    }

    /// A partition that is parked for so long may be tried again by any worker the strategy likes.
    pub(crate) fn try_again(&mut self, futile: &FailedEverywhere) {
        self.by_key.retain(|key, _| !futile.is_due(key));
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
        let mut groups: BTreeMap<(&BTreeSet<WorkerId>, bool), Vec<u32>> = BTreeMap::new();
        for (key, by) in &self.by_key {
            let Some(rank) = input.partitions.rank_of(key) else {
                continue;
            };
            let owner = plan.owners.get(rank as usize).copied();
            let owner = owner.and_then(|owner| input.workers.get(owner));
            if owner.is_some_and(|owner| by.contains(&owner.id)) {
                // A worker that is barred for something else has not tried this one.
                let takers = input.workers.as_slice().iter().filter(|w| w.capacity > 0);
                let mut barred = takers.filter(|worker| by.contains(&worker.id));
                let failed = self.failed.get(key);
                let all_tried = failed.is_some_and(|failed| {
                    self.blames(failed) && barred.all(|worker| failed.by.contains(&worker.id))
                });
                groups.entry((by, all_tried)).or_default().push(rank);
            }
        }
        let groups = groups
            .into_iter()
            .take(MOST_GROUPS)
            .map(|((by, all_tried), ranks)| {
                let workers = input.workers.as_slice().iter();
                let may: Vec<WorkerInfo> = workers
                    .filter(|worker| worker.capacity > 0 && !by.contains(&worker.id))
                    .cloned()
                    .collect();
                Group {
                    ranks,
                    may,
                    why: Why::Barred { all_tried },
                }
            });
        groups.collect()
    }

    /// Whether it is the partition that is to blame: somebody who failed with it processes others.
    fn blames(&self, failed: &Failed) -> bool {
        failed.by.iter().any(|worker| self.sound.contains(worker))
    }

    /// What everybody failed with, in words.
    fn failed_partition(&self, key: &PartitionKey) -> FailedPartition {
        let why = self.failed.get(key).map(|failed| failed.why.clone());
        FailedPartition {
            key: key.clone(),
            why: why.unwrap_or_default(),
        }
    }
}

/// Partitions that the strategy is asked for again, with fewer workers.
#[derive(Clone, Debug)]
struct Group {
    ranks: Vec<u32>,
    may: Vec<WorkerInfo>,
    why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// The others may not try them.
    Barred {
        /// Whether all of those have failed with them.
        all_tried: bool,
    },
    /// An operator wants them at this worker.
    Wanted,
}

/// A plan on its way around rejections.
#[derive(Clone, Debug)]
pub(crate) struct Reassignment {
    plan: Plan,
    /// What is still to be asked for, the next one last.
    groups: Vec<Group>,
    barred: Barred,
    futile: FailedEverywhere,
    pinning: Pinning,
    changed: bool,
}

impl Reassignment {
    /// The plan, what is wrong with it, and what operators want otherwise.
    pub(crate) fn begin(
        barred: Barred,
        futile: FailedEverywhere,
        ordered: Option<&Ordered>,
        input: &PlanInput,
        plan: Plan,
    ) -> Self {
        let cannot = |key: &PartitionKey, worker: &WorkerId| {
            let by = barred.by_key.get(key);
            by.is_some_and(|by| by.contains(worker))
        };
        let pinning = ordered.map(|ordered| Pinning::find(ordered, input, &plan, cannot));
        let pinning = pinning.unwrap_or_default();
        // The last is asked for first: what is wanted is taken out of what the rest comes to.
        let mut groups = barred.groups(input, &plan);
        groups.extend(pinning.asked.iter().filter_map(|(worker, ranks)| {
            let worker = input.workers.get(input.workers.index_of(worker)?)?;
            Some(Group {
                ranks: ranks.clone(),
                may: Vec::from([worker.clone()]),
                why: Why::Wanted,
            })
        }));
        Self {
            plan,
            groups,
            barred,
            futile,
            pinning,
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
            let key = input.partitions.as_slice().get(rank as usize);
            let owner = match group.why {
                // What is parked stays so until its time comes, or somebody comes who has not tried it.
                Why::Barred { all_tried } => {
                    let waits = key.is_some_and(|partition| self.futile.is_waiting(&partition.key));
                    if given.is_none() && (all_tried || waits) && self.park(input, rank) {
                        continue;
                    }
                    // Nobody may try: it stays where it is, if that is possible.
                    given.or_else(|| input.living_owner(rank))
                }
                // It goes where the plan has it.
                Why::Wanted => {
                    let wanted = group.may.first().filter(|_| given.is_none()).zip(key);
                    if let Some((worker, partition)) = wanted {
                        self.pinning.forbidden(&partition.key, &worker.id);
                    }
                    given
                }
            };
            if let (Some(owner), Some(planned)) = (owner, self.plan.owners.get_mut(rank as usize)) {
                self.changed |= *planned != owner;
                *planned = owner;
            }
        }
    }

    /// Everybody who may own it has failed with it: it is left without an owner, if there is room for
    /// one more of these.
    fn park(&mut self, input: &PlanInput, rank: u32) -> bool {
        let key = input.partitions.as_slice().get(rank as usize);
        let planned = self.plan.owners.get_mut(rank as usize);
        let (Some(partition), Some(planned)) = (key, planned) else {
            return false;
        };
        let parks = self
            .futile
            .park(rank, self.barred.failed_partition(&partition.key));
        if parks {
            self.changed = true;
            *planned = NO_OWNER;
        }
        parks
    }

    /// Which wishes of operators the plan does not obey, in words.
    pub(crate) fn take_unobeyed(&mut self) -> Vec<alloc::string::String> {
        self.pinning.take_words()
    }

    /// The plan, with a certificate that counts what it moves.
    pub(crate) fn finish(mut self, input: &PlanInput) -> Plan {
        let failed = &self.barred.failed;
        let unmet = self.futile.unmet(|need| {
            let mut named = failed.keys();
            named.any(|key| crate::leader::planning::failed_everywhere::need_of(key) == need)
        });
        let parked = unmet.iter().map(|unmet| unmet.unplaced.len() as u32);
        self.plan.report.unplaced += parked.sum::<u32>();
        self.plan.unmet.extend(unmet);
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
pub(crate) fn recount(input: &PlanInput, owners: &[u32], report: &mut Report) {
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
