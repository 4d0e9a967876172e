//! A store of which each worker has its own faulty handle.
//!
//! It is separate from the store in memory, which has one state for all: here a fault hits one
//! worker. Time is tokio's, so a test with paused time runs through hours in a moment. What always
//! holds: a request that was sent is carried out or lost, whether or not somebody still waits for
//! its answer, and a watch never hides a gap: it says `Lost`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parti_core::{
    Store, StoreError, StoreErrorKind, StoreOp, StoreReply, Watch, WatchEvent, WatchScope,
};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::faults::{Changes, Control, Passage, Sent, Way};
use super::{Blocked, ChaosError, ChaosInjector, Share};

/// How long a request waits for its answer unless told otherwise.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// A store and the faulty handles of its workers. Clones share them.
#[derive(Clone)]
pub struct FaultyStores {
    inner: Arc<dyn Store>,
    control: Arc<Control>,
    request_timeout: Duration,
}

impl FaultyStores {
    /// No faults yet. The same seed and the same requests give the same fates, if time is paused.
    #[must_use]
    pub fn new(store: impl Store, seed: u64) -> Self {
        Self {
            inner: Arc::new(store),
            control: Arc::new(Control::new(seed)),
            request_timeout: REQUEST_TIMEOUT,
        }
    }

    /// How long a request of the handles made from now on waits for its answer: two seconds if not
    /// set. Then it ends as [`StoreErrorKind::Unknown`].
    #[must_use]
    pub const fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// The handle of a worker. Asked again it is another handle with the same faults.
    #[must_use]
    pub fn worker(&self, name: &str) -> FaultyStore {
        self.control.add(name);
        FaultyStore {
            stores: self.clone(),
            worker: name.to_owned(),
        }
    }
}

impl ChaosInjector for FaultyStores {
    fn delay_messages(
        &self,
        worker: &str,
        delay: Duration,
        jitter: Duration,
    ) -> Result<(), ChaosError> {
        self.control.delay_messages(worker, delay, jitter)
    }

    fn drop_messages(&self, worker: &str, share: Share) -> Result<(), ChaosError> {
        self.control.drop_messages(worker, share)
    }

    fn duplicate_messages(&self, worker: &str, share: Share) -> Result<(), ChaosError> {
        self.control.duplicate_messages(worker, share)
    }

    fn reorder_messages(&self, worker: &str, within: Duration) -> Result<(), ChaosError> {
        self.control.reorder_messages(worker, within)
    }

    fn slow_down_worker(&self, worker: &str, each: Duration) -> Result<(), ChaosError> {
        self.control.slow_down_worker(worker, each)
    }

    fn partition_network(&self, workers: &[String], cut: Blocked) -> Result<(), ChaosError> {
        self.control.partition_network(workers, cut)
    }

    fn heal(&self) {
        self.control.heal();
    }
}

/// The store as one worker sees it. Needs a tokio runtime with a clock.
///
/// # Cancellation safety
/// As the port says: dropping a request abandons its answer, and it may still be carried out.
#[derive(Clone)]
pub struct FaultyStore {
    stores: FaultyStores,
    worker: String,
}

#[async_trait]
impl Store for FaultyStore {
    async fn execute(&self, op: StoreOp) -> Result<StoreReply, StoreError> {
        if self.stores.control.notices_cut(&self.worker) {
            let message = "no connection: the network is cut";
            return Err(StoreError::new(StoreErrorKind::Unavailable, message));
        }
        let deadline = self.deadline();
        let (answered, answer) = oneshot::channel();
        let this = self.clone();
        // A task of its own, since a request that is under way does not depend on who waits.
        tokio::spawn(async move {
            if this.carry(Way::Request).await {
                let reply = this.stores.inner.execute(op).await;
                if this.carry(Way::Answer).await {
                    // A caller that gave up waiting is not interested.
                    let _ = answered.send(reply);
                }
            }
        });
        match timeout_at(deadline, answer).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(_)) => {
                // Lost; nobody knows before the time is over.
                sleep_until(deadline).await;
                Err(self.unknown())
            }
            Err(_) => Err(self.unknown()),
        }
    }

    async fn watch(&self, scope: WatchScope) -> Result<Box<dyn Watch>, StoreError> {
        let deadline = self.deadline();
        let set_up = async {
            if !self.carry(Way::Request).await {
                return std::future::pending().await;
            }
            let watch = self.stores.inner.watch(scope).await;
            if !self.carry(Way::Answer).await {
                return std::future::pending().await;
            }
            watch
        };
        let inner = timeout_at(deadline, set_up).await;
        let inner = inner.unwrap_or_else(|_| Err(self.unknown()))?;
        Ok(Box::new(FaultyWatch {
            inner,
            changes: self.stores.control.changes(),
            store: self.clone(),
            underway: VecDeque::new(),
            source: Source::Running,
            passage: Passage::Open,
        }))
    }
}

