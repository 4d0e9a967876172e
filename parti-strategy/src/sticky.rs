//! Sticky balanced assignment: keep what can be kept, move only what balance needs.
//!
//! The default strategy. It reads the previous assignment, so it can have perfect balance and the
//! fewest possible moves together; hashing only decides the first assignment and breaks ties. What
//! always holds: planning again with the result as previous moves nothing, unless a budget cut
//! the plan short (`settled` is false then).

mod census;
mod equal;
mod homes;
mod quota;

use parti_core::{AssignmentStrategy, Plan, PlanError, PlanInput, StrategyId};

use crate::input;
use crate::scratch::Scratch;

pub(crate) use equal::Buffers;

/// Keeps the previous assignment as far as balance allows.
///
/// Equally heavy partitions: counts follow the capacities to within one (equal capacities: the
/// largest and the smallest differ by at most 1), and no assignment of that balance moves fewer.
///
/// ```
/// use parti_core::{AssignmentStrategy, PlanInput};
/// use parti_strategy::{Sticky, workload::{Weights, Workload, worker_table}};
/// let group = Workload::new(3, 90, Weights::Equal);
/// let first = Sticky::new().plan(&PlanInput::fresh(group.partitions(), group.workers()))?;
///
/// // A fourth worker joins: it gets its share, and nothing else moves.
/// let mut input = PlanInput::fresh(group.partitions(), worker_table(0..4));
/// input.previous = first.owners;
/// let plan = Sticky::new().plan(&input)?;
/// assert_eq!((plan.report.moved, plan.report.lower_bound), (22, 22));
/// # Ok::<(), parti_core::PlanError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sticky {
    homes: bool,
}

impl Sticky {
    /// The default strategy.
    #[must_use]
    pub const fn new() -> Self {
        Self { homes: true }
    }

    /// Breaks ties by order alone instead of by the hash ring.
    ///
    /// Planning a join is then several times faster. The price: a group whose anchors were lost does
    /// not find back to an earlier assignment when its members come back.
    #[must_use]
    pub const fn without_homes(mut self) -> Self {
        self.homes = false;
        self
    }

    /// Plans into reused memory; allocates nothing once `scratch` and `plan` are large enough.
    ///
    /// # Errors
    /// As [`AssignmentStrategy::plan`]; `plan` then holds nothing of use.
    pub fn plan_into(
        &self,
        input: &PlanInput,
        scratch: &mut Scratch,
        plan: &mut Plan,
    ) -> Result<(), PlanError> {
        let capacity = input::capacity(input)?;
        input::check_previous(input)?;
        input::check_anchors(input)?;
        equal::plan(input, capacity, self.homes, scratch, plan)?;
        if input.partitions.uniform_weight().is_none() {
            plan.report = crate::certificate::certify(input, &plan.owners, &mut scratch.loads)?;
        }
        Ok(())
    }
}

impl Default for Sticky {
    fn default() -> Self {
        Self::new()
    }
}

impl AssignmentStrategy for Sticky {
    fn id(&self) -> StrategyId {
        StrategyId::new(if self.homes {
            "sticky/1"
        } else {
            "sticky/1 homes=off"
        })
    }

    fn plan(&self, input: &PlanInput) -> Result<Plan, PlanError> {
        let mut plan = Plan::default();
        self.plan_into(input, &mut Scratch::new(), &mut plan)?;
        Ok(plan)
    }
}
