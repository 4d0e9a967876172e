//! A service whose partitions each have one owner, and callers that reach it, also when it changes.
//!
//! Start as many workers as you like, and end them with Ctrl-C while callers go on:
//!
//! `cargo run --example router -- worker nats://127.0.0.1:4222`
//!
//! `cargo run --example router -- call nats://127.0.0.1:4222 7 hello`
//!
//! `cargo run --example router -- load nats://127.0.0.1:4222 2000`
//!
//! What always holds: `load` counts what failed and what took longest, and says who answered.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parti::nats::async_nats;
use parti::nats::router::{Answer, Request, Responder, RouteError, Router};
use parti::sources::StaticSource;
use parti::{Config, GroupName, Manager, PartitionKey, Preset};
use tokio::task::JoinSet;
use tokio::time::interval;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const PARTITIONS: u32 = 32;

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let group = GroupName::new("router")?;
    match arguments[..] {
        ["worker", url] => worker(url, &group).await,
        ["call", url, number, text] => {
            let router = Router::nats(url, &group).await?;
            let answer = router.call(&key(number.parse()?)?, text.to_owned()).await?;
            let said = String::from_utf8_lossy(answer.payload());
            println!("{said}, token {}", answer.token());
            Ok(())
        }
        ["load", url, rate] => load(&Router::nats(url, &group).await?, rate.parse()?).await,
        _ => Err("usage: router worker URL | call URL NUMBER TEXT | load URL RATE".into()),
    }
}

fn key(number: u32) -> Outcome<PartitionKey> {
    Ok(PartitionKey::new(["p".to_owned(), number.to_string()])?)
}

/// Answers for the partitions it owns until Ctrl-C; then everything that was taken is answered before its
/// partition goes to another worker.
async fn worker(url: &str, group: &GroupName) -> Outcome<()> {
    let count = Arc::new(AtomicU64::new(0));
    let me = std::process::id();
    let answer = move |request: Request| {
        let number = count.fetch_add(1, Ordering::Relaxed) + 1;
        async move {
            let text = String::from_utf8_lossy(request.payload()).into_owned();
            let partition = request.partition();
            // Pass `request.token()` to whatever this writes to.
            Ok(format!(
                "process {me}, request {number}, {partition}: {text}"
            ))
        }
    };
    // Its own connection: renewals must not wait behind requests.
    let client = async_nats::connect(url).await?;
    let responder = Responder::builder(client, group).on_request(answer).await?;
    let config = Config::builder(group.as_str())
        .preset(Preset::Fast)
        .build()?;
    let source = StaticSource::numbered("p", PARTITIONS)?;
    let manager = Manager::builder(config, source, responder.clone()).nats(url);
    let manager = manager
        .advertise(responder.endpoint().as_str())
        .start()
        .await?;
    println!("process {me} answers at {}", responder.endpoint());
    manager.run_until(tokio::signal::ctrl_c()).await?;
    responder.close().await;
    Ok(())
}

/// What became of the requests of a second.
#[derive(Default)]
struct Second {
    by_process: BTreeMap<String, u64>,
    failed: Vec<RouteError>,
    longest: Duration,
}

impl Second {
    fn count(&mut self, took: Duration, answer: Result<Answer, RouteError>) {
        self.longest = self.longest.max(took);
        match answer {
            Ok(answer) => {
                let text = String::from_utf8_lossy(answer.payload()).into_owned();
                let process = text.split(',').next().unwrap_or_default().to_owned();
                *self.by_process.entry(process).or_default() += 1;
            }
            Err(error) => self.failed.push(error),
        }
    }
}

/// Sends so many requests a second until Ctrl-C, and tells each second what became of them.
async fn load(router: &Router, rate: u32) -> Outcome<()> {
    let keys = (0..PARTITIONS).map(key).collect::<Outcome<Vec<_>>>()?;
    let (mut calls, mut second) = (JoinSet::new(), Second::default());
    let mut due = interval(Duration::from_secs(1) / rate.max(1));
    let mut tell = interval(Duration::from_secs(1));
    let end = tokio::signal::ctrl_c();
    tokio::pin!(end);
    let mut next = 0;
    loop {
        tokio::select! {
            _ = &mut end => return Ok(()),
            _ = due.tick() => {
                let (router, key) = (router.clone(), keys[next % keys.len()].clone());
                next += 1;
                calls.spawn(async move {
                    let begun = Instant::now();
                    let answer = router.call(&key, "what are you?").await;
                    (begun.elapsed(), answer)
                });
            }
            Some(done) = calls.join_next() => {
                let (took, answer) = done?;
                second.count(took, answer);
            }
            _ = tell.tick() => {
                let Second { by_process, failed, longest } = std::mem::take(&mut second);
                println!("{by_process:?}, longest {longest:?}, failed {}", failed.len());
                if let Some(error) = failed.first() {
                    println!("  {error}");
                }
            }
        }
    }
}
