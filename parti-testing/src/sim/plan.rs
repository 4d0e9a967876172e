//! What a run does, as data: made from a seed first, executed second, and stored as JSON.
//!
//! It is separate from the generator so that a plan outlives it: a bug once found stays a file that
//! can be run again. What always holds: a run is a function of its plan alone.

use core::time::Duration;
use parti_core::{Config, ConfigError, Mode, Preset, StopMode};
use serde::{Deserialize, Serialize};

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
    /// What happens at which time, ordered by time.
    pub actions: Vec<TimedAction>,
}

/// The exclusive or the overlapping hand-over, in a form that can be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HandOver {
    /// See [`Mode::Exclusive`].
    Exclusive,
    /// See [`Mode::Overlap`].
    Overlap,
}

impl HandOver {
    /// The mode as one lower-case word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exclusive => "exclusive",
            Self::Overlap => "overlap",
        }
    }

    /// Reads the word that [`HandOver::as_str`] gives.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Exclusive, Self::Overlap]
            .into_iter()
            .find(|mode| mode.as_str() == word)
    }
}

impl From<HandOver> for Mode {
    fn from(mode: HandOver) -> Self {
        match mode {
            HandOver::Exclusive => Self::Exclusive,
            HandOver::Overlap => Self::Overlap,
        }
    }
}

impl From<Mode> for HandOver {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Exclusive => Self::Exclusive,
            Mode::Overlap => Self::Overlap,
        }
    }
}

/// Which timings a run is based on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// [`Preset::Fast`].
    Fast,
    /// [`Preset::Default`].
    Default,
}

/// The shared configuration, in a form that can be stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Which timings.
    pub pace: Pace,
    /// What happens between two owners.
    pub mode: HandOver,
    /// How many worker IDs there are.
    pub pool: u32,
    /// The largest rate error of a clock, in parts per million.
    pub clock_drift_ppm: u32,
    /// Overrides the lease margin, in milliseconds.
    pub lease_margin_ms: Option<u64>,
    /// Overrides the bound of a callback, in milliseconds.
    pub drain_timeout_ms: Option<u64>,
    /// Lists the source periodically, in milliseconds.
    pub refresh_interval_ms: Option<u64>,
    /// How many workers make the group complete.
    pub expected_workers: Option<u32>,
}

impl Settings {
    /// The configuration of the worker on one node.
    ///
    /// # Errors
    /// [`ConfigError`] when the plan's values are incoherent.
    pub fn config(&self, node: &NodePlan) -> Result<Config, ConfigError> {
        let preset = match self.pace {
            Pace::Fast => Preset::Fast,
            Pace::Default => Preset::Default,
        };
        let mut builder = Config::builder("sim")
            .preset(preset)
            .mode(self.mode.into())
            .worker_id_range(0, self.pool.saturating_sub(1))
            .clock_drift_ppm(self.clock_drift_ppm)
            .capacity(node.capacity);
        if let Some(millis) = self.lease_margin_ms {
            builder = builder.lease_margin(Duration::from_millis(millis));
        }
        if let Some(millis) = self.drain_timeout_ms {
            builder = builder.drain_timeout(Duration::from_millis(millis));
        }
        if let Some(millis) = self.refresh_interval_ms {
            builder = builder.refresh_interval(Duration::from_millis(millis));
        }
        if let Some(expected) = self.expected_workers {
            builder = builder.expected_workers(expected);
        }
        if let Some(hint) = node.hint {
            builder = builder.worker_id_hint(&format!("worker-{hint}"));
        }
        builder.build()
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
    /// The number of the ID it tries first.
    pub hint: Option<u32>,
    /// Whether a process runs on it after the faults have ended.
    pub survives: bool,
}

/// How often messages and callbacks suffer: probabilities in parts per million, times in
/// milliseconds. Zero switches a fault off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Faults {
    /// Mean of the delay of each message in either direction, in microseconds.
    pub delay_mean_us: u64,
    /// Messages that take long.
    pub tail_ppm: u32,
    /// The longest of these.
    pub tail_ms: u64,
    /// Requests that never arrive.
    pub drop_request_ppm: u32,
    /// Answers that never arrive, though the request was carried out.
    pub drop_reply_ppm: u32,
    /// Requests that arrive twice, the second time up to `tail_ms` or a second later.
    pub duplicate_ppm: u32,
    /// Commits refused although their expectations hold.
    pub refuse_ppm: u32,
    /// Reads and first states of watches taken from a copy that lags.
    pub stale_ppm: u32,
    /// How far such a copy lags at most.
    pub stale_ms: u64,
    /// Mean of the delay of watch events, in microseconds.
    pub watch_delay_mean_us: u64,
    /// Watch events that are lost together with their watch.
    pub watch_lost_ppm: u32,
    /// Watch events after which the watch says nothing for a while and is then lost.
    pub watch_stall_ppm: u32,
    /// The longest such silence.
    pub watch_stall_ms: u64,
    /// Watch events that come again later.
    pub watch_duplicate_ppm: u32,
    /// Watch events that are skipped because the key has a newer value already.
    pub watch_skip_ppm: u32,
    /// Callbacks that take long.
    pub callback_slow_ppm: u32,
    /// The longest of these.
    pub callback_ms: u64,
    /// Listings of the partition source that fail.
    pub source_fail_ppm: u32,
    /// Mean lateness of timers, in microseconds.
    pub timer_late_mean_us: u64,
    /// Steps that are followed by a wake-up nobody asked for.
    pub spurious_wake_ppm: u32,
}

impl Faults {
    /// A network of a few hundred microseconds without any fault.
    #[must_use]
    pub fn none() -> Self {
        Self {
            delay_mean_us: 300,
            watch_delay_mean_us: 300,
            ..Self::default()
        }
    }
}

/// An action and its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimedAction {
    /// When, in milliseconds.
    pub at_ms: u64,
    /// What.
    pub action: Action,
}

/// How a worker is told to leave, in a form that can be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leave {
    /// [`StopMode::Handoff`].
    Handoff,
    /// [`StopMode::Restart`].
    Restart {
        /// How long the seat is to be kept.
        hold_ms: u64,
    },
    /// [`StopMode::Now`].
    Now,
}

impl From<Leave> for StopMode {
    fn from(leave: Leave) -> Self {
        match leave {
            Leave::Handoff => Self::Handoff,
            Leave::Restart { hold_ms } => Self::Restart {
                hold: Duration::from_millis(hold_ms),
            },
            Leave::Now => Self::Now,
        }
    }
}

/// How the history of the bucket is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// The bucket is deleted.
    Delete,
    /// It is deleted and created anew at once.
    Recreate,
    /// Every key is gone without a trace; revisions go on.
    Wipe,
    /// The last writes are gone.
    SetBack {
        /// Those of the last so many milliseconds.
        by_ms: u64,
    },
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
    Cut {
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
    /// The bucket loses its history, and the store is out of reach for a while.
    LoseHistory {
        /// How.
        loss: Loss,
        /// How long the store serves nobody.
        for_ms: u64,
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
            | Self::Cut { node, .. }
            | Self::Refresh { node }
            | Self::Trigger { node } => Some(*node),
            Self::Outage { .. } | Self::LoseHistory { .. } | Self::Partitions { .. } => None,
        }
    }
}
