//! What a reader of a group costs: `cargo xtask bench directory`.
//!
//! The records are those that real managers wrote into a store in memory, at 100 000 partitions: the time
//! of a look-up, the memory of what is known, and, on a real server, how long after its commit a change
//! shows. Figures are printed and nothing is asserted.

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parti::directory::Directory;
use parti::nats::{NatsOptions, NatsStore};
use parti::sources::StaticSource;
use parti::store::{Entry, Expect, LocalStore, Store, StoreOp, StoreReply, Write};
use parti::{
    Config, GroupName, Guard, HandlerError, Manager, PartitionHandler, PartitionKey, Preset,
    RevokeCause, StopMode, WorkerId, async_trait,
};
use parti_core::Key;
use parti_testing::rig::nats_server::{NatsServer, ServerOptions};
use serde_json::json;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const GROUP: &str = "directory";
const PATIENCE: Duration = Duration::from_secs(600);

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().collect();
    // A build of all targets for tests must not wait for figures.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let value = |name: &str, default: &str| {
        let mut found = arguments.iter().skip_while(|argument| *argument != name);
        found.nth(1).map_or(default.to_owned(), Clone::clone)
    };
    let partitions: u32 = value("--partitions", "100000").parse()?;
    let readers: usize = value("--readers", "20").parse()?;
    let store = LocalStore::new();
    let group = [
        start(&store, partitions, 2).await?,
        start(&store, partitions, 2).await?,
    ];
    let directory = Directory::open(store.clone());
    shared(&directory, partitions, 2).await?;
    println!("{}", look_ups(&directory, partitions)?);
    println!("{}", memory(&entries(&store).await?, partitions));
    // Like a crash: giving back so many takes longer than all the rest.
    drop((group, directory));
    println!("{}", visible(readers).await?);
    Ok(())
}

struct Nothing;

#[async_trait]
impl PartitionHandler for Nothing {
    async fn on_assigned(&self, _: &PartitionKey, _: Guard) -> Result<(), HandlerError> {
        Ok(())
    }

    async fn on_revoked(&self, _: &PartitionKey, _: Guard, _: RevokeCause) {}
}

async fn start(store: &LocalStore, partitions: u32, expected: u32) -> Outcome<Manager> {
    let config = Config::builder(GROUP)
        .preset(Preset::Fast)
        .lease(Duration::from_secs(20))
        .expected_workers(expected)
        .build()?;
    let source = StaticSource::numbered("partition", partitions)?;
    let builder = Manager::builder(config, source, Nothing).store(store.clone());
    let builder = builder
        .concurrency(10_000)
        .advertise("http://127.0.0.1:8080");
    Ok(builder.start().await?)
}

fn keys(partitions: u32) -> Outcome<Vec<PartitionKey>> {
    let keys = (0..partitions).map(|n| PartitionKey::new(["partition".to_owned(), n.to_string()]));
    Ok(keys.collect::<Result<Vec<_>, _>>()?)
}

/// Waits until so many workers own all partitions.
async fn shared(directory: &Directory, partitions: u32, workers: usize) -> Outcome<()> {
    let keys = keys(partitions)?;
    let waiting = directory.wait_for(|directory| {
        let owners: Vec<_> = keys
            .iter()
            .filter_map(|key| directory.owner_of(key))
            .collect();
        let distinct: std::collections::BTreeSet<_> =
            owners.iter().map(|owner| &owner.worker).collect();
        owners.len() == keys.len() && distinct.len() == workers
    });
    Ok(tokio::time::timeout(PATIENCE, waiting).await?)
}

async fn entries(store: &impl Store) -> Outcome<Vec<Entry>> {
    let prefix = String::new();
    match store.execute(StoreOp::List { prefix }).await? {
        StoreReply::Entries { entries, .. } => Ok(entries),
        StoreReply::Entry(_) | StoreReply::Committed { .. } | StoreReply::Info(_) => {
            Err("a list has another answer".into())
        }
    }
}

/// Processor time of this thread: a machine that does something else meanwhile does not count.
#[cfg(unix)]
fn used() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let nanos = used.tv_sec * 1_000_000_000 + used.tv_nsec;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or_default())
}

#[cfg(not(unix))]
fn used() -> Duration {
    static BEGUN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    BEGUN.get_or_init(Instant::now).elapsed()
}

/// Nanoseconds of a look-up: keys in an order that no cache foresees, and one key again and again.
fn look_ups(directory: &Directory, partitions: u32) -> Outcome<serde_json::Value> {
    let keys = keys(partitions)?;
    // A full cycle: the step and the count have no factor in common.
    let step = (keys.len() as u64 * 7 / 11) | 1;
    let order: Vec<usize> = (0..keys.len() as u64)
        .map(|n| usize::try_from(n * step % keys.len() as u64).unwrap_or_default())
        .collect();
    let time = |which: &dyn Fn(usize) -> usize| {
        let mut rounds: Vec<f64> = (0..11)
            .map(|_| {
                let begun = used();
                for n in 0..order.len() {
                    black_box(directory.owner_of(black_box(&keys[which(n)])));
                }
                (used() - begun).as_nanos() as f64 / order.len() as f64
            })
            .collect();
        rounds.sort_by(f64::total_cmp);
        (rounds[rounds.len() / 2] * 10.0).round() / 10.0
    };
    let in_a_snapshot = {
        let owners = directory.owners();
        let begun = used();
        for n in &order {
            black_box(owners.owner_of(black_box(&keys[*n])));
        }
        ((used() - begun).as_nanos() as f64 / order.len() as f64 * 10.0).round() / 10.0
    };
    Ok(
        json!({ "owner_of_at": partitions, "scattered_ns": time(&|n| order[n]),
        "in_order_ns": time(&|n| n), "few_keys_ns": time(&|n| n % 64),
        "scattered_in_a_snapshot_ns": in_a_snapshot }),
    )
}

