//! The simulated store: the specification plus its history, so that reads can be answered from the
//! past.
//!
//! What always holds: commits see the present and nothing else; only reads may be stale, and a stale
//! answer says honestly up to which revision it goes.

use core::time::Duration;
use std::collections::BTreeMap;

use parti_core::kv::{Applied, Kv, Limits};
use parti_core::{
    Entry, Epoch, Formats, Instant, Key, Record, Revision, StoreError, StoreInfo, StoreOp,
    StoreReply, Verb, WatchScope, Write, wire,
};

use crate::simulator::checks::{Stored, Value, Written};
use crate::simulator::plans::plan::Loss;
use crate::simulator::storage::split::Split;

#[derive(Debug, Default)]
pub(in crate::simulator) struct SimStore {
    kv: Kv,
    /// Every applied write; the one of revision `n` is at `n - 1`.
    log: Vec<(Instant, Entry)>,
    by_key: BTreeMap<String, Vec<usize>>,
    /// When the present history began; requests from before are gone with the one before.
    began: Instant,
    /// The most bytes of a value, while nothing limits it further.
    usual_value: usize,
    /// What was written up to here was wiped.
    wiped: Revision,
    /// Keys that were removed without a trace, with the last write that went with them.
    vanished: BTreeMap<String, Revision>,
    /// Assignments in pieces, as the group wrote them.
    split: Split,
}

impl SimStore {
    /// An empty bucket that takes so many writes in one commit, and values of so many bytes.
    pub(in crate::simulator) fn new(max_batch: Option<usize>, max_value: Option<usize>) -> Self {
        let usual = Limits::default();
        let limits = Limits {
            max_batch: max_batch.unwrap_or(usual.max_batch),
            max_value: max_value.unwrap_or(usual.max_value),
        };
        Self {
            kv: Kv::new(1, limits),
            usual_value: limits.max_value,
            ..Self::default()
        }
    }

    /// Takes only values of so many bytes from now on, or of the usual size.
    pub(in crate::simulator) fn limit_values(&mut self, bytes: Option<usize>) {
        self.kv.limit_values(bytes.unwrap_or(self.usual_value));
    }

    /// The writes of a commit of the group, as the checkers see them.
    pub(in crate::simulator) fn shown(&mut self, applied: &[Applied]) -> Vec<Written> {
        let mut writes: Vec<Written> = applied.iter().map(written).collect();
        self.split.take_in(&mut writes);
        writes
    }

    /// Whether the last commit had an assignment in pieces.
    pub(in crate::simulator) const fn is_split(&self) -> bool {
        self.split.seen
    }

    /// The last write of a key.
    pub(in crate::simulator) fn present_entry(&self, key: &str) -> Option<&Entry> {
        self.kv.entry(key)
    }

    /// Applies a commit now.
    pub(in crate::simulator) fn commit(
        &mut self,
        now: Instant,
        writes: &[Write],
    ) -> Result<Vec<Applied>, StoreError> {
        self.kv.tell_time(now.as_nanos() / 1_000_000);
        let applied = self.kv.commit(writes)?;
        for write in &applied {
            let index = self.log.len();
            self.log.push((now, write.entry.clone()));
            match self.by_key.get_mut(&write.entry.key) {
                Some(indices) => indices.push(index),
                None => {
                    self.by_key.insert(write.entry.key.clone(), vec![index]);
                }
            }
        }
        Ok(applied)
    }

    /// The last revision that was there `age` ago.
    pub(in crate::simulator) fn revision_before(&self, now: Instant, age: Duration) -> Revision {
        let then = now.saturating_sub(age);
        Revision::new(self.log.partition_point(|(at, _)| *at <= then) as u64)
    }

    pub(in crate::simulator) fn last_revision(&self) -> Revision {
        self.kv.last_revision()
    }

    /// Loses the history up to now; what is left of it ends at the revision answered.
    pub(in crate::simulator) fn lose(&mut self, now: Instant, loss: Loss, kept: Revision) {
        self.began = now;
        self.lose_history(now, loss, kept);
        let last = self.by_key.values().filter_map(|indices| indices.last());
        let entries = last.filter_map(|index| self.log.get(*index));
        self.split = Split::of(entries.map(|(_, entry)| entry));
    }

    fn lose_history(&mut self, now: Instant, loss: Loss, kept: Revision) {
        match loss {
            Loss::Delete => self.kv.delete(),
            Loss::Recreate => self.create(now),
            Loss::Wipe => {
                self.kv.wipe();
                self.by_key.clear();
                self.wiped = self.kv.last_revision();
            }
            Loss::RollBack { .. } => {
                // What is read from a backup is there again.
                self.vanished.clear();
                self.log.truncate(kept.get() as usize);
                let skip = self.wiped.get() as usize;
                let left = self.log.iter().skip(skip).map(|(_, entry)| entry);
                self.kv.roll_back(left);
                self.by_key.clear();
                for (index, (_, entry)) in self.log.iter().enumerate().skip(skip) {
                    self.by_key
                        .entry(entry.key.clone())
                        .or_default()
                        .push(index);
                }
            }
        }
    }

    /// Removes a key without a trace. The revision of what it held.
    pub(in crate::simulator) fn vanish(&mut self, key: &str) -> Option<Revision> {
        let gone = self.kv.vanish(key)?.revision;
        self.by_key.remove(key);
        self.vanished.insert(key.to_owned(), gone);
        Some(gone)
    }

    fn create(&mut self, now: Instant) {
        self.kv.recreate();
        self.log.clear();
        self.by_key.clear();
        self.vanished.clear();
        self.began = now;
        self.wiped = Revision::ZERO;
    }

