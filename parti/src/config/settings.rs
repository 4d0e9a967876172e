//! Settings as they stand in a file: every one by the name of its method of `ConfigBuilder`.
//!
//! Separate from `Config` because the core knows no serde, and because text has to become durations
//! first. What always holds: a name that is not known is refused, and an error names its setting.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use parti_core::{
    BreakerSettings, Config, ConfigBuilder, ConfigError, DegradedPreset, Jitter, Mode,
    OnBucketLost, Preset, RetryPolicy, RetryPolicyError,
};
use serde::Deserialize;

/// Why settings are no configuration. Nothing was started.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum SettingsError {
    /// What was written for a setting is not of its kind.
    Value {
        /// The setting.
        name: String,
        /// What was written.
        value: String,
        /// What would be right, or what is wrong with it.
        reason: String,
    },
    /// A setting that has no default is not there.
    Missing {
        /// The setting.
        name: String,
    },
    /// A setting from an environment variable will not do.
    Variable {
        /// The variable.
        variable: String,
        /// What is wrong with the setting.
        error: Box<SettingsError>,
    },
    /// The settings do not fit together; it names those that do not.
    Config(ConfigError),
    /// Those of `retry` do not.
    Retry(RetryPolicyError),
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value {
                name,
                value,
                reason,
            } => write!(f, "{name} = {value:?}: {reason}"),
            Self::Missing { name } => write!(f, "{name} is not set and has no default"),
            Self::Variable { variable, error } => write!(f, "{variable}: {error}"),
            Self::Config(error) => error.fmt(f),
            Self::Retry(error) => write!(f, "retry: {error}"),
        }
    }
}

impl std::error::Error for SettingsError {}

impl From<ConfigError> for SettingsError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<RetryPolicyError> for SettingsError {
    fn from(error: RetryPolicyError) -> Self {
        Self::Retry(error)
    }
}

/// An enum of the core by its name in a file.
macro_rules! by_name {
    ($name:ident => $of:ident { $($variant:ident)* }) => {
        #[derive(Clone, Copy, Debug, Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum $name {
            $($variant,)*
        }

        impl From<$name> for $of {
            fn from(name: $name) -> Self {
                match name {
                    $($name::$variant => Self::$variant,)*
                }
            }
        }
    };
}

by_name!(PresetName => Preset { Default Fast Patient });
by_name!(ModeName => Mode { Exclusive Fenced Overlap });
by_name!(LossName => OnBucketLost { Recreate Halt });
by_name!(DegradedName => DegradedPreset { Conservative Balanced Aggressive });
by_name!(JitterName => Jitter { Full Half None });

/// The struct, and how what is set is handed to the builder: text, text as a duration, or a value.
macro_rules! settings {
    (
        $(#[$doc:meta])*
        texts: $($text:ident)*;
        durations: $($duration:ident)*;
        values: $($value:ident: $type:ty,)*
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Settings {
            /// What the environment variables begin with that these settings are from.
            #[serde(skip)]
            pub(super) variables: Option<String>,
            group: String,
            worker_id_range: Option<String>,
            #[serde(default)]
            labels: BTreeMap<String, String>,
            retry: Option<Retry>,
            circuit_breaker: Option<CircuitBreaker>,
            $($text: Option<String>,)*
            $($duration: Option<String>,)*
            $($value: Option<$type>,)*
        }

        impl Settings {
            /// What has the name and the value of a method of the builder.
            fn plain(&self, mut builder: ConfigBuilder) -> Result<ConfigBuilder, SettingsError> {
                $(if let Some(text) = &self.$text {
                    builder = builder.$text(text);
                })*
                $(if let Some(text) = &self.$duration {
                    builder = builder.$duration(duration(stringify!($duration), text)?);
                })*
                $(if let Some(value) = self.$value.clone() {
                    builder = builder.$value(value.into());
                })*
                Ok(builder)
            }
        }
    };
}

settings! {
    /// Settings of a worker, as a file or the environment has them.
    ///
    /// They have the names of the methods of [`ConfigBuilder`], and only `group` must be there. Durations
    /// are text such as `6s`, `250ms` or `1m 30s`, a `worker_id_range` is `0-99`, names of presets and modes
    /// are in lower case. `retry` has `attempts`, `initial`, `maximum`, `factor` and `jitter`;
    /// `circuit_breaker` has `failure_threshold`, `success_threshold` and `timeout`.
    ///
    /// ```
    /// use parti::config::Settings;
    ///
    /// let file = r#"{ "group": "orders", "lease": "9s", "labels": { "zone": "a" } }"#;
    /// let config = serde_json::from_str::<Settings>(file)?.to_builder()?.capacity(4).build()?;
    /// assert_eq!(config.lease().as_secs(), 9);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    texts: application worker_id_hint;
    durations: detect_within heartbeat_interval lease max_lease lease_margin request_timeout
        election_timeout election_jitter cold_start_window planned_scale_window
        emergency_grace_period recovery_grace_period min_rebalance_interval operation_timeout
        startup_timeout shutdown_timeout drain_timeout prepare_timeout max_hold handoff_timeout apply_timeout
        acknowledge_delay reconcile_interval refresh_interval probe_interval suspect_after;
    values:
        preset: PresetName,
        mode: ModeName,
        rolling_from: ModeName,
        on_bucket_lost: LossName,
        degraded: DegradedName,
        predecessor_is_dead: bool,
        sinks_compare_tokens: bool,
        worker_id_prefix: String,
        capacity: u32,
        expected_workers: u32,
        max_moves_in_flight: u32,
        clock_drift_ppm: u32,
        leader_failure_limit: u32,
        restart_detection_ratio: f64,
        min_rebalance_threshold: f64,
}

/// When what failed is tried again; what is not set is as [`RetryPolicy::builder`] has it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Retry {
    attempts: Option<u32>,
    initial: Option<String>,
    maximum: Option<String>,
    factor: Option<u32>,
    jitter: Option<JitterName>,
}

