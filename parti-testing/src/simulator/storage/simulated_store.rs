//! The simulator's store behind the port, so that it is held to the same suite as every other.
//!
//! It is separate because the simulator itself asks its store directly, in its own time. What
//! always holds: commits, stale reads and the begin of a watch are the simulator's own code; only
//! the waiting is here.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use async_trait::async_trait;
use parti_core::{
    Entry, Instant, Revision, Store, StoreError, StoreErrorKind, StoreOp, StoreReply, Watch,
    WatchEvent, WatchScope, Write,
};

use crate::kit::random::Random;
use crate::simulator::storage::store::SimStore;

/// How many revisions a stale read may be behind.
const BEHIND_MAX: u64 = 10;

/// The simulator's store as a [`Store`]. Clones are handles of the same store.
#[derive(Clone, Debug)]
pub struct SimulatedStore {
    shared: Arc<Mutex<Shared>>,
}

/// How much of what the port allows the store makes use of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Reads are fresh and watches show every write once.
    Prompt,
    /// Reads and the marks of watches are as old as the seed says; watches skip what was replaced
    /// and repeat what was shown.
    Reluctant {
        /// What it follows from.
        seed: u64,
    },
}

#[derive(Debug)]
struct Shared {
    store: SimStore,
    commits: u64,
    random: Option<Random>,
    waiting: Vec<Waker>,
}

impl SimulatedStore {
    /// An empty store.
    #[must_use]
    pub fn new(manner: Manner) -> Self {
        let random = match manner {
            Manner::Prompt => None,
            Manner::Reluctant { seed } => Some(Random::new(seed, "reluctant")),
        };
        let shared = Shared {
            store: SimStore::default(),
            commits: 0,
            random,
            waiting: Vec::new(),
        };
        Self {
            shared: Arc::new(Mutex::new(shared)),
        }
    }

    /// No panic leaves the store half changed, so a poisoned lock is usable.
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for SimulatedStore {
    async fn execute(&self, op: StoreOp) -> Result<StoreReply, StoreError> {
        self.lock().execute(&op)
    }

    async fn watch(&self, scope: WatchScope) -> Result<Box<dyn Watch>, StoreError> {
        let mut shared = self.lock();
        let cut = shared.cut();
        let present = shared.store.snapshot(&scope, cut);
        let present = present.into_iter().map(WatchEvent::Entry);
        let mark = WatchEvent::CaughtUp { revision: cut };
        Ok(Box::new(SimulatedWatch {
            store: self.clone(),
            events: present.chain([mark]).collect(),
            scope,
            shown: cut,
        }))
    }
}

impl Shared {
    fn execute(&mut self, op: &StoreOp) -> Result<StoreReply, StoreError> {
        match op {
            StoreOp::Commit { writes } => self.commit(writes),
            StoreOp::Info | StoreOp::Create => {
                let now = Instant::from_millis(self.commits);
                if *op == StoreOp::Create {
                    self.store.ensure(now);
                }
                Ok(StoreReply::Info(self.store.info()))
            }
            StoreOp::Get { .. } | StoreOp::List { .. } => {
                let cut = self.cut();
                let reply = self.store.read(op, cut);
                reply.ok_or_else(|| StoreError::new(StoreErrorKind::Rejected, "not a read"))
            }
        }
    }

    fn commit(&mut self, writes: &[Write]) -> Result<StoreReply, StoreError> {
        self.commits += 1;
        let applied = self
            .store
            .commit(Instant::from_millis(self.commits), writes)?;
        self.waiting.drain(..).for_each(Waker::wake);
        let revisions = applied.iter().map(|write| write.entry.revision).collect();
        Ok(StoreReply::Committed { revisions })
    }

    /// Up to which revision a read sees.
    fn cut(&mut self) -> Revision {
        let last = self.store.last_revision();
        let behind = self
            .random
            .as_mut()
            .map_or(0, |random| random.below(BEHIND_MAX));
        Revision::new(last.get().saturating_sub(behind))
    }

    fn next_change(&mut self, scope: &WatchScope, shown: &mut Revision) -> Option<Entry> {
        for entry in self.store.since(scope, *shown) {
            let skipped = self.store.is_outdated(&entry) && self.is_heads();
            // A repetition is the same entry again when it is asked for next.
            if skipped || !self.is_heads() {
                *shown = entry.revision;
            }
            if !skipped {
                return Some(entry);
            }
        }
        None
    }

    fn is_heads(&mut self) -> bool {
        self.random
            .as_mut()
            .is_some_and(|random| random.below(2) == 0)
    }
}

struct SimulatedWatch {
    store: SimulatedStore,
    scope: WatchScope,
    events: VecDeque<WatchEvent>,
    shown: Revision,
}

#[async_trait]
impl Watch for SimulatedWatch {
    async fn next(&mut self) -> WatchEvent {
        std::future::poll_fn(|context| {
            if let Some(event) = self.events.pop_front() {
                return Poll::Ready(event);
            }
            let mut shared = self.store.lock();
            if let Some(entry) = shared.next_change(&self.scope, &mut self.shown) {
                return Poll::Ready(WatchEvent::Entry(entry));
            }
            shared.waiting.push(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kit::conformance;

    /// Millions of simulated runs rest on this store; what it does wrong they cannot find.
    #[tokio::test]
    async fn the_prompt_simulated_store_keeps_the_contract() {
        let report = conformance::run(async || SimulatedStore::new(Manner::Prompt)).await;
        assert!(report.is_ok(), "{report}");
    }
}
