//! The deterministic simulator: a group of real cores, a simulated store, virtual time, and faults.
//!
//! A seed is a full bug report. From it a [`Plan`] is made, explicit and storable; a run is a
//! function of the plan alone: a phase under faults, then everything heals, then the group must
//! settle within [`Config::convergence_bound`](parti_core::Config::convergence_bound) and stay calm.
//! Every fact is judged by the checkers of [`checks`].
//!
//! It runs the library alone; handlers of users run in the second simulator, `parti_testing::manager`.
//!
//! ```
//! use parti_core::Mode;
//! use parti_testing::simulator::{Plan, Sim};
//! let plan = Plan::from_seed(7, Mode::Exclusive);
//! let outcome = Sim::run(&plan)?;
//! assert_eq!(outcome.digest, Sim::run(&plan)?.digest);
//! # Ok::<(), parti_core::ConfigError>(())
//! ```

mod group;
mod judging;
mod plans;
mod storage;
use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;

use parti_core::{ConfigBuilder, ConfigError, Mode, PartitionKey, WorkerId};

use group::world::World;

pub mod checks;
pub mod cli;
#[cfg(test)]
mod tests;

#[cfg(feature = "manager")]
pub(crate) use group::panics;
pub use group::strategy::KeepThenFill;
pub use judging::judge::{Tracing, Violation};
#[cfg(feature = "planted")]
pub use judging::planted;
pub use judging::situations::SITUATIONS;
#[cfg(feature = "manager")]
pub(crate) use plans::dice::{Dice, Purpose, Roll, scramble};
pub use plans::generate::FaultClass;
pub use plans::plan::{
    Action, Aftermath, Denial, ExternalWrite, Faults, Handoff, KeyKind, Leave, Loss, NodePlan,
    OrderVerb, Plan, Planner, Pools, Releases, Settings, Target, TimedAction, Timings, Warmup,
    Weights,
};
pub use plans::shrink::shrink;
pub use storage::simulated_store::{Manner, SimulatedStore};

impl Plan {
    /// The plan of a seed. It may change between releases; store the plan to keep it.
    #[must_use]
    pub fn from_seed(seed: u64, mode: Mode) -> Self {
        plans::generate::plan(seed, mode)
    }

    /// Whether the store rejects writes in it that were sound.
    #[must_use]
    pub fn is_rejecting(&self) -> bool {
        self.actions.iter().any(|timed| {
            matches!(
                timed.action,
                Action::PayloadLimit { .. }
                    | Action::Deny {
                        how: Denial::Rejected,
                        ..
                    }
            )
        })
    }

    /// Whether the bucket loses its history in it.
    pub(super) fn loses_history(&self) -> bool {
        let loses = |timed: &TimedAction| matches!(timed.action, Action::LoseHistory { .. });
        self.actions.iter().any(loses)
    }

    /// Whether nothing goes wrong in it, so that no alarm has a reason.
    #[must_use]
    pub fn is_faultless(&self) -> bool {
        let harmless = |timed: &TimedAction| match timed.action {
            Action::Partitions { .. }
            | Action::Refresh { .. }
            | Action::Trigger { .. }
            | Action::ReplaceLeader { .. }
            | Action::Weigh { .. } => true,
            Action::Stop { leave, .. } => leave == Leave::Handoff,
            Action::Crash { .. }
            | Action::Pause { .. }
            | Action::ClockJump { .. }
            | Action::Outage { .. }
            | Action::LoseHistory { .. }
            | Action::NetworkPartition { .. }
            | Action::LoseAnswers { .. }
            | Action::Throttle { .. }
            | Action::Suspend { .. }
            | Action::ClockBack { .. }
            | Action::Slow { .. }
            | Action::Stall { .. }
            | Action::Reconnect { .. }
            | Action::Deny { .. }
            | Action::StuckLeader { .. }
            | Action::SlowStore { .. }
            | Action::PayloadLimit { .. }
            | Action::BreakHandler { .. }
            | Action::SourceDown { .. }
            | Action::ExternalWrite { .. } => false,
        };
        let slots = self.settings.pool as usize;
        self.faults == Faults::none()
            && self.nodes.len() <= slots
            && self
                .nodes
                .iter()
                .all(|node| node.survives && node.after == Aftermath::Healed)
            && self.actions.iter().all(harmless)
    }
}

