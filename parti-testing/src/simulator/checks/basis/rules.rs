//! What checkers have to know of a configuration, and the times that follow from it.

use core::time::Duration;

use parti_core::{Config, Mode};

/// What the checkers have to know about a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// The mode of the handoff.
    pub mode: Mode,
    /// The lease of every session.
    pub lease: Duration,
    /// The time between two renewals of a session.
    pub heartbeat: Duration,
    /// How long an overdue worker has before it counts as lost.
    pub grace: Duration,
    /// How long nobody is judged after a gap of contact.
    pub recovery: Duration,
    /// The least time between two rebalances that can wait.
    pub cooldown: Duration,
    /// How long a new group waits for its workers, and how long joins are collected.
    pub windows: (Duration, Duration),
    /// How many workers make the group complete.
    pub expected_workers: Option<u32>,
    /// The share of the group whose loss at once counts as a restart.
    pub restart_ratio: f64,
    /// How long a callback may run after its partition was taken away.
    pub drain: Duration,
    /// How long a worker may leave probes unanswered.
    pub suspect_after: Duration,
    /// The largest rate error of a clock.
    pub drift_ppm: u32,
    /// Whether nothing at all went wrong, so that there is no reason for an alarm.
    pub faultless: bool,
    /// Whether the store rejects renewals at times, which ends a session for good.
    pub rejecting: bool,
    /// Whether workers are configured differently. Then what follows from one mode or one lease for
    /// everybody is not judged, but that the stricter rule holds.
    pub mixed: bool,
    /// Whether the wall clocks differ much, so that a leader errs in how long others have waited.
    pub skewed: bool,
}

impl Rules {
    /// The rules of a configuration.
    #[must_use]
    pub fn new(config: &Config, faultless: bool) -> Self {
        Self {
            mode: config.mode(),
            lease: config.lease(),
            heartbeat: config.heartbeat_interval(),
            grace: config.emergency_grace_period(),
            recovery: config.recovery_grace_period(),
            cooldown: config.min_rebalance_interval(),
            windows: (config.cold_start_window(), config.planned_scale_window()),
            expected_workers: config.expected_workers(),
            restart_ratio: config.restart_detection_ratio(),
            drain: config.drain_timeout(),
            suspect_after: config.suspect_after(),
            drift_ppm: config.clock_drift_ppm(),
            faultless,
            rejecting: false,
            mixed: false,
            skewed: false,
        }
    }

    /// The least true time that a full lease can take on any clock, less two nanoseconds of rounding.
    #[must_use]
    pub fn shortest_lease(&self) -> Duration {
        self.shortest(self.lease)
    }

    /// The least true time that the cooldown can take on any clock, rounded alike.
    #[must_use]
    pub fn shortest_cooldown(&self) -> Duration {
        self.shortest(self.cooldown)
    }

    /// The least true time that a callback has, rounded alike.
    #[must_use]
    pub fn shortest_drain(&self) -> Duration {
        self.shortest(self.drain)
    }

    fn shortest(&self, local: Duration) -> Duration {
        let scaled = local.as_nanos() * 1_000_000 / (1_000_000 + u128::from(self.drift_ppm));
        Duration::from_nanos(u64::try_from(scaled).unwrap_or(u64::MAX).saturating_sub(2))
    }
}
