//! What is not set follows from what is: a builder becomes plain values.
//!
//! It is separate from the builder because here are all defaults, and only here. What always holds:
//! every value is decided once, when the configuration is built; the rules are checked afterwards.

use core::time::Duration;

use super::{
    Config, ConfigBuilder, DegradedSettings, Mode, Settings, degraded, millis, rules, secs,
};
use crate::config::error::ConfigError;
use crate::model::id::WorkerId;
use crate::resilience::backoff::RetryPolicy;
use crate::resilience::breaker::{BreakerError, BreakerSettings};

/// A named set of timings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Preset {
    /// Heartbeat 2 s, lease 6 s: a crash is repaired within about 6 s.
    #[default]
    Default,
    /// Heartbeat 0.25 s, lease 1 s, windows 0.5 s and 0.25 s: for local stores and tests. A pause of
    /// the process or the store of more than a second costs the lease.
    Fast,
    /// Heartbeat 5 s, lease 20 s: rides through a fail-over of the store.
    Patient,
}

/// The times from which the others follow.
struct Pace {
    interval: Duration,
    lease: Duration,
    cold: Duration,
    planned: Duration,
}

fn jitter(interval: Duration) -> Duration {
    (interval / 40).clamp(millis(5), millis(100))
}

/// For how long no answer comes before it counts: eight questions, and long enough for a busy machine.
fn suspect_after(probe_interval: Option<Duration>) -> Duration {
    let questions = probe_interval.unwrap_or_default().saturating_mul(8);
    questions.clamp(millis(200), rules::YEAR)
}

/// A start takes a few requests, also where a long lease makes each of them long.
fn startup_within(request_timeout: Duration) -> Duration {
    let few = request_timeout.saturating_mul(4);
    few.clamp(secs(30), rules::YEAR)
}

/// An interval of zero is refused as such, not for the timeout that follows from it.
fn breaker_for(
    given: Option<BreakerSettings>,
    interval: Duration,
) -> Result<BreakerSettings, BreakerError> {
    let derived = || BreakerSettings::new(5, 2, (interval / 4).max(millis(1)));
    given.map_or_else(derived, Ok)
}

/// As long as it may be at most, where the time to drain is already.
fn handoff_within(drain_timeout: Duration, lease: Duration) -> Duration {
    let both = drain_timeout.saturating_add(lease);
    both.min(rules::YEAR.max(drain_timeout))
}

impl PartialEq for Config {
    /// What leads to the same settings is the same, however it was written.
    fn eq(&self, other: &Self) -> bool {
        self.group == other.group && self.settings == other.settings
    }
}

