//! What the core wants done: one closed enum, plain data. Tests compare effects with `assert_eq!`.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::io::event::{OpId, WatchId};
use crate::io::grant::Grant;
use crate::io::notice::Notice;
use crate::model::id::Nonce;
use crate::model::preparation::Preparation;
use crate::model::time::Instant;
use crate::ports::liveness::ProbeId;
use crate::ports::store::{StoreOp, WatchScope};
use crate::ports::strategy::PlanInput;

/// Why a partition is taken away.
///
/// Closed: a shell decides by it whether a guard ends at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RevokeCause {
    /// The leader gave it to somebody else, or it is no longer in the list.
    Reassigned,
    /// The session was not renewed in time: nothing may be relied on any more.
    LeaseLost,
    /// Another session holds this ID, or a leader evicted this one.
    IdentityLost,
    /// The worker is stopping.
    Stopping,
}

impl RevokeCause {
    /// The cause as one lower-case word, for logs and labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reassigned => "reassigned",
            Self::LeaseLost => "lease_lost",
            Self::IdentityLost => "identity_lost",
            Self::Stopping => "stopping",
        }
    }
}

impl fmt::Display for RevokeCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something to do. Effects are to be begun in order; they need not be waited for.
///
/// Closed: a shell that leaves one out is wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Execute a store request and answer with [`Event::Store`](crate::Event::Store), exactly once,
    /// at the latest after `request_timeout` (then as `Unknown`).
    Store {
        /// The number the answer must carry.
        op: OpId,
        /// The request.
        request: StoreOp,
    },
    /// Begin a watch and pass on what it says; see [`Event::Watch`](crate::Event::Watch).
    Watch {
        /// The number its events must carry.
        id: WatchId,
        /// What to watch.
        scope: WatchScope,
    },
    /// End a watch.
    Unwatch {
        /// Which.
        id: WatchId,
    },
    /// List the partitions, at the latest after `operation_timeout`.
    ListPartitions {
        /// The number the answer must carry.
        op: OpId,
    },
    /// Compute a plan; it may take long and must not delay other effects.
    Plan {
        /// The number the answer must carry.
        op: OpId,
        /// What to plan.
        input: PlanInput,
    },
    /// End the processing of these partitions, at the latest after `drain_timeout`, and say so with
    /// [`Event::Released`](crate::Event::Released). For each partition this comes after its
    /// assignment, and the next assignment only after the release.
    ///
    /// A partition taken away with [`RevokeCause::LeaseLost`] or [`RevokeCause::IdentityLost`] is
    /// invalid from then on for good, also when the session is valid again; so are those that were
    /// being revoked for another cause at that moment.
    Revoke {
        /// What to end.
        grants: Vec<Grant>,
        /// Why.
        cause: RevokeCause,
    },
    /// Begin to process these partitions.
    Assign {
        /// What to begin.
        grants: Vec<Grant>,
    },
    /// Get ready for these partitions, at the latest within `prepare_timeout`, and say so with
    /// [`Event::Prepared`](crate::Event::Prepared). An [`Effect::Assign`] of the partition ends a
    /// preparation; otherwise [`Effect::Withdraw`] does.
    Prepare {
        /// What for.
        preparations: Vec<Preparation>,
    },
    /// These preparations are of no more use: the partitions stay where they are, or go elsewhere.
    Withdraw {
        /// Which.
        preparations: Vec<Preparation>,
    },
    /// Answer for this session from now on, and for no other; say so with
    /// [`Event::Answering`](crate::Event::Answering) when a question would be answered. A shell whose
    /// store offers no [`Liveness`](crate::Liveness) says nothing.
    Answer {
        /// The session; `None`: for none.
        session: Option<Nonce>,
    },
    /// Ask whether the process of a session runs, and answer with [`Event::Probed`](crate::Event::Probed),
    /// exactly once. A shell must not wait for the answer before it begins the next effect.
    Probe {
        /// The number the answer must carry, and the session.
        probe: ProbeId,
        /// After how long it counts as not answered.
        within: Duration,
    },
    /// Tell the listeners.
    Notify(Notice),
}

/// Why the core wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum WakeReason {
    /// The session is to be renewed.
    Renewal,
    /// The session ends unless renewed.
    LeaseDeadline,
    /// Acknowledgements have been collected.
    Acknowledge,
    /// A request to the store is to be repeated.
    Retry,
    /// Claiming goes on.
    Claim,
    /// The start takes too long.
    StartDeadline,
    /// The leader may be gone, or it is time to stand.
    Election,
    /// Another process is to be asked whether it runs.
    Probe,
    /// A watch is to be set up again.
    WatchRetry,
    /// The store is to be compared with what is known.
    Reconcile,
    /// A stabilisation window ends.
    Window,
    /// A cooldown ends.
    Cooldown,
    /// A worker may be lost.
    Emergency,
    /// A handoff takes too long.
    Handoff,
    /// The partition source is to be listed again.
    Refresh,
    /// The stop takes too long.
    StopDeadline,
}

/// When to call [`Core::handle_timeout`](crate::Core::handle_timeout) next, and why.
///
/// Closed: a deadline and its reason, nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wake {
    /// When.
    pub at: Instant,
    /// Why.
    pub why: WakeReason,
}

impl Wake {
    /// A wake-up.
    #[must_use]
    pub const fn new(at: Instant, why: WakeReason) -> Self {
        Self { at, why }
    }

    /// The earlier of two optional wake-ups.
    #[must_use]
    pub fn earlier(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (one, other) => one.or(other),
        }
    }
}
