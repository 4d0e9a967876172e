//! Clients that write, read and watch at random, and the history of what they saw.
//!
//! It is separate from the check of the history and from the faults, so that the same workload runs on
//! the store in memory, on the simulator's store and on real servers that are being killed. What
//! always holds: what a client does next follows from the seed and from what it was answered; when
//! the faults are over every watch is followed until it has seen a last write of every key, so no
//! gap can hide at the end.
//!
//! ```
//! use std::sync::Arc;
//! use parti_core::Store;
//! use parti_testing::kit::history::{Promise, check};
//! use parti_testing::kit::memory_store::MemoryStore;
//! use parti_testing::kit::workload::{WorkloadOptions, run};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = MemoryStore::new();
//! let clients = (0..3).map(|_| Arc::new(store.clone()) as Arc<dyn Store>);
//! let no_faults = async {};
//! let history = run(clients.collect(), WorkloadOptions::default(), no_faults).await?;
//! assert_eq!(check(&history, Promise::default()), []);
//! # Ok(())
//! # }
//! ```

use core::fmt;
use core::future::Future;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parti_core::{
    Entry, Expect, Revision, Store, StoreErrorKind, StoreOp, StoreReply, WatchEvent, WatchScope,
    Write,
};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use crate::kit::history::{Answer, CommitRecord, History, ReadRecord, Recorder, WatchRecord};
use crate::kit::random::Random;

/// How long a watch may take until it has seen the last writes, after the faults are over.
const SETTLE_MAX: Duration = Duration::from_secs(90);
/// How long a client waits after a failure that comes at once.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// What the clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkloadOptions {
    /// What everything random follows from.
    pub seed: u64,
    /// How many keys there are; few, so that clients meet.
    pub keys: usize,
    /// How long the clients go on, unless the faults take longer.
    pub duration: Duration,
    /// The longest pause of a client between two requests.
    pub pause: Duration,
}

impl Default for WorkloadOptions {
    /// Five keys, two seconds, pauses up to 10 ms.
    fn default() -> Self {
        Self {
            seed: 0,
            keys: 5,
            duration: Duration::from_secs(2),
            pause: Duration::from_millis(10),
        }
    }
}

/// After the faults were over something did not come to an end, which is a failure of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotSettled {
    /// What did not end.
    pub what: String,
}

impl fmt::Display for NotSettled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not within {SETTLE_MAX:?}: {}", self.what)
    }
}

impl std::error::Error for NotSettled {}

/// Lets every client work until the time is over and the faults have ended; then lets
/// everything settle. The faults must be healed when their future ends.
///
/// # Errors
/// [`NotSettled`] when a commit or a watch does not come to its end after the faults.
///
/// # Cancellation safety
/// Dropping the future ends the clients; requests under way may still be carried out. After the time
/// of the options and the end of `faults`, which has no deadline of its own, settling is bounded by
/// a minute and a half.
pub async fn run(
    clients: Vec<Arc<dyn Store>>,
    options: WorkloadOptions,
    faults: impl Future<Output = ()>,
) -> Result<History, NotSettled> {
    let recorder = Arc::new(Recorder::default());
    let (phase, phases) = watch::channel(TrafficPhase::Running);
    let (mut writers, mut watchers) = (JoinSet::new(), JoinSet::new());
    let names = clients.iter().enumerate();
    for (number, store) in names {
        let client = |role: &str| Client {
            store: Arc::clone(store),
            recorder: Arc::clone(&recorder),
            phases: phases.clone(),
            options,
            name: format!("{role}{number}"),
            random: Random::new(options.seed, &format!("{role}{number}")),
            known: BTreeMap::new(),
            written: 0,
        };
        writers.spawn(client("c").work());
        watchers.spawn(client("w").follow());
    }
    tokio::join!(sleep(options.duration), faults);
    phase.send_replace(TrafficPhase::Ending);
    while writers.join_next().await.is_some() {}
    let deadline = Instant::now() + SETTLE_MAX;
    let mut last = Client {
        store: Arc::clone(clients.first().ok_or_else(|| not("there is no client"))?),
        recorder: Arc::clone(&recorder),
        phases,
        options,
        name: "last".to_owned(),
        random: Random::new(options.seed, "last"),
        known: BTreeMap::new(),
        written: 0,
    };
    let ends = timeout_at(deadline, last.write_all()).await;
    phase.send_replace(TrafficPhase::Settling(
        ends.map_err(|_| not("a last commit"))?,
    ));
    loop {
        match timeout_at(deadline, watchers.join_next()).await {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(recorder.history()),
            Err(_) => return Err(not("a watch shows the last writes")),
        }
    }
}

