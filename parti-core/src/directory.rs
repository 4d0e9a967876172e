//! A directory: what a reader of the bucket knows of a group, without taking part in it.
//!
//! It is separate from the machines because nothing is decided by it, and from
//! [`History`], which it keeps up to date, because it lives on: it counts silence and
//! waiting on the reader's own clock, and notices when the history it knows is gone. What always holds:
//! it asks for no worker ID and writes nothing; what is unreadable or lost is told as such.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::mem::take;

use crate::io::notice::HistoryLoss;
use crate::model::id::{Epoch, Formats, Revision, Term, Token, WorkerId};
use crate::model::partition::PartitionKey;
use crate::model::time::Instant;
use crate::ports::store::{Entry, StoreInfo};
use crate::records::history::{History, Split};
use crate::records::keys::Key;
use crate::records::orders::{Order, Orders};
use crate::records::outline::SessionOutline;
use crate::records::record::{Record, RecordGrant, Verb};
use crate::records::seen::Seen;
use crate::records::wire::SessionClass;

mod contact;
mod owners;
mod view;

use contact::Contact;
pub use contact::{AsOf, Asked};
use owners::{Holder, Ledger};
pub use owners::{Owners, Ownership};
pub use view::{
    Handoff, HoldUp, Leading, Loss, PartitionState, PartitionView, Request, SessionState, View,
    WorkerView,
};

/// What is other in a group than it was.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// Another leadership, or the end of one.
    Leader {
        /// Its number.
        term: Term,
        /// Who leads, if anybody does.
        leader: Option<WorkerId>,
    },
    /// A worker has come, is leaving, or its session has ended; or it has another endpoint. Partitions
    /// of a session that has ended have no owner although no change names each of them.
    Worker {
        /// The worker.
        worker: WorkerId,
        /// Whether its session lives.
        living: bool,
    },
    /// A partition has another owner, or none.
    Owner {
        /// The partition.
        partition: PartitionKey,
        /// Whose it was.
        from: Option<WorkerId>,
        /// Whose it is, with its fencing token.
        to: Option<(WorkerId, Token)>,
    },
    /// The history the reader knew is gone. Everything begins again.
    Lost(HistoryLoss),
}

/// What a reader of the bucket knows of a group.
///
/// It is told of a watch of the whole bucket: [`begin`](Self::begin), each entry to
/// [`put`](Self::put), then [`caught_up`](Self::caught_up). When the watch is lost it is told of the
/// next one likewise, and keeps what it knew meanwhile. From a listing it is made the same way.
///
/// ```
/// use parti_core::directory::Directory;
/// use parti_core::{Instant, PartitionKey, Revision};
/// let (mut directory, now) = (Directory::default(), Instant::ORIGIN);
/// directory.begin(now);
/// directory.caught_up(now, Revision::ZERO);
/// let key = PartitionKey::new(["orders", "7"])?;
/// assert_eq!(directory.owners().owner_of(&key), None);
/// assert!(directory.view(now).complete);
/// # Ok::<(), parti_core::PartitionError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Directory {
    history: History,
    split: Split,
    ledger: Ledger,
    sessions: BTreeMap<WorkerId, Heard>,
    requests: Orders,
    /// Partitions that somebody had, or has to let go of, and nobody has.
    left: BTreeMap<PartitionKey, Left>,
    /// The keys of the bucket that mean something, and their revisions.
    keys: BTreeMap<String, Revision>,
    /// Of these, the ones a new watch has not shown.
    unconfirmed: BTreeSet<String>,
    contact: Contact,
    /// Since when there has been this leadership, as far as the reader has seen.
    term: Option<(Term, Instant)>,
    loss: Option<Loss>,
}

/// What is known of a session, of whichever release.
#[derive(Clone, Debug)]
struct Heard {
    epoch: Epoch,
    class: SessionClass,
    /// When its last renewal was seen.
    at: Instant,
    /// When it was seen to have ended.
    ended: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Left {
    at: Instant,
    from: Option<WorkerId>,
}

impl Directory {
    /// A watch of everything begins.
    pub fn begin(&mut self, now: Instant) {
        self.contact.began(now);
        self.unconfirmed = self.keys.keys().cloned().collect();
    }

