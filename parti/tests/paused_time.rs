//! How to test your own worker in paused time: seconds of leases pass in milliseconds.
//!
//! Two things are needed, and nothing else: the runtime starts paused (`start_paused = true`, tokio's
//! feature `test-util`), and the manager is given [`Clock::tokio`]. With the default clock, which is that
//! of the machine, leases would go on in real time while tokio's timers jump. The store is that of the
//! test kit, which fails on demand; a `LocalStore` does as well.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use parti::clock::Clock;
use parti::sources::StaticSource;
use parti::{
    Config, Guard, HandlerError, Manager, PartitionHandler, PartitionKey, Preset, RevokeCause,
    StopMode, async_trait,
};
use parti_testing::kit::memory_store::MemoryStore;
use tokio::time::Instant;

const PARTITIONS: u32 = 16;

/// The work under test: here it only remembers what it was told.
#[derive(Clone, Default)]
struct Work(Arc<Mutex<Told>>);

#[derive(Default)]
struct Told {
    guards: Vec<Guard>,
    revoked: Vec<RevokeCause>,
}

impl Work {
    fn told<T>(&self, read: impl FnOnce(&mut Told) -> T) -> T {
        read(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn valid(&self) -> usize {
        self.told(|told| told.guards.iter().filter(|guard| guard.is_valid()).count())
    }
}

#[async_trait]
impl PartitionHandler for Work {
    async fn on_assigned(&self, _: &PartitionKey, guard: Guard) -> Result<(), HandlerError> {
        self.told(|told| told.guards.push(guard));
        Ok(())
    }

    async fn on_revoked(&self, _: &PartitionKey, _: Guard, cause: RevokeCause) {
        self.told(|told| told.revoked.push(cause));
    }
}

async fn worker(store: &MemoryStore, work: &Work) -> Manager {
    let config = Config::builder("paused")
        .preset(Preset::Fast)
        .expected_workers(2)
        .build()
        .expect("coherent");
    let source = StaticSource::numbered("p", PARTITIONS).expect("valid");
    Manager::builder(config, source, work.clone())
        .store(store.clone())
        .clock(Clock::tokio())
        .start()
        .await
        .expect("starts")
}

/// Waits in virtual time until something holds, and answers how long that took.
async fn until(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !holds() {
        let waited = begun.elapsed();
        assert!(waited < Duration::from_secs(60), "not in a minute: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    begun.elapsed()
}

/// What a group does about a killed worker is the first thing its users ask, and a test that waits for
/// real leases is soon skipped.
#[tokio::test(start_paused = true)]
async fn a_crashed_worker_is_replaced_within_virtual_seconds() {
    let real = std::time::Instant::now();
    let (store, first, second) = (MemoryStore::new(), Work::default(), Work::default());
    let victim = worker(&store, &first).await;
    let survivor = worker(&store, &second).await;
    until("an even share", || {
        (first.valid(), second.valid()) == (8, 8)
    })
    .await;
    let lease = survivor.config().lease();

    // A manager that is dropped releases nothing: to the others it has crashed.
    drop(victim);
    assert_eq!(first.valid(), 0, "its guards are invalid at once");
    let taken = until("taken over", || second.valid() == PARTITIONS as usize).await;

    assert!(
        taken > lease / 2,
        "a living worker would have been robbed: {taken:?}"
    );
    assert!(
        taken < lease * 4,
        "the work stood still for too long: {taken:?}"
    );
    assert!(
        second.told(|told| told.revoked.is_empty()),
        "the survivor kept what it had"
    );
    let tokens = second.told(|told| told.guards.iter().map(Guard::token).collect::<Vec<_>>());
    let theirs = first.told(|told| told.guards.iter().map(Guard::token).max());
    assert!(
        tokens.iter().max() > theirs.as_ref(),
        "what was taken over has larger tokens"
    );
    survivor.stop(StopMode::Now).await.expect("stops cleanly");
    let (real, wanted) = (real.elapsed(), taken * 20);
    assert!(real < wanted, "time did not jump: {real:?} for {taken:?}");
}

/// A worker that cannot renew must stop by itself, on time, and go on when the store is back.
#[tokio::test(start_paused = true)]
async fn a_worker_without_its_store_stops_in_time_and_resumes() {
    let (store, work) = (MemoryStore::new(), Work::default());
    let manager = worker(&store, &work).await;
    until("everything", || work.valid() == PARTITIONS as usize).await;

    store.set_unavailable(true);
    let lost = until("the lease is over", || work.valid() == 0).await;
    assert!(
        lost < manager.config().lease(),
        "others may own them by now: {lost:?}"
    );
    until("it was told", || {
        work.told(|told| told.revoked.len()) == PARTITIONS as usize
    })
    .await;
    let only_lost = |told: &mut Told| {
        told.revoked
            .iter()
            .all(|cause| *cause == RevokeCause::LeaseLost)
    };
    assert!(work.told(only_lost));

    store.set_unavailable(false);
    until("it goes on", || work.valid() == PARTITIONS as usize).await;
    // Limits of callbacks that were over long ago must not end what was begun since.
    tokio::time::sleep(manager.config().drain_timeout() * 2).await;
    assert_eq!(work.valid(), PARTITIONS as usize);
    manager.stop(StopMode::Now).await.expect("stops cleanly");
}
