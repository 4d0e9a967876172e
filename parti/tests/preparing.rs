//! Moves to workers that prepare, with real managers: what the handler is told and when.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use parti::sources::StaticSource;
use parti::store::LocalStore;
use parti::{
    Config, Guard, HandlerError, Manager, PartitionHandler, PartitionKey, Preparation, Preset,
    RevokeCause, StopMode, async_trait,
};
use tokio::sync::watch;
use tokio::time::timeout;

/// Longer than anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What all handlers were told, in order, as `worker: word partition`.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn say(&self, name: &str, word: &str, partition: &PartitionKey) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(format!("{name}: {word} {partition}"));
    }

    fn lines(&self) -> Vec<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn count(&self, start: &str) -> usize {
        let lines = self.lines();
        lines.iter().filter(|line| line.starts_with(start)).count()
    }
}

/// A handler whose preparations wait until they are let go.
#[derive(Clone)]
struct Work {
    name: &'static str,
    told: Told,
    gate: watch::Receiver<bool>,
    fails: bool,
}

#[async_trait]
impl PartitionHandler for Work {
    async fn on_assigned(&self, key: &PartitionKey, _: Guard) -> Result<(), HandlerError> {
        self.told.say(self.name, "assigned", key);
        Ok(())
    }

    async fn on_revoked(&self, key: &PartitionKey, _: Guard, _: RevokeCause) {
        self.told.say(self.name, "revoked", key);
    }

    fn prepares(&self) -> bool {
        true
    }

    async fn on_prepare(&self, key: &PartitionKey, _: Preparation) -> Result<(), HandlerError> {
        self.told.say(self.name, "prepares", key);
        let mut gate = self.gate.clone();
        let _ = gate.wait_for(|open| *open).await;
        if self.fails {
            return Err(HandlerError::new("no disk"));
        }
        self.told.say(self.name, "ready", key);
        Ok(())
    }

    async fn on_prepare_cancelled(&self, key: &PartitionKey, _: Preparation) {
        self.told.say(self.name, "cancelled", key);
    }
}

struct Group {
    store: LocalStore,
    told: Told,
    gate: watch::Sender<bool>,
}

impl Group {
    fn new() -> Self {
        Self {
            store: LocalStore::new(),
            told: Told::default(),
            gate: watch::Sender::new(false),
        }
    }

    async fn start(&self, name: &'static str, fails: bool) -> Manager {
        let config = Config::builder("g")
            .preset(Preset::Fast)
            .expected_workers(1)
            .prepare_timeout(PATIENCE * 2)
            .build()
            .expect("coherent");
        let work = Work {
            name,
            told: self.told.clone(),
            gate: self.gate.subscribe(),
            fails,
        };
        let source = StaticSource::numbered("p", 4).expect("valid");
        let builder = Manager::builder(config, source, work).store(self.store.clone());
        builder.start().await.expect("starts")
    }

    async fn until(&self, what: &str, reached: impl Fn(&Told) -> bool) {
        let waiting = async {
            while !reached(&self.told) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let waited = timeout(PATIENCE, waiting).await;
        assert!(waited.is_ok(), "{what}: {:?}", self.told.lines());
    }
}

/// A worker that loads for half a minute must not cost its partitions half a minute.
#[tokio::test]
async fn the_owner_works_on_until_the_next_one_is_ready() {
    let group = Group::new();
    let a = group.start("a", false).await;
    group
        .until("a has all", |told| told.count("a: assigned") == 4)
        .await;
    assert_eq!(group.told.count("a: prepares"), 0, "nobody had them before");
    let b = group.start("b", false).await;
    group
        .until("b prepares", |told| told.count("b: prepares") == 2)
        .await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(group.told.count("a: revoked"), 0);
    group.gate.send_replace(true);
    group
        .until("b has two", |told| told.count("b: assigned") == 2)
        .await;
    let mut order: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in group.told.lines() {
        let (what, key) = line.rsplit_once(' ').expect("three words");
        order.entry(key.into()).or_default().push(what.into());
    }
    let moved = order.values().filter(|lines| lines.len() > 1);
    for lines in moved {
        let expected = [
            "a: assigned",
            "b: prepares",
            "b: ready",
            "a: revoked",
            "b: assigned",
        ];
        assert_eq!(*lines, expected);
    }
    assert_eq!(group.told.count("b: cancelled"), 0);
    a.stop(StopMode::Now).await.expect("stops");
    b.stop(StopMode::Now).await.expect("stops");
}

/// What cannot be taken stays where it is processed, and what was loaded for it is given back.
#[tokio::test]
async fn a_worker_that_cannot_take_it_is_told_so_and_the_owner_keeps_it() {
    let group = Group::new();
    let a = group.start("a", false).await;
    group
        .until("a has all", |told| told.count("a: assigned") == 4)
        .await;
    group.gate.send_replace(true);
    let b = group.start("b", true).await;
    group
        .until("it is withdrawn", |told| told.count("b: cancelled") == 2)
        .await;
    assert_eq!(group.told.count("a: revoked"), 0);
    assert_eq!(group.told.count("b: prepares"), 2);
    b.stop(StopMode::Now).await.expect("stops");
    a.stop(StopMode::Now).await.expect("stops");
}

/// A worker that stops must not keep what it loaded for later.
#[tokio::test]
async fn a_stop_cuts_preparations_short_and_cancels_them() {
    let group = Group::new();
    let a = group.start("a", false).await;
    group
        .until("a has all", |told| told.count("a: assigned") == 4)
        .await;
    let b = group.start("b", false).await;
    group
        .until("b prepares", |told| told.count("b: prepares") == 2)
        .await;
    b.stop(StopMode::Now).await.expect("stops");
    assert_eq!(group.told.count("b: cancelled"), 2);
    assert_eq!(group.told.count("b: ready"), 0);
    a.stop(StopMode::Now).await.expect("stops");
}