    /// An entry of the watch. What is other than before.
    pub fn put(&mut self, now: Instant, entry: &Entry) -> Vec<Change> {
        self.unconfirmed.remove(&entry.key);
        self.requests.saw(now, entry.at_ms);
        self.contact.saw(now, entry.revision);
        let seen = Seen::new(Formats::THIS_RELEASE, entry);
        let known = self.keys.get(&entry.key);
        if *seen.key() == Key::Foreign || known.is_some_and(|known| *known >= entry.revision) {
            return Vec::new();
        }
        if entry.value.is_some() {
            self.keys.insert(entry.key.clone(), entry.revision);
        } else {
            self.keys.remove(&entry.key);
        }
        self.take(now, seen)
    }

    /// The watch has shown everything that was there when it began. What is other than before.
    pub fn caught_up(&mut self, now: Instant, revision: Revision) -> Vec<Change> {
        let gone = take(&mut self.unconfirmed);
        let mut changes = Vec::new();
        for key in gone {
            let value = None;
            self.keys.remove(&key);
            let entry = Entry {
                at_ms: 0,
                key,
                revision,
                value,
            };
            let seen = Seen::new(Formats::THIS_RELEASE, &entry);
            changes.extend(self.take(now, seen));
        }
        self.contact.caught_up(now, revision);
        changes
    }

    /// The store is about to be asked about itself: what [`informed`](Self::informed) needs.
    #[must_use]
    pub const fn ask(&self, now: Instant) -> Asked {
        self.contact.ask(now)
    }

    /// The store said this about itself. If that shows that the history is gone, the directory is empty
    /// and says so, and a new watch has to begin.
    pub fn informed(&mut self, now: Instant, asked: Asked, info: &StoreInfo) -> Option<Change> {
        let loss = self.contact.informed(now, asked, info)?;
        let change = self.lose(now, loss);
        self.contact.informed(now, self.contact.ask(now), info);
        change
    }

    /// There is no bucket. As with [`informed`](Self::informed).
    pub fn missing(&mut self, now: Instant) -> Option<Change> {
        self.lose(now, HistoryLoss::Missing)
    }

    /// Who owns what; a clone is a snapshot.
    #[must_use]
    pub const fn owners(&self) -> &Owners {
        &self.ledger.owners
    }

    /// The records behind the view, which explain where a partition is.
    #[must_use]
    pub const fn history(&self) -> &History {
        &self.history
    }

    /// How fresh all this is.
    #[must_use]
    pub const fn as_of(&self) -> AsOf {
        self.contact.as_of()
    }

    fn lose(&mut self, now: Instant, what: HistoryLoss) -> Option<Change> {
        let told = self.loss.as_ref().is_some_and(|loss| loss.what == what);
        if told && self.keys.is_empty() {
            return None;
        }
        let since = now;
        *self = Self {
            loss: Some(Loss {
                what: what.clone(),
                since,
            }),
            ..Self::default()
        };
        Some(Change::Lost(what))
    }

    fn take(&mut self, now: Instant, seen: Seen<'_>) -> Vec<Change> {
        match seen.key().clone() {
            Key::Session(worker) => self.take_session(now, &worker, seen),
            Key::Assignment(worker) | Key::Piece(worker, _) => {
                let before = self.history.assignments.get(&worker);
                let before = before.map(|record| record.granted.clone());
                self.history.put(seen, &mut self.split);
                self.regrant(now, &worker, &before.unwrap_or_default())
            }
            Key::Head => {
                self.history.put(seen, &mut self.split);
                self.take_head(now)
            }
            Key::Control(verb, worker) => {
                self.take_request(now, (verb, worker), &seen);
                Vec::new()
            }
            Key::Audit(_) | Key::Parked | Key::Suspicion | Key::Source | Key::Foreign => {
                self.history.put(seen, &mut self.split);
                Vec::new()
            }
        }
    }

    fn take_request(&mut self, now: Instant, key: (Verb, WorkerId), seen: &Seen<'_>) {
        match seen.record() {
            Some(Record::Control(control)) => {
                let order = Order {
                    control: control.clone(),
                    revision: seen.revision(),
                    at_ms: seen.entry().at_ms,
                    seen: now,
                };
                self.requests.put(key, order);
            }
            Some(_) | None => {
                self.requests.remove(&key);
            }
        }
    }

