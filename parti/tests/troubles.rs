//! Numbers of what seldom happens, on workers to which it happens.

#[path = "support/recorder.rs"]
mod recorder;
#[path = "support/scrape.rs"]
mod scrape;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parti::events::{Hooks, StateChange};
use parti::prometheus::Exporter;
use parti::store::LocalStore;
use parti::{ManagerBuilder, State, StopMode, async_trait};
use parti_testing::kit::memory_store::MemoryStore;
use recorder::{Recorder, fast, manager, until};
use scrape::total;

const LIMIT: Duration = Duration::from_secs(60);

/// The exporter of this process; each test has a label of its own.
fn exporter() -> &'static Exporter {
    static EXPORTER: OnceLock<Exporter> = OnceLock::new();
    EXPORTER.get_or_init(|| Exporter::install().expect("the only one"))
}

fn number(case: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let labels = [&[("case", case)], labels].concat();
    total(&exporter().render(), name, &labels)
}

fn builder(case: &str) -> ManagerBuilder {
    exporter();
    let handler = Recorder::new("a");
    manager(fast(1), &LocalStore::new(), 2, &handler).metric_label("case", case)
}

/// External writers in the bucket and watches that break off are found by these numbers, or by nobody.
#[tokio::test(start_paused = true)]
async fn ignored_records_and_lost_watches_are_counted() {
    let (case, store) = ("foreign", MemoryStore::new());
    let worker = builder(case).store(store.clone()).start();
    let worker = worker.await.expect("starts");
    worker.wait_for(State::Stable).await.expect("runs");
    assert_eq!(number(case, "parti_ignored_records_total", &[]), 0.0);
    assert_eq!(number(case, "parti_watcher_failures_total", &[]), 0.0);
    store.plant("w.worker-7", b"not one of ours");
    until("the record is ignored and told", LIMIT, || {
        number(case, "parti_ignored_records_total", &[]) == 1.0
    })
    .await;
    store.lose_watches();
    until("the watch is set up again and told", LIMIT, || {
        number(case, "parti_watcher_failures_total", &[]) == 1.0
    })
    .await;
    worker.stop(StopMode::Now).await.expect("clean");
}

/// Hooks that fail: the first call panics, the second takes too long.
#[derive(Clone, Default)]
struct Failing(Arc<AtomicUsize>);

#[async_trait]
impl Hooks for Failing {
    async fn on_state(&self, _: &StateChange) {
        match self.0.fetch_add(1, Ordering::SeqCst) {
            0 => panic!("boom"),
            1 => std::future::pending().await,
            _ => {}
        }
    }
}

/// An observer that fails observes nothing, and nobody would know.
#[tokio::test(start_paused = true)]
async fn hooks_that_panic_or_take_too_long_are_counted() {
    let (case, hooks) = ("failing", Failing::default());
    let worker = builder(case).hooks(hooks.clone());
    let worker = worker.hook_timeout(Duration::from_millis(100)).start();
    let worker = worker.await.expect("starts");
    until("the hooks are called again", LIMIT, || {
        hooks.0.load(Ordering::SeqCst) > 2
    })
    .await;
    for failure in ["panic", "timeout"] {
        let labels = [("failure", failure)];
        assert_eq!(number(case, "parti_hook_failures_total", &labels), 1.0);
    }
    worker.stop(StopMode::Now).await.expect("clean");
}

/// Hooks that take a minute each time.
struct Slow;

#[async_trait]
impl Hooks for Slow {
    async fn on_state(&self, _: &StateChange) {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
}

/// What slow hooks miss is neither kept for ever nor lost in silence.
#[tokio::test(start_paused = true)]
async fn events_that_hooks_are_too_slow_for_are_counted() {
    let case = "slow";
    let worker = builder(case).hooks(Slow);
    let worker = worker.hook_timeout(Duration::from_secs(120)).start();
    let worker = worker.await.expect("starts");
    let hooks = [("reader", "hooks")];
    for _ in 0..1_000 {
        worker.trigger_rebalance().await.expect("is done");
    }
    let begun = tokio::time::Instant::now();
    while number(case, "parti_notices_dropped_total", &hooks) == 0.0 {
        assert!(begun.elapsed() < LIMIT * 10, "none was missed");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let other = [("reader", "subscription")];
    assert_eq!(number(case, "parti_notices_dropped_total", &other), 0.0);
    worker.stop(StopMode::Now).await.expect("clean");
}
