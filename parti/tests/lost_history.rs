//! A bucket that is lost under a running worker, as its health tells it.

#[path = "support/recorder.rs"]
mod recorder;
#[path = "support/scrape.rs"]
mod scrape;

use std::sync::Arc;
use std::time::Duration;

use parti::config::OnBucketLost;
use parti::health::HealthCode;
use parti::prometheus::Exporter;
use parti::store::{LocalStore, Store};
use parti::{Config, Ended, Manager, State, StopMode};
use parti_testing::kit::memory_store::MemoryStore;
use recorder::{Recorder, fast, manager, until};
use scrape::total;

const LIMIT: Duration = Duration::from_secs(60);

/// A worker alone on a store that can be lost.
async fn start(store: &MemoryStore, then: OnBucketLost) -> (Config, Manager) {
    let (config, handler) = (fast(1).on_bucket_lost(then), Recorder::new("a"));
    let built = config.clone().build().expect("coherent");
    let store: Arc<dyn Store> = Arc::new(store.clone());
    let builder = manager(config, &LocalStore::new(), 4, &handler).store(store);
    let worker = builder.start().await.expect("starts");
    worker.wait_for(State::Stable).await.expect("runs");
    (built, worker)
}

fn detail(worker: &Manager) -> String {
    let health = worker.health();
    let found = health
        .conditions
        .iter()
        .find(|condition| condition.code == HealthCode::HistoryLost);
    found.expect("the condition holds").to_string()
}

/// An operator who sees only "degraded" looks at the network while the bucket is gone.
#[tokio::test(start_paused = true)]
async fn a_lost_history_is_a_condition_until_the_quarantine_is_over() {
    type Lose = fn(&MemoryStore);
    let losses: [(Lose, &str); 4] = [
        (MemoryStore::delete, "the bucket was deleted"),
        (MemoryStore::recreate, "the bucket was created again"),
        (MemoryStore::wipe, "is gone"),
        (
            |store| store.roll_back(parti::store::Revision::new(1)),
            "was rolled back",
        ),
    ];
    for (lose, words) in losses {
        let store = MemoryStore::new();
        let (config, worker) = start(&store, OnBucketLost::default()).await;
        assert!(worker.health().is_ready());
        lose(&store);
        until("the loss is noticed", LIMIT, || {
            worker.health().has(HealthCode::HistoryLost)
        })
        .await;
        let noticed = tokio::time::Instant::now();
        assert!(detail(&worker).contains(words), "{}", detail(&worker));
        let health = worker.health();
        assert!(health.is_live() && !health.is_ready(), "{health}");
        until("the condition has cleared itself", LIMIT, || {
            !worker.health().has(HealthCode::HistoryLost)
        })
        .await;
        let lasted = noticed.elapsed();
        let slack = Duration::from_millis(100);
        assert!(
            lasted + slack >= config.lease() && lasted <= config.lease() + slack,
            "{words}: {lasted:?} of a lease of {:?}",
            config.lease()
        );
        until("it takes part again", LIMIT, || {
            worker.health().is_ready() && worker.assignment().len() == 4
        })
        .await;
        worker.stop(StopMode::Now).await.expect("clean");
    }
}

/// A liveness probe that restarts a halted worker has the group begin again before anybody has looked.
#[tokio::test(start_paused = true)]
async fn a_worker_that_halted_for_a_lost_history_says_so_and_is_not_to_be_restarted() {
    let exporter = Exporter::install().expect("the only one");
    let store = MemoryStore::new();
    let (_, worker) = start(&store, OnBucketLost::Halt).await;
    store.delete();
    let ended = worker.wait_for(State::Stable);
    let ended = async {
        worker.wait_for(State::Shutdown).await.expect("it ends");
        ended.await
    };
    let ended = tokio::time::timeout(LIMIT, ended).await.expect("in time");
    assert!(matches!(ended, Err(Ended::HistoryLost(_))), "{ended:?}");
    let codes: Vec<_> = worker.health().conditions.iter().map(|c| c.code).collect();
    assert_eq!(codes, [HealthCode::HistoryLost]);
    assert!(detail(&worker).contains("halted: the bucket was deleted"));
    assert!(worker.health().is_live() && !worker.health().is_ready());
    let told = |code| {
        let labels = [("code", code)];
        total(&exporter.render(), "parti_health_condition", &labels)
    };
    until("the numbers say it, too", Duration::from_secs(1), || {
        told("history_lost") == 1.0
    })
    .await;
    assert_eq!(told("not_assigned") + told("no_identity"), 0.0);
}
