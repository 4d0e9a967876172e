//! A worker that loses its session in the middle of a handoff, and comes back with another one.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use parti::clock::Clock;
use parti::sources::StaticSource;
use parti::store::{LocalStore, Store, StoreError, StoreErrorKind};
use parti::{
    Config, Guard, HandlerError, Manager, PartitionHandler, PartitionKey, Preset, RevokeCause,
    async_trait,
};
use parti_core::{StoreOp, StoreReply, Watch, WatchScope};

/// A store that one worker cannot reach at times.
#[derive(Clone, Debug, Default)]
struct Reach {
    store: LocalStore,
    cut: Arc<AtomicBool>,
}

#[async_trait]
impl Store for Reach {
    async fn execute(&self, op: StoreOp) -> Result<StoreReply, StoreError> {
        if self.cut.load(SeqCst) {
            return Err(StoreError::new(StoreErrorKind::Unavailable, "out of reach"));
        }
        self.store.execute(op).await
    }

    async fn watch(&self, scope: WatchScope) -> Result<Box<dyn Watch>, StoreError> {
        self.store.watch(scope).await
    }
}

/// Keeps the guards it is given, and drains for ever what goes to somebody else.
#[derive(Clone, Default)]
struct Work {
    begun: Arc<Mutex<Vec<Guard>>>,
    draining: Arc<Mutex<Vec<Guard>>>,
}

fn guards(kept: &Mutex<Vec<Guard>>) -> Vec<Guard> {
    kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn keep(kept: &Mutex<Vec<Guard>>, guard: Guard) {
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    kept.push(guard);
}

#[async_trait]
impl PartitionHandler for Work {
    async fn on_assigned(&self, _: &PartitionKey, guard: Guard) -> Result<(), HandlerError> {
        keep(&self.begun, guard);
        Ok(())
    }

    async fn on_revoked(&self, _: &PartitionKey, guard: Guard, cause: RevokeCause) {
        if cause == RevokeCause::Reassigned {
            keep(&self.draining, guard);
            std::future::pending().await
        }
    }
}

async fn worker(store: Reach, work: &Work) -> Manager {
    let config = Config::builder("g").preset(Preset::Fast);
    let config = config
        .expected_workers(2)
        .drain_timeout(Duration::from_secs(20));
    let source = StaticSource::numbered("p", 8).expect("valid");
    Manager::builder(config.build().expect("coherent"), source, work.clone())
        .store(store)
        .clock(Clock::tokio())
        .start()
        .await
        .expect("starts")
}

async fn pass(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

/// What it drained when it lost its session was valid again with the lease of the next one, beside the
/// guard of the new owner: two workers wrote at once.
#[tokio::test(start_paused = true)]
async fn a_guard_that_is_being_revoked_never_revives_with_the_next_session() {
    let (first, second) = (Work::default(), Work::default());
    let reach = Reach::default();
    let one = worker(reach.clone(), &first).await;
    one.wait_assigned().await.expect("runs");
    let whole = Reach {
        store: reach.store.clone(),
        cut: Arc::default(),
    };
    let other = worker(whole, &second).await;
    let mut waited = 0;
    while guards(&first.draining).is_empty() {
        waited += 1;
        assert!(waited < 6_000, "nothing moves to the second worker");
        pass(10).await;
    }
    let old = guards(&first.draining);
    assert!(old.iter().all(Guard::is_valid));
    reach.cut.store(true, SeqCst);
    pass(4_000).await;
    reach.cut.store(false, SeqCst);
    for _ in 0..80 {
        pass(100).await;
        let revived: Vec<_> = old.iter().filter(|guard| guard.is_valid()).collect();
        assert!(revived.is_empty(), "{revived:?}");
    }
    let taken = |old: &Guard| {
        let new = guards(&second.begun);
        new.iter().any(|new| new.partition() == old.partition())
    };
    assert!(old.iter().all(taken), "the other worker has them");
    assert!(one.worker_id().is_some(), "it has come back");
    drop(other);
}
