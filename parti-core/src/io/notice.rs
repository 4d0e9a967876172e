//! What the core tells its listeners. Notices inform; nothing depends on their being read.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::config::{Mode, OnBucketLost};
use crate::io::event::{OpOwner, RequestId};
use crate::model::id::{Epoch, Nonce, Revision, Term, Version, WorkerId};
use crate::model::partition::PartitionKey;
use crate::model::state::{Cause, State};
use crate::ports::store::{StoreError, StoreFault};
use crate::ports::strategy::{ParkReason, PlanError, Report, StrategyId};
use crate::records::agreement::Disagreement;
use crate::resilience::breaker::{Circuit, CircuitState};

mod leadership;
mod step;
mod transfer;

pub use leadership::StepDownReason;
pub use step::FailedStep;
pub use transfer::{OwnerEnd, Transfer};

/// Why a worker could not start. Nothing is held and no session is left behind, except where a write
/// with an unknown outcome may still appear; it ends by itself after one lease.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartError {
    /// Every ID of the pool is held by a living session.
    StableIdExhausted {
        /// First ID of the pool.
        first: WorkerId,
        /// Last ID of the pool.
        last: WorkerId,
        /// Some of the holders.
        holders: Vec<WorkerId>,
    },
    /// The store did not answer usefully within `startup_timeout`.
    StoreUnavailable {
        /// How long was tried.
        after: Duration,
        /// The last error, if there was one.
        last: Option<StoreError>,
    },
    /// The store refuses for good: permissions, settings, size.
    Rejected(StoreError),
    /// A living worker of the group is configured so that both together would break a promise.
    Disagrees(Disagreement),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StableIdExhausted {
                first,
                last,
                holders,
            } => {
                write!(
                    f,
                    "no free worker ID from {first} to {last}: every one has a living session \
                     (such as {holders:?}); widen worker_id_range or stop a worker"
                )
            }
            Self::StoreUnavailable {
                after,
                last: Some(error),
            } => {
                write!(
                    f,
                    "the store did not answer usefully within {after:?}: {error}"
                )
            }
            Self::StoreUnavailable { after, last: None } => {
                write!(f, "the store did not answer within {after:?}")
            }
            Self::Rejected(error) => write!(f, "the store refuses this worker: {error}"),
            Self::Disagrees(found) => {
                write!(f, "this worker must not join the group: {found}")
            }
        }
    }
}

impl core::error::Error for StartError {}

/// How the history of the bucket was lost, as far as this worker can prove it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HistoryLoss {
    /// The bucket is another one of the same name: it was created at another time, in nanoseconds of
    /// the store's wall clock.
    Recreated {
        /// When the one known before was.
        before: u64,
        /// When the present one was.
        found: u64,
    },
    /// The last revision is one that was passed before: acknowledged writes are gone.
    RolledBack {
        /// A revision known to have been written.
        before: Revision,
        /// The last one of the store, or the one it gave to a later write.
        found: Revision,
    },
    /// There is no bucket.
    Missing,
    /// A write known to have happened is not there although later ones are.
    Vanished {
        /// Its key.
        key: String,
        /// Its revision.
        revision: Revision,
    },
}

impl fmt::Display for HistoryLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recreated { before, found } => write!(
                f,
                "the bucket was created again: at {found} ns, the one known before at {before} ns"
            ),
            Self::RolledBack { before, found } => write!(
                f,
                "the bucket was rolled back: revision {before} was written, and {found} came after it"
            ),
            Self::Missing => f.write_str("the bucket was deleted"),
            Self::Vanished { key, revision } => {
                write!(f, "revision {revision} of {key} was written and is gone")
            }
        }
    }
}

/// Why a worker is degraded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DegradedReason {
    /// Renewals are not acknowledged.
    WritesFailing,
    /// The watch does not bring back this worker's renewals.
    WatchSilent,
    /// The lease ran out; everything was revoked until the store is back.
    LeaseLost,
    /// The history of the bucket is gone; everything was revoked, and a new session is claimed after
    /// a quarantine of one lease.
    HistoryLost,
}

impl DegradedReason {
    /// The reason as one lower-case word, for logs and labels.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::WritesFailing => "writes_failing",
            Self::WatchSilent => "watch_silent",
            Self::LeaseLost => "lease_lost",
            Self::HistoryLost => "history_lost",
        }
    }
}

