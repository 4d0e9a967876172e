//! The same with real groups: processes that share partitions and a table in one file, stopped until others
//! have taken over, and going on in the middle of their work.

use std::env::var;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use parti::fence::sqlite::{AdmitError, admit, prepare, rusqlite};
use parti::sources::StaticSource;
use parti::{Config, Guard, HandlerError, Manager, Preset};
use parti_testing::rig::process::OwnProcess;
use rusqlite::{Connection, params};

use super::LIMIT;

const FILE: &str = "PARTI_TEST_FENCE_FILE";
const PARTITIONS: u32 = 12;
const WORKERS: usize = 3;
/// How long the lock for writing is asked for; those that hold it need a fraction of a millisecond.
const FREE: Duration = Duration::from_secs(2);
/// How often a process is stopped.
const STOPS: usize = 4;

/// Not a test: a worker of the group, until it is killed.
#[test]
#[ignore = "a process of the test below"]
fn process() {
    let Ok(path) = var(FILE) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let config = Config::builder("fenced")
            .preset(Preset::Fast)
            .expected_workers(u32::try_from(WORKERS).expect("few"))
            .build()
            .expect("coherent");
        let source = StaticSource::numbered("p", PARTITIONS).expect("valid");
        let file = PathBuf::from(&path);
        let worker = Manager::with_tasks(config, source, move |guard| write(file.clone(), guard));
        let worker = worker.sqlite(&path).start().await.expect("starts");
        worker.closed().await;
    });
}

/// Writes for one partition. It asks its guard as late as it can, which is not late enough by itself.
async fn write(path: PathBuf, guard: Guard) -> Result<(), HandlerError> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(LIMIT)?;
    while guard.is_valid() && !guard.is_revoking() {
        match write_one(&mut connection, &guard) {
            Ok(()) => {}
            Err(AdmitError::Stale(_)) => {
                println!("stale");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

fn write_one(connection: &mut Connection, guard: &Guard) -> Result<(), AdmitError> {
    let partition = guard.partition().to_string();
    let token = i64::try_from(guard.token().get()).expect("small");
    let change = connection.transaction()?;
    admit(&change, &partition, guard.token())?;
    let sql = "INSERT INTO written (partition, token, process) VALUES (?1, ?2, ?3)";
    change.execute(sql, params![partition, token, std::process::id()])?;
    change.commit()?;
    Ok(())
}

struct Group {
    connection: Connection,
    workers: Vec<OwnProcess>,
}

impl Group {
    fn start(path: &Path) -> Self {
        let connection = Connection::open(path).expect("opens");
        connection.busy_timeout(FREE).expect("set");
        prepare(&connection).expect("written");
        let sql = "PRAGMA journal_mode = WAL;
                   CREATE TABLE written
                       (number INTEGER PRIMARY KEY, partition TEXT, token INTEGER, process INTEGER)";
        connection.execute_batch(sql).expect("written");
        let workers = (0..WORKERS).map(|_| worker(path)).collect();
        Self {
            connection,
            workers,
        }
    }

    /// Lets a process stand still, but not inside a write: that keeps all others from writing, too.
    fn stop(&self, victim: &OwnProcess) {
        let deadline = Instant::now() + LIMIT;
        loop {
            victim.pause().expect("it stands still");
            if self
                .connection
                .execute_batch("BEGIN IMMEDIATE; ROLLBACK")
                .is_ok()
            {
                return;
            }
            assert!(Instant::now() < deadline, "it is inside a write each time");
            victim.resume().expect("it goes on");
            // With another part of its work; all may have lost their leases meanwhile.
            self.written_by(self.last(), victim.pid());
        }
    }

    /// The number of the last write.
    fn last(&self) -> i64 {
        let sql = "SELECT coalesce(max(number), 0) FROM written";
        self.connection
            .query_row(sql, [], |row| row.get(0))
            .expect("read")
    }

    /// Waits until every partition was written after that write by some process that is not this one.
    fn all_written(&self, after: i64, but: u32) {
        let sql =
            "SELECT count(DISTINCT partition) FROM written WHERE number > ?1 AND process != ?2";
        self.until(sql, params![after, but], PARTITIONS);
    }

    /// Waits until a process has written after that write.
    fn written_by(&self, after: i64, process: u32) {
        let sql = "SELECT count(*) > 0 FROM written WHERE number > ?1 AND process = ?2";
        self.until(sql, params![after, process], 1);
    }

    fn until(&self, sql: &str, values: &[&dyn rusqlite::ToSql], wanted: u32) {
        let deadline = Instant::now() + LIMIT;
        loop {
            let found: u32 = self
                .connection
                .query_row(sql, values, |row| row.get(0))
                .expect("read");
            if found == wanted {
                return;
            }
            assert!(Instant::now() < deadline, "{found} of {wanted}: {sql}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

fn worker(path: &Path) -> OwnProcess {
    let mut command = Command::new(std::env::current_exe().expect("known"));
    command.args(["--exact", "group::process", "--ignored", "--nocapture"]);
    command.env(FILE, path).stdout(Stdio::piped());
    let mut process = OwnProcess::spawn(&mut command).expect("starts");
    let out = process.child().stdout.take().expect("piped");
    let pid = process.pid();
    thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            if line == "stale" {
                eprintln!("a write of {pid} was refused");
            }
        }
    });
    process
}

/// What all of this is for: a group of processes, one of which stands still past the end of its lease.
#[test]
fn processes_that_stand_still_past_their_lease_write_nothing_into_the_work_of_others() {
    let folder = std::env::temp_dir().join(format!("parti-fenced-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let group = Group::start(&folder.join("group.db"));
    group.all_written(0, 0);
    for stop in 0..STOPS {
        let victim = &group.workers[stop % WORKERS];
        group.written_by(group.last(), victim.pid());
        group.stop(victim);
        let paused = group.last();
        group.all_written(paused, victim.pid());
        victim.resume().expect("it goes on");
        // By partitions that it was given again: with a token of their own.
        group.written_by(group.last(), victim.pid());
    }
    for worker in &group.workers {
        worker.kill().expect("it ends");
    }
    let sql = "SELECT count(*) FROM written AS late WHERE EXISTS (SELECT 1 FROM written AS early
                   WHERE early.partition = late.partition AND early.number < late.number
                   AND early.token > late.token)";
    let stale: u32 = group
        .connection
        .query_row(sql, [], |row| row.get(0))
        .expect("read");
    eprintln!("{} writes, {stale} of them stale", group.last());
    assert_eq!(stale, 0);
    std::fs::remove_dir_all(&folder).expect("removed");
}
