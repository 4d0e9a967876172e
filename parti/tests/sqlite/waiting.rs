//! A process that stands still, or is killed, in the middle of a write: what the others meet.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use parti::store::SqliteOptions;
use parti::store::{StoreErrorKind, WatchEvent};
use parti_testing::rig::process::OwnProcess;
use rusqlite::Connection;

use super::support::{Folder, LIMIT, next, open, open_with, put, value, watch};

const FILE: &str = "PARTI_TEST_SQLITE_FILE";

/// Not a test: the process that the tests below stop. It is in the middle of a write when it says so.
#[test]
#[ignore = "a process of the tests below"]
fn holder() {
    let Some(path) = std::env::var_os(FILE) else {
        return;
    };
    let connection = Connection::open(path).expect("opens");
    let sql = "BEGIN IMMEDIATE;
               INSERT OR REPLACE INTO parti_entry VALUES ('orders', 'held', 1000, x'31', 0);";
    connection.execute_batch(sql).expect("it has the lock");
    println!("holding");
    // Until it is killed, or reads the end of its input.
    let _ = std::io::stdin().read_line(&mut String::new());
    connection.execute_batch("ROLLBACK").expect("it ends");
}

/// A process of its own that is in the middle of a write.
fn hold(path: &Path) -> OwnProcess {
    let mut command = Command::new(std::env::current_exe().expect("known"));
    command.args(["--exact", "waiting::holder", "--ignored", "--nocapture"]);
    command
        .env(FILE, path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut process = OwnProcess::spawn(&mut command).expect("starts");
    let out = process.child().stdout.take().expect("piped");
    let mut lines = BufReader::new(out).lines().map_while(Result::ok);
    assert!(
        lines.any(|line| line.contains("holding")),
        "it begins to write"
    );
    process
}

/// A machine that swaps, a debugger, a stop signal: one process that stands still must not freeze those that
/// read, and those that write must learn in time that they did not.
#[tokio::test]
async fn a_process_stopped_inside_a_write_makes_writers_wait_so_long_and_readers_not_at_all() {
    let folder = Folder::new();
    let path = folder.file("store.db");
    let timeout = Duration::from_millis(400);
    let options = SqliteOptions::default().request_timeout(timeout);
    let store = open_with(&path, "orders", options).await.expect("opens");
    put(&store, "a", "1").await.expect("writes");
    let process = hold(&path);
    process.pause().expect("it stands still");

    let begun = Instant::now();
    assert_eq!(
        value(&store, "a").await.expect("reads"),
        Some("1".to_owned())
    );
    let _watch = watch(&store).await;
    let reading = begun.elapsed();
    let begun = Instant::now();
    let error = put(&store, "a", "2").await.expect_err("nobody can write");
    let writing = begun.elapsed();
    assert_eq!(
        error.kind,
        StoreErrorKind::Unavailable,
        "certainly not written: {error}"
    );
    assert!(
        writing >= timeout,
        "it waits as long as it may: {writing:?}"
    );
    eprintln!("read and watched after {reading:?}; told after {writing:?}, may wait {timeout:?}");
    assert!(writing < timeout + LIMIT / 10, "{writing:?}");
    // Those in line are told as soon, not one after the other.
    let begun = Instant::now();
    let many = (0..20).map(|_| put(&store, "a", "2"));
    for outcome in futures_util::future::join_all(many).await {
        outcome.expect_err("nobody can write");
    }
    assert!(
        begun.elapsed() < timeout + LIMIT / 10,
        "{:?}",
        begun.elapsed()
    );

    process.resume().expect("it goes on");
    process.kill().expect("it ends");
    put(&store, "a", "3").await.expect("writes");
    assert_eq!(
        value(&store, "held").await.expect("reads"),
        None,
        "it was not done"
    );
}

/// `kill -9` in the middle of a write leaves neither a lock nor half a write behind.
#[tokio::test]
async fn a_process_killed_inside_a_write_holds_nobody_up() {
    let folder = Folder::new();
    let path = folder.file("store.db");
    let store = open(&path, "orders").await;
    put(&store, "a", "1").await.expect("writes");
    hold(&path).kill().expect("it ends");
    let begun = Instant::now();
    put(&store, "a", "2").await.expect("writes");
    eprintln!("written {:?} after the end of the process", begun.elapsed());
    assert_eq!(value(&store, "held").await.expect("reads"), None);
}

/// What another process writes must be heard of: nothing but a look at the file tells.
#[tokio::test]
async fn a_watch_hears_what_another_handle_writes_soon() {
    let folder = Folder::new();
    let path = folder.file("store.db");
    let (mine, other) = (open(&path, "orders").await, open(&path, "orders").await);
    let mut watch = watch(&mine).await;
    let mut took = Vec::new();
    for number in 0..50 {
        let revision = put(&other, "a", &number.to_string()).await.expect("writes");
        let begun = Instant::now();
        loop {
            match next(watch.as_mut()).await {
                WatchEvent::Entry(entry) if entry.revision == revision => break,
                WatchEvent::Entry(_) => {}
                other @ (WatchEvent::CaughtUp { .. } | WatchEvent::Lost { .. }) => {
                    panic!("{other:?}")
                }
            }
        }
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    eprintln!(
        "heard after {:?} in the middle, {:?} at most",
        took[25], took[49]
    );
    assert!(took[25] < LIMIT / 10, "{took:?}");
}
