//! One task per partition, and the end of a manager, in virtual time on a store in memory.

#[path = "support/recorder.rs"]
mod recorder;

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;
use parti::clock::Clock;
use parti::events::ManagerNotice;
use parti::sources::StaticSource;
use parti::store::LocalStore;
use parti::{
    Config, ConfigBuilder, Ended, Guard, HandlerError, Manager, ManagerBuilder, PartitionKey,
    StopFailure, StopMode,
};
use recorder::{fast, heard, until};
use tokio::time::{Instant, sleep};

const LIMIT: Duration = Duration::from_secs(30);

fn config(builder: ConfigBuilder) -> Config {
    builder.build().expect("coherent")
}

fn source(partitions: u32) -> StaticSource {
    StaticSource::numbered("p", partitions).expect("valid")
}

fn with_tasks<W, F>(config: Config, store: &LocalStore, partitions: u32, work: W) -> ManagerBuilder
where
    W: Fn(Guard) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    Manager::with_tasks(config, source(partitions), work)
        .store(store.clone())
        .clock(Clock::tokio())
}

/// What tasks of several workers write down.
#[derive(Clone, Default)]
struct Record(Arc<Mutex<BTreeMap<PartitionKey, u32>>>, Arc<AtomicU32>);

impl Record {
    /// Works until revoked, then takes `finish` to come to an end.
    async fn work(self, guard: Guard, finish: Duration) -> Result<(), HandlerError> {
        let key = guard.partition().clone();
        let begin = |key| {
            let mut running = self.0.lock().expect("no panic");
            let count: &mut u32 = running.entry(key).or_default();
            *count += 1;
            *count
        };
        if begin(key.clone()) > 1 {
            self.1.fetch_add(1, Ordering::Relaxed);
        }
        guard.revoking().await;
        sleep(finish).await;
        if !guard.is_valid() {
            self.1.fetch_add(1, Ordering::Relaxed);
        }
        *self
            .0
            .lock()
            .expect("no panic")
            .get_mut(&key)
            .expect("begun") -= 1;
        Ok(())
    }

    fn running(&self) -> u32 {
        self.0.lock().expect("no panic").values().sum()
    }

    fn overlaps(&self) -> u32 {
        self.1.load(Ordering::Relaxed)
    }
}

/// A task that still ran when the next owner began is what handlers written by hand forget first.
#[tokio::test(start_paused = true)]
async fn a_task_is_told_to_finish_and_joined_before_the_next_owner_begins() {
    let (store, record) = (LocalStore::new(), Record::default());
    let worker = |expected| {
        let record = record.clone();
        let work = move |guard| record.clone().work(guard, Duration::from_secs(2));
        with_tasks(config(fast(expected)), &store, 10, work)
    };
    let first = worker(1).start().await.expect("starts");
    until("all run", LIMIT, || record.running() == 10).await;
    let second = worker(1).start().await.expect("starts");
    until("shared", LIMIT, || second.assignment().len() == 5).await;
    until("all run again", LIMIT, || record.running() == 10).await;
    first.stop(StopMode::Handoff).await.expect("stops cleanly");
    until("handed over", LIMIT, || record.running() == 10).await;
    second.stop(StopMode::Now).await.expect("stops cleanly");
    assert_eq!((record.running(), record.overlaps()), (0, 0));
}

/// A task that panicked or returned once left its partition owned and unprocessed, without a word.
#[tokio::test(start_paused = true)]
async fn a_task_that_ends_early_is_told_and_begun_again_with_longer_pauses() {
    let (store, begun) = (LocalStore::new(), Arc::new(AtomicU32::new(0)));
    let times = Arc::clone(&begun);
    let work = move |guard: Guard| {
        let time = times.fetch_add(1, Ordering::Relaxed);
        async move {
            match time {
                0 => panic!("boom"),
                1 => Err(HandlerError::new("no connection")),
                2 => Ok(()),
                _ => {
                    guard.revoking().await;
                    Err(HandlerError::new("nothing was saved"))
                }
            }
        }
    };
    let worker = with_tasks(config(fast(1)), &store, 1, work);
    let mut notices = worker.subscribe();
    let worker = worker.start().await.expect("starts");
    let expected = [
        ("it panicked: boom", Some(1)),
        ("no connection", Some(2)),
        ("it returned before its partition was revoked", Some(4)),
    ];
    let began = Instant::now();
    for (words, seconds) in expected {
        told(&mut notices, words, seconds).await;
    }
    until("begun again", LIMIT, || begun.load(Ordering::Relaxed) == 4).await;
    assert!(began.elapsed() >= Duration::from_secs(7), "too fast");
    worker.stop(StopMode::Now).await.expect("stops cleanly");
    told(&mut notices, "nothing was saved", None).await;
    assert_eq!(begun.load(Ordering::Relaxed), 4, "not begun again");
}

