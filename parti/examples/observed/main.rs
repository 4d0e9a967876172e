//! A group of workers to be watched while things go wrong: `/metrics`, `/healthz` and `/readyz`.
//!
//! Everything happens in this process, on a store in memory: a worker crashes, the store is out of
//! reach for longer than a lease, the crashed worker is replaced. What the hooks tell is printed.
//!
//! ```sh
//! cargo run --example observed --features prometheus,serde -- --listen 127.0.0.1:9464
//! curl -s http://127.0.0.1:9464/metrics | grep parti_silence
//! ```

mod endpoint;
mod faulty;
mod show;

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use show::{Failure, Options, Show};

/// Watches a group of workers while things go wrong: serves /metrics, /healthz and /readyz.
#[derive(Parser)]
struct Args {
    /// Where to serve; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:9464")]
    listen: SocketAddr,
    /// How many workers there are.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(2..=50))]
    workers: u32,
    /// How many partitions they share.
    #[arg(long, default_value_t = 24)]
    partitions: u32,
    /// How often to go through the faults; 0 is until interrupted.
    #[arg(long, default_value_t = 1)]
    rounds: u32,
    /// Seconds to look at each act.
    #[arg(long, default_value_t = 3)]
    pause: u64,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args = Args::parse();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let show = Show::open(Options {
        listen: args.listen,
        workers: args.workers,
        partitions: args.partitions,
        loud: true,
    })
    .await?;
    println!("http://{}/metrics  /healthz  /readyz", show.address());
    show.settled().await?;
    let pause = Duration::from_secs(args.pause);
    let play = async {
        let mut round = 0;
        while args.rounds == 0 || round < args.rounds {
            round += 1;
            act(&show, args.workers - 1, pause).await?;
        }
        Ok::<_, Failure>(())
    };
    tokio::select! {
        played = play => played?,
        _ = tokio::signal::ctrl_c() => println!("interrupted"),
    }
    show.close().await
}

/// One round of faults.
async fn act(show: &Show, victim: u32, pause: Duration) -> Result<(), Failure> {
    println!("\nThe worker in slot {victim} crashes.");
    show.crash(victim);
    show.settled().await?;
    tokio::time::sleep(pause).await;

    println!("\nThe store is out of reach, for longer than a lease: everybody pauses.");
    show.set_outage(true);
    show.until("nobody owns anything", |workers| {
        workers.iter().all(|worker| worker.assignment().is_empty())
    })
    .await?;
    tokio::time::sleep(pause).await;
    println!("\nThe store is back.");
    show.set_outage(false);
    show.settled().await?;
    tokio::time::sleep(pause).await;

    println!("\nThe crashed worker is replaced.");
    show.start(victim).await?;
    show.settled().await?;
    tokio::time::sleep(pause).await;
    Ok(())
}
