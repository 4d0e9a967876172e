//! From start until all is owned, for many workers that start at once: `cargo xtask bench start`.
//!
//! The workers are in one process, each with a connection of its own, connected before the start signal; the
//! server is another process on the same machine. Requests are those that the server counted. Figures are
//! printed and nothing is asserted: what must hold is in the tests and scenarios.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::future::{join_all, try_join_all};
use parti::nats::{NatsOptions, NatsStore};
use parti::sources::StaticSource;
use parti::{
    Config, Guard, HandlerError, Manager, Mode, Partition, PartitionHandler, PartitionKey,
    RevokeCause, StopMode, async_trait,
};
use parti_testing::rig::nats_cluster::NatsCluster;
use parti_testing::rig::nats_server::ServerOptions;
use serde_json::json;
use tokio::time::{sleep, timeout};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// How long all of it may take before a round counts as failed.
const TOO_LONG: Duration = Duration::from_secs(120);

#[derive(Clone, Copy)]
struct Round {
    workers: usize,
    partitions: usize,
    hints: bool,
    exclusive: bool,
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().collect();
    // A build of all targets for tests must not wait for figures.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let value = |name: &str, default: &str| {
        let mut found = arguments.iter().skip_while(|argument| *argument != name);
        found.nth(1).map_or(default.to_owned(), Clone::clone)
    };
    let rounds: usize = value("--rounds", "3").parse()?;
    let partitions: usize = value("--partitions", "1000").parse()?;
    let busy = Arc::new(AtomicBool::new(has("--busy")));
    let beside = busy.load(Ordering::Relaxed).then(|| {
        let busy = Arc::clone(&busy);
        thread::spawn(move || {
            while busy.load(Ordering::Relaxed) {
                std::hint::spin_loop()
            }
        })
    });
    for workers in value("--workers", "5,20,50,100,200,500").split(',') {
        let round = Round {
            workers: workers.parse()?,
            partitions,
            hints: has("--hints"),
            exclusive: !has("--overlap"),
        };
        for _ in 0..rounds {
            // Of its own, so that nothing of a round is left for the next.
            let runtime = tokio::runtime::Runtime::new()?;
            println!("{}", runtime.block_on(measure(round, beside.is_some()))?);
        }
    }
    busy.store(false, Ordering::Relaxed);
    if let Some(beside) = beside {
        drop(beside.join());
    }
    Ok(())
}

/// Counts what is owned by all workers together.
#[derive(Default)]
struct Owned(AtomicUsize);

#[async_trait]
impl PartitionHandler for Owned {
    async fn on_assigned(&self, _: &PartitionKey, _: Guard) -> Result<(), HandlerError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn on_revoked(&self, _: &PartitionKey, _: Guard, _: RevokeCause) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn measure(round: Round, busy: bool) -> Outcome<serde_json::Value> {
    let cluster = NatsCluster::start(1, &ServerOptions::default())?;
    let partitions = (0..round.partitions)
        .map(|i| Partition::new([format!("topic-{}", i / 100), format!("p-{i}")]))
        .collect::<Result<Vec<_>, _>>()?;
    let source = Arc::new(StaticSource::new(partitions)?);
    let configs = (0..round.workers).map(|number| config(round, number));
    let configs: Vec<Config> = configs.collect::<Outcome<_>>()?;
    let url = cluster.url();
    let mut connected = Vec::new();
    for some in configs.chunks(50) {
        let stores = some.iter().map(|config| {
            let options = NatsOptions::default().request_timeout(config.request_timeout());
            NatsStore::connect(&url, config.group(), options)
        });
        connected.extend(try_join_all(stores).await?);
    }
    let count = |name: &str| {
        let page = cluster.page(0, "/varz");
        page.and_then(|page| page[name].as_u64()).unwrap_or(0)
    };
    let before = (count("in_msgs"), count("out_msgs"));
    let (owned, begun) = (Arc::new(Owned::default()), Instant::now());
    let starts = configs.into_iter().zip(connected).map(|(config, store)| {
        let (source, owned) = (Arc::clone(&source), Arc::clone(&owned));
        tokio::spawn(async move {
            Manager::builder(config, source, owned)
                .store(store)
                .start()
                .await
        })
    });
    let starts: Vec<_> = starts.collect();
    let all = async {
        while owned.0.load(Ordering::Relaxed) < round.partitions {
            sleep(Duration::from_millis(1)).await;
        }
    };
    let complete = timeout(TOO_LONG, all).await.is_ok();
    let took = begun.elapsed();
    let after = (count("in_msgs"), count("out_msgs"));
    let started = join_all(starts).await;
    let managers: Vec<Manager> = started.into_iter().flatten().flatten().collect();
    let (started, each) = (managers.len(), round.workers as f64);
    let numbers = managers.iter().filter_map(|m| m.status().worker);
    let numbers = numbers.filter_map(|id| id.as_str().rsplit_once('-')?.1.parse::<usize>().ok());
    let highest = numbers.max().unwrap_or(0);
    drop(join_all(managers.iter().map(|manager| manager.stop(StopMode::Now))).await);
    let per_start = |from: u64, to: u64| ((to - from) as f64 / each * 10.0).round() / 10.0;
    Ok(json!({
        "workers": round.workers, "partitions": round.partitions, "hints": round.hints, "busy": busy,
        "exclusive": round.exclusive, "complete": complete, "started": started, "highest_id": highest,
        "ms": (took.as_secs_f64() * 10_000.0).round() / 10.0,
        "requests_per_start": per_start(before.0, after.0),
        "messages_out_per_start": per_start(before.1, after.1),
    }))
}

fn config(round: Round, number: usize) -> Outcome<Config> {
    let workers = u32::try_from(round.workers)?;
    let mode = if round.exclusive {
        Mode::Exclusive
    } else {
        Mode::Overlap
    };
    let config = Config::builder("start")
        .mode(mode)
        .expected_workers(workers)
        .worker_id_range(0, (workers * 2).max(100) - 1)
        .planned_scale_window(Duration::from_millis(1))
        .min_rebalance_interval(Duration::from_millis(1));
    let config = match round.hints {
        true => config.worker_id_hint(&format!("worker-{number}")),
        false => config,
    };
    Ok(config.build()?)
}
