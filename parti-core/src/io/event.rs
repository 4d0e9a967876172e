//! What can happen to the core: one closed enum, plain data. A log of `(now, event)` is a replay.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::io::grant::Grant;
use crate::model::id::Nonce;
use crate::model::partition::Partition;
use crate::model::preparation::Preparation;
use crate::ports::liveness::{ProbeAnswer, ProbeId};
use crate::ports::source::SourceError;
use crate::ports::store::{StoreError, StoreReply, WatchEvent};
use crate::ports::strategy::{Plan, PlanError};

use core::time::Duration;

/// The part of the core that asked; a late answer to a part that is gone finds nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum OpOwner {
    /// Taking an ID.
    Claim,
    /// Keeping the session: renewal, acknowledgement, release.
    Session,
    /// Standing for leadership.
    Candidate,
    /// Looking at the store to repair what the watch may have missed.
    Reconcile,
    /// Passing an operator's request to the leader.
    Request,
    /// Leading: listing, planning, committing.
    Leader,
}

impl OpOwner {
    /// The owner as one lower-case word, for logs and labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Session => "session",
            Self::Candidate => "candidate",
            Self::Reconcile => "reconcile",
            Self::Request => "request",
            Self::Leader => "leader",
        }
    }
}

/// The number of a request to the outside; its answer carries the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId {
    pub(crate) owner: OpOwner,
    pub(crate) seq: u64,
}

impl OpId {
    /// Who asked.
    #[must_use]
    pub const fn owner(self) -> OpOwner {
        self.owner
    }
}

impl fmt::Display for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}#{}", self.owner, self.seq)
    }
}

/// The number of a watch; events of an ended watch are ignored by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(pub(crate) u64);

impl fmt::Display for WatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "watch#{}", self.0)
    }
}

/// The caller's number of a request such as a manual trigger; the notice of its end carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// How to leave.
///
/// Closed: it is chosen by users and read by the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopMode {
    /// The leader takes the partitions away by the normal path first; bounded by `shutdown_timeout`.
    Handoff,
    /// Everything is revoked at once and the slot is held for a replacement: if one claims it in
    /// time, nothing moves.
    Restart {
        /// How long the leader keeps the slot; at most [`max_hold`](crate::Config::max_hold). A
        /// rebalance that somebody asks for ends it.
        hold: Duration,
    },
    /// Everything is revoked at once and the leader may give it away at once.
    Now,
}

/// Something happened.
///
/// Closed: a shell has to know what it can tell.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Begin: claim an ID and take part. Ignored when begun already.
    Start,
    /// The answer to [`Effect::Store`](crate::Effect::Store); exactly one per request.
    Store {
        /// The request's number.
        op: OpId,
        /// The answer.
        result: Result<StoreReply, StoreError>,
    },
    /// A watch said something; a watch that could not be set up says `Lost`.
    Watch {
        /// The watch's number.
        id: WatchId,
        /// What it said.
        event: WatchEvent,
    },
    /// The answer to [`Effect::ListPartitions`](crate::Effect::ListPartitions).
    Partitions {
        /// The request's number.
        op: OpId,
        /// The list, or why there is none. An error never shrinks the list in use.
        result: Result<Vec<Partition>, SourceError>,
    },
    /// The answer to [`Effect::Plan`](crate::Effect::Plan).
    Planned {
        /// The request's number.
        op: OpId,
        /// The plan.
        result: Result<Plan, PlanError>,
    },
    /// The processing of these partitions has ended for good, as asked by
    /// [`Effect::Revoke`](crate::Effect::Revoke). May come in parts and in any order.
    Released {
        /// What was released, as it was assigned.
        grants: Vec<Grant>,
    },
    /// Whether what was assigned could be begun, in the end: told when its processing has failed so
    /// often that somebody else should try, and when it has begun after all.
    Processing {
        /// What was assigned.
        grant: Grant,
        /// Why it cannot be begun here, in words; `None`: it has begun after all.
        failing: Option<String>,
    },
    /// A preparation has ended, as asked by [`Effect::Prepare`](crate::Effect::Prepare).
    Prepared {
        /// Which.
        preparation: Preparation,
        /// Why the partition cannot be taken, in words; `None`: it is ready, or it took too long.
        failing: Option<String>,
    },
    /// Since [`Effect::Answer`](crate::Effect::Answer), questions for this session are answered.
    Answering {
        /// The session.
        session: Nonce,
    },
    /// The answer to [`Effect::Probe`](crate::Effect::Probe); exactly one per question.
    Probed {
        /// The question's number.
        probe: ProbeId,
        /// The answer.
        answer: ProbeAnswer,
    },
    /// The partition source announces a change.
    SourceChanged,
    /// List the partitions again, here or wherever the leader is.
    Refresh {
        /// The caller's number.
        request: RequestId,
    },
    /// Rebalance now, without window or cooldown, here or wherever the leader is.
    Trigger {
        /// The caller's number.
        request: RequestId,
    },
    /// Time has passed that the monotonic clock did not show: the machine was suspended. What was sent
    /// before proves nothing any more.
    ClockJumped {
        /// How much: the lease ends that much earlier. `None` when nobody knows: it counts as lost.
        by: Option<Duration>,
    },
    /// Leave. Terminal: ends in [`Notice::Stopped`](crate::Notice::Stopped).
    Stop {
        /// How.
        mode: StopMode,
    },
}
