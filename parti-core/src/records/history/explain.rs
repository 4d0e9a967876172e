//! Why a partition is where it is: the ring and the records, folded for one partition.

use alloc::string::String;
use alloc::vec::Vec;

use super::History;
use crate::model::id::{Epoch, Term, Token, Version, WorkerId};
use crate::model::partition::PartitionKey;
use crate::model::state::Cause;
use crate::ports::strategy::ParkReason;
use crate::records::record::{AuditEntry, ParkedGroup, Revoking, SessionStatus};

/// Why a partition is where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The partition.
    pub partition: PartitionKey,
    /// Whose it is now; `None`: nobody's, or it is on its way.
    pub owner: Option<Owner>,
    /// Why nobody's, if it is parked.
    pub parked: Option<Parking>,
    /// Who still has to let go of it.
    pub leaving: Vec<Leaving>,
    /// How it changed hands as far as the ring reaches back, oldest first.
    pub moves: Vec<Move>,
    /// Where the chain of moves may be incomplete; empty if it is whole back to the first grant.
    pub gaps: Vec<Gap>,
}

/// Whose a partition is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Owner {
    /// The worker.
    pub worker: WorkerId,
    /// The fencing token, which is the version at which this ownership began.
    pub token: Token,
    /// When it began, in milliseconds since 1970 on the leader's wall clock; `None` when the ring no
    /// longer reaches back to it.
    pub since_ms: Option<u64>,
    /// Whether the session that owns it still lives.
    pub session: OwnerSession,
}

/// Where the session of an owner stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OwnerSession {
    /// It is there, as its status says.
    Present(SessionStatus),
    /// Another session has taken the slot; the partition is granted again to it soon.
    Replaced,
    /// There is no session, or it cannot be read.
    Missing,
}

/// Why a partition is to have no owner.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Parking {
    /// Why.
    pub reason: ParkReason,
    /// What it waits for, in words.
    pub needs: String,
    /// Since when the group has not had that, in milliseconds since 1970 on a leader's wall clock.
    pub since_ms: u64,
}

/// A worker that is told to stop processing a partition and has not said that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leaving {
    /// The worker.
    pub worker: WorkerId,
    /// The generation that took the partition away.
    pub since: Version,
}

/// One change of hands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Move {
    /// Whose it was; `None`: nobody's, as at a cold start.
    pub from: Option<WorkerId>,
    /// Whose it became; `None`: nobody's yet, or it left the list.
    pub to: Option<WorkerId>,
    /// The generation that took it away. `None` when there was no need to: nobody had it, or the
    /// holder's session had ended.
    pub taken: Option<Generation>,
    /// The generation that granted it; `None` when it was taken away only.
    pub granted: Option<Generation>,
    /// The generation whose decision this carries out; `None` when the ring does not show it.
    pub decided: Option<Generation>,
}

/// A generation, as far as it concerns one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Generation {
    /// The generation.
    pub version: Version,
    /// The leadership.
    pub term: Term,
    /// The leader.
    pub leader: WorkerId,
    /// Why.
    pub cause: Cause,
    /// What led to it, in words such as `joined worker-3`.
    pub triggers: Vec<String>,
    /// When, in milliseconds since 1970 on the leader's wall clock.
    pub at_ms: u64,
    /// Partitions the plan moved.
    pub moved: u32,
    /// The least any plan of the same balance could have moved.
    pub lower_bound: u32,
}

/// Where something may be missing from the chain of moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Gap {
    /// The present ownership began at this version, which the ring no longer holds.
    BeyondTheRing {
        /// The version.
        version: Version,
    },
    /// What was before the oldest move is not in the ring.
    BeforeTheFirst {
        /// The version of that move.
        version: Version,
    },
    /// Generations between these two were overwritten.
    Overwritten {
        /// The older one that is there.
        after: Version,
        /// The newer one that is there.
        before: Version,
    },
    /// This generation changed more partitions than its entry names.
    Truncated {
        /// The version.
        version: Version,
    },
}

