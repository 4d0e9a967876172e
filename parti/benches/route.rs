//! What a planned move adds to the time of requests: `cargo xtask bench route`.
//!
//! Workers join and leave one after another while requests come at a steady rate, each of its own, sent
//! when it is due, whether others were answered or not. Servers, workers and callers share one machine.
//! Figures are printed and nothing is asserted: what must hold is in the tests.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parti::directory::Directory;
use parti::nats::async_nats;
use parti::nats::router::{Limits, Request, Responder, Router};
use parti::sources::StaticSource;
use parti::{Config, GroupName, Manager, PartitionKey, Preset, StopMode};
use parti_testing::rig::nats_server::{NatsServer, ServerOptions};
use serde_json::json;
use tokio::task::JoinSet;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const GROUP: &str = "route";
/// How long callers send before, between and after moves.
const CALM: Duration = Duration::from_secs(2);

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().collect();
    // A build of all targets for tests must not wait for figures.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let value = |name: &str, default: &str| {
        let mut found = arguments.iter().skip_while(|argument| *argument != name);
        found.nth(1).map_or(default.to_owned(), Clone::clone)
    };
    let rate: u64 = value("--rate", "5000").parse()?;
    let moves: usize = value("--moves", "10").parse()?;
    let partitions: u32 = value("--partitions", "64").parse()?;
    let runtime = tokio::runtime::Runtime::new()?;
    println!("{}", runtime.block_on(measure(rate, moves, partitions))?);
    Ok(())
}

struct Worker {
    manager: Manager,
    responder: Responder,
}

impl Worker {
    async fn start(url: &str, partitions: u32) -> Outcome<Self> {
        let client = async_nats::connect(url).await?;
        let responder = Responder::builder(client, &GroupName::new(GROUP)?);
        let answer = |request: Request| async move { Ok(request.payload().to_vec()) };
        let responder = responder.on_request(answer).await?;
        let config = Config::builder(GROUP)
            .preset(Preset::Fast)
            .lease(Duration::from_secs(6))
            .expected_workers(1)
            .planned_scale_window(Duration::from_millis(1))
            .min_rebalance_interval(Duration::from_millis(1))
            .build()?;
        let source = StaticSource::numbered("p", partitions)?;
        let builder = Manager::builder(config, source, responder.clone()).concurrency(1000);
        let builder = builder.nats(url).advertise(responder.endpoint().as_str());
        let manager = builder.start().await?;
        Ok(Self { manager, responder })
    }

    async fn leave(self) -> Outcome<()> {
        self.manager.stop(StopMode::Handoff).await?;
        self.responder.close().await;
        Ok(())
    }
}

/// One request: when it was sent, how long it took, whether it was answered.
struct Sample {
    sent: Duration,
    took: Duration,
    answered: bool,
}

async fn measure(rate: u64, moves: usize, partitions: u32) -> Outcome<serde_json::Value> {
    let server = NatsServer::start(ServerOptions::default())?;
    let url = server.url();
    let mut workers = vec![
        Worker::start(&url, partitions).await?,
        Worker::start(&url, partitions).await?,
    ];
    let router = Router::nats(&url, &GroupName::new(GROUP)?).await?;
    let router = router.with_limits(Limits::default().within(Duration::from_secs(30)));
    shared(router.directory(), partitions, 2).await?;
    let (begun, end) = (Instant::now(), Arc::new(AtomicBool::new(false)));
    let behind = Arc::new(AtomicU64::new(0));
    let load = load(
        router.clone(),
        rate,
        partitions,
        begun,
        Arc::clone(&end),
        Arc::clone(&behind),
    );
    let load = tokio::spawn(load);
    let mut windows = Vec::new();
    for number in 0..moves {
        tokio::time::sleep(CALM).await;
        let from = begun.elapsed();
        if number % 2 == 0 {
            workers.push(Worker::start(&url, partitions).await?);
            shared(router.directory(), partitions, 3).await?;
        } else {
            let worker = workers.remove(0);
            worker.manager.stop(StopMode::Handoff).await?;
            shared(router.directory(), partitions, 2).await?;
            windows.push((from, begun.elapsed()));
            worker.responder.close().await;
            continue;
        }
        windows.push((from, begun.elapsed()));
    }
    tokio::time::sleep(CALM).await;
    end.store(true, Ordering::Relaxed);
    let samples = load.await??;
    for worker in workers {
        worker.leave().await?;
    }
    Ok(report(
        &samples,
        &windows,
        rate,
        behind.load(Ordering::Relaxed),
    ))
}

