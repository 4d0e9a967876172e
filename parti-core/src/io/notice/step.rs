//! The steps of a worker that can fail, by name.
//!
//! They are apart from the notices because they are a label of metrics, too: a closed list, so that
//! a counter of failures has a place for each of them.

use core::fmt;

/// A step that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FailedStep {
    /// A leader's: listing the partitions.
    ListPartitions,
    /// A leader's: making a plan, or taking one in.
    Plan,
    /// A leader's: committing a generation.
    Commit,
    /// A candidate's: becoming the leader.
    TakeOver,
    /// Of any worker: renewing its session.
    RenewSession,
}

impl FailedStep {
    /// Every step, in declaration order.
    pub const ALL: [Self; 5] = [
        Self::ListPartitions,
        Self::Plan,
        Self::Commit,
        Self::TakeOver,
        Self::RenewSession,
    ];

    /// The step as one lower-case word, for logs and labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ListPartitions => "list_partitions",
            Self::Plan => "plan",
            Self::Commit => "commit",
            Self::TakeOver => "take_over",
            Self::RenewSession => "renew_session",
        }
    }
}

impl fmt::Display for FailedStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
