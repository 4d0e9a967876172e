//! A user's future that panics in a destructor when it is cut short: a task that ended so once left
//! its caller waiting for ever.

#[path = "support/recorder.rs"]
mod recorder;

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use parti::events::{HookEvent, Hooks, ManagerNotice, StateChange};
use parti::sources::{SourceError, StaticSource, source_fn};
use parti::store::{LocalStore, Store, StoreError};
use parti::store::{StoreOp, StoreReply, Watch, WatchScope};
use parti::{
    Guard, HandlerError, Manager, Partition, PartitionHandler, PartitionKey, RevokeCause, StopMode,
    async_trait,
};
use recorder::{Recorder, fast, heard, manager, until};

const LIMIT: Duration = Duration::from_secs(60);

/// What a runtime says that is dropped where blocking is not allowed.
struct Boom;

impl Drop for Boom {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "dropped in the wrong place");
    }
}

async fn hang() {
    let _boom = Boom;
    pending::<()>().await;
}

/// Hangs so many times, then does what the recorder does.
#[derive(Clone)]
struct Hanging {
    assigned: Arc<AtomicUsize>,
    revoked: Arc<AtomicUsize>,
    recorder: Recorder,
}

impl Hanging {
    fn new(assigned: usize, revoked: usize) -> Self {
        let times = |times| Arc::new(AtomicUsize::new(times));
        let (assigned, revoked) = (times(assigned), times(revoked));
        let recorder = Recorder::new("hangs");
        Self {
            assigned,
            revoked,
            recorder,
        }
    }
}

fn one_less(left: &AtomicUsize) -> bool {
    left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1))
        .is_ok()
}

#[async_trait]
impl PartitionHandler for Hanging {
    async fn on_assigned(
        &self,
        partition: &PartitionKey,
        guard: Guard,
    ) -> Result<(), HandlerError> {
        self.recorder.on_assigned(partition, guard).await?;
        if one_less(&self.assigned) {
            hang().await;
        }
        Ok(())
    }

    async fn on_revoked(&self, partition: &PartitionKey, guard: Guard, cause: RevokeCause) {
        self.recorder.on_revoked(partition, guard, cause).await;
        if one_less(&self.revoked) {
            hang().await;
        }
    }
}

/// Each of them kept its place of the concurrency limit, and its partition never had a callback again.
#[tokio::test(start_paused = true)]
async fn callbacks_that_panic_when_cut_short_are_told_and_followed_by_the_next() {
    for (assigned, revoked) in [(4, 0), (0, 2)] {
        let (store, other) = (LocalStore::new(), Recorder::new("other"));
        let handler = Hanging::new(assigned, revoked);
        let source = StaticSource::numbered("p", 4).expect("valid");
        let config = fast(1).build().expect("coherent");
        let builder = Manager::builder(config, source, handler.clone())
            .store(store.clone())
            .clock(parti::clock::Clock::tokio())
            .concurrency(4);
        let mut notices = builder.subscribe();
        let one = builder.start().await.expect("starts");
        let seen = |recorder: &Recorder| recorder.seen().assigned;
        until("it has all", LIMIT, || seen(&handler.recorder) == 4).await;
        let two = manager(fast(1), &store, 4, &other)
            .start()
            .await
            .expect("starts");
        until("half has moved", LIMIT, || seen(&other) == 2).await;
        let panicked =
            |notice: &ManagerNotice| matches!(notice, ManagerNotice::CallbackPanicked { .. });
        heard(&mut notices, panicked).await;
        until("each was told to end", LIMIT, || {
            handler.recorder.seen().revoked.len() == 2
        })
        .await;
        two.stop(StopMode::Now).await.expect("stops");
        until("it begins those again", LIMIT, || {
            seen(&handler.recorder) == 6
        })
        .await;
        // Two of them hang still; they are cut short in their turn.
        let _ = one.stop(StopMode::Now).await;
        assert_eq!(handler.recorder.seen().revoked.len(), 6);
    }
}

/// A leader without a list assigned nothing for hours.
#[tokio::test(start_paused = true)]
async fn a_listing_that_panics_when_cut_short_is_asked_for_again() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let source = source_fn(move || {
        let first = counted.fetch_add(1, SeqCst) == 0;
        async move {
            if first {
                hang().await;
            }
            let list = ["0", "1"].map(|n| Partition::new(["p", n]));
            let list = list.into_iter().collect::<Result<Vec<_>, _>>();
            list.map_err(SourceError::Invalid)
        }
    });
    let config = fast(1).build().expect("coherent");
    let worker =
        Manager::builder(config, source, Recorder::new("a")).clock(parti::clock::Clock::tokio());
    let worker = worker.start().await.expect("starts");
    until("it has all", LIMIT, || worker.assignment().len() == 2).await;
    worker.stop(StopMode::Now).await.expect("stops");
}

/// Counts what it is told; the first call hangs.
struct Told(Arc<AtomicUsize>);

#[async_trait]
impl Hooks for Told {
    async fn on_state(&self, _: &StateChange) {
        if self.0.fetch_add(1, SeqCst) == 0 {
            hang().await;
        }
    }
}

/// All hooks fell silent for good.
#[tokio::test(start_paused = true)]
async fn a_hook_that_panics_when_cut_short_is_told_the_next_event() {
    let told = Arc::new(AtomicUsize::new(0));
    let (store, handler) = (LocalStore::new(), Recorder::new("a"));
    let builder = manager(fast(1), &store, 2, &handler).hooks(Told(Arc::clone(&told)));
    let worker = builder.start().await.expect("starts");
    until("it is told more", LIMIT, || told.load(SeqCst) > 1).await;
    worker.stop(StopMode::Now).await.expect("stops");
}

/// Panics where a request is made, without a future, or when its answer is given up.
struct Faulty {
    store: LocalStore,
    panics: AtomicUsize,
    hangs: AtomicUsize,
}

impl Store for Faulty {
    fn execute<'a, 'b>(
        &'a self,
        op: StoreOp,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<StoreReply, StoreError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        let commit = matches!(op, StoreOp::Commit { .. });
        assert!(!(commit && one_less(&self.panics)), "no future at all");
        Box::pin(async move {
            if commit && one_less(&self.hangs) {
                hang().await;
            }
            self.store.execute(op).await
        })
    }

    fn watch<'a, 'b>(
        &'a self,
        scope: WatchScope,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<Box<dyn Watch>, StoreError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        self.store.watch(scope)
    }
}

/// The core waited for the answer of its renewal and lost its lease.
#[tokio::test(start_paused = true)]
async fn a_store_that_panics_at_a_call_or_when_cut_short_is_asked_again() {
    let handler = Recorder::new("a");
    let store = Arc::new(Faulty {
        store: LocalStore::new(),
        panics: AtomicUsize::new(2),
        hangs: AtomicUsize::new(2),
    });
    let (hooks, mut events) = parti::events::hook_channel(256);
    let builder = manager(fast(1), &store.store, 2, &handler).store(store.clone());
    let worker = builder.hooks(hooks).start().await.expect("starts");
    until("it has all", LIMIT, || worker.assignment().len() == 2).await;
    worker.stop(StopMode::Now).await.expect("stops");
    while let Some(event) = events.next().await {
        if let HookEvent::Error(trouble) = event {
            assert_ne!(trouble.code(), "lease_lost");
        }
    }
    assert!(!one_less(&store.panics) && !one_less(&store.hangs));
}