impl History {
    /// Why a partition is where it is.
    #[must_use]
    pub fn explain(&self, partition: &PartitionKey) -> Explanation {
        let owner = self.owner(partition);
        let moves = self.moves(partition);
        let gaps = self.gaps(partition, owner.as_ref(), &moves);
        Explanation {
            partition: partition.clone(),
            parked: self.parking(partition),
            owner,
            leaving: self.leaving(partition),
            moves,
            gaps,
        }
    }

    /// The newest grant any record shows. Records are read one after the other, so that an old and a
    /// new owner may both appear.
    fn owner(&self, partition: &PartitionKey) -> Option<Owner> {
        let held = self.assignments.iter().filter_map(|(worker, record)| {
            let grant = record.granted.iter().find(|g| g.partition == *partition)?;
            Some((worker, record, grant.token))
        });
        let (worker, record, token) = held.max_by_key(|&(_, _, token)| token)?;
        let mut entries = self.entries.iter();
        let began = entries.find(|entry| entry.version.get() == token.get());
        let session = match self.sessions.get(worker) {
            None => OwnerSession::Missing,
            Some(session) if session.epoch > record.epoch => OwnerSession::Replaced,
            Some(session) => OwnerSession::Present(session.status),
        };
        Some(Owner {
            worker: worker.clone(),
            token,
            since_ms: began.map(|entry| entry.at_ms),
            session,
        })
    }

    pub(crate) fn parking(&self, partition: &PartitionKey) -> Option<Parking> {
        let names = |group: &&ParkedGroup| group.partitions.contains(partition);
        // A record has room for so many names; which those are changes with the list.
        let is_cut = |group: &ParkedGroup| group.count as usize > group.partitions.len();
        let mut group = self.parked.iter().find(names);
        if group.is_none() && self.parked.iter().any(is_cut) {
            group = self.last_parked(partition);
        }
        let group = group?;
        Some(Parking::of(group))
    }

    /// The last generation that says of the partition who got it, if it says that nobody did.
    fn last_parked(&self, partition: &PartitionKey) -> Option<&ParkedGroup> {
        let told = self.entries.iter().rev().find_map(|entry| {
            let mut parked = entry.parked.iter();
            let parked = parked.find(|group| group.partitions.contains(partition));
            let (_, gained) = changes(entry, partition);
            (parked.is_some() || gained.is_some()).then_some(parked)
        });
        told.flatten()
    }

    fn leaving(&self, partition: &PartitionKey) -> Vec<Leaving> {
        let leaving = self.assignments.iter().flat_map(|(worker, record)| {
            let revoking = record.revoking.iter();
            let ours = revoking.filter(|revoking| {
                revoking.partition == *partition && !self.has_let_go(worker, record.epoch, revoking)
            });
            ours.map(|revoking| Leaving {
                worker: worker.clone(),
                since: revoking.since,
            })
        });
        leaving.collect()
    }

    /// Whether the session a record is for says that it has let go, or has ended. The record itself
    /// is not written again for it.
    pub(crate) fn has_let_go(&self, worker: &WorkerId, epoch: Epoch, revoking: &Revoking) -> bool {
        let Some(session) = self.sessions.get(worker) else {
            return false;
        };
        let released =
            session.applied >= revoking.since && !session.draining.contains(&revoking.partition);
        session.epoch > epoch || !session.status.is_living() || released
    }

    fn moves(&self, partition: &PartitionKey) -> Vec<Move> {
        let mut moves: Vec<Move> = Vec::new();
        for (index, entry) in self.entries.iter().enumerate() {
            let (lost, gained) = changes(entry, partition);
            let generation = Generation::of(entry);
            if let Some(from) = lost {
                moves.push(Move {
                    from: Some(from.clone()),
                    to: None,
                    taken: Some(generation.clone()),
                    granted: None,
                    decided: self.decision(index),
                });
            }
            let Some((to, from)) = gained else {
                continue;
            };
            // A handoff ends where it was waiting for this grant.
            let waiting = moves.last_mut().filter(|last| last.granted.is_none());
            if let Some(waiting) = waiting {
                waiting.to = Some(to.clone());
                waiting.granted = Some(generation);
                if entry.cause != Cause::Resume {
                    waiting.decided = self.decision(index);
                }
            } else {
                moves.push(Move {
                    from: from.cloned(),
                    to: Some(to.clone()),
                    taken: None,
                    granted: Some(generation),
                    decided: self.decision(index),
                });
            }
        }
        moves
    }

