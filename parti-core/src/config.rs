//! Configuration: a [`Config`] exists only if it is coherent.
//!
//! All timing follows from two numbers, the heartbeat interval and the lease; whatever is not set is
//! derived from them when the configuration is built, never later. The rules are in
//! `config/rules.rs`, their violations in [`ConfigError`].

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use core::time::Duration;

use crate::model::id::{GroupName, WorkerId};
use crate::resilience::backoff::RetryPolicy;
use crate::resilience::breaker::BreakerSettings;

mod agreement;
mod bounds;
mod builder;
mod degraded;
pub(crate) mod error;
mod identity;
mod planted;
mod policy;
mod rules;
mod settle;

pub use degraded::{DegradedPreset, DegradedSettings};
pub use policy::{Mode, OnBucketLost};
pub use settle::Preset;

/// The longest time that a worker is left out of plans is this many times the shortest.
pub(crate) const LONGEST_TIME_OUT: u32 = 8;

/// The most IDs a pool may have.
pub(crate) const MAX_POOL: u32 = 100_000;

/// The complete, coherent configuration of one worker. Built by [`Config::builder`].
///
/// Durations are on the local monotonic clock. Every setting has a method that reads it; nothing can be
/// changed, since a changed copy has to pass the same rules.
///
/// ```
/// use parti_core::{Config, Preset};
/// let config = Config::builder("orders").preset(Preset::Fast).expected_workers(3).build()?;
/// assert_eq!(config.lease().as_secs(), 1);
/// # Ok::<(), parti_core::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    group: GroupName,
    settings: Settings,
    given: Box<ConfigBuilder>,
}

/// The plain values behind a configuration.
#[derive(Clone, Debug, PartialEq)]
struct Settings {
    mode: Mode,
    rolling_from: Option<Mode>,
    application: String,
    on_bucket_lost: OnBucketLost,
    worker_id_prefix: String,
    worker_id_range: (u32, u32),
    worker_id_hint: Option<WorkerId>,
    predecessor_is_dead: bool,
    capacity: u32,
    labels: BTreeMap<String, String>,
    expected_workers: Option<u32>,
    heartbeat_interval: Duration,
    lease: Duration,
    max_lease: Duration,
    lease_margin: Duration,
    clock_drift_ppm: u32,
    request_timeout: Duration,
    election_timeout: Duration,
    election_jitter: Duration,
    cold_start_window: Duration,
    planned_scale_window: Duration,
    emergency_grace_period: Duration,
    degraded: DegradedSettings,
    restart_detection_ratio: f64,
    min_rebalance_threshold: f64,
    min_rebalance_interval: Duration,
    operation_timeout: Duration,
    startup_timeout: Duration,
    shutdown_timeout: Duration,
    drain_timeout: Duration,
    prepare_timeout: Duration,
    max_moves_in_flight: Option<u32>,
    max_hold: Duration,
    handoff_timeout: Duration,
    apply_timeout: Duration,
    acknowledge_delay: Duration,
    reconcile_interval: Duration,
    refresh_interval: Option<Duration>,
    probe_interval: Option<Duration>,
    suspect_after: Duration,
    sinks_compare_tokens: bool,
    leader_failure_limit: u32,
    retry: RetryPolicy,
    circuit_breaker: BreakerSettings,
    #[cfg(feature = "planted")]
    planted: Option<crate::planted::Planted>,
    #[cfg(any(test, feature = "releases"))]
    formats: Option<crate::model::id::Formats>,
}

