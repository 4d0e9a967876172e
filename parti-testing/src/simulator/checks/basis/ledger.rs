//! Who may hold each partition, read off the true history of the store.
//!
//! It is an independent second implementation of the rule the leader decides by, shared by the
//! checker of justified grants and the counters of what a batch has seen.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use crate::simulator::checks::{Process, Written};
use parti_core::{
    AssignmentRecord, Epoch, Instant, Key, Mode, PartitionKey, Record, Remains, SessionRecord,
    SessionStatus, Version, WorkerId,
};

/// One incarnation of a worker.
pub(crate) type Holder = (WorkerId, Epoch);

/// Why a holder may hold a partition no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freed {
    /// It acknowledged the revocation.
    Acknowledged,
    /// A leader ended its session.
    Evicted,
    /// Its own word ended its session.
    Released,
    /// Another session took its ID.
    Replaced,
}

/// What a holder may still do with a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    Granted,
    /// Taken away in this version; free once it is acknowledged. The version is the one of the first
    /// record without the grant, whatever that record says about it.
    Revoked(Version),
}

/// A grant that was not there before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewGrant {
    pub(crate) partition: PartitionKey,
    pub(crate) to: Holder,
    /// Others that may still hold the partition.
    pub(crate) unjustified: Vec<Holder>,
    /// Why the last holder let go, if there was one.
    pub(crate) freed: Option<Freed>,
}

/// The present session of a worker.
#[derive(Clone, Copy, Debug)]
struct PresentSession {
    epoch: Epoch,
    status: SessionStatus,
    /// Who began it.
    begun_by: Process,
    /// When it was last written by itself.
    renewed: Instant,
}

/// The ledger as of the last commit taken in.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    claims: BTreeMap<Holder, BTreeMap<PartitionKey, Claim>>,
    /// Whether some claim of the holder waits for an acknowledgement; renewals are many.
    waiting: BTreeMap<Holder, bool>,
    /// The present session of each worker.
    sessions: BTreeMap<WorkerId, PresentSession>,
    /// Sessions evicted while they may have been valid, and until when they may be.
    lingering: BTreeMap<Holder, Instant>,
    /// Sessions whose own process has taken their ID again, while callbacks of them run.
    draining: BTreeSet<Holder>,
    freed: BTreeMap<PartitionKey, Freed>,
}

impl Ledger {
    /// Takes in a commit. Endings count for grants of the same commit; `lease` is the least time for
    /// which a session that was not silent may remain valid.
    pub(crate) fn take_in(
        &mut self,
        at: Instant,
        lease: Duration,
        by: Process,
        writes: &[Written],
    ) -> Vec<NewGrant> {
        self.end_lingering(at);
        for write in writes {
            match (&write.key, write.record()) {
                (Key::Session(worker), Some(Record::Session(record))) => {
                    self.session(at, lease, by, worker, record, write);
                }
                (Key::Session(worker), _) => {
                    self.sessions.remove(worker);
                }
                _ => {}
            }
        }
        let mut grants = Vec::new();
        for write in writes {
            if let (Key::Assignment(worker), Some(Record::Assignment(record))) =
                (&write.key, write.record())
            {
                self.assignment(worker, record, &mut grants);
            }
        }
        grants
    }

    fn session(
        &mut self,
        at: Instant,
        lease: Duration,
        by: Process,
        worker: &WorkerId,
        record: &SessionRecord,
        write: &Written,
    ) {
        let epoch = match record.epoch {
            Epoch::ZERO => Epoch::from(write.revision),
            epoch => epoch,
        };
        let before = self.sessions.get(worker).copied();
        let evicted = matches!(
            record.status,
            SessionStatus::Evicted { .. } | SessionStatus::Suspected
        );
        let renewed = before
            .filter(|_| evicted)
            .map_or(at, |session| session.renewed);
        let same = before.filter(|before| before.epoch == epoch);
        let session = PresentSession {
            epoch,
            status: record.status,
            begun_by: same.map_or(by, |before| before.begun_by),
            renewed,
        };
        self.sessions.insert(worker.clone(), session);
        if let Some(before) = before.filter(|before| before.epoch != epoch) {
            self.replace(at, lease, by, worker, &before, record);
        }
        self.drain(worker, record);
        let holder = (worker.clone(), epoch);
        match record.status {
            SessionStatus::Active | SessionStatus::Draining => self.acknowledge(&holder, record),
            SessionStatus::Released { .. } => self.end(&holder, Freed::Released),
            // What it still writes is refused, since everything that is written to compares tokens.
            SessionStatus::Evicted { silent: true } | SessionStatus::Suspected => {
                self.end(&holder, Freed::Evicted);
            }
            SessionStatus::Evicted { silent: false } => {
                self.lingering.entry(holder).or_insert(renewed + lease);
                self.end_lingering(at);
            }
        }
    }

