//! Workers in pools: one that is empty concerns nobody else, and who leaves the last of one says so.

#[path = "support/recorder.rs"]
mod recorder;

use std::time::Duration;

use parti::clock::Clock;
use parti::events::{ManagerNotice, Notice};
use parti::health::HealthCode;
use parti::sources::StaticSource;
use parti::store::LocalStore;
use parti::strategy::{Eligibility, ParkReason, Sticky};
use parti::{Manager, Partition, PartitionKey, StopFailure, StopMode, StopReport};
use recorder::{Recorder, fast, heard, until};

const LIMIT: Duration = Duration::from_secs(60);

/// Nine partitions for the workers of pool `main`, one for those of `gpu`.
fn list() -> Vec<Partition> {
    let main = (0..9).map(|number| ["main".to_owned(), number.to_string()]);
    let gpu = [["gpu".to_owned(), "0".to_owned()]];
    let all = main.chain(gpu);
    all.map(|key| Partition::new(key).expect("valid")).collect()
}

async fn start(store: &LocalStore, handler: &Recorder, expected: u32, pool: &str) -> Manager {
    let rules = Eligibility::new()
        .require(["main"], "pool", ["main"])
        .require(["gpu"], "pool", ["gpu"]);
    let config = fast(expected).label("pool", pool);
    let source = StaticSource::new(list()).expect("distinct");
    let builder = Manager::builder(config.build().expect("coherent"), source, handler.clone())
        .strategy(Sticky::new().with_eligibility(rules))
        .store(store.clone())
        .clock(Clock::tokio());
    builder.start().await.expect("starts")
}

fn owned(workers: &[Manager], pool: &str) -> usize {
    let guards = workers.iter().flat_map(Manager::assignment);
    let valid = guards.filter(|guard| guard.is_valid());
    valid
        .filter(|guard| guard.partition().parts().next() == Some(pool))
        .count()
}

fn gpu() -> PartitionKey {
    PartitionKey::new(["gpu", "0"]).expect("valid")
}

/// A single partition that nobody may own made every plan fail: the crash of another pool's worker
/// was never repaired, and nothing said so.
#[tokio::test(start_paused = true)]
async fn an_empty_pool_does_not_stop_the_repair_of_another() {
    let (store, handler) = (LocalStore::new(), Recorder::new("main"));
    let mut workers = Vec::new();
    for _ in 0..3 {
        workers.push(start(&store, &handler, 3, "main").await);
    }
    until("nine of nine", LIMIT, || owned(&workers, "main") == 9).await;
    let terms: Vec<_> = workers.iter().map(|worker| worker.status().term).collect();
    // It crashes: nothing is released.
    let victim = workers.iter().position(|worker| !worker.is_leader());
    drop(workers.remove(victim.expect("somebody follows")));
    let lease = workers[0].config().lease();
    until("repaired", lease * 4, || owned(&workers, "main") == 9).await;
    assert!(terms.contains(&workers[0].status().term), "nobody resigned");
    // Everybody says what has no owner, and what it needs.
    for worker in &workers {
        until("it is named", LIMIT, || {
            let health = worker.health();
            let found = health
                .conditions
                .iter()
                .find(|c| c.code == HealthCode::Parked);
            found.is_some_and(|parked| parked.detail.contains("gpu"))
        })
        .await;
        assert_eq!(worker.status().group.parked.count, 1);
    }
    let explained = workers[0].explain(&gpu()).await.expect("read");
    let parked = explained.parked.expect("it is parked");
    assert_eq!(parked.reason, ParkReason::NoEligibleWorker);
    assert!(parked.needs.contains("\"pool\" gpu"), "{}", parked.needs);
    // As soon as somebody may own it, somebody does, without a cooldown.
    let mut notices = workers[0].subscribe();
    workers.push(start(&store, &handler.beside("gpu"), 9, "gpu").await);
    until("it has its partition", LIMIT, || {
        owned(&workers, "gpu") == 1
    })
    .await;
    assert_eq!(owned(&workers, "main"), 9);
    if workers[0].is_leader() {
        let unparked =
            |notice: &ManagerNotice| matches!(notice, ManagerNotice::Core(Notice::Unparked { .. }));
        heard(&mut notices, unparked).await;
    }
}

/// A stop that says "done" while a partition has no owner any more is found out by a customer.
#[tokio::test(start_paused = true)]
async fn who_leaves_as_the_last_of_its_pool_answers_with_what_nobody_could_take() {
    let (store, handler) = (LocalStore::new(), Recorder::new("main"));
    let main = start(&store, &handler, 2, "main").await;
    let last = start(&store, &handler.beside("gpu"), 2, "gpu").await;
    let both = [main, last];
    until("all", LIMIT, || {
        owned(&both, "main") + owned(&both, "gpu") == 10
    })
    .await;
    let [main, last] = both;
    let error = last
        .stop(StopMode::Handoff)
        .await
        .expect_err("nobody took it");
    let (reason, partitions) = (ParkReason::NoEligibleWorker, vec![gpu()]);
    assert_eq!(
        error.failures,
        [StopFailure::NobodyToTake { reason, partitions }]
    );
    assert!(error.to_string().contains("gpu/0"), "{error}");
    // The last one of all has nobody to fail: it reports what the group leaves.
    let StopReport { left_unowned, .. } = main.stop(StopMode::Handoff).await.expect("clean");
    assert_eq!(left_unowned.len(), 9);
}

/// What is not handed over is not reported: the program asked for it.
#[tokio::test(start_paused = true)]
async fn a_stop_without_handoff_reports_nothing() {
    let (store, handler) = (LocalStore::new(), Recorder::new("main"));
    let worker = start(&store, &handler, 1, "main").await;
    until("nine", LIMIT, || worker.assignment().len() == 9).await;
    let report = worker.stop(StopMode::Now).await.expect("clean");
    assert_eq!(report, StopReport::default());
}
