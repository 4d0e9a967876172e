//! One process, one worker: takes part in a group on a NATS server and writes down what happens to
//! it, one line per event, so that the lines of many workers can be checked against each other.
//!
//! `worker --nats nats://127.0.0.1:4222 --group demo --partitions 100 --json`
//!
//! What always holds: `assigned` is written before processing begins, `revoked` after it has ended
//! and before that is acknowledged. SIGTERM and SIGINT hand the partitions over and exit with 0.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Parser, ValueEnum};
use parti::{
    AssignmentStrategy, Config, ConsistentHash, Guard, Manager, ManagerNotice, Mode, Notice,
    OnBucketLost, Partition, PartitionError, PartitionHandler, PartitionKey, Preset, RevokeCause,
    RoundRobin, StaticSource, Sticky, StopMode, Subscription, async_trait,
};
use serde_json::{Map, Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

/// A worker of a group, as one process.
#[derive(Parser)]
struct Arguments {
    /// The NATS server, such as nats://127.0.0.1:4222. Without it the worker is a group of its own.
    #[arg(long)]
    nats: Option<String>,
    /// The name of the group.
    #[arg(long, default_value = "demo")]
    group: String,
    /// How many partitions there are: ["topic-" + i/100, "p-" + i].
    #[arg(long, default_value_t = 100)]
    partitions: u32,
    /// What happens between an old and a new owner of a partition.
    #[arg(long, value_enum, default_value_t = ModeName::Exclusive)]
    mode: ModeName,
    /// How partitions are split.
    #[arg(long, value_enum, default_value_t = StrategyName::Sticky)]
    strategy: StrategyName,
    /// The timings.
    #[arg(long, value_enum, default_value_t = Profile::Default)]
    profile: Profile,
    /// What happens when the bucket is lost while the worker runs.
    #[arg(long, value_enum, default_value_t = LossName::Recreate)]
    on_bucket_lost: LossName,
    /// How many workers make the group complete; ends the waiting at the first start.
    #[arg(long)]
    expected: Option<u32>,
    /// Stop after so many seconds.
    #[arg(long)]
    seconds: Option<f64>,
    /// How long the end of processing takes, in milliseconds.
    #[arg(long, default_value_t = 0)]
    drain_ms: u64,
    /// Write JSON, one object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum ModeName {
    Exclusive,
    Overlap,
}

#[derive(Clone, Copy, ValueEnum)]
enum LossName {
    Recreate,
    Halt,
}

#[derive(Clone, Copy, ValueEnum)]
enum StrategyName {
    RoundRobin,
    ConsistentHash,
    Sticky,
}

#[derive(Clone, Copy, ValueEnum)]
enum Profile {
    Default,
    Fast,
    Patient,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .init();
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let seconds = arguments
        .seconds
        .map_or(Duration::MAX, Duration::from_secs_f64);
    let journal = Arc::new(Journal::new(&arguments));
    let mut builder = Manager::builder(
        config(&arguments)?,
        StaticSource::new(partitions(arguments.partitions)?)?,
        Arc::clone(&journal),
    )
    .strategy(strategy(arguments.strategy));
    if let Some(url) = &arguments.nats {
        builder = builder.nats(url);
    }
    let notices = builder.subscribe();
    let manager = tokio::select! {
        manager = builder.start() => Arc::new(manager?),
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    journal.attach(&manager);
    let following = tokio::spawn(follow(notices, Arc::clone(&journal)));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = tokio::time::sleep(seconds) => {}
    }
    let stopped = manager.stop(StopMode::Handoff).await;
    following.await?;
    let error = stopped.err().map(|error| error.to_string());
    journal.write("stopped", json!({ "error": error }));
    Ok(())
}

fn config(arguments: &Arguments) -> Result<Config, Box<dyn Error>> {
    let mode = match arguments.mode {
        ModeName::Exclusive => Mode::Exclusive,
        ModeName::Overlap => Mode::Overlap,
    };
    let preset = match arguments.profile {
        Profile::Default => Preset::Default,
        Profile::Fast => Preset::Fast,
        Profile::Patient => Preset::Patient,
    };
    let on_bucket_lost = match arguments.on_bucket_lost {
        LossName::Recreate => OnBucketLost::Recreate,
        LossName::Halt => OnBucketLost::Halt,
    };
    let builder = Config::builder(&arguments.group)
        .mode(mode)
        .preset(preset)
        .on_bucket_lost(on_bucket_lost);
    let builder = match arguments.expected {
        Some(expected) => builder.expected_workers(expected),
        None => builder,
    };
    Ok(builder.build()?)
}

fn strategy(name: StrategyName) -> Box<dyn AssignmentStrategy> {
    match name {
        StrategyName::RoundRobin => Box::new(RoundRobin::new()),
        StrategyName::ConsistentHash => Box::new(ConsistentHash::new()),
        StrategyName::Sticky => Box::new(Sticky::new()),
    }
}

fn partitions(count: u32) -> Result<Vec<Partition>, PartitionError> {
    let name = |i: u32| [format!("topic-{}", i / 100), format!("p-{i}")];
    (0..count).map(|i| Partition::new(name(i))).collect()
}

/// Writes what happens to the worker itself until there is nothing more to come.
async fn follow(mut notices: Subscription, journal: Arc<Journal>) {
    while let Some(notice) = notices.next().await {
        match &*notice {
            ManagerNotice::Core(notice) => follow_core(notice, &journal),
            ManagerNotice::CallbackPanicked { message, .. } => {
                journal.write("panicked", json!({ "message": message }));
            }
            ManagerNotice::DrainTimedOut { partition, .. } => {
                let partition = partition.to_string();
                journal.write("drain_timed_out", json!({ "partition": partition }));
            }
            _ => {}
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the rest is for the log")]
fn follow_core(notice: &Notice, journal: &Journal) {
    match notice {
        Notice::Claimed { epoch, .. } => {
            journal.write("claimed", json!({ "epoch": epoch.get() }));
        }
        Notice::StateChanged { from, to } => {
            let (from, to) = (from.as_str(), to.as_str());
            journal.write("state", json!({ "from": from, "to": to }));
        }
        Notice::LeadershipGained { term } => {
            journal.write("leader", json!({ "term": term.get() }));
        }
        Notice::LeadershipLost { term, reason } => {
            let reason = reason.to_string();
            journal.write("follower", json!({ "term": term.get(), "reason": reason }));
        }
        Notice::Committed { version, cause, .. } => {
            let (version, cause) = (version.get(), cause.as_str());
            journal.write("committed", json!({ "version": version, "cause": cause }));
        }
        Notice::HistoryLost { loss, .. } => {
            journal.write("history_lost", json!({ "loss": loss.to_string() }));
        }
        Notice::LeaseLost { .. } => journal.write("lease_lost", json!({})),
        Notice::IdentityLost { .. } => journal.write("identity_lost", json!({})),
        Notice::Degraded { reason } => {
            journal.write("degraded", json!({ "reason": reason.as_str() }));
        }
        Notice::Recovered => journal.write("recovered", json!({})),
        _ => {}
    }
}

/// What this worker writes down, and the handler that makes it do so.
struct Journal {
    json: bool,
    drain: Duration,
    manager: OnceLock<Weak<Manager>>,
    attached: Notify,
    /// Who held each partition, so that its end is told in the name of the session that had it.
    held: Mutex<BTreeMap<PartitionKey, Identity>>,
    last: Mutex<Identity>,
}

/// The worker ID and the session.
type Identity = (String, String);

impl Journal {
    fn new(arguments: &Arguments) -> Self {
        Self {
            json: arguments.json,
            drain: Duration::from_millis(arguments.drain_ms),
            manager: OnceLock::new(),
            attached: Notify::new(),
            held: Mutex::default(),
            last: Mutex::default(),
        }
    }

    fn attach(&self, manager: &Arc<Manager>) {
        // Called once; a second manager would find the first.
        let _ = self.manager.set(Arc::downgrade(manager));
        self.attached.notify_waiters();
    }

    /// Partitions can come before `start` has returned.
    async fn wait_attached(&self) {
        let attached = self.attached.notified();
        if self.manager.get().is_none() {
            attached.await;
        }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<PartitionKey, Identity>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who this worker is, or was last.
    fn identity(&self) -> Identity {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let status = self
            .manager
            .get()
            .and_then(Weak::upgrade)
            .map(|manager| manager.status());
        if let Some(status) = status
            && let (Some(worker), Some(nonce)) = (status.worker, status.nonce)
        {
            *last = (worker.to_string(), nonce.to_string());
        }
        last.clone()
    }

    fn write(&self, event: &str, fields: Value) {
        self.write_as(self.identity(), event, fields);
    }

    fn write_as(&self, (worker, session): Identity, event: &str, fields: Value) {
        let at_ms = SystemTime::now().duration_since(UNIX_EPOCH);
        let at_ms = at_ms.map_or(0, |at| u64::try_from(at.as_millis()).unwrap_or(u64::MAX));
        let Value::Object(fields) = fields else {
            return;
        };
        let line = if self.json {
            let mut line = Map::new();
            line.insert("at_ms".to_owned(), at_ms.into());
            line.insert("worker".to_owned(), worker.into());
            line.insert("session".to_owned(), session.into());
            line.insert("event".to_owned(), event.into());
            line.extend(fields);
            Value::Object(line).to_string()
        } else {
            let fields = fields
                .iter()
                .map(|(name, value)| format!(" {name}={value}"));
            format!("{at_ms} {worker} {event}{}", fields.collect::<String>())
        };
        let mut out = std::io::stdout().lock();
        // Nobody reading is no reason to stop working.
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}

#[async_trait]
impl PartitionHandler for Journal {
    async fn on_assigned(&self, partition: &PartitionKey, guard: Guard) {
        self.wait_attached().await;
        let identity = self.identity();
        self.held().insert(partition.clone(), identity.clone());
        let (partition, token) = (partition.to_string(), guard.token().get());
        let fields = json!({ "partition": partition, "token": token });
        self.write_as(identity, "assigned", fields);
    }

    async fn on_revoked(&self, partition: &PartitionKey, cause: RevokeCause) {
        tokio::time::sleep(self.drain).await;
        let identity = self.held().remove(partition);
        let identity = identity.unwrap_or_else(|| self.identity());
        let fields = json!({ "partition": partition.to_string(), "cause": cause.as_str() });
        self.write_as(identity, "revoked", fields);
    }
}
