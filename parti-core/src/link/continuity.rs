//! Whether the bucket still has the history this process knows: has it been created again, wiped, or
//! rolled back to an earlier revision?
//!
//! Reads may be old, so that an old answer proves nothing. What always holds: a loss is concluded
//! only from what staleness cannot explain. That is a write acknowledged at a revision that was
//! seen before it was sent, another creation time, or twice in a row a look at the store that
//! contradicts what was known when it was sent.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::io::event::{OpId, WatchId};
use crate::io::notice::HistoryLoss;
use crate::model::id::{Revision, Version};
use crate::model::time::Instant;
use crate::ports::store::{
    Entry, StoreError, StoreErrorKind, StoreInfo, StoreOp, StoreReply, WatchEvent,
};

/// Contradictions in a row that count; one alone may come from a store that just changed hands.
const LOOKS: u32 = 2;

/// What this process knows of the bucket's history.
#[derive(Clone, Debug, Default)]
pub(crate) struct Continuity {
    created: Option<u64>,
    /// The highest revision known to have been written.
    highest: Revision,
    /// Requests whose answers are compared with what was known when they were sent.
    sent: BTreeMap<OpId, Sent>,
    /// Requests and watches up to these were begun in an earlier history.
    before_op: u64,
    before_watch: u64,
    look: Look,
    /// When the bucket is certainly older than a lease, and when the leases of a lost history are over.
    grown_at: Instant,
    grants_from: Instant,
    /// Keys that a complete look did not show, although nothing says that they were deleted, and up
    /// to where it was complete.
    gone: BTreeMap<String, Revision>,
    known: Version,
    longest_lease: Duration,
    /// What was known when a loss was found: its quarantine has been kept.
    quarantined: Version,
}

#[derive(Clone, Debug)]
struct Sent {
    floor: Revision,
    key: Option<KnownKey>,
}

/// A key as known, of which no earlier write may be the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KnownKey {
    pub(crate) key: String,
    pub(crate) revision: Revision,
    /// Whether nobody but this process removes the key.
    pub(crate) own: bool,
}

/// One look at the store: its facts, and the keys this process knows best.
#[derive(Clone, Debug, Default)]
struct Look {
    due: Option<Instant>,
    begun: Instant,
    waiting: BTreeSet<OpId>,
    /// Whether the facts came.
    informed: bool,
    found: Option<HistoryLoss>,
    /// Looks in a row that found something.
    contradictions: u32,
    /// When the last look that found nothing was begun.
    clean: Option<Instant>,
}

impl KnownKey {
    /// Whether a list that is complete up to a revision proves that the key is there no more.
    fn is_gone(&self, entries: &[Entry], upto: Revision) -> bool {
        upto >= self.revision && !entries.iter().any(|entry| entry.key == self.key)
    }
}

impl Continuity {
    /// A request is about to be sent.
    pub(crate) fn on_request(&mut self, op: OpId, request: &StoreOp) {
        match request {
            StoreOp::Commit { .. } | StoreOp::Info | StoreOp::Create => {
                let (floor, key) = (self.highest, None);
                self.sent.insert(op, Sent { floor, key });
            }
            StoreOp::Get { .. } | StoreOp::List { .. } => {}
        }
    }

    /// A watch said something.
    pub(crate) fn on_watch(&mut self, id: WatchId, event: &WatchEvent) {
        if id.0 <= self.before_watch {
            return;
        }
        match event {
            WatchEvent::Entry(entry) => self.saw(entry.revision),
            WatchEvent::CaughtUp { revision } => self.saw(*revision),
            WatchEvent::Lost { .. } => {}
        }
    }