/// Waits for the notice of a task that ended with these words.
async fn told(notices: &mut parti::events::Subscription, words: &str, again: Option<u64>) {
    let ended = |notice: &ManagerNotice| matches!(notice, ManagerNotice::TaskEnded { .. });
    let notice = heard(notices, ended).await;
    let ManagerNotice::TaskEnded { reason, pause, .. } = &*notice else {
        unreachable!("it was waited for");
    };
    assert_eq!(reason, words);
    assert_eq!(*pause, again.map(Duration::from_secs));
}

/// A task that does not hear must not write beside the next owner for ever.
#[tokio::test(start_paused = true)]
async fn a_task_that_does_not_finish_is_dropped_when_its_guard_is_invalid() {
    struct OnDrop(Arc<AtomicU32>, Guard);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            assert!(!self.1.is_valid(), "dropped too early");
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let (store, dropped) = (LocalStore::new(), Arc::new(AtomicU32::new(0)));
    let drops = Arc::clone(&dropped);
    let work = move |guard| {
        let kept = OnDrop(Arc::clone(&drops), guard);
        async move {
            let _kept = kept;
            pending().await
        }
    };
    let worker = with_tasks(config(fast(1)), &store, 3, work);
    let worker = worker.start().await.expect("starts");
    worker.wait_assigned().await.expect("runs");
    let error = worker.stop(StopMode::Now).await.expect_err("they hang");
    let timed_out = |failure: &StopFailure| matches!(failure, StopFailure::DrainTimedOut { .. });
    assert!(error.failures.iter().all(timed_out), "{error}");
    until("dropped", LIMIT, || dropped.load(Ordering::Relaxed) == 3).await;
}

/// What a dropped manager leaves running would work on partitions of others.
#[tokio::test(start_paused = true)]
async fn tasks_end_with_the_manager() {
    let (store, alive) = (LocalStore::new(), Arc::new(()));
    let kept = Arc::clone(&alive);
    let work = move |_| {
        let kept = Arc::clone(&kept);
        async move {
            let _kept = kept;
            pending().await
        }
    };
    let worker = with_tasks(config(fast(1)), &store, 3, work);
    let worker = worker.start().await.expect("starts");
    until("all run", LIMIT, || Arc::strong_count(&alive) == 5).await;
    drop(worker);
    until("gone", LIMIT, || Arc::strong_count(&alive) == 1).await;
}

/// A program that only waited for a signal did not see that its worker had ended long ago.
#[tokio::test(start_paused = true)]
async fn the_end_can_be_awaited() {
    let store = LocalStore::new();
    let start = || {
        let work = |guard: Guard| async move {
            guard.revoking().await;
            Ok(())
        };
        with_tasks(config(fast(1)), &store, 3, work).start()
    };
    // A signal ends it gracefully.
    let worker = start().await.expect("starts");
    worker.wait_assigned().await.expect("runs");
    let begun = Instant::now();
    let signal = sleep(Duration::from_secs(5));
    let report = worker.run_until(signal).await.expect("stops cleanly");
    assert!(begun.elapsed() >= Duration::from_secs(5));
    assert_eq!(report.left_unowned.len(), 3, "the last one of its group");
    assert_eq!(worker.closed().await, Ended::Stopped);
    // What somebody else stops is not waited for any longer.
    let worker = start().await.expect("starts");
    let (ran, stopped) = tokio::join!(
        worker.run_until(pending::<()>()),
        worker.stop(StopMode::Now)
    );
    assert!(ran.is_ok() && stopped.is_ok(), "{ran:?} {stopped:?}");
}

/// Programs select over streams; a reader that has to be polled by hand is left out.
#[tokio::test(start_paused = true)]
async fn a_subscription_is_a_stream_that_ends_with_the_manager() {
    let store = LocalStore::new();
    let work = |guard: Guard| async move {
        guard.revoking().await;
        Ok(())
    };
    let worker = with_tasks(config(fast(1)), &store, 3, work);
    let notices = worker.subscribe();
    let worker = worker.start().await.expect("starts");
    worker.stop(StopMode::Now).await.expect("stops cleanly");
    drop(worker);
    let all: Vec<_> = notices.collect().await;
    let core = |notice: &Arc<ManagerNotice>| matches!(**notice, ManagerNotice::Core(_));
    assert!(all.len() > 3 && all.iter().all(core), "{all:?}");
}
