//! **The one specification of the store port**, as a pure value: what a key-value store with
//! conditional commits does, without time, faults or tasks.
//!
//! Every store in memory wraps it: the one of a single process, the one for tests, and the simulator's.
//! What always holds: a commit happens whole or not at all, every write gets a revision larger than all
//! before it, and a watch shows the last write of each key in the order of revisions.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::model::id::Revision;
use crate::ports::store::{
    Entry, Expect, StoreError, StoreErrorKind, StoreInfo, StoreOp, StoreReply, WatchEvent,
    WatchScope, Write,
};

/// One applied write, as the history keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The key as it is after the write.
    pub entry: Entry,
    /// The revision of the key before the write; zero if it was never written.
    pub previous: Revision,
    /// What the write expected.
    pub expect: Expect,
}

/// Limits a store announces and enforces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most writes one commit may have.
    pub max_batch: usize,
    /// The most bytes one value may have.
    pub max_value: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_batch: 1000,
            max_value: 1 << 20,
        }
    }
}

/// A bucket: keys with their last write, and the revisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kv {
    created: u64,
    limits: Limits,
    /// For how long it has certainly existed.
    age: Duration,
    deleted: bool,
    /// The time of the next write.
    now_ms: u64,
    last: Revision,
    entries: BTreeMap<String, Entry>,
    /// The key last written at each revision that is still the last of its key.
    by_revision: BTreeMap<Revision, String>,
}

impl Default for Kv {
    fn default() -> Self {
        Self::new(1, Limits::default())
    }
}

impl Kv {
    /// An empty bucket that says it was created at `created`.
    #[must_use]
    pub const fn new(created: u64, limits: Limits) -> Self {
        Self {
            created,
            limits,
            age: Duration::MAX,
            deleted: false,
            now_ms: 0,
            last: Revision::ZERO,
            entries: BTreeMap::new(),
            by_revision: BTreeMap::new(),
        }
    }

    /// Tells the time, which never goes back: what is written from now on is written then.
    pub const fn tell_time(&mut self, now_ms: u64) {
        if now_ms > self.now_ms {
            self.now_ms = now_ms;
        }
    }

    /// Deletes the bucket: every request but [`StoreOp::Create`] fails as `Missing` from now on.
    pub const fn delete(&mut self) {
        self.deleted = true;
    }

    /// Whether the bucket is deleted and was not created again.
    #[must_use]
    pub const fn is_deleted(&self) -> bool {
        self.deleted
    }

    /// Begins another history: nothing was ever written, it was created later, and it does not know for
    /// how long it has been there, as a real one.
    pub fn recreate(&mut self) {
        let now_ms = self.now_ms;
        *self = Self::new(self.created + 1, self.limits);
        self.now_ms = now_ms;
        self.age = Duration::ZERO;
    }

    /// Loses every key without a trace; revisions go on.
    pub fn wipe(&mut self) {
        self.entries.clear();
        self.by_revision.clear();
    }

    /// Loses a key without a trace: no revision says so. What it held.
    pub fn vanish(&mut self, key: &str) -> Option<Entry> {
        let gone = self.entries.remove(key)?;
        self.by_revision.remove(&gone.revision);
        Some(gone)
    }

