//! Round robin: the partition of rank r goes to worker r modulo the number of workers.
//!
//! What always holds: counts differ by at most one; almost everything moves when a worker comes or
//! goes, so it suits stateless work and tests.

use parti_core::{AssignmentStrategy, Plan, PlanError, PlanInput, StrategyId};

use crate::basis::certificate::certify;
use crate::basis::input;

/// Deals partitions like cards, in canonical order.
///
/// Ignores weights, capacities (except 0, which gets nothing), the previous assignment and the
/// budget. The result is a function of the sets of workers and partitions.
///
/// ```
/// use parti_core::{AssignmentStrategy, PlanInput};
/// use parti_strategy::{RoundRobin, workload::{Weights, Workload}};
/// let group = Workload::new(3, 7, Weights::Equal);
/// let plan = RoundRobin::new().plan(&PlanInput::fresh(group.partitions(), group.workers()))?;
/// assert_eq!(plan.owners, [0, 1, 2, 0, 1, 2, 0]);
/// # Ok::<(), parti_core::PlanError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoundRobin;

impl RoundRobin {
    /// The strategy; it has no parameters.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }

    /// Deals in another order of the ranks, such as that of the list they came from, which is what
    /// the Go library does. Then every leader must use the same order.
    ///
    /// # Errors
    /// As [`AssignmentStrategy::plan`], and [`PlanError::BadInput`] when `order` does not hold every
    /// rank exactly once.
    pub fn plan_in_order(&self, input: &PlanInput, order: &[u32]) -> Result<Plan, PlanError> {
        input::check_order(input, order)?;
        deal(input, order.iter().copied())
    }
}

impl AssignmentStrategy for RoundRobin {
    fn id(&self) -> StrategyId {
        StrategyId::new("round-robin/1")
    }

    fn plan(&self, input: &PlanInput) -> Result<Plan, PlanError> {
        deal(input, 0..input.partitions.len() as u32)
    }
}

fn deal(input: &PlanInput, order: impl Iterator<Item = u32>) -> Result<Plan, PlanError> {
    input::capacity(input)?;
    input::check_previous(input)?;
    let workers = (0..).zip(input.workers.as_slice());
    let able = workers.filter(|(_, info)| info.capacity > 0);
    let able: Vec<u32> = able.map(|(index, _)| index).collect();
    let mut owners = vec![0; input.partitions.len()];
    let mut next = 0;
    for rank in order {
        owners[rank as usize] = able[next];
        next = if next + 1 == able.len() { 0 } else { next + 1 };
    }
    certify(input, owners)
}
