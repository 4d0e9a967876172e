//! Planning without acting: what a change of a group would move, before anybody makes it.
//!
//! Separate from the manager because it needs no store, no runtime and no running group. What
//! always holds: with the default strategy the forecast is the plan that a leader would publish.

use std::sync::Arc;

use parti_core::{PartitionKey, PartitionTable, PlanError, WorkerId, WorkerTable};
use parti_strategy::Sticky;
#[doc(inline)]
pub use parti_strategy::{Change, Forecast, Move, situation, what_if};

/// What these changes would move, with the default strategy.
///
/// `previous` says who owns what now, as [`situation`] takes it; nothing means that nobody owns
/// anything yet. The changes are made one after the other and decided together. The [`Forecast`]
/// has the moves, the loads afterwards, and the certificate: how many moves there are and how few
/// any plan of the same balance could have. For another strategy, anchors or a budget, take
/// [`what_if`].
///
/// ```
/// use parti::{Partition, WorkerId};
/// use parti::planning::Change;
/// use parti::strategy::{PartitionTable, WorkerInfo, WorkerTable};
/// let workers = ["a", "b", "c"].map(|id| WorkerId::new(id).map(WorkerInfo::new));
/// let workers = WorkerTable::new(workers.into_iter().collect::<Result<_, _>>()?)?;
/// let list = (0..120).map(|i| Partition::new(["orders".into(), i.to_string()]));
/// let partitions = PartitionTable::new(list.collect::<Result<_, _>>()?)?;
///
/// // Who gets what in the beginning ...
/// let first = parti::planning::plan(workers.clone(), partitions.clone(), &[], &[])?;
/// let owned: Vec<_> = first
///     .moves()
///     .filter_map(|m| Some((m.partition.key.clone(), m.to?.clone())))
///     .collect();
/// // ... and what a fourth worker would change.
/// let join = parti::planning::plan(workers, partitions, &owned, &[Change::Join(1)])?;
/// assert_eq!(join.plan.report.moved, 30);
/// assert_eq!(join.plan.report.lower_bound, 30);
/// assert!(join.moves().all(|m| m.to.is_some_and(|to| to.as_str() == "new-0")));
/// assert!(join.loads().iter().all(|&(_, count, _)| count == 30));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`PlanError`] as of [`situation`] and [`what_if`]. Nothing has happened in either case.
pub fn plan(
    workers: WorkerTable,
    partitions: PartitionTable,
    previous: &[(PartitionKey, WorkerId)],
    changes: &[Change],
) -> Result<Forecast, PlanError> {
    let now = situation(Arc::new(workers), Arc::new(partitions), previous)?;
    what_if(&Sticky::new(), &now, changes)
}