async fn load(
    router: Router,
    rate: u64,
    partitions: u32,
    begun: Instant,
    end: Arc<AtomicBool>,
    behind: Arc<AtomicU64>,
) -> Outcome<Vec<Sample>> {
    let keys = (0..partitions).map(|n| PartitionKey::new(["p".to_owned(), n.to_string()]));
    let keys = keys.collect::<Result<Vec<_>, _>>()?;
    let (mut calls, mut samples, mut next) = (JoinSet::new(), Vec::new(), 0_u64);
    while !end.load(Ordering::Relaxed) {
        let due = begun.elapsed().as_micros() as u64 * rate / 1_000_000;
        behind.fetch_max(due.saturating_sub(next), Ordering::Relaxed);
        while next < due {
            let (router, key) = (router.clone(), keys[next as usize % keys.len()].clone());
            // From when it was due: what a slow sender delays counts as well.
            let sent = Duration::from_micros(next * 1_000_000 / rate);
            next += 1;
            calls.spawn(async move {
                let answered = router.call(&key, vec![b'x'; 64]).await.is_ok();
                let took = begun.elapsed().saturating_sub(sent);
                Sample {
                    sent,
                    took,
                    answered,
                }
            });
        }
        while let Some(done) = calls.try_join_next() {
            samples.push(done?);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    while let Some(done) = calls.join_next().await {
        samples.push(done?);
    }
    Ok(samples)
}

/// Waits until so many workers own all partitions.
async fn shared(directory: &Directory, partitions: u32, workers: usize) -> Outcome<()> {
    let keys = (0..partitions).map(|n| PartitionKey::new(["p".to_owned(), n.to_string()]));
    let keys = keys.collect::<Result<Vec<_>, _>>()?;
    let waiting = directory.wait_for(|directory| {
        let owners: Vec<_> = keys
            .iter()
            .filter_map(|key| directory.owner_of(key))
            .collect();
        let distinct: std::collections::BTreeSet<_> =
            owners.iter().map(|owner| &owner.worker).collect();
        owners.len() == keys.len() && distinct.len() == workers
    });
    Ok(tokio::time::timeout(Duration::from_secs(60), waiting).await?)
}

fn report(
    samples: &[Sample],
    windows: &[(Duration, Duration)],
    rate: u64,
    behind: u64,
) -> serde_json::Value {
    let within = |sent: Duration, margin: Duration| {
        let mut windows = windows.iter();
        windows.any(|(from, to)| sent >= *from && sent < *to + margin)
    };
    let second = Duration::from_secs(1);
    let of = |wanted: &dyn Fn(Duration) -> bool| {
        let chosen = samples.iter().filter(|sample| wanted(sample.sent));
        let mut times: Vec<_> = chosen.map(|sample| sample.took).collect();
        times.sort_unstable();
        let at = |share: usize| times.get((times.len().max(1) - 1) * share / 1000);
        let ms = |time: Option<&Duration>| time.map(|t| (t.as_secs_f64() * 1e4).round() / 10.0);
        json!({ "requests": times.len(), "p50_ms": ms(at(500)), "p99_ms": ms(at(990)),
            "p999_ms": ms(at(999)), "max_ms": ms(times.last()) })
    };
    let lengths = windows
        .iter()
        .map(|(from, to)| (*to - *from).as_millis() as u64);
    let failed = samples.iter().filter(|sample| !sample.answered).count();
    json!({
        "rate": rate, "moves": windows.len(), "unanswered": failed, "sender_behind_at_most": behind,
        "move_ms": lengths.collect::<Vec<_>>(),
        "calm": of(&|sent| !within(sent, second)),
        "while_moving": of(&|sent| within(sent, Duration::ZERO)),
        "until_a_second_after": of(&|sent| within(sent, second)),
    })
}
