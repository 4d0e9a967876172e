//! What a run does, as data: made from a seed first, executed second, and stored as JSON.
//!
//! It is separate from the generator so that a plan outlives it: a bug once found stays a file that
//! can be run again. What always holds: a run is a function of its plan alone.

use core::time::Duration;
use parti_core::{Config, ConfigBuilder, ConfigError, Preset};
use serde::{Deserialize, Serialize};

mod details;
mod faults;
mod handoff;
mod releases;

pub use details::{
    Aftermath, Denial, ExternalWrite, KeyKind, Leave, Loss, OrderVerb, Planner, Pools, Target,
    Weights,
};
pub use faults::{Faults, Warmup};
pub use handoff::Handoff;
pub use releases::Releases;

/// A complete run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The seed of every decision taken while running.
    pub seed: u64,
    /// The configuration all workers share.
    pub settings: Settings,
    /// The places where worker processes run.
    pub nodes: Vec<NodePlan>,
    /// How many partitions there are at first.
    pub partitions: u32,
    /// How long the faults last, in simulated milliseconds.
    pub safety_ms: u64,
    /// How often messages and callbacks suffer.
    pub faults: Faults,
    /// How the weights of the partitions are spread at first.
    #[serde(default)]
    pub weights: Weights,
    /// What happens at which time, ordered by time.
    pub actions: Vec<TimedAction>,
}

/// Which timings a run is based on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Timings {
    /// [`Preset::Fast`].
    Fast,
    /// [`Preset::Default`].
    Default,
}

/// The shared configuration, in a form that can be stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Which timings.
    pub pace: Timings,
    /// What happens between two owners.
    pub mode: Handoff,
    /// How many worker IDs there are.
    pub pool: u32,
    /// The largest rate error of a clock, in parts per million.
    pub clock_drift_ppm: u32,
    /// Overrides the lease margin, in milliseconds.
    pub lease_margin_ms: Option<u64>,
    /// Overrides the bound of a callback, in milliseconds.
    pub drain_timeout_ms: Option<u64>,
    /// Overrides how long a slot is held at most, in milliseconds.
    pub max_hold_ms: Option<u64>,
    /// Lists the source periodically, in milliseconds.
    pub refresh_interval_ms: Option<u64>,
    /// Workers ask each other whether they run, so often in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe_interval_ms: Option<u64>,
    /// How many workers make the group complete.
    pub expected_workers: Option<u32>,
    /// The most writes the store takes in one commit.
    #[serde(default)]
    pub max_batch: Option<usize>,
    /// The most bytes of a value that the store takes; partitions have long names then, so that
    /// assignments are stored in pieces.
    #[serde(default)]
    pub max_value: Option<usize>,
    /// Who decides which worker a partition goes to.
    #[serde(default)]
    pub planner: Planner,
    /// Which workers may own which partitions. With rules the planner is
    /// [`Planner::Sticky`] whatever else is said.
    #[serde(default)]
    pub pools: Pools,
    /// Workers may be configured differently: every one declares a change of mode and expects leases
    /// three times as long as those of the pace.
    #[serde(default)]
    pub mixed: bool,
    /// How long a plan takes, in milliseconds.
    #[serde(default)]
    pub plan_ms: u64,
    /// The clocks show a time as if the machines had been up for centuries.
    #[serde(default)]
    pub old_clocks: bool,
    /// Handlers prepare for partitions, and how that goes.
    pub warmup: Option<Warmup>,
}

impl Settings {
    /// The configuration of the worker on one node.
    ///
    /// # Errors
    /// [`ConfigError`] when the plan's values are incoherent.
    pub fn config(&self, node: &NodePlan) -> Result<Config, ConfigError> {
        self.builder(node).build()
    }