/// Collects the settings of a [`Config`]; unset ones are derived in [`ConfigBuilder::build`].
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use = "a builder does nothing until `build`"]
pub struct ConfigBuilder {
    group: String,
    preset: Preset,
    detect_within: Option<Duration>,
    mode: Mode,
    rolling_from: Option<Mode>,
    application: String,
    on_bucket_lost: OnBucketLost,
    worker_id_prefix: Option<String>,
    worker_id_range: Option<(u32, u32)>,
    worker_id_hint: Option<String>,
    predecessor_is_dead: bool,
    capacity: Option<u32>,
    labels: BTreeMap<String, String>,
    expected_workers: Option<u32>,
    heartbeat_interval: Option<Duration>,
    lease: Option<Duration>,
    max_lease: Option<Duration>,
    lease_margin: Option<Duration>,
    clock_drift_ppm: Option<u32>,
    request_timeout: Option<Duration>,
    election_timeout: Option<Duration>,
    election_jitter: Option<Duration>,
    cold_start_window: Option<Duration>,
    planned_scale_window: Option<Duration>,
    emergency_grace_period: Option<Duration>,
    recovery_grace_period: Option<Duration>,
    degraded: Option<DegradedPreset>,
    restart_detection_ratio: Option<f64>,
    min_rebalance_threshold: Option<f64>,
    min_rebalance_interval: Option<Duration>,
    operation_timeout: Option<Duration>,
    startup_timeout: Option<Duration>,
    shutdown_timeout: Option<Duration>,
    drain_timeout: Option<Duration>,
    prepare_timeout: Option<Duration>,
    max_moves_in_flight: Option<u32>,
    max_hold: Option<Duration>,
    handoff_timeout: Option<Duration>,
    apply_timeout: Option<Duration>,
    acknowledge_delay: Option<Duration>,
    reconcile_interval: Option<Duration>,
    refresh_interval: Option<Duration>,
    probe_interval: Option<Duration>,
    suspect_after: Option<Duration>,
    sinks_compare_tokens: bool,
    leader_failure_limit: Option<u32>,
    retry: Option<RetryPolicy>,
    circuit_breaker: Option<BreakerSettings>,
    #[cfg(feature = "planted")]
    planted: Option<crate::planted::Planted>,
    #[cfg(any(test, feature = "releases"))]
    formats: Option<crate::model::id::Formats>,
}

