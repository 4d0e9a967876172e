//! The store port in memory: for groups whose workers live in one process.
//!
//! It is the specification [`Kv`] behind a lock, and the waiting. It is separate from the test kit's
//! store, which injects faults: this one is for use.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use parti_core::kv::{Following, Kv, Limits};
use parti_core::{
    Liveness, Revision, Store, StoreError, StoreOp, StoreReply, Watch, WatchEvent, WatchScope,
};
use tokio::sync::watch;
use tokio::time::Instant;

use processes::Processes;

mod processes;

const LIMITS: Limits = Limits {
    max_batch: 10_000,
    max_value: 16 << 20,
};

/// A store in the memory of this process. Clones share it.
#[derive(Clone, Debug)]
pub struct LocalStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// What the wall clock and the other one said when it was made.
    made: (u64, Instant),
    kv: Mutex<Kv>,
    last: watch::Sender<Revision>,
    processes: Processes,
}

impl LocalStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        let created = wall.map_or(0, |wall| u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX));
        Self(Arc::new(Inner {
            made: (created / 1_000_000, Instant::now()),
            // It lives as long as the workers that could rely on it, so its age is no question.
            kv: Mutex::new(Kv::new(created, LIMITS)),
            last: watch::Sender::new(Revision::ZERO),
            processes: Processes::default(),
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
        let mut kv = self.0.kv();
        kv.tell_time(self.0.now_ms());
        let reply = kv.execute(&op)?;
        self.0.last.send_if_modified(|last| {
            std::mem::replace(last, kv.last_revision()) != kv.last_revision()
        });
        Ok(reply)
    }

    async fn watch(&self, scope: WatchScope) -> Result<Box<dyn Watch>, StoreError> {
        Ok(Box::new(LocalWatch {
            last: self.0.last.subscribe(),
            following: self.0.kv().watch(scope)?,
            store: Arc::clone(&self.0),
        }))
    }

    fn liveness(&self) -> Option<Arc<dyn Liveness>> {
        Some(Arc::new(self.0.processes.clone()))
    }
}

impl Inner {
    fn now_ms(&self) -> u64 {
        let (wall, made) = self.made;
        let passed = u64::try_from(made.elapsed().as_millis());
        wall.saturating_add(passed.unwrap_or(u64::MAX))
    }

    /// A panic cannot leave a commit half-done, so a poisoned lock is as good as any.
    fn kv(&self) -> MutexGuard<'_, Kv> {
        self.kv.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct LocalWatch {
    store: Arc<Inner>,
    last: watch::Receiver<Revision>,
    following: Following,
}

#[async_trait]
impl Watch for LocalWatch {
    async fn next(&mut self) -> WatchEvent {
        loop {
            self.last.mark_unchanged();
            if let Some(event) = self.following.next(&self.store.kv()) {
                return event;
            }
            if self.last.changed().await.is_err() {
                let reason = "the store is gone".to_owned();
                return WatchEvent::Lost { reason };
            }
        }
    }
}
