//! A store in memory: for tests, examples and groups within one process.
//!
//! It is the specification [`Kv`] behind a lock, plus watches and faults on demand. It needs no
//! runtime. What always holds: without faults it keeps the contract of the port to the letter, which
//! the conformance suite checks.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Poll, Waker};

use async_trait::async_trait;
use parti_core::{
    Entry, Expect, Revision, Store, StoreError, StoreErrorKind, StoreInfo, StoreOp, StoreReply,
    Watch, WatchEvent, WatchScope, Write,
};

use crate::kit::kv::{Kv, Limits};

/// A store in memory. Clones are handles of the same store.
///
/// ```
/// use parti_core::StoreErrorKind;
/// use parti_testing::kit::memory_store::{MemoryStore, OpKind};
///
/// let store = MemoryStore::new();
/// store.plant("head", b"not a record");
/// store.fail_next(1, StoreErrorKind::Unknown, true);
/// assert_eq!(store.op_count(OpKind::Commit), 0);
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    shared: Arc<Mutex<Shared>>,
}

/// A kind of request, for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OpKind {
    /// [`StoreOp::Get`].
    Get,
    /// [`StoreOp::List`].
    List,
    /// [`StoreOp::Commit`].
    Commit,
    /// [`StoreOp::Info`].
    Info,
    /// [`StoreOp::Create`].
    Create,
    /// [`Store::watch`].
    Watch,
}

#[derive(Debug, Default)]
struct Shared {
    kv: Kv,
    /// Every write of the present history, in order.
    log: Vec<Entry>,
    /// Whether the bucket was created after a loss.
    created_again: bool,
    deleted: bool,
    unavailable: bool,
    failures: VecDeque<InjectedFailure>,
    watches: Vec<Weak<Mutex<Feed>>>,
    counts: BTreeMap<OpKind, u64>,
}

/// A failure that is to come.
#[derive(Clone, Copy, Debug)]
struct InjectedFailure {
    kind: StoreErrorKind,
    applied: bool,
}

/// What a watch has still to say.
#[derive(Debug)]
struct Feed {
    scope: WatchScope,
    events: VecDeque<WatchEvent>,
    lost: Option<String>,
    waker: Option<Waker>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    /// An empty store with these limits.
    #[must_use]
    pub fn with_limits(limits: Limits) -> Self {
        let kv = Kv::new(1, limits);
        let shared = Shared {
            kv,
            ..Shared::default()
        };
        Self {
            shared: Arc::new(Mutex::new(shared)),
        }
    }

    /// Lets the next `count` requests fail in this way. With `applied` they are carried out all the
    /// same, which is what [`StoreErrorKind::Unknown`] may mean.
    pub fn fail_next(&self, count: usize, kind: StoreErrorKind, applied: bool) {
        let failures = std::iter::repeat_n(InjectedFailure { kind, applied }, count);
        self.lock().failures.extend(failures);
    }

    /// Makes every request and every new watch fail as `Unavailable`, or ends that. Running watches
    /// go on; there is nothing they could say.
    pub fn set_unavailable(&self, unavailable: bool) {
        self.lock().unavailable = unavailable;
    }

    /// Ends every running watch with [`WatchEvent::Lost`].
    pub fn lose_watches(&self) {
        self.lock().lose_watches("lost on demand");
    }

    /// Replaces the bucket by an empty one with another history: revisions begin again.
    pub fn recreate(&self) {
        let mut shared = self.lock();
        shared.recreate();
        shared.lose_watches("the bucket was created again");
    }

    /// Deletes the bucket: every request but [`StoreOp::Create`] fails as `Missing` from now on.
    pub fn delete(&self) {
        let mut shared = self.lock();
        shared.deleted = true;
        shared.lose_watches("the bucket was deleted");
    }

    /// Loses every key without a trace while revisions go on, as when a stream is purged. Watches
    /// say nothing about it.
    pub fn wipe(&self) {
        self.lock().kv.wipe();
    }