    /// Loses every write but these, which are all up to a revision, in their order.
    pub fn roll_back<'a>(&mut self, log: impl IntoIterator<Item = &'a Entry>) {
        self.wipe();
        self.last = Revision::ZERO;
        for entry in log {
            self.last = entry.revision;
            self.put(entry);
        }
    }

    /// Takes only values of so many bytes from now on.
    pub const fn limit_values(&mut self, bytes: usize) {
        self.limits.max_value = bytes;
    }

    /// The revision of the last write.
    #[must_use]
    pub const fn last_revision(&self) -> Revision {
        self.last
    }

    /// All keys that were ever written, with their last write (a tombstone has no value).
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// The last write of a key.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// Facts about the bucket.
    #[must_use]
    pub fn info(&self) -> StoreInfo {
        StoreInfo {
            created: self.created,
            age: self.age,
            last_revision: self.last,
            version: "in-memory".to_owned(),
            max_batch: self.limits.max_batch,
            max_value: self.limits.max_value,
            faults: Vec::new(),
        }
    }

    /// Executes one request.
    ///
    /// # Errors
    /// `Refused` when an expectation of a commit does not hold, `Rejected` when the request is
    /// malformed or over a limit, `Missing` when the bucket is deleted. Nothing is written then.
    pub fn execute(&mut self, op: &StoreOp) -> Result<StoreReply, StoreError> {
        if self.deleted && *op == StoreOp::Create {
            self.recreate();
        }
        self.check_presence()?;
        match op {
            StoreOp::Get { key } => Ok(StoreReply::Entry(self.entries.get(key).cloned())),
            StoreOp::List { prefix } => Ok(self.list(prefix)),
            StoreOp::Commit { writes } => {
                let applied = self.commit(writes)?;
                Ok(StoreReply::Committed {
                    revisions: revisions(&applied),
                })
            }
            StoreOp::Info | StoreOp::Create => Ok(StoreReply::Info(self.info())),
        }
    }

    fn list(&self, prefix: &str) -> StoreReply {
        let in_prefix = self
            .entries
            .range(prefix.to_owned()..)
            .map(|(_, entry)| entry)
            .take_while(|entry| entry.key.starts_with(prefix));
        let entries = in_prefix
            .filter(|entry| entry.value.is_some())
            .cloned()
            .collect();
        StoreReply::Entries {
            entries,
            last_revision: self.last,
        }
    }

    /// Applies a commit and says what it did, in the order of the writes.
    ///
    /// # Errors
    /// As [`Kv::execute`].
    pub fn commit(&mut self, writes: &[Write]) -> Result<Vec<Applied>, StoreError> {
        self.check_presence()?;
        self.check(writes)?;
        let applied = writes.iter().map(|write| {
            self.last = self.last.next();
            let entry = Entry {
                key: write.key.clone(),
                revision: self.last,
                value: write.value.clone(),
                at_ms: self.now_ms,
            };
            Applied {
                previous: self.put(&entry),
                entry,
                expect: write.expect,
            }
        });
        Ok(applied.collect())
    }

    /// Puts an entry in place; the revision of the one it replaces.
    fn put(&mut self, entry: &Entry) -> Revision {
        // Nearly every write replaces one: its key and its buffers are there already.
        let Some(present) = self.entries.get_mut(&entry.key) else {
            self.entries.insert(entry.key.clone(), entry.clone());
            self.by_revision.insert(entry.revision, entry.key.clone());
            return Revision::ZERO;
        };
        let previous = present.revision;
        present.revision = entry.revision;
        present.value.clone_from(&entry.value);
        present.at_ms = entry.at_ms;
        let key = self.by_revision.remove(&previous);
        let key = key.unwrap_or_else(|| entry.key.clone());
        self.by_revision.insert(entry.revision, key);
        previous
    }

    /// Begins to watch a scope.
    ///
    /// # Errors
    /// `Missing` when the bucket is deleted.
    pub fn watch(&self, scope: WatchScope) -> Result<Following, StoreError> {
        self.check_presence()?;
        Ok(Following {
            scope,
            began: self.last,
            shown: Revision::ZERO,
            caught_up: false,
        })
    }

    fn check_presence(&self) -> Result<(), StoreError> {
        let missing = || StoreError::new(StoreErrorKind::Missing, "the bucket was deleted");
        (!self.deleted).then_some(()).ok_or_else(missing)
    }

    fn check(&self, writes: &[Write]) -> Result<(), StoreError> {
        let rejected = |message| Err(StoreError::new(StoreErrorKind::Rejected, message));
        if writes.is_empty() {
            return rejected("a commit needs at least one write".to_owned());
        }
        if writes.len() > self.limits.max_batch {
            let (len, most) = (writes.len(), self.limits.max_batch);
            return rejected(format!(
                "a commit of {len} writes; at most {most} are allowed"
            ));
        }
        let mut keys: Vec<&str> = writes.iter().map(|write| write.key.as_str()).collect();
        keys.sort_unstable();
        if let Some(pair) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
            return rejected(format!("a commit writes {:?} twice", pair[0]));
        }
        for write in writes {
            if !is_valid_key(&write.key) {
                return rejected(format!("{:?} is not a valid key", write.key));
            }
            let bytes = write.value.as_ref().map_or(0, Vec::len);
            if bytes > self.limits.max_value {
                let most = self.limits.max_value;
                let key = &write.key;
                return rejected(format!(
                    "{bytes} bytes for {key}; at most {most} are allowed"
                ));
            }
        }
        match writes.iter().find(|write| !self.holds(write)) {
            None => Ok(()),
            Some(write) => {
                let found = self.entries.get(&write.key).map(|entry| entry.revision);
                let (key, expect) = (&write.key, write.expect);
                let message = format!("{key} is at {found:?}, expected {expect:?}");
                Err(StoreError::new(StoreErrorKind::Refused, message))
            }
        }
    }

    fn holds(&self, write: &Write) -> bool {
        let entry = self.entries.get(&write.key);
        match write.expect {
            Expect::Any => true,
            Expect::Absent => entry.is_none_or(|entry| entry.value.is_none()),
            Expect::Revision(revision) => {
                entry.map_or(Revision::ZERO, |entry| entry.revision) == revision
            }
        }
    }
}

/// The revisions of applied writes, in their order.
#[must_use]
pub fn revisions(applied: &[Applied]) -> Vec<Revision> {
    applied.iter().map(|write| write.entry.revision).collect()
}

/// A watch of a bucket: what it has shown of it so far. It skips what was replaced meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Following {
    scope: WatchScope,
    began: Revision,
    shown: Revision,
    caught_up: bool,
}

impl Following {
    /// The next event that is there already.
    pub fn next(&mut self, kv: &Kv) -> Option<WatchEvent> {
        let newer = kv.by_revision.range(self.shown.next()..);
        let mut newer = newer.filter_map(|(_, key)| kv.entries.get(key));
        // What was deleted before the watch began was never shown.
        let entry = newer.find(|entry| {
            let is_new = entry.value.is_some() || entry.revision > self.began;
            is_new && self.scope.contains(&entry.key)
        });
        if let Some(entry) = entry {
            self.shown = entry.revision;
            return Some(WatchEvent::Entry(entry.clone()));
        }
        self.shown = kv.last;
        let is_first = !core::mem::replace(&mut self.caught_up, true);
        is_first.then_some(WatchEvent::CaughtUp { revision: kv.last })
    }
}

