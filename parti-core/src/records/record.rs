//! The records of the bucket as values of the domain; their bytes are the business of
//! [`wire`](crate::records::wire).
//!
//! Records are closed: a writer fills in every field, and a new one is a decision about the format.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::config::Mode;
use crate::model::endpoint::Endpoint;
use crate::model::id::{Epoch, Formats, Nonce, Revision, Term, Token, Version, WorkerId, WriteId};
use crate::model::partition::{Partition, PartitionKey};
use crate::model::preparation::Preparation;
use crate::model::state::Cause;
use crate::ports::strategy::{ParkReason, StrategyId};
use crate::records::agreement::{Agreed, GroupSettings};
use crate::records::carried::Carried;
use crate::records::problem::Bulletin;

mod control;
mod verb;

pub use control::{Control, Pin};
pub use verb::Verb;

/// Any record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Of the key `head`.
    Head(Head),
    /// Of a key `w.<id>`.
    Session(SessionRecord),
    /// Of a key `a.<id>`.
    Assignment(AssignmentRecord),
    /// Of a key `a.<id>` when the assignment is stored in pieces.
    Manifest(Manifest),
    /// Of a key `a.<id>.<n>`.
    Piece(AssignmentPiece),
    /// Of a key `h.<slot>`.
    Audit(AuditEntry),
    /// Of a key `ctl.<verb>.<id>`.
    Control(Control),
    /// Of the key `src` or a key `src.<n>`.
    Source(SourcePart),
    /// Of the key `parked`.
    Parked(ParkedRecord),
    /// Of the key `suspicion`.
    Suspicion(Suspicion),
}

/// That a worker suspects the leader. It decides nothing by itself: another worker that suspects the
/// same leader need not wait for a renewal to be missed before it stands. Each one replaces the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspicion {
    /// The write; its nonce names the session that suspects.
    pub write: WriteId,
    /// The leadership that is meant.
    pub term: Term,
}

/// A piece of the stored partition list: the whole list as a rule, or as much as fits one value.
///
/// The core itself never reads it: the list comes from the partition source, which may be one that
/// keeps it here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcePart {
    /// The change that wrote it. All pieces of one list have the same.
    pub change: Nonce,
    /// Some changes before it, newest first, so that a writer recognises a change of its own under
    /// later ones. Only in the first piece.
    pub earlier: Vec<Nonce>,
    /// The number of the piece, from 0.
    pub index: u32,
    /// How many pieces the list has, at least 1.
    pub parts: u32,
    /// The partitions of this piece.
    pub partitions: Vec<Partition>,
}

/// A leader by name: its worker ID and which incarnation of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderName {
    /// The worker.
    pub worker: WorkerId,
    /// The incarnation.
    pub epoch: Epoch,
}

/// Who leads, and which generation is in force. Every write of it expects the previous revision, so
/// that take-overs, resignations and generations form one chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The write.
    pub write: WriteId,
    /// The number of the leadership.
    pub term: Term,
    /// The leader, or none after a resignation.
    pub leader: Option<LeaderName>,
    /// The version of this write; also the token of everything first granted in it.
    pub version: Version,
    /// The format in which the group writes its records: the newest that all living sessions read.
    pub format: u16,
    /// The lease of its writer: a release that cannot read it stands no sooner than that.
    pub lease: Duration,
    /// Why it was written.
    pub cause: Cause,
    /// The version of the last plan: a rebalance, as opposed to a handoff going on or a take-over.
    pub planned: Version,
    /// The strategy of the last plan.
    pub strategy: StrategyId,
    /// Workers in the last plan.
    pub workers: u32,
    /// Partitions in the last plan.
    pub partitions: u32,
    /// Digest of the partition list of the last plan.
    pub digest: u128,
    /// Digest of the weights of the last plan.
    pub weights_digest: u128,
    /// Partitions that still wait for their holder's acknowledgement.
    pub unfinished: u32,
    /// How many grants the assignment records have in all since this generation. Where fewer are to be
    /// read, a record was destroyed.
    pub granted: u32,
    /// What every worker is to obey.
    pub agreed: Agreed,
    /// What outlasts the term.
    pub carried: Carried,
    /// Partitions of the last plan that nobody may own.
    pub parked: Parked,
}

/// How many partitions are parked, for everybody who reads `head`; which and why is in the record of
/// the key `parked`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Parked {
    /// How many.
    pub count: u32,
    /// Since when the first of them has been, in milliseconds since 1970 on the wall clock of the
    /// leader that parked it; 0 when there is none.
    pub since_ms: u64,
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionStatus {
    /// Takes part.
    Active,
    /// Leaving: its partitions are to be taken away by the normal path.
    Draining,
    /// Ended by its own worker, which holds nothing any more.
    Released {
        /// How long the leader is asked to keep the slot; zero: not at all.
        hold: Duration,
    },
    /// Ended by a leader.
    Evicted {
        /// Whether the session had been silent for a full lease, so that its validity is over. If
        /// not, it may hold partitions for one lease more.
        silent: bool,
    },
    /// Ended by a leader because its process did not answer, before its lease was over, in mode
    /// [`Mode::Fenced`]. What it held was given to others at once. It may act for one lease more: where
    /// another mode is asked for, it counts as evicted alive.
    Suspected,
}

