//! Owned is not processed: partitions whose `on_assigned` waits, hangs or fails.

#[path = "support/recorder.rs"]
mod recorder;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use parti::clock::Clock;
use parti::health::HealthCode;
use parti::sources::StaticSource;
use parti::store::LocalStore;
use parti::{
    Guard, HandlerError, Manager, PartitionHandler, PartitionKey, RevokeCause, StopMode,
    async_trait,
};
use recorder::{fast, until};

const LIMIT: Duration = Duration::from_secs(600);

/// What a handler does at its n-th call for a partition.
type Script = fn(&PartitionKey, usize, usize) -> Act;

enum Act {
    Begin,
    Hang,
    Fail,
}

/// Counts calls and does what its script says, by partition, the number of its call and of all calls.
#[derive(Clone)]
struct Scripted {
    script: Script,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    all: usize,
    calls: BTreeMap<PartitionKey, usize>,
    begun: BTreeMap<PartitionKey, Guard>,
    revoked: usize,
}

impl Scripted {
    fn new(script: Script) -> Self {
        let seen = Arc::default();
        Self { script, seen }
    }

    fn seen<T>(&self, read: impl FnOnce(&mut Seen) -> T) -> T {
        read(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn begun(&self) -> usize {
        self.seen(|seen| seen.begun.values().filter(|guard| guard.is_valid()).count())
    }
}

#[async_trait]
impl PartitionHandler for Scripted {
    async fn on_assigned(&self, key: &PartitionKey, guard: Guard) -> Result<(), HandlerError> {
        let act = self.seen(|seen| {
            seen.all += 1;
            let calls = seen.calls.entry(key.clone()).or_default();
            *calls += 1;
            (self.script)(key, *calls, seen.all)
        });
        match act {
            Act::Begin => self.seen(|seen| seen.begun.insert(key.clone(), guard)),
            Act::Hang => std::future::pending().await,
            Act::Fail => return Err(HandlerError::new("the state cannot be loaded")),
        };
        Ok(())
    }

    async fn on_revoked(&self, key: &PartitionKey, _: Guard, _: RevokeCause) {
        self.seen(|seen| {
            seen.begun.remove(key);
            seen.revoked += 1;
        });
    }
}

async fn worker(partitions: u32, handler: &Scripted, limit: Option<Duration>) -> Manager {
    let config = fast(1).drain_timeout(Duration::from_secs(1));
    let config = config.build().expect("coherent");
    let source = StaticSource::numbered("p", partitions).expect("valid");
    let builder = Manager::builder(config, source, handler.clone())
        .store(LocalStore::new())
        .assign_timeout(limit)
        .clock(Clock::tokio());
    builder.start().await.expect("starts")
}

fn says(worker: &Manager, code: HealthCode) -> Option<String> {
    let health = worker.health();
    let condition = health.conditions.iter().find(|c| c.code == code);
    condition.map(ToString::to_string)
}

/// As many callbacks as may run at once hung: 136 partitions were owned, never begun, and the worker
/// said that it was ready.
#[tokio::test(start_paused = true)]
async fn callbacks_that_hang_without_limit_are_named_and_the_worker_is_not_ready() {
    let handler = Scripted::new(|_, _, all| if all <= 64 { Act::Hang } else { Act::Begin });
    let manager = worker(200, &handler, None).await;
    until("all owned", LIMIT, || manager.assignment().len() == 200).await;
    let named = || says(&manager, HealthCode::NotProcessing);
    until("named", Duration::from_secs(3), || named().is_some()).await;
    let words = named().expect("it holds");
    assert!(words.contains("200 partitions"), "{words}");
    assert!(!manager.health().is_ready() && manager.health().is_live());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(named().is_some(), "as long as it lasts");
    manager.stop(StopMode::Now).await.expect_err("they hang");
}

/// With a limit the places of hung callbacks are free again, and what hung is tried again.
#[tokio::test(start_paused = true)]
async fn callbacks_that_hang_beyond_the_limit_let_the_others_begin_and_are_tried_again() {
    let handler = Scripted::new(|_, _, all| if all <= 64 { Act::Hang } else { Act::Begin });
    let manager = worker(200, &handler, Some(Duration::from_secs(5))).await;
    until("the others", Duration::from_secs(7), || {
        handler.begun() >= 136
    })
    .await;
    until("all", Duration::from_secs(20), || handler.begun() == 200).await;
    until("ready", LIMIT, || manager.health().is_ready()).await;
    assert_eq!(says(&manager, HealthCode::NotProcessing), None);
    manager.stop(StopMode::Now).await.expect("stops cleanly");
    assert_eq!(
        handler.seen(|seen| seen.revoked),
        200,
        "each ownership once"
    );
}

/// A handler whose database is down for a moment must not need a restart, nor be told that all is well.
#[tokio::test(start_paused = true)]
async fn a_handler_that_fails_is_tried_again_and_counted_until_it_succeeds() {
    let handler = Scripted::new(|key, calls, _| {
        let bad = key.to_string().ends_with('1');
        if bad && calls <= 4 {
            Act::Fail
        } else {
            Act::Begin
        }
    });
    let manager = worker(2, &handler, None).await;
    until("the other", LIMIT, || handler.begun() == 1).await;
    let named = || says(&manager, HealthCode::NotProcessing);
    until("named", Duration::from_secs(3), || named().is_some()).await;
    let words = named().expect("it holds");
    assert!(
        words.contains("1 partitions") && words.contains("1 failed"),
        "{words}"
    );
    until("begun", LIMIT, || handler.begun() == 2).await;
    until("ready", LIMIT, || manager.health().is_ready()).await;
    manager.stop(StopMode::Now).await.expect("stops cleanly");
}
