//! A stream of orders, handled by workers that join, leave, crash, freeze and lose their readers, and that is
//! split into other numbers of partitions; at the end one line of JSON says whether anything was lost,
//! repeated or out of order.
//!
//! `cargo run --release --features jetstream --example jetstream_orders -- --nats nats://127.0.0.1:4222`
//!
//! Without `--nats` it starts a server of its own. Each worker is a process. What they handle goes to a
//! sink that refuses smaller tokens, as a database with a fencing column would.

use std::error::Error;
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Parser;
use futures_util::StreamExt;
use parti::nats::async_nats;
use parti::nats::async_nats::jetstream::{Context, context::PublishAckFuture};
use parti_testing::rig::nats_server::{NatsServer, ServerOptions};
use parti_testing::rig::process::OwnProcess;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::sleep;

mod sink;
mod worker;

use sink::Sink;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Orders, handled by partition.
#[derive(Clone, Parser)]
pub(crate) struct Arguments {
    /// The NATS server; without it one is started.
    #[arg(long)]
    nats: Option<String>,
    /// The stream, the group and the sink begin with this name. It must be new.
    #[arg(long, default_value = "jsorders")]
    name: String,
    /// What the stream keeps its messages by: limits, workqueue or interest.
    #[arg(long, default_value = "limits")]
    retention: String,
    /// How many partitions there are.
    #[arg(long, default_value_t = 16)]
    partitions: u32,
    /// How many keys there are.
    #[arg(long, default_value_t = 40)]
    keys: usize,
    /// How many messages are published a second.
    #[arg(long, default_value_t = 2000)]
    rate: usize,
    /// How many seconds pass from one event to the next.
    #[arg(long, default_value_t = 4)]
    pause: u64,
    /// Replace a worker on a strong suspicion, before its lease is over: the sink compares tokens.
    #[arg(long)]
    fenced: bool,
    /// Be a worker of it; for itself.
    #[arg(long, hide = true)]
    worker: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = if arguments.worker {
        worker::run(&arguments).await.map(|()| true)
    } else {
        group(arguments).await
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn group(mut arguments: Arguments) -> Outcome<bool> {
    let server = match &arguments.nats {
        Some(_) => None,
        None => Some(NatsServer::start(ServerOptions::default())?),
    };
    let own = server.as_ref().map(NatsServer::url);
    arguments.nats = arguments.nats.or(own);
    let url = arguments.nats.clone().unwrap_or_default();
    let client = async_nats::connect(&url).await?;
    let context = async_nats::jetstream::new(client.clone());
    let name = &arguments.name;
    let config = json!({ "name": name, "subjects": [format!("{name}.>")], "storage": "file",
        "retention": arguments.retention });
    let made: Value = context
        .request(format!("STREAM.CREATE.{name}"), &config)
        .await?;
    if let Some(error) = made.get("error") {
        return Err(format!("stream {name}: {error}").into());
    }
    let sink = Arc::new(Mutex::new(Sink::new()));
    let subject = format!("sink.{name}");
    // What is published before the group is built has no partition, and by interest is not stored.
    drop(worker::orders(&arguments, client.clone()).await?);
    let serving = tokio::spawn(serve(client, subject, Arc::clone(&sink)));
    let (going, until) = watch::channel(());
    let first = start(&arguments)?;
    let publishing = tokio::spawn(publish(context.clone(), arguments.clone(), until));
    let workers = events(&arguments, &context, &sink, first).await?;
    drop(going);
    let published = publishing.await??;
    let deadline = Instant::now() + Duration::from_secs(60);
    while locked(&sink).accepted() < published && Instant::now() < deadline {
        sleep(Duration::from_millis(20)).await;
    }
    serving.abort();
    drop(workers);
    let (line, is_fine) = locked(&sink).report(published);
    println!("{line}");
    Ok(is_fine)
}

/// What happens to the group.
async fn events(
    arguments: &Arguments,
    context: &Context,
    sink: &Mutex<Sink>,
    first: OwnProcess,
) -> Outcome<Vec<OwnProcess>> {
    let pause = Duration::from_secs(arguments.pause);
    sleep(pause).await;
    let tell = |event| {
        eprintln!("{event}");
        locked(sink).begin(event);
    };
    tell("steady");
    sleep(pause).await;
    tell("join");
    let mut second = start(arguments)?;
    sleep(pause).await;
    tell("join again");
    let third = start(arguments)?;
    sleep(pause).await;
    tell("leave");
    second.terminate()?;
    sleep(pause).await;
    tell("crash (kill -9)");
    third.kill()?;
    let fourth = start(arguments)?;
    sleep(pause).await;
    tell("freeze (SIGSTOP)");
    first.pause()?;
    sleep(pause).await;
    tell("go on (SIGCONT)");
    first.resume()?;
    sleep(pause).await;
    // By interest that would lose messages, and be reported.
    if arguments.retention != "interest" {
        tell("readers deleted");
        delete_readers(arguments, context).await?;
        sleep(pause).await;
    }
    tell("re-partition");
    parti::jetstream::repartition(context, &arguments.name, arguments.partitions * 2).await?;
    sleep(pause).await;
    // While old partitions may be left.
    tell("re-partition and crash");
    parti::jetstream::repartition(context, &arguments.name, arguments.partitions * 3).await?;
    fourth.kill()?;
    let fifth = start(arguments)?;
    sleep(pause).await;
    second.wait()?;
    Ok(vec![first, fifth])
}

async fn delete_readers(arguments: &Arguments, context: &Context) -> Outcome<()> {
    let name = &arguments.name;
    let there: Value = context
        .request(format!("CONSUMER.NAMES.{name}"), &json!({}))
        .await?;
    for reader in there["consumers"].as_array().into_iter().flatten() {
        let reader = reader.as_str().unwrap_or_default();
        let method = format!("CONSUMER.DELETE.{name}.{reader}");
        let _: Value = context.request(method, &json!({})).await?;
    }
    Ok(())
}

fn start(arguments: &Arguments) -> Outcome<OwnProcess> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--worker", "--name", &arguments.name]);
    command.args(["--partitions", &arguments.partitions.to_string()]);
    command.args(arguments.fenced.then_some("--fenced"));
    command.args(
        arguments
            .nats
            .iter()
            .flat_map(|url| ["--nats", url.as_str()]),
    );
    Ok(OwnProcess::spawn(&mut command)?)
}

/// Publishes numbers per key until nobody wants more; how many there were.
async fn publish(
    context: Context,
    arguments: Arguments,
    mut until: watch::Receiver<()>,
) -> Outcome<u64> {
    let begun = Instant::now();
    let mut published = 0_usize;
    while until.has_changed().is_ok() {
        let due = begun.elapsed().as_millis() as usize * arguments.rate / 1000;
        let mut acks: Vec<PublishAckFuture> = Vec::new();
        while published < due {
            let (key, number) = (published % arguments.keys, published / arguments.keys);
            let subject = format!("{}.key-{key}", arguments.name);
            acks.push(context.publish(subject, number.to_string().into()).await?);
            published += 1;
        }
        for ack in acks {
            ack.await?;
        }
        tokio::select! {
            _ = until.changed() => {}
            () = sleep(Duration::from_millis(5)) => {}
        }
    }
    Ok(published as u64)
}

/// Answers each worker what became of what it handled.
async fn serve(client: async_nats::Client, subject: String, sink: Arc<Mutex<Sink>>) -> Outcome<()> {
    let mut calls = client.subscribe(subject).await?;
    while let Some(call) = calls.next().await {
        let effect = serde_json::from_slice(&call.payload)?;
        let verdict = locked(&sink).take(&effect, Instant::now());
        if let Some(reply) = call.reply {
            client.publish(reply, verdict.into()).await?;
        }
    }
    Ok(())
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
