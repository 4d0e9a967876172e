//! Planning without acting: what a change would move, before anybody makes it.
//!
//! Pure, and separate from the strategies because it works with any of them. What always holds: the
//! forecast is the plan that a leader with the same input would publish.

use std::sync::Arc;

use parti_core::{
    AssignmentStrategy, NO_OWNER, Partition, PartitionKey, PartitionTable, Plan, PlanError,
    PlanInput, WorkerId, WorkerInfo, WorkerTable, anchors_after, carry_over,
};

/// A change of the group to try out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// So many workers of capacity 1 join under IDs of their own, `new-0`, `new-1`, ...
    Join(u32),
    /// These workers join; one that is there already takes on the new capacity and labels.
    Add(Vec<WorkerInfo>),
    /// So many workers leave, the last ones in the order of their IDs.
    Leave(u32),
    /// These workers leave.
    Remove(Vec<WorkerId>),
    /// These partitions get other weights.
    Reweigh(Vec<(PartitionKey, u64)>),
    /// The list of partitions becomes another one.
    Replace(Vec<Partition>),
}

/// What would happen.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Forecast {
    /// The situation after the change.
    pub input: PlanInput,
    /// What would be published, with its certificate.
    pub plan: Plan,
}

/// A partition that would change hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Move<'a> {
    /// The partition.
    pub partition: &'a Partition,
    /// Its owner so far; `None` when it had none.
    pub from: Option<&'a WorkerId>,
    /// Its owner then; `None` when nobody may own it.
    pub to: Option<&'a WorkerId>,
}

impl Forecast {
    /// The partitions that would get an owner, another one, or none any more, in canonical order.
    pub fn moves(&self) -> impl Iterator<Item = Move<'_>> {
        let input = &self.input;
        let ranks = input
            .partitions
            .as_slice()
            .iter()
            .zip(&self.plan.owners)
            .enumerate();
        ranks.filter_map(move |(rank, (partition, &owner))| {
            let previous = input.previous.get(rank).copied().unwrap_or(NO_OWNER);
            (previous != owner).then(|| Move {
                partition,
                from: name_of(input, previous),
                to: name_of(input, owner),
            })
        })
    }

    /// The number of partitions and the weight of every worker that may own, by ID.
    #[must_use]
    pub fn loads(&self) -> Vec<(&WorkerId, u32, u64)> {
        let workers = self.input.workers.as_slice();
        let mut loads: Vec<_> = workers.iter().map(|worker| (&worker.id, 0, 0)).collect();
        for (&owner, weight) in self.plan.owners.iter().zip(self.input.partitions.weights()) {
            if let Some((_, count, load)) = loads.get_mut(owner as usize) {
                *count += 1;
                *load += weight;
            }
        }
        loads
    }
}

/// Plans the situation after some changes, made one after the other and decided together.
///
/// `now` is the situation so far, with its assignment as `previous`.
///
/// ```
/// use parti_core::{AssignmentStrategy, PlanInput};
/// use parti_strategy::{Change, Sticky, what_if, workload::{Weights, Workload}};
/// let group = Workload::new(4, 100, Weights::Equal);
/// let mut now = PlanInput::fresh(group.partitions(), group.workers());
/// now.previous = Sticky::new().plan(&now)?.owners;
/// let forecast = what_if(&Sticky::new(), &now, &[Change::Join(1)])?;
/// assert_eq!(forecast.plan.report.moved, 20);
/// assert!(forecast.moves().all(|m| m.to.is_some_and(|to| to.as_str() == "new-0")));
/// # Ok::<(), parti_core::PlanError>(())
/// ```
///
/// # Errors
/// [`PlanError`]: that of the strategy, [`PlanError::BadInput`] for a worker or a partition that is
/// not there, or [`PlanError::DuplicateWorker`]. Nothing has happened in either case.
pub fn what_if(
    strategy: &dyn AssignmentStrategy,
    now: &PlanInput,
    changes: &[Change],
) -> Result<Forecast, PlanError> {
    let input = changes.iter().try_fold(now.clone(), apply)?;
    let plan = strategy.plan(&input)?;
    plan.check(&input)?;
    Ok(Forecast { input, plan })
}

/// The input of the next decision, after a plan was committed and the workers became others.
///
/// The plan must have passed [`Plan::check`] for this input.
#[must_use]
pub fn next_input(input: &PlanInput, plan: &Plan, workers: Arc<WorkerTable>) -> PlanInput {
    let committed = PlanInput {
        previous: plan.owners.clone(),
        departed: Vec::new(),
        anchors: anchors_after(input, plan),
        ..input.clone()
    };
    with_workers(committed, workers)
}

