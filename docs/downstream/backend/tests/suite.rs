//! What a backend of one's own has to show: the suite, a history of many clients, and a group on it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use backend::Journal;
use parti::sources::StaticSource;
use parti::store::{Store, StoreErrorKind, StoreOp};
use parti::{Config, Manager, Preset, StopMode};
use parti_testing::kit::conformance;
use parti_testing::kit::history::{Promise, check};
use parti_testing::kit::workload::{WorkloadOptions, run};

/// A backend that is held to less than the others is where groups break.
#[tokio::test]
async fn the_journal_meets_every_requirement_of_a_backend() {
    let (folder, count) = (Folder::new(), AtomicU32::new(0));
    let report = conformance::run(async || {
        let number = count.fetch_add(1, Ordering::Relaxed);
        Journal::open(folder.0.join(format!("case-{number}")))
            .await
            .expect("opens")
    })
    .await;
    assert!(report.is_ok(), "{report}");
}

/// Handles that share nothing but the file, as processes do, must see one order of all writes.
#[tokio::test]
async fn what_many_handles_of_one_file_see_is_one_history() {
    let folder = Folder::new();
    let mut clients: Vec<Arc<dyn Store>> = Vec::new();
    for _ in 0..4 {
        clients.push(Arc::new(
            Journal::open(folder.0.join("history"))
                .await
                .expect("opens"),
        ));
    }
    let options = WorkloadOptions {
        duration: Duration::from_secs(1),
        ..WorkloadOptions::default()
    };
    let history = run(clients, options, async {}).await.expect("it ends");
    assert_eq!(check(&history, Promise::default()), []);
}

/// A process that dies in the middle of a line must not keep the others from writing theirs; and a file that
/// is gone must be told from an empty one.
#[tokio::test]
async fn half_a_line_is_written_over_and_a_file_that_is_gone_is_missing() {
    let folder = Folder::new();
    let path = folder.0.join("torn");
    let journal = Journal::open(&path).await.expect("opens");
    let text = std::fs::read_to_string(&path).expect("a file");
    std::fs::write(&path, text + "[[\"half").expect("written");
    let group = Config::builder("g")
        .preset(Preset::Fast)
        .expected_workers(1)
        .build()
        .expect("valid");
    let source = StaticSource::numbered("p", 3).expect("valid");
    let worker = Manager::with_tasks(group, source, |guard| async move {
        guard.revoking().await;
        Ok(())
    });
    let worker = worker.store(journal.clone()).start().await.expect("starts");
    worker.wait_assigned().await.expect("assigned");
    worker.stop(StopMode::Now).await.expect("stops");
    std::fs::remove_file(&path).expect("removed");
    let error = journal.execute(StoreOp::Info).await.expect_err("no file");
    assert_eq!(error.kind, StoreErrorKind::Missing);
}

/// The suite says what a store does; whether a group lives on it is seen with a group.
#[tokio::test]
async fn a_group_on_the_journal_gives_what_a_crash_left_to_the_one_that_lives() {
    let folder = Folder::new();
    let mut workers = Vec::new();
    for _ in 0..2 {
        let store = Journal::open(folder.0.join("group")).await.expect("opens");
        let config = Config::builder("g")
            .preset(Preset::Fast)
            .expected_workers(2);
        let source = StaticSource::numbered("p", 6).expect("valid");
        let worker =
            Manager::with_tasks(config.build().expect("valid"), source, |guard| async move {
                guard.revoking().await;
                Ok(())
            });
        workers.push(worker.store(store).start().await.expect("starts"));
    }
    let survivor = workers.pop().expect("two");
    until(|| survivor.assignment().len() == 3).await;
    // Dropping a manager is a crash: nothing is handed over.
    drop(workers);
    until(|| survivor.assignment().len() == 6).await;
    survivor.stop(StopMode::Handoff).await.expect("stops");
}

async fn until(reached: impl Fn() -> bool) {
    let waiting = async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .expect("within a minute");
}

/// A folder that is removed again.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("parti-journal-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
