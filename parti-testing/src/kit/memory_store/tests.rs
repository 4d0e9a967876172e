//! Tests of the faults on demand; the contract itself is the business of the conformance suite.

use super::*;

fn put(key: &str, expect: Expect) -> StoreOp {
    let write = Write {
        key: key.to_owned(),
        value: Some(b"1".to_vec()),
        expect,
    };
    StoreOp::Commit {
        writes: vec![write],
    }
}

/// Resolving an unknown outcome can only be tested if both outcomes can be made.
#[tokio::test]
async fn an_unknown_commit_is_applied_or_not_as_asked_for() {
    for applied in [false, true] {
        let store = MemoryStore::new();
        store.fail_next(1, StoreErrorKind::Unknown, applied);
        let error = store
            .execute(put("a", Expect::Absent))
            .await
            .expect_err("fails");
        assert_eq!(error.kind, StoreErrorKind::Unknown);
        assert_eq!(store.entry("a").is_some(), applied);
        assert_eq!(store.op_count(OpKind::Commit), 1);
    }
}

/// A worker must be seen to live through an outage and to come back.
#[tokio::test]
async fn an_unavailable_store_answers_again_afterwards() {
    let store = MemoryStore::new();
    store.set_unavailable(true);
    let error = store.execute(StoreOp::Info).await.expect_err("fails");
    assert_eq!(error.kind, StoreErrorKind::Unavailable);
    assert!(store.watch(WatchScope::All).await.is_err());
    store.set_unavailable(false);
    assert!(store.execute(StoreOp::Info).await.is_ok());
}

/// A lost watch that looks alive would leave a worker blind for ever.
#[tokio::test]
async fn a_lost_watch_says_so_at_once_and_stays_lost() {
    let store = MemoryStore::new();
    let mut watch = store.watch(WatchScope::All).await.expect("watches");
    assert!(matches!(watch.next().await, WatchEvent::CaughtUp { .. }));
    store.plant("a", b"1");
    store.lose_watches();
    store.plant("a", b"2");
    for _ in 0..2 {
        assert!(matches!(watch.next().await, WatchEvent::Lost { .. }));
    }
}

/// A worker must notice another history by its creation time, since revisions look plausible.
#[tokio::test]
async fn a_recreated_bucket_is_empty_and_has_another_creation_time() {
    let store = MemoryStore::new();
    let info = |reply| match reply {
        Ok(StoreReply::Info(info)) => info,
        other => panic!("no info: {other:?}"),
    };
    let before = info(store.execute(StoreOp::Info).await);
    let mut watch = store.watch(WatchScope::All).await.expect("watches");
    store.plant("a", b"1");
    store.recreate();
    let after = info(store.execute(StoreOp::Info).await);
    assert_ne!(before.created, after.created);
    assert_eq!(
        (after.last_revision, store.entries().len()),
        (Revision::ZERO, 0)
    );
    let mut last = watch.next().await;
    while !matches!(last, WatchEvent::Lost { .. }) {
        last = watch.next().await;
    }
}

/// A watch that is dropped must not collect events until memory is full.
#[tokio::test]
async fn a_dropped_watch_is_forgotten() {
    let store = MemoryStore::new();
    let watch = store.watch(WatchScope::All).await.expect("watches");
    assert_eq!(store.watch_count(), 1);
    drop(watch);
    store.plant("a", b"1");
    assert_eq!(store.watch_count(), 0);
}

/// A watch that waits must hear of a write made by another task.
#[tokio::test]
async fn a_waiting_watch_is_woken_by_a_write() {
    let store = MemoryStore::new();
    let mut watch = store.watch(WatchScope::All).await.expect("watches");
    assert!(matches!(watch.next().await, WatchEvent::CaughtUp { .. }));
    let waiting = tokio::spawn(async move { watch.next().await });
    tokio::task::yield_now().await;
    let revision = store.plant("a", b"1");
    let event = waiting.await.expect("no panic");
    assert!(matches!(event, WatchEvent::Entry(entry) if entry.revision == revision));
}
