//! Planning without acting: what a change of a group would move, before anybody makes it.
//!
//! Separate from the manager because it needs no store, no runtime and no running group. What
//! always holds: with the default strategy the forecast is the plan that a leader would publish.

use std::ops::RangeInclusive;
use std::sync::Arc;

use parti_core::{
    AssignmentStrategy, PartitionKey, PartitionTable, PlanError, PlanInput, Report, WorkerId,
    WorkerTable,
};
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

/// What a group of another size would be like.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Advice {
    /// How many workers it has.
    pub workers: u32,
    /// The certificate of the plan: how many partitions move from where they are now, and the loads.
    pub report: Report,
}

impl Advice {
    /// The load of the worker with the most, in parts of what each would have if all had the same; 1 is
    /// even. Workers that take no load are counted, too.
    #[must_use]
    pub fn imbalance(&self) -> f64 {
        let even = self.report.total_weight as f64 / f64::from(self.workers.max(1));
        if even == 0.0 {
            return 1.0;
        }
        self.report.max_load as f64 / even
    }
}

/// What each of these sizes would be like, for autoscalers: with 12 partitions, 5 workers are hardly
/// better than 4, and 6 are.
///
/// Workers that come have capacity 1; those that go are the last ones in the order of their IDs.
///
/// ```
/// use parti::planning::{advise, situation};
/// use parti::strategy::{PartitionTable, Sticky, WorkerInfo, WorkerTable};
/// use parti::{Partition, WorkerId};
/// let list = (0..12).map(|i| Partition::new([i.to_string()]));
/// let partitions = PartitionTable::new(list.collect::<Result<_, _>>()?)?;
/// let workers = WorkerTable::new(vec![WorkerInfo::new(WorkerId::new("a")?)])?;
/// let now = situation(workers.into(), partitions.into(), &[])?;
/// let advice = advise(&Sticky::new(), &now, 4..=6)?;
/// let most: Vec<u64> = advice.iter().map(|advice| advice.report.max_load).collect();
/// assert_eq!(most, [3, 3, 2]);
/// assert_eq!(advice[1].imbalance(), 1.25);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As [`what_if`].
pub fn advise(
    strategy: &dyn AssignmentStrategy,
    now: &PlanInput,
    sizes: RangeInclusive<u32>,
) -> Result<Vec<Advice>, PlanError> {
    let present = u32::try_from(now.workers.len()).unwrap_or(u32::MAX);
    let advice = sizes.map(|workers| {
        let change = if workers < present {
            Change::Leave(present - workers)
        } else {
            Change::Join(workers - present)
        };
        let report = what_if(strategy, now, &[change])?.plan.report;
        Ok(Advice { workers, report })
    });
    advice.collect()
}
