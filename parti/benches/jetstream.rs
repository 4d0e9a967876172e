//! What consuming by partition costs beside a plain pull consumer, in the same run on one server:
//! `cargo xtask bench consume`.
//!
//! Figures are printed and nothing is asserted: what must hold is in the tests.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use parti::jetstream::{Partitioned, StartAt};
use parti::nats::async_nats;
use parti::nats::async_nats::jetstream::Context;
use parti::nats::async_nats::jetstream::consumer::{AckPolicy, pull};
use parti::{Config, Manager, Preset, StopMode};
use parti_testing::rig::nats_server::{NatsServer, ServerOptions};
use serde_json::json;
use tokio::sync::Notify;

type Outcome<T> = Result<T, Box<dyn Error>>;

const MESSAGES: u64 = 400_000;
const ROUNDS: u32 = 5;

#[tokio::main]
async fn main() -> Outcome<()> {
    // A build of all targets for tests must not wait for figures.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let server = NatsServer::start(ServerOptions::default())?;
    let context = connect(&server).await?;
    for partitions in [1, 64] {
        let stream = format!("S{partitions}");
        create(&context, &stream, partitions).await?;
        fill(&context, &stream, MESSAGES).await?;
        let (mut fetched, mut streamed, mut ours) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            fetched.push(by_plain_consumer(&server, &stream).await?);
            ours.push(by_partition(&server, &stream, partitions, round).await?);
            streamed.push(by_plain_stream(&server, &stream).await?);
        }
        let (fetched, streamed, ours) = (median(fetched), median(streamed), median(ours));
        let ratio = |plain: f64| (ours / plain * 100.0).round() / 100.0;
        let line = json!({ "partitions": partitions, "messages": MESSAGES, "rounds": ROUNDS,
            "fetch_500_per_s": fetched.round(), "stream_per_s": streamed.round(),
            "by_partition_per_s": ours.round(), "ratio_to_fetch": ratio(fetched),
            "ratio_to_stream": ratio(streamed) });
        println!("{line}");
    }
    latency(&server, 10_000, Duration::from_secs(5)).await?;
    idle(&server, 1000, Duration::from_secs(10)).await?;
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn connect(server: &NatsServer) -> Outcome<Context> {
    Ok(async_nats::jetstream::new(
        async_nats::connect(server.url()).await?,
    ))
}

async fn create(context: &Context, stream: &str, partitions: u32) -> Outcome<()> {
    let subjects = stream.to_lowercase();
    let config = json!({ "name": stream, "subjects": [format!("{subjects}.>")], "storage": "file",
        "subject_transform": { "src": format!("{subjects}.*"),
            "dest": format!("{subjects}.{{{{partition({partitions},1)}}}}.{{{{wildcard(1)}}}}") } });
    let _: serde_json::Value = context
        .request(format!("STREAM.CREATE.{stream}"), &config)
        .await?;
    Ok(())
}

async fn fill(context: &Context, stream: &str, count: u64) -> Outcome<()> {
    let subjects = stream.to_lowercase();
    let payload = vec![b'x'; 256];
    // The server drops what comes faster than it stores.
    for window in 0..count / 1000 {
        let mut acks = Vec::new();
        for number in 0..1000 {
            let subject = format!("{subjects}.key-{}", (window * 1000 + number) % 1000);
            acks.push(context.publish(subject, payload.clone().into()).await?);
        }
        for ack in acks {
            ack.await?;
        }
    }
    Ok(())
}

/// Messages a second of a pull consumer that fetches 500 and acknowledges the last of them.
async fn by_plain_consumer(server: &NatsServer, stream: &str) -> Outcome<f64> {
    let context = connect(server).await?;
    let stream = context.get_stream(stream).await?;
    let config = pull::Config {
        ack_policy: AckPolicy::All,
        ..pull::Config::default()
    };
    let consumer = stream.create_consumer(config).await?;
    let begin = Instant::now();
    let mut count = 0;
    while count < MESSAGES {
        let mut batch = consumer.fetch().max_messages(500).messages().await?;
        let mut last = None;
        while let Some(message) = batch.next().await {
            count += 1;
            last = Some(message.map_err(|error| error.to_string())?);
        }
        if let Some(last) = last {
            last.ack().await.map_err(|error| error.to_string())?;
        }
    }
    let rate = MESSAGES as f64 / begin.elapsed().as_secs_f64();
    stream.delete_consumer(&consumer.cached_info().name).await?;
    Ok(rate)
}

