//! Five minutes of a group's life in ten seconds: joins, one of them with a warm-up, a crash, a drain, the
//! loss of the leader.
//!
//! `cargo run --release --example quickstart` needs nothing installed: the workers of the group live
//! in this process and share a store in memory. `-- --nats URL` runs the same on a NATS server, and
//! `-- --json` ends with one line of JSON about what really happened. `-- --store file:PATH`, built with
//! `--features sqlite`, runs it with real processes that share a file.

#[cfg(all(feature = "sqlite", unix))]
mod processes;
mod record;
mod work;

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use parti::sources::StaticSource;
use parti::store::LocalStore;
use parti::{Config, Manager, Mode, Preset, StopMode, WorkerId};
use serde_json::json;

use record::Record;
use work::{Resource, Work};

/// How long a scene may take.
const PATIENCE: Duration = Duration::from_secs(8);

/// How long the worker that warms up takes for each partition.
const WARMUP: Duration = Duration::from_millis(1_500);

/// Joins, a warm-up, a crash, a drain and the loss of the leader, told as they happen.
#[derive(Parser)]
struct Arguments {
    /// Use this NATS server, such as nats://127.0.0.1:4222, instead of a store in memory.
    #[arg(long)]
    nats: Option<String>,
    /// Let real processes share a file of this machine, such as file:group.db; needs `--features sqlite`.
    #[arg(long, conflicts_with = "nats")]
    store: Option<String>,
    /// Be one of these processes; for itself.
    #[arg(long, hide = true, requires = "store")]
    worker: bool,
    /// What happens between an old and a new owner; fenced repairs a crash before the lease is over.
    #[arg(long, value_enum, default_value_t = ModeName::Exclusive, conflicts_with = "store")]
    mode: ModeName,
    /// How many partitions the group shares.
    #[arg(long, default_value_t = 24)]
    partitions: u32,
    /// How long to look at each scene, in milliseconds.
    #[arg(long, default_value_t = 700)]
    pause_ms: u64,
    /// End with one line of JSON: what happened, in numbers.
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    if let Some(store) = &arguments.store {
        return in_a_file(&arguments, store).await;
    }
    let mut group = Group::new(&arguments);
    let watching = tokio::spawn(record::show_owners(Arc::clone(&group.record)));
    let played = group.play().await;
    watching.abort();
    let Figures { takeover, warm_gap } = played?;
    let summary = group.record.summary();
    if arguments.json {
        let line = json!({
            "ok": summary.overlaps == 0,
            "workers": group.started,
            "partitions": arguments.partitions,
            "generations": summary.generations,
            "overlaps": summary.overlaps,
            "unowned_max_ms": millis(summary.unowned_max),
            "takeover_ms": millis(takeover),
            "warm_up_ms": millis(WARMUP),
            "warm_up_gap_ms": millis(warm_gap),
            "writes": group.resource.accepted(),
            "writes_fenced_off": group.resource.refused(),
        });
        println!("{line}");
    }
    if summary.overlaps > 0 {
        return Err(format!("{} overlaps of ownership", summary.overlaps).into());
    }
    Ok(())
}

/// How long some things took.
struct Figures {
    /// The take-over after the first crash.
    takeover: Duration,
    /// The longest time a partition had no owner while one joined that had to warm up.
    warm_gap: Duration,
}

/// The life of a group whose workers are processes, or one of them.
#[cfg(all(feature = "sqlite", unix))]
async fn in_a_file(arguments: &Arguments, store: &str) -> Result<(), Box<dyn Error>> {
    let Some(path) = store.strip_prefix("file:") else {
        return Err(format!("--store {store}: a file is such as file:group.db").into());
    };
    let path = std::path::Path::new(path);
    if arguments.worker {
        processes::work(path, arguments.partitions).await
    } else {
        processes::play(arguments, path).await
    }
}

#[cfg(not(all(feature = "sqlite", unix)))]
async fn in_a_file(_: &Arguments, _: &str) -> Result<(), Box<dyn Error>> {
    Err("--store needs Unix, and a build with --features sqlite".into())
}

/// The modes of this program: in both what is written to refuses old tokens.
#[derive(Clone, Copy, ValueEnum)]
enum ModeName {
    Exclusive,
    Fenced,
}

impl From<ModeName> for Mode {
    fn from(name: ModeName) -> Self {
        match name {
            ModeName::Exclusive => Self::Exclusive,
            ModeName::Fenced => Self::Fenced,
        }
    }
}

/// The workers of this process, and what they share.
struct Group {
    name: String,
    nats: Option<String>,
    mode: Mode,
    partitions: u32,
    pause: Duration,
    store: LocalStore,
    resource: Arc<Resource>,
    record: Arc<Record>,
    members: Vec<Member>,
    started: u32,
}

/// A worker that takes part.
struct Member {
    id: WorkerId,
    manager: Manager,
}

impl Group {
    fn new(arguments: &Arguments) -> Self {
        Self {
            // On a server that others use, too, each run is a group of its own.
            name: format!("quickstart-{}", std::process::id()),
            nats: arguments.nats.clone(),
            mode: arguments.mode.into(),
            partitions: arguments.partitions,
            pause: Duration::from_millis(arguments.pause_ms),
            store: LocalStore::new(),
            resource: Arc::default(),
            record: Arc::new(Record::new(arguments.partitions)),
            members: Vec::new(),
            started: 0,
        }
    }

