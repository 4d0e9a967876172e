//! A backend of your own on `parti-core` alone: no runtime, no server, no other crate.
//!
//! `Table` is the store, two methods on a map. `drive` is the whole loop of a worker; a real one
//! would wait for its inputs instead of looking for them every few milliseconds. Two workers share
//! six partitions, then one leaves and the other gets everything.

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use parti_core::{
    AssignmentStrategy, Boot, Config, Core, Effect, Entry, Event, Expect, Instant, Notice,
    Partition, Plan, PlanError, PlanInput, Preset, Report, Revision, StopMode, Store, StoreError,
    StoreErrorKind, StoreInfo, StoreOp, StoreReply, StrategyId, Watch, WatchEvent, WatchScope,
    Write,
};

fn main() -> Result<(), Box<dyn Error>> {
    let table = Table::default();
    let list: Vec<_> = (0..6)
        .map(|i| Partition::new([format!("p-{i}")]))
        .collect::<Result<_, _>>()?;
    let config = Config::builder("demo")
        .preset(Preset::Fast)
        .expected_workers(2)
        .build()?;
    let start = |seed: u128| {
        let (table, list, config) = (table.clone(), list.clone(), config.clone());
        let leave = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&leave);
        (
            thread::spawn(move || drive(&table, &list, config, seed, &flag)),
            leave,
        )
    };
    let (first, second) = (start(1), start(2));
    thread::sleep(Duration::from_secs(2));
    for (worker, leave) in [first, second] {
        leave.store(true, Ordering::Relaxed);
        worker.join().map_err(|_| "a worker panicked")?;
    }
    Ok(())
}

/// The loop of one worker: effects out, events in, and the time with each of them.
fn drive(table: &Table, list: &[Partition], config: Config, seed: u128, leave: &AtomicBool) {
    let begun = std::time::Instant::now();
    let now = || Instant::ORIGIN + begun.elapsed();
    let boot = Boot {
        now: now(),
        wall_ms: 0,
        seed,
        strategy: InTurn.id(),
        software: "custom_backend".to_owned(),
        endpoint: None,
        prepares: false,
    };
    let mut core = Core::new(config, boot);
    let (mut inbox, mut watches) = (VecDeque::from([Event::Start]), BTreeMap::new());
    let mut stopping = false;
    loop {
        match inbox.pop_front() {
            Some(event) => core.handle(now(), event),
            None => {
                thread::sleep(Duration::from_millis(2));
                core.handle_timeout(now());
            }
        }
        while let Some(effect) = core.poll_effect() {
            match effect {
                Effect::Store { op, request } => {
                    let result = poll_once(table.execute(request)).unwrap_or_else(|| Err(never()));
                    inbox.push_back(Event::Store { op, result });
                }
                Effect::Watch { id, scope } => {
                    let watch = TableWatch::new(table, scope);
                    watches.insert(id, watch);
                }
                Effect::Unwatch { id } => drop(watches.remove(&id)),
                Effect::ListPartitions { op } => {
                    let result = Ok(list.to_vec());
                    inbox.push_back(Event::Partitions { op, result });
                }
                Effect::Plan { op, input } => {
                    let result = InTurn.plan(&input);
                    inbox.push_back(Event::Planned { op, result });
                }
                Effect::Assign { grants } => println!("worker {seed} begins {grants:?}"),
                Effect::Revoke { grants, cause } => {
                    println!("worker {seed} ends {grants:?}: {cause}");
                    inbox.push_back(Event::Released { grants });
                }
                // Only a worker that says it prepares is told to.
                Effect::Prepare { .. } | Effect::Withdraw { .. } => {}
                Effect::Notify(Notice::Stopped { errors }) => {
                    return println!("worker {seed} has left; errors: {errors:?}");
                }
                // This store cannot carry questions between processes: nobody is probed.
                Effect::Answer { .. } | Effect::Probe { .. } => {}
                Effect::Notify(notice) => println!("worker {seed}: {notice:?}"),
            }
        }
        for (&id, watch) in &mut watches {
            let events = std::iter::from_fn(|| poll_once(watch.next()));
            inbox.extend(events.map(|event| Event::Watch { id, event }));
        }
        if leave.load(Ordering::Relaxed) && !std::mem::replace(&mut stopping, true) {
            let mode = StopMode::Handoff;
            inbox.push_back(Event::Stop { mode });
        }
    }
}

/// A tiny executor: what is not ready at once is asked again later.
fn poll_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

fn never() -> StoreError {
    StoreError::new(StoreErrorKind::Unknown, "the table answers at once")
}

