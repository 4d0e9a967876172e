//! The shipped manager under seeded faults: real managers with drivers, callbacks and guards on one runtime
//! with paused time, over a store whose messages are late, lost and cut off.
//!
//! The simulator of `parti-testing` runs the core with a driver of its own; here the real one runs. A seed
//! that fails is run alone with `PARTI_SEEDS=7..8 cargo test -p parti --test seeded`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use parti::clock::Clock;
use parti::sources::StaticSource;
use parti::{
    Config, Guard, HandlerError, Manager, PartitionHandler, PartitionKey, Preset, RevokeCause,
    StopMode, Token, async_trait,
};
use parti_testing::kit::chaos::{Blocked, ChaosInjector, FaultyStores, Share};
use parti_testing::kit::memory_store::MemoryStore;
use tokio::time::{Instant, sleep, timeout};

const PARTITIONS: u32 = 8;
/// For how long there are faults.
const FAULTS: Duration = Duration::from_secs(60);
/// Within which everything must be owned when they have ended, and for how long without a gap.
const RECOVERY: Duration = Duration::from_secs(60);
const CALM: Duration = Duration::from_secs(2);
/// How often it is looked who holds what.
const LOOK: Duration = Duration::from_millis(5);

/// Numbers that follow from a seed (SplitMix64, Steele et al. 2014).
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % end
    }

    fn percent(&mut self, share: u64) -> bool {
        self.below(100) < share
    }
}

/// What everybody in a run shares: the faults of handlers, and what must hold.
#[derive(Debug)]
struct Judge {
    random: Random,
    faulty: bool,
    /// By process and partition: every guard that may still be valid.
    guards: Vec<(u64, Guard)>,
    /// The largest token of each partition, and whose it is.
    tokens: BTreeMap<PartitionKey, (Token, u64)>,
    /// The callback that runs.
    running: BTreeMap<(u64, PartitionKey), &'static str>,
    /// Ownerships that were begun in each process and not ended.
    open: BTreeMap<(u64, PartitionKey), Token>,
    violations: Vec<String>,
}

type Shared = Arc<Mutex<Judge>>;

fn locked(judge: &Mutex<Judge>) -> MutexGuard<'_, Judge> {
    judge.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Judge {
    fn assigned(&mut self, process: u64, guard: &Guard) {
        let (partition, token) = (guard.partition().clone(), guard.token());
        if let Some((last, owner)) = self.tokens.get(&partition)
            && guard.is_valid()
            && (token < *last || (token == *last && *owner != process))
        {
            self.violations.push(format!(
                "{partition} begins in process {process} with {token} after {last} in {owner}"
            ));
        }
        let newest = self
            .tokens
            .entry(partition.clone())
            .or_insert((token, process));
        *newest = (token, process).max(*newest);
        self.open.insert((process, partition), token);
        self.guards.push((process, guard.clone()));
    }

    fn revoked(&mut self, process: u64, guard: &Guard) {
        let (partition, token) = (guard.partition().clone(), guard.token());
        let began = self.open.remove(&(process, partition.clone()));
        if began != Some(token) {
            self.violations.push(format!(
                "{partition} with {token} ends in process {process}, where {began:?} began"
            ));
        }
    }

    /// How many partitions somebody validly holds.
    fn look(&mut self) -> u32 {
        self.guards.retain(|(_, guard)| guard.is_valid());
        let mut holders: BTreeMap<&PartitionKey, u64> = BTreeMap::new();
        for (process, guard) in &self.guards {
            let holder = *holders.entry(guard.partition()).or_insert(*process);
            if holder != *process {
                let partition = guard.partition();
                self.violations.push(format!(
                    "{partition} is valid in the processes {holder} and {process}"
                ));
            }
        }
        u32::try_from(holders.len()).unwrap_or(u32::MAX)
    }
}

/// The handler of one process.
struct Work {
    process: u64,
    judge: Shared,
}

/// Says that a callback runs until it is dropped, which is also how it is cut short.
struct Running<'a>(&'a Work, PartitionKey);

impl<'a> Running<'a> {
    fn begin(work: &'a Work, partition: &PartitionKey, what: &'static str) -> Self {
        let mut judge = locked(&work.judge);
        let key = (work.process, partition.clone());
        if let Some(other) = judge.running.insert(key, what) {
            judge.violations.push(format!(
                "{what} of {partition} begins during {other} in process {}",
                work.process
            ));
        }
        Self(work, partition.clone())
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let key = (self.0.process, self.1.clone());
        locked(&self.0.judge).running.remove(&key);
    }
}

impl Work {
    /// Now and then a handler is slow, fails, panics or hangs.
    async fn misbehave(&self) -> Result<(), HandlerError> {
        let (choice, pause) = {
            let mut judge = locked(&self.judge);
            let faulty = judge.faulty;
            let choice = if faulty { judge.random.below(100) } else { 100 };
            (choice, Duration::from_millis(judge.random.below(800)))
        };
        match choice {
            0 => panic!("a planned panic"),
            1 => sleep(Duration::from_secs(600)).await,
            2..5 => return Err(HandlerError::new("a planned failure")),
            5..30 => sleep(pause).await,
            _ => {}
        }
        Ok(())
    }
}

#[async_trait]
impl PartitionHandler for Work {
    async fn on_assigned(&self, key: &PartitionKey, guard: Guard) -> Result<(), HandlerError> {
        let _running = Running::begin(self, key, "on_assigned");
        locked(&self.judge).assigned(self.process, &guard);
        self.misbehave().await
    }