impl SessionStatus {
    /// Whether the session takes part or is leaving in an orderly way.
    #[must_use]
    pub const fn is_living(self) -> bool {
        matches!(self, Self::Active | Self::Draining)
    }
}

/// A worker's session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// The write; its nonce names the session, its number counts the renewals.
    pub write: WriteId,
    /// The revision of the write that created the session; zero in that write itself.
    pub epoch: Epoch,
    /// Where it stands.
    pub status: SessionStatus,
    /// The version of the assignment record it has taken in.
    pub applied: Version,
    /// The highest version its process has seen, in this history of the bucket or one before.
    pub known: Version,
    /// The formats of records its process reads.
    pub reads: Formats,
    /// For how long there has been this session, as of the write.
    pub age: Duration,
    /// Partitions revoked at `applied` or before whose processing has not ended yet.
    pub draining: Vec<PartitionKey>,
    /// How much it takes relative to the others.
    pub capacity: u32,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its heartbeat interval.
    pub heartbeat_interval: Duration,
    /// Its lease.
    pub lease: Duration,
    /// Name and version of its software.
    pub software: String,
    /// Where it can be reached, if it says so.
    pub endpoint: Option<Endpoint>,
    /// What it is configured with, as far as others have to agree.
    pub settings: GroupSettings,
    /// The mode that its guards obey: unless it is [`Mode::Overlap`], they end with the lease. A
    /// worker obeys a stricter mode before it says so, and a looser one after that was applied.
    pub honours: Mode,
    /// Partitions that its process cannot begin to process, or could not of late.
    pub rejections: Vec<Rejection>,
    /// What its process does for others.
    pub readiness: Readiness,
    /// What it tells everybody as the leader.
    pub bulletin: Option<Bulletin>,
    /// Earlier sessions of its slot that had not been proven to have ended when it was claimed.
    /// Dropped one by one as they are: by its own process, which counts their leases too.
    pub predecessors: Vec<Predecessor>,
}

/// An earlier session of a slot that may still hold partitions although the slot has been taken.
///
/// It renews no more, since its key was written over at its last revision. What is left of it is
/// at most one lease, which every leader counts on its own clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Predecessor {
    /// Which session.
    pub epoch: Epoch,
    /// Its last write, which the claim of the successor expected.
    pub revision: Revision,
    /// Its lease.
    pub lease: Duration,
    /// The version of the assignment record it said it had taken in.
    pub applied: Version,
    /// What it may still hold.
    pub remains: Remains,
}

/// What an earlier session of a slot may still hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remains {
    /// Everything its record grants: nobody knows whether its process lives.
    Everything,
    /// It was of the same process, which has revoked everything: only what the session that names
    /// it lists as draining.
    Draining,
}

impl SessionRecord {
    /// Which session this is.
    #[must_use]
    pub const fn nonce(&self) -> Nonce {
        self.write.nonce
    }
}

/// A partition that a worker cannot prepare for, or cannot begin to process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The partition.
    pub partition: PartitionKey,
    /// What it failed with.
    pub at: RejectedAt,
    /// Why, in words.
    pub reason: String,
}

/// What a worker was doing when it found out that it cannot take a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RejectedAt {
    /// Getting ready. It is planned around where others may have the partition; it is no reason to leave
    /// a partition without an owner.
    Preparation,
    /// Beginning, as the owner.
    Processing,
}

/// What a worker's process does for others: it answers probes, and gets ready for partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Whether its process answers when it is asked whether it runs.
    pub answers: bool,
    /// Whether its handler prepares for partitions before it is given them.
    pub prepares: bool,
    /// Preparations of its record that have ended.
    pub prepared: Vec<Prepared>,
}

/// A preparation that has ended, by the word of the worker that was told to prepare. It counts for
/// that session and for that very preparation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// Which preparation.
    pub preparation: Preparation,
    /// Whether the handler said that it cannot take the partition: then it stays where it is. One that
    /// took too long has not failed.
    pub failed: bool,
}

/// A partition granted to a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordGrant {
    /// The partition.
    pub partition: PartitionKey,
    /// The version at which this ownership began.
    pub token: Token,
    /// The departed worker it was displaced from, if any.
    pub anchor: Option<WorkerId>,
}

/// A partition being taken away from a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoking {
    /// The partition.
    pub partition: PartitionKey,
    /// The version that took it away: once the worker has applied it and does not list the
    /// partition as draining, it is free.
    pub since: Version,
    /// Why nobody gets it, if nobody does: a worker that leaves must be able to say what it leaves behind.
    pub parked: Option<ParkReason>,
}

