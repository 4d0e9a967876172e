//! Times that follow from a configuration: how long a lease may be relied on, when somebody is
//! overdue, when everything must have settled.

use core::time::Duration;

use super::{Config, Mode};
use crate::planted::Planted;

impl Config {
    /// How long the holder of a session may rely on it after *sending* the renewal that was applied:
    /// the lease, shortened by twice the clock drift and by the margin.
    ///
    /// A rival counts the full lease from when it *saw* the renewal, so the holder stops first.
    #[must_use]
    pub fn hold(&self) -> Duration {
        let drift = self
            .lease()
            .saturating_mul(self.clock_drift_ppm().saturating_mul(2))
            / 1_000_000;
        let hold = self
            .lease()
            .saturating_sub(drift)
            .saturating_sub(self.lease_margin());
        self.unless_planted(Planted::NoDriftMargin, hold, self.lease())
    }

    /// A renewal later than this is overdue: one and a half intervals.
    #[must_use]
    pub fn overdue_after(&self) -> Duration {
        self.heartbeat_interval() * 3 / 2
    }

    /// For how long nobody may have joined a group that has nothing before it begins, where nobody says
    /// how many are expected: half an interval.
    pub(crate) fn cold_start_quiet(&self) -> Duration {
        self.heartbeat_interval() / 2
    }

    /// When the answer to a listing or a plan is lost. The driver that carries it out gives up after
    /// `operation_timeout` and says so; twice that leaves no doubt.
    pub(crate) fn answer_bound(&self) -> Duration {
        self.operation_timeout().saturating_mul(2)
    }

    /// For how long a leader that is in contact only now and then, and so can judge nobody, keeps its
    /// leadership: one gap in its contact, even of a whole lease, is not enough. Each term in a row that was
    /// given up doubles it.
    #[must_use]
    pub fn leader_patience(&self) -> Duration {
        self.lease() * 2 + self.recovery_grace_period()
    }

    /// From the end of all faults: when every worker holds an ID. An old lease may have to run out.
    #[must_use]
    pub fn claim_bound(&self) -> Duration {
        self.lease() + self.request_timeout() * 8 + self.heartbeat_interval() * 2
    }

    /// From the end of all faults: when somebody leads and has seen the whole bucket.
    #[must_use]
    pub fn election_bound(&self) -> Duration {
        let elect = self.lease() + self.election_timeout() + self.request_timeout() * 4;
        self.claim_bound() + elect
    }

    /// From the end of all faults: when the sessions of the dead have been ended, even if so many
    /// are dead that it looks like a restart.
    #[must_use]
    pub fn detection_bound(&self) -> Duration {
        self.election_bound() + self.detection() + self.cold_start_window()
    }

    /// From the end of all faults: when a plan for everybody who is there has been committed. Windows
    /// are capped at twice their length.
    #[must_use]
    pub fn decision_bound(&self) -> Duration {
        let window = self.cold_start_window().max(self.planned_scale_window()) * 2;
        let decide = window + self.min_rebalance_interval() + self.request_timeout() * 8;
        self.election_bound() + self.detection() + decide
    }

    /// From the end of all faults: when every worker has taken in what it was given.
    #[must_use]
    pub fn application_bound(&self) -> Duration {
        self.decision_bound() + self.apply_timeout()
    }

    /// From the end of all faults: when nobody is degraded any more.
    #[must_use]
    pub fn recovery_bound(&self) -> Duration {
        self.claim_bound() + self.degraded().exit + self.heartbeat_interval() * 2
    }

    /// A bound for the time from the end of all faults until every partition is owned by exactly one
    /// living worker, in the mode and with the windows of this configuration.
    ///
    /// It adds up, pessimistically: an old lease runs out and an ID is claimed, a leader is elected
    /// and sees the whole bucket, the dead are detected, windows (capped at twice their length) and
    /// the cooldown pass, a handoff whose holder never acknowledges is ended by eviction, and a
    /// worker that repeatedly did not do what it was told is in quarantine for its longest time.
    #[must_use]
    pub fn convergence_bound(&self) -> Duration {
        let handoff = match self.mode() {
            Mode::Exclusive | Mode::Fenced => {
                self.handoff_timeout() + self.apply_timeout() + self.lease() * 2
            }
            Mode::Overlap => self.apply_timeout() + self.lease(),
        };
        let bench = self.apply_timeout() * super::LONGEST_TIME_OUT;
        self.decision_bound() + handoff + self.drain_timeout() * 2 + bench
    }

    /// How long a stop may take: `shutdown_timeout`, and `prepare_timeout` more where the next owners
    /// `prepare` first, as for a handoff in a group whose handlers do.
    #[must_use]
    pub fn shutdown_bound(&self, prepare: bool) -> Duration {
        let first = if prepare {
            self.prepare_timeout()
        } else {
            Duration::ZERO
        };
        self.shutdown_timeout() + first
    }

    /// How long workers that seem to be gone at the same time may take to connect again: half a lease,
    /// at most a second.
    pub(crate) fn reconnection(&self) -> Duration {
        (self.lease() / 2).min(Duration::from_secs(1))
    }

    /// How long it takes a leader that has just regained contact to find a worker lost.
    fn detection(&self) -> Duration {
        self.lease() + self.recovery_grace_period() + self.emergency_grace_period()
    }

    /// How long a slot is held that somebody asked to be held for this long.
    pub(crate) fn bounded_hold(&self, asked: Duration) -> Duration {
        let bounded = asked.min(self.max_hold());
        self.unless_planted(Planted::HoldWithoutEnd, bounded, asked)
    }
}
