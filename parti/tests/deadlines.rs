//! Nothing is waited for without end: whatever the outside owes an answer has a deadline of its own.

#[path = "support/recorder.rs"]
mod recorder;
#[path = "support/stalling.rs"]
mod stalling;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use parti::clock::Clock;
use parti::sources::{KvSource, KvSourceError, SourceError, StaticSource, source_fn};
use parti::store::StoreErrorKind;
use parti::strategy::{AssignmentStrategy, Plan, PlanError, PlanInput, StrategyId};
use parti::{Config, Manager, Partition, Preset, State, StopMode};
use parti_strategy::Sticky;
use recorder::{Recorder, fast, manager, until};
use stalling::{Kind, Stalling};
use tokio::time::Instant;

const LIMIT: Duration = Duration::from_secs(60);

fn config() -> Config {
    fast(1).build().expect("coherent")
}

/// One answer that never comes once held up a worker for ever, whichever it was.
#[tokio::test(start_paused = true)]
async fn every_kind_of_request_is_given_up_at_its_own_deadline_and_got_over() {
    let config = config();
    for kind in Kind::ALL {
        let (store, handler) = (Stalling::new(), Recorder::new("a"));
        store.stall(kind, 1);
        if kind == Kind::Get {
            // A key is read to find out what became of a write.
            store.stall(Kind::Commit, 1);
        }
        let builder = manager(fast(1), &store.store, 4, &handler).store(store.clone());
        let worker = builder.start().await.expect("starts");
        until("it has all", LIMIT, || worker.assignment().len() == 4).await;
        until("the request was given up", LIMIT, || {
            store
                .given_up()
                .iter()
                .any(|(given_up, _)| *given_up == kind)
        })
        .await;
        let deadline = match kind {
            // Its renewals are acknowledged and do not come back; that is noticed before the lease.
            Kind::Watch => config.heartbeat_interval() * 2,
            Kind::Get | Kind::List | Kind::Commit | Kind::Info => config.request_timeout(),
        };
        // The timer of tokio has a resolution of a millisecond.
        let given_up = store.given_up();
        let waited = given_up.iter().filter(|(given_up, _)| *given_up == kind);
        let in_time =
            |waited: Duration| waited >= deadline && waited <= deadline + Duration::from_millis(2);
        assert!(
            waited.clone().all(|(_, waited)| in_time(*waited)),
            "{given_up:?} of {deadline:?}"
        );
        assert_eq!(waited.count(), 1, "{given_up:?}");
        worker.stop(StopMode::Now).await.expect("clean");
    }
}

/// A stop on a store that is gone must end, and say that the others were not told.
#[tokio::test(start_paused = true)]
async fn a_stop_without_a_store_ends_within_its_own_bound_and_says_what_failed() {
    for mode in [StopMode::Handoff, StopMode::Now] {
        let (store, handler) = (Stalling::new(), Recorder::new("a"));
        let builder = manager(fast(1), &store.store, 4, &handler).store(store.clone());
        let worker = builder.start().await.expect("starts");
        until("all begun", LIMIT, || handler.seen().assigned == 4).await;
        let config = worker.config().clone();
        for kind in Kind::ALL {
            store.stall(kind, usize::MAX);
        }
        let begun = Instant::now();
        worker.stop(mode).await.expect_err("the slot was not freed");
        let bound = config.shutdown_timeout() + config.drain_timeout() * 3 + config.lease();
        assert!(begun.elapsed() < bound, "{mode:?}: {:?}", begun.elapsed());
        assert_eq!(worker.state(), State::Shutdown);
        assert_eq!(handler.seen().revoked.len(), 4);
        let valid = |guard: &parti::Guard| guard.is_valid();
        assert!(!handler.seen().open.values().any(valid));
    }
}

/// A source that hangs must not keep the group from the next list.
#[tokio::test(start_paused = true)]
async fn a_listing_that_hangs_is_given_up_and_made_again() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let source = source_fn(move || {
        let first = counted.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if first {
                std::future::pending::<()>().await;
            }
            let list = (0..4).map(|n| Partition::new(["p", &n.to_string()]));
            list.collect::<Result<Vec<_>, _>>()
                .map_err(SourceError::Invalid)
        }
    });
    let config = config();
    let (operation, handler) = (config.operation_timeout(), Recorder::new("a"));
    let builder = Manager::builder(config, source, handler)
        .store(Stalling::new())
        .clock(Clock::tokio());
    let begun = Instant::now();
    let worker = builder.start().await.expect("starts");
    until("it has all", LIMIT, || worker.assignment().len() == 4).await;
    assert!(calls.load(Ordering::SeqCst) >= 2);
    let took = begun.elapsed();
    assert!(took >= operation, "{took:?} of {operation:?}");
    assert!(took <= operation * 2, "{took:?} of {operation:?}");
    worker.stop(StopMode::Now).await.expect("clean");
}