impl FaultyStore {
    fn deadline(&self) -> Instant {
        Instant::now() + self.stores.request_timeout
    }

    fn unknown(&self) -> StoreError {
        let limit = self.stores.request_timeout;
        StoreError::new(
            StoreErrorKind::Unknown,
            format!("no answer within {limit:?}"),
        )
    }

    /// Waits as long as a message of the worker takes; whether it arrives.
    async fn carry(&self, way: Way) -> bool {
        let control = &self.stores.control;
        let mut changes = control.changes();
        match control.send(&self.worker, way) {
            Sent::Lost => return false,
            Sent::Arrives(due) => sleep_until(due).await,
        }
        if control.passage(&self.worker, way) == Passage::Open {
            return true;
        }
        while control.passage(&self.worker, way) == Passage::Blocked {
            changes.changed().await;
        }
        !control.is_lost_by_cut(&self.worker)
    }
}

struct FaultyWatch {
    inner: Box<dyn Watch>,
    changes: Changes,
    store: FaultyStore,
    underway: VecDeque<(Instant, WatchEvent)>,
    source: Source,
    passage: Passage,
}

/// Whether more comes from the store.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Running,
    Ended,
    /// The watch is over for its reader, too.
    Lost(String),
}

#[async_trait]
impl Watch for FaultyWatch {
    async fn next(&mut self) -> WatchEvent {
        loop {
            self.look();
            if let Source::Lost(reason) = &self.source {
                let reason = reason.clone();
                return WatchEvent::Lost { reason };
            }
            let due = self.underway.front().map(|(due, _)| *due);
            let arrives = due.filter(|_| self.passage == Passage::Open);
            tokio::select! {
                biased;
                () = self.changes.changed() => {}
                () = at(arrives) => {
                    if let Some((_, event)) = self.underway.pop_front() {
                        return self.deliver(event);
                    }
                }
                event = self.inner.next(), if self.source == Source::Running => {
                    self.take(event);
                }
            }
        }
    }
}

impl FaultyWatch {
    /// Notices that a cut began or ended. A watch that was cut off may be found broken.
    fn look(&mut self) {
        let control = &self.store.stores.control;
        let before = std::mem::replace(
            &mut self.passage,
            control.passage(&self.store.worker, Way::Answer),
        );
        let healed = before == Passage::Blocked && self.passage == Passage::Open;
        if healed && control.is_lost_by_cut(&self.store.worker) {
            self.source = Source::Lost("the connection broke while it was cut".to_owned());
        }
    }

    fn take(&mut self, event: WatchEvent) {
        let control = &self.store.stores.control;
        if matches!(event, WatchEvent::Lost { .. }) {
            self.source = Source::Ended;
            return self.underway.push_back((Instant::now(), event));
        }
        let Sent::Arrives(due) = control.send(&self.store.worker, Way::Answer) else {
            self.source = Source::Lost("an event was dropped".to_owned());
            return;
        };
        let entry = matches!(event, WatchEvent::Entry(_));
        if entry && control.is_repeated(&self.store.worker) {
            self.underway.push_back((due, event.clone()));
        }
        self.underway.push_back((due, event));
    }

    fn deliver(&mut self, event: WatchEvent) -> WatchEvent {
        if let WatchEvent::Lost { reason } = &event {
            self.source = Source::Lost(reason.clone());
        }
        event
    }
}

/// At that time, or never.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
