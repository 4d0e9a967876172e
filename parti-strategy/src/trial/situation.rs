//! The input of a plan from plain data: who owns what, by name.
//!
//! Separate from [`what_if`](crate::trial::what_if) because any planning outside a leader needs it. What
//! always holds: the result passes every check that strategies make of a previous assignment.

use std::collections::BTreeMap;
use std::sync::Arc;

use parti_core::WorkerTable;
use parti_core::{NO_OWNER, PartitionKey, PartitionTable, PlanError, PlanInput, WorkerId};

/// The input of a plan for a group of which it is known who owns what.
///
/// `previous` names the owner of each partition, in any order; what it leaves out has no owner. An
/// owner that is not among the workers counts as departed, so that its partitions have to move. A
/// partition that is not on the list is left out, as if the list had lost it.
///
/// ```
/// use std::sync::Arc;
/// use parti_core::{NO_OWNER, Partition, PartitionTable, WorkerId, WorkerInfo, WorkerTable};
/// use parti_strategy::situation;
/// let list = vec![Partition::new(["p-0"])?, Partition::new(["p-1"])?];
/// let partitions = Arc::new(PartitionTable::new(list)?);
/// let workers = WorkerTable::new(vec![WorkerInfo::new(WorkerId::new("a")?)])?;
/// let key = partitions.as_slice()[1].key.clone();
/// let input = situation(Arc::new(workers), partitions, &[(key, WorkerId::new("gone")?)])?;
/// assert_eq!(input.previous, [NO_OWNER, 1]);
/// assert_eq!(input.departed, [WorkerId::new("gone")?]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`PlanError::BadInput`] when two workers own the same partition, naming all three.
pub fn situation(
    workers: Arc<WorkerTable>,
    partitions: Arc<PartitionTable>,
    previous: &[(PartitionKey, WorkerId)],
) -> Result<PlanInput, PlanError> {
    let mut owners: BTreeMap<u32, &WorkerId> = BTreeMap::new();
    for (key, owner) in previous {
        let Some(rank) = partitions.rank_of(key) else {
            continue;
        };
        match owners.insert(rank, owner) {
            Some(other) if other != owner => {
                return Err(PlanError::BadInput(format!(
                    "the previous assignment gives partition {key} to {other} and to {owner}; it \
                     can have one owner"
                )));
            }
            Some(_) | None => {}
        }
    }
    let is_gone = |owner: &&&WorkerId| workers.index_of(owner).is_none();
    let mut departed: Vec<WorkerId> = owners
        .values()
        .filter(is_gone)
        .map(|&owner| owner.clone())
        .collect();
    departed.sort_unstable();
    departed.dedup();
    let index = |owner: &WorkerId| match workers.index_of(owner) {
        Some(index) => index,
        None => departed
            .binary_search(owner)
            .map_or(NO_OWNER, |index| (workers.len() + index) as u32),
    };
    let mut input = PlanInput::fresh(partitions, Arc::clone(&workers));
    if !owners.is_empty() {
        input.previous = vec![NO_OWNER; input.partitions.len()];
        for (rank, owner) in owners {
            input.previous[rank as usize] = index(owner);
        }
    }
    input.departed = departed;
    Ok(input)
}
