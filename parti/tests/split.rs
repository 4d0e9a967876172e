//! A store that takes small values: assignments are kept in pieces, and what no record has room for is
//! named.

#[path = "support/recorder.rs"]
mod recorder;

use std::time::Duration;

use parti::clock::Clock;
use parti::health::HealthCode;
use parti::sources::StaticSource;
use parti::strategy::ParkReason;
use parti::{Manager, Partition, PartitionKey, StopMode};
use parti_testing::kit::kv::Limits;
use parti_testing::kit::memory_store::MemoryStore;
use recorder::{Recorder, fast, until};

const LIMIT: Duration = Duration::from_secs(60);

fn key(number: usize) -> PartitionKey {
    PartitionKey::new([format!("partition-{number:05}")]).expect("valid")
}

fn list(partitions: usize) -> Vec<Partition> {
    let named = (0..partitions).map(|n| Partition::new([format!("partition-{n:05}")]));
    named.map(|partition| partition.expect("valid")).collect()
}

fn small_values() -> MemoryStore {
    MemoryStore::with_limits(Limits {
        max_value: 2_000,
        max_batch: 1_000,
    })
}

async fn start(store: &MemoryStore, handler: &Recorder, expected: u32, count: usize) -> Manager {
    let config = fast(expected).build().expect("coherent");
    let source = StaticSource::new(list(count)).expect("distinct");
    let builder = Manager::builder(config, source, handler.clone())
        .store(store.clone())
        .clock(Clock::tokio());
    builder.start().await.expect("starts")
}

fn owned(workers: &[Manager]) -> usize {
    let guards = workers.iter().flat_map(Manager::assignment);
    guards.filter(parti::Guard::is_valid).count()
}

fn pieces(store: &MemoryStore) -> usize {
    let living = store.entries().into_iter();
    let living = living.filter(|entry| entry.value.is_some());
    let piece = |key: &str| key.starts_with("a.") && key.matches('.').count() == 2;
    living.filter(|entry| piece(&entry.key)).count()
}

/// Records too large for the survivors: nothing was granted to anybody, and nothing said why.
#[tokio::test(start_paused = true)]
async fn the_survivors_own_what_no_longer_fits_one_value() {
    let (store, handler) = (small_values(), Recorder::new("all"));
    let mut workers = Vec::new();
    for _ in 0..3 {
        workers.push(start(&store, &handler, 3, 600).await);
    }
    until("all", LIMIT, || owned(&workers) == 600).await;
    while workers.len() > 1 {
        // It crashes: nothing is released.
        drop(workers.remove(0));
        until("repaired", LIMIT, || owned(&workers) == 600).await;
    }
    assert!(pieces(&store) >= 10, "{} pieces", pieces(&store));
    let explained = workers[0].explain(&key(7)).await.expect("read");
    assert!(explained.owner.is_some(), "the pieces are read too");
    // A worker that joins takes a half; what is left keeps its guards.
    workers.push(start(&store, &handler, 1, 600).await);
    until("shared", LIMIT, || {
        workers
            .iter()
            .all(|worker| worker.assignment().len() == 300)
    })
    .await;
    let last = workers.remove(0);
    last.stop(StopMode::Handoff).await.expect("handed over");
    until("handed over", LIMIT, || owned(&workers) == 600).await;
}

/// Everything was refused when one share was too large: what fits is owned, the rest says what it needs.
#[tokio::test(start_paused = true)]
async fn what_no_record_has_room_for_is_named_with_the_limit() {
    let (store, handler) = (small_values(), Recorder::new("all"));
    let mut workers = vec![start(&store, &handler, 1, 6_000).await];
    until("what fits", LIMIT, || owned(&workers) > 2_000).await;
    let has = owned(&workers);
    assert!(has < 6_000);
    until("it is named", LIMIT, || {
        let conditions = workers[0].health().conditions;
        let parked = conditions.iter().find(|c| c.code == HealthCode::Parked);
        parked.is_some_and(|parked| {
            parked.detail.contains("does_not_fit") && parked.detail.contains("payload limit")
        })
    })
    .await;
    assert_eq!(workers[0].status().group.parked.count as usize, 6_000 - has);
    let unowned = (0..6_000).map(key).find(|key| {
        let guards = workers[0].assignment();
        guards.iter().all(|guard| guard.partition() != key)
    });
    let explained = workers[0].explain(&unowned.expect("some")).await;
    if let Some(parked) = explained.expect("read").parked {
        assert_eq!(parked.reason, ParkReason::DoesNotFit);
    }
    for _ in 0..3 {
        workers.push(start(&store, &handler, 1, 6_000).await);
    }
    until("all", LIMIT, || owned(&workers) == 6_000).await;
}