/// When the store counts as out of order. The timeout has no default, since it follows from others.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CircuitBreaker {
    failure_threshold: Option<u32>,
    success_threshold: Option<u32>,
    timeout: String,
}

impl Settings {
    /// The builder with these settings, for a program that sets others itself.
    ///
    /// # Errors
    /// [`SettingsError`] for text that is no duration or no range, or a `retry` or `circuit_breaker` that
    /// cannot work. All other rules are checked by [`ConfigBuilder::build`].
    pub fn to_builder(&self) -> Result<ConfigBuilder, SettingsError> {
        self.collected().map_err(|error| self.located(error))
    }

    fn collected(&self) -> Result<ConfigBuilder, SettingsError> {
        let mut builder = self.plain(Config::builder(&self.group))?;
        if let Some(text) = &self.worker_id_range {
            let (min, max) = range(text)?;
            builder = builder.worker_id_range(min, max);
        }
        for (name, value) in &self.labels {
            builder = builder.label(name, value);
        }
        if let Some(retry) = &self.retry {
            builder = builder.retry(retry.policy()?);
        }
        if let Some(breaker) = &self.circuit_breaker {
            builder = builder.circuit_breaker(breaker.settings()?);
        }
        Ok(builder)
    }

    /// The configuration with these settings.
    ///
    /// # Errors
    /// [`SettingsError`] names the first setting that cannot be.
    pub fn build(&self) -> Result<Config, SettingsError> {
        let config = self.to_builder()?.build();
        config.map_err(|error| self.located(error.into()))
    }

    /// An error with the variable that its setting is from, if it is from one.
    fn located(&self, error: SettingsError) -> SettingsError {
        match &self.variables {
            Some(prefix) => error.of_variable(prefix),
            None => error,
        }
    }
}

impl Retry {
    fn policy(&self) -> Result<RetryPolicy, SettingsError> {
        let mut policy = RetryPolicy::builder();
        if let Some(text) = &self.initial {
            policy = policy.initial(duration("retry.initial", text)?);
        }
        if let Some(text) = &self.maximum {
            policy = policy.maximum(duration("retry.maximum", text)?);
        }
        if let Some(attempts) = self.attempts {
            policy = policy.attempts(attempts);
        }
        if let Some(factor) = self.factor {
            policy = policy.factor(factor);
        }
        if let Some(jitter) = self.jitter {
            policy = policy.jitter(jitter.into());
        }
        Ok(policy.build()?)
    }
}

impl CircuitBreaker {
    fn settings(&self) -> Result<BreakerSettings, SettingsError> {
        let timeout = duration("circuit_breaker.timeout", &self.timeout)?;
        let failures = self.failure_threshold.unwrap_or(5);
        let successes = self.success_threshold.unwrap_or(2);
        let settings = BreakerSettings::new(failures, successes, timeout);
        Ok(settings.map_err(ConfigError::from)?)
    }
}

fn duration(name: &str, text: &str) -> Result<Duration, SettingsError> {
    humantime::parse_duration(text).map_err(|error| SettingsError::Value {
        name: name.to_owned(),
        value: text.to_owned(),
        reason: format!("{error}; a duration is such as 6s, 250ms or 1m 30s"),
    })
}

fn range(text: &str) -> Result<(u32, u32), SettingsError> {
    let ends = text.split_once('-');
    let ends =
        ends.and_then(|(min, max)| Some((min.trim().parse().ok()?, max.trim().parse().ok()?)));
    ends.ok_or_else(|| SettingsError::Value {
        name: "worker_id_range".to_owned(),
        value: text.to_owned(),
        reason: "a range is its first and last number, such as 0-99".to_owned(),
    })
}

#[cfg(test)]
mod tests;
