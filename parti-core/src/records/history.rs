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

use crate::model::id::{Epoch, WorkerId};
use crate::ports::store::{Entry, StoreOp, StoreReply};
use crate::records::assembly::Assembly;
use crate::records::keys::{
    ASSIGNMENT_PREFIX, AUDIT_PREFIX, AUDIT_SLOTS, Key, SESSION_PREFIX, assignment_key, head_key,
    parked_key,
};
use crate::records::record::{
    AssignmentRecord, AuditEntry, Head, ParkedGroup, Record, SessionRecord,
};
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
        let mut split = BTreeMap::new();
        for entry in entries {
            if let Some(value) = &entry.value
                && let Err(reason) = history.take(entry, value, &mut split)
            {
                let key = entry.key.clone();
                history.unreadable.push(Unreadable { key, reason });
            }
        }
        history.assemble(split);
        history.entries.sort_unstable_by_key(|entry| entry.version);
        history
    }

    /// Assignments that are stored in pieces. Those that were read while they changed are named.
    fn assemble(&mut self, split: BTreeMap<WorkerId, Assembly>) {
        for (worker, assembly) in split {
            if assembly.manifest().is_none() {
                continue;
            }
            if let Some(record) = assembly.whole() {
                self.assignments.insert(worker, record);
                continue;
            }
            let missing: Vec<String> = assembly.missing().map(|n| n.to_string()).collect();
            let reason = alloc::format!("its pieces {} are not there", missing.join(", "));
            let key = assignment_key(&worker);
            self.unreadable.push(Unreadable { key, reason });
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

    fn take(
        &mut self,
        entry: &Entry,
        value: &[u8],
        split: &mut BTreeMap<WorkerId, Assembly>,
    ) -> Result<(), String> {
        let kind = Key::parse(&entry.key);
        if matches!(kind, Key::Control(..) | Key::Source | Key::Foreign) {
            return Ok(());
        }
        let record = wire::decode(value).map_err(|error| error.to_string())?;
        match (kind, record) {
            (Key::Head, Record::Head(head)) => self.head = Some(head),
            (Key::Session(worker), Record::Session(mut session)) => {
                // The write that creates a session cannot know its own revision.
                if session.epoch == Epoch::ZERO {
                    session.epoch = entry.revision.into();
                }
                self.sessions.insert(worker, session);
            }
            (Key::Assignment(worker), Record::Assignment(record)) => {
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
                self.entries.push(entry);
            }
            (_, _) => return Err("the record does not belong under this key".to_string()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
