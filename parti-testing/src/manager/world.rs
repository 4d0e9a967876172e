//! Carries a plan out: real managers on one thread with paused time, over a store that fails.
//!
//! What always holds: a run takes no real time and no randomness but the plan's.

use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock};

use futures_util::FutureExt as _;
use parti::clock::Machine;
use parti::sources::{PartitionSource, StaticSource};
use parti::{Manager, StopMode};
use parti_core::StoreErrorKind;
use tokio::time::{Instant, sleep, timeout};

use super::judge::{Judge, Property, Situation};
use super::plan::{Action, HandlerFaults, Plan, Way};
use super::process::{Between, Process, Shared, Watched, locked};
use super::resource::{Connection, Resource};
use super::run::{Outcome, Run};
use crate::kit::chaos::{Blocked, ChaosError, ChaosInjector as _, FaultyStores, Share};
use crate::kit::memory_store::MemoryStore;
use crate::simulator::{Dice, Purpose};

/// Within which everything must be owned and processed when the faults have ended, and for how long.
const RECOVERY: Duration = Duration::from_secs(120);
const CALM: Duration = Duration::from_secs(2);
/// How often it is looked who holds what.
const LOOK: Duration = Duration::from_millis(10);
/// How long an `on_assigned` may take: one that hangs is given up within the recovery.
const ASSIGN: Duration = Duration::from_secs(10);
/// How long the store leaves a request without an answer.
const UNANSWERED: Duration = Duration::from_secs(60);
/// How long a process may take to begin.
const BOOT: Duration = Duration::from_secs(5);
/// How long a stop is waited for.
const STOP: Duration = Duration::from_secs(30);

/// Carries a plan out.
///
/// # Panics
/// When no runtime can be made, or inside another one.
#[must_use]
pub fn run(run: &Run, plan: &Plan) -> Outcome {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut world = World::new(run, plan);
        let recovered_after = world.carry_out(plan).await;
        let simulated = world.begun.elapsed();
        // What is left ends with the runtime.
        world.nodes.clear();
        let mut watched = locked(&world.shared);
        let resources = core::mem::take(&mut watched.resources);
        let judge = &mut watched.judge;
        let finally = run.finally.as_ref().filter(|_| judge.violations.is_empty());
        if let Some(Err(what)) = finally.map(|check| check(&resources)) {
            judge.violate(Property::Handler, what);
        }
        Outcome {
            resources,
            trace: judge.trace.take().unwrap_or_default(),
            violations: core::mem::take(&mut judge.violations),
            met: core::mem::take(&mut judge.met),
            simulated,
            recovered_after,
            digest: judge.digest,
        }
    })
}

/// A process that runs on a node.
struct Running {
    process: Process,
    manager: Arc<Manager>,
}

/// A group of nodes, on each of which one process runs at a time.
struct World<'a> {
    run: &'a Run,
    begun: Instant,
    shared: Shared,
    store: MemoryStore,
    stores: FaultyStores,
    dice: Dice,
    source: Arc<dyn PartitionSource>,
    nodes: Vec<Option<Running>>,
    processes: u64,
}

impl<'a> World<'a> {
    fn new(run: &'a Run, plan: &Plan) -> Self {
        let watched = Watched {
            judge: Judge::new(run.traced),
            handlers: plan.handlers,
            resources: run.resources.clone(),
            stop_inside: BTreeSet::new(),
        };
        let store = MemoryStore::new();
        let numbered = || StaticSource::numbered("p", plan.partitions).expect("valid");
        let source = run.source.clone();
        Self {
            run,
            begun: Instant::now(),
            shared: Arc::new(Mutex::new(watched)),
            // Far beyond the managers' own limits, so that these are what is tried.
            stores: FaultyStores::new(store.clone(), plan.seed).request_timeout(UNANSWERED),
            store,
            dice: Dice::new(plan.seed),
            source: source.unwrap_or_else(|| Arc::new(numbered())),
            nodes: (0..plan.nodes).map(|_| None).collect(),
            processes: 0,
        }
    }

    fn meet(&self, situation: Situation) {
        locked(&self.shared).judge.meet(situation);
    }

