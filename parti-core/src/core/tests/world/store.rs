//! The store of the world: it answers at once and tells every watch.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::World;
use crate::io::event::{Event, WatchId};
use crate::model::id::Revision;
use crate::ports::store::{
    Entry, Expect, StoreError, StoreErrorKind, StoreInfo, StoreOp, StoreReply, WatchEvent,
    WatchScope, Write,
};
use crate::records::keys::session_key;

impl World {
    pub(super) fn watch(&mut self, index: usize, id: WatchId, scope: WatchScope) {
        let mut present: Vec<Entry> = self
            .entries
            .values()
            .filter(|entry| scope.contains(&entry.key))
            .cloned()
            .collect();
        present.sort_unstable_by_key(|entry| entry.revision);
        self.nodes[index].watches.insert(id, scope);
        let revision = self.last;
        let events = present.into_iter().map(WatchEvent::Entry);
        for event in events.chain([WatchEvent::CaughtUp { revision }]) {
            self.inbox.push_back((index, Event::Watch { id, event }));
        }
    }

    pub(super) fn execute(&mut self, op: &StoreOp) -> Result<StoreReply, StoreError> {
        if self.missing && *op != StoreOp::Create {
            return Err(StoreError::new(StoreErrorKind::Missing, "no bucket"));
        }
        let (seen, last_revision) = self.seen();
        match op {
            StoreOp::Get { key } => Ok(StoreReply::Entry(seen.get(key).cloned())),
            StoreOp::List { prefix } => {
                let entries = seen.values();
                let entries = entries.filter(|e| e.key.starts_with(prefix) && e.value.is_some());
                Ok(StoreReply::Entries {
                    entries: entries.cloned().collect(),
                    last_revision,
                })
            }
            StoreOp::Commit { writes } => self.commit(writes),
            StoreOp::Info => self.info(),
            StoreOp::Create => {
                self.missing = false;
                self.info()
            }
        }
    }

    /// What a read shows, and up to which revision.
    fn seen(&self) -> (BTreeMap<String, Entry>, Revision) {
        let Some(lag) = self.lag else {
            return (self.entries.clone(), self.last);
        };
        let upto = Revision::new(self.last.get().saturating_sub(lag));
        let log = self.log.iter().filter(|entry| entry.revision <= upto);
        let entries = log.map(|entry| (entry.key.clone(), entry.clone()));
        (entries.collect(), upto)
    }

    fn info(&self) -> Result<StoreReply, StoreError> {
        Ok(StoreReply::Info(StoreInfo {
            created: self.created,
            age: self.age,
            last_revision: self.last,
            version: "test".to_string(),
            max_batch: self.max_batch,
            max_value: self.max_value,
            faults: self.faults.clone(),
        }))
    }

    pub(super) fn commit(&mut self, writes: &[Write]) -> Result<StoreReply, StoreError> {
        let holds = |write: &Write| {
            let entry = self.entries.get(&write.key);
            match write.expect {
                Expect::Any => true,
                Expect::Absent => entry.is_none_or(|entry| entry.value.is_none()),
                Expect::Revision(revision) => entry.is_some_and(|e| e.revision == revision),
            }
        };
        if writes.len() > self.max_batch {
            let (kind, message) = (StoreErrorKind::Rejected, "too many writes");
            return Err(StoreError::new(kind, message));
        }
        let spared = self.refuses_evictions_of.as_ref().map(session_key);
        let evicts = writes[1..].iter().any(|w| Some(&w.key) == spared.as_ref());
        if evicts || !writes.iter().all(holds) {
            let (kind, message) = (StoreErrorKind::Refused, "an expectation failed");
            return Err(StoreError::new(kind, message));
        }
        let mut revisions = vec![];
        for write in writes {
            self.last = self.last.next();
            *self.commits.entry(write.key.clone()).or_default() += 1;
            let (key, value) = (write.key.clone(), write.value.clone());
            let entry = Entry {
                at_ms: 1_790_000_000_000 + self.now.as_nanos() / 1_000_000,
                key,
                revision: self.last,
                value,
            };
            self.entries.insert(write.key.clone(), entry.clone());
            self.log.push(entry.clone());
            revisions.push(self.last);
            for (index, node) in self.nodes.iter().enumerate() {
                for (&id, scope) in &node.watches {
                    if scope.contains(&entry.key) {
                        let event = WatchEvent::Entry(entry.clone());
                        self.inbox.push_back((index, Event::Watch { id, event }));
                    }
                }
            }
        }
        Ok(StoreReply::Committed { revisions })
    }
}
