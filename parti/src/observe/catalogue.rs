//! The catalogue of metrics: every name, what it measures, and by what it is told apart.
//!
//! It is separate from the code that measures so that names, documentation and dashboards can be
//! compared with one list. What always holds: labels have few values, all known beforehand; no
//! partition, session or worker ID is one.

use std::fmt;

/// What kind of metric it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum MetricKind {
    /// A number of events, which only rises.
    Counter,
    /// How something stands.
    Gauge,
    /// How long something took, or how large it was.
    Histogram,
}

impl fmt::Display for MetricKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        })
    }
}

/// In what it is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum MetricUnit {
    /// A number.
    Count,
    /// Seconds.
    Seconds,
    /// 1 for yes, 0 for no.
    Boolean,
}

impl fmt::Display for MetricUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Count => "count",
            Self::Seconds => "seconds",
            Self::Boolean => "0 or 1",
        })
    }
}

/// A metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its kind.
    pub kind: MetricKind,
    /// Its unit.
    pub unit: MetricUnit,
    /// Its labels, beside `group` and those of the builder.
    pub labels: &'static [&'static str],
    /// What it means, in one sentence.
    pub meaning: &'static str,
}

macro_rules! catalogue {
    ($($id:ident = $name:literal, $kind:ident, $unit:ident, [$($label:literal),*], $meaning:literal;)*) => {
        $(
            pub(crate) const $id: Metric = Metric {
                name: $name,
                kind: MetricKind::$kind,
                unit: MetricUnit::$unit,
                labels: &[$($label),*],
                meaning: $meaning,
            };
        )*

        /// Every metric there is, in the order of `docs/METRICS.md`.
        pub const CATALOGUE: &[Metric] = &[$($id),*];
    };
}

