//! The rules a configuration must obey, one line each, checked in order.

use alloc::string::ToString;
use core::time::Duration;

use super::{Config, MAX_POOL, Mode, millis};
use crate::config::error::ConfigError;
use crate::model::id::WorkerId;

pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    pool(config)?;
    ratios(config)?;
    timings(config)
}

fn pool(config: &Config) -> Result<(), ConfigError> {
    let (min, max) = config.worker_id_range();
    if min > max || max - min >= MAX_POOL {
        return Err(ConfigError::WorkerRange { min, max });
    }
    let first = WorkerId::numbered(config.worker_id_prefix(), min)?;
    let last = WorkerId::numbered(config.worker_id_prefix(), max)?;
    if let Some(hint) = config.worker_id_hint() {
        let number = hint.as_str().strip_prefix(config.worker_id_prefix());
        let number = number
            .and_then(|rest| rest.strip_prefix('-'))
            .and_then(|n| n.parse().ok());
        if number.and_then(|number| config.worker_id(number)).as_ref() != Some(hint) {
            let (hint, first, last) = (hint.to_string(), first.to_string(), last.to_string());
            return Err(ConfigError::HintOutsidePool { hint, first, last });
        }
    } else if config.predecessor_is_dead() {
        return Err(ConfigError::DeadWithoutHint);
    }
    match config.expected_workers() {
        Some(0) => Err(ConfigError::Zero {
            field: "expected_workers",
        }),
        Some(expected) if expected > config.pool_size() => Err(ConfigError::ExpectedWorkers {
            expected,
            pool: config.pool_size(),
        }),
        _ if config.max_moves_in_flight() == Some(0) => Err(ConfigError::Zero {
            field: "max_moves_in_flight",
        }),
        _ if config.leader_failure_limit() == 0 => Err(ConfigError::Zero {
            field: "leader_failure_limit",
        }),
        _ => Ok(()),
    }
}

fn ratios(config: &Config) -> Result<(), ConfigError> {
    let restart = config.restart_detection_ratio();
    if !(restart > 0.0 && restart <= 1.0) {
        let (field, range) = ("restart_detection_ratio", "above 0 and up to 1");
        return Err(ConfigError::Ratio {
            field,
            value: restart,
            range,
        });
    }
    let threshold = config.min_rebalance_threshold();
    if !(0.0..=1.0).contains(&threshold) {
        let (field, range) = ("min_rebalance_threshold", "from 0 to 1");
        return Err(ConfigError::Ratio {
            field,
            value: threshold,
            range,
        });
    }
    Ok(())
}

fn timings(config: &Config) -> Result<(), ConfigError> {
    lengths(config)?;
    lease(config)?;
    store(config)?;
    steps(config)
}

/// No duration is longer than a year, so that no sum of them overflows anywhere. It is checked before
/// any other rule calculates with them, those first from which others follow.
fn lengths(config: &Config) -> Result<(), ConfigError> {
    let interval = config.heartbeat_interval();
    at_most("heartbeat_interval", interval, DAY, "the lease is longer")?;
    let because = "a crash would be noticed a day later";
    at_most("lease", config.lease(), DAY, because)?;
    let because = "a year is as good as never";
    let durations = [
        ("drain_timeout", config.drain_timeout()),
        ("lease_margin", config.lease_margin()),
        ("request_timeout", config.request_timeout()),
        ("election_timeout", config.election_timeout()),
        ("election_jitter", config.election_jitter()),
        ("cold_start_window", config.cold_start_window()),
        ("planned_scale_window", config.planned_scale_window()),
        ("emergency_grace_period", config.emergency_grace_period()),
        ("recovery_grace_period", config.recovery_grace_period()),
        ("min_rebalance_interval", config.min_rebalance_interval()),
        ("operation_timeout", config.operation_timeout()),
        ("startup_timeout", config.startup_timeout()),
        ("shutdown_timeout", config.shutdown_timeout()),
        ("prepare_timeout", config.prepare_timeout()),
        ("max_hold", config.max_hold()),
        ("handoff_timeout", config.handoff_timeout()),
        ("apply_timeout", config.apply_timeout()),
        ("acknowledge_delay", config.acknowledge_delay()),
        ("reconcile_interval", config.reconcile_interval()),
        ("refresh_interval", config.refresh_interval().unwrap_or(DAY)),
        ("probe_interval", config.probe_interval().unwrap_or(DAY)),
        ("suspect_after", config.suspect_after()),
        ("retry maximum", config.retry().maximum()),
        (
            "circuit_breaker timeout",
            config.circuit_breaker().timeout(),
        ),
    ];
    durations
        .into_iter()
        .try_for_each(|(field, value)| at_most(field, value, YEAR, because))
}