    /// An answer came. The loss, if it proves one.
    pub(crate) fn on_reply(
        &mut self,
        now: Instant,
        lease: Duration,
        op: OpId,
        result: &Result<StoreReply, StoreError>,
    ) -> Option<HistoryLoss> {
        if op.seq <= self.before_op {
            return None;
        }
        let sent = self.sent.remove(&op);
        let looking = self.look.waiting.remove(&op);
        let loss = match (result, sent) {
            (Ok(StoreReply::Committed { revisions }), Some(sent)) => {
                self.on_committed(sent.floor, revisions)
            }
            (Ok(StoreReply::Info(info)), Some(sent)) => {
                self.look.informed |= looking;
                self.on_info(now, lease, sent.floor, info, looking)
            }
            (
                Ok(StoreReply::Entries {
                    entries,
                    last_revision,
                }),
                Some(Sent {
                    key: Some(known), ..
                }),
            ) => {
                if let Some(loss) = contradiction(&known, entries, *last_revision) {
                    self.look.found.get_or_insert(loss);
                } else if known.is_gone(entries, *last_revision) {
                    self.gone.insert(known.key, *last_revision);
                }
                None
            }
            (Err(error), _) if looking && error.kind == StoreErrorKind::Missing => {
                self.look.informed = true;
                self.look.found.get_or_insert(HistoryLoss::Missing);
                None
            }
            (Ok(_) | Err(_), _) => None,
        };
        if let Ok(reply) = result {
            self.on_revisions_of(reply);
        }
        let concluded = looking && self.look.waiting.is_empty();
        loss.or_else(|| {
            if concluded {
                self.conclude(now, lease)
            } else {
                None
            }
        })
    }

    /// The store is to be asked soon, but not over and over.
    pub(crate) fn suspect(&mut self, now: Instant, interval: Duration) {
        if self.look.waiting.is_empty() && self.look.due.is_none() {
            self.look.due = Some(now.max(self.look.begun + interval / 4));
        }
    }

    /// When to look.
    pub(crate) const fn look_at(&self) -> Option<Instant> {
        self.look.due
    }

    /// A look begins: the requests of it, of which those for a key name the key.
    pub(crate) fn looking(&mut self, now: Instant, ops: Vec<(OpId, Option<KnownKey>)>) {
        self.look.due = None;
        self.look.begun = now;
        (self.look.informed, self.look.found) = (false, None);
        for (op, key) in ops {
            let floor = self.highest;
            self.look.waiting.insert(op);
            self.sent.insert(op, Sent { floor, key });
        }
    }

    /// The keys that were removed without a trace, and up to where that is known.
    pub(crate) fn take_gone(&mut self) -> BTreeMap<String, Revision> {
        core::mem::take(&mut self.gone)
    }

    /// Whether a look that was begun since then found nothing wrong.
    pub(crate) fn is_intact_since(&self, then: Instant) -> bool {
        self.look.clean.is_some_and(|clean| clean >= then)
    }

    /// A version was seen.
    pub(crate) fn learn(&mut self, version: Version) {
        self.known = self.known.max(version);
    }

    /// The highest version seen, in any history.
    pub(crate) const fn known(&self) -> Version {
        self.known
    }

    /// Somebody was seen to rely on a lease this long.
    pub(crate) fn learn_lease(&mut self, lease: Duration) {
        self.longest_lease = self.longest_lease.max(lease);
    }

    /// The longest lease seen, in any history.
    pub(crate) const fn longest_lease(&self) -> Duration {
        self.longest_lease
    }

    /// Whether a version above this one is known of whose loss no quarantine has been kept yet.
    pub(crate) fn misses(&self, found: Version) -> bool {
        self.known > found.max(self.quarantined)
    }

    /// From when on partitions may be granted: before, somebody may rely on a lease of a history
    /// that is gone. That there was one before a young bucket is a mere possibility; it may be
    /// `excluded`, since all workers there should be are in this one, or somebody has waited before.
    ///
    /// An example with a lease of 6 s. At 100 s a process reads that the bucket is 2 s old: a worker that
    /// relied on an earlier one may do so until 104 s. Unless that is excluded, nothing is granted
    /// before. At 110 s it sees a version that this history does not have: its end was lost, and
    /// its writer may rely on it until 116 s. Now nothing is granted before 116 s, and nothing
    /// excludes that.
    pub(crate) fn grants_from(&self, excluded: impl FnOnce() -> bool) -> Instant {
        if self.grown_at > self.grants_from && !excluded() {
            self.grown_at
        } else {
            self.grants_from
        }
    }