    /// The configuration of the worker on one node, not yet checked.
    pub(in crate::simulator) fn builder(&self, node: &NodePlan) -> ConfigBuilder {
        let preset = match self.pace {
            Timings::Fast => Preset::Fast,
            Timings::Default => Preset::Default,
        };
        let other = match self.mode {
            Handoff::Exclusive => Handoff::Overlap,
            Handoff::Fenced | Handoff::Overlap => Handoff::Exclusive,
        };
        let (mode, from) = if node.other_mode {
            (other, self.mode)
        } else {
            (self.mode, other)
        };
        let mut builder = Config::builder("sim")
            .preset(preset)
            .mode(mode.into())
            .sinks_compare_tokens(true)
            .worker_id_range(0, self.pool.saturating_sub(1))
            .clock_drift_ppm(self.clock_drift_ppm)
            .capacity(node.capacity);
        if self.pools != Pools::None {
            builder = builder.label("pool", &node.pool.to_string());
        }
        if self.mixed {
            let (interval, lease) = match self.pace {
                Timings::Fast => (Duration::from_millis(250), Duration::from_secs(1)),
                Timings::Default => (Duration::from_secs(2), Duration::from_secs(6)),
            };
            builder = builder.rolling_from(from.into()).max_lease(lease * 3);
            if node.long_lease {
                builder = builder.heartbeat_interval(interval * 3).lease(lease * 3);
            }
        }
        if let Some(millis) = self.lease_margin_ms {
            builder = builder.lease_margin(Duration::from_millis(millis));
        }
        if let Some(millis) = self.drain_timeout_ms {
            builder = builder.drain_timeout(Duration::from_millis(millis));
        }
        if let Some(millis) = self.max_hold_ms {
            builder = builder.max_hold(Duration::from_millis(millis));
        }
        if let Some(millis) = self.refresh_interval_ms {
            builder = builder.refresh_interval(Duration::from_millis(millis));
        }
        if let Some(warmup) = &self.warmup {
            builder = warmup.configure(builder);
        }
        if let Some(millis) = self.probe_interval_ms {
            builder = builder.probe_interval(Duration::from_millis(millis));
        }
        if let Some(expected) = self.expected_workers {
            builder = builder.expected_workers(expected);
        }
        if let Some(hint) = node.hint {
            builder = builder.worker_id_hint(&format!("worker-{hint}"));
            builder = builder.predecessor_is_dead(node.declares_dead);
        }
        builder
    }
}

/// A place where one worker process at a time runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodePlan {
    /// When its first process starts, in milliseconds.
    pub starts_ms: u64,
    /// The rate error of its clock, in parts per million.
    pub drift_ppm: i32,
    /// How much its worker takes.
    pub capacity: u32,
    /// The pool its worker belongs to.
    #[serde(default)]
    pub pool: u32,
    /// The number of the ID it tries first.
    pub hint: Option<u32>,
    /// Whether its processes say that the one before them with that ID is dead, rightly or not.
    #[serde(default)]
    pub declares_dead: bool,
    /// Whether a process runs on it after the faults have ended.
    pub survives: bool,
    /// What does not heal here when the faults end.
    #[serde(default)]
    pub after: Aftermath,
    /// How far its wall clock is off.
    #[serde(default)]
    pub wall_skew_ms: i64,
    /// It has the other mode than the settings say.
    #[serde(default)]
    pub other_mode: bool,
    /// Its lease and interval are three times as long.
    #[serde(default)]
    pub long_lease: bool,
    /// The node whose image it was started from: same origin of the clock, and seeds that differ in
    /// a single bit.
    #[serde(default)]
    pub twin_of: Option<usize>,
    /// Of which release its processes are.
    #[serde(default)]
    pub releases: Releases,
}

/// An action and its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimedAction {
    /// When, in milliseconds.
    pub at_ms: u64,
    /// What.
    pub action: Action,
}

