//! Sticky balanced assignment: keep what can be kept, move only what balance needs.
//!
//! The default strategy. It reads the previous assignment, so it can have perfect balance and the
//! fewest possible moves together; hashing only decides the first assignment and breaks ties. What
//! always holds: planning again with the result as previous moves nothing, unless a budget cut
//! the plan short (`settled` is false then).

mod census;
pub(crate) mod eligibility;
mod equal;
mod homes;
mod quota;
mod weighted;

use std::sync::Arc;

use parti_core::{AssignmentStrategy, Plan, PlanError, PlanInput, StrategyId};

use crate::basis::input;
use eligibility::Eligibility;

/// Keeps the previous assignment as far as balance allows.
///
/// Equally heavy partitions: counts follow the capacities to within one (equal capacities: the
/// largest and the smallest differ by at most 1), and no assignment of that balance moves fewer.
/// Different weights: loads are kept within a band round the level, see [`Sticky::with_band`].
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
    settings: Settings,
    rules: Option<Arc<Eligibility>>,
}

/// The parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Settings {
    /// Whether the hash ring breaks ties.
    homes: bool,
    /// How far from the level loads are brought, in thousandths.
    goal: u32,
    /// How far from the level something is done; `None` follows the granularity.
    trigger: Option<u32>,
}

impl Sticky {
    /// The default strategy.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            settings: Settings {
                homes: true,
                goal: 50,
                trigger: None,
            },
            rules: None,
        }
    }

    /// Breaks ties by order alone instead of by the hash ring.
    ///
    /// Planning a join is then several times faster. The price: a group whose anchors were lost does
    /// not find back to an earlier assignment when its members come back.
    #[must_use]
    pub const fn without_homes(mut self) -> Self {
        self.settings.homes = false;
        self
    }

    /// Another band for partitions of different weight, in thousandths of the level.
    ///
    /// Nothing moves while all loads are within `trigger` of the level; otherwise those outside are
    /// brought to within `goal`. The default is a goal of 50 and a trigger of 100, or more when a
    /// worker has few partitions. A band narrower than about one partition cannot be reached and
    /// costs many moves; a wide trigger leaves more imbalance but absorbs drifting weights and short
    /// absences. A trigger below the goal counts as the goal. Equal weights need no band.
    #[must_use]
    pub const fn with_band(mut self, goal: u32, trigger: u32) -> Self {
        self.settings.goal = goal;
        self.settings.trigger = Some(if trigger < goal { goal } else { trigger });
        self
    }

    /// Only workers with certain labels may own certain partitions, or should while they are there.
    ///
    /// A partition that nobody may own gets no owner and is named in the plan
    /// ([`Plan::unmet`](parti_core::Plan::unmet)); all others are placed as if it were not there.
    /// Balance and fewest moves then hold within what the rules leave: exactly for equal weights,
    /// and for weights as long as classes of partitions do not compete for the same workers.
    #[must_use]
    pub fn with_eligibility(mut self, rules: Eligibility) -> Self {
        self.rules = (!rules.is_empty()).then(|| Arc::new(rules));
        self
    }
}

/// Plans without rules.
fn plan_unruled(input: &PlanInput, settings: Settings) -> Result<Plan, PlanError> {
    let capacity = input::capacity(input)?;
    match input.partitions.uniform_weight() {
        Some(_) => equal::plan(input, capacity, settings.homes),
        None => weighted::plan(input, capacity, settings),
    }
}

impl Default for Sticky {
    fn default() -> Self {
        Self::new()
    }
}

impl AssignmentStrategy for Sticky {
    fn id(&self) -> StrategyId {
        let Settings {
            homes,
            goal,
            trigger,
        } = self.settings;
        let mut name = String::from("sticky/1");
        if let Some(trigger) = trigger {
            name += &format!(" goal={goal} trigger={trigger}");
        }
        if !homes {
            name += " homes=off";
        }
        if let Some(rules) = &self.rules {
            name += &format!(" eligibility={:016x}", rules.digest());
        }
        StrategyId::new(&name)
    }

    fn plan(&self, input: &PlanInput) -> Result<Plan, PlanError> {
        input::capacity(input)?;
        input::check_previous(input)?;
        input::check_anchors(input)?;
        match &self.rules {
            Some(rules) => eligibility::plan(rules, input, self.settings),
            None => plan_unruled(input, self.settings),
        }
    }
}