    /// Through the faults, and until everything is owned again.
    async fn carry_out(&mut self, plan: &Plan) -> Option<Duration> {
        for node in 0..self.nodes.len() {
            self.start(node).await;
        }
        for timed in &plan.actions {
            self.pass_until(self.begun + Duration::from_millis(timed.at_ms))
                .await;
            self.act(&timed.action).await;
        }
        self.pass_until(self.begun + Duration::from_millis(plan.faults_ms))
            .await;
        self.stores.heal();
        self.store.set_unavailable(false);
        locked(&self.shared).handlers = HandlerFaults::default();
        for node in 0..self.nodes.len() {
            self.start(node).await;
        }
        let recovered = self.recover().await;
        if recovered.is_none() {
            let (property, done) = if self.run.progress {
                (Property::Progress, "processed and written to")
            } else {
                (Property::Recovery, "processed")
            };
            let what = format!("not everything is {done} {RECOVERY:?} after the faults");
            locked(&self.shared).judge.violate(property, what);
        }
        recovered
    }

    async fn pass_until(&self, end: Instant) {
        while Instant::now() < end {
            sleep(LOOK).await;
            locked(&self.shared).judge.look_at_all();
        }
    }

    /// How long it takes until everything is owned, and written to if that is expected, and stays so for a
    /// while.
    async fn recover(&mut self) -> Option<Duration> {
        let partitions = self.source.list().await.map_or(0, |list| list.len());
        let (begun, mut since) = (Instant::now(), None::<Instant>);
        let after = begun.duration_since(self.begun);
        while begun.elapsed() < RECOVERY {
            sleep(LOOK).await;
            let processed = locked(&self.shared).judge.look_at_all() as usize;
            if processed < partitions || !self.progressed(partitions, after) {
                since = None;
            } else if let since = *since.get_or_insert_with(Instant::now)
                && since.elapsed() >= CALM
            {
                return Some(since.duration_since(begun));
            }
            // A worker whose lease was lost for good, as with its bucket, is started again by its operator.
            for node in 0..self.nodes.len() {
                if self.has_ended(node) {
                    self.start(node).await;
                }
            }
        }
        None
    }

    /// Whether every partition was written to since then, if that is expected.
    fn progressed(&self, partitions: usize, after: Duration) -> bool {
        if !self.run.progress {
            return true;
        }
        let watched = locked(&self.shared);
        let writes = watched.resources.iter().flat_map(Resource::accepted);
        let since = writes.rev().take_while(|write| write.at >= after);
        let written: BTreeSet<_> = since.map(|write| &write.partition).collect();
        written.len() >= partitions
    }

    fn has_ended(&self, node: usize) -> bool {
        match &self.nodes[node] {
            Some(running) => running.manager.closed().now_or_never().is_some(),
            None => true,
        }
    }

    async fn start(&mut self, node: usize) {
        if !self.has_ended(node) {
            return;
        }
        self.retire(node);
        self.processes += 1;
        let number = self.processes;
        let writes = self.dice.roll(Purpose::RequestDelay, 0, 0).bits();
        let process = Process {
            number,
            node,
            shared: Arc::clone(&self.shared),
            machine: Machine::since(self.begun),
            connection: Connection::open(Arc::clone(&self.shared), number, writes),
            manager: Arc::new(OnceLock::new()),
        };
        let seed = self.dice.roll(Purpose::Boot, self.processes, 0).bits();
        let handler = (self.run.handler)(process.clone());
        let between = Between::new(
            process.clone(),
            self.dice.roll(Purpose::Callback, 0, 0).bits(),
            handler,
        );
        let source = Arc::clone(&self.source);
        let builder = Manager::builder(self.run.config.clone(), source, between)
            .store(self.stores.worker(&name(node)))
            .machine(&process.machine)
            .assign_timeout(ASSIGN)
            .deterministic(seed);
        let builder = match &self.run.adjust {
            Some(adjust) => adjust(builder, &process),
            None => builder,
        };
        #[cfg(feature = "planted")]
        let builder = match self.run.bug {
            Some(bug) => builder.planted(bug),
            None => builder,
        };
        match timeout(BOOT, builder.start()).await {
            Ok(Ok(manager)) => {
                let manager = Arc::new(manager);
                let _ = process.manager.set(Arc::downgrade(&manager));
                locked(&self.shared)
                    .judge
                    .line(|| format!("process {number} begins on node {node}"));
                self.nodes[node] = Some(Running { process, manager });
            }
            Ok(Err(_)) | Err(_) => self.meet(Situation::StartFailed),
        }
    }