    fn take_head(&mut self, now: Instant) -> Vec<Change> {
        let head = self.history.head.as_ref();
        let Some(head) = head else {
            self.term = None;
            return Vec::new();
        };
        let (term, leader) = (head.term, head.leader.as_ref());
        let leader = leader.map(|leader| leader.worker.clone());
        let same = self.term.is_some_and(|(known, _)| known == term);
        if !same {
            self.term = Some((term, now));
        }
        self.forget_left();
        if same && leader.is_some() {
            return Vec::new();
        }
        alloc::vec![Change::Leader { term, leader }]
    }

    /// When every partition of the plan has an owner or is parked, others that had one are of no list.
    fn forget_left(&mut self) {
        if self.left.is_empty() {
            return;
        }
        let Some(head) = self.history.head.as_ref() else {
            return;
        };
        let cared = self.owners().len() + head.parked.count as usize;
        if head.unfinished == 0 && cared >= head.partitions as usize {
            self.left.clear();
        }
    }

    fn take_session(&mut self, now: Instant, worker: &WorkerId, seen: Seen<'_>) -> Vec<Change> {
        let (revision, outline) = (seen.revision(), seen.outline());
        let is_there = seen.value().is_some();
        self.history.put(seen, &mut self.split);
        match outline {
            Some(outline) => self.hear(now, worker, revision, &outline),
            // What is damaged may live; it is told as unreadable.
            None if is_there => {}
            None => {
                self.sessions.remove(worker);
            }
        }
        let changed = self.describe(worker);
        let living = self.living_epoch(worker).is_some();
        let worker = worker.clone();
        Vec::from_iter(changed.then_some(Change::Worker { worker, living }))
    }

    fn hear(&mut self, now: Instant, worker: &WorkerId, at: Revision, outline: &SessionOutline) {
        let epoch = if outline.epoch == Epoch::ZERO {
            at.into()
        } else {
            outline.epoch
        };
        let before = self.sessions.get(worker);
        let before = before.filter(|before| before.epoch == epoch);
        let ended = before.and_then(|before| before.ended);
        let heard = Heard {
            epoch,
            class: outline.class,
            at: now,
            ended: (!outline.is_living()).then(|| ended.unwrap_or(now)),
        };
        self.sessions.insert(worker.clone(), heard);
    }

    /// The session of a worker, while it lives.
    fn living_epoch(&self, worker: &WorkerId) -> Option<Epoch> {
        let heard = self.sessions.get(worker)?;
        (heard.class == SessionClass::Living).then_some(heard.epoch)
    }

    /// Puts what is known of a worker into the index. Whether anything a reader sees is another.
    fn describe(&mut self, worker: &WorkerId) -> bool {
        let record = self.history.assignments.get(worker);
        let living = self.living_epoch(worker);
        let session = self.history.sessions.get(worker);
        let holder = Holder {
            worker: worker.clone(),
            endpoint: session.and_then(|session| session.endpoint.clone()),
            version: record.map(|record| record.version).unwrap_or_default(),
            living: living.is_some() && record.is_none_or(|record| living == Some(record.epoch)),
        };
        self.ledger.describe(holder)
    }

    /// A worker's assignment, or a piece of it, is another one now.
    fn regrant(&mut self, now: Instant, worker: &WorkerId, before: &[RecordGrant]) -> Vec<Change> {
        let assembly = self.split.get(worker);
        if let Some(whole) = assembly.and_then(|assembly| assembly.whole()) {
            self.history.assignments.insert(worker.clone(), whole);
        }
        let record = self.history.assignments.get(worker);
        let after: &[RecordGrant] = record.map_or(&[], |record| &record.granted);
        let moved = self.ledger.regrant(worker, before, after);
        let revoking = record.into_iter().flat_map(|record| &record.revoking);
        for revoking in revoking {
            let from = Some(worker.clone());
            let left = Left { at: now, from };
            let key = &revoking.partition;
            self.left.entry(key.clone()).or_insert(left);
        }
        self.describe(worker);
        let mut changes = Vec::new();
        for moved in moved {
            let partition = moved.key;
            if moved.to.is_none() {
                let (at, from) = (now, moved.from.clone());
                self.left.insert(partition.clone(), Left { at, from });
            }
            let (from, to) = (moved.from, moved.to);
            changes.push(Change::Owner {
                partition,
                from,
                to,
            });
        }
        self.left.retain(|key, _| !self.ledger.owners.holds(key));
        changes
    }
}

#[cfg(test)]
mod tests;
