//! What goes in and out of the callback scheduler: jobs, how they end, and what a shell is to do.
//!
//! It is separate because it is all that a shell has to know. What always holds: plain data; the
//! shell's guard is handed back as it came.

use alloc::string::String;
use core::time::Duration;

use crate::io::effect::RevokeCause;
use crate::io::grant::Grant;
use crate::model::partition::PartitionKey;
use crate::model::preparation::Preparation;

/// Which callback of a partition's handler. Closed: a handler has these four.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Callback {
    /// `on_assigned`.
    Assigned,
    /// `on_revoked`.
    Revoked,
    /// `on_prepare`.
    Prepare,
    /// `on_prepare_cancelled`.
    PrepareCancelled,
}

impl Callback {
    /// The name of the method.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Assigned => "on_assigned",
            Self::Revoked => "on_revoked",
            Self::Prepare => "on_prepare",
            Self::PrepareCancelled => "on_prepare_cancelled",
        }
    }
}

/// How long and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long `on_revoked` may take, and how long a partition that is being revoked is waited for.
    pub drain: Duration,
    /// How long `on_assigned` may take; `None` is no limit.
    pub assign: Option<Duration>,
    /// How long a partition that is prepared for is waited for; `on_prepare` is dropped then.
    pub prepare: Duration,
    /// How many `on_assigned`, how many `on_prepare`, and how many of those that end something run at
    /// once; at least 1.
    pub concurrency: usize,
    /// After how many failures of `on_assigned` in a row the core is told; at least 1.
    pub attempts: u32,
}

impl Limits {
    /// The limits that hold unless something else is said.
    #[must_use]
    pub const fn new(drain: Duration) -> Self {
        Self {
            drain,
            assign: Some(Duration::from_secs(5 * 60)),
            prepare: Duration::from_secs(30),
            concurrency: 64,
            attempts: 3,
        }
    }
}

/// One ownership of a partition. A session that resumes gets the same grant again: that is another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ownership<G> {
    /// What is owned, with which token.
    pub grant: Grant,
    /// The shell's guard.
    pub guard: G,
    /// Tells it from others of the same grant.
    number: u64,
}

impl<G> Ownership<G> {
    pub(super) const fn new(grant: Grant, number: u64, guard: G) -> Self {
        Self {
            grant,
            guard,
            number,
        }
    }

    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    pub(super) const fn is(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

/// A call of a callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job<G> {
    /// Call `on_assigned`, unless the guard is invalid by then ([`End::NotBegun`]).
    Assigned {
        /// What begins.
        ownership: Ownership<G>,
    },
    /// Call `on_revoked`.
    Revoked {
        /// What ends.
        ownership: Ownership<G>,
        /// Why.
        cause: RevokeCause,
    },
    /// Call `on_prepare`.
    Prepare {
        /// What to get ready for.
        preparation: Preparation,
    },
    /// Call `on_prepare_cancelled`.
    PrepareCancelled {
        /// What was prepared for.
        preparation: Preparation,
    },
}

impl<G> Job<G> {
    /// Which callback.
    #[must_use]
    pub const fn callback(&self) -> Callback {
        match self {
            Self::Assigned { .. } => Callback::Assigned,
            Self::Revoked { .. } => Callback::Revoked,
            Self::Prepare { .. } => Callback::Prepare,
            Self::PrepareCancelled { .. } => Callback::PrepareCancelled,
        }
    }

    /// The ownership that it begins or ends; none while the partition is only prepared for.
    #[must_use]
    pub const fn ownership(&self) -> Option<&Ownership<G>> {
        match self {
            Self::Assigned { ownership } | Self::Revoked { ownership, .. } => Some(ownership),
            Self::Prepare { .. } | Self::PrepareCancelled { .. } => None,
        }
    }

    /// The partition.
    #[must_use]
    pub const fn partition(&self) -> &PartitionKey {
        match self {
            Self::Assigned { ownership } | Self::Revoked { ownership, .. } => {
                &ownership.grant.partition
            }
            Self::Prepare { preparation } | Self::PrepareCancelled { preparation } => {
                &preparation.partition
            }
        }
    }

    pub(super) const fn begins(&self, what: &Ownership<G>) -> bool {
        matches!(self, Self::Assigned { ownership } if ownership.is(what))
    }

    pub(super) const fn ends(&self, what: &Ownership<G>) -> bool {
        matches!(self, Self::Revoked { ownership, .. } if ownership.is(what))
    }
}

/// How a callback ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It returned.
    Returned,
    /// `on_assigned` or `on_prepare` returned an error: it has not begun, or cannot take it. In words.
    Failed(String),
    /// It panicked; with what words.
    Panicked(String),
    /// It was dropped where it waited, as [`Action::Cut`] asked.
    Cut,
    /// It was dropped, and panicked then; with what words.
    CutPanicking(String),
    /// Its guard had become invalid before it could begin, as after a blocked runtime.
    NotBegun,
}

impl End {
    pub(super) const fn panic(&self) -> Option<&String> {
        match self {
            Self::Panicked(words) | Self::CutPanicking(words) => Some(words),
            Self::Returned | Self::Failed(_) | Self::Cut | Self::NotBegun => None,
        }
    }
}

/// Why a callback is cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutReason {
    /// It has taken too long itself.
    Limit,
    /// It is an `on_assigned` whose partition has waited too long to be revoked.
    Drain,
    /// It is an `on_prepare` for what goes elsewhere.
    Withdrawn,
}

/// What a shell is to do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action<G> {
    /// Begin a callback, and report its end with [`Scheduler::finish`](super::Scheduler::finish),
    /// exactly once.
    Begin(Job<G>),
    /// Drop the callback of a partition where it waits. Its end is still to be reported.
    Cut {
        /// The partition.
        partition: PartitionKey,
        /// Which of its callbacks.
        callback: Callback,
        /// Why.
        why: CutReason,
    },
    /// The guard says from now on that its partition is being taken away.
    Revoking(G),
    /// The guard is invalid from now on, for good.
    Invalidate(G),
    /// Tell the core with [`Event::Released`](crate::Event::Released).
    Release(Grant),
    /// Tell the core with [`Event::Processing`](crate::Event::Processing).
    Processing {
        /// What was assigned.
        grant: Grant,
        /// Why it cannot begin here; `None` when it has begun after all.
        failing: Option<String>,
    },
    /// Tell the core with [`Event::Prepared`](crate::Event::Prepared).
    Prepared {
        /// Which.
        preparation: Preparation,
        /// Why the partition cannot be taken; `None`: it can, or it took too long to get ready.
        failing: Option<String>,
    },
    /// Tell the listeners: `on_prepare` did not return in time, and counts as returned.
    PrepareTimedOut(Preparation),
    /// Tell the listeners: `on_assigned` failed and is tried again.
    AssignFailed {
        /// What was assigned.
        grant: Grant,
        /// How often in a row.
        failures: u32,
        /// The reason in words.
        reason: String,
        /// After how long it is tried again.
        pause: Duration,
    },
    /// Tell the listeners: a callback panicked. One that ends something counts as returned, the others
    /// as failed.
    Panicked {
        /// The partition.
        partition: PartitionKey,
        /// Which callback.
        callback: Callback,
        /// What the panic said.
        message: String,
    },
    /// Tell the listeners: this was not released within its drain time, and counts as released.
    DrainTimedOut(Grant),
}
