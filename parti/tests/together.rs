//! Hundreds of workers that start at the same moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use parti::sources::StaticSource;
use parti::store::{LocalStore, Store, StoreError, StoreOp, StoreReply, Watch, WatchScope};
use parti::{
    Config, Guard, HandlerError, Manager, Partition, PartitionHandler, PartitionKey, RevokeCause,
    async_trait,
};
use tokio::time::{sleep, timeout};

const WORKERS: usize = 500;
const PARTITIONS: usize = 1_000;

#[derive(Default)]
struct Owned(AtomicUsize);

#[async_trait]
impl PartitionHandler for Owned {
    async fn on_assigned(&self, _: &PartitionKey, _: Guard) -> Result<(), HandlerError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn on_revoked(&self, _: &PartitionKey, _: Guard, _: RevokeCause) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts what is asked.
struct Counting {
    store: LocalStore,
    asked: AtomicUsize,
    lists: AtomicUsize,
}

#[async_trait]
impl Store for Counting {
    async fn execute(&self, op: StoreOp) -> Result<StoreReply, StoreError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if matches!(op, StoreOp::List { .. }) {
            self.lists.fetch_add(1, Ordering::Relaxed);
        }
        self.store.execute(op).await
    }

    async fn watch(&self, scope: WatchScope) -> Result<Box<dyn Watch>, StoreError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.store.watch(scope).await
    }
}

/// At two hundred all went for the same slot and listed all others after each loss: ten seconds and half a
/// million messages. At a thousand no lease was renewed in time.
#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_that_start_at_once_ask_little_and_never_list_each_other() {
    let store = Arc::new(Counting {
        store: LocalStore::new(),
        asked: AtomicUsize::new(0),
        lists: AtomicUsize::new(0),
    });
    let partitions = (0..PARTITIONS).map(|i| Partition::new([format!("p-{i}")]).expect("valid"));
    let source = Arc::new(StaticSource::new(partitions.collect()).expect("no twins"));
    let owned = Arc::new(Owned::default());
    let starts = (0..WORKERS).map(|_| {
        let config = Config::builder("together")
            .expected_workers(WORKERS as u32)
            .worker_id_range(0, 2 * WORKERS as u32 - 1)
            // So that a busy machine adds no renewals.
            .heartbeat_interval(Duration::from_secs(30))
            .lease(Duration::from_secs(90))
            .startup_timeout(Duration::from_secs(60))
            .build()
            .expect("coherent");
        let (source, owned) = (Arc::clone(&source), Arc::clone(&owned));
        let manager = Manager::builder(config, source, owned).store(Arc::clone(&store));
        tokio::spawn(manager.start())
    });
    let starts = join_all(starts.collect::<Vec<_>>()).await;
    let managers: Vec<Manager> = starts
        .into_iter()
        .map(|start| start.expect("no panic").expect("every one starts"))
        .collect();
    let all = async {
        while owned.0.load(Ordering::Relaxed) < PARTITIONS {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(60), all).await.expect("owned");
    let (asked, lists) = (&store.asked, &store.lists);
    let (asked, lists) = (asked.load(Ordering::Relaxed), lists.load(Ordering::Relaxed));
    assert!(asked <= 10 * WORKERS, "{asked} requests");
    assert!(lists <= WORKERS / 10, "{lists} lists");
    drop(managers);
}