catalogue! {
    REBALANCE_DURATION = "parti_calculator_rebalance_duration_seconds", Histogram, Seconds, ["cause"],
        "From the beginning of a plan until its last partition has its new owner, at the leader.";
    REBALANCES = "parti_calculator_rebalance_total", Counter, Count, ["cause", "outcome"],
        "Rebalances that ended: done, superseded by another plan, failed, or abandoned with the leadership.";
    ACTIVE_WORKERS = "parti_calculator_active_workers", Gauge, Count, [],
        "Workers that share the partitions, according to the generation this worker knows.";
    PARTITION_COUNT = "parti_calculator_partition_count", Gauge, Count, [],
        "Partitions of the group, according to the generation this worker knows.";
    MOVES = "parti_moves_total", Counter, Count, ["cause"],
        "Partitions that plans of this leader moved from one owner to another.";
    MOVES_BOUND = "parti_moves_lower_bound_total", Counter, Count, ["cause"],
        "The fewest partitions any plans of the same balance could have moved.";
    UNFINISHED = "parti_unfinished_partitions", Gauge, Count, [],
        "Partitions that wait for their planned owner, according to the generation this worker knows.";
    UNOWNED_NOW = "parti_unowned_partitions", Gauge, Count, [],
        "Partitions without an owner now, as the leader tells; for a moment in every handoff.";
    PARKED = "parti_parked_partitions", Gauge, Count, [],
        "Partitions that nobody in the group may own, according to the generation this worker knows.";
    PARKED_BY = "parti_parked_by_reason", Gauge, Count, ["park_reason"],
        "Partitions without an owner by the reason, at the leader; 0 elsewhere.";
    PROBLEMS = "parti_problem_count", Gauge, Count, ["problem"],
        "What each problem of the group counts now, such as partitions, slots, failures in a row; 0 when \
         there is none. Followers show what the leader tells.";
    RECENT_TERMS = "parti_recent_terms", Gauge, Count, [],
        "Terms that this worker saw begin within the last minute: how many leaders there were.";
    UNOWNED = "parti_unowned_partition_seconds", Histogram, Seconds, ["end"],
        "How long each partition had no owner before its present one, at the leader; the sum is \
         partition-seconds.";
    FAILOVER = "parti_silence_to_owner_seconds", Histogram, Seconds, [],
        "From the last renewal of a lost worker until its partitions were given to others, at the leader.";
    HANDOFF = "parti_handoff_seconds", Histogram, Seconds, ["phase"],
        "A planned handoff by phase: drain and acknowledge at the old owner, grant at the leader.";
    OVERLAP = "parti_overlap_seconds", Histogram, Seconds, [],
        "How long the old owner's callback of a partition ran on after another could have it.";
    LEASE_MARGIN = "parti_lease_margin_seconds", Histogram, Seconds, [],
        "What was left of the lease when a renewal extended it.";
    LEASE = "parti_lease_seconds", Gauge, Seconds, [],
        "How long the lease of this worker lasts, as it is configured.";
    LEASES_LOST = "parti_leases_lost_total", Counter, Count, [],
        "Leases that ran out without a renewal; everything was revoked.";
    CLOCK_JUMPS = "parti_clock_jumps_total", Counter, Count, [],
        "Times the wall clock ran ahead of the monotonic one, as after a pause of a virtual machine.";
    IDENTITIES_LOST = "parti_identities_lost_total", Counter, Count, [],
        "Worker IDs lost to another session or by eviction.";
    STATE = "parti_state", Gauge, Boolean, ["state"],
        "1 for the state this worker shows.";
    LEADER = "parti_leader", Gauge, Boolean, [],
        "Whether this worker leads.";
    LEADER_CHANGES = "parti_leader_changes_total", Counter, Count, [],
        "Changes of the leader that this worker saw.";
    TERM = "parti_term", Gauge, Count, [],
        "The term of the leadership this worker knows.";
    VERSION = "parti_version", Gauge, Count, [],
        "The version of the generation this worker knows.";
    APPLIED_VERSION = "parti_applied_version", Gauge, Count, [],
        "The version of the assignment this worker has taken in.";
    ASSIGNED = "parti_assigned_partitions", Gauge, Count, [],
        "Partitions assigned to this worker.";
    TOKEN = "parti_highest_token", Gauge, Count, [],
        "The highest fencing token this worker was ever granted.";
    EVICTIONS = "parti_evictions_total", Counter, Count, [],
        "Workers this leader evicted.";
    EVICTIONS_CANCELLED = "parti_evictions_cancelled_total", Counter, Count, [],
        "Evictions that a renewal at the last moment cancelled.";
    SUSPICIONS_CANCELLED = "parti_suspicions_cancelled_total", Counter, Count, [],
        "Workers that were overdue and renewed before they counted as lost.";
    STEP_FAILURES = "parti_leader_step_failures_total", Counter, Count, ["step"],
        "Steps that failed: of this leader, this candidate, or the session of this worker.";
    DEGRADED = "parti_degraded", Gauge, Boolean, ["reason"],
        "1 for the reason this worker is degraded for.";
    DEGRADED_SECONDS = "parti_degraded_seconds", Histogram, Seconds, ["reason"],
        "How long an episode of degraded mode lasted, by its last reason.";
    HEALTH = "parti_health_condition", Gauge, Boolean, ["code"],
        "1 for each condition that `Manager::health` reports.";
    MODE_HOLDS = "parti_mode_holds", Gauge, Boolean, ["mode"],
        "1 for the mode that holds in the group, according to the generation this worker knows.";
    SETTINGS_DIFFER = "parti_settings_differ", Gauge, Boolean, ["setting"],
        "1 for each setting in which another worker is known to be configured otherwise.";
    RECORDS_IGNORED = "parti_ignored_records_total", Counter, Count, [],
        "Records that were stale, not understood, or not meant for this session; they changed nothing.";
    KV_DURATION = "parti_kv_operation_duration_seconds", Histogram, Seconds, ["operation"],
        "How long requests to the store took, failures included; for a watch its setting up.";
    KV_ERRORS = "parti_kv_operation_errors_total", Counter, Count, ["operation", "kind"],
        "Requests to the store that failed, by what the failure leaves behind.";
    WATCHER_FAILURES = "parti_watcher_failures_total", Counter, Count, [],
        "Watches that ended or fell silent and were set up again.";
    CIRCUIT_STATE = "parti_circuit_breaker_state", Gauge, Count, ["circuit"],
        "How a circuit stands: 0 closed, 1 half-open, 2 open.";
    CIRCUIT_CALLS = "parti_circuit_breaker_calls_total", Counter, Count, ["circuit", "outcome"],
        "Calls under a circuit as it judged them: succeeded, failed, or saying nothing of the store.";
    CIRCUIT_CHANGES = "parti_circuit_breaker_state_changes_total", Counter, Count, ["circuit", "to"],
        "Changes of a circuit, by the state it changed to.";
    RETRIES = "parti_retry_attempts_total", Counter, Count, ["purpose"],
        "Requests to the store that were tried again.";
    RETRIES_EXHAUSTED = "parti_retry_exhausted_total", Counter, Count, ["purpose"],
        "Steps that failed as often as they may be tried.";
    CALLBACK_DURATION = "parti_callback_duration_seconds", Histogram, Seconds, ["callback"],
        "How long callbacks of the handler ran.";
    CALLBACKS_RUNNING = "parti_callbacks_running", Gauge, Count, ["callback"],
        "Callbacks of the handler that run now.";
    CALLBACK_PANICS = "parti_callback_panics_total", Counter, Count, ["callback"],
        "Callbacks of the handler that panicked.";
    UNPROCESSED = "parti_unprocessed_partitions", Gauge, Count, [],
        "Partitions assigned to this worker whose `on_assigned` has not succeeded yet.";
    ASSIGN_FAILURES = "parti_assign_failures_total", Counter, Count, [],
        "Calls of `on_assigned` that failed, panicked or took longer than `assign_timeout`.";
    TASK_ENDS = "parti_task_ends_total", Counter, Count, [],
        "Tasks of partitions that failed, panicked or returned before their partition was revoked.";
    DRAIN_TIMEOUTS = "parti_drain_timeouts_total", Counter, Count, [],
        "Partitions that were not drained in time and released all the same.";
    NOTICES_DROPPED = "parti_notices_dropped_total", Counter, Count, ["reader"],
        "Notices that a subscription or the hooks were too slow for.";
    HOOK_FAILURES = "parti_hook_failures_total", Counter, Count, ["failure"],
        "Hooks that panicked or took longer than their time-out.";
}
