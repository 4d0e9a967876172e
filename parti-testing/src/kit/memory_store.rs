//! A store in memory: for tests, examples and groups within one process.
//!
//! It is the specification [`Kv`] behind a lock, plus watches and faults on demand. It needs no
//! runtime. What always holds: without faults it keeps the contract of the port to the letter, which
//! the conformance suite checks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use async_trait::async_trait;
use parti_core::kv::{Following, Kv, Limits, revisions};
use parti_core::{
    Entry, Expect, Revision, Store, StoreError, StoreErrorKind, StoreOp, StoreReply, Watch,
    WatchEvent, WatchScope, Write,
};

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
    unavailable: bool,
    failures: VecDeque<InjectedFailure>,
    /// The running watches, by the number each got.
    watches: BTreeMap<u64, Feed>,
    watched: u64,
    counts: BTreeMap<OpKind, u64>,
}

/// A failure that is to come.
#[derive(Clone, Copy, Debug)]
struct InjectedFailure {
    kind: StoreErrorKind,
    applied: bool,
}

/// What a watch has shown, or why it is lost, and who waits for it.
#[derive(Debug)]
struct Feed {
    following: Result<Following, String>,
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

    /// Ends every running watch with [`WatchEvent::Lost`], whatever it had still to say.
    pub fn lose_watches(&self) {
        self.lock().lose_watches("lost on demand");
    }

    /// Replaces the bucket by an empty one with another history: revisions begin again.
    pub fn recreate(&self) {
        let mut shared = self.lock();
        shared.kv.recreate();
        shared.log.clear();
        shared.lose_watches("the bucket was created again");
    }

    /// Deletes the bucket: every request but [`StoreOp::Create`] fails as `Missing` from now on.
    pub fn delete(&self) {
        let mut shared = self.lock();
        shared.kv.delete();
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
        self.lock().watches.len()
    }

    fn write_by_hand(&self, key: &str, value: Option<Vec<u8>>) -> Revision {
        let write = Write {
            key: key.to_owned(),
            value,
            expect: Expect::Any,
        };
        let mut shared = self.lock();
        match shared.commit(&[write]) {
            Ok(_) => shared.kv.last_revision(),
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
        Ok(Box::new(MemoryWatch {
            number: self.lock().watch(scope)?,
            store: self.clone(),
        }))
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
            StoreOp::Commit { writes } => self.commit(writes),
            StoreOp::Create if self.kv.is_deleted() => {
                self.log.clear();
                self.kv.execute(op)
            }
            StoreOp::Create | StoreOp::Get { .. } | StoreOp::Info | StoreOp::List { .. } => {
                self.kv.execute(op)
            }
        }
    }

    fn commit(&mut self, writes: &[Write]) -> Result<StoreReply, StoreError> {
        let applied = self.kv.commit(writes)?;
        let revisions = revisions(&applied);
        self.log
            .extend(applied.into_iter().map(|write| write.entry));
        self.watches.values_mut().for_each(Feed::wake);
        Ok(StoreReply::Committed { revisions })
    }

    fn watch(&mut self, scope: WatchScope) -> Result<u64, StoreError> {
        if let Some(failure) = self.failure(OpKind::Watch) {
            return Err(StoreError::new(failure.kind, "failed on demand"));
        }
        let feed = Feed {
            following: Ok(self.kv.watch(scope)?),
            waker: None,
        };
        self.watched += 1;
        self.watches.insert(self.watched, feed);
        Ok(self.watched)
    }

    fn lose_watches(&mut self, reason: &str) {
        for feed in self.watches.values_mut() {
            feed.following = Err(reason.to_owned());
            feed.wake();
        }
    }

    fn poll(&mut self, watch: u64, waker: &Waker) -> Poll<WatchEvent> {
        let Some(Feed {
            following,
            waker: waiting,
        }) = self.watches.get_mut(&watch)
        else {
            return Poll::Pending;
        };
        let event = match following {
            Ok(following) => following.next(&self.kv),
            Err(reason) => Some(WatchEvent::Lost {
                reason: reason.clone(),
            }),
        };
        event.map_or_else(
            || {
                *waiting = Some(waker.clone());
                Poll::Pending
            },
            Poll::Ready,
        )
    }
}

impl Feed {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// A running watch; the store knows it only as long as somebody holds it.
#[derive(Debug)]
struct MemoryWatch {
    store: MemoryStore,
    number: u64,
}

#[async_trait]
impl Watch for MemoryWatch {
    async fn next(&mut self) -> WatchEvent {
        std::future::poll_fn(|context| self.store.lock().poll(self.number, context.waker())).await
    }
}

impl Drop for MemoryWatch {
    fn drop(&mut self) {
        self.store.lock().watches.remove(&self.number);
    }
}

#[cfg(test)]
mod tests;
