//! The same program beside a group of one machine, whose records are in a file.

use std::path::PathBuf;

use parti::sources::StaticSource;
use parti::{Manager, StopMode};

use super::recorder::{Recorder, until};
use super::{PATIENCE, config, fails, json, parti, text};

/// A folder that is removed again.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Who runs a group on one machine has no `nats` to look at it with, and looks at the file instead, in which
/// nothing says what it means.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_in_a_file_is_looked_at_and_given_orders_as_one_on_a_server() {
    let folder = std::env::temp_dir().join(format!("parti-command-line-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let folder = Folder(folder);
    let (file, none) = (folder.0.join("group.db"), folder.0.join("none.db"));
    let url = format!("file:{}", file.display());
    let handler = Recorder::new("all");
    let mut workers = Vec::new();
    for _ in 0..2 {
        let source = StaticSource::numbered("p", 12).expect("valid");
        let builder = Manager::builder(config("orders", 2), source, handler.clone());
        workers.push(builder.sqlite(&file).start().await.expect("starts"));
    }
    until("they share", PATIENCE, || {
        workers.iter().all(|worker| worker.assignment().len() == 6)
    })
    .await;

    assert_eq!(json(&url, &["groups"])[0]["partitions"], 12);
    assert_eq!(json(&url, &["status"])["partitions"]["owned"], 12);
    assert_eq!(json(&url, &["workers"]).as_array().map(Vec::len), Some(2));
    let shown = text(&parti(&url, &["explain", "p/3"]).stdout);
    assert!(shown.contains("p/3"), "{shown}");
    fails(&url, &["status", "order"], 3, &["orders"]);
    let drain = ["drain", "worker-1", "--yes", "--reason", "a test"];
    assert!(parti(&url, &drain).status.success());
    until("it is drained", PATIENCE, || {
        let mut shares: Vec<_> = workers.iter().map(|it| it.assignment().len()).collect();
        shares.sort_unstable();
        shares == [0, 12]
    })
    .await;

    // A name that was mistyped must not become a file that looks like an empty group.
    let url = format!("file:{}", none.display());
    fails(&url, &["status", "orders"], 3, &["none.db"]);
    fails(&url, &["groups"], 3, &["none.db"]);
    assert!(!none.exists());
    for worker in workers {
        worker.stop(StopMode::Now).await.expect("stops");
    }
}
