//! What people do to a file.

use parti::store::SqliteOptions;
use parti::store::{Store as _, StoreErrorKind, StoreOp, WatchEvent};
use rusqlite::Connection;

use super::support::{Folder, info, next, open, open_with, put, value, watch};

/// Workers that went on in a file that is deleted would share their partitions with those of the next.
#[tokio::test]
async fn a_file_that_was_deleted_is_missing_until_it_is_created_and_then_another_history() {
    let folder = Folder::new();
    let path = folder.file("store.db");
    let (first, second) = (open(&path, "orders").await, open(&path, "orders").await);
    for number in 0..10 {
        put(&first, "a", &number.to_string()).await.expect("writes");
    }
    let mut watch = watch(&second).await;
    let before = info(&second).await.expect("there").created;
    // The log stays behind, with what was never copied from it.
    std::fs::remove_file(&path).expect("deleted");
    for store in [&first, &second] {
        let error = put(store, "b", "1").await.expect_err("it is gone");
        assert_eq!(error.kind, StoreErrorKind::Missing, "{error}");
        let error = value(store, "a").await.expect_err("it is gone");
        assert_eq!(error.kind, StoreErrorKind::Missing, "{error}");
    }
    assert!(matches!(
        next(watch.as_mut()).await,
        WatchEvent::Lost { .. }
    ));
    assert!(matches!(
        next(watch.as_mut()).await,
        WatchEvent::Lost { .. }
    ));

    first.execute(StoreOp::Create).await.expect("created again");
    for store in [&first, &second] {
        let now = info(store).await.expect("there");
        assert_ne!(now.created, before);
        assert_eq!(value(store, "a").await.expect("answers"), None);
    }
    let revision = put(&second, "b", "1").await.expect("writes");
    assert_eq!(revision.get(), 1, "revisions begin again");
    assert_eq!(
        value(&first, "b").await.expect("reads"),
        Some("1".to_owned())
    );
}

/// Many processes start at once on a machine that was just set up.
#[tokio::test]
async fn of_many_that_create_a_file_at_once_all_have_the_same_history() {
    let folder = Folder::new();
    let path = folder.file("store.db");
    let opening = (0..8).map(|_| open(&path, "orders"));
    let stores = futures_util::future::join_all(opening).await;
    let mut created = Vec::new();
    for store in &stores {
        created.push(info(store).await.expect("there").created);
    }
    created.dedup();
    assert_eq!(created.len(), 1);
}

/// A copy from yesterday, put in place under a running group, takes acknowledged writes back.
#[tokio::test]
async fn a_watch_of_a_file_that_was_rolled_back_is_lost() {
    let folder = Folder::new();
    let path = folder.file("store.db");
    let store = open(&path, "orders").await;
    put(&store, "a", "1").await.expect("writes");
    let copy = folder.file("copy.db");
    let connection = Connection::open(&path).expect("opens");
    let target = copy.to_str().expect("text");
    connection
        .execute("VACUUM INTO ?1", [target])
        .expect("copied");
    put(&store, "a", "2").await.expect("writes");
    let mut watch = watch(&store).await;
    // Without its log: SQLite would put that of the file before on top of it.
    for rest in ["store.db-wal", "store.db-shm"] {
        std::fs::remove_file(folder.file(rest)).expect("removed");
    }
    std::fs::rename(&copy, &path).expect("put in place");
    assert!(matches!(
        next(watch.as_mut()).await,
        WatchEvent::Lost { .. }
    ));
}

/// Groups that share a file must not meet, nor disturb what the application keeps there.
#[tokio::test]
async fn groups_and_tables_of_the_application_live_in_one_file() {
    let folder = Folder::new();
    let path = folder.file("app.db");
    let application = Connection::open(&path).expect("opens");
    application
        .execute_batch("CREATE TABLE orders (id INTEGER); INSERT INTO orders VALUES (7)")
        .expect("written");
    let (orders, mails) = (open(&path, "orders").await, open(&path, "mails").await);
    put(&orders, "a", "1").await.expect("writes");
    assert_eq!(value(&mails, "a").await.expect("reads"), None);
    let revision = put(&mails, "a", "2").await.expect("writes");
    assert_eq!(revision.get(), 1);
    let id: i64 = application
        .query_row("SELECT id FROM orders", [], |row| row.get(0))
        .expect("there");
    assert_eq!(id, 7);
}

/// A wrong path has to be told at start, by a name.
#[tokio::test]
async fn what_is_no_database_is_refused_with_a_reason() {
    let folder = Folder::new();
    let path = folder.file("notes.txt");
    std::fs::write(
        &path,
        "these are notes, and no database at all: ".repeat(200),
    )
    .expect("written");
    let error = open_with(&path, "orders", SqliteOptions::default())
        .await
        .expect_err("refused");
    assert_eq!(error.kind, StoreErrorKind::Rejected, "{error}");
    assert!(error.message.contains("not a database"), "{error}");
    let nowhere = folder.file("no/such/folder.db");
    let error = open_with(&nowhere, "orders", SqliteOptions::default())
        .await
        .expect_err("refused");
    assert_eq!(error.kind, StoreErrorKind::Unavailable, "{error}");
    assert!(error.message.contains("folder.db"), "{error}");
}

/// A setting that lets readers wait for writers would let one stopped process take the group along.
#[tokio::test]
async fn a_file_without_its_log_gets_it_back_when_it_is_opened() {
    let folder = Folder::new();
    let path = folder.file("store.db");
    let connection = Connection::open(&path).expect("opens");
    connection
        .execute_batch("PRAGMA journal_mode = DELETE; CREATE TABLE orders (id INTEGER)")
        .expect("written");
    drop(connection);
    let store = open(&path, "orders").await;
    assert_eq!(info(&store).await.expect("there").faults, []);
}