/// What a worker owns: self-contained, so that a new leader can go on from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssignmentRecord {
    /// The write.
    pub write: WriteId,
    /// The generation in which it was written.
    pub version: Version,
    /// The incarnation of the worker it is for.
    pub epoch: Epoch,
    /// The same by its nonce: when a store was rolled back, another session may have the same epoch.
    pub session: Nonce,
    /// What it may process.
    pub granted: Vec<RecordGrant>,
    /// What it must stop processing.
    pub revoking: Vec<Revoking>,
    /// What it is to get ready for. It holds none of it.
    pub preparing: Vec<Preparation>,
}

impl AssignmentRecord {
    /// What it takes away that its worker may still be working on: what its session has not taken in, or
    /// names as draining. Without a session nothing is known of it, and all of it may.
    pub(crate) fn still_held<'a>(
        &'a self,
        said: Option<&'a SessionRecord>,
    ) -> impl Iterator<Item = &'a Revoking> {
        // A set, since thousands may drain at once and a leader asks for each, at every acknowledgement.
        let said = said.filter(|_| !self.revoking.is_empty());
        let said = said.map(|said| (said.applied, said.draining.iter().collect::<BTreeSet<_>>()));
        self.revoking.iter().filter(move |revoking| {
            said.as_ref().is_none_or(|(applied, draining)| {
                *applied < revoking.since || draining.contains(&revoking.partition)
            })
        })
    }
}

/// What stands in place of an assignment that does not fit into one value: which pieces it consists
/// of. It counts only together with all of them, see [`Assembly`](crate::Assembly).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The write.
    pub write: WriteId,
    /// The generation in which it was written.
    pub version: Version,
    /// The incarnation of the worker it is for.
    pub epoch: Epoch,
    /// The same by its nonce.
    pub session: Nonce,
    /// The pieces, by number in rising order.
    pub pieces: Vec<PieceStamp>,
}

/// One piece as its manifest names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceStamp {
    /// Its number, from 1; numbers may be missing.
    pub number: u32,
    /// The digest of what it says, [`AssignmentPiece::digest`].
    pub digest: u128,
    /// How many partitions it grants, for people.
    pub granted: u32,
}

/// A part of a worker's assignment. It says nothing by itself: a manifest names it by its digest, and
/// one that did not change stands in several generations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssignmentPiece {
    /// The write.
    pub write: WriteId,
    /// What its worker may process.
    pub granted: Vec<RecordGrant>,
    /// What its worker must stop processing.
    pub revoking: Vec<Revoking>,
    /// As in [`AssignmentRecord::preparing`].
    pub preparing: Vec<Preparation>,
}

/// What partitions without an owner wait for, and since when: written in the commit of the plan that
/// did not place them, so that a later leader knows them and counts on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedRecord {
    /// The write.
    pub write: WriteId,
    /// The generation in which it was written.
    pub version: Version,
    /// By what they wait for, each need once.
    pub groups: Vec<ParkedGroup>,
}

impl ParkedRecord {
    /// The groups, as a number for everybody who reads `head`.
    #[must_use]
    pub fn sum(groups: &[ParkedGroup]) -> Parked {
        let parked = groups.iter().filter(|group| group.count > 0);
        Parked {
            count: parked.clone().map(|group| group.count).sum(),
            since_ms: parked.map(|group| group.since_ms).min().unwrap_or(0),
        }
    }
}

/// Partitions that wait for the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedGroup {
    /// Why they have no owner.
    pub reason: ParkReason,
    /// The number of what they wait for, from the strategy.
    pub need: u64,
    /// What they wait for, in words.
    pub needs: String,
    /// Since when, in milliseconds since 1970 on the wall clock of the leader that noticed it first.
    pub since_ms: u64,
    /// How long after that the strategy is to be asked again although nothing happened.
    pub again_after: Option<Duration>,
    /// How many partitions have no owner for it. May be 0: then they were placed elsewhere after a
    /// grace, and only the count of the waiting goes on.
    pub count: u32,
    /// Some of them, as many as a record has room for.
    pub partitions: Vec<PartitionKey>,
}

/// How a generation changed one worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerChange {
    /// The worker.
    pub worker: WorkerId,
    /// Partitions granted, with the previous holder if there was one.
    pub gained: Vec<(PartitionKey, Option<WorkerId>)>,
    /// Partitions taken away.
    pub lost: Vec<PartitionKey>,
}

/// One entry of the audit ring: what a generation did and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// The write.
    pub write: WriteId,
    /// The generation.
    pub version: Version,
    /// The leadership.
    pub term: Term,
    /// The leader.
    pub leader: WorkerId,
    /// Why.
    pub cause: Cause,
    /// What led to it: workers and requests, in words such as `joined worker-3`.
    pub triggers: Vec<String>,
    /// Wall-clock time of the decision at the leader, in milliseconds since 1970.
    pub at_ms: u64,
    /// Partitions the plan moved.
    pub moved: u32,
    /// The least any plan of the same balance could have moved.
    pub lower_bound: u32,
    /// Per worker, gains and losses; cut off when `truncated`.
    pub changes: Vec<WorkerChange>,
    /// What had an owner or was new and has none from this plan on, by why; cut off likewise.
    pub parked: Vec<ParkedGroup>,
    /// Whether there were more changes than an entry can hold.
    pub truncated: bool,
}