    /// A manager that has ended by itself, or was stopped from inside, is put away.
    fn retire(&mut self, node: usize) {
        if let Some(Running { process, manager }) = self.nodes[node].take() {
            drop(manager);
            locked(&self.shared).judge.on_stopped(process.number);
        }
    }

    fn crash(&mut self, node: usize) {
        let stops = |running: &mut Running| Arc::strong_count(&running.manager) == 1;
        // One that stops itself at this moment ends anyway.
        if let Some(Running { process, manager }) = self.nodes[node].take_if(stops) {
            drop(manager);
            let mut watched = locked(&self.shared);
            watched.judge.meet(Situation::Crashed);
            watched.judge.on_crashed(process.number);
        }
    }

    fn stop(&mut self, node: usize, hold_ms: Option<u64>) {
        let Some(Running { process, manager }) = self.nodes[node].take() else {
            return;
        };
        let number = process.number;
        let mode = hold_ms.map_or(StopMode::Handoff, |hold_ms| StopMode::Restart {
            hold: Duration::from_millis(hold_ms),
        });
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let answer = timeout(STOP, manager.stop(mode)).await;
            let stopped = matches!(answer, Ok(Ok(_)));
            if stopped {
                locked(&shared).judge.on_stopped(number);
            }
            drop(manager);
            if !stopped {
                locked(&shared).judge.on_crashed(number);
            }
        });
    }

    /// A process stands still, or its machine is suspended.
    fn pause(&self, node: usize, for_ms: u64, counted: bool) {
        let Some(Running { process, .. }) = &self.nodes[node] else {
            return;
        };
        let process = process.clone();
        if !locked(&self.shared).judge.on_pause(process.number, counted) {
            return;
        }
        if counted {
            process.machine.stand_still();
        } else {
            process.machine.suspend();
        }
        tokio::spawn(async move {
            sleep(ms(for_ms)).await;
            process.machine.resume();
            // The driver looks at its clocks first of all.
            sleep(ms(1)).await;
            locked(&process.shared).judge.on_resume(process.number);
        });
    }

    async fn act(&mut self, action: &Action) {
        locked(&self.shared)
            .judge
            .line(|| format!("plan: {action:?}"));
        match *action {
            Action::Pause { node, ms, counted } => self.pause(node, ms, counted),
            Action::StopInside { node } => {
                locked(&self.shared).stop_inside.insert(node);
            }
            Action::Crash { node } => self.crash(node),
            Action::Start { node } => self.start(node).await,
            Action::Stop { node, hold_ms } => self.stop(node, hold_ms),
            Action::Rebalance { node } => {
                if let Some(running) = &self.nodes[node] {
                    let asked = running.manager.trigger_rebalance();
                    let _ = timeout(Duration::from_millis(50), asked).await;
                }
            }
            Action::Suspend { ms } => {
                self.meet(Situation::Suspended);
                tokio::time::advance(Duration::from_millis(ms)).await;
            }
            Action::Outage { ms } => {
                self.meet(Situation::StoreOutage);
                self.store.set_unavailable(true);
                let store = self.store.clone();
                tokio::spawn(async move {
                    sleep(Duration::from_millis(ms)).await;
                    store.set_unavailable(false);
                });
            }
            Action::LoseWatches => self.store.lose_watches(),
            Action::LoseAnswers { requests, applied } => {
                self.store
                    .fail_next(requests, StoreErrorKind::Unknown, applied);
            }
            Action::RecreateBucket => {
                self.meet(Situation::BucketRecreated);
                self.store.recreate();
            }
            Action::Heal => self.stores.heal(),
            Action::Cut { node, way } => {
                let way = match way {
                    Way::Both => Blocked::Both,
                    Way::Requests => Blocked::Requests,
                    Way::Replies => Blocked::Replies,
                };
                known(self.stores.partition_network(&[name(node)], way));
            }
            Action::Delay {
                node,
                by_ms,
                jitter_ms,
            } => known(
                self.stores
                    .delay_messages(&name(node), ms(by_ms), ms(jitter_ms)),
            ),
            Action::Lose { node, percent } => {
                let share = Share::percent(percent).unwrap_or(Share::NONE);
                known(self.stores.drop_messages(&name(node), share));
            }
            Action::Reorder { node, within_ms } => {
                known(self.stores.reorder_messages(&name(node), ms(within_ms)));
            }
        }
    }
}

/// A node that never had a process has no messages to disturb.
fn known(done: Result<(), ChaosError>) {
    drop(done);
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn name(node: usize) -> String {
    format!("node-{node}")
}
