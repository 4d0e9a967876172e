//! What goes wrong in a scenario: presets over the simulator's classes of faults.
//!
//! It is separate because it is what a test's author chooses, where a plan is what a seed made of it.
//! What always holds: the plan is a function of the preset, the size of the group and the seed.

use core::time::Duration;

use parti_core::Mode;

use crate::simulator::plans::generate::{self, FaultClass, Shape};
use crate::simulator::plans::plan::{
    Action, Aftermath, Faults, Leave, NodePlan, Plan, Planner, Pools, Releases, Settings,
    TimedAction, Timings, Weights,
};

/// What goes wrong, how often and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Nemesis(Kind);

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Swarm,
    Only(Vec<FaultClass>),
    RollingUpdate { leave: Leave, every_ms: u64 },
    Given(Box<Plan>),
}

impl Nemesis {
    /// Each class of faults is on or off with even odds, drawn per seed; some seeds have none and some
    /// have exactly one. The default, and the one that finds most.
    #[must_use]
    pub const fn swarm() -> Self {
        Self(Kind::Swarm)
    }

    /// Nothing goes wrong: what must hold without any fault.
    #[must_use]
    pub const fn calm() -> Self {
        Self(Kind::Only(Vec::new()))
    }

    /// These classes and no others; their intensities and times are drawn per seed.
    #[must_use]
    pub fn only(classes: &[FaultClass]) -> Self {
        Self(Kind::Only(classes.to_vec()))
    }

    /// Processes die, in the middle of a step too, and come back.
    #[must_use]
    pub fn crashes() -> Self {
        Self::only(&[FaultClass::Crash, FaultClass::Delay])
    }

    /// Processes stand still for less or more than their lease, and go on as if nothing had happened.
    #[must_use]
    pub fn pauses() -> Self {
        Self::only(&[FaultClass::Pause, FaultClass::Delay])
    }

    /// Workers are cut off from the store in some directions or all, and the store from everybody.
    /// What workers write to stays in reach: a cut-off owner can still do harm.
    #[must_use]
    pub fn partitions() -> Self {
        Self::only(&[
            FaultClass::NetworkPartition,
            FaultClass::Outage,
            FaultClass::Delay,
        ])
    }

    /// Messages are slow, lost, or carried out though the answer is lost.
    #[must_use]
    pub fn network() -> Self {
        Self::only(&[
            FaultClass::Delay,
            FaultClass::DropRequest,
            FaultClass::DropReply,
            FaultClass::Duplicate,
        ])
    }

    /// Clocks run at the extremes of what is configured, jump, and timers are late.
    #[must_use]
    pub fn clocks() -> Self {
        Self::only(&[FaultClass::Drift, FaultClass::ClockJump, FaultClass::Timers])
    }

    /// One worker after the other leaves with its slot held for `hold`, and its successor comes two
    /// seconds later. Nothing else happens, so the seed changes little.
    #[must_use]
    pub fn rolling_update_with_held_slots(hold: Duration, every: Duration) -> Self {
        let leave = Leave::Restart {
            hold_ms: millis(hold),
        };
        Self(Kind::RollingUpdate {
            leave,
            every_ms: millis(every),
        })
    }

    /// One worker after the other hands its partitions over, leaves, and its successor comes two
    /// seconds later.
    #[must_use]
    pub fn rolling_update_with_drains(every: Duration) -> Self {
        let every_ms = millis(every);
        Self(Kind::RollingUpdate {
            leave: Leave::Handoff,
            every_ms,
        })
    }

    /// Exactly this plan, whatever the seed: how a stored failure becomes a test.
    #[must_use]
    pub fn plan(plan: Plan) -> Self {
        Self(Kind::Given(Box::new(plan)))
    }

    pub(in crate::simulator) fn make(&self, seed: u64, mode: Mode, group: Group) -> Plan {
        let shape = |classes| Shape {
            workers: group.workers,
            partitions: group.partitions,
            safety_ms: group.faults_last.map(millis),
            classes,
        };
        match &self.0 {
            Kind::Swarm => generate::shaped(seed, mode, &shape(None)),
            Kind::Only(classes) => generate::shaped(seed, mode, &shape(Some(classes.clone()))),
            Kind::RollingUpdate { leave, every_ms } => {
                rolling(seed, mode, group, *leave, *every_ms)
            }
            Kind::Given(plan) => (**plan).clone(),
        }
    }
}

/// What a scenario says about its group; what it leaves open is drawn.
#[derive(Clone, Copy, Debug)]
pub(in crate::simulator) struct Group {
    pub(in crate::simulator) workers: Option<u32>,
    pub(in crate::simulator) partitions: Option<u32>,
    pub(in crate::simulator) faults_last: Option<Duration>,
}

impl Default for Nemesis {
    fn default() -> Self {
        Self::swarm()
    }
}

/// A group that starts together, then has one worker after the other replaced.
fn rolling(seed: u64, mode: Mode, group: Group, leave: Leave, every_ms: u64) -> Plan {
    let workers = group.workers.unwrap_or(3);
    let partitions = group.partitions.unwrap_or(64);
    let node = NodePlan {
        starts_ms: 0,
        drift_ppm: 0,
        capacity: 1,
        pool: 0,
        hint: None,
        declares_dead: false,
        survives: true,
        after: Aftermath::Healed,
        wall_skew_ms: 0,
        other_mode: false,
        long_lease: false,
        twin_of: None,
        releases: Releases::This,
    };
    let stop = |node: u32| TimedAction {
        at_ms: every_ms * u64::from(node + 1),
        action: Action::Stop {
            node: node as usize,
            leave,
            rejoin_ms: Some(2000),
        },
    };
    Plan {
        seed,
        settings: Settings {
            pace: Timings::Default,
            mode: mode.into(),
            pool: workers,
            clock_drift_ppm: 1000,
            lease_margin_ms: None,
            drain_timeout_ms: None,
            max_hold_ms: None,
            refresh_interval_ms: None,
            expected_workers: Some(workers),
            max_batch: None,
            max_value: None,
            planner: Planner::Sticky,
            pools: Pools::None,
            plan_ms: 0,
            old_clocks: false,
            warmup: None,
            mixed: false,
        },
        nodes: vec![node; workers as usize],
        partitions,
        safety_ms: every_ms * u64::from(workers + 2),
        faults: Faults::none(),
        weights: Weights::default(),
        actions: (0..workers).map(stop).collect(),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
