//! Every target, one after the other: the suite, progress and the table.
//!
//! What always holds: one line when a target begins and one when it ends on standard error, and
//! the table or the JSON object alone on standard output.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use parti::store::LocalStore;
use parti::store::{SqliteOptions, SqliteStore};
use parti_core::{GroupName, Store};
use parti_nats::{NatsOptions, NatsStore};
use parti_testing::kit::chaos::FaultyStores;
use parti_testing::kit::conformance::{self, SuiteReport};
use parti_testing::kit::history::{Batches, Promise, Reads, Tally};
use parti_testing::kit::memory_store::MemoryStore;
use parti_testing::rig::nats_cluster::NatsCluster;
use parti_testing::rig::nats_server::ServerOptions;
use parti_testing::simulator::{Manner, SimulatedStore};
use serde_json::json;
use tokio::runtime::Runtime;

use super::{Failure, Server, Task, chaos, rig};

/// How long the stores in memory are result.
const MEMORY_DURATION: Duration = Duration::from_secs(2);

/// How long a request waits for a server under faults: shorter than most faults.
pub(super) const HASTY: Duration = Duration::from_millis(500);

/// What came out of one target.
pub(super) struct Row {
    name: String,
    report: SuiteReport,
    /// What is not tried in memory.
    outages: Option<SuiteReport>,
    workload: WorkloadResult,
    seconds: f64,
}

/// What came out of a workload.
pub(super) struct WorkloadResult {
    pub(super) tally: Tally,
    /// What a correct store cannot have said, or what did not come to an end.
    pub(super) rejected: Vec<String>,
}

/// Runs everything in this process.
pub(crate) fn run(args: &Task) -> Result<(), Failure> {
    let runtime = Runtime::new().map_err(|error| stuck("the runtime", &error))?;
    let start = Instant::now();
    let rows = runtime.block_on(rows(args))?;
    if args.json {
        println!("{}", to_json(&rows, start.elapsed()));
    } else {
        table(&rows);
    }
    eprintln!("    everything in {:.1} s", start.elapsed().as_secs_f64());
    let bad = rows.iter().filter(|row| !row.is_ok());
    let bad: Vec<&str> = bad.map(|row| row.name.as_str()).collect();
    if bad.is_empty() {
        return Ok(());
    }
    let what = format!("not what the port promises: {}", bad.join(", "));
    let again = format!("--seed {} repeats the schedule of the faults", args.seed);
    Err(Failure::new(what, again))
}

async fn rows(args: &Task) -> Result<Vec<Row>, Failure> {
    let strict = Promise {
        reads: Reads::Fresh,
        batches: Batches::Consecutive,
    };
    let mut rows = Vec::new();
    rows.push(in_memory("memory", args.seed, strict, MemoryStore::new).await);
    let faulty = || FaultyStores::new(MemoryStore::new(), 1).worker("a");
    rows.push(in_memory("memory, faultless handle", args.seed, strict, faulty).await);
    let simulated = || SimulatedStore::new(Manner::Prompt);
    rows.push(in_memory("simulator", args.seed, strict, simulated).await);
    rows.push(in_memory("local", args.seed, strict, LocalStore::new).await);
    rows.push(in_file(args.seed, strict).await?);
    for server in &args.server {
        for nodes in &args.nodes {
            rows.push(real(args, server, *nodes).await?);
        }
    }
    Ok(rows)
}

/// The suite and a workload without faults.
async fn in_memory<S: Store + Clone>(
    name: &str,
    seed: u64,
    promise: Promise,
    make: impl Fn() -> S,
) -> Row {
    let start = begin(name);
    let report = conformance::run(async || make()).await;
    let store = make();
    let clients = (0..4).map(|_| Arc::new(store.clone()) as Arc<dyn Store>);
    let workload =
        chaos::workload(clients.collect(), seed, MEMORY_DURATION, promise, async {}).await;
    end(name, start, (report, None), workload)
}

