//! What can fail in the shell, one type per operation, each saying what it leaves behind.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parti_core::callbacks::Callback;
use parti_core::{EndpointError, HistoryLoss, ParkReason, PartitionKey, StartError, StoreError};

/// The manager works no more. Nothing is held, except as the variant says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// It was stopped. A new one has to be started to take part again.
    Stopped,
    /// It could not start.
    StartFailed(StartError),
    /// The bucket was deleted, created again, wiped or rolled back, and the configuration says
    /// [`OnBucketLost::Halt`](parti_core::OnBucketLost::Halt).
    HistoryLost(HistoryLoss),
    /// The driver ended without a stop: the runtime shut down, or a defect of the library. Guards
    /// are invalid; the session ends by itself after one lease.
    Failed(String),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("the manager has been stopped; start a new one"),
            Self::StartFailed(error) => write!(f, "the manager did not start: {error}"),
            Self::HistoryLost(loss) => write!(f, "the manager halted: {loss}"),
            Self::Failed(reason) => write!(f, "the manager's driver ended: {reason}"),
        }
    }
}

impl std::error::Error for Ended {}

/// Why [`ManagerBuilder::start`](crate::ManagerBuilder::start) returned no manager.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LaunchError {
    /// The store could not be opened. Nothing was begun.
    Store(Arc<dyn std::error::Error + Send + Sync>),
    /// A label of [`ManagerBuilder::metric_label`](crate::ManagerBuilder::metric_label) has a name that
    /// metrics of the library have themselves, or was added twice. Nothing was begun.
    MetricLabel {
        /// The name.
        name: String,
    },
    /// What [`ManagerBuilder::advertise`](crate::ManagerBuilder::advertise) was given cannot be advertised.
    /// Nothing was begun.
    Endpoint(EndpointError),
    /// No ID could be claimed. Nothing is held; see [`StartError`].
    Start(StartError),
    /// The driver ended meanwhile; see [`Ended`].
    Ended(Ended),
}

impl fmt::Display for LaunchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => write!(f, "the store could not be opened: {error}"),
            Self::MetricLabel { name } => write!(
                f,
                "metric_label {name:?}: metrics have a label of that name already; use another"
            ),
            Self::Endpoint(error) => write!(f, "advertise: {error}"),
            Self::Start(error) => error.fmt(f),
            Self::Ended(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for LaunchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(error) => Some(&**error),
            Self::MetricLabel { .. } => None,
            Self::Endpoint(error) => Some(error),
            Self::Start(error) => Some(error),
            Self::Ended(error) => Some(error),
        }
    }
}

/// Why a refresh or trigger has no version. The assignment in force stays.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError {
    /// It could not be carried out; in words.
    Failed(String),
    /// The manager works no more; the request may still have reached the leader.
    Ended(Ended),
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(reason) => write!(f, "the request was not carried out: {reason}"),
            Self::Ended(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RequestError {}

/// Why the group's history could not be read. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadError {
    /// The store did not answer usefully.
    Store(StoreError),
    /// The store did not answer a read within `request_timeout`.
    TimedOut {
        /// How long was waited.
        after: Duration,
    },
    /// The manager works no more.
    Ended(Ended),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => write!(f, "the history could not be read: {error}"),
            Self::TimedOut { after } => write!(
                f,
                "the history could not be read: no answer within request_timeout = {after:?}"
            ),
            Self::Ended(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(error) => Some(error),
            Self::TimedOut { .. } => None,
            Self::Ended(error) => Some(error),
        }
    }
}

/// What a clean stop leaves behind.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct StopReport {
    /// Partitions of this worker that nobody took because it was the last of its group: no other
    /// worker with any capacity takes part. They have an owner again as soon as somebody joins.
    ///
    /// Of a group that goes on, what nobody may take is a failure, [`StopFailure::NobodyToTake`].
    /// Only [`StopMode::Handoff`](crate::StopMode::Handoff) hands anything over.
    pub left_unowned: Vec<PartitionKey>,
}

/// A stop that was not clean: every step that failed, in order. The manager has stopped all the
/// same; what a step did not give back ends by itself after one lease.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StopError {
    /// The steps that failed, at least one.
    pub failures: Vec<StopFailure>,
}

/// One step of a stop that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopFailure {
    /// A step of the coordination, such as the release of the session; in words.
    Coordination(String),
    /// The group goes on, but no other worker of it may own these partitions. They have no owner until
    /// a worker joins that may.
    NobodyToTake {
        /// Why.
        reason: ParkReason,
        /// The partitions.
        partitions: Vec<PartitionKey>,
    },
    /// A callback panicked; its partition counts as released.
    CallbackPanicked {
        /// The partition.
        partition: PartitionKey,
        /// Which callback.
        callback: Callback,
        /// What the panic said.
        message: String,
    },
    /// Processing was not ended within `drain_timeout`; the partition counts as released.
    DrainTimedOut {
        /// The partition.
        partition: PartitionKey,
    },
    /// The driver did not end in time and was ended by force. Its session was not released.
    Hung {
        /// How long was waited.
        after: Duration,
    },
    /// The driver had ended before, not by a stop.
    Ended(Ended),
}

impl fmt::Display for StopFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Coordination(reason) => f.write_str(reason),
            Self::NobodyToTake { reason, partitions } => {
                let (count, some) = (partitions.len(), &partitions[..partitions.len().min(5)]);
                let some: Vec<String> = some.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "nobody could take {count} partitions, such as {some:?}: {reason}"
                )
            }
            Self::CallbackPanicked {
                partition,
                callback,
                message,
            } => write!(
                f,
                "{} of {partition} panicked: {message}",
                callback.as_str()
            ),
            Self::DrainTimedOut { partition } => {
                write!(f, "{partition} was not drained within drain_timeout")
            }
            Self::Hung { after } => write!(f, "the driver did not end within {after:?}"),
            Self::Ended(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for StopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the stop was not clean: ")?;
        for (index, failure) in self.failures.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{failure}")?;
        }
        Ok(())
    }
}

impl std::error::Error for StopError {}
