//! Random workloads, and servers with faults meanwhile.
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

use super::targets::{HASTY, WorkloadResult, open, stuck};
use super::{Failure, Task};

/// How many clients write, read and watch.
const CLIENTS: usize = 5;

/// A workload, checked.
pub(super) async fn workload(
    clients: Vec<Arc<dyn Store>>,
    seed: u64,
    duration: Duration,
    promise: Promise,
    faults: impl Future<Output = ()>,
) -> WorkloadResult {
    let options = WorkloadOptions {
        seed,
        duration,
        ..WorkloadOptions::default()
    };
    match run(clients, options, faults).await {
        Ok(history) => {
            let violations = check(&history, promise);
            WorkloadResult {
                tally: Tally::from(&history),
                rejected: violations.iter().map(ToString::to_string).collect(),
            }
        }
        Err(error) => WorkloadResult {
            tally: Tally::default(),
            rejected: vec![error.to_string()],
        },
    }
}

/// A workload on real servers under the faults that the seed schedules.
pub(super) async fn under_faults(
    args: &Task,
    nodes: usize,
    options: ServerOptions,
) -> Result<WorkloadResult, Failure> {
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
        clients.push(Arc::new(open(&url, "workload", nodes, HASTY).await));
    }
    let steps = schedule(seed, duration, CLIENTS, nodes);
    let count = steps.len();
    let mut done = 0;
    let running = spawn_blocking(move || {
        let ended = arena.run_faults(&steps, &mut |step| {
            done += 1;
            eprintln!("    {done} of {count}: {step}");
        });
        (ended, arena)
    });
    let (tell_end, end) = oneshot::channel();
    let faults = async move {
        // This function waits for it, after the workload.
        drop(tell_end.send(running.await));
    };
    let promise = Promise {
        reads: Reads::MayBeStale,
        batches: Batches::Consecutive,
    };
    let result = workload(clients, seed, duration, promise, faults).await;
    let ended = end.await.map_err(|error| stuck("the faults", &error))?;
    let (ended, arena) = ended.map_err(|error| stuck("the faults", &error))?;
    ended.map_err(|error: ServerError| stuck("a server that comes back", &error))?;
    drop(arena);
    Ok(result)
}