fn name_of(input: &PlanInput, owner: u32) -> Option<&WorkerId> {
    let departed = (owner as usize).checked_sub(input.workers.len());
    match departed {
        None => input.workers.get(owner).map(|worker| &worker.id),
        Some(index) => input.departed.get(index),
    }
}

fn apply(input: PlanInput, change: &Change) -> Result<PlanInput, PlanError> {
    match change {
        Change::Join(count) => join(input, *count),
        Change::Add(added) => add(input, added),
        Change::Leave(count) => {
            let workers = input.workers.as_slice();
            let stay = workers.len().saturating_sub(*count as usize);
            let table = WorkerTable::new(workers[..stay].to_vec())?;
            Ok(with_workers(input, Arc::new(table)))
        }
        Change::Remove(ids) => remove(input, ids),
        Change::Reweigh(weights) => reweigh(input, weights),
        Change::Replace(list) => with_partitions(input, list.clone()),
    }
}

fn join(input: PlanInput, count: u32) -> Result<PlanInput, PlanError> {
    let mut added = Vec::new();
    let mut number = 0;
    while added.len() < count as usize {
        let id = WorkerId::numbered("new", number)
            .map_err(|error| PlanError::BadInput(error.to_string()))?;
        if input.workers.index_of(&id).is_none() {
            added.push(WorkerInfo::new(id));
        }
        number += 1;
    }
    add(input, &added)
}

fn add(input: PlanInput, added: &[WorkerInfo]) -> Result<PlanInput, PlanError> {
    let is_replaced = |worker: &&WorkerInfo| added.iter().any(|other| other.id == worker.id);
    let others = input
        .workers
        .as_slice()
        .iter()
        .filter(|worker| !is_replaced(worker));
    let table = WorkerTable::new(others.chain(added).cloned().collect())?;
    Ok(with_workers(input, Arc::new(table)))
}

fn remove(input: PlanInput, ids: &[WorkerId]) -> Result<PlanInput, PlanError> {
    if let Some(unknown) = ids.iter().find(|id| input.workers.index_of(id).is_none()) {
        return Err(PlanError::BadInput(format!(
            "there is no worker {unknown} to remove"
        )));
    }
    let stay = input
        .workers
        .as_slice()
        .iter()
        .filter(|worker| !ids.contains(&worker.id));
    let table = WorkerTable::new(stay.cloned().collect())?;
    Ok(with_workers(input, Arc::new(table)))
}

fn reweigh(input: PlanInput, weights: &[(PartitionKey, u64)]) -> Result<PlanInput, PlanError> {
    let mut list = input.partitions.as_slice().to_vec();
    for (key, weight) in weights {
        let rank = input.partitions.rank_of(key).ok_or_else(|| {
            PlanError::BadInput(format!(
                "there is no partition {key} to give another weight"
            ))
        })?;
        list[rank as usize].weight = *weight;
    }
    with_partitions(input, list)
}

fn with_partitions(input: PlanInput, list: Vec<Partition>) -> Result<PlanInput, PlanError> {
    let table =
        PartitionTable::new(list).map_err(|error| PlanError::BadInput(error.to_string()))?;
    let rank_now = |rank: u32| table.rank_of(&input.partitions.as_slice().get(rank as usize)?.key);
    let mut anchors: Vec<_> = input
        .anchors
        .iter()
        .filter_map(|(rank, worker)| Some((rank_now(*rank)?, worker.clone())))
        .collect();
    anchors.sort_unstable_by_key(|(rank, _)| *rank);
    let previous = match input.previous.is_empty() {
        true => Vec::new(),
        false => carry_over(&input.partitions, &table, &input.previous),
    };
    Ok(PlanInput {
        partitions: Arc::new(table),
        previous,
        anchors,
        ..input
    })
}

/// The same assignment among other workers: indices follow the IDs, and owners that are gone become
/// departed ones.
fn with_workers(input: PlanInput, workers: Arc<WorkerTable>) -> PlanInput {
    let old = input.workers.as_slice().iter().map(|worker| &worker.id);
    let old: Vec<&WorkerId> = old.chain(&input.departed).collect();
    let mut departed: Vec<WorkerId> = old
        .iter()
        .filter(|id| workers.index_of(id).is_none())
        .map(|&id| id.clone())
        .collect();
    departed.sort_unstable();
    departed.dedup();
    let index_now = |id: &&WorkerId| match workers.index_of(id) {
        Some(index) => index,
        None => departed
            .binary_search(id)
            .map_or(NO_OWNER, |index| (workers.len() + index) as u32),
    };
    let renamed: Vec<u32> = old.iter().map(index_now).collect();
    let rename = |owner: &u32| renamed.get(*owner as usize).copied().unwrap_or(NO_OWNER);
    let previous = input.previous.iter().map(rename).collect();
    PlanInput {
        workers,
        departed,
        previous,
        ..input
    }
}
