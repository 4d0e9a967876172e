//! The intensities of a plan: how often messages, callbacks and the store suffer, all run long.
//!
//! They are separate from the actions, which happen at one time. What always holds: zero switches a
//! fault off, and a field that a stored plan does not have is zero.

use core::time::Duration;

use parti_core::ConfigBuilder;
use serde::{Deserialize, Serialize};

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
    /// Messages that arrive within a moment of a limit: the bound of the request, the deadline of the
    /// sender's session, a lease later.
    pub at_limit_ppm: u32,
    /// Requests that are carried out long after everybody has given up on them.
    pub very_late_ppm: u32,
    /// The longest of these.
    pub very_late_ms: u64,
    /// Snapshots of a watch that break off in the middle.
    pub snapshot_cut_ppm: u32,
    /// Callbacks that do not return: the driver gives up on them after the drain time-out.
    pub callback_hang_ppm: u32,
    /// Callbacks that fail at once.
    pub callback_fail_ppm: u32,
    /// Requests the store answers with a failure: one in three was certainly not carried out, one was
    /// not although nobody knows, one was.
    pub fail_ppm: u32,
    /// Plans the strategy fails to make.
    pub plan_fail_ppm: u32,
    /// Plans that are wrong: too short, or with an owner nobody knows.
    pub plan_wrong_ppm: u32,
    /// Listings of the partition source that name a partition twice.
    pub source_duplicate_ppm: u32,
    /// Probes that get no answer.
    pub probe_lost_ppm: u32,
    /// Probes that are told that there is nobody although the process runs.
    pub probe_wrong_ppm: u32,
    /// Probes whose answer comes late, in the worst case when it counts as lost already.
    pub probe_late_ppm: u32,
    /// Pairs of nodes of which one asks the other in vain all the time: told that there is nobody, or
    /// nothing.
    pub probe_one_sided_ppm: u32,
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

/// How handlers prepare for partitions that are to come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warmup {
    /// The longest it takes.
    pub ms: u64,
    /// After how long nobody waits for it any more.
    pub timeout_ms: u64,
    /// Preparations that do not return.
    pub hang_ppm: u32,
    /// Preparations after which the handler says that it cannot take the partition.
    pub fail_ppm: u32,
    /// How many partitions may be on their way at once, if that is bounded.
    pub max_moves: Option<u32>,
}

impl Warmup {
    pub(super) fn configure(&self, builder: ConfigBuilder) -> ConfigBuilder {
        let builder = builder.prepare_timeout(Duration::from_millis(self.timeout_ms));
        match self.max_moves {
            Some(most) => builder.max_moves_in_flight(most),
            None => builder,
        }
    }
}
