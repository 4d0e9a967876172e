//! The suite of the port, the outages that a file can have, and many handles of one file.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parti::async_trait;
use parti::store::{SqliteOptions, SqliteStore};
use parti::store::{Store, StoreOp};
use parti_testing::kit::conformance::{self, Rig, Unable};
use parti_testing::kit::history::{Batches, Promise, Reads, check};
use parti_testing::kit::workload::{WorkloadOptions, run};
use rusqlite::Connection;

use super::support::{Folder, open, open_with};

/// A backend that is held to less than the others is where groups break.
#[tokio::test]
async fn the_store_in_a_file_meets_every_requirement_of_a_backend() {
    let folder = Folder::new();
    let (path, count) = (folder.file("store.db"), AtomicU32::new(0));
    // All cases in one file, so that one would meet what another leaves behind.
    let report = conformance::run(async || {
        let group = format!("case-{}", count.fetch_add(1, Ordering::Relaxed));
        open(&path, &group).await
    })
    .await;
    assert!(report.is_ok(), "{report}");
    assert_eq!(report.passed.len(), conformance::cases().count());
}

/// A file, and another process that holds its lock or deletes it.
struct OnFile {
    path: PathBuf,
    store: SqliteStore,
    holder: Option<Connection>,
    _folder: Folder,
}

#[async_trait]
impl Rig for OnFile {
    fn store(&self) -> &dyn Store {
        &self.store
    }

    async fn freeze(&mut self) -> Result<(), Unable> {
        let failed = |error: rusqlite::Error| Unable::Failed(error.to_string());
        let holder = Connection::open(&self.path).map_err(failed)?;
        holder.execute_batch("BEGIN IMMEDIATE").map_err(failed)?;
        self.holder = Some(holder);
        Ok(())
    }

    async fn thaw(&mut self) -> Result<(), Unable> {
        self.holder = None;
        Ok(())
    }

    async fn recreate(&mut self) -> Result<(), Unable> {
        std::fs::remove_file(&self.path).map_err(|error| Unable::Failed(error.to_string()))?;
        let created = self.store.execute(StoreOp::Create).await;
        created
            .map(drop)
            .map_err(|error| Unable::Failed(error.to_string()))
    }
}

/// A group acts on what the store says in an outage.
#[tokio::test]
async fn the_store_in_a_file_tells_the_truth_in_outages() {
    let report = conformance::run_outages(async || {
        let folder = Folder::new();
        let path = folder.file("store.db");
        let options = SqliteOptions::default().request_timeout(Duration::from_millis(200));
        OnFile {
            store: open_with(&path, "outages", options).await.expect("opens"),
            path,
            holder: None,
            _folder: folder,
        }
    })
    .await;
    assert!(report.is_ok(), "{report}");
    // A file has no server that could be stopped, and no replicas.
    assert_eq!(report.passed.len(), 3, "{report:?}");
}

/// Handles that share nothing but the file, as processes do, must see one order of all writes.
#[tokio::test]
async fn what_many_handles_of_one_file_see_is_one_history() {
    let folder = Folder::new();
    let path = folder.file("store.db");
    let mut clients: Vec<Arc<dyn Store>> = Vec::new();
    for _ in 0..4 {
        clients.push(Arc::new(open(&path, "history").await));
    }
    let options = WorkloadOptions {
        duration: Duration::from_secs(2),
        ..WorkloadOptions::default()
    };
    let history = run(clients, options, async {}).await.expect("it ends");
    let promise = Promise {
        reads: Reads::Fresh,
        batches: Batches::Consecutive,
    };
    assert_eq!(check(&history, promise), []);
}