    /// A session took the ID of another. A process that takes its own ID again has given up what it
    /// held before, but for the callbacks it names, and for these until the lease is over. Any other
    /// has to let the lease of a session end that was not silent or was cut off while alive, and
    /// names it.
    fn replace(
        &mut self,
        at: Instant,
        lease: Duration,
        by: Process,
        worker: &WorkerId,
        before: &PresentSession,
        record: &SessionRecord,
    ) {
        let holder = (worker.clone(), before.epoch);
        let named = record.predecessors.iter();
        let mut named = named.filter(|named| named.epoch == before.epoch);
        match named.next().map(|named| named.remains) {
            Some(remains) => {
                if remains == Remains::Draining && before.begun_by == by {
                    self.draining.insert(holder.clone());
                }
                self.lingering
                    .entry(holder)
                    .or_insert(before.renewed + lease);
                self.end_lingering(at);
            }
            None if before.begun_by == by
                || !matches!(before.status, SessionStatus::Evicted { silent: false }) =>
            {
                self.end(&holder, Freed::Replaced);
            }
            None => {}
        }
    }

    /// What the process of an earlier session says of its callbacks.
    fn drain(&mut self, worker: &WorkerId, record: &SessionRecord) {
        let earlier = self.draining.iter().filter(|(other, _)| other == worker);
        let earlier: Vec<Holder> = earlier.cloned().collect();
        for holder in earlier {
            let named = record.predecessors.iter();
            let mut named = named.filter(|named| named.epoch == holder.1);
            let draining = |partition: &PartitionKey| record.draining.contains(partition);
            match (named.next(), self.claims.get_mut(&holder)) {
                (Some(_), Some(claims)) => claims.retain(|partition, _| draining(partition)),
                (Some(_), None) => {}
                (None, _) => {
                    self.draining.remove(&holder);
                    self.end(&holder, Freed::Replaced);
                }
            }
        }
    }

    fn end_lingering(&mut self, at: Instant) {
        let over: Vec<_> = self
            .lingering
            .iter()
            .filter(|(_, until)| **until <= at)
            .map(|(holder, _)| holder.clone())
            .collect();
        for holder in over {
            self.lingering.remove(&holder);
            self.end(&holder, Freed::Evicted);
        }
    }

    fn end(&mut self, holder: &Holder, why: Freed) {
        self.lingering.remove(holder);
        self.draining.remove(holder);
        self.waiting.remove(holder);
        for (partition, _) in self.claims.remove(holder).unwrap_or_default() {
            self.freed.insert(partition, why);
        }
    }

    fn acknowledge(&mut self, holder: &Holder, record: &SessionRecord) {
        let waits = self.waiting.get(holder).copied().unwrap_or(false);
        let Some(claims) = self.claims.get_mut(holder).filter(|_| waits) else {
            return;
        };
        let freed = &mut self.freed;
        claims.retain(|partition, claim| match claim {
            Claim::Granted => true,
            Claim::Revoked(since) => {
                let kept = record.applied < *since || record.draining.contains(partition);
                if !kept {
                    freed.insert(partition.clone(), Freed::Acknowledged);
                }
                kept
            }
        });
        let waits = claims.values().any(|claim| *claim != Claim::Granted);
        self.waiting.insert(holder.clone(), waits);
    }

    fn assignment(
        &mut self,
        worker: &WorkerId,
        record: &AssignmentRecord,
        grants: &mut Vec<NewGrant>,
    ) {
        let holder = (worker.clone(), record.epoch);
        let ended = self
            .sessions
            .get(worker)
            .is_none_or(|session| session.epoch != record.epoch || !session.status.is_living());
        let mut claims = self.claims.remove(&holder).unwrap_or_default();
        for claim in claims.values_mut() {
            if *claim == Claim::Granted {
                *claim = Claim::Revoked(record.version);
            }
        }
        for grant in &record.granted {
            let partition = &grant.partition;
            let before = claims.insert(partition.clone(), Claim::Granted);
            if before.is_none() && !ended {
                grants.push(NewGrant {
                    partition: partition.clone(),
                    to: holder.clone(),
                    unjustified: self.others(partition, &holder),
                    freed: self.freed.remove(partition),
                });
            }
        }
        // A record for a session that has ended is a slot that is kept: nobody may act on it.
        let counts = !ended || self.lingering.contains_key(&holder);
        if counts && !claims.is_empty() {
            let waits = claims.values().any(|claim| *claim != Claim::Granted);
            self.waiting.insert(holder.clone(), waits);
            self.claims.insert(holder, claims);
        }
    }

    /// Whether a living worker has no grant of a partition although nobody else may hold it; or
    /// whether it has none at all, if it need not be alone.
    pub(crate) fn is_kept_waiting(
        &self,
        worker: &WorkerId,
        partition: &PartitionKey,
        mode: Mode,
    ) -> bool {
        let session = self.sessions.get(worker);
        let Some(session) = session.filter(|session| session.status.is_living()) else {
            return false;
        };
        let holder = (worker.clone(), session.epoch);
        let claims = self.claims.get(&holder);
        let granted = claims.and_then(|claims| claims.get(partition)) == Some(&Claim::Granted);
        !granted && (mode == Mode::Overlap || self.others(partition, &holder).is_empty())
    }

    fn others(&self, partition: &PartitionKey, holder: &Holder) -> Vec<Holder> {
        let others = self.claims.iter().filter(|(other, _)| *other != holder);
        let claiming = others.filter(|(_, claims)| claims.contains_key(partition));
        claiming.map(|(other, _)| other.clone()).collect()
    }
}
