//! Why a configuration was refused: one variant per rule, each with the fields and values that break
//! it and, in its text, what would be right.

use alloc::string::String;
use core::fmt;
use core::time::Duration;

use crate::model::id::NameError;
use crate::resilience::breaker::BreakerError;

/// A configuration that cannot work. Nothing was started.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The group name or the worker ID prefix is not a valid name.
    Name(NameError),
    /// A field is below the least value that makes sense.
    TooSmall {
        /// The field.
        field: &'static str,
        /// Its value.
        value: Duration,
        /// The least value allowed.
        least: Duration,
        /// Why.
        because: &'static str,
    },
    /// A field is above the largest value that makes sense.
    TooLarge {
        /// The field.
        field: &'static str,
        /// Its value.
        value: Duration,
        /// The largest value allowed.
        most: Duration,
        /// Why.
        because: &'static str,
    },
    /// The range of worker numbers is empty or larger than the pool limit.
    WorkerRange {
        /// First number.
        min: u32,
        /// Last number.
        max: u32,
    },
    /// More workers are expected than there are IDs.
    ExpectedWorkers {
        /// How many are expected.
        expected: u32,
        /// How many IDs the pool has.
        pool: u32,
    },
    /// A predecessor was declared dead, but there is no hint that says whose.
    DeadWithoutHint,
    /// Mode `fenced` without the declaration that everything that is written to compares tokens.
    UnfencedSinks,
    /// The hinted worker ID is not in the pool.
    HintOutsidePool {
        /// The hint.
        hint: String,
        /// First ID of the pool.
        first: String,
        /// Last ID of the pool.
        last: String,
    },
    /// A ratio is not a number in its range.
    Ratio {
        /// The field.
        field: &'static str,
        /// Its value.
        value: f64,
        /// The allowed range in words.
        range: &'static str,
    },
    /// The circuit breaker cannot work.
    Breaker(BreakerError),
    /// A count must be at least one.
    Zero {
        /// The field.
        field: &'static str,
    },
}

impl ConfigError {
    /// The setting to change, by the name of its method of the builder; `None` when it is one of the
    /// names.
    #[must_use]
    pub const fn setting(&self) -> Option<&'static str> {
        match self {
            Self::TooSmall { field, .. }
            | Self::TooLarge { field, .. }
            | Self::Ratio { field, .. }
            | Self::Zero { field } => Some(field),
            Self::WorkerRange { .. } => Some("worker_id_range"),
            Self::ExpectedWorkers { .. } => Some("expected_workers"),
            Self::DeadWithoutHint | Self::HintOutsidePool { .. } => Some("worker_id_hint"),
            Self::UnfencedSinks => Some("sinks_compare_tokens"),
            Self::Breaker(_) => Some("circuit_breaker"),
            Self::Name(_) => None,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => error.fmt(f),
            Self::TooSmall {
                field,
                value,
                least,
                because,
            } => {
                write!(
                    f,
                    "{field} = {value:?} is too small: use at least {least:?} ({because})"
                )
            }
            Self::TooLarge {
                field,
                value,
                most,
                because,
            } => {
                write!(
                    f,
                    "{field} = {value:?} is too large: use at most {most:?} ({because})"
                )
            }
            Self::WorkerRange { min, max } => write!(
                f,
                "worker_id_range = {min}..={max}: the range must hold 1 to {} IDs",
                crate::config::MAX_POOL
            ),
            Self::ExpectedWorkers { expected, pool } => write!(
                f,
                "expected_workers = {expected}, but worker_id_range holds {pool} IDs; widen the range"
            ),
            Self::DeadWithoutHint => f.write_str(
                "predecessor_is_dead needs a worker_id_hint, which says whose predecessor",
            ),
            Self::UnfencedSinks => f.write_str(
                "mode = fenced needs sinks_compare_tokens(true): two workers may act for one partition for a \
                 moment, and only what they write to can refuse the earlier",
            ),
            Self::HintOutsidePool { hint, first, last } => {
                write!(f, "worker_id_hint = {hint} is not one of {first} to {last}")
            }
            Self::Ratio {
                field,
                value,
                range,
            } => {
                write!(f, "{field} = {value} is not allowed: use a number {range}")
            }
            Self::Breaker(error) => write!(f, "circuit_breaker: {error}"),
            Self::Zero { field } => write!(f, "{field} = 0: use at least 1"),
        }
    }
}

impl core::error::Error for ConfigError {}

impl From<NameError> for ConfigError {
    fn from(error: NameError) -> Self {
        Self::Name(error)
    }
}

impl From<BreakerError> for ConfigError {
    fn from(error: BreakerError) -> Self {
        Self::Breaker(error)
    }
}