    /// Loses every write after a revision, as when a server did not get to write it down.
    pub fn roll_back(&self, revision: Revision) {
        let mut shared = self.lock();
        shared.log.retain(|entry| entry.revision <= revision);
        let Shared { kv, log, .. } = &mut *shared;
        kv.roll_back(log.iter());
        shared.lose_watches("the bucket was rolled back");
    }

    /// The revision of the last write.
    #[must_use]
    pub fn last_revision(&self) -> Revision {
        self.lock().kv.last_revision()
    }

    /// Writes a value by hand, whatever is there; answers its revision. Watches see it.
    ///
    /// # Panics
    /// When the key is not valid or the value is over the limit, which is a mistake of the test.
    pub fn plant(&self, key: &str, value: &[u8]) -> Revision {
        self.write_by_hand(key, Some(value.to_vec()))
    }

    /// Deletes a key by hand; answers the revision of the tombstone. Watches see it.
    ///
    /// # Panics
    /// When the key is not valid.
    pub fn uproot(&self, key: &str) -> Revision {
        self.write_by_hand(key, None)
    }

    /// The last write of a key; a tombstone has no value.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<Entry> {
        self.lock().kv.entry(key).cloned()
    }

    /// Every key that was ever written with its last write, in the order of the keys.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.lock().kv.entries().cloned().collect()
    }

    /// How many requests of a kind there were, failed ones included.
    #[must_use]
    pub fn op_count(&self, kind: OpKind) -> u64 {
        self.lock().counts.get(&kind).copied().unwrap_or(0)
    }

    /// How many watches are running.
    #[must_use]
    pub fn watch_count(&self) -> usize {
        let mut shared = self.lock();
        shared.watches.retain(|feed| feed.strong_count() > 0);
        shared.watches.len()
    }

    fn write_by_hand(&self, key: &str, value: Option<Vec<u8>>) -> Revision {
        let write = Write {
            key: key.to_owned(),
            value,
            expect: Expect::Any,
        };
        match self.lock().commit(&[write]) {
            Ok(revisions) => revisions.last().copied().unwrap_or(Revision::ZERO),
            Err(error) => panic!("cannot plant {key:?}: {error}"),
        }
    }

    /// The state is a value that no panic can leave half changed, so a poisoned lock is usable.
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn execute(&self, op: StoreOp) -> Result<StoreReply, StoreError> {
        self.lock().execute(&op)
    }

    async fn watch(&self, scope: WatchScope) -> Result<Box<dyn Watch>, StoreError> {
        let feed = self.lock().watch(scope)?;
        Ok(Box::new(MemoryWatch { feed }))
    }
}

impl Shared {
    fn execute(&mut self, op: &StoreOp) -> Result<StoreReply, StoreError> {
        let kind = match op {
            StoreOp::Get { .. } => OpKind::Get,
            StoreOp::List { .. } => OpKind::List,
            StoreOp::Commit { .. } => OpKind::Commit,
            StoreOp::Info => OpKind::Info,
            StoreOp::Create => OpKind::Create,
        };
        match self.failure(kind) {
            None => self.carry_out(op),
            Some(InjectedFailure { kind, applied }) => {
                if applied {
                    // The caller is not told: that is the point.
                    let _ = self.carry_out(op);
                }
                Err(StoreError::new(kind, "failed on demand"))
            }
        }
    }

    fn failure(&mut self, kind: OpKind) -> Option<InjectedFailure> {
        *self.counts.entry(kind).or_default() += 1;
        let unavailable = InjectedFailure {
            kind: StoreErrorKind::Unavailable,
            applied: false,
        };
        self.failures
            .pop_front()
            .or_else(|| self.unavailable.then_some(unavailable))
    }

