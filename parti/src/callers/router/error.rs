//! Why a request has no answer, and why nobody listens for requests.
//!
//! What always holds: each says whether the request may have been handled.

use std::fmt;
use std::time::Duration;

use parti_core::{PartitionKey, Token, WorkerId};

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RouteError {
    /// The group could not be read within the time. Nothing was sent.
    Unread {
        /// The partition.
        partition: PartitionKey,
        /// The time.
        within: Duration,
    },
    /// Nobody owned the partition within the time. The request was not handled.
    NoOwner {
        /// The partition.
        partition: PartitionKey,
        /// The time.
        within: Duration,
    },
    /// The owner does not say where it answers. The request was not handled.
    NoEndpoint {
        /// The partition.
        partition: PartitionKey,
        /// The owner.
        worker: WorkerId,
    },
    /// Nobody took the request within the tries and the time. It was not handled.
    NotTaken {
        /// The partition.
        partition: PartitionKey,
        /// How often a worker was asked.
        tries: u32,
        /// What became of it the last time.
        last: Untaken,
    },
    /// No server would take it. It was not handled.
    TooLarge {
        /// The partition.
        partition: PartitionKey,
        /// How large it is, and how large it may be.
        reason: String,
    },
    /// It may have been handled, or be handled yet.
    Unknown {
        /// The partition.
        partition: PartitionKey,
        /// The ownership that was asked.
        token: Token,
        /// What happened.
        reason: String,
    },
    /// It was handled, and the handler failed.
    Failed {
        /// The partition.
        partition: PartitionKey,
        /// The ownership in whose name it was handled.
        token: Token,
        /// The handler's words.
        reason: String,
    },
}

/// Why a worker did not take a request. It was not handled.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Untaken {
    /// The partition is another worker's, or on its way to one.
    Over,
    /// The worker has not begun with the partition.
    NotYet,
    /// The worker has as many requests as it takes.
    Busy,
    /// The worker cannot read it: it is of another release, or something else listens there.
    Unreadable,
    /// Nobody has the owner's address.
    Unreachable,
    /// There is no connection.
    NotSent(String),
}

impl RouteError {
    /// Whether the request may have been handled.
    #[must_use]
    pub const fn may_be_handled(&self) -> bool {
        match self {
            Self::Unknown { .. } | Self::Failed { .. } => true,
            Self::Unread { .. }
            | Self::NoOwner { .. }
            | Self::NoEndpoint { .. }
            | Self::NotTaken { .. }
            | Self::TooLarge { .. } => false,
        }
    }
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unread { partition, within } => write!(
                f,
                "{partition}: the group could not be read within {within:?}; is the server reachable?"
            ),
            Self::NoOwner { partition, within } => write!(
                f,
                "{partition}: nobody owned it within {within:?}; ask `parti explain` why, or wait longer"
            ),
            Self::NoEndpoint { partition, worker } => write!(
                f,
                "{partition}: {worker} owns it and does not say where it answers; \
                 give its builder `advertise(responder.endpoint().as_str())`"
            ),
            Self::NotTaken {
                partition,
                tries,
                last,
            } => write!(f, "{partition}: not taken in {tries} tries: {last}"),
            Self::TooLarge { partition, reason } => {
                write!(f, "{partition}: the request is too large: {reason}")
            }
            Self::Unknown {
                partition,
                token,
                reason,
            } => write!(
                f,
                "{partition}: token {token} may have handled it: {reason}; find out, or send again \
                 what may be handled twice"
            ),
            Self::Failed {
                partition,
                token,
                reason,
            } => write!(f, "{partition}: token {token} failed with it: {reason}"),
        }
    }
}

impl std::error::Error for RouteError {}

impl fmt::Display for Untaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Over => f.write_str("the partition is on its way to another worker"),
            Self::NotYet => f.write_str("its owner has not begun with it"),
            Self::Busy => f.write_str("its owner has as many requests as it takes"),
            Self::Unreadable => f.write_str("its owner cannot read the request"),
            Self::Unreachable => f.write_str("nobody has its owner's address"),
            Self::NotSent(why) => f.write_str(why),
        }
    }
}

/// The client cannot listen: it is closed, or the server did not answer. Nothing is left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenError {
    /// Its words.
    pub reason: String,
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "requests cannot be listened for: {}", self.reason)
    }
}

impl std::error::Error for ListenError {}
