//! Futures that are dropped midway: nothing half-written, nothing that hangs, nothing lost.

#[path = "support/recorder.rs"]
mod recorder;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parti::{
    Clock, LocalStore, Manager, State, StaticSource, StopMode, Store, StoreError, async_trait,
};
use parti_core::{StoreOp, StoreReply, Watch, WatchScope};
use recorder::{Recorder, fast, manager, until};
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(30);

/// A store whose answers to commits never arrive, though they are carried out.
struct Mute {
    store: LocalStore,
    committed: Arc<AtomicBool>,
}

#[async_trait]
impl Store for Mute {
    async fn execute(&self, op: StoreOp) -> Result<StoreReply, StoreError> {
        let commit = matches!(op, StoreOp::Commit { .. });
        let reply = self.store.execute(op).await;
        if commit {
            self.committed.store(true, Ordering::SeqCst);
            return std::future::pending().await;
        }
        reply
    }

    async fn watch(&self, scope: WatchScope) -> Result<Box<dyn Watch>, StoreError> {
        self.store.watch(scope).await
    }
}

/// A start that was given up once left an ID that nobody could ever use again.
#[tokio::test(start_paused = true)]
async fn a_start_dropped_after_its_claim_was_written_frees_the_id_after_one_lease() {
    let (store, committed) = (LocalStore::new(), Arc::new(AtomicBool::new(false)));
    let config = fast(1).worker_id_range(0, 0).build().expect("coherent");
    let source = StaticSource::numbered("p", 4).expect("valid");
    let builder = Manager::builder(config.clone(), source, Recorder::new("a"))
        .store(Arc::new(Mute {
            store: store.clone(),
            committed: Arc::clone(&committed),
        }))
        .clock(Clock::tokio());
    let dropped = timeout(Duration::from_millis(100), builder.start()).await;
    assert!(dropped.is_err(), "it was under way");
    assert!(committed.load(Ordering::SeqCst), "its claim was written");
    let (handler, began) = (Recorder::new("b"), tokio::time::Instant::now());
    let source = StaticSource::numbered("p", 4).expect("valid");
    let next = Manager::builder(config.clone(), source, handler)
        .store(Arc::new(store))
        .clock(Clock::tokio());
    let next = next.start().await.expect("the only ID becomes free");
    assert_eq!(next.worker_id().expect("held").as_str(), "worker-0");
    assert!(began.elapsed() >= config.lease() - Duration::from_millis(100));
    assert!(began.elapsed() <= config.lease() * 2);
    next.stop(StopMode::Now).await.expect("stops");
}

/// A caller that loses patience must not leave a worker that is neither running nor stopped.
#[tokio::test(start_paused = true)]
async fn a_stop_dropped_midway_still_stops_and_a_later_one_gets_its_answer() {
    let (store, handler) = (LocalStore::new(), Recorder::new("a"));
    let worker = manager(fast(1), &store, 4, &handler);
    let worker = worker.start().await.expect("starts");
    worker.wait_assigned().await.expect("runs");
    until("all begun", LIMIT, || handler.seen().assigned == 4).await;
    let dropped = timeout(Duration::ZERO, worker.stop(StopMode::Handoff)).await;
    assert!(dropped.is_err(), "it takes longer than nothing");
    worker.wait_for(State::Shutdown).await.expect("it goes on");
    assert_eq!(worker.stop(StopMode::Handoff).await, Ok(()));
    assert_eq!(handler.seen().revoked.len(), 4);
}

/// A request whose caller has gone is still somebody's wish.
#[tokio::test(start_paused = true)]
async fn a_trigger_dropped_midway_is_still_carried_out() {
    let (store, handler) = (LocalStore::new(), Recorder::new("a"));
    let worker = manager(fast(1), &store, 4, &handler);
    let worker = worker.start().await.expect("starts");
    worker.wait_for(State::Stable).await.expect("runs");
    let before = worker.status().version;
    let dropped = timeout(Duration::ZERO, worker.trigger_rebalance()).await;
    assert!(dropped.is_err(), "it takes longer than nothing");
    until("a generation", LIMIT, || worker.status().version > before).await;
    worker.stop(StopMode::Now).await.expect("stops");
}
