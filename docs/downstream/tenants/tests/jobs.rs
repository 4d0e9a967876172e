//! The jobs as production runs them: two processes, tenants that come and go, one process that is killed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use parti::fence::sqlite::rusqlite::Connection;
use parti_testing::rig::process::OwnProcess;

/// Far more than anything here takes.
const LIMIT: Duration = Duration::from_secs(60);

/// A tenant that nobody polls is found by the tenant; one that two poll is billed twice.
#[test]
fn every_tenant_is_polled_by_one_process_whatever_comes_and_goes() {
    let folder = Folder::new();
    let database = Connection::open(folder.0.join("tenants.db")).expect("opens");
    database.busy_timeout(LIMIT).expect("set");
    let table =
        "CREATE TABLE tenants (name TEXT PRIMARY KEY, position INTEGER DEFAULT 0, process INTEGER)";
    database.execute_batch(table).expect("a table");
    for number in 0..6 {
        add(&database, number);
    }
    let first = start(&folder);
    let mut second = start(&folder);
    until("both poll", || processes(&database).len() == 2);

    add(&database, 6);
    until("the new one is polled", || {
        positions(&database)["tenant-6"] > 0
    });
    database
        .execute("DELETE FROM tenants WHERE name = 'tenant-0'", [])
        .expect("deleted");

    let before = positions(&database);
    first.kill().expect("killed");
    until("the other one polls all", || {
        let now = positions(&database);
        let all = now.iter().all(|(name, at)| at > &(before[name] + 2));
        all && processes(&database) == [second.pid()]
    });
    second.terminate().expect("asked to end");
    assert!(second.wait().expect("ends").success());
}

fn add(database: &Connection, number: u32) {
    let name = format!("tenant-{number}");
    let added = database.execute("INSERT INTO tenants (name) VALUES (?1)", [name]);
    assert_eq!(added, Ok(1));
}

fn positions(database: &Connection) -> BTreeMap<String, u64> {
    let mut select = database
        .prepare("SELECT name, position FROM tenants")
        .expect("a query");
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    rows.expect("rows").map(|row| row.expect("a row")).collect()
}

/// The processes that polled last, of any tenant.
fn processes(database: &Connection) -> Vec<u32> {
    let sql = "SELECT DISTINCT process FROM tenants WHERE process IS NOT NULL";
    let mut select = database.prepare(sql).expect("a query");
    let rows = select.query_map([], |row| row.get(0)).expect("rows");
    rows.map(|row| row.expect("a number")).collect()
}

fn start(folder: &Folder) -> OwnProcess {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenants"));
    command.env("TENANTS_DB", folder.0.join("tenants.db"));
    command.env("GROUP_DB", folder.0.join("group.db"));
    command.envs([("PARTI_GROUP", "tenants"), ("PARTI_PRESET", "fast")]);
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
        let folder = std::env::temp_dir().join(format!("parti-tenants-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
