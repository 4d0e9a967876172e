//! Futures that are dropped midway: nothing half-written, nothing that hangs, nothing lost.

#[path = "support/recorder.rs"]
mod recorder;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parti::clock::Clock;
use parti::events::{HookEvent, ManagerNotice, Notice, hook_channel};
use parti::sources::{KvSource, StaticSource};
use parti::store::{LocalStore, Store, StoreError};
use parti::{Manager, Partition, PartitionKey, State, StopMode, async_trait};
use parti_core::{StoreOp, StoreReply, Watch, WatchScope};
use parti_testing::kit::kv::Limits;
use parti_testing::kit::memory_store::MemoryStore;
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
        .store(Mute {
            store: store.clone(),
            committed: Arc::clone(&committed),
        })
        .clock(Clock::tokio());
    let dropped = timeout(Duration::from_millis(100), builder.start()).await;
    assert!(dropped.is_err(), "it was under way");
    assert!(committed.load(Ordering::SeqCst), "its claim was written");
    let (handler, began) = (Recorder::new("b"), tokio::time::Instant::now());
    let source = StaticSource::numbered("p", 4).expect("valid");
    let next = Manager::builder(config.clone(), source, handler)
        .store(store)
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
    assert_eq!(worker.stop(StopMode::Handoff).await.map(drop), Ok(()));
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

/// A store in memory that takes a moment before and after each request is carried out.
struct Slow<S>(S);

const MOMENT: Duration = Duration::from_millis(2);
/// How long a reader waits before it looks for something else.
const PATIENCE: Duration = Duration::from_millis(1);

#[async_trait]
impl<S: Store> Store for Slow<S> {
    async fn execute(&self, op: StoreOp) -> Result<StoreReply, StoreError> {
        tokio::time::sleep(MOMENT).await;
        let reply = self.0.execute(op).await;
        tokio::time::sleep(MOMENT).await;
        reply
    }

    async fn watch(&self, scope: WatchScope) -> Result<Box<dyn Watch>, StoreError> {
        tokio::time::sleep(MOMENT).await;
        self.0.watch(scope).await
    }
}

/// Every moment of a start is one at which an impatient program can give it up.
#[tokio::test(start_paused = true)]
async fn a_start_dropped_at_any_moment_leaves_nothing_that_outlives_a_lease() {
    let config = fast(1).worker_id_range(0, 0).build().expect("coherent");
    let builder = |store: &LocalStore| {
        let source = StaticSource::numbered("p", 4).expect("valid");
        Manager::builder(config.clone(), source, Recorder::new("a"))
            .store(Slow(store.clone()))
            .clock(Clock::tokio())
    };
    let mut patience = Duration::ZERO;
    loop {
        let store = LocalStore::new();
        let starting = timeout(patience, builder(&store).start());
        let started = starting.await;
        let began = tokio::time::Instant::now();
        let next = builder(&store).start();
        if started.is_ok() {
            // Dropped as late as possible: with its manager.
            drop(started);
        }
        let next = next.await.expect("the only ID becomes free");
        let took = began.elapsed();
        assert!(took <= config.lease() * 2, "{took:?} after {patience:?}");
        next.wait_assigned().await.expect("it takes part");
        next.stop(StopMode::Now).await.expect("stops");
        if patience > Duration::from_millis(100) {
            break;
        }
        patience += Duration::from_millis(1);
    }
}

/// A script that is interrupted must leave the old list or the new one.
#[tokio::test(start_paused = true)]
async fn a_change_of_the_list_dropped_at_any_moment_is_made_whole_or_not_at_all() {
    let list = |count: u32, weight: u64| -> Vec<Partition> {
        let partition = |n: u32| Partition::new(["p", &n.to_string()]).expect("valid");
        (0..count)
            .map(|n| partition(n).with_weight(weight))
            .collect()
    };
    // In several pieces, so that there could be a half.
    let limits = Limits {
        max_value: 1000,
        max_batch: 50,
    };
    let (mut untouched, mut done) = (0, 0);
    for moments in 0..40 {
        let store = MemoryStore::with_limits(limits);
        let (slow, direct) = (KvSource::new(Slow(store.clone())), KvSource::new(store));
        direct.create(list(100, 1)).await.expect("the first list");
        let change = slow.transform(|_| Ok(list(120, 7)));
        drop(timeout(Duration::from_millis(moments), change).await);
        let found = direct.partitions().await.expect("whole");
        if found == list(100, 1) {
            untouched += 1;
        } else {
            assert_eq!(found, list(120, 7), "after {moments} ms");
            done += 1;
        }
        slow.transform(|_| Ok(list(3, 1)))
            .await
            .expect("it can be called again");
    }
    assert!(untouched > 2 && done > 2, "{untouched} and {done}");
}