/// The simulator.
#[derive(Clone, Copy, Debug)]
pub struct Sim;

impl Sim {
    /// Runs a plan. A run with violations is repeated with a trace of its last lines.
    ///
    /// # Errors
    /// [`ConfigError`] when the settings of the plan are incoherent; nothing was run then.
    pub fn run(plan: &Plan) -> Result<Outcome, ConfigError> {
        let outcome = Self::run_traced(plan, Tracing::Off)?;
        if outcome.violations.is_empty() {
            return Ok(outcome);
        }
        Self::run_traced(plan, Tracing::Last)
    }

    /// Runs a plan and keeps as much of the trace as asked for.
    ///
    /// # Errors
    /// As [`Sim::run`].
    pub fn run_traced(plan: &Plan, tracing: Tracing) -> Result<Outcome, ConfigError> {
        Self::run_adjusted(plan, tracing, &|builder| builder)
    }

    fn run_adjusted(
        plan: &Plan,
        tracing: Tracing,
        adjust: &dyn Fn(ConfigBuilder) -> ConfigBuilder,
    ) -> Result<Outcome, ConfigError> {
        let mut world = World::new(plan, tracing, adjust)?;
        world.run();
        Ok(world.outcome())
    }
}

impl World<'_> {
    /// What came out, once it has run.
    fn outcome(&mut self) -> Outcome {
        Outcome {
            stats: Stats {
                simulated: self.now.since_origin(),
                events: self.events,
                generations: self.judge.situations.generations,
                moves: self.judge.moves.count(),
                settled_after: self.settled_after(),
                requests: self.judge.requests,
            },
            pending: self.coverage().pending(),
            owners: self.owners(),
            digest: self.judge.digest,
            situations: self.judge.situations.counts(),
            trace: self.judge.take_trace(),
            violations: core::mem::take(&mut self.judge.violations),
        }
    }
}

/// How much a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// How much time passed in it.
    pub simulated: Duration,
    /// How many things happened.
    pub events: u64,
    /// How many times `head` was written.
    pub generations: u64,
    /// How many partitions were granted to another worker ID than the one that had them last.
    pub moves: u64,
    /// How long after the faults the group was first seen settled.
    pub settled_after: Option<Duration>,
    /// How many requests and watches the group began under faults.
    pub requests: u64,
}

/// What came out of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What did not hold; a run ends at the first.
    pub violations: Vec<Violation>,
    /// Equal runs have equal digests.
    pub digest: u64,
    /// How much it did.
    pub stats: Stats,
    /// How often each of [`SITUATIONS`] was seen.
    pub situations: BTreeMap<String, u64>,
    /// Which worker held each partition at the end, by name.
    pub owners: BTreeMap<PartitionKey, WorkerId>,
    /// What was missing at the end for the group to count as settled.
    pub pending: Vec<String>,
    /// The trace, as far as it was kept.
    pub trace: Vec<String>,
}

/// Prints as a bug report: the property, what is pending, the trace and the command to run it again.
#[derive(Clone, Copy, Debug)]
pub struct BugReport<'a> {
    /// The plan that was run.
    pub plan: &'a Plan,
    /// What came out of it.
    pub outcome: &'a Outcome,
}

impl fmt::Display for BugReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.outcome.trace {
            writeln!(f, "{line}")?;
        }
        let (seed, mode) = (self.plan.seed, self.plan.settings.mode.as_str());
        for violation in &self.outcome.violations {
            writeln!(f, "seed {seed} ({mode}): {violation}")?;
        }
        for pending in &self.outcome.pending {
            writeln!(f, "pending: {pending}")?;
        }
        write!(
            f,
            "again: cargo xtask sim --seed {seed} --mode {mode} --trace"
        )
    }
}
