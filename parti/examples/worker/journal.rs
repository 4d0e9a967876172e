//! What a worker process writes down, and the handler that makes it do so.
//!
//! It is separate from the command line because its lines are what tests judge: see
//! `parti_testing::rig::worker_logs`. What always holds: a line is on its way before what it tells of is
//! acknowledged, and a partition that ends is told in the name of the session that had it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parti::{
    Guard, HandlerError, Manager, PartitionHandler, PartitionKey, Preparation, RevokeCause,
    async_trait,
};
use serde_json::{Map, Value, json};
use tokio::sync::Notify;

/// What this worker writes down, and the handler that makes it do so.
pub(crate) struct Journal {
    json: bool,
    drain: Duration,
    warmup: Duration,
    /// What is done with the partitions, if anything is.
    work: Option<Box<dyn PartitionHandler>>,
    manager: OnceLock<Weak<Manager>>,
    attached: Notify,
    held: Mutex<BTreeMap<PartitionKey, Held>>,
    last: Mutex<Identity>,
}

/// The worker ID and the session.
type Identity = (String, String);

/// A partition that is being processed.
struct Held {
    /// Who began, so that the end is told in the name of the session that had it.
    identity: Identity,
    guard: Guard,
    /// When the guard was last seen valid.
    used_ms: u64,
}

/// Looks at the guards as processing does, on a thread of its own, until the journal is gone.
pub(crate) fn watch(journal: &Weak<Journal>, interval: Duration) {
    while let Some(journal) = journal.upgrade() {
        // The time first: the guard was valid then or later.
        let now = now_ms();
        for held in journal.held().values_mut() {
            if held.guard.is_valid() {
                held.used_ms = now;
            }
        }
        drop(journal);
        thread::sleep(interval);
    }
}

impl Journal {
    /// Writes JSON or text; ending to process a partition takes `drain`, getting ready for one `warmup`.
    pub(crate) fn new(json: bool, drain: Duration, warmup: Duration) -> Self {
        Self {
            json,
            drain,
            warmup,
            work: None,
            manager: OnceLock::new(),
            attached: Notify::new(),
            held: Mutex::default(),
            last: Mutex::default(),
        }
    }

    /// The same, and this is done with the partitions.
    #[cfg(feature = "jetstream")]
    pub(crate) fn working(mut self, work: impl PartitionHandler) -> Self {
        self.work = Some(Box::new(work));
        self
    }

    /// Says who this worker is.
    pub(crate) fn attach(&self, manager: &Arc<Manager>) {
        // Called once; a second manager would find the first.
        let _ = self.manager.set(Arc::downgrade(manager));
        self.attached.notify_waiters();
    }

    fn begin(&self, partition: &PartitionKey, identity: Identity, guard: Guard) {
        let used_ms = now_ms();
        let held = Held {
            identity,
            guard,
            used_ms,
        };
        self.held().insert(partition.clone(), held);
    }

    /// Partitions can come before `start` has returned.
    async fn wait_attached(&self) {
        let attached = self.attached.notified();
        if self.manager.get().is_none() {
            attached.await;
        }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<PartitionKey, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who this worker is, or was last.
    fn identity(&self) -> Identity {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let status = self
            .manager
            .get()
            .and_then(Weak::upgrade)
            .map(|manager| manager.status());
        if let Some(status) = status
            && let (Some(worker), Some(nonce)) = (status.worker, status.nonce)
        {
            *last = (worker.to_string(), nonce.to_string());
        }
        last.clone()
    }

    pub(crate) fn write(&self, event: &str, fields: Value) {
        self.write_as(self.identity(), event, fields);
    }

    fn write_as(&self, (worker, session): Identity, event: &str, fields: Value) {
        let at_ms = now_ms();
        let Value::Object(fields) = fields else {
            return;
        };
        let line = if self.json {
            let mut line = Map::new();
            line.insert("at_ms".to_owned(), at_ms.into());
            line.insert("worker".to_owned(), worker.into());
            line.insert("session".to_owned(), session.into());
            line.insert("event".to_owned(), event.into());
            line.extend(fields);
            Value::Object(line).to_string()
        } else {
            let fields = fields
                .iter()
                .map(|(name, value)| format!(" {name}={value}"));
            format!("{at_ms} {worker} {event}{}", fields.collect::<String>())
        };
        let mut out = std::io::stdout().lock();
        // Nobody reading is no reason to stop working.
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}

#[async_trait]
impl PartitionHandler for Journal {
    async fn on_assigned(
        &self,
        partition: &PartitionKey,
        guard: Guard,
    ) -> Result<(), HandlerError> {
        self.wait_attached().await;
        if let Some(work) = &self.work {
            work.on_assigned(partition, guard.clone()).await?;
        }
        let identity = self.identity();
        let token = guard.token().get();
        let fields = json!({ "partition": partition.to_string(), "token": token });
        self.write_as(identity.clone(), "assigned", fields);
        self.begin(partition, identity, guard);
        Ok(())
    }

    fn prepares(&self) -> bool {
        !self.warmup.is_zero()
    }

    async fn on_prepare(
        &self,
        partition: &PartitionKey,
        _: Preparation,
    ) -> Result<(), HandlerError> {
        self.wait_attached().await;
        let partition = json!({ "partition": partition.to_string() });
        self.write("preparing", partition.clone());
        tokio::time::sleep(self.warmup).await;
        self.write("prepared", partition);
        Ok(())
    }

    async fn on_prepare_cancelled(&self, partition: &PartitionKey, _: Preparation) {
        let partition = json!({ "partition": partition.to_string() });
        self.write("prepare_cancelled", partition);
    }

    async fn on_revoked(&self, partition: &PartitionKey, guard: Guard, cause: RevokeCause) {
        // Also when this is dropped because it takes too long.
        let _ending = Ending {
            journal: self,
            partition,
            cause,
        };
        if let Some(work) = &self.work {
            work.on_revoked(partition, guard, cause).await;
        }
        tokio::time::sleep(self.drain).await;
    }
}

/// Tells at its end that a partition is processed no more.
struct Ending<'a> {
    journal: &'a Journal,
    partition: &'a PartitionKey,
    cause: RevokeCause,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let journal = self.journal;
        let now = now_ms();
        let held = journal.held().remove(self.partition);
        let used_ms = held.as_ref().map(|held| match held.guard.is_valid() {
            true => now,
            false => held.used_ms,
        });
        let identity = held.map_or_else(|| journal.identity(), |held| held.identity);
        let (partition, cause) = (self.partition.to_string(), self.cause.as_str());
        let fields = json!({ "partition": partition, "cause": cause, "used_ms": used_ms });
        journal.write_as(identity, "revoked", fields);
    }
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, millis)
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
