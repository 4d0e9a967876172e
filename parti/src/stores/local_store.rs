//! The store port in memory: for groups whose workers live in one process.
//!
//! It is separate from the test kit's store, which injects faults: this one is for use. What always
//! holds: a commit happens whole or not at all, and watches see every change in order.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use parti_core::{
    Entry, Expect, Revision, Store, StoreError, StoreErrorKind, StoreInfo, StoreOp, StoreReply,
    Watch, WatchEvent, WatchScope, Write,
};
use tokio::sync::watch;

/// The most writes one commit may have.
const MAX_BATCH: usize = 10_000;
/// The most bytes one value may have.
const MAX_VALUE: usize = 16 << 20;

/// A store in the memory of this process. Clones share it.
#[derive(Clone, Debug)]
pub struct LocalStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    created: u64,
    bucket: Mutex<Bucket>,
    last: watch::Sender<Revision>,
}

#[derive(Debug, Default)]
struct Bucket {
    entries: BTreeMap<String, Entry>,
    /// The key last written at each revision that is still the last of its key.
    by_revision: BTreeMap<Revision, String>,
    last: Revision,
}

impl LocalStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        let created = wall.map_or(0, |wall| u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX));
        Self(Arc::new(Inner {
            created,
            bucket: Mutex::default(),
            last: watch::Sender::new(Revision::ZERO),
        }))
    }
}

impl Default for LocalStore {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Store for LocalStore {
    async fn execute(&self, op: StoreOp) -> Result<StoreReply, StoreError> {
        let mut bucket = self.0.bucket();
        match op {
            StoreOp::Get { key } => Ok(StoreReply::Entry(bucket.entries.get(&key).cloned())),
            StoreOp::List { prefix } => Ok(StoreReply::Entries {
                entries: bucket.list(&prefix),
                last_revision: bucket.last,
            }),
            StoreOp::Commit { writes } => {
                let revisions = bucket.commit(writes)?;
                self.0.last.send_replace(bucket.last);
                Ok(StoreReply::Committed { revisions })
            }
            StoreOp::Info | StoreOp::Create => Ok(StoreReply::Info(StoreInfo {
                created: self.0.created,
                // It lives as long as the workers that could rely on it.
                age: Duration::MAX,
                last_revision: bucket.last,
                version: "local".to_owned(),
                max_batch: MAX_BATCH,
                max_value: MAX_VALUE,
                faults: Vec::new(),
            })),
        }
    }

    async fn watch(&self, scope: WatchScope) -> Result<Box<dyn Watch>, StoreError> {
        Ok(Box::new(LocalWatch {
            last: self.0.last.subscribe(),
            store: Arc::clone(&self.0),
            scope,
            seen: Revision::ZERO,
            caught_up: false,
        }))
    }
}

impl Inner {
    /// A panic cannot leave a commit half-done, so a poisoned lock is as good as any.
    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bucket {
    fn list(&self, prefix: &str) -> Vec<Entry> {
        let from = self
            .entries
            .range(prefix.to_owned()..)
            .map(|(_, entry)| entry);
        let inside = from.take_while(|entry| entry.key.starts_with(prefix));
        inside
            .filter(|entry| entry.value.is_some())
            .cloned()
            .collect()
    }

    fn commit(&mut self, writes: Vec<Write>) -> Result<Vec<Revision>, StoreError> {
        self.check(&writes)?;
        let revisions = writes.into_iter().map(|write| {
            self.last = self.last.next();
            let Write { key, value, .. } = write;
            let (revision, name) = (self.last, key.clone());
            let entry = Entry {
                key,
                revision,
                value,
            };
            if let Some(old) = self.entries.insert(name.clone(), entry) {
                self.by_revision.remove(&old.revision);
            }
            self.by_revision.insert(revision, name);
            revision
        });
        Ok(revisions.collect())
    }

    fn check(&self, writes: &[Write]) -> Result<(), StoreError> {
        let rejected = |message| Err(StoreError::new(StoreErrorKind::Rejected, message));
        if writes.is_empty() || writes.len() > MAX_BATCH {
            let len = writes.len();
            return rejected(format!(
                "a commit of {len} writes; allowed are 1 to {MAX_BATCH}"
            ));
        }
        let mut keys: Vec<&str> = writes.iter().map(|write| write.key.as_str()).collect();
        keys.sort_unstable();
        if let Some(pair) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
            return rejected(format!("a commit writes {:?} twice", pair[0]));
        }
        for Write { key, value, .. } in writes {
            let bytes = value.as_ref().map_or(0, Vec::len);
            if !is_valid_key(key) || bytes > MAX_VALUE {
                let rule = "A-Z a-z 0-9 _ - in parts joined by dots";
                return rejected(format!(
                    "{bytes} bytes for {key:?}; keys are {rule}, values at most {MAX_VALUE} bytes"
                ));
            }
        }
        match writes.iter().find(|write| !self.holds(write)) {
            None => Ok(()),
            Some(Write { key, expect, .. }) => {
                let found = self.entries.get(key).map(|entry| entry.revision);
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

fn is_valid_key(key: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    key.split('.')
        .all(|part| !part.is_empty() && part.chars().all(allowed))
}

/// A reader of the last write of each key, in the order of revisions.
struct LocalWatch {
    store: Arc<Inner>,
    last: watch::Receiver<Revision>,
    scope: WatchScope,
    seen: Revision,
    caught_up: bool,
}

impl LocalWatch {
    /// The next event that is there already.
    fn poll(&mut self) -> Option<WatchEvent> {
        let bucket = self.store.bucket();
        let mut newer = bucket.by_revision.range(self.seen.next()..);
        let entry = newer.find_map(|(_, key)| {
            let wanted = self.scope.contains(key);
            bucket.entries.get(key).filter(|_| wanted)
        });
        if let Some(entry) = entry {
            self.seen = entry.revision;
            return Some(WatchEvent::Entry(entry.clone()));
        }
        self.seen = bucket.last;
        let first = !std::mem::replace(&mut self.caught_up, true);
        first.then_some(WatchEvent::CaughtUp {
            revision: bucket.last,
        })
    }
}

#[async_trait]
impl Watch for LocalWatch {
    async fn next(&mut self) -> WatchEvent {
        loop {
            self.last.mark_unchanged();
            if let Some(event) = self.poll() {
                return event;
            }
            if self.last.changed().await.is_err() {
                let reason = "the store is gone".to_owned();
                return WatchEvent::Lost { reason };
            }
        }
    }
}