/// Whether a store must accept the key: non-empty, of `A-Z a-z 0-9 _ - .`, no empty part.
#[must_use]
pub fn is_valid_key(key: &str) -> bool {
    key.split('.').all(|part| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn write(key: &str, value: Option<&[u8]>, expect: Expect) -> Write {
        Write {
            key: key.to_owned(),
            value: value.map(<[u8]>::to_vec),
            expect,
        }
    }

    /// A torn generation would give one partition to two workers.
    #[test]
    fn a_commit_with_one_broken_expectation_changes_nothing() {
        let mut kv = Kv::default();
        let first = kv
            .commit(&[write("a", Some(b"1"), Expect::Absent)])
            .expect("applies");
        let before = kv.clone();
        let revision = first[0].entry.revision;
        let broken = [
            write("a", Some(b"2"), Expect::Revision(revision)),
            write("b", Some(b"2"), Expect::Revision(revision)),
        ];
        let error = kv.commit(&broken).expect_err("refused");
        assert_eq!(error.kind, StoreErrorKind::Refused);
        assert_eq!(kv, before);
        let fine = [
            write("a", None, Expect::Revision(revision)),
            write("b", Some(b"2"), Expect::Absent),
        ];
        let applied = kv.commit(&fine).expect("applies");
        assert_eq!(applied[0].previous, revision);
        assert!(applied[1].entry.revision > applied[0].entry.revision);
        kv.commit(&[write("a", Some(b"3"), Expect::Absent)])
            .expect("a tombstone counts as absent");
    }

    /// A list must not show keys of another prefix or deleted ones.
    #[test]
    fn a_list_has_exactly_the_living_keys_of_the_prefix() {
        let mut kv = Kv::default();
        for key in ["w.a", "w.b", "x.a", "v"] {
            kv.commit(&[write(key, Some(b"1"), Expect::Absent)])
                .expect("applies");
        }
        kv.commit(&[write("w.a", None, Expect::Any)])
            .expect("applies");
        let StoreReply::Entries {
            entries,
            last_revision,
        } = kv.list("w.")
        else {
            panic!("a list answers with entries")
        };
        let keys: Vec<_> = entries.iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!((keys, last_revision.get()), (vec!["w.b"], 5));
    }

    fn keys(watch: &mut Following, kv: &Kv) -> Vec<(String, bool)> {
        let events = core::iter::from_fn(|| watch.next(kv));
        let entries = events.filter_map(|event| match event {
            WatchEvent::Entry(entry) => Some((entry.key, entry.value.is_some())),
            WatchEvent::CaughtUp { .. } | WatchEvent::Lost { .. } => None,
        });
        entries.collect()
    }

    /// A deletion that a watch keeps to itself leaves its reader with what is gone; one of what it
    /// never showed would be noise.
    #[test]
    fn a_watch_shows_the_last_write_of_each_key_and_deletions_of_what_it_showed() {
        let mut kv = Kv::default();
        for key in ["a", "b", "gone"] {
            kv.commit(&[write(key, Some(b"1"), Expect::Absent)])
                .expect("applies");
        }
        kv.commit(&[write("gone", None, Expect::Any)])
            .expect("applies");
        let mut watch = kv.watch(WatchScope::All).expect("there");
        assert!(matches!(watch.next(&kv), Some(WatchEvent::Entry(a)) if a.key == "a"));
        kv.commit(&[write("a", None, Expect::Any)])
            .expect("applies");
        kv.commit(&[write("b", Some(b"2"), Expect::Any)])
            .expect("applies");
        kv.commit(&[write("b", Some(b"3"), Expect::Any)])
            .expect("applies");
        let shown = keys(&mut watch, &kv);
        assert_eq!(shown, [("a".to_owned(), false), ("b".to_owned(), true)]);
        assert_eq!(watch.next(&kv), None);
    }

    /// A store that writes into a bucket that is gone would bring it back with half its records.
    #[test]
    fn a_deleted_bucket_does_nothing_until_it_is_created_and_then_is_another() {
        let mut kv = Kv::default();
        kv.commit(&[write("a", Some(b"1"), Expect::Absent)])
            .expect("applies");
        kv.delete();
        let put = [write("b", Some(b"1"), Expect::Any)];
        let error = kv.commit(&put).expect_err("missing");
        assert_eq!(error.kind, StoreErrorKind::Missing);
        assert!(kv.execute(&StoreOp::Info).is_err() && kv.watch(WatchScope::All).is_err());
        let before = kv.info();
        kv.execute(&StoreOp::Create).expect("created");
        let after = kv.info();
        assert!(after.created != before.created && after.age == Duration::ZERO);
        assert_eq!((after.last_revision, kv.entry("a")), (Revision::ZERO, None));
    }
}