fn not(what: &str) -> NotSettled {
    let what = what.to_owned();
    NotSettled { what }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum TrafficPhase {
    Running,
    /// No new requests.
    Ending,
    /// The last write of every key.
    Settling(BTreeMap<String, Revision>),
}

struct Client {
    store: Arc<dyn Store>,
    recorder: Arc<Recorder>,
    phases: watch::Receiver<TrafficPhase>,
    options: WorkloadOptions,
    name: String,
    random: Random,
    /// The last entry of each key that this client knows of.
    known: BTreeMap<String, Entry>,
    written: u64,
}

impl Client {
    async fn work(mut self) {
        while *self.phases.borrow() == TrafficPhase::Running {
            let pause = self.random.part_of(self.options.pause);
            sleep(pause).await;
            match self.random.below(10) {
                0..=5 => self.commit_something().await,
                6..=7 => {
                    let key = self.key();
                    self.read(StoreOp::Get { key }).await;
                }
                8 => {
                    let prefix = ["", "k", "k.0", "k.1"][self.random.below(4) as usize];
                    let prefix = prefix.to_owned();
                    self.read(StoreOp::List { prefix }).await;
                }
                _ => self.read(StoreOp::Info).await,
            }
        }
    }

    fn key(&mut self) -> String {
        format!("k.{}", self.random.below(self.options.keys.max(1) as u64))
    }

    async fn commit_something(&mut self) {
        let count = [1, 1, 1, 2, 3][self.random.below(5) as usize];
        let mut writes: Vec<Write> = Vec::new();
        for _ in 0..count {
            let key = self.key();
            if writes.iter().all(|write| write.key != key) {
                let write = self.write(key);
                writes.push(write);
            }
        }
        let keys: Vec<_> = writes.iter().map(|write| write.key.clone()).collect();
        if self.commit(writes).await.is_none() {
            // What is known is out of date.
            for key in keys {
                self.known.remove(&key);
                self.read(StoreOp::Get { key }).await;
            }
        }
    }

    fn write(&mut self, key: String) -> Write {
        let known = self.known.get(&key);
        let revision = known.map_or(Revision::ZERO, |entry| entry.revision);
        let lives = known.is_some_and(|entry| entry.value.is_some());
        let expect = match self.random.below(10) {
            0 => Expect::Any,
            // Often wrong, which must be refused.
            1 => Expect::Absent,
            2 => Expect::Revision(Revision::new(revision.get() / 2)),
            _ if lives => Expect::Revision(revision),
            _ => Expect::Absent,
        };
        let deletes = lives && self.random.below(5) == 0;
        let value = (!deletes).then(|| self.nonce());
        Write { key, value, expect }
    }

    fn nonce(&mut self) -> Vec<u8> {
        self.written += 1;
        format!("{}.{}", self.name, self.written).into_bytes()
    }

    async fn commit(&mut self, writes: Vec<Write>) -> Option<Vec<Revision>> {
        let op = StoreOp::Commit {
            writes: writes.clone(),
        };
        let start = self.recorder.tick();
        let reply = self.store.execute(op).await;
        let end = self.recorder.tick();
        let outcome = match reply {
            Ok(StoreReply::Committed { revisions }) => Ok(revisions),
            // Another answer proves nothing about the commit.
            Ok(_) => Err(StoreErrorKind::Unknown),
            Err(error) => Err(error.kind),
        };
        for (write, revision) in writes.iter().zip(outcome.iter().flatten()) {
            self.learn(Entry {
                key: write.key.clone(),
                revision: *revision,
                value: write.value.clone(),
                at_ms: 0,
            });
        }
        if outcome == Err(StoreErrorKind::Unavailable) {
            sleep(RETRY_PAUSE).await;
        }
        let revisions = outcome.clone().ok();
        self.recorder.commit(CommitRecord {
            start,
            end,
            writes,
            outcome,
        });
        revisions
    }

    async fn read(&mut self, op: StoreOp) {
        let start = self.recorder.tick();
        let reply = self.store.execute(op.clone()).await;
        let end = self.recorder.tick();
        let answer = match (op, reply) {
            (StoreOp::Get { key }, Ok(StoreReply::Entry(entry))) => {
                entry.iter().cloned().for_each(|entry| self.learn(entry));
                Answer::Entry { key, entry }
            }
            (
                StoreOp::List { prefix },
                Ok(StoreReply::Entries {
                    entries,
                    last_revision,
                }),
            ) => {
                entries.iter().cloned().for_each(|entry| self.learn(entry));
                Answer::Entries {
                    prefix,
                    entries,
                    last_revision,
                }
            }
            (StoreOp::Info, Ok(StoreReply::Info(info))) => Answer::Info {
                created: info.created,
                last_revision: info.last_revision,
            },
            (_, Err(_)) => return sleep(RETRY_PAUSE).await,
            (_, Ok(_)) => return,
        };
        self.recorder.read(ReadRecord { start, end, answer });
    }

    fn learn(&mut self, entry: Entry) {
        let known = self.known.get(&entry.key);
        if known.is_none_or(|known| known.revision < entry.revision) {
            self.known.insert(entry.key.clone(), entry);
        }
    }

    /// A last write of every key, once the store takes it.
    async fn write_all(&mut self) -> BTreeMap<String, Revision> {
        loop {
            let keys: Vec<_> = (0..self.options.keys)
                .map(|key| format!("k.{key}"))
                .collect();
            let writes = keys.iter().map(|key| Write {
                key: key.clone(),
                value: Some(self.nonce()),
                expect: Expect::Any,
            });
            let writes = writes.collect();
            if let Some(revisions) = self.commit(writes).await {
                let prefix = String::new();
                self.read(StoreOp::List { prefix }).await;
                return keys.into_iter().zip(revisions).collect();
            }
            sleep(RETRY_PAUSE).await;
        }
    }

    /// Watches, again after each end, until the last writes have been shown.
    async fn follow(mut self) {
        loop {
            let scope = if self.random.below(2) == 0 {
                WatchScope::All
            } else {
                WatchScope::Keys(vec![self.key(), self.key()])
            };
            if self.follow_one(scope).await {
                return;
            }
            sleep(RETRY_PAUSE).await;
        }
    }

    /// Whether the last writes have been shown.
    async fn follow_one(&mut self, scope: WatchScope) -> bool {
        let start = self.recorder.tick();
        let Ok(mut running) = self.store.watch(scope.clone()).await else {
            return false;
        };
        let mut events = Vec::new();
        let mut shown = Revision::ZERO;
        let complete = loop {
            let phase = self.phases.borrow_and_update().clone();
            if let TrafficPhase::Settling(last) = phase {
                let in_scope = last.iter().filter(|(key, _)| scope.contains(key));
                let last = in_scope.map(|(_, revision)| *revision).max();
                if last.is_none_or(|last| last <= shown) {
                    break true;
                }
            }
            tokio::select! {
                // In a fixed order, so that a seed repeats the run.
                biased;
                event = running.next() => {
                    let tick = self.recorder.tick();
                    match &event {
                        WatchEvent::Entry(entry) => shown = shown.max(entry.revision),
                        WatchEvent::CaughtUp { revision } => shown = shown.max(*revision),
                        WatchEvent::Lost { .. } => {}
                    }
                    let lost = matches!(event, WatchEvent::Lost { .. });
                    events.push((tick, event));
                    if lost {
                        break false;
                    }
                }
                _ = self.phases.changed() => {}
            }
        };
        let record = WatchRecord {
            start,
            scope,
            events,
        };
        self.recorder.watch(record);
        complete
    }
}

#[cfg(test)]
mod tests;
