//! Draws pictures of the README and of docs/book/CONCEPTS.md: who owns what while something happens.
//!
//! `cargo run --example scenes`, or with the folder to draw into. What is drawn is what real managers did in
//! virtual time, so a picture cannot be wrong about them.

use std::path::PathBuf;
use std::time::Duration;

use parti::clock::Clock;
use parti::sources::StaticSource;
use parti::{Config, Manager, StopMode};
use parti_testing::kit::memory_store::MemoryStore;
use tokio::time::Instant;

mod drawing;

const WORKERS: usize = 3;
const PARTITIONS: usize = 6;
/// How often it is looked at who owns what.
const LOOK: Duration = Duration::from_millis(20);
/// Far more than any of this takes.
const PATIENCE: Duration = Duration::from_secs(120);

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Outcome<()> {
    let folder = std::env::args().nth(1).map(PathBuf::from);
    let folder = folder
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/pictures"));
    let scenes = [
        ("crash.svg", crash(false).await?),
        ("leader.svg", crash(true).await?),
        ("hold.svg", restart().await?),
        ("outage.svg", outage().await?),
    ];
    for (name, scene) in scenes {
        let path = folder.join(name);
        std::fs::write(&path, drawing::svg(&scene))?;
        println!("{}: {}", path.display(), scene.title);
    }
    Ok(())
}

/// Who had a valid guard at one moment, and with which token; and the newest term and version.
struct Look {
    at: Duration,
    owners: Vec<Option<(usize, u64)>>,
    generation: (u64, u64),
}

struct Scene {
    title: String,
    looks: Vec<Look>,
    /// What happened, and when.
    marks: Vec<(Duration, String)>,
}

/// A group, and what was seen of it.
struct Group {
    store: MemoryStore,
    config: Config,
    workers: Vec<Option<Manager>>,
    begun: Instant,
    scene: Scene,
}

impl Group {
    async fn start() -> Outcome<Self> {
        let config = Config::builder("pictures").expected_workers(u32::try_from(WORKERS)?);
        let config = config.build()?;
        let mut group = Self {
            store: MemoryStore::new(),
            config,
            workers: Vec::new(),
            begun: Instant::now(),
            scene: Scene {
                title: String::new(),
                looks: Vec::new(),
                marks: Vec::new(),
            },
        };
        for number in 0..WORKERS {
            let worker = group.worker(number).await?;
            group.workers.push(Some(worker));
        }
        group.until(|look| shares(look) == [2; WORKERS]).await?;
        // What follows is the picture.
        group.scene.looks.clear();
        group.begun = Instant::now();
        group.pass(Duration::from_secs(3)).await;
        Ok(group)
    }

    async fn worker(&self, number: usize) -> Outcome<Manager> {
        let source = StaticSource::numbered("p", u32::try_from(PARTITIONS)?)?;
        let tasks = Manager::with_tasks(self.config.clone(), source, |guard| async move {
            guard.revoking().await;
            Ok(())
        });
        let tasks = tasks.store(self.store.clone()).clock(Clock::tokio());
        Ok(tasks.deterministic(number as u64).start().await?)
    }

    /// Looks once, a moment later.
    async fn look(&mut self) {
        tokio::time::sleep(LOOK).await;
        let (mut owners, mut generation) = (vec![None; PARTITIONS], (0, 0));
        for (number, worker) in self.workers.iter().enumerate() {
            let Some(worker) = worker else { continue };
            let status = worker.status();
            generation = generation.max((status.term.get(), status.version.get()));
            for guard in worker.assignment().iter().filter(|guard| guard.is_valid()) {
                let index = guard
                    .partition()
                    .to_string()
                    .trim_start_matches("p/")
                    .parse();
                if let Some(owner) = index.ok().and_then(|index: usize| owners.get_mut(index)) {
                    *owner = Some((number, guard.token().get()));
                }
            }
        }
        let at = self.begun.elapsed();
        self.scene.looks.push(Look {
            at,
            owners,
            generation,
        });
    }