/// Something done to the group from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The process of a node dies; another starts later.
    Crash {
        /// The node.
        node: usize,
        /// When the next process starts.
        down_ms: u64,
        /// The process dies in its next step, after this many effects; at once when `None`.
        after_effects: Option<u32>,
        /// Instead, the process dies while its next callback runs.
        #[serde(default)]
        in_callback: bool,
    },
    /// The process of a node stands still while its clock and the world go on.
    Pause {
        /// The node.
        node: usize,
        /// How long.
        for_ms: u64,
    },
    /// The worker of a node is told to leave; another process starts afterwards.
    Stop {
        /// The node.
        node: usize,
        /// How.
        leave: Leave,
        /// How long after the end of the process the next one starts; never when `None`.
        rejoin_ms: Option<u64>,
    },
    /// The driver of a node finds its clocks in disagreement.
    ClockJump {
        /// The node.
        node: usize,
    },
    /// The store serves nobody.
    Outage {
        /// How long.
        for_ms: u64,
        /// Whether clients are told so (`Unavailable`) or have to wait (`Unknown`).
        answers: bool,
    },
    /// Some links of a node are cut.
    NetworkPartition {
        /// The node.
        node: usize,
        /// How long.
        for_ms: u64,
        /// Requests do not arrive.
        requests: bool,
        /// Answers do not arrive.
        replies: bool,
        /// Watch events do not arrive.
        watch: bool,
    },
    /// A process hears nothing: its watches fall silent and its reads are not answered, but its
    /// commits are. It goes on renewing.
    LoseAnswers {
        /// The node.
        node: usize,
        /// How long.
        for_ms: u64,
    },
    /// A process stands still and runs for a moment, in turn, as a throttled container does.
    Throttle {
        /// The node.
        node: usize,
        /// How long this lasts.
        for_ms: u64,
        /// How long it stands still each time.
        pause_ms: u64,
    },
    /// The bucket loses its history, and the store is out of reach for a while.
    LoseHistory {
        /// How.
        loss: Loss,
        /// How long the store serves nobody.
        for_ms: u64,
    },
    /// The machine of a node is suspended: neither its process nor its clock goes on. The driver
    /// notices it when it wakes up.
    Suspend {
        /// The node.
        node: usize,
        /// How long.
        for_ms: u64,
    },
    /// The clock of a node shows an earlier time for a few steps.
    ClockBack {
        /// The node.
        node: usize,
        /// How much earlier.
        by_ms: u64,
        /// For how many steps.
        steps: u32,
    },
    /// The process of a node takes long for everything it is told.
    Slow {
        /// The node.
        node: usize,
        /// How long this lasts.
        for_ms: u64,
        /// How long each step takes.
        each_ms: u64,
    },
    /// What is sent to and from a node waits, and arrives all at once.
    Stall {
        /// The node.
        node: usize,
        /// How long.
        for_ms: u64,
    },
    /// The client of a node is without a connection. It keeps what it is to send and sends it once
    /// it is connected again; answers and watches are lost.
    Reconnect {
        /// The node.
        node: usize,
        /// How long.
        for_ms: u64,
    },
    /// Commits that touch a kind of key do not succeed.
    Deny {
        /// Which kind.
        keys: KeyKind,
        /// How long.
        for_ms: u64,
        /// What the writer is told.
        how: Denial,
    },
    /// The store is served by a replica that has lost the others: it takes commits and cannot carry
    /// them out, and answers reads from what it knew.
    StuckLeader {
        /// How long.
        for_ms: u64,
    },
    /// Commits take long.
    SlowStore {
        /// How long this lasts.
        for_ms: u64,
        /// The longest delay of a commit.
        longest_ms: u64,
    },
    /// The store takes only small values.
    PayloadLimit {
        /// The most bytes.
        bytes: usize,
        /// How long.
        for_ms: u64,
    },
    /// Somebody who is not part of the group writes into its bucket.
    ExternalWrite {
        /// What.
        write: ExternalWrite,
    },
    /// A handler cannot begin with a partition.
    BreakHandler {
        /// On which node; on all when `None`.
        node: Option<usize>,
        /// Which of those that are held there; beyond them it is counted round.
        partition: u32,
        /// How long; for ever when `None`.
        for_ms: Option<u64>,
        /// How long each attempt takes to fail.
        hangs_ms: u64,
    },
    /// The leader is told to leave, and another process starts on its node afterwards.
    ReplaceLeader {
        /// How long after the end of the process.
        rejoin_ms: u64,
    },
    /// The partition source fails, for everybody.
    SourceDown {
        /// How long; for ever when `None`.
        for_ms: Option<u64>,
    },
    /// The weights of the partitions change.
    Weigh {
        /// To what.
        weights: Weights,
    },
    /// The partition source has another list: `count` partitions from number `first` on.
    Partitions {
        /// Number of the first one.
        first: u32,
        /// How many.
        count: u32,
    },
    /// A user asks a node to list the partitions again.
    Refresh {
        /// The node.
        node: usize,
    },
    /// A user asks a node for a rebalance.
    Trigger {
        /// The node.
        node: usize,
    },
}

impl Action {
    /// The node it is about, if it is about one.
    #[must_use]
    pub const fn node(&self) -> Option<usize> {
        match self {
            Self::Crash { node, .. }
            | Self::Pause { node, .. }
            | Self::Stop { node, .. }
            | Self::ClockJump { node }
            | Self::NetworkPartition { node, .. }
            | Self::LoseAnswers { node, .. }
            | Self::Throttle { node, .. }
            | Self::Suspend { node, .. }
            | Self::ClockBack { node, .. }
            | Self::Slow { node, .. }
            | Self::Stall { node, .. }
            | Self::Reconnect { node, .. }
            | Self::Refresh { node }
            | Self::Trigger { node } => Some(*node),
            Self::BreakHandler { node, .. } => *node,
            Self::Outage { .. }
            | Self::SourceDown { .. }
            | Self::ReplaceLeader { .. }
            | Self::LoseHistory { .. }
            | Self::Partitions { .. }
            | Self::Deny { .. }
            | Self::StuckLeader { .. }
            | Self::SlowStore { .. }
            | Self::PayloadLimit { .. }
            | Self::ExternalWrite { .. }
            | Self::Weigh { .. } => None,
        }
    }
}