/// A caller that waits in a `select!` drops the wait each time around.
#[tokio::test(start_paused = true)]
async fn waits_and_questions_dropped_midway_change_nothing_and_can_be_asked_again() {
    let (store, handler) = (LocalStore::new(), Recorder::new("a"));
    let builder = manager(fast(1), &store, 4, &handler).store(Slow(store.clone()));
    let worker = builder.start().await.expect("starts");
    let key = PartitionKey::new(["p", "0"]).expect("valid");
    let impatient = Duration::from_millis(1);
    assert!(timeout(impatient, worker.wait_assigned()).await.is_err());
    assert!(
        timeout(impatient, worker.wait_for(State::Stable))
            .await
            .is_err()
    );
    worker.wait_assigned().await.expect("runs");
    worker.wait_for(State::Stable).await.expect("runs");
    until("all begun", LIMIT, || handler.seen().assigned == 4).await;
    let status = worker.status();
    let guard = worker.assignment()[0].clone();
    for _ in 0..3 {
        assert!(timeout(impatient, worker.history(5)).await.is_err());
        assert!(timeout(impatient, worker.explain(&key)).await.is_err());
        assert!(timeout(impatient, guard.revoking()).await.is_err());
        assert!(timeout(impatient, guard.invalidated()).await.is_err());
    }
    assert!(!worker.history(5).await.expect("answers").is_empty());
    worker.explain(&key).await.expect("answers");
    assert_eq!(worker.status().version, status.version);
    assert!(timeout(impatient, worker.refresh()).await.is_err());
    worker.refresh().await.expect("is answered");
    worker.stop(StopMode::Now).await.expect("stops");
    guard.revoking().await;
    guard.invalidated().await;
}

/// An observer that looks for news now and then must not lose what came in between.
#[tokio::test(start_paused = true)]
async fn readers_that_are_dropped_and_read_again_lose_nothing() {
    let (store, handler) = (LocalStore::new(), Recorder::new("a"));
    let (hooks, mut events) = hook_channel(1024);
    let builder = manager(fast(1), &store, 4, &handler).hooks(hooks);
    let mut notices = builder.subscribe();
    let worker = builder.start().await.expect("starts");
    worker.wait_for(State::Stable).await.expect("runs");
    let stopping = tokio::spawn(async move {
        // Long enough for the readers to have nothing to read.
        tokio::time::sleep(Duration::from_secs(1)).await;
        worker.stop(StopMode::Handoff).await
    });
    let (mut told, mut hooked) = (vec![State::Init], vec![State::Init]);
    let (mut ended, mut gave_up) = ((false, false), 0);
    let reading = async {
        while ended != (true, true) {
            match timeout(PATIENCE, notices.next()).await {
                Ok(Some(notice)) => {
                    if let ManagerNotice::Core(Notice::StateChanged { from, to }) = *notice {
                        assert_eq!(told.last(), Some(&from), "no step is left out");
                        told.push(to);
                    }
                }
                Ok(None) => ended.0 = true,
                Err(_) => gave_up += 1,
            }
            match timeout(PATIENCE, events.next()).await {
                Ok(Some(HookEvent::State(change))) => {
                    assert_eq!(hooked.last(), Some(&change.from), "no step is left out");
                    hooked.push(change.to);
                }
                Ok(Some(_)) => {}
                Ok(None) => ended.1 = true,
                Err(_) => gave_up += 1,
            }
        }
    };
    timeout(LIMIT, reading).await.expect("both end");
    stopping.await.expect("ends").expect("clean");
    assert!(gave_up > 0, "it was dropped midway");
    assert_eq!((notices.lost(), told.last()), (0, Some(&State::Shutdown)));
    assert_eq!(told, hooked);
}
