//! Three worker processes on one machine, without a server: they share a file, count in a table of the same
//! file, and one of them is killed.
//!
//! `cargo run --features sqlite --example one_machine`, or `-- orders.db` to keep the file.
//!
//! Each write goes through a fence in its transaction, so that a process that stood still cannot overwrite
//! what the next owner of its partition has written.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use parti::fence::sqlite::rusqlite::{Connection, params};
use parti::fence::sqlite::{AdmitError, admit, prepare};
use parti::sources::StaticSource;
use parti::{Config, Guard, HandlerError, Manager, Preset};

const PARTITIONS: u32 = 12;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next(), arguments.next()) {
        (Some(word), Some(path)) if word == "worker" => work(Path::new(&path)),
        (Some(path), None) => watch(Path::new(&path)),
        _ => {
            let folder = std::env::temp_dir().join(format!("one-machine-{}", std::process::id()));
            std::fs::create_dir_all(&folder)?;
            let watched = watch(&folder.join("group.db"));
            std::fs::remove_dir_all(&folder)?;
            watched
        }
    }
}

/// A worker process: it takes part until its input ends.
#[tokio::main]
async fn work(path: &Path) -> Outcome {
    let config = Config::builder("counting")
        .preset(Preset::Fast)
        .expected_workers(3)
        .build()?;
    let source = StaticSource::numbered("p", PARTITIONS)?;
    let file = path.to_owned();
    let worker = Manager::with_tasks(config, source, move |guard| count(file.clone(), guard));
    let worker = worker.sqlite(path).start().await?;
    let input_ends = tokio::task::spawn_blocking(|| std::io::read_to_string(std::io::stdin()));
    worker.run_until(input_ends).await?;
    Ok(())
}

/// Counts for one partition until it is taken away.
async fn count(path: PathBuf, guard: Guard) -> Result<(), HandlerError> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(PATIENCE)?;
    while !guard.is_revoking() {
        match count_one(&mut connection, &guard) {
            Ok(()) => {}
            // Somebody else owns it; the guard is about to say so, too.
            Err(AdmitError::Stale(stale)) => return Err(stale.into()),
            Err(error) => return Err(error.into()),
        }
        tokio::select! {
            () = guard.revoking() => {}
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
    }
    Ok(())
}

fn count_one(connection: &mut Connection, guard: &Guard) -> Result<(), AdmitError> {
    let partition = guard.partition().to_string();
    let change = connection.transaction()?;
    admit(&change, &partition, guard.token())?;
    let sql = "INSERT INTO counts (partition, count, process) VALUES (?1, 1, ?2)
               ON CONFLICT (partition) DO UPDATE SET count = count + 1, process = excluded.process";
    change.execute(sql, params![partition, std::process::id()])?;
    change.commit()?;
    Ok(())
}

/// Starts the workers, kills one, and tells what the table shows.
fn watch(path: &Path) -> Outcome {
    let connection = Connection::open(path)?;
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    prepare(&connection)?;
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS counts (partition TEXT PRIMARY KEY, count INTEGER, process INTEGER)",
    )?;
    let mut workers = Vec::new();
    for _ in 0..3 {
        workers.push(start(path)?);
    }
    until(|| Ok(owners(&connection)? == (PARTITIONS, 3)))?;
    println!("three processes count for {PARTITIONS} partitions");
    let victim = workers.swap_remove(0);
    let (id, killed) = (victim.0.id(), Instant::now());
    drop(victim);
    println!("process {id} is killed");
    until(|| {
        let sql = "SELECT count(*) FROM counts WHERE process = ?1";
        let left: u32 = connection.query_row(sql, [id], |row| row.get(0))?;
        Ok(left == 0)
    })?;
    println!(
        "the others count for its partitions after {:?}",
        killed.elapsed()
    );
    for mut worker in workers {
        // The end of its input is its signal to leave.
        drop(worker.0.stdin.take());
        worker.0.wait()?;
    }
    println!("the others have left");
    Ok(())
}

/// A worker process. Dropping it kills it.
struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(path: &Path) -> std::io::Result<Worker> {
    let mut command = Command::new(std::env::current_exe()?);
    let command = command.arg("worker").arg(path).stdin(Stdio::piped());
    command.spawn().map(Worker)
}

/// How many partitions are counted for, and by how many processes.
fn owners(connection: &Connection) -> Result<(u32, u32), Box<dyn Error>> {
    let sql = "SELECT count(*), count(DISTINCT process) FROM counts";
    Ok(connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

fn until(mut reached: impl FnMut() -> Result<bool, Box<dyn Error>>) -> Outcome {
    let deadline = Instant::now() + PATIENCE;
    while !reached()? {
        if Instant::now() > deadline {
            return Err(format!("not within {PATIENCE:?}").into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
