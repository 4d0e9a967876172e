//! The circuit of the watch as numbers: requests pass, and the watch breaks off.

#[path = "support/recorder.rs"]
mod recorder;
#[path = "support/scrape.rs"]
mod scrape;

use std::sync::Arc;
use std::time::Duration;

use parti::health::HealthCode;
use parti::prometheus::Exporter;
use parti::store::{LocalStore, Store, StoreError, StoreErrorKind};
use parti::{State, StopMode, async_trait};
use parti_core::{StoreOp, StoreReply, Watch, WatchEvent, WatchScope};
use recorder::{Recorder, fast, manager, until};
use scrape::total;
use tokio::sync::watch;

const LIMIT: Duration = Duration::from_secs(60);

/// A store that carries out every request and, while it is cut, no watch.
#[derive(Clone)]
struct Cut {
    inner: LocalStore,
    cut: Arc<watch::Sender<bool>>,
}

#[async_trait]
impl Store for Cut {
    async fn execute(&self, op: StoreOp) -> Result<StoreReply, StoreError> {
        self.inner.execute(op).await
    }

    async fn watch(&self, scope: WatchScope) -> Result<Box<dyn Watch>, StoreError> {
        if *self.cut.borrow() {
            let message = "watches are cut";
            return Err(StoreError::new(StoreErrorKind::Unavailable, message));
        }
        let (inner, cut) = (self.inner.watch(scope).await?, self.cut.subscribe());
        Ok(Box::new(CutWatch { inner, cut }))
    }
}

struct CutWatch {
    inner: Box<dyn Watch>,
    cut: watch::Receiver<bool>,
}

#[async_trait]
impl Watch for CutWatch {
    async fn next(&mut self) -> WatchEvent {
        tokio::select! {
            event = self.inner.next() => event,
            _ = self.cut.wait_for(|cut| *cut) => {
                let reason = "watches are cut".to_owned();
                WatchEvent::Lost { reason }
            }
        }
    }
}

/// A watch that breaks off all the time looked, in the numbers, like one that nobody used.
#[tokio::test(start_paused = true)]
async fn calls_under_the_circuit_of_the_watch_are_counted() {
    let exporter = Exporter::install().expect("the only one");
    let (inner, handler) = (LocalStore::new(), Recorder::new("a"));
    let store = Cut {
        inner: inner.clone(),
        cut: Arc::new(watch::Sender::new(false)),
    };
    let cut = Arc::clone(&store.cut);
    let builder = manager(fast(1), &inner, 2, &handler).store(store);
    let worker = builder.start().await.expect("starts");
    worker.wait_for(State::Stable).await.expect("runs");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let number = |name: &str, labels: &[(&str, &str)]| total(&exporter.render(), name, labels);
    let calls = |circuit, outcome| {
        let labels = [("circuit", circuit), ("outcome", outcome)];
        number("parti_circuit_breaker_calls_total", &labels)
    };
    let before = calls("watch", "succeeded");
    assert!(
        (8.0..16.0).contains(&before),
        "{before}: one each renewal, four a second, and a few more"
    );
    assert_eq!(calls("watch", "failed"), 0.0);

    cut.send_replace(true);
    until("the circuit is open", LIMIT, || {
        number("parti_circuit_breaker_state", &[("circuit", "watch")]) == 2.0
    })
    .await;
    let failed = calls("watch", "failed");
    assert_eq!(failed, 5.0, "as many as it takes to open it");
    assert_eq!(calls("watch", "succeeded"), before);
    assert!(worker.health().has(HealthCode::CircuitOpen));
    let to_open = [("circuit", "watch"), ("to", "open")];
    let opened = number("parti_circuit_breaker_state_changes_total", &to_open);
    assert_eq!(opened, 1.0);

    cut.send_replace(false);
    until("the circuit is closed", LIMIT, || {
        number("parti_circuit_breaker_state", &[("circuit", "watch")]) == 0.0
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(calls("watch", "succeeded") > before);
    assert_eq!(calls("watch", "abandoned"), 0.0);
    let others = calls("store", "failed") + calls("store", "abandoned");
    assert_eq!(others, 0.0, "requests passed all the time");
    assert_eq!(worker.assignment().len(), 2, "and so the lease was kept");
    worker.stop(StopMode::Now).await.expect("clean");
}