/// The suite and a workload on handles that share nothing but a file, as processes do.
async fn in_file(seed: u64, promise: Promise) -> Result<Row, Failure> {
    let start = begin("sqlite");
    let folder = std::env::temp_dir().join(format!("parti-conformance-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|error| stuck("a folder", &error))?;
    let (path, count) = (folder.join("store.db"), AtomicU32::new(0));
    let report = conformance::run(async || {
        let number = count.fetch_add(1, Ordering::Relaxed);
        open_file(&path, &format!("case-{number}")).await
    })
    .await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(Arc::new(open_file(&path, "workload").await) as Arc<dyn Store>);
    }
    let workload = chaos::workload(clients, seed, MEMORY_DURATION, promise, async {}).await;
    std::fs::remove_dir_all(&folder).map_err(|error| stuck("an end of the folder", &error))?;
    Ok(end("sqlite", start, (report, None), workload))
}

async fn open_file(path: &Path, group: &str) -> SqliteStore {
    let group = GroupName::new(group).expect("letters and numbers");
    let opened = SqliteStore::open(path, &group, SqliteOptions::default()).await;
    opened.unwrap_or_else(|error| panic!("no store in {}: {error}", path.display()))
}

/// The suite on a healthy server, and a workload on one under faults.
async fn real(args: &Task, server: &Server, nodes: usize) -> Result<Row, Failure> {
    let plural = if nodes == 1 { "node" } else { "nodes" };
    let name = format!("nats {}, {nodes} {plural}", server.name);
    let start = begin(&name);
    let options = ServerOptions::default().program(&server.program);
    let cluster = cluster(nodes, &options).await?;
    let report = suite(&cluster).await;
    eprintln!("    cases: {report}");
    let outages = rig::outages(cluster).await;
    eprintln!("    outages: {outages}");
    let workload = chaos::under_faults(args, nodes, options).await?;
    Ok(end(&name, start, (report, Some(outages)), workload))
}

async fn cluster(nodes: usize, options: &ServerOptions) -> Result<NatsCluster, Failure> {
    let options = options.clone();
    let started = tokio::task::spawn_blocking(move || NatsCluster::start(nodes, &options));
    let started = started.await.map_err(|error| stuck("a server", &error))?;
    started.map_err(|error| stuck("a server", &error))
}

async fn suite(cluster: &NatsCluster) -> SuiteReport {
    let (url, count) = (cluster.url(), AtomicU32::new(0));
    conformance::run(async || {
        let number = count.fetch_add(1, Ordering::Relaxed);
        let patience = Duration::from_secs(5);
        open(&url, &format!("case-{number}"), cluster.len(), patience).await
    })
    .await
}

/// A store of a group of its own. A cluster that was just started may need several attempts.
pub(super) async fn open(url: &str, group: &str, nodes: usize, patience: Duration) -> NatsStore {
    let group = GroupName::new(group).expect("letters and numbers");
    let options = NatsOptions::default()
        .request_timeout(patience)
        .watch_heartbeat(Duration::from_millis(200))
        .replicas(nodes);
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match NatsStore::connect(url, &group, options.clone()).await {
            Ok(store) => return store,
            Err(error) if Instant::now() > deadline => panic!("no bucket: {error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

pub(super) fn stuck(what: &str, error: &dyn std::fmt::Display) -> Failure {
    let what = format!("{what} cannot be had: {error}");
    Failure::new(what, "run `cargo xtask nats --version V` for each version")
}

fn begin(name: &str) -> Instant {
    eprintln!("==> {name}");
    Instant::now()
}

fn end(
    name: &str,
    start: Instant,
    (report, outages): (SuiteReport, Option<SuiteReport>),
    workload: WorkloadResult,
) -> Row {
    let reports = [Some(&report), outages.as_ref()].into_iter().flatten();
    for failed in reports.flat_map(|report| &report.failed) {
        eprintln!("    FAILED {}: {}", failed.name, failed.reason);
    }
    for rejected in workload.rejected.iter().take(10) {
        eprintln!("    REJECTED {rejected}");
    }
    let row = Row {
        name: name.to_owned(),
        report,
        outages,
        workload,
        seconds: start.elapsed().as_secs_f64(),
    };
    let word = if row.is_ok() { "ok" } else { "FAILED" };
    eprintln!("    {}", row.workload.tally);
    eprintln!("    {name}: {word} in {:.1} s", row.seconds);
    row
}

impl Row {
    fn is_ok(&self) -> bool {
        let outages = self.outages.as_ref().is_none_or(SuiteReport::is_ok);
        self.report.is_ok()
            && outages
            && self.workload.rejected.is_empty()
            && self.workload.tally.committed > 0
    }
}

fn table(rows: &[Row]) {
    println!(
        "{:<26} {:>7} {:>8} {:>9} {:>8} {:>6} {:>9} {:>8}",
        "store", "cases", "outages", "replies", "unknown", "lost", "rejected", "seconds"
    );
    for row in rows {
        let tally = &row.workload.tally;
        let commits = tally.committed + tally.refused + tally.unknown + tally.not_sent;
        println!(
            "{:<26} {:>7} {:>8} {:>9} {:>8} {:>6} {:>9} {:>8.1}",
            row.name,
            passed_of(&row.report),
            row.outages
                .as_ref()
                .map_or_else(|| "-".to_owned(), passed_of),
            commits + tally.reads + tally.events,
            tally.unknown,
            tally.lost,
            row.workload.rejected.len(),
            row.seconds
        );
    }
}

fn passed_of(report: &SuiteReport) -> String {
    let passed = report.passed.len();
    format!("{passed}/{}", passed + report.failed.len())
}

fn to_json(rows: &[Row], spent: Duration) -> serde_json::Value {
    let stores = rows.iter().map(|row| {
        let tally = &row.workload.tally;
        let outages = row.outages.iter();
        let failed = row.report.failed.iter();
        let failed = failed.chain(outages.clone().flat_map(|report| &report.failed));
        let failed = failed.map(|failed| json!({"case": failed.name, "reason": failed.reason}));
        json!({
            "store": row.name,
            "ok": row.is_ok(),
            "passed": row.report.passed.len(),
            "outages_passed": outages.clone().map(|report| report.passed.len()).next(),
            "outages_skipped": outages.map(|report| report.skipped.clone()).next(),
            "failed": failed.collect::<Vec<_>>(),
            "committed": tally.committed,
            "refused": tally.refused,
            "unknown": tally.unknown,
            "not_sent": tally.not_sent,
            "reads": tally.reads,
            "watches": tally.watches,
            "events": tally.events,
            "lost": tally.lost,
            "rejected": row.workload.rejected,
            "seconds": row.seconds,
        })
    });
    json!({"stores": stores.collect::<Vec<_>>(), "seconds": spent.as_secs_f64()})
}
