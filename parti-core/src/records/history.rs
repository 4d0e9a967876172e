//! What the group did and why, read back from the bucket: the audit ring and what is in force now.
//!
//! It is separate from the machines because nothing is decided by it: a pure function of entries
//! somebody has read, for operators and tests. What always holds: it never guesses. The ring is
//! short and can be overwritten in the middle, because versions jump with every take-over; where
//! something may be missing, the answer says so.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use crate::model::id::{Epoch, Formats, Revision, WorkerId};
use crate::ports::store::{Entry, StoreOp, StoreReply};
use crate::records::assembly::Assembly;
use crate::records::keys::{
    ASSIGNMENT_PREFIX, AUDIT_PREFIX, AUDIT_SLOTS, Key, SESSION_PREFIX, assignment_key, head_key,
    parked_key,
};
use crate::records::record::{
    AssignmentRecord, AuditEntry, Head, ParkedGroup, Record, SessionRecord,
};
use crate::records::seen::{Content, Seen};
use crate::records::wire;

mod explain;
mod show;

pub use explain::{Explanation, Gap, Generation, Leaving, Move, Owner, OwnerSession, Parking};

/// The bucket as a history.
///
/// ```
/// use parti_core::{History, PartitionKey};
/// let history = History::read(&[]);
/// let explanation = history.explain(&PartitionKey::new(["orders", "7"])?);
/// assert!(explanation.owner.is_none() && explanation.moves.is_empty());
/// # Ok::<(), parti_core::PartitionError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct History {
    /// Generations the ring still holds, oldest first.
    pub entries: Vec<AuditEntry>,
    /// Who leads and which generation is in force.
    pub head: Option<Head>,
    /// What each worker owns.
    pub assignments: BTreeMap<WorkerId, AssignmentRecord>,
    /// What has no owner, by what it waits for.
    pub parked: Vec<ParkedGroup>,
    /// The sessions.
    pub sessions: BTreeMap<WorkerId, SessionRecord>,
    /// Keys that hold nothing readable.
    pub unreadable: Vec<Unreadable>,
}

/// A key that does not hold the record its name promises.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unreadable {
    /// The key.
    pub key: String,
    /// Why, in words.
    pub reason: String,
}

/// Assignments that are stored in pieces, by worker.
pub(crate) type Split = BTreeMap<WorkerId, Assembly>;

/// That pieces are missing which a manifest names, if they are.
pub(crate) fn incomplete(worker: &WorkerId, assembly: &Assembly) -> Option<Unreadable> {
    let missing: Vec<String> = assembly.missing().map(|n| n.to_string()).collect();
    let reason = alloc::format!("its pieces {} are not there", missing.join(", "));
    let key = assignment_key(worker);
    (!missing.is_empty()).then_some(Unreadable { key, reason })
}

impl History {
    /// The reads a history is made from, in this order. Each generation is written whole, so reading
    /// the ring after the assignments leaves no assignment without the entry that explains it,
    /// unless the ring has been overwritten.
    #[must_use]
    pub fn reads() -> Vec<StoreOp> {
        let list = |prefix: &str| StoreOp::List {
            prefix: prefix.to_string(),
        };
        vec![
            list(ASSIGNMENT_PREFIX),
            list(SESSION_PREFIX),
            list(AUDIT_PREFIX),
            StoreOp::Get { key: head_key() },
            StoreOp::Get { key: parked_key() },
        ]
    }

    /// The entries an answer to one of [`History::reads`] brings.
    #[must_use]
    pub fn entries_of(reply: StoreReply) -> Vec<Entry> {
        match reply {
            StoreReply::Entry(entry) => entry.into_iter().collect(),
            StoreReply::Entries { entries, .. } => entries,
            StoreReply::Committed { .. } | StoreReply::Info(_) => Vec::new(),
        }
    }

    /// Reads the history from entries of the bucket, in any order; what does not belong to it is
    /// passed over.
    #[must_use]
    pub fn read(entries: &[Entry]) -> Self {
        let mut history = Self::default();
        let mut split = Split::new();
        for entry in entries {
            history.put(Seen::new(Formats::THIS_RELEASE, entry), &mut split);
        }
        history.assemble(split);
        history.entries.sort_unstable_by_key(|entry| entry.version);
        history
    }

    /// Assignments that are stored in pieces. Those that were read while they changed are named.
    fn assemble(&mut self, split: Split) {
        for (worker, assembly) in split {
            if let Some(record) = assembly.whole() {
                self.assignments.insert(worker, record);
            } else {
                self.unreadable.extend(incomplete(&worker, &assembly));
            }
        }
    }

