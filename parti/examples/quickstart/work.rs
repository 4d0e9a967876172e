//! The work of a worker: it writes to a resource that refuses tokens smaller than the last.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use parti::{
    Guard, HandlerError, PartitionHandler, PartitionKey, Preparation, RevokeCause, Token, WorkerId,
    async_trait,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::record::Record;

/// A database in miniature: one row for each partition, fenced by the largest token seen.
#[derive(Default)]
pub(crate) struct Resource {
    rows: Mutex<BTreeMap<PartitionKey, Token>>,
    accepted: AtomicU64,
    refused: AtomicU64,
}

impl Resource {
    /// Writes in the name of an owner; an owner that is no more is refused.
    pub(crate) fn write(&self, partition: &PartitionKey, token: Token) -> Result<(), Token> {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let largest = rows.entry(partition.clone()).or_insert(token);
        if token < *largest {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(*largest);
        }
        *largest = token;
        self.accepted.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

/// The handler of one worker: a task for each partition.
#[derive(Clone)]
pub(crate) struct Work(Arc<Inner>);

struct Inner {
    resource: Arc<Resource>,
    record: Arc<Record>,
    /// How long it takes to get ready for a partition.
    warmup: Duration,
    name: watch::Sender<String>,
    tasks: Mutex<BTreeMap<PartitionKey, JoinHandle<()>>>,
}

impl Work {
    pub(crate) fn new(resource: Arc<Resource>, record: Arc<Record>, warmup: Duration) -> Self {
        Self(Arc::new(Inner {
            resource,
            record,
            warmup,
            name: watch::Sender::default(),
            tasks: Mutex::default(),
        }))
    }

    /// Tells the handler who it is; its partitions wait for that.
    pub(crate) fn named(&self, worker: &WorkerId) {
        self.0.name.send_replace(worker.to_string());
    }

    fn tasks(&self) -> MutexGuard<'_, BTreeMap<PartitionKey, JoinHandle<()>>> {
        self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn name(&self) -> String {
        let mut name = self.0.name.subscribe();
        let named = name.wait_for(|name| !name.is_empty()).await;
        named.map_or_else(|_| String::new(), |name| name.clone())
    }
}

#[async_trait]
impl PartitionHandler for Work {
    async fn on_assigned(
        &self,
        partition: &PartitionKey,
        guard: Guard,
    ) -> Result<(), HandlerError> {
        self.0.record.assigned(&self.name().await, guard.clone());
        let task = tokio::spawn(process(Arc::clone(&self.0.resource), guard));
        self.tasks().insert(partition.clone(), task);
        Ok(())
    }

    async fn on_revoked(&self, partition: &PartitionKey, _: Guard, _cause: RevokeCause) {
        let task = self.tasks().remove(partition);
        if let Some(task) = task {
            // It has ended by itself: its guard says that the partition is being taken away.
            let _ = task.await;
        }
        self.0.record.revoked(&self.name().await, partition);
    }

    fn prepares(&self) -> bool {
        !self.0.warmup.is_zero()
    }

    /// Loads what the partition needs. Its owner works on meanwhile.
    async fn on_prepare(&self, _: &PartitionKey, _: Preparation) -> Result<(), HandlerError> {
        tokio::time::sleep(self.0.warmup).await;
        Ok(())
    }
}

/// Works on one partition until it is taken away.
async fn process(resource: Arc<Resource>, guard: Guard) {
    while guard.is_valid() && !guard.is_revoking() {
        if resource.write(guard.partition(), guard.token()).is_err() {
            return;
        }
        tokio::select! {
            () = guard.revoking() => {}
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
        }
    }
}
