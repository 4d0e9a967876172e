//! Folders that are removed again, and short words for requests.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parti::GroupName;
use parti::store::{
    Expect, Revision, Store, StoreError, StoreInfo, StoreOp, StoreReply, Watch, WatchEvent,
    WatchScope, Write,
};
use parti::store::{SqliteOptions, SqliteStore};

/// How long anything may take that has no bound of its own.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A folder of this test's own.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("parti-sqlite-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        Self(folder)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) async fn open(path: &Path, group: &str) -> SqliteStore {
    open_with(path, group, SqliteOptions::default())
        .await
        .expect("opens")
}

pub(crate) async fn open_with(
    path: &Path,
    group: &str,
    options: SqliteOptions,
) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(path, &GroupName::new(group).expect("valid"), options).await
}

pub(crate) async fn put(
    store: &SqliteStore,
    key: &str,
    value: &str,
) -> Result<Revision, StoreError> {
    let write = Write {
        key: key.to_owned(),
        value: Some(value.as_bytes().to_vec()),
        expect: Expect::Any,
    };
    let writes = vec![write];
    let reply = store.execute(StoreOp::Commit { writes }).await?;
    let StoreReply::Committed { revisions } = reply else {
        panic!("a commit was answered by {reply:?}");
    };
    Ok(revisions[0])
}

pub(crate) async fn value(store: &SqliteStore, key: &str) -> Result<Option<String>, StoreError> {
    let key = key.to_owned();
    let reply = store.execute(StoreOp::Get { key }).await?;
    let StoreReply::Entry(entry) = reply else {
        panic!("a read was answered by {reply:?}");
    };
    let value = entry.and_then(|entry| entry.value);
    Ok(value.map(|bytes| String::from_utf8(bytes).expect("text")))
}

pub(crate) async fn info(store: &SqliteStore) -> Result<StoreInfo, StoreError> {
    let reply = store.execute(StoreOp::Info).await?;
    let StoreReply::Info(info) = reply else {
        panic!("a question was answered by {reply:?}");
    };
    Ok(info)
}

/// A watch of everything, past what is there.
pub(crate) async fn watch(store: &SqliteStore) -> Box<dyn Watch> {
    let mut watch = store.watch(WatchScope::All).await.expect("a watch");
    while !matches!(next(watch.as_mut()).await, WatchEvent::CaughtUp { .. }) {}
    watch
}

pub(crate) async fn next(watch: &mut dyn Watch) -> WatchEvent {
    let event = tokio::time::timeout(LIMIT, watch.next()).await;
    event.expect("the watch says something")
}