    /// The last `n` generations, oldest first.
    #[must_use]
    pub fn last(&self, n: usize) -> &[AuditEntry] {
        &self.entries[self.entries.len().saturating_sub(n)..]
    }

    /// Whether the ring shows every generation between two neighbours of it.
    ///
    /// Within a term versions count up by one. Between terms a lost entry can only have been
    /// overwritten by a newer one in its slot.
    fn is_seamless(&self, older: &AuditEntry, newer: &AuditEntry) -> bool {
        let next = older.version.get().saturating_add(1);
        if next == newer.version.get() {
            return true;
        }
        let overwritten = |version: u64, than: u64| {
            let slot = version % AUDIT_SLOTS;
            let in_slot = |e: &&AuditEntry| e.version.get() % AUDIT_SLOTS == slot;
            let held = self.entries.iter().find(in_slot);
            held.is_some_and(|entry| entry.version.get() > than)
        };
        let before = newer.version.get().saturating_sub(1);
        older.term != newer.term && !overwritten(next, next) && !overwritten(before, before)
    }

    /// Takes over what a key holds now. What cannot be read stays as it was last known, and is named.
    pub(crate) fn put(&mut self, seen: Seen<'_>, split: &mut Split) {
        let (key, revision) = (seen.key().clone(), seen.revision());
        if matches!(
            key,
            Key::Control(..) | Key::Suspicion | Key::Source | Key::Foreign
        ) {
            return;
        }
        let name = seen.name().to_string();
        self.unreadable.retain(|unreadable| unreadable.key != name);
        let failed = match seen.into_content() {
            Content::Nothing => {
                self.remove(&key, split);
                None
            }
            Content::Record(record) => self.keep(key, revision, *record, split).err(),
            Content::Unreadable { reason, .. } => {
                if let Key::Piece(worker, number) = key {
                    split.entry(worker).or_default().spoil(number);
                }
                Some(reason)
            }
        };
        let told = failed.map(|reason| Unreadable { key: name, reason });
        self.unreadable.extend(told);
    }

    fn keep(
        &mut self,
        key: Key,
        revision: Revision,
        record: Record,
        split: &mut Split,
    ) -> Result<(), String> {
        match (key, record) {
            (Key::Head, Record::Head(head)) => self.head = Some(head),
            (Key::Session(worker), Record::Session(mut session)) => {
                // The write that creates a session cannot know its own revision.
                if session.epoch == Epoch::ZERO {
                    session.epoch = revision.into();
                }
                self.sessions.insert(worker, session);
            }
            (Key::Assignment(worker), Record::Assignment(record)) => {
                if let Some(assembly) = split.get_mut(&worker) {
                    assembly.expect(None);
                }
                self.assignments.insert(worker, record);
            }
            (Key::Assignment(worker), Record::Manifest(manifest)) => {
                split.entry(worker).or_default().expect(Some(manifest));
            }
            (Key::Piece(worker, number), Record::Piece(piece)) => {
                let assembly = split.entry(worker).or_default();
                assembly.take(number, wire::FORMAT, piece);
            }
            (Key::Parked, Record::Parked(record)) => self.parked = record.groups,
            (Key::Audit(slot), Record::Audit(entry))
                if slot == entry.version.get() % AUDIT_SLOTS =>
            {
                self.forget_slot(slot);
                self.entries.push(entry);
            }
            (_, _) => return Err("the record does not belong under this key".to_string()),
        }
        Ok(())
    }

    fn remove(&mut self, key: &Key, split: &mut Split) {
        match key {
            Key::Head => self.head = None,
            Key::Session(worker) => {
                self.sessions.remove(worker);
            }
            Key::Assignment(worker) => {
                if let Some(assembly) = split.get_mut(worker) {
                    assembly.expect(None);
                }
                self.assignments.remove(worker);
            }
            Key::Piece(worker, number) => {
                if let Some(assembly) = split.get_mut(worker) {
                    assembly.lose(*number);
                }
            }
            Key::Parked => self.parked.clear(),
            Key::Audit(slot) => self.forget_slot(*slot),
            Key::Control(..) | Key::Suspicion | Key::Source | Key::Foreign => {}
        }
    }

    fn forget_slot(&mut self, slot: u64) {
        self.entries
            .retain(|entry| entry.version.get() % AUDIT_SLOTS != slot);
    }
}

#[cfg(test)]
mod tests;
