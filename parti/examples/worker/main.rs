//! One process, one worker: takes part in a group on a NATS server, or in a file, and writes down what
//! happens to it, one line per event, so that the lines of many workers can be checked.
//!
//! `worker --nats nats://127.0.0.1:4222 --group demo --partitions 100 --json`, or with the feature `sqlite`
//! `worker --file demo.db --partitions 100 --json`
//!
//! With the feature `jetstream` it consumes a stream by partition: `--stream ORDERS --sink 127.0.0.1:7000`,
//! where the sink hears of each message on a line and answers `stored`, `repeated` or `fenced`.
//!
//! What always holds: `assigned` is written before processing begins (of a stream: when it may have),
//! `revoked` after it has ended and before that is acknowledged; its `used_ms` is when the guard was last
//! seen valid. SIGTERM and SIGINT hand the partitions over and exit with 0.

use std::error::Error;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use parti::config::OnBucketLost;
use parti::events::{ManagerNotice, Notice, Subscription};
use parti::nats::{NatsOptions, NatsStore};
use parti::sources::{PartitionSource, StaticSource};
use parti::strategy::{AssignmentStrategy, ConsistentHash, RoundRobin, Sticky};
use parti::{Config, ConfigBuilder, Manager, Mode, Partition, PartitionError, Preset, StopMode};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

#[cfg(feature = "jetstream")]
mod consumption;
mod journal;

use journal::{Journal, millis, watch};

/// A worker of a group, as one process.
#[derive(Parser)]
struct Arguments {
    /// The NATS server, such as nats://127.0.0.1:4222. Without it the worker is a group of its own.
    #[arg(long)]
    nats: Option<String>,
    /// A file that every worker of the group opens, instead of a server.
    #[cfg(feature = "sqlite")]
    #[arg(long, conflicts_with = "nats")]
    file: Option<std::path::PathBuf>,
    /// Consume this stream by partition.
    #[cfg(feature = "jetstream")]
    #[arg(long, requires = "nats", requires = "sink")]
    stream: Option<String>,
    /// Who is told of each message.
    #[cfg(feature = "jetstream")]
    #[arg(long)]
    sink: Option<std::net::SocketAddr>,
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
    /// How long it takes to get ready for a partition, in milliseconds; 0 is not at all.
    #[arg(long, default_value_t = 0)]
    warmup_ms: u64,
    /// How many servers keep the group's bucket, if it does not exist yet.
    #[arg(long, default_value_t = 1)]
    replicas: usize,
    /// How many workers the process is, each with a connection of its own.
    #[arg(long, default_value_t = 1)]
    workers: u32,
    /// How many worker IDs there are.
    #[arg(long, default_value_t = 100)]
    pool: u32,
    /// The ID to try first, such as `worker-3`.
    #[arg(long)]
    hint: Option<String>,
    /// No process with the hinted ID is running any more: its slot is taken at once.
    #[arg(long, requires = "hint")]
    predecessor_is_dead: bool,
    /// A time of the configuration in milliseconds, such as `lease=3000`.
    #[arg(long = "set", value_name = "NAME=MS", value_parser = setting)]
    settings: Vec<(String, Duration)>,
    /// End by holding the slot for a replacement for so many milliseconds, instead of a handoff.
    #[arg(long)]
    hold_ms: Option<u64>,
    /// How often guards are looked at for `used_ms`, in milliseconds; 0 is only at the end.
    #[arg(long, default_value_t = 10)]
    look_ms: u64,
    /// Write JSON, one object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum ModeName {
    Exclusive,
    Fenced,
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
    let starting = async {
        let starts = (0..arguments.workers).map(|_| start(&arguments));
        futures_util::future::try_join_all(starts).await
    };
    let workers = tokio::select! {
        workers = starting => workers?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = tokio::time::sleep(seconds) => {}
    }
    let mode = arguments.hold_ms.map_or(StopMode::Handoff, |hold| {
        let hold = Duration::from_millis(hold);
        StopMode::Restart { hold }
    });
    let ends = workers.into_iter().map(|worker| worker.end(mode));
    futures_util::future::join_all(ends).await;
    Ok(())
}

/// A worker that runs.
struct Worker {
    manager: Arc<Manager>,
    journal: Arc<Journal>,
    following: tokio::task::JoinHandle<()>,
}

impl Worker {
    async fn end(self, mode: StopMode) {
        let stopped = self.manager.stop(mode).await;
        // Its end is that there is nothing more to tell.
        let _ = self.following.await;
        let error = stopped.err().map(|error| error.to_string());
        self.journal.write("stopped", json!({ "error": error }));
    }
}