fn lease(config: &Config) -> Result<(), ConfigError> {
    let (interval, lease) = (config.heartbeat_interval(), config.lease());
    let least = millis(10);
    at_least(
        "heartbeat_interval",
        interval,
        least,
        "renewals must leave room for answers",
    )?;
    let (longest, because) = (config.max_lease(), "lease: nobody may have a longer one");
    at_least("max_lease", longest, lease, because)?;
    at_most(
        "max_lease",
        longest,
        DAY,
        "so long nothing is granted after a loss",
    )?;
    at_least(
        "lease",
        lease,
        interval * 3,
        "3 * heartbeat_interval: two renewals may be lost",
    )?;
    let drift = Duration::from_micros(u64::from(config.clock_drift_ppm()));
    at_most(
        "clock drift a second",
        drift,
        millis(50),
        "above 5 % a clock is broken",
    )?;
    let because = "two renewals must fit into the lease less drift and lease_margin";
    at_least("hold time", config.hold(), interval * 2, because)
}

fn store(config: &Config) -> Result<(), ConfigError> {
    let (interval, lease) = (config.heartbeat_interval(), config.lease());
    let request = config.request_timeout();
    at_least(
        "request_timeout",
        request,
        millis(1),
        "an answer takes time",
    )?;
    let because = "a third of the lease: a renewal must be repeatable";
    at_most("request_timeout", request, lease / 3, because)?;
    let election = config.election_timeout();
    let because = "1.5 * heartbeat_interval: a healthy leader must not be challenged";
    at_least("election_timeout", election, interval * 3 / 2, because)?;
    at_most("election_timeout", election, lease * 4, "4 * lease")?;
    let because = "heartbeat_interval / 2: a renewal carries it anyhow";
    at_most(
        "acknowledge_delay",
        config.acknowledge_delay(),
        interval / 2,
        because,
    )?;
    let timeout = config.circuit_breaker().timeout();
    let because = "four must fit between a renewal and the end of its lease, or it costs the lease";
    at_most(
        "circuit_breaker timeout",
        timeout,
        (config.hold() - interval) / 4,
        because,
    )?;
    at_least(
        "reconcile_interval",
        config.reconcile_interval(),
        interval,
        "heartbeat_interval",
    )
}

fn steps(config: &Config) -> Result<(), ConfigError> {
    let interval = config.heartbeat_interval();
    at_most(
        "emergency_grace_period",
        config.emergency_grace_period(),
        DAY,
        "a day",
    )?;
    at_least(
        "operation_timeout",
        config.operation_timeout(),
        millis(1),
        "a step takes time",
    )?;
    let request = config.request_timeout();
    at_least(
        "startup_timeout",
        config.startup_timeout(),
        request,
        "request_timeout",
    )?;
    at_least(
        "shutdown_timeout",
        config.shutdown_timeout(),
        millis(1),
        "a stop takes time",
    )?;
    let drain = config.drain_timeout();
    let because = "drain_timeout: a holder may use it up";
    at_least("handoff_timeout", config.handoff_timeout(), drain, because)?;
    let because = "2 * heartbeat_interval";
    at_least(
        "apply_timeout",
        config.apply_timeout(),
        interval * 2,
        because,
    )?;
    let because = "a day: the partitions of a held slot have no owner";
    at_most("max_hold", config.max_hold(), DAY, because)?;
    let refresh = config.refresh_interval().unwrap_or(DAY);
    at_least(
        "refresh_interval",
        refresh,
        millis(100),
        "listing must not be all there is",
    )?;
    if config.mode() == Mode::Fenced && !config.sinks_compare_tokens() {
        return Err(ConfigError::UnfencedSinks);
    }
    let Some(probes) = config.probe_interval() else {
        return Ok(());
    };
    let because = "asking must not be all there is";
    at_least("probe_interval", probes, millis(5), because)?;
    let because = "the lease: it finds a dead worker anyhow";
    at_most("probe_interval", probes, config.lease(), because)?;
    let because = "2 * probe_interval: one answer may be lost";
    at_least("suspect_after", config.suspect_after(), probes * 2, because)
}

