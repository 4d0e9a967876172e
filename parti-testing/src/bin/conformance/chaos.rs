//! Random mixes of requests, and the servers that are struck meanwhile.
//!
//! Separate from the table because it is about one target. What always holds: what does not come to
//! an end after the faults counts as rejected.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parti_core::Store;
use parti_testing::kit::history::{Batches, Promise, Reads, Tally, check};
use parti_testing::kit::workload::{WorkloadOptions, run};
use parti_testing::rig::nats_server::{ServerError, ServerOptions};
use parti_testing::rig::nemesis::{Arena, schedule};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use super::targets::{HASTY, Mixed, open, stuck};
use super::{Failure, Task};

/// How many clients write, read and watch.
const CLIENTS: usize = 5;

/// A mix, checked.
pub(super) async fn mix(
    clients: Vec<Arc<dyn Store>>,
    seed: u64,
    duration: Duration,
    promise: Promise,
    faults: impl Future<Output = ()>,
) -> Mixed {
    let options = WorkloadOptions {
        seed,
        duration,
        ..WorkloadOptions::default()
    };
    match run(clients, options, faults).await {
        Ok(history) => {
            let violations = check(&history, promise);
            Mixed {
                tally: Tally::from(&history),
                rejected: violations.iter().map(ToString::to_string).collect(),
            }
        }
        Err(error) => Mixed {
            tally: Tally::default(),
            rejected: vec![error.to_string()],
        },
    }
}

/// A mix on real servers that are struck by the schedule of the seed.
pub(super) async fn strike(
    args: &Task,
    nodes: usize,
    options: ServerOptions,
) -> Result<Mixed, Failure> {
    let (seed, duration) = (args.seed, Duration::from_secs(args.chaos_seconds));
    let started =
        spawn_blocking(move || Arena::start(nodes, &options, CLIENTS, seed, "KV_parti_mix"));
    let started = started.await;
    let started = started.map_err(|error| stuck("a server", &error))?;
    let mut arena = started.map_err(|error| stuck("a server", &error))?;
    let mut clients: Vec<Arc<dyn Store>> = Vec::new();
    for client in 0..CLIENTS {
        let url = arena.url(client);
        let url = url.map_err(|error| stuck("a port", &error))?;
        clients.push(Arc::new(open(&url, "mix", nodes, HASTY).await));
    }
    let steps = schedule(seed, duration, CLIENTS, nodes);
    let count = steps.len();
    let mut done = 0;
    let striking = spawn_blocking(move || {
        let struck = arena.strike(&steps, &mut |step| {
            done += 1;
            eprintln!("    {done} of {count}: {step}");
        });
        (struck, arena)
    });
    let (ended, end) = oneshot::channel();
    let faults = async move {
        // Whoever waits for it is this function, after the mix.
        drop(ended.send(striking.await));
    };
    let promise = Promise {
        reads: Reads::MayBeStale,
        batches: Batches::Consecutive,
    };
    let mixed = mix(clients, seed, duration, promise, faults).await;
    let struck = end.await.map_err(|error| stuck("the faults", &error))?;
    let (struck, arena) = struck.map_err(|error| stuck("the faults", &error))?;
    struck.map_err(|error: ServerError| stuck("a server that comes back", &error))?;
    drop(arena);
    Ok(mixed)
}