async fn start(arguments: &Arguments) -> Result<Worker, Box<dyn Error>> {
    let drain = Duration::from_millis(arguments.drain_ms);
    let warmup = Duration::from_millis(arguments.warmup_ms);
    let journal = Journal::new(arguments.json, drain, warmup);
    let source = StaticSource::new(partitions(arguments.partitions)?)?;
    let source: Arc<dyn PartitionSource> = Arc::new(source);
    #[cfg(feature = "jetstream")]
    let (journal, source) = match (&arguments.nats, &arguments.stream, arguments.sink) {
        (Some(url), Some(stream), Some(sink)) => {
            let way = (url.as_str(), arguments.group.as_str());
            let orders = consumption::consume(way, stream, sink, arguments.partitions).await?;
            let source: Arc<dyn PartitionSource> = Arc::new(orders.source());
            (journal.working(orders), source)
        }
        _ => (journal, source),
    };
    let journal = Arc::new(journal);
    if arguments.look_ms > 0 {
        let interval = Duration::from_millis(arguments.look_ms);
        let watched = Arc::downgrade(&journal);
        thread::spawn(move || watch(&watched, interval));
    }
    let config = config(arguments)?;
    let times = json!({
        "lease_ms": millis(config.lease()),
        "bound_ms": millis(config.convergence_bound()),
    });
    journal.write("configured", times);
    let store = match &arguments.nats {
        Some(url) => {
            let options = NatsOptions::default()
                .request_timeout(config.request_timeout())
                // The first leader of a replicated bucket may need so long to be elected.
                .connect_timeout(Duration::from_secs(20))
                .replicas(arguments.replicas);
            Some(NatsStore::connect(url, config.group(), options).await?)
        }
        None => None,
    };
    let mut builder = Manager::builder(config, source, Arc::clone(&journal))
        .strategy(strategy(arguments.strategy));
    if let Some(store) = store {
        builder = builder.store(store);
    }
    #[cfg(feature = "sqlite")]
    if let Some(file) = &arguments.file {
        builder = builder.sqlite(file);
    }
    let notices = builder.subscribe();
    let manager = Arc::new(builder.start().await?);
    journal.attach(&manager);
    let following = tokio::spawn(follow(notices, Arc::clone(&journal)));
    Ok(Worker {
        manager,
        journal,
        following,
    })
}

fn config(arguments: &Arguments) -> Result<Config, Box<dyn Error>> {
    let mode = match arguments.mode {
        ModeName::Exclusive => Mode::Exclusive,
        ModeName::Fenced => Mode::Fenced,
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
        // What is written to in this example is a log that is judged by its tokens.
        .sinks_compare_tokens(true)
        .preset(preset)
        .on_bucket_lost(on_bucket_lost);
    let builder = match arguments.expected {
        Some(expected) => builder.expected_workers(expected),
        None => builder,
    };
    let builder = builder.worker_id_range(0, arguments.pool.saturating_sub(1));
    let builder = match &arguments.hint {
        Some(hint) => builder
            .worker_id_hint(hint)
            .predecessor_is_dead(arguments.predecessor_is_dead),
        None => builder,
    };
    let settings = arguments.settings.iter();
    let builder = settings.fold(builder, |builder, (name, value)| set(builder, name, *value));
    Ok(builder.build()?)
}

/// The times that can be set, and how.
fn set(builder: ConfigBuilder, name: &str, value: Duration) -> ConfigBuilder {
    match name {
        "heartbeat_interval" => builder.heartbeat_interval(value),
        "lease" => builder.lease(value),
        "cold_start_window" => builder.cold_start_window(value),
        "planned_scale_window" => builder.planned_scale_window(value),
        "min_rebalance_interval" => builder.min_rebalance_interval(value),
        "drain_timeout" => builder.drain_timeout(value),
        "startup_timeout" => builder.startup_timeout(value),
        "shutdown_timeout" => builder.shutdown_timeout(value),
        "probe_interval" => builder.probe_interval(value),
        "suspect_after" => builder.suspect_after(value),
        _ => builder,
    }
}

const SETTABLE: [&str; 10] = [
    "heartbeat_interval",
    "lease",
    "cold_start_window",
    "planned_scale_window",
    "min_rebalance_interval",
    "drain_timeout",
    "startup_timeout",
    "shutdown_timeout",
    "probe_interval",
    "suspect_after",
];

fn setting(text: &str) -> Result<(String, Duration), String> {
    let (name, value) = text.split_once('=').ok_or("it is not NAME=MS")?;
    if !SETTABLE.contains(&name) {
        return Err(format!("{name} is not one of {SETTABLE:?}"));
    }
    let value = value.parse().map_err(|_| format!("{value} is no number"))?;
    Ok((name.to_owned(), Duration::from_millis(value)))
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
            ManagerNotice::AssignFailed { .. } | _ => {}
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
        Notice::Committed {
            version,
            term,
            cause,
            granted,
            revoked,
            evicted,
            ..
        } => {
            let fields = json!({
                "version": version.get(),
                "term": term.get(),
                "cause": cause.as_str(),
                "granted": granted,
                "revoked": revoked,
                "evicted": evicted.len(),
            });
            journal.write("committed", fields);
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