    /// Somebody may rely on a lease of an earlier history until then.
    pub(crate) fn hold_back(&mut self, until: Instant) {
        self.grants_from = self.grants_from.max(until);
    }

    /// The history is gone; whatever was begun before counts no more. What must never be repeated,
    /// the versions, stays known.
    pub(crate) fn forget(&mut self, op: u64, watch: u64) {
        *self = Self {
            before_op: op,
            before_watch: watch,
            known: self.known,
            quarantined: self.known,
            longest_lease: self.longest_lease,
            ..Self::default()
        };
    }

    fn saw(&mut self, revision: Revision) {
        self.highest = self.highest.max(revision);
    }

    fn on_revisions_of(&mut self, reply: &StoreReply) {
        match reply {
            StoreReply::Entry(entry) => {
                self.saw(entry.as_ref().map(|e| e.revision).unwrap_or_default());
            }
            StoreReply::Entries {
                entries,
                last_revision,
            } => {
                let last = entries.iter().map(|entry| entry.revision).max();
                self.saw(last.unwrap_or_default().max(*last_revision));
            }
            StoreReply::Committed { revisions } => {
                self.saw(revisions.iter().copied().max().unwrap_or_default());
            }
            StoreReply::Info(info) => self.saw(info.last_revision),
        }
    }

    /// Revisions rise: one that was there before the write was sent cannot be the write's.
    fn on_committed(&self, floor: Revision, revisions: &[Revision]) -> Option<HistoryLoss> {
        let &found = revisions.iter().min()?;
        let before = floor;
        (found <= before).then_some(HistoryLoss::RolledBack { before, found })
    }

    fn on_info(
        &mut self,
        now: Instant,
        lease: Duration,
        floor: Revision,
        info: &StoreInfo,
        looking: bool,
    ) -> Option<HistoryLoss> {
        let grown_at = now + self.longest_lease.max(lease).saturating_sub(info.age);
        let before = *self.created.get_or_insert(info.created);
        if before == info.created && self.grown_at == Instant::ORIGIN {
            self.grown_at = grown_at;
        }
        if before != info.created {
            let found = info.created;
            return Some(HistoryLoss::Recreated { before, found });
        }
        if looking && info.last_revision < floor {
            let (before, found) = (floor, info.last_revision);
            self.look
                .found
                .get_or_insert(HistoryLoss::RolledBack { before, found });
        }
        None
    }

    /// A look is complete.
    fn conclude(&mut self, now: Instant, lease: Duration) -> Option<HistoryLoss> {
        let look = &mut self.look;
        match look.found.take() {
            Some(loss) => {
                look.contradictions += 1;
                if look.contradictions >= LOOKS {
                    return Some(loss);
                }
                look.due = Some(now + lease / 16);
            }
            None if look.informed => {
                look.contradictions = 0;
                look.clean = Some(look.begun);
            }
            None if look.contradictions > 0 => look.due = Some(now + lease / 16),
            None => {}
        }
        None
    }
}

/// What is wrong with a list of a key, if it is complete up to the revision the key is known at.
pub(crate) fn contradiction(
    known: &KnownKey,
    entries: &[Entry],
    upto: Revision,
) -> Option<HistoryLoss> {
    if upto < known.revision {
        return None;
    }
    let entry = entries.iter().find(|entry| entry.key == known.key);
    let gone = match entry {
        Some(entry) => entry.revision < known.revision,
        None => known.own,
    };
    let (key, revision) = (known.key.clone(), known.revision);
    gone.then_some(HistoryLoss::Vanished { key, revision })
}

#[cfg(test)]
mod tests;