impl ConfigBuilder {
    /// Decides every value that was not set.
    pub(super) fn settle(self) -> Result<Settings, ConfigError> {
        self.detect_within.map_or(Ok(()), rules::detection)?;
        let pace = self.pace();
        let (interval, lease) = (pace.interval, pace.lease);
        let degraded = self.thresholds(lease);
        let drain_timeout = self.drain_timeout.unwrap_or(secs(5));
        let handoff = handoff_within(drain_timeout, lease);
        let cooldown = self.cooldown(pace.planned);
        let request_timeout = self.request_timeout.unwrap_or(lease / 4);
        let fenced = (self.mode == Mode::Fenced).then(|| (lease / 40).max(millis(25)));
        let probe_interval = self.probe_interval.or(fenced);
        let hint = self.worker_id_hint.as_deref().map(WorkerId::new);
        let retry = self.retry.unwrap_or(RetryPolicy::for_interval(interval));
        Ok(Settings {
            mode: self.mode,
            rolling_from: self.rolling_from,
            application: self.application,
            on_bucket_lost: self.on_bucket_lost,
            worker_id_prefix: self.worker_id_prefix.unwrap_or_else(|| "worker".into()),
            worker_id_range: self.worker_id_range.unwrap_or((0, 99)),
            worker_id_hint: hint.transpose()?,
            predecessor_is_dead: self.predecessor_is_dead,
            capacity: self.capacity.unwrap_or(1),
            labels: self.labels,
            expected_workers: self.expected_workers,
            heartbeat_interval: interval,
            lease,
            max_lease: self.max_lease.unwrap_or(lease),
            lease_margin: self.lease_margin.unwrap_or(lease / 30),
            clock_drift_ppm: self.clock_drift_ppm.unwrap_or(1000),
            request_timeout,
            election_timeout: self.election_timeout.unwrap_or(interval.saturating_mul(2)),
            election_jitter: self.election_jitter.unwrap_or(jitter(interval)),
            cold_start_window: pace.cold,
            planned_scale_window: pace.planned,
            emergency_grace_period: self
                .emergency_grace_period
                .unwrap_or(interval.saturating_mul(3) / 2),
            degraded,
            restart_detection_ratio: self.restart_detection_ratio.unwrap_or(0.5),
            min_rebalance_threshold: self.min_rebalance_threshold.unwrap_or(0.15),
            min_rebalance_interval: self.min_rebalance_interval.unwrap_or(cooldown),
            operation_timeout: self.operation_timeout.unwrap_or(secs(10)),
            startup_timeout: self
                .startup_timeout
                .unwrap_or(startup_within(request_timeout)),
            shutdown_timeout: self.shutdown_timeout.unwrap_or(secs(10)),
            drain_timeout,
            prepare_timeout: self.prepare_timeout.unwrap_or(secs(30)),
            max_moves_in_flight: self.max_moves_in_flight,
            max_hold: self.max_hold.unwrap_or(secs(600)),
            handoff_timeout: self.handoff_timeout.unwrap_or(handoff),
            apply_timeout: self.apply_timeout.unwrap_or(lease.saturating_mul(2)),
            acknowledge_delay: self.acknowledge_delay.unwrap_or(millis(4)),
            reconcile_interval: self
                .reconcile_interval
                .unwrap_or(interval.saturating_mul(30)),
            refresh_interval: self.refresh_interval,
            probe_interval,
            suspect_after: self.suspect_after.unwrap_or(suspect_after(probe_interval)),
            sinks_compare_tokens: self.sinks_compare_tokens,
            leader_failure_limit: self.leader_failure_limit.unwrap_or(retry.attempts()),
            retry,
            circuit_breaker: breaker_for(self.circuit_breaker, interval)?,
            #[cfg(feature = "planted")]
            planted: self.planted,
            #[cfg(any(test, feature = "releases"))]
            formats: self.formats,
        })
    }

    const fn cooldown(&self, planned: Duration) -> Duration {
        match self.preset {
            Preset::Fast => planned,
            Preset::Default | Preset::Patient => secs(10),
        }
    }

    fn pace(&self) -> Pace {
        let (interval, lease, cold, planned) = match (self.detect_within, self.preset) {
            (Some(lease), _) => (
                lease / 4,
                lease,
                lease.saturating_mul(5),
                lease.saturating_mul(2),
            ),
            (None, Preset::Default) => (secs(2), secs(6), secs(30), secs(10)),
            (None, Preset::Fast) => (millis(250), secs(1), millis(500), millis(250)),
            (None, Preset::Patient) => (secs(5), secs(20), secs(60), secs(30)),
        };
        Pace {
            interval: self.heartbeat_interval.unwrap_or(interval),
            lease: self.lease.unwrap_or(lease),
            cold: self.cold_start_window.unwrap_or(cold),
            planned: self.planned_scale_window.unwrap_or(planned),
        }
    }

    fn thresholds(&self, lease: Duration) -> DegradedSettings {
        let preset = self.degraded.map(|preset| preset.settings());
        let mut degraded = preset.unwrap_or_else(|| degraded::derived(lease));
        if let Some(grace) = self.recovery_grace_period {
            degraded.recovery_grace = grace;
        }
        degraded
    }
}