impl fmt::Display for DegradedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How urgent a lasting degradation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum AlertLevel {
    /// For half a minute.
    Info,
    /// For two minutes.
    Warn,
    /// For five minutes.
    Error,
    /// For ten minutes.
    Critical,
}

impl AlertLevel {
    /// After how long it is reached.
    #[must_use]
    pub const fn after(self) -> Duration {
        Duration::from_secs(match self {
            Self::Info => 30,
            Self::Warn => 120,
            Self::Error => 300,
            Self::Critical => 600,
        })
    }

    /// The level of something that has lasted so long, if it has reached one.
    #[must_use]
    pub fn of(lasting: Duration) -> Option<Self> {
        let levels = [Self::Critical, Self::Error, Self::Warn, Self::Info];
        levels.into_iter().find(|level| lasting >= level.after())
    }

    /// The level after this one.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self {
            Self::Info => Some(Self::Warn),
            Self::Warn => Some(Self::Error),
            Self::Error => Some(Self::Critical),
            Self::Critical => None,
        }
    }
}

/// Something worth knowing.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Notice {
    /// The public state changed.
    StateChanged {
        /// Before.
        from: State,
        /// Now.
        to: State,
    },
    /// A slot is held for less than was asked for, since the group allows no more.
    HoldCapped {
        /// What the stop asked for.
        asked: Duration,
        /// The group's `max_hold`.
        allowed: Duration,
    },
    /// This process holds an ID now.
    Claimed {
        /// The ID.
        worker: WorkerId,
        /// The incarnation.
        epoch: Epoch,
        /// The session's own name.
        nonce: Nonce,
    },
    /// Another session holds the ID, or a leader evicted this one; a new one is being claimed.
    IdentityLost {
        /// The ID that was lost.
        worker: WorkerId,
        /// The incarnation that ended.
        epoch: Epoch,
    },
    /// The bucket was deleted, created again, wiped or rolled back. Everything was revoked as with a lost
    /// identity. What follows is what the configuration says: a quarantine of one lease and a new
    /// session, or the end.
    HistoryLost {
        /// What proves it.
        loss: HistoryLoss,
        /// What follows.
        then: OnBucketLost,
        /// The highest version known: later ones, and tokens with them, are larger.
        known: Version,
    },
    /// The local deadline passed without a renewal; everything is being revoked.
    LeaseLost {
        /// The ID.
        worker: WorkerId,
    },
    /// Another worker, or none, is the leader according to `head`.
    LeaderChanged {
        /// The leader.
        leader: Option<WorkerId>,
        /// The term.
        term: Term,
    },
    /// This worker leads.
    LeadershipGained {
        /// Its term.
        term: Term,
    },
    /// This leader plans with another strategy than the last plan was made with: the next rebalance may
    /// move more than the change that causes it. Two strategies in one group move partitions to and
    /// fro with every change of the leader.
    StrategyChanged {
        /// The strategy of the last plan.
        from: StrategyId,
        /// Its own one.
        to: StrategyId,
    },
    /// Another worker of the group is configured otherwise. Told once for each setting by the worker
    /// that joins, and for each worker and setting by the leader.
    SettingsDiffer(Disagreement),
    /// The mode that holds in the group is another one.
    ModeChanged {
        /// Before.
        from: Mode,
        /// Now.
        to: Mode,
    },
    /// This worker leads no more.
    LeadershipLost {
        /// The term that ended.
        term: Term,
        /// Why.
        reason: StepDownReason,
    },
    /// This worker's assignment changed: how many partitions it gained, lost and has in total.
    AssignmentChanged {
        /// The version of the record that was taken in.
        version: Version,
        /// Newly assigned.
        added: usize,
        /// Taken away.
        removed: usize,
        /// Assigned now.
        total: usize,
    },
    /// This leader committed a generation.
    Committed {
        /// Its version.
        version: Version,
        /// Its term.
        term: Term,
        /// Why.
        cause: Cause,
        /// Partitions newly granted in it.
        granted: usize,
        /// Partitions being taken away in it.
        revoked: usize,
        /// Workers evicted in it.
        evicted: Vec<WorkerId>,
        /// Partitions that still wait for their holder's acknowledgement.
        unfinished: usize,
        /// Of the granted: those that had another owner before and had to wait for its end, by
        /// former owner. In overlap mode only what lost workers had.
        transfers: Vec<Transfer>,
    },
    /// This leader has a new plan; the certificate says how good it is.
    Planned {
        /// Why.
        cause: Cause,
        /// The certificate.
        report: Report,
    },
    /// The plan made last leaves everything as it is: nothing is written for it.
    PlanUnchanged {
        /// Why it was made.
        cause: Cause,
    },
    /// Partitions have no owner from this leader's last plan on, because nobody may own them.
    /// Everything else is assigned as ever.
    Parked {
        /// Why.
        reason: ParkReason,
        /// What they wait for, in words.
        needs: String,
        /// How many.
        count: u32,
        /// Some of them.
        partitions: Vec<PartitionKey>,
    },
    /// Partitions that were parked are so no more: they have an owner, or will as soon as the one
    /// before has ended, or they are not in the list any more.
    Unparked {
        /// How many.
        count: u32,
        /// Some of them.
        partitions: Vec<PartitionKey>,
    },
    /// A plan was refused or could not be computed.
    PlanFailed {
        /// The reason.
        error: PlanError,
    },
    /// A step of the leader, of a candidate or of the session failed and will be tried again.
    StepFailed {
        /// Which step.
        step: FailedStep,
        /// How often in a row.
        failures: u32,
        /// The reason in words.
        reason: String,
    },
    /// A record was removed without a tombstone: by somebody with an operator's tools, or by a limit of
    /// the store. It is written again; see the store's settings.
    RecordVanished {
        /// Its key.
        key: String,
    },
    /// What the store says of itself breaks what a group rests on, or does so no more.
    StoreUnfit {
        /// Each setting; empty when all is well again.
        faults: Vec<StoreFault>,
    },
    /// A circuit changed. While that of the store is not closed, only renewals are tried.
    CircuitChanged {
        /// Which.
        circuit: Circuit,
        /// Before.
        from: CircuitState,
        /// Now.
        to: CircuitState,
    },
    /// A request to the store failed and is tried again.
    Retry {
        /// Who asked.
        owner: OpOwner,
        /// How many tries have failed in a row.
        tries: u32,
        /// After how long it is tried again.
        pause: Duration,
    },
    /// A step failed as often as it may be tried.
    RetriesExhausted {
        /// Whose step.
        owner: OpOwner,
        /// How many tries there were.
        tries: u32,
    },
    /// The partition source gave no list to a new leader, which begins with what the records name: it
    /// places what is left without an owner, and moves and removes nothing else unless the records are
    /// known to name everything.
    ListInherited {
        /// How many partitions they name.
        partitions: usize,
        /// How many of the last plan they do not name.
        missing: usize,
    },
    /// The eviction of a worker was refused: it renewed in the last moment.
    EvictionCancelled {
        /// The worker.
        worker: WorkerId,
    },
    /// This leader is out of contact again and again and judges nobody. It stays, for those before it
    /// could not do their work either: nobody would be the better for another one.
    UnsteadyContact {
        /// For how long.
        lasting: Duration,
        /// How many terms in a row were given up before this one.
        futile: u32,
    },
    /// A worker was overdue and renewed before it counted as lost.
    SuspicionCancelled {
        /// The worker.
        worker: WorkerId,
    },
    /// The store is out of reach, or the lease was lost.
    Degraded {
        /// Why.
        reason: DegradedReason,
    },
    /// It is still degraded.
    DegradedAlert {
        /// How urgent it has become.
        level: AlertLevel,
        /// Why.
        reason: DegradedReason,
        /// For how long.
        lasting: Duration,
    },
    /// Everything is in reach again.
    Recovered,
    /// A record was not understood or not meant for this session; it changed nothing.
    RecordIgnored {
        /// Its key.
        key: String,
        /// Why, in words.
        reason: String,
    },
    /// A watch ended or fell silent and is set up again.
    WatchRenewed {
        /// Why, in words.
        reason: String,
    },
    /// A trigger or refresh is contained in this version.
    RequestDone {
        /// The caller's number.
        request: RequestId,
        /// The version.
        version: Version,
    },
    /// A trigger or refresh could not be carried out.
    RequestFailed {
        /// The caller's number.
        request: RequestId,
        /// Why, in words.
        reason: String,
    },
    /// The start failed; the core is stopped.
    StartFailed(StartError),
    /// This worker handed over on leaving, and nobody took these partitions: they have no owner now.
    LeftUnowned {
        /// The partitions, and why each.
        partitions: BTreeMap<PartitionKey, ParkReason>,
    },
    /// The core has stopped: nothing is held. The steps of the shutdown that failed, in order.
    Stopped {
        /// What went wrong on the way; empty after a clean stop.
        errors: Vec<String>,
    },
}