    async fn pass(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.look().await;
        }
    }

    /// Looks until it is so, and says how long that took.
    async fn until(&mut self, is_so: impl Fn(&Look) -> bool) -> Outcome<Duration> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            self.look().await;
            if self.scene.looks.last().is_some_and(&is_so) {
                return Ok(begun.elapsed());
            }
        }
        Err("what was to be drawn did not happen".into())
    }

    fn mark(&mut self, what: &str) {
        self.scene
            .marks
            .push((self.begun.elapsed(), what.to_owned()));
    }

    fn seconds_of_lease(&self) -> f64 {
        self.config.lease().as_secs_f64()
    }

    async fn end(mut self, title: String) -> Outcome<Scene> {
        self.pass(Duration::from_secs(2)).await;
        self.scene.title = title;
        for worker in self.workers.into_iter().flatten() {
            worker.stop(StopMode::Now).await?;
        }
        Ok(self.scene)
    }
}

/// How many partitions each worker owns.
fn shares(look: &Look) -> [usize; WORKERS] {
    let of = |worker| {
        move |owner: &&Option<(usize, u64)>| owner.is_some_and(|(owner, _)| owner == worker)
    };
    std::array::from_fn(|worker| look.owners.iter().filter(of(worker)).count())
}

fn are_all_owned(look: &Look) -> bool {
    look.owners.iter().all(Option::is_some)
}

/// One of them crashes, the leader or another.
async fn crash(leads: bool) -> Outcome<Scene> {
    let mut group = Group::start().await?;
    let is_it =
        |worker: &Option<Manager>| worker.as_ref().is_some_and(|one| one.is_leader() == leads);
    let victim = group
        .workers
        .iter()
        .rposition(is_it)
        .ok_or("no such worker")?;
    group.mark(&format!("worker {victim} crashes"));
    // Dropping a manager releases nothing.
    drop(group.workers[victim].take());
    let taken = group.until(are_all_owned).await?;
    group.mark("taken over");
    let lease = group.seconds_of_lease();
    let who = if leads { "The leader" } else { "A worker" };
    let taken = taken.as_secs_f64();
    let title = format!(
        "{who} crashes: its partitions are with others after {taken:.1} s; the lease is {lease:.0} s"
    );
    group.end(title).await
}

/// One of them is replaced, and its slot is held for the next process.
async fn restart() -> Outcome<Scene> {
    let mut group = Group::start().await?;
    let victim = WORKERS - 1;
    let old = group.workers[victim].take().ok_or("it runs")?;
    group.mark(&format!("worker {victim} stops, its slot is held"));
    let hold = Duration::from_secs(10);
    old.stop(StopMode::Restart { hold }).await?;
    group.pass(Duration::from_secs(3)).await;
    group.mark("its replacement starts");
    group.workers[victim] = Some(group.worker(WORKERS).await?);
    let back = group.until(are_all_owned).await?.as_secs_f64();
    let title = format!(
        "A restart with a held slot: back after {back:.1} s of its start, nothing else has moved"
    );
    group.end(title).await
}

/// Nobody reaches the store: for less than a lease, then for longer.
async fn outage() -> Outcome<Scene> {
    let mut group = Group::start().await?;
    let short = group.config.lease() / 3;
    group.mark("the store is gone");
    group.store.set_unavailable(true);
    group.pass(short).await;
    group.store.set_unavailable(false);
    group.mark("back");
    group.pass(Duration::from_secs(4)).await;
    group.mark("gone again");
    group.store.set_unavailable(true);
    let stopped = group
        .until(|look| shares(look) == [0; WORKERS])
        .await?
        .as_secs_f64();
    group.pass(Duration::from_secs(2)).await;
    group.store.set_unavailable(false);
    group.mark("back");
    group.until(are_all_owned).await?;
    let (short, lease) = (short.as_secs_f64(), group.seconds_of_lease());
    let title = format!(
        "A store gone for {short:.1} s stops nothing; gone for longer, all stop by themselves \
         after {stopped:.1} s, before the lease of {lease:.0} s"
    );
    group.end(title).await
}