    /// Creates the bucket if there is none. Whether there was none.
    pub(in crate::simulator) fn ensure(&mut self, now: Instant) -> bool {
        let missing = self.kv.is_deleted();
        if missing {
            self.create(now);
        }
        missing
    }

    pub(in crate::simulator) const fn is_deleted(&self) -> bool {
        self.kv.is_deleted()
    }

    pub(in crate::simulator) const fn began(&self) -> Instant {
        self.began
    }

    pub(in crate::simulator) fn info(&self) -> StoreInfo {
        self.kv.info()
    }

    /// Answers a read as of a revision.
    pub(in crate::simulator) fn read(
        &self,
        request: &StoreOp,
        cut: Revision,
    ) -> Option<StoreReply> {
        match request {
            StoreOp::Get { key } => Some(StoreReply::Entry(self.entry(key, cut).cloned())),
            StoreOp::List { prefix } => {
                let entries = self.present(cut, |key| key.starts_with(prefix.as_str()));
                Some(StoreReply::Entries {
                    entries,
                    last_revision: cut,
                })
            }
            StoreOp::Info | StoreOp::Create | StoreOp::Commit { .. } => None,
        }
    }

    /// The living keys of a scope as of a revision.
    pub(in crate::simulator) fn snapshot(&self, scope: &WatchScope, cut: Revision) -> Vec<Entry> {
        self.present(cut, |key| scope.contains(key))
    }

    /// The writes of a scope after a revision.
    pub(in crate::simulator) fn since(&self, scope: &WatchScope, cut: Revision) -> Vec<Entry> {
        let later = self.log.iter().skip(cut.max(self.wiped).get() as usize);
        later
            .map(|(_, entry)| entry)
            .filter(|entry| scope.contains(&entry.key))
            .filter(|entry| {
                let gone = self.vanished.get(&entry.key);
                gone.is_none_or(|gone| entry.revision > *gone)
            })
            .cloned()
            .collect()
    }

    /// What the store says now, and since when.
    pub(in crate::simulator) fn stored(&self) -> Stored {
        let mut stored = Stored::default();
        for (name, indices) in &self.by_key {
            let Some((at, entry)) = indices.last().and_then(|index| self.log.get(*index)) else {
                continue;
            };
            let key = Key::parse(name);
            if !matches!(
                key,
                Key::Head
                    | Key::Session(_)
                    | Key::Assignment(_)
                    | Key::Parked
                    | Key::Control(Verb::Drain | Verb::Cordon | Verb::Evict, _)
            ) {
                continue;
            }
            let record = entry.value.as_deref().map(any_release);
            match (key, record) {
                (Key::Head, Some(Ok(Record::Head(head)))) => stored.head = Some(head),
                (Key::Session(worker), Some(Ok(Record::Session(record)))) => {
                    let epoch = match record.epoch {
                        Epoch::ZERO => Epoch::from(entry.revision),
                        epoch => epoch,
                    };
                    stored.sessions.insert(worker, (*at, epoch, record));
                }
                (Key::Assignment(worker), Some(Ok(Record::Assignment(record)))) => {
                    stored.assignments.insert(worker, (*at, record));
                }
                (Key::Assignment(worker), Some(Ok(Record::Manifest(_)))) => {
                    let whole = self.split.whole(&worker);
                    stored
                        .assignments
                        .extend(whole.map(|record| (worker, (*at, record))));
                }
                (Key::Parked, Some(Ok(Record::Parked(record)))) => stored.parked = record.groups,
                (Key::Control(_, worker), Some(Ok(Record::Control(_)))) => {
                    stored.kept_out.insert(worker);
                }
                _ => {}
            }
        }
        stored
    }

    /// Whether the key has a newer write than this one.
    pub(in crate::simulator) fn is_outdated(&self, entry: &Entry) -> bool {
        self.kv
            .entry(&entry.key)
            .is_some_and(|present| present.revision > entry.revision)
    }

    fn entry(&self, key: &str, cut: Revision) -> Option<&Entry> {
        let indices = self.by_key.get(key)?;
        let count = indices.partition_point(|index| (*index as u64) < cut.get());
        let index = *indices.get(count.checked_sub(1)?)?;
        self.log.get(index).map(|(_, entry)| entry)
    }

    fn present(&self, cut: Revision, wanted: impl Fn(&str) -> bool) -> Vec<Entry> {
        let keys = self.by_key.keys().filter(|key| wanted(key));
        let entries = keys.filter_map(|key| self.entry(key, cut));
        entries
            .filter(|entry| entry.value.is_some())
            .cloned()
            .collect()
    }
}

/// Checkers read what any release wrote: those here differ in the number of their format alone.
const ANY_RELEASE: Formats = Formats {
    oldest: 1,
    newest: u16::MAX,
};

/// The record in these bytes, of whichever release.
pub(in crate::simulator) fn any_release(bytes: &[u8]) -> Result<Record, wire::WireError> {
    wire::decode_as(ANY_RELEASE, bytes)
}

/// An applied write as the checkers see it.
pub(in crate::simulator) fn written(applied: &Applied) -> Written {
    let entry = &applied.entry;
    let value = match &entry.value {
        None => Value::Tombstone,
        Some(bytes) => match any_release(bytes) {
            Ok(record) => Value::Record(Box::new(record)),
            Err(error) => Value::Undecodable(error.to_string()),
        },
    };
    Written {
        name: entry.key.clone(),
        key: Key::parse(&entry.key),
        revision: entry.revision,
        previous: applied.previous,
        expect: applied.expect,
        value,
    }
}