/// Messages a second of a pull consumer that asks ahead and acknowledges nothing: as fast as the client is.
async fn by_plain_stream(server: &NatsServer, stream: &str) -> Outcome<f64> {
    let context = connect(server).await?;
    let stream = context.get_stream(stream).await?;
    let config = pull::Config {
        ack_policy: AckPolicy::None,
        ..pull::Config::default()
    };
    let consumer = stream.create_consumer(config).await?;
    let begin = Instant::now();
    let asking = consumer.stream().max_messages_per_batch(1000);
    let mut messages = asking.messages().await?.take(MESSAGES as usize);
    while let Some(message) = messages.next().await {
        message.map_err(|error| error.to_string())?;
    }
    let rate = MESSAGES as f64 / begin.elapsed().as_secs_f64();
    stream.delete_consumer(&consumer.cached_info().name).await?;
    Ok(rate)
}

/// Messages a second of one worker that owns all partitions, from the first message on.
async fn by_partition(
    server: &NatsServer,
    stream: &str,
    partitions: u32,
    round: u32,
) -> Outcome<f64> {
    let context = connect(server).await?;
    let (count, done) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
    let begun = Arc::new(std::sync::OnceLock::new());
    let (counting, all, first) = (Arc::clone(&count), Arc::clone(&done), Arc::clone(&begun));
    let group = format!("bench-{round}");
    let consumption = Partitioned::builder(context, stream)
        .group(&group)
        .partitions(partitions);
    let consumption = consumption.on_message(move |_| {
        first.get_or_init(Instant::now);
        if counting.fetch_add(1, Ordering::Relaxed) + 1 == MESSAGES {
            all.notify_one();
        }
        std::future::ready(Ok(()))
    });
    let consumption = consumption.build().await?;
    let manager = worker(&consumption).await?;
    done.notified().await;
    let begun = begun.get().copied().unwrap_or_else(Instant::now);
    let rate = MESSAGES as f64 / begun.elapsed().as_secs_f64();
    manager.stop(StopMode::Handoff).await?;
    Ok(rate)
}

async fn worker(consumption: &Partitioned) -> Outcome<Manager> {
    let config = Config::builder("bench")
        .preset(Preset::Fast)
        .expected_workers(1)
        .build()?;
    let source = consumption.source();
    Ok(Manager::builder(config, source, consumption.clone())
        .concurrency(1000)
        .start()
        .await?)
}

fn now() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

/// From just before the publication to the handler.
async fn latency(server: &NatsServer, rate: u64, length: Duration) -> Outcome<()> {
    let context = connect(server).await?;
    create(&context, "LATENCY", 64).await?;
    let (sender, mut times) = tokio::sync::mpsc::unbounded_channel();
    let consumption = Partitioned::builder(connect(server).await?, "LATENCY").partitions(64);
    let consumption = consumption.on_message(move |message| {
        let sent = std::str::from_utf8(message.payload())
            .ok()
            .and_then(|text| text.parse().ok());
        let _ = sender.send(now().saturating_sub(sent.unwrap_or_default()));
        std::future::ready(Ok(()))
    });
    let consumption = consumption.build().await?;
    let manager = worker(&consumption).await?;
    manager.wait_assigned().await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (client, begin) = (context.client(), Instant::now());
    let mut sent = 0;
    while begin.elapsed() < length {
        let due = begin.elapsed().as_secs_f64() * rate as f64;
        while (sent as f64) < due {
            let subject = format!("latency.key-{}", sent % 1000);
            client.publish(subject, now().to_string().into()).await?;
            sent += 1;
        }
        client.flush().await?;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut all = Vec::new();
    while (all.len() as u64) < sent {
        all.extend(times.recv().await);
    }
    all.sort_unstable();
    let of = |share: usize| all[(all.len() - 1) * share / 100] as f64 / 1000.0;
    println!(
        "{}",
        json!({ "latency_at_per_s": rate, "messages": sent, "p50_ms": of(50), "p99_ms": of(99) })
    );
    manager.stop(StopMode::Handoff).await?;
    Ok(())
}

/// What the server costs while nothing is published.
async fn idle(server: &NatsServer, partitions: u32, length: Duration) -> Outcome<()> {
    let context = connect(server).await?;
    create(&context, "IDLE", partitions).await?;
    let consumption = Partitioned::builder(context, "IDLE")
        .partitions(partitions)
        .start_at(StartAt::New);
    let consumption = consumption
        .on_message(|_| std::future::ready(Ok(())))
        .build()
        .await?;
    let manager = worker(&consumption).await?;
    while consumption.status().waiting.len() < partitions as usize {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = cpu(server)?;
    tokio::time::sleep(length).await;
    let used = cpu(server)? - before;
    let share = used / length.as_secs_f64() * 100.0;
    println!(
        "{}",
        json!({ "idle_partitions": partitions, "server_percent_of_a_core": (share * 100.0).round() / 100.0 })
    );
    manager.stop(StopMode::Handoff).await?;
    Ok(())
}

/// Seconds of processor time that the server used so far, as Linux counts them.
fn cpu(server: &NatsServer) -> Outcome<f64> {
    let pid = server.pid().ok_or("the server runs")?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse::<f64>);
    Ok(ticks.collect::<Result<Vec<_>, _>>()?.iter().sum::<f64>() / 100.0)
}