    /// The generation that decided what the one at `index` carries out: a resumption goes on with
    /// what was decided before it.
    fn decision(&self, index: usize) -> Option<Generation> {
        let mut later = self.entries.get(index)?;
        if later.cause != Cause::Resume {
            return Some(Generation::of(later));
        }
        for entry in self.entries[..index].iter().rev() {
            if !self.is_seamless(entry, later) {
                return None;
            }
            if entry.cause != Cause::Resume {
                return Some(Generation::of(entry));
            }
            later = entry;
        }
        None
    }

    fn gaps(&self, partition: &PartitionKey, owner: Option<&Owner>, moves: &[Move]) -> Vec<Gap> {
        let mut gaps = Vec::new();
        let first = moves.first().and_then(|first| first.first_version());
        match (first, moves.first()) {
            (Some(version), Some(first)) if first.from.is_some() => {
                gaps.push(Gap::BeforeTheFirst { version });
            }
            (_, _) => {}
        }
        // Whatever followed the grant that is in force did not touch this partition.
        let last = moves.iter().filter_map(|m| m.granted.as_ref()).next_back();
        let proven = last.filter(|grant| {
            let token = owner.map(|owner| owner.token.get());
            token == Some(grant.version.get())
        });
        let matters = |version: Version| {
            first.is_none_or(|first| version > first)
                && proven.is_none_or(|grant| version <= grant.version)
        };
        for pair in self.entries.windows(2) {
            let [older, newer] = pair else { continue };
            if matters(newer.version) && !self.is_seamless(older, newer) {
                let (after, before) = (older.version, newer.version);
                gaps.push(Gap::Overwritten { after, before });
            }
        }
        for entry in self.entries.iter().filter(|entry| entry.truncated) {
            let named = changes(entry, partition);
            if matters(entry.version) && matches!(named, (None, None)) {
                let version = entry.version;
                gaps.push(Gap::Truncated { version });
            }
        }
        if let Some(owner) = owner
            && owner.since_ms.is_none()
        {
            let version = Version::new(owner.token.get());
            gaps.push(Gap::BeyondTheRing { version });
        }
        gaps
    }
}

impl Move {
    fn first_version(&self) -> Option<Version> {
        let begun = self.taken.as_ref().or(self.granted.as_ref());
        begun.map(|generation| generation.version)
    }
}

impl Parking {
    pub(crate) fn of(group: &ParkedGroup) -> Self {
        Self {
            reason: group.reason,
            needs: group.needs.clone(),
            since_ms: group.since_ms,
        }
    }
}

impl Generation {
    fn of(entry: &AuditEntry) -> Self {
        Self {
            version: entry.version,
            term: entry.term,
            leader: entry.leader.clone(),
            cause: entry.cause,
            triggers: entry.triggers.clone(),
            at_ms: entry.at_ms,
            moved: entry.moved,
            lower_bound: entry.lower_bound,
        }
    }
}

type Gained<'a> = (&'a WorkerId, Option<&'a WorkerId>);

/// Who lost the partition in a generation, and who gained it from whom.
fn changes<'a>(
    entry: &'a AuditEntry,
    partition: &PartitionKey,
) -> (Option<&'a WorkerId>, Option<Gained<'a>>) {
    let lost = entry.changes.iter().find(|c| c.lost.contains(partition));
    let gained = entry.changes.iter().find_map(|change| {
        let (_, from) = change.gained.iter().find(|(key, _)| key == partition)?;
        Some((&change.worker, from.as_ref()))
    });
    (lost.map(|change| &change.worker), gained)
}