    async fn on_revoked(&self, key: &PartitionKey, guard: Guard, _: RevokeCause) {
        let _running = Running::begin(self, key, "on_revoked");
        locked(&self.judge).revoked(self.process, &guard);
        let _ = self.misbehave().await;
    }
}

/// A group of nodes, on each of which one process runs at a time.
struct Group {
    judge: Shared,
    random: Random,
    stores: FaultyStores,
    clock: Clock,
    nodes: Vec<Option<Manager>>,
    processes: u64,
}

impl Group {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let nodes = 3 + random.below(3);
        let judge = Judge {
            random: Random(!seed),
            faulty: true,
            guards: Vec::new(),
            tokens: BTreeMap::new(),
            running: BTreeMap::new(),
            open: BTreeMap::new(),
            violations: Vec::new(),
        };
        Self {
            judge: Arc::new(Mutex::new(judge)),
            random,
            stores: FaultyStores::new(MemoryStore::new(), seed),
            clock: Clock::tokio(),
            nodes: (0..nodes).map(|_| None).collect(),
            processes: 0,
        }
    }

    async fn boot(&mut self, node: usize) {
        self.processes += 1;
        let config = Config::builder("seeded")
            .preset(Preset::Fast)
            .worker_id_range(0, 7);
        let config = config.drain_timeout(Duration::from_millis(500)).build();
        let work = Work {
            process: self.processes,
            judge: Arc::clone(&self.judge),
        };
        let source = StaticSource::numbered("p", PARTITIONS).expect("valid");
        let builder = Manager::builder(config.expect("coherent"), source, work)
            .store(self.stores.worker(&name(node)))
            .clock(self.clock.clone());
        self.nodes[node] = timeout(Duration::from_secs(5), builder.start())
            .await
            .ok()
            .and_then(Result::ok);
    }

    /// One thing that goes wrong, or that an operator does.
    async fn act(&mut self) {
        let node = usize::try_from(self.random.below(self.nodes.len() as u64)).unwrap_or(0);
        let worker = name(node);
        let late = |random: &mut Random| Duration::from_millis(random.below(300));
        match self.random.below(9) {
            0 | 1 => {
                let cut = [Blocked::Both, Blocked::Requests, Blocked::Replies]
                    [self.random.below(3) as usize];
                self.stores
                    .partition_network(&[worker], cut)
                    .expect("known");
            }
            2 => self.stores.heal(),
            3 => {
                let (delay, jitter) = (late(&mut self.random), late(&mut self.random));
                self.stores
                    .delay_messages(&worker, delay, jitter)
                    .expect("known");
            }
            4 => {
                let share = Share::percent(5).expect("a share");
                self.stores.drop_messages(&worker, share).expect("known");
            }
            // It crashes.
            5 => self.nodes[node] = None,
            6 if self.nodes[node].is_none() => self.boot(node).await,
            6 | 7 => {
                if let Some(leaving) = self.nodes[node].take() {
                    let held = self.random.percent(50);
                    let hold = Duration::from_secs(2);
                    let mode = if held {
                        StopMode::Restart { hold }
                    } else {
                        StopMode::Handoff
                    };
                    tokio::spawn(async move {
                        let _ = timeout(Duration::from_secs(20), leaving.stop(mode)).await;
                    });
                }
            }
            _ => {
                if let Some(manager) = &self.nodes[node] {
                    let asked = timeout(Duration::from_millis(50), manager.trigger_rebalance());
                    let _ = asked.await;
                }
            }
        }
    }

    async fn run(mut self) -> Vec<String> {
        for node in 0..self.nodes.len() {
            self.boot(node).await;
        }
        let end = Instant::now() + FAULTS;
        let mut next = Instant::now();
        while Instant::now() < end {
            sleep(LOOK).await;
            locked(&self.judge).look();
            if Instant::now() >= next {
                next = Instant::now() + Duration::from_millis(100 + self.random.below(1_500));
                self.act().await;
            }
        }
        self.stores.heal();
        locked(&self.judge).faulty = false;
        for node in 0..self.nodes.len() {
            if self.nodes[node].is_none() {
                self.boot(node).await;
            }
        }
        if !self.recovers().await {
            let words = format!("not everything is owned {RECOVERY:?} after the faults");
            locked(&self.judge).violations.push(words);
        }
        core::mem::take(&mut locked(&self.judge).violations)
    }

    /// Whether everything is owned for a while.
    async fn recovers(&self) -> bool {
        let (end, mut since) = (Instant::now() + RECOVERY, None);
        while Instant::now() < end {
            sleep(LOOK).await;
            if locked(&self.judge).look() < PARTITIONS {
                since = None;
            } else if since.get_or_insert_with(Instant::now).elapsed() >= CALM {
                return true;
            }
        }
        false
    }
}

fn name(node: usize) -> String {
    format!("node-{node}")
}

/// Which seeds to run: `PARTI_SEEDS=7..8`, or a few.
fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("PARTI_SEEDS") else {
        return 0..12;
    };
    let parsed = text
        .split_once("..")
        .and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    parsed.unwrap_or_else(|| panic!("PARTI_SEEDS is {text:?}, needed: from..to, such as 7..8"))
}

/// The core was proven with a driver that only the simulator has; what users run is this one.
#[test]
fn one_valid_owner_rising_tokens_ordered_callbacks_and_recovery_under_seeded_faults() {
    let mut found = Vec::new();
    for seed in seeds() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let violations = runtime.block_on(Group::new(seed).run());
        found.extend(
            violations
                .into_iter()
                .take(3)
                .map(|what| format!("seed {seed}: {what}")),
        );
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
