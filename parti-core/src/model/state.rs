//! The public words for where a worker stands and why a generation was made.

use core::fmt;

mod transition;

pub use transition::InvalidTransition;

/// Where a worker stands, derived from its machine whenever asked, never stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum State {
    /// Not started.
    Init,
    /// Looking for a free ID.
    ClaimingId,
    /// Holds an ID; no leader is known.
    Election,
    /// Holds an ID; waits for its first assignment.
    WaitingAssignment,
    /// Has its assignment, and so has everybody as far as this worker knows.
    Stable,
    /// Leader only: a window collects changes before a rebalance.
    Scaling,
    /// Partitions are changing hands.
    Rebalancing,
    /// A lost worker's partitions are given away.
    Emergency,
    /// The store is out of reach; the assignment is frozen.
    Degraded,
    /// Stopping or stopped.
    Shutdown,
}

impl State {
    /// The state as one lower-case word, for logs and labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::ClaimingId => "claiming_id",
            Self::Election => "election",
            Self::WaitingAssignment => "waiting_assignment",
            Self::Stable => "stable",
            Self::Scaling => "scaling",
            Self::Rebalancing => "rebalancing",
            Self::Emergency => "emergency",
            Self::Degraded => "degraded",
            Self::Shutdown => "shutdown",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a generation was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// A new leader took over; assignments are unchanged.
    Takeover,
    /// A leader stepped down; assignments are unchanged.
    Resignation,
    /// The first assignment of a group.
    ColdStart,
    /// Workers joined.
    PlannedScale,
    /// A new incarnation took a slot, or most of the group went silent at once.
    Restart,
    /// A worker was lost.
    Emergency,
    /// A worker is leaving or has left.
    Drain,
    /// The partition list changed.
    PartitionsChanged,
    /// Only weights or capacities changed.
    WeightsChanged,
    /// An operator asked for it.
    Manual,
    /// A handoff goes on: what was released is granted, or an earlier leader's work is finished.
    Resume,
    /// A worker cannot begin to process what it has: somebody else is to try.
    Unprocessed,
    /// Partitions without an owner may have found one: somebody joined, or they have waited for the
    /// workers they prefer as long as they were to.
    Parked,
    /// What the group obeys has changed; assignments are unchanged.
    Settings,
}

impl Cause {
    /// Every cause, in declaration order.
    pub const ALL: [Self; 14] = [
        Self::Takeover,
        Self::Resignation,
        Self::ColdStart,
        Self::PlannedScale,
        Self::Restart,
        Self::Emergency,
        Self::Drain,
        Self::PartitionsChanged,
        Self::WeightsChanged,
        Self::Manual,
        Self::Resume,
        Self::Unprocessed,
        Self::Parked,
        Self::Settings,
    ];

    /// The cause as one lower-case word, for logs and labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Takeover => "takeover",
            Self::Resignation => "resignation",
            Self::ColdStart => "cold_start",
            Self::PlannedScale => "planned_scale",
            Self::Restart => "restart",
            Self::Emergency => "emergency",
            Self::Drain => "drain",
            Self::PartitionsChanged => "partitions_changed",
            Self::WeightsChanged => "weights_changed",
            Self::Manual => "manual",
            Self::Resume => "resume",
            Self::Unprocessed => "unprocessed",
            Self::Parked => "parked",
            Self::Settings => "settings",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