    fn carry_out(&mut self, op: &StoreOp) -> Result<StoreReply, StoreError> {
        match op {
            StoreOp::Create => {
                if self.deleted {
                    self.recreate();
                }
                Ok(StoreReply::Info(self.info()))
            }
            _ if self.deleted => {
                let message = "the bucket was deleted";
                Err(StoreError::new(StoreErrorKind::Missing, message))
            }
            StoreOp::Commit { writes } => {
                let revisions = self.commit(writes)?;
                Ok(StoreReply::Committed { revisions })
            }
            StoreOp::Info => Ok(StoreReply::Info(self.info())),
            StoreOp::Get { .. } | StoreOp::List { .. } => self.kv.execute(op),
        }
    }

    fn recreate(&mut self) {
        self.kv.recreate();
        self.log.clear();
        (self.created_again, self.deleted) = (true, false);
    }

    fn info(&self) -> StoreInfo {
        // One that was created again does not know for how long it has been there, as a real one.
        let known = !self.created_again;
        let age = if known { Duration::MAX } else { Duration::ZERO };
        StoreInfo {
            age,
            ..self.kv.info()
        }
    }

    fn commit(&mut self, writes: &[Write]) -> Result<Vec<Revision>, StoreError> {
        let applied = self.kv.commit(writes)?;
        self.log
            .extend(applied.iter().map(|write| write.entry.clone()));
        self.watches.retain(|feed| feed.strong_count() > 0);
        for feed in self.watches.iter().filter_map(Weak::upgrade) {
            let mut feed = feed.lock().unwrap_or_else(PoisonError::into_inner);
            for write in &applied {
                feed.push(&write.entry);
            }
        }
        Ok(applied
            .into_iter()
            .map(|write| write.entry.revision)
            .collect())
    }

    fn watch(&mut self, scope: WatchScope) -> Result<Arc<Mutex<Feed>>, StoreError> {
        if let Some(failure) = self.failure(OpKind::Watch) {
            return Err(StoreError::new(failure.kind, "failed on demand"));
        }
        if self.deleted {
            let message = "the bucket was deleted";
            return Err(StoreError::new(StoreErrorKind::Missing, message));
        }
        let present = self.kv.entries().filter(|entry| entry.value.is_some());
        let present = present.filter(|entry| scope.contains(&entry.key)).cloned();
        let mut events: VecDeque<_> = present.map(WatchEvent::Entry).collect();
        events.push_back(WatchEvent::CaughtUp {
            revision: self.kv.last_revision(),
        });
        let feed = Arc::new(Mutex::new(Feed {
            scope,
            events,
            lost: None,
            waker: None,
        }));
        self.watches.push(Arc::downgrade(&feed));
        Ok(feed)
    }

    fn lose_watches(&mut self, reason: &str) {
        for feed in self.watches.drain(..).filter_map(|feed| feed.upgrade()) {
            let mut feed = feed.lock().unwrap_or_else(PoisonError::into_inner);
            feed.lost = Some(reason.to_owned());
            feed.wake();
        }
    }
}

impl Feed {
    fn push(&mut self, entry: &Entry) {
        if self.scope.contains(&entry.key) {
            self.events.push_back(WatchEvent::Entry(entry.clone()));
            self.wake();
        }
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn poll(&mut self, waker: &Waker) -> Poll<WatchEvent> {
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(event);
        }
        if let Some(reason) = &self.lost {
            return Poll::Ready(WatchEvent::Lost {
                reason: reason.clone(),
            });
        }
        self.waker = Some(waker.clone());
        Poll::Pending
    }
}

/// A running watch; the store knows it only as long as somebody holds it.
#[derive(Debug)]
struct MemoryWatch {
    feed: Arc<Mutex<Feed>>,
}

#[async_trait]
impl Watch for MemoryWatch {
    async fn next(&mut self) -> WatchEvent {
        std::future::poll_fn(|context| {
            let mut feed = self.feed.lock().unwrap_or_else(PoisonError::into_inner);
            feed.poll(context.waker())
        })
        .await
    }
}

#[cfg(test)]
mod tests;