    /// Plays all scenes.
    async fn play(&mut self) -> Result<Figures, Box<dyn Error>> {
        self.scene("three workers start and share the partitions");
        for _ in 0..3 {
            self.join(Duration::ZERO).await?;
        }
        self.settle(3).await?;

        self.scene("a fourth joins: the others end a share of theirs first, then it begins");
        self.join(Duration::ZERO).await?;
        self.settle(4).await?;

        let warm_gap = self.warm_up().await?;

        let follower = self.position(|member| !member.manager.is_leader())?;
        let takeover = self.crash(follower).await?;

        let leaving = self.position(|member| !member.manager.is_leader())?;
        let member = self.members.remove(leaving);
        self.scene(&format!(
            "{} is stopped gracefully: it hands over and leaves",
            member.id
        ));
        let since = Instant::now();
        member.manager.stop(StopMode::Handoff).await?;
        self.record.say(&format!(
            "{} has left after {:?}",
            member.id,
            since.elapsed()
        ));
        self.settle(3).await?;

        self.scene("another joins");
        self.join(Duration::ZERO).await?;
        self.settle(4).await?;

        let leader = self.position(|member| member.manager.is_leader())?;
        self.crash(leader).await?;

        self.scene("all leave");
        for member in self.members.drain(..) {
            member.manager.stop(StopMode::Now).await?;
        }
        Ok(Figures { takeover, warm_gap })
    }

    /// A worker joins that has to load each partition first. Answers how long the one that was without an
    /// owner for longest was so.
    async fn warm_up(&mut self) -> Result<Duration, Box<dyn Error>> {
        self.scene(&format!(
            "a fifth joins and warms up for {WARMUP:?}: the others work on until it is ready"
        ));
        self.record.take_gap();
        let since = Instant::now();
        self.join(WARMUP).await?;
        self.settle(5).await?;
        let gap = self.record.take_gap();
        let took = since.elapsed() - self.pause;
        self.record.say(&format!(
            "its share moved after {took:?}; no partition was without an owner for more than {gap:?}"
        ));
        Ok(gap)
    }

    fn scene(&self, text: &str) {
        self.record.say("");
        self.record.say(&format!("== {text}"));
    }

    async fn join(&mut self, warmup: Duration) -> Result<(), Box<dyn Error>> {
        let config = Config::builder(&self.name)
            .preset(Preset::Fast)
            .mode(self.mode)
            .sinks_compare_tokens(true)
            .expected_workers(3)
            .build()?;
        let source = StaticSource::numbered("p", self.partitions)?;
        let (resource, record) = (Arc::clone(&self.resource), Arc::clone(&self.record));
        let work = Work::new(resource, record, warmup);
        let builder = Manager::builder(config, source, Arc::new(work.clone()));
        let builder = match &self.nats {
            Some(url) => builder.nats(url),
            None => builder.store(self.store.clone()),
        };
        tokio::spawn(record::count_generations(
            builder.subscribe(),
            Arc::clone(&self.record),
        ));
        let manager = builder.start().await?;
        let id = manager.worker_id().ok_or("the ID was lost at once")?;
        work.named(&id);
        self.record.say(&format!("{id} has started"));
        self.started += 1;
        self.members.push(Member { id, manager });
        Ok(())
    }

    /// Ends a worker without any farewell and waits until others own what it owned.
    async fn crash(&mut self, position: usize) -> Result<Duration, Box<dyn Error>> {
        let Member { id, manager } = self.members.remove(position);
        let (role, owned) = (
            if manager.is_leader() {
                "the leader"
            } else {
                "a follower"
            },
            manager.assignment().len(),
        );
        self.scene(&format!("{id}, {role} with {owned} partitions, crashes"));
        let late = manager.assignment().into_iter().next();
        let since = Instant::now();
        drop(manager);
        self.record.crashed(&id);
        self.until(|record| record.unowned() == 0).await?;
        let takeover = since.elapsed();
        self.record.say(&format!(
            "all partitions of {id} are owned again after {takeover:?}"
        ));
        self.settle(self.members.len()).await?;
        if let Some(late) = late
            && let Err(newer) = self.resource.write(late.partition(), late.token())
        {
            let (partition, token) = (late.partition(), late.token());
            self.record.say(&format!(
                "a late write of {id} to {partition} with token {token} is refused: {newer} is known"
            ));
        }
        Ok(takeover)
    }

    fn position(&self, wanted: impl Fn(&Member) -> bool) -> Result<usize, Box<dyn Error>> {
        let position = self.members.iter().position(wanted);
        Ok(position.ok_or("nobody fits the next scene")?)
    }

    /// Waits until every partition is owned and each of `workers` has its share, and looks at it
    /// for a while.
    async fn settle(&self, workers: usize) -> Result<(), Box<dyn Error>> {
        self.until(|record| record.unowned() == 0 && record.owners().len() == workers)
            .await?;
        for (worker, owned) in self.record.owners() {
            let bar = "#".repeat(owned);
            self.record
                .say(&format!("   {worker:<10} {bar:<24} {owned}"));
        }
        tokio::time::sleep(self.pause).await;
        Ok(())
    }

    async fn until(&self, reached: impl Fn(&Record) -> bool) -> Result<(), Box<dyn Error>> {
        let waiting = async {
            while !reached(&self.record) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        waited.map_err(|_| {
            let (unowned, owners) = (self.record.unowned(), self.record.owners());
            format!("not settled within {PATIENCE:?}: {unowned} unowned, owners {owners:?}").into()
        })
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
