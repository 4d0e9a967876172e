//! What goes wrong in a scenario: presets over the actions of a plan.
//!
//! It is separate because it is what a test's author chooses, where a plan is what a seed made of it. What
//! always holds: the plan is a function of the preset, the size of the group and the seed.

use core::time::Duration;

use super::plan::{Action, HandlerFaults, Plan, TimedAction};

/// How long a successor takes to come in a rolling update.
const SUCCESSOR_MS: u64 = 2_000;

/// What goes wrong in a scenario.
#[derive(Clone, Debug, Default)]
pub struct Nemesis(Kind);

#[derive(Clone, Debug, Default)]
enum Kind {
    #[default]
    Swarm,
    Only(fn(&Action) -> bool),
    RollingUpdate {
        hold: Option<Duration>,
        every: Duration,
    },
    Given(Box<Plan>),
}

impl Nemesis {
    /// Everything at once, and handlers that are slow, fail, panic and hang in three of four seeds. The
    /// default, and the one that finds most.
    #[must_use]
    pub fn swarm() -> Self {
        Self::default()
    }

    /// Nothing goes wrong: what must hold without any fault.
    #[must_use]
    pub fn calm() -> Self {
        Self(Kind::Only(|_| false))
    }

    /// Processes die without a word, leave and come back.
    #[must_use]
    pub fn crashes() -> Self {
        Self(Kind::Only(|action| {
            matches!(
                action,
                Action::Crash { .. } | Action::Start { .. } | Action::Stop { .. }
            )
        }))
    }

    /// Processes stand still or are suspended, one or all, for less or more than their lease.
    #[must_use]
    pub fn pauses() -> Self {
        Self(Kind::Only(|action| {
            matches!(action, Action::Pause { .. } | Action::Suspend { .. })
        }))
    }

    /// Nodes are cut off from the store, and the store from everybody. What handlers write to stays in
    /// reach: an owner that is cut off can still do harm.
    #[must_use]
    pub fn partitions() -> Self {
        Self(Kind::Only(|action| {
            matches!(
                action,
                Action::Cut { .. } | Action::Heal | Action::Outage { .. }
            )
        }))
    }

    /// Messages are late, lost and out of order, and what was done is not known.
    #[must_use]
    pub fn network() -> Self {
        Self(Kind::Only(|action| {
            matches!(
                action,
                Action::Delay { .. }
                    | Action::Lose { .. }
                    | Action::Reorder { .. }
                    | Action::LoseAnswers { .. }
                    | Action::LoseWatches
                    | Action::Heal
            )
        }))
    }

    /// One worker after the other is replaced: it leaves with its slot held for so long, and its successor
    /// comes two seconds later.
    #[must_use]
    pub fn rolling_update_with_held_slots(hold: Duration, every: Duration) -> Self {
        let hold = Some(hold);
        Self(Kind::RollingUpdate { hold, every })
    }

    /// As [`Nemesis::rolling_update_with_held_slots`], and what leaves gives its partitions away.
    #[must_use]
    pub fn rolling_update_with_drains(every: Duration) -> Self {
        Self(Kind::RollingUpdate { hold: None, every })
    }

    /// Exactly this plan, whatever the seed: how a stored failure becomes a test.
    #[must_use]
    pub fn plan(plan: Plan) -> Self {
        Self(Kind::Given(Box::new(plan)))
    }

    pub(super) fn make(&self, seed: u64, size: Size) -> Plan {
        let mut plan = size.fit(Plan::from_seed(seed));
        match &self.0 {
            Kind::Swarm => plan,
            Kind::Only(kept) => {
                plan.actions.retain(|timed| kept(&timed.action));
                plan.handlers = HandlerFaults::default();
                plan
            }
            Kind::RollingUpdate { hold, every } => {
                let every_ms = every.as_millis() as u64;
                plan.actions = rolling(plan.nodes, *hold, every_ms);
                plan.faults_ms = every_ms * (plan.nodes as u64 + 2);
                plan.handlers = HandlerFaults::default();
                plan
            }
            Kind::Given(plan) => (**plan).clone(),
        }
    }
}

fn rolling(nodes: usize, hold: Option<Duration>, every_ms: u64) -> Vec<TimedAction> {
    let hold_ms = hold.map(|hold| hold.as_millis() as u64);
    let mut actions = Vec::new();
    for node in 0..nodes {
        let at_ms = every_ms * (node as u64 + 1);
        actions.push(TimedAction {
            at_ms,
            action: Action::Stop { node, hold_ms },
        });
        actions.push(TimedAction {
            at_ms: at_ms + SUCCESSOR_MS,
            action: Action::Start { node },
        });
    }
    actions
}

/// What a scenario says about its group; what it leaves open is drawn.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Size {
    pub(super) nodes: Option<usize>,
    pub(super) partitions: Option<u32>,
    pub(super) faults_last: Option<Duration>,
}

impl Size {
    fn fit(self, mut plan: Plan) -> Plan {
        if let Some(nodes) = self.nodes {
            plan.nodes = nodes;
            plan.actions
                .retain(|timed| timed.action.node().is_none_or(|node| node < nodes));
        }
        plan.partitions = self.partitions.unwrap_or(plan.partitions);
        if let Some(last) = self.faults_last {
            plan.faults_ms = last.as_millis() as u64;
            plan.actions.retain(|timed| timed.at_ms < plan.faults_ms);
        }
        plan
    }
}
