//! The jobs as production runs them: a second process comes, loads beside the first and takes over its
//! share; then the first is killed.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use parti::fence::sqlite::rusqlite::Connection;
use parti_testing::rig::process::OwnProcess;

/// Far more than anything here takes.
const LIMIT: Duration = Duration::from_secs(120);

/// A process that loads for half a minute after it was given a tenant leaves it without polls for so long, at
/// every rolling update.
#[test]
fn the_owner_polls_on_while_the_next_one_loads() {
    let folder = Folder::new();
    let database = Connection::open(folder.0.join("tenants.db")).expect("opens");
    database.busy_timeout(LIMIT).expect("set");
    let table =
        "CREATE TABLE tenants (name TEXT PRIMARY KEY, position INTEGER DEFAULT 0, process INTEGER,
                 behind INTEGER DEFAULT 0)";
    database.execute_batch(table).expect("a table");
    for number in 0..6 {
        let name = format!("tenant-{number}");
        let added = database.execute("INSERT INTO tenants (name) VALUES (?1)", [name]);
        assert_eq!(added, Ok(1));
    }
    let first = start(&folder);
    until("the first polls all", || {
        polled_by(&database, first.pid()).len() == 6
    });

    let mut second = start(&folder);
    until("the second has its share", || {
        polled_by(&database, second.pid()).len() == 3
    });
    for (name, behind) in polled_by(&database, second.pid()) {
        // So often its owner had polled since the next one had begun to load.
        assert!(behind > 2, "{name}: {behind}");
    }

    first.kill().expect("killed");
    until("the second polls all", || {
        polled_by(&database, second.pid()).len() == 6
    });
    second.terminate().expect("asked to end");
    assert!(second.wait().expect("ends").success());
}

/// The tenants that a process polled last, and by how much it was behind at its first poll.
fn polled_by(database: &Connection, process: u32) -> Vec<(String, u64)> {
    let sql = "SELECT name, behind FROM tenants WHERE process = ?1";
    let mut select = database.prepare(sql).expect("a query");
    let rows = select.query_map([process], |row| Ok((row.get(0)?, row.get(1)?)));
    rows.expect("rows").map(|row| row.expect("a row")).collect()
}

fn start(folder: &Folder) -> OwnProcess {
    let mut command = Command::new(env!("CARGO_BIN_EXE_warm"));
    command.env("TENANTS_DB", folder.0.join("tenants.db"));
    command.env("GROUP_DB", folder.0.join("group.db"));
    // A lease that no busy machine ends: what is lost comes to the next owner at once, without a warm-up.
    command.envs([
        ("PARTI_GROUP", "tenants"),
        ("PARTI_PRESET", "fast"),
        ("PARTI_LEASE", "10s"),
    ]);
    OwnProcess::spawn(command.stdout(Stdio::null())).expect("starts")
}

fn until(what: &str, reached: impl Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !reached() {
        assert!(Instant::now() < deadline, "not within {LIMIT:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A folder that is removed again.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("parti-warm-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
