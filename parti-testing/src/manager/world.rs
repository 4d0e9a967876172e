//! Carries a plan out: real managers on one thread with paused time, over a store that fails.
//!
//! What always holds: a run takes no real time and no randomness but the plan's.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use parti::clock::Clock;
use parti::sources::StaticSource;
use parti::{Config, Manager, Preset, State, StopMode};
use parti_core::StoreErrorKind;
use tokio::time::{Instant, sleep, timeout};

use super::judge::{Judge, Property, Situation, Violation};
use super::plan::{Action, HandlerFaults, Plan, Way};
use super::process::{Between, Process, Shared, SharedHandler, Watched, locked};
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

/// What a run is made of.
#[derive(Clone)]
pub struct Run {
    /// The handler of each process.
    pub(super) handler: Arc<dyn Fn(Process) -> SharedHandler + Send + Sync>,
    /// The configuration of each process.
    pub(super) config: Config,
    #[cfg(feature = "planted")]
    pub(super) bug: Option<parti::planted::ShellBug>,
}

impl core::fmt::Debug for Run {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Run")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Run {
    /// With handlers that this makes for each process.
    ///
    /// # Panics
    /// Never: the built-in configuration is coherent.
    #[must_use]
    pub fn new(handler: impl Fn(Process) -> SharedHandler + Send + Sync + 'static) -> Self {
        let config = Config::builder("managers")
            .preset(Preset::Fast)
            .worker_id_range(0, 7);
        let config = config.drain_timeout(Duration::from_millis(500)).build();
        Self {
            handler: Arc::new(handler),
            config: config.expect("coherent"),
            #[cfg(feature = "planted")]
            bug: None,
        }
    }

    /// Plants a bug in the managers. **Not for production.**
    #[cfg(feature = "planted")]
    #[must_use]
    pub fn planted(mut self, bug: parti::planted::ShellBug) -> Self {
        self.bug = Some(bug);
        self
    }
}

/// How a run ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// What did not hold, in the order it was seen.
    pub violations: Vec<Violation>,
    /// What the run has met, and how often.
    pub met: BTreeMap<Situation, u64>,
    /// The virtual time that passed.
    pub simulated: Duration,
    /// How long after the last fault everything was owned.
    pub recovered_after: Option<Duration>,
    /// The same for two runs only if the same things happened at the same times.
    pub digest: u64,
}

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
        let judge = &mut watched.judge;
        Outcome {
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
    number: u64,
    manager: Manager,
}

/// A group of nodes, on each of which one process runs at a time.
struct World<'a> {
    run: &'a Run,
    begun: Instant,
    shared: Shared,
    store: MemoryStore,
    stores: FaultyStores,
    clock: Clock,
    dice: Dice,
    partitions: u32,
    nodes: Vec<Option<Running>>,
    processes: u64,
}

impl<'a> World<'a> {
    fn new(run: &'a Run, plan: &Plan) -> Self {
        let watched = Watched {
            judge: Judge::new(),
            handlers: plan.handlers,
        };
        let store = MemoryStore::new();
        Self {
            run,
            begun: Instant::now(),
            shared: Arc::new(Mutex::new(watched)),
            // Far beyond the managers' own limits, so that these are what is tried.
            stores: FaultyStores::new(store.clone(), plan.seed).request_timeout(UNANSWERED),
            store,
            clock: Clock::tokio(),
            dice: Dice::new(plan.seed),
            partitions: plan.partitions,
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
            let what = format!("not everything is processed {RECOVERY:?} after the faults");
            locked(&self.shared).judge.violate(Property::Recovery, what);
        }
        recovered
    }

    async fn pass_until(&self, end: Instant) {
        while Instant::now() < end {
            sleep(LOOK).await;
            locked(&self.shared).judge.look_at_all();
        }
    }

    /// How long it takes until everything is owned and stays so for a while.
    async fn recover(&mut self) -> Option<Duration> {
        let (begun, mut since) = (Instant::now(), None::<Instant>);
        while begun.elapsed() < RECOVERY {
            sleep(LOOK).await;
            let processed = locked(&self.shared).judge.look_at_all();
            if processed < self.partitions {
                since = None;
            } else if let since = *since.get_or_insert_with(Instant::now)
                && since.elapsed() >= CALM
            {
                return Some(since.duration_since(begun));
            }
            // A worker whose lease was lost for good, as with its bucket, is started again by its operator.
            for node in 0..self.nodes.len() {
                if self.has_ended(node) {
                    self.crash(node);
                    self.start(node).await;
                }
            }
        }
        None
    }

    fn has_ended(&self, node: usize) -> bool {
        match &self.nodes[node] {
            Some(running) => running.manager.state() == State::Shutdown,
            None => true,
        }
    }

    async fn start(&mut self, node: usize) {
        if self.nodes[node].is_some() {
            return;
        }
        self.processes += 1;
        let process = Process {
            number: self.processes,
            node,
            shared: Arc::clone(&self.shared),
        };
        let seed = self.dice.roll(Purpose::Boot, self.processes, 0).bits();
        let handler = (self.run.handler)(process.clone());
        let between = Between::new(
            process,
            self.dice.roll(Purpose::Callback, 0, 0).bits(),
            handler,
        );
        let source = StaticSource::numbered("p", self.partitions).expect("valid");
        let builder = Manager::builder(self.run.config.clone(), source, between)
            .store(self.stores.worker(&name(node)))
            .clock(self.clock.clone())
            .assign_timeout(ASSIGN)
            .deterministic(seed);
        #[cfg(feature = "planted")]
        let builder = match self.run.bug {
            Some(bug) => builder.planted(bug),
            None => builder,
        };
        let number = self.processes;
        match timeout(BOOT, builder.start()).await {
            Ok(Ok(manager)) => self.nodes[node] = Some(Running { number, manager }),
            Ok(Err(_)) | Err(_) => self.meet(Situation::StartFailed),
        }
    }

    fn crash(&mut self, node: usize) {
        if let Some(Running { number, manager }) = self.nodes[node].take() {
            drop(manager);
            let mut watched = locked(&self.shared);
            watched.judge.meet(Situation::Crashed);
            watched.judge.on_crashed(number);
        }
    }

    fn stop(&mut self, node: usize, hold_ms: Option<u64>) {
        let Some(Running { number, manager }) = self.nodes[node].take() else {
            return;
        };
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

    async fn act(&mut self, action: &Action) {
        match *action {
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
