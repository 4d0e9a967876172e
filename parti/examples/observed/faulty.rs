//! A store in memory that can be out of reach.

use std::sync::Arc;

use parti::store::{LocalStore, Store, StoreError, StoreErrorKind};
use parti_core::{StoreOp, StoreReply, Watch, WatchEvent, WatchScope};
use tokio::sync::watch;

/// A store that fails every request and keeps its watches silent while it is down. Clones share it.
#[derive(Clone)]
pub(crate) struct FaultyStore {
    inner: LocalStore,
    down: Arc<watch::Sender<bool>>,
}

impl FaultyStore {
    pub(crate) fn new() -> Self {
        Self {
            inner: LocalStore::new(),
            down: Arc::new(watch::Sender::new(false)),
        }
    }

    /// Begins or ends an outage.
    pub(crate) fn set_down(&self, down: bool) {
        self.down.send_replace(down);
    }

    fn check(&self) -> Result<(), StoreError> {
        if *self.down.borrow() {
            let message = "an outage was injected";
            return Err(StoreError::new(StoreErrorKind::Unavailable, message));
        }
        Ok(())
    }
}

#[parti::async_trait]
impl Store for FaultyStore {
    async fn execute(&self, op: StoreOp) -> Result<StoreReply, StoreError> {
        self.check()?;
        self.inner.execute(op).await
    }

    async fn watch(&self, scope: WatchScope) -> Result<Box<dyn Watch>, StoreError> {
        self.check()?;
        Ok(Box::new(FaultyWatch {
            inner: self.inner.watch(scope).await?,
            down: self.down.subscribe(),
        }))
    }
}

struct FaultyWatch {
    inner: Box<dyn Watch>,
    down: watch::Receiver<bool>,
}

#[parti::async_trait]
impl Watch for FaultyWatch {
    async fn next(&mut self) -> WatchEvent {
        if self.down.wait_for(|down| !down).await.is_err() {
            let reason = "the store is gone".to_owned();
            return WatchEvent::Lost { reason };
        }
        self.inner.next().await
    }
}