/// A strategy of your own: partitions in turn.
struct InTurn;

impl AssignmentStrategy for InTurn {
    fn id(&self) -> StrategyId {
        StrategyId::new("in-turn/1")
    }

    fn plan(&self, input: &PlanInput) -> Result<Plan, PlanError> {
        let ranks = 0..u32::try_from(input.partitions.len()).unwrap_or(u32::MAX);
        let workers = u32::try_from(input.workers.len()).unwrap_or(u32::MAX);
        let owner = |rank: u32| rank.checked_rem(workers).ok_or(PlanError::NoWorkers);
        let owners = ranks.map(owner).collect::<Result<_, _>>()?;
        let report = Report::default();
        Ok(Plan {
            owners,
            report,
            ..Plan::default()
        })
    }
}

/// A store of your own: the last write of each key, and one counter for revisions.
#[derive(Clone, Default)]
struct Table(Arc<Mutex<Rows>>);

#[derive(Default)]
struct Rows {
    entries: BTreeMap<String, Entry>,
    last: Revision,
}

impl Rows {
    /// All or none: every expectation is checked before anything is written.
    fn commit(&mut self, writes: Vec<Write>) -> Result<Vec<Revision>, StoreError> {
        let holds = |write: &Write| {
            let entry = self.entries.get(&write.key);
            match write.expect {
                Expect::Any => true,
                Expect::Absent => entry.is_none_or(|entry| entry.value.is_none()),
                Expect::Revision(revision) => {
                    entry.map_or(Revision::ZERO, |entry| entry.revision) == revision
                }
            }
        };
        if let Some(write) = writes.iter().find(|write| !holds(write)) {
            return Err(StoreError::new(StoreErrorKind::Refused, write.key.clone()));
        }
        let revisions = writes.into_iter().map(|Write { key, value, .. }| {
            self.last = self.last.next();
            let (name, revision) = (key.clone(), self.last);
            let entry = Entry {
                at_ms: 0,
                key,
                revision,
                value,
            };
            self.entries.insert(name, entry);
            revision
        });
        Ok(revisions.collect())
    }
}

#[async_trait]
impl Store for Table {
    async fn execute(&self, op: StoreOp) -> Result<StoreReply, StoreError> {
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match op {
            StoreOp::Get { key } => Ok(StoreReply::Entry(rows.entries.get(&key).cloned())),
            StoreOp::List { prefix } => Ok(StoreReply::Entries {
                entries: rows
                    .entries
                    .values()
                    .filter(|entry| entry.key.starts_with(&prefix))
                    .cloned()
                    .collect(),
                last_revision: rows.last,
            }),
            StoreOp::Commit { writes } => {
                let revisions = rows.commit(writes)?;
                Ok(StoreReply::Committed { revisions })
            }
            // The table lives as long as its workers: it is there, and it is never lost.
            StoreOp::Info | StoreOp::Create => Ok(StoreReply::Info(StoreInfo {
                created: 1,
                age: Duration::MAX,
                last_revision: rows.last,
                version: "table".to_owned(),
                max_batch: 1000,
                max_value: 1 << 20,
                faults: Vec::new(),
            })),
        }
    }

    async fn watch(&self, scope: WatchScope) -> Result<Box<dyn Watch>, StoreError> {
        Ok(Box::new(TableWatch::new(self, scope)))
    }
}

/// What changed after the last look, in the order of revisions.
struct TableWatch {
    table: Table,
    scope: WatchScope,
    seen: Revision,
    caught_up: bool,
}

impl TableWatch {
    fn new(table: &Table, scope: WatchScope) -> Self {
        let (table, seen, caught_up) = (table.clone(), Revision::ZERO, false);
        Self {
            table,
            scope,
            seen,
            caught_up,
        }
    }

    fn look(&mut self) -> Option<WatchEvent> {
        let rows = self.table.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = |entry: &&Entry| entry.revision > self.seen && self.scope.contains(&entry.key);
        let next = rows
            .entries
            .values()
            .filter(new)
            .min_by_key(|entry| entry.revision);
        if let Some(entry) = next {
            self.seen = entry.revision;
            return Some(WatchEvent::Entry(entry.clone()));
        }
        let first = !std::mem::replace(&mut self.caught_up, true);
        first.then_some(WatchEvent::CaughtUp {
            revision: rows.last,
        })
    }
}

#[async_trait]
impl Watch for TableWatch {
    async fn next(&mut self) -> WatchEvent {
        std::future::poll_fn(|_| self.look().map_or(Poll::Pending, Poll::Ready)).await
    }
}
