//! A driver that cannot run: its manager is given up all the same, and no guard outlives that.

#[path = "support/recorder.rs"]
mod recorder;

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use parti::clock::Clock;
use parti::health::HealthCode;
use parti::sources::StaticSource;
use parti::store::LocalStore;
use parti::{Ended, Guard, Manager, State, StopFailure, StopMode};
use recorder::{Recorder, fast, until};
use tokio::sync::oneshot;

const LIMIT: Duration = Duration::from_secs(60);

/// A worker on a runtime of its own, in real time, which can be blocked.
struct Blockable {
    worker: Option<Arc<Manager>>,
    handler: Recorder,
    block: Option<oneshot::Sender<mpsc::Receiver<()>>>,
    /// Dropped to unblock the runtime.
    blocked: Option<mpsc::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Blockable {
    async fn start() -> Self {
        let (started, worker) = oneshot::channel();
        let (block, mut asked) = oneshot::channel::<mpsc::Receiver<()>>();
        let handler = Recorder::new("a");
        let recorder = handler.clone();
        let thread = std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().expect("a runtime");
            runtime.block_on(async {
                // The lease outlasts the test: only the end can make a guard invalid.
                let config = fast(1).lease(Duration::from_secs(600));
                let config = config.request_timeout(Duration::from_secs(5));
                let config = config.build().expect("coherent");
                let source = StaticSource::numbered("p", 4).expect("valid");
                let builder = Manager::builder(config, source, recorder.clone());
                let builder = builder.store(LocalStore::new());
                let worker = builder.clock(Clock::boot()).start().await.expect("starts");
                until("all begun", LIMIT, || recorder.seen().assigned == 4).await;
                assert!(started.send(Arc::new(worker)).is_ok());
                let blocked = (&mut asked).await.expect("asked to block");
                let _ = blocked.recv();
                // What was under way goes on.
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
            });
        });
        Self {
            worker: Some(worker.await.expect("starts")),
            handler,
            block: Some(block),
            blocked: None,
            thread: Some(thread),
        }
    }

    fn block(&mut self) {
        let (blocked, until) = mpsc::channel();
        let block = self.block.take().expect("not blocked yet");
        block.send(until).expect("the runtime runs");
        self.blocked = Some(blocked);
    }

    fn unblock(&mut self) {
        self.blocked = None;
        let thread = self.thread.take().expect("runs");
        thread.join().expect("ends");
    }

    fn guards(&self) -> Vec<Guard> {
        self.handler.seen().open.values().cloned().collect()
    }
}

/// The answer was that the manager had been ended by force, and its guards stayed valid for the rest
/// of their lease, while `assignment()` still named them.
#[tokio::test(start_paused = true)]
async fn a_stop_that_hangs_answers_so_and_leaves_no_guard_valid() {
    let mut blockable = Blockable::start().await;
    let guards = blockable.guards();
    assert!(guards.len() == 4 && guards.iter().all(Guard::is_valid));
    blockable.block();
    let worker = blockable.worker.clone().expect("there");
    let begun = Instant::now();
    // Time is paused in this runtime only: the limit is over at once.
    let error = worker.stop(StopMode::Now).await.expect_err("hangs");
    assert!(begun.elapsed() < LIMIT);
    let config = worker.config();
    let limit = config.shutdown_timeout() + config.drain_timeout() * 3 + config.lease();
    let hung = StopFailure::Hung { after: limit };
    assert_eq!(error.failures, [hung]);
    assert!(!guards.iter().any(Guard::is_valid));
    assert!(worker.assignment().is_empty() && worker.state() == State::Shutdown);
    assert!(worker.health().has(HealthCode::DriverFailed));
    blockable.unblock();
    assert!(!guards.iter().any(Guard::is_valid));
    let again = worker
        .stop(StopMode::Now)
        .await
        .expect_err("ended by force");
    assert!(matches!(
        &again.failures[..],
        [StopFailure::Ended(Ended::Failed(_))]
    ));
}

/// Dropping the manager is like a crash, also while the driver is in the middle of a step.
#[tokio::test]
async fn a_manager_dropped_while_its_driver_cannot_run_leaves_no_guard_valid() {
    let mut blockable = Blockable::start().await;
    let guards = blockable.guards();
    blockable.block();
    assert!(guards.iter().all(Guard::is_valid));
    blockable.worker = None;
    assert!(!guards.iter().any(Guard::is_valid));
    blockable.unblock();
    assert!(!guards.iter().any(Guard::is_valid));
}