macro_rules! getters {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {
        impl Config {
            $($(#[$doc])*
            #[must_use]
            pub const fn $name(&self) -> $type {
                self.settings.$name
            })*
        }
    };
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {
        impl ConfigBuilder {
            $($(#[$doc])*
            pub fn $name(mut self, value: $type) -> Self {
                self.$name = Some(value);
                self
            })*
        }
    };
}

getters! {
    /// What happens between an old and a new owner.
    mode: Mode,
    /// The mode from which the group is being rolled to `mode`, if that was declared.
    rolling_from: Option<Mode>,
    /// What happens when the bucket's content is lost while the worker runs.
    on_bucket_lost: OnBucketLost,
    /// First and last number of the ID pool.
    worker_id_range: (u32, u32),
    /// Whether the former process with the hinted ID is known to be dead.
    predecessor_is_dead: bool,
    /// How much this worker takes relative to the others.
    capacity: u32,
    /// How many workers make the group complete, if known.
    expected_workers: Option<u32>,
    /// Time between two renewals of the session.
    heartbeat_interval: Duration,
    /// How long a session counts without renewal.
    lease: Duration,
    /// The longest lease that any member of the group may have.
    max_lease: Duration,
    /// What the holder gives up early, for the time between a check and the act.
    lease_margin: Duration,
    /// Largest assumed rate error of a monotonic clock, in parts per million.
    clock_drift_ppm: u32,
    /// Bound of one request to the store; the driver enforces it.
    request_timeout: Duration,
    /// Silence of the leader after which others stand for election.
    election_timeout: Duration,
    /// Largest random delay before standing.
    election_jitter: Duration,
    /// How long a new group waits for its workers before the first assignment.
    cold_start_window: Duration,
    /// How long joins are collected before one rebalance.
    planned_scale_window: Duration,
    /// How long a worker must be overdue before it counts as lost.
    emergency_grace_period: Duration,
    /// When a worker calls itself degraded, and when well again.
    degraded: DegradedSettings,
    /// Share of the group whose loss at once counts as a restart.
    restart_detection_ratio: f64,
    /// Imbalance below which an optional rebalance is skipped.
    min_rebalance_threshold: f64,
    /// Least time between two rebalances that are not emergencies.
    min_rebalance_interval: Duration,
    /// Bound of a listing or a planning step.
    operation_timeout: Duration,
    /// Bound of the time until the worker holds an ID.
    startup_timeout: Duration,
    /// Bound of a graceful stop.
    shutdown_timeout: Duration,
    /// Bound of one `on_revoked` callback; its guard is invalid afterwards.
    drain_timeout: Duration,
    /// How long a planned move waits for `on_prepare`.
    prepare_timeout: Duration,
    /// How many partitions may be on their way at once because a plan wants it, if that is bounded.
    max_moves_in_flight: Option<u32>,
    /// How long a slot is held for a replacement at most, whatever a leaving worker asks for.
    max_hold: Duration,
    /// How long the leader waits for a revoked partition before it evicts the holder.
    handoff_timeout: Duration,
    /// How long the leader waits until a worker confirms its record.
    apply_timeout: Duration,
    /// How long acknowledgements are collected.
    acknowledge_delay: Duration,
    /// Time between two full comparisons with the store.
    reconcile_interval: Duration,
    /// Time between two listings of the partition source, if they are listed periodically.
    refresh_interval: Option<Duration>,
    /// Time between two probes of a session, if sessions are probed.
    probe_interval: Option<Duration>,
    /// How long a session may leave probes unanswered before it is suspected.
    suspect_after: Duration,
    /// Whether everything that is written to was declared to compare tokens.
    sinks_compare_tokens: bool,
    /// Failed steps in a row after which a leader resigns.
    leader_failure_limit: u32,
    /// When what failed is tried again.
    retry: RetryPolicy,
    /// When the store counts as out of order, and when as well again.
    circuit_breaker: BreakerSettings,
}

setters! {
    /// Text before the number in a worker ID; default "worker".
    worker_id_prefix: String,
    /// How much this worker takes relative to the others; default 1. Zero takes nothing.
    /// Only proportions count, so any unit will do, such as cores or megabytes: strategies that build
    /// a ring thin it out when the numbers are large, at some cost in evenness for small ones.
    capacity: u32,
    /// How many workers make the group complete: once they are there, no window is waited for.
    expected_workers: u32,
    /// Time between two renewals. Lower finds crashes sooner and costs more writes.
    heartbeat_interval: Duration,
    /// How long a session counts without renewal (the roadmap's `heartbeat_ttl`). Too low: a pause
    /// or a fail-over of the store costs ownership. Too high: a crash is repaired later.
    lease: Duration,
    /// The longest lease that any member of the group may have; default: its own lease. After the
    /// loss of the bucket nothing is granted for this long, since somebody may still rely on such a
    /// lease. Needed while a group is rolled from one lease to another.
    max_lease: Duration,
    /// What the holder gives up early; default a thirtieth of the lease.
    lease_margin: Duration,
    /// Largest assumed rate error of a monotonic clock; default 1000 ppm.
    clock_drift_ppm: u32,
    /// Bound of one request to the store; default a quarter of the lease, at most a third.
    request_timeout: Duration,
    /// Silence of the leader before others stand; default two heartbeat intervals.
    election_timeout: Duration,
    /// Largest random delay before standing; default a fortieth of the interval, 5 ms to 100 ms.
    election_jitter: Duration,
    /// Longest wait of a new group for `expected_workers`, or for half an interval without joins; 30 s.
    cold_start_window: Duration,
    /// How long joins are collected before one rebalance; default 10 s.
    planned_scale_window: Duration,
    /// How long a worker must be overdue before it is lost; default 1.5 intervals.
    emergency_grace_period: Duration,
    /// The thresholds of degraded mode; default: derived from the lease.
    degraded: DegradedPreset,
    /// After a gap of contact, how long nobody is judged; default one lease, or as `degraded` says.
    recovery_grace_period: Duration,
    /// Share of the group whose loss at once counts as a restart, above 0 up to 1; default 0.5.
    restart_detection_ratio: f64,
    /// Imbalance below which an optional rebalance is skipped, 0 to 1; default 0.15.
    min_rebalance_threshold: f64,
    /// Least time between two rebalances that are not emergencies; default 10 s.
    min_rebalance_interval: Duration,
    /// Bound of a listing or a planning step; default 10 s.
    operation_timeout: Duration,
    /// Bound of the time until the worker holds an ID; default 30 s.
    startup_timeout: Duration,
    /// Bound of a graceful stop; default 10 s.
    shutdown_timeout: Duration,
    /// Bound of one `on_revoked` callback; default 5 s.
    drain_timeout: Duration,
    /// How long a planned move waits for `on_prepare`; default 30 s. A planned leave may take as much
    /// longer than `shutdown_timeout`.
    prepare_timeout: Duration,
    /// How many partitions may be on their way at once because a plan wants it, from the first word to
    /// their next owner on; the rest follows. At least 1; default: no bound. A leader goes by its own
    /// setting.
    max_moves_in_flight: u32,
    /// How long a slot is held for a replacement at most, whatever a leaving worker asks for with
    /// [`StopMode::Restart`](crate::StopMode::Restart); default 10 min, at most a day. Its partitions
    /// have no owner meanwhile. A leader goes by its own setting.
    max_hold: Duration,
    /// How long the leader waits for a revoked partition before it evicts the holder; default
    /// `drain_timeout` and one lease.
    handoff_timeout: Duration,
    /// How long the leader waits until a worker confirms its record; default two leases.
    apply_timeout: Duration,
    /// How long acknowledgements are collected; default 4 ms.
    acknowledge_delay: Duration,
    /// Time between two full comparisons with the store; default 30 intervals.
    reconcile_interval: Duration,
    /// Lists the partition source again this often; default never (only when told to).
    refresh_interval: Duration,
    /// Time between two probes of a session; default: this worker neither probes nor
    /// answers, in mode [`Mode::Fenced`] a fortieth of the lease, at least 25 ms. Where the
    /// store can carry the question, a leader that was killed is replaced after about this time instead
    /// of `election_timeout`. Each worker asks the leader that often.
    probe_interval: Duration,
    /// How long a session may leave probes unanswered, as one of a stopped process does, before it is
    /// suspected; default eight times `probe_interval`, at least 200 ms.
    suspect_after: Duration,
    /// Failed steps in a row after which a leader resigns; default: the attempts of `retry`, 5.
    leader_failure_limit: u32,
    /// When what failed is tried again; default: five attempts from 100 ms to 5 s, less where the
    /// heartbeat is shorter than 2 s. Once retries have become many, they are spread over what is
    /// left of the lease instead.
    retry: RetryPolicy,
    /// When the store, or its watch, counts as out of order: then only renewals are tried, and a
    /// leader decides nothing. Default: 5 failures open it, 2 successes close it, and the timeout is
    /// a quarter of the heartbeat interval. Four timeouts must fit between a renewal and the end of
    /// its lease, or an open circuit could cost it.
    circuit_breaker: BreakerSettings,
}

impl Config {
    /// Begins a configuration for the group of this name.
    pub fn builder(group: &str) -> ConfigBuilder {
        ConfigBuilder {
            group: group.to_string(),
            ..ConfigBuilder::default()
        }
    }

    /// The builder as it was when this configuration was built: the way to a changed copy. What was not
    /// set is derived again, from what is changed too.
    ///
    /// ```
    /// use core::time::Duration;
    /// use parti_core::Config;
    /// let config = Config::builder("orders").expected_workers(3).build()?;
    /// let patient = config.to_builder().detect_within(Duration::from_secs(20)).build()?;
    /// assert_eq!(patient.expected_workers(), Some(3));
    /// assert_eq!(patient.heartbeat_interval().as_secs(), 5);
    /// # Ok::<(), parti_core::ConfigError>(())
    /// ```
    pub fn to_builder(&self) -> ConfigBuilder {
        (*self.given).clone()
    }

    /// The group this worker belongs to.
    #[must_use]
    pub const fn group(&self) -> &GroupName {
        &self.group
    }

    /// How long a partition that a worker could not begin to process is kept from it at first: 50
    /// leases, since what makes a handler fail outlasts what makes a session fail. Each further time is
    /// twice as long, up to eight times.
    #[must_use]
    pub fn rejection_quarantine(&self) -> Duration {
        self.lease().saturating_mul(50)
    }

    /// After a gap of contact with the store, how long nobody is judged.
    #[must_use]
    pub const fn recovery_grace_period(&self) -> Duration {
        self.settings.degraded.recovery_grace
    }
}

const fn secs(value: u64) -> Duration {
    Duration::from_secs(value)
}

const fn millis(value: u64) -> Duration {
    Duration::from_millis(value)
}

#[cfg(test)]
mod tests;