/// A strategy whose first plan is not done before it is told so.
struct Endless {
    calls: AtomicUsize,
    told: Mutex<mpsc::Receiver<()>>,
}

impl AssignmentStrategy for Endless {
    fn id(&self) -> StrategyId {
        Sticky::default().id()
    }

    fn plan(&self, input: &PlanInput) -> Result<Plan, PlanError> {
        if self.calls.fetch_add(1, Ordering::SeqCst) == 0 {
            // The sender is dropped to say so.
            let _ = self.told.lock().expect("nobody panics").recv();
        }
        Sticky::default().plan(input)
    }
}

/// A plan without end would stop the group, and a leader that waits for it its own renewals.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_without_end_is_given_up_while_the_lease_is_kept() {
    let config = Config::builder("test")
        .preset(Preset::Fast)
        .expected_workers(1)
        .operation_timeout(Duration::from_millis(1_500))
        .build()
        .expect("coherent");
    let (tell, told) = mpsc::channel();
    let strategy = Endless {
        calls: AtomicUsize::new(0),
        told: Mutex::new(told),
    };
    let source = StaticSource::numbered("p", 4).expect("valid");
    let builder = Manager::builder(config, source, Recorder::new("a"))
        .strategy(strategy)
        .store(Stalling::new());
    let mut notices = builder.subscribe();
    let worker = builder.start().await.expect("starts");
    until("it has all", LIMIT, || worker.assignment().len() == 4).await;
    drop(tell);
    worker.stop(StopMode::Now).await.expect("clean");
    drop(worker);
    let mut failed = 0;
    while let Some(notice) = notices.next().await {
        let text = format!("{notice:?}");
        assert!(!text.contains("LeaseLost"), "{text}");
        failed += usize::from(text.contains("no plan within 1.5s"));
    }
    assert!(failed > 0, "it was given up and told");
}

/// Each plan that was given up left its thread behind: a strategy that is too slow filled the machine
/// with them until nothing else ran.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plans_that_are_given_up_do_not_pile_up() {
    let (told, waiting) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let most = Arc::new(AtomicUsize::new(0));
    let strategy = TooSlow {
        told: Arc::clone(&told),
        running: Arc::clone(&waiting),
        most: Arc::clone(&most),
    };
    let config = Config::builder("test")
        .preset(Preset::Fast)
        .expected_workers(1)
        .operation_timeout(Duration::from_millis(250))
        .build()
        .expect("coherent");
    let source = StaticSource::numbered("p", 4).expect("valid");
    let builder = Manager::builder(config, source, Recorder::new("a"))
        .strategy(strategy)
        .store(Stalling::new());
    let mut notices = builder.subscribe();
    let worker = builder.start().await.expect("starts");
    let mut failed = 0;
    while failed < 6 {
        let notice = notices.next().await.expect("it goes on");
        failed += usize::from(format!("{notice:?}").contains("PlanFailed"));
    }
    assert_eq!(
        most.load(Ordering::SeqCst),
        2,
        "one that was given up, and the next"
    );
    // As soon as they return, everything goes on.
    told.store(1, Ordering::SeqCst);
    until("it has all", LIMIT, || worker.assignment().len() == 4).await;
    worker.stop(StopMode::Now).await.expect("clean");
}

/// A strategy whose plans take until they are told to end.
struct TooSlow {
    told: Arc<AtomicUsize>,
    running: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl AssignmentStrategy for TooSlow {
    fn id(&self) -> StrategyId {
        Sticky::default().id()
    }

    fn plan(&self, input: &PlanInput) -> Result<Plan, PlanError> {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        while self.told.load(Ordering::SeqCst) == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.running.fetch_sub(1, Ordering::SeqCst);
        Sticky::default().plan(input)
    }
}

/// A tool that changes the list must end, also when the backend forgets its own time-out.
#[tokio::test(start_paused = true)]
async fn a_request_of_a_stored_list_is_given_up_after_ten_seconds() {
    let store = Stalling::new();
    let source = KvSource::new(store.clone());
    store.stall(Kind::Get, 1);
    let begun = Instant::now();
    let reading = tokio::time::timeout(LIMIT, source.partitions());
    let error = reading.await.expect("in time").expect_err("no answer");
    let KvSourceError::Store(error) = error else {
        panic!("{error}")
    };
    assert_eq!(error.kind, StoreErrorKind::Unknown);
    let took = begun.elapsed().as_secs_f64();
    assert!((10.0..10.1).contains(&took), "{took} s");
    store.stall(Kind::Commit, 1);
    let list = vec![Partition::new(["p"]).expect("valid")];
    source.create(list).await.expect("tried again");
    assert_eq!(source.partitions().await.expect("stored").len(), 1);
}