/// Bytes that stay allocated for what a directory knows, for each partition.
fn memory(entries: &[Entry], partitions: u32) -> serde_json::Value {
    let mut known = None;
    let count = allocation_counter::measure(|| {
        let mut directory = parti_core::directory::Directory::default();
        let now = parti::clock::Instant::from_millis(1);
        directory.begin(now);
        for entry in entries {
            directory.put(now, entry);
        }
        let last = entries.iter().map(|entry| entry.revision).max();
        directory.caught_up(now, last.unwrap_or_default());
        known = Some(directory);
    });
    let snapshot = allocation_counter::measure(|| {
        let owners = known.as_ref().map(|directory| directory.owners().clone());
        std::mem::forget(owners);
    });
    let each = |bytes: i64| (bytes as f64 / f64::from(partitions) * 10.0).round() / 10.0;
    let stored: usize = entries
        .iter()
        .filter_map(|e| e.value.as_ref())
        .map(Vec::len)
        .sum();
    json!({ "memory_at": partitions, "bytes_each": each(count.bytes_current),
        "while_reading_at_most_each": each(i64::try_from(count.bytes_max).unwrap_or(i64::MAX)),
        "a_snapshot_more_bytes": snapshot.bytes_current,
        "stored_bytes_each": each(i64::try_from(stored).unwrap_or(i64::MAX)) })
}

/// From before a commit is sent until every reader has seen it, on a server of this machine.
async fn visible(readers: usize) -> Outcome<serde_json::Value> {
    // Two states of a group, as managers wrote them: one worker owns all; two share.
    let local = LocalStore::new();
    let reading = Directory::open(local.clone());
    let first = start(&local, 12, 1).await?;
    shared(&reading, 12, 1).await?;
    let second = start(&local, 12, 1).await?;
    shared(&reading, 12, 2).await?;
    let share = entries(&local).await?;
    second.stop(StopMode::Handoff).await?;
    shared(&reading, 12, 1).await?;
    let all = entries(&local).await?;
    let owner = first.worker_id().ok_or("an ID")?;
    first.stop(StopMode::Now).await?;
    let server = NatsServer::start(ServerOptions::default())?;
    let group = GroupName::new(GROUP)?;
    let writer = NatsStore::connect(&server.url(), &group, NatsOptions::default()).await?;
    write(&writer, &share).await?;
    let mut directories = Vec::new();
    for _ in 0..readers {
        let directory = Directory::nats(&server.url(), &group).await?;
        shared(&directory, 12, 2).await?;
        directories.push(Arc::new(directory));
    }
    // The assignment of the worker that stays is what differs: its partitions come and go with it.
    let of = |state: &[Entry]| {
        state
            .iter()
            .find(|entry| is_assignment(entry, &owner))
            .cloned()
    };
    let (shares, has_all) = (of(&share).ok_or("it")?, of(&all).ok_or("it")?);
    let keys = keys(12)?;
    let mut times = Vec::new();
    for round in 0..500 {
        let (entry, count) = if round % 2 == 0 {
            (&has_all, 12)
        } else {
            (&shares, 6)
        };
        let begun = Instant::now();
        let waits = directories.iter().map(|directory| {
            let (directory, keys, owner) = (Arc::clone(directory), keys.clone(), owner.clone());
            tokio::spawn(async move {
                let holds = |directory: &Directory| {
                    let owners = keys.iter().filter_map(|key| directory.owner_of(key));
                    owners.filter(|found| found.worker == owner).count() == count
                };
                directory.wait_for(holds).await;
                begun.elapsed()
            })
        });
        let waits: Vec<_> = waits.collect();
        write(&writer, std::slice::from_ref(entry)).await?;
        for wait in waits {
            times.push(tokio::time::timeout(PATIENCE, wait).await??);
        }
    }
    times.sort_unstable();
    let at = |share: usize| {
        (times[(times.len() - 1) * share / 1000].as_secs_f64() * 1e5).round() / 100.0
    };
    Ok(
        json!({ "visible_to": readers, "changes": 500, "from_before_the_commit": true,
        "p50_ms": at(500), "p99_ms": at(990), "max_ms": at(1000) }),
    )
}

fn is_assignment(entry: &Entry, owner: &WorkerId) -> bool {
    matches!(Key::parse(&entry.key), Key::Assignment(worker) if worker == *owner)
}

async fn write(store: &impl Store, entries: &[Entry]) -> Outcome<()> {
    for entry in entries {
        let write = Write {
            key: entry.key.clone(),
            value: entry.value.clone(),
            expect: Expect::Any,
        };
        store
            .execute(StoreOp::Commit {
                writes: vec![write],
            })
            .await?;
    }
    Ok(())
}