/// The single knob, before anything is derived from it.
pub(super) fn detection(within: Duration) -> Result<(), ConfigError> {
    let because = "the heartbeat interval is a quarter of it";
    at_least("detect_within", within, millis(40), because)?;
    at_most("detect_within", within, DAY, "it becomes the lease")
}

const DAY: Duration = Duration::from_secs(86_400);
/// The longest of all durations.
pub(super) const YEAR: Duration = Duration::from_secs(365 * 86_400);

fn at_least(
    field: &'static str,
    value: Duration,
    least: Duration,
    because: &'static str,
) -> Result<(), ConfigError> {
    if value >= least {
        Ok(())
    } else {
        Err(ConfigError::TooSmall {
            field,
            value,
            least,
            because,
        })
    }
}

fn at_most(
    field: &'static str,
    value: Duration,
    most: Duration,
    because: &'static str,
) -> Result<(), ConfigError> {
    if value <= most {
        Ok(())
    } else {
        Err(ConfigError::TooLarge {
            field,
            value,
            most,
            because,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ConfigBuilder, Preset};

    fn error(change: impl FnOnce(ConfigBuilder) -> ConfigBuilder) -> alloc::string::String {
        change(Config::builder("g"))
            .build()
            .expect_err("must be refused")
            .to_string()
    }

    /// An incoherent timing once let a live worker lose its ID; every rule names what breaks it.
    #[test]
    fn each_broken_rule_names_the_field_and_its_value() {
        let secs = Duration::from_secs;
        assert!(
            error(|b| b.lease(secs(5))).starts_with("lease = 5s is too small: use at least 6s")
        );
        assert!(error(|b| b.heartbeat_interval(millis(1))).starts_with("heartbeat_interval = 1ms"));
        assert!(
            error(|b| b.request_timeout(secs(3))).starts_with("request_timeout = 3s is too large")
        );
        assert!(error(|b| b.lease_margin(secs(5))).contains("hold time"));
        assert!(error(|b| b.clock_drift_ppm(90_000)).contains("clock"));
        assert!(error(|b| b.election_timeout(secs(1))).starts_with("election_timeout = 1s"));
        assert!(error(|b| b.worker_id_range(5, 4)).contains("5..=4"));
        assert!(
            error(|b| b.worker_id_range(0, 2).expected_workers(4)).contains("expected_workers = 4")
        );
        assert!(error(|b| b.worker_id_hint("worker-100")).contains("worker-100"));
        assert!(error(|b| b.worker_id_hint("worker-07")).contains("worker-07"));
        assert!(error(|b| b.restart_detection_ratio(f64::NAN)).contains("NaN"));
        assert!(error(|b| b.min_rebalance_threshold(1.5)).contains("1.5"));
        assert!(error(|b| b.max_hold(secs(86_401))).starts_with("max_hold = 86401s"));
        assert!(error(|b| b.predecessor_is_dead(true)).contains("worker_id_hint"));
        assert!(error(|b| b.handoff_timeout(secs(1))).starts_with("handoff_timeout = 1s"));
        assert!(error(|b| b.worker_id_prefix("a.b".to_string())).contains("'.'"));
        assert!(
            Config::builder("a b")
                .build()
                .expect_err("name")
                .to_string()
                .contains("group name")
        );
    }

    /// Defaults that fail their own validation have shipped elsewhere.
    #[test]
    fn every_preset_and_the_single_knob_are_coherent() {
        for preset in [Preset::Default, Preset::Fast, Preset::Patient] {
            let config = Config::builder("g")
                .preset(preset)
                .build()
                .expect("coherent");
            assert!(config.hold() < config.lease());
        }
        for millis in [200, 1000, 7_777, 60_000] {
            let lease = Duration::from_millis(millis);
            let config = Config::builder("g")
                .detect_within(lease)
                .build()
                .expect("coherent");
            assert_eq!(config.lease(), lease);
        }
    }
}
