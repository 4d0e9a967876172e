//! The same life with real processes that share a file: `-- --store file:PATH` and `--features sqlite`.
//!
//! It is separate because nothing is shared here but the file: who owns what is read from it, as any program
//! would, and what was written is judged from a table of it.

use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use parti::directory::Directory;
use parti::fence::sqlite::rusqlite::Connection;
use parti::fence::sqlite::{AdmitError, prepare, write_as_owner};
use parti::sources::StaticSource;
use parti::store::{SqliteOptions, SqliteStore};
use parti::{Config, GroupName, Guard, HandlerError, Manager, Preset};
use parti_testing::rig::process::OwnProcess;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::{Arguments, PATIENCE, millis};

const GROUP: &str = "quickstart";

type Outcome<T> = Result<T, Box<dyn Error>>;

/// One worker: it writes for its partitions until it is asked to leave.
pub(crate) async fn work(path: &Path, partitions: u32) -> Outcome<()> {
    let config = Config::builder(GROUP)
        .preset(Preset::Fast)
        .expected_workers(3)
        .build()?;
    let source = StaticSource::numbered("p", partitions)?;
    let file = path.to_owned();
    let worker = Manager::with_tasks(config, source, move |guard| {
        let file = file.clone();
        async move { write(&file, guard).await }
    });
    let worker = worker.sqlite(path).start().await?;
    let mut terminate = signal(SignalKind::terminate())?;
    worker.run_until(terminate.recv()).await?;
    Ok(())
}

async fn write(file: &Path, guard: Guard) -> Result<(), HandlerError> {
    let mut database = Connection::open(file)?;
    while !guard.is_revoking() {
        match write_once(&mut database, &guard) {
            // The next owner has written already; the guard is about to say so, too.
            Ok(()) | Err(AdmitError::Stale(_)) => {}
            Err(error) => return Err(error.into()),
        }
        tokio::select! {
            () = guard.revoking() => {}
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
        }
    }
    Ok(())
}

fn write_once(database: &mut Connection, guard: &Guard) -> Result<(), AdmitError> {
    write_as_owner(database, guard, |change| {
        let row = (guard.partition().encoded(), guard.token().get());
        change.execute("INSERT INTO writes (partition, token) VALUES (?1, ?2)", row)
    })?;
    Ok(())
}

/// Plays the scenes.
pub(crate) async fn play(arguments: &Arguments, path: &Path) -> Outcome<()> {
    let database = Connection::open(path)?;
    database.busy_timeout(PATIENCE)?;
    database.pragma_update(None, "journal_mode", "WAL")?;
    prepare(&database)?;
    database.execute_batch(
        "DROP TABLE IF EXISTS writes;
         CREATE TABLE writes (id INTEGER PRIMARY KEY, partition TEXT, token INTEGER)",
    )?;
    let group = GroupName::new(GROUP)?;
    let store = SqliteStore::open(path, &group, SqliteOptions::default()).await?;
    let mut scenes = Scenes {
        arguments,
        path,
        directory: Directory::open(store),
        workers: Vec::new(),
        begun: Instant::now(),
    };
    scenes.say("three processes start and share the partitions");
    for _ in 0..3 {
        scenes.start()?;
    }
    scenes.settle().await?;
    scenes.say("a fourth joins");
    scenes.start()?;
    scenes.settle().await?;
    let takeover = scenes.kill().await?;
    scenes.say("one is asked to leave (SIGTERM): it hands over first");
    let mut leaving = scenes.workers.remove(0);
    leaving.terminate()?;
    leaving.wait()?;
    scenes.settle().await?;
    scenes.say("all leave");
    for mut worker in scenes.workers.drain(..) {
        worker.terminate()?;
        worker.wait()?;
    }
    let (writes, back) = judged(&database)?;
    scenes.say(&format!(
        "{writes} writes; {back} of an earlier owner after one of a later"
    ));
    if arguments.json {
        let line = json!({
            "ok": back == 0,
            "workers": 4,
            "partitions": arguments.partitions,
            "takeover_ms": millis(takeover),
            "writes": writes,
            "late_writes": back,
        });
        println!("{line}");
    }
    if back > 0 {
        return Err(format!("{back} late writes").into());
    }
    Ok(())
}

/// How many writes there are, and how many came after one with a larger token.
fn judged(database: &Connection) -> Outcome<(u64, u64)> {
    let sql = "SELECT count(*), coalesce(sum(token < before), 0) FROM
        (SELECT token, max(token) OVER (PARTITION BY partition ORDER BY id) AS before FROM writes)";
    Ok(database.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

struct Scenes<'a> {
    arguments: &'a Arguments,
    path: &'a Path,
    directory: Directory,
    workers: Vec<OwnProcess>,
    begun: Instant,
}

impl Scenes<'_> {
    fn say(&self, text: &str) {
        println!("{:6.2} s  {text}", self.begun.elapsed().as_secs_f64());
    }

    fn start(&mut self) -> Outcome<()> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--worker").arg("--store");
        command.arg(format!("file:{}", self.path.display()));
        command.args(["--partitions", &self.arguments.partitions.to_string()]);
        let process = OwnProcess::spawn(command.stdin(Stdio::null()))?;
        self.say(&format!("process {} has started", process.pid()));
        self.workers.push(process);
        Ok(())
    }

    /// Kills a process; how long it took until others owned what it had.
    async fn kill(&mut self) -> Outcome<Duration> {
        let victim = self.workers.remove(0);
        self.say(&format!("process {} is killed (SIGKILL)", victim.pid()));
        let since = Instant::now();
        victim.kill()?;
        self.settle().await?;
        let took = since.elapsed() - self.pause();
        self.say(&format!(
            "the others own its partitions {took:.2?} after its death"
        ));
        Ok(took)
    }

    /// Waits until every process has its share, and looks at it for a while.
    async fn settle(&self) -> Outcome<()> {
        let (partitions, count) = (self.arguments.partitions, self.workers.len());
        let share = partitions as usize / count;
        let settled = |directory: &Directory| {
            let view = directory.view();
            let working = view.workers.iter().filter(|worker| worker.granted > 0);
            let shares: Vec<usize> = working.map(|worker| worker.granted).collect();
            let owned = directory.owners().len();
            owned == partitions as usize
                && shares.len() == count
                && shares.iter().all(|&granted| granted >= share)
        };
        let waited = tokio::time::timeout(PATIENCE, self.directory.wait_for(settled)).await;
        waited.map_err(|_| format!("not settled within {PATIENCE:?}: {:?}", self.directory))?;
        for worker in self.directory.view().workers {
            if worker.granted > 0 {
                let bar = "#".repeat(worker.granted);
                self.say(&format!("   {:<10} {bar}", worker.worker.as_str()));
            }
        }
        tokio::time::sleep(self.pause()).await;
        Ok(())
    }

    const fn pause(&self) -> Duration {
        Duration::from_millis(self.arguments.pause_ms)
    }
}
