//! Watches: present entries, the end of them, changes in order.

use std::time::Duration;

use parti_core::{Expect, Store, StoreErrorKind, WatchScope};
use tokio::time::timeout;

use crate::support::{World, api, commit, delete, list, next, put, until, write};

fn keys(keys: &[&str]) -> WatchScope {
    WatchScope::Keys(keys.iter().map(|key| (*key).to_owned()).collect())
}

/// A new group would wait for ever for the end of nothing.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_bucket_and_an_empty_scope_are_caught_up_at_once() {
    let world = World::new().await;
    let store = &world.store;
    let mut watch = store.watch(WatchScope::All).await.expect("watches");
    assert_eq!(next(&mut watch).await, "caught up@0");
    write(store, put("a", "1", Expect::Absent)).await;
    assert_eq!(next(&mut watch).await, "a=1@1");
    let mut other = store.watch(keys(&["head"])).await.expect("watches");
    assert_eq!(next(&mut other).await, "caught up@1");
    let mut none = store.watch(keys(&[])).await.expect("watches");
    assert_eq!(next(&mut none).await, "caught up@1");
    write(store, put("head", "1", Expect::Absent)).await;
    assert_eq!(next(&mut other).await, "head=1@2");
    assert!(
        timeout(Duration::from_millis(300), none.next())
            .await
            .is_err(),
        "no keys, no events"
    );
}

/// A leader that takes a deleted session for present, or misses a change, decides on a wrong view.
#[tokio::test(flavor = "multi_thread")]
async fn present_entries_come_first_then_changes_in_order_with_tombstones() {
    let world = World::new().await;
    let store = &world.store;
    for key in ["a", "b", "c"] {
        write(store, put(key, "1", Expect::Absent)).await;
    }
    write(store, put("a", "2", Expect::Any)).await;
    write(store, delete("b", Expect::Any)).await;
    let mut watch = store.watch(WatchScope::All).await.expect("watches");
    let present = until(&mut watch, "caught up").await;
    assert_eq!(present, ["c=1@3", "a=2@4", "caught up@5"]);
    let changes = vec![
        put("b", "3", Expect::Absent),
        delete("a", Expect::Any),
        put("d", "1", Expect::Absent),
    ];
    commit(store, changes).await.expect("a batch");
    for event in ["b=3@7", "a-@8", "d=1@9"] {
        // The refused first attempt over the tombstone takes no revision.
        let got = next(&mut watch).await;
        assert_eq!(got.split('@').next(), event.split('@').next());
    }
}

/// All-watch-all is quadratic, so followers watch three keys and must see only these.
#[tokio::test(flavor = "multi_thread")]
async fn a_scope_of_keys_sees_exactly_these() {
    let world = World::new().await;
    let store = &world.store;
    write(store, put("head", "1", Expect::Absent)).await;
    write(store, put("w.x", "1", Expect::Absent)).await;
    let scope = keys(&["head", "a.me", "head"]);
    let mut watch = store.watch(scope).await.expect("a key given twice is fine");
    assert_eq!(next(&mut watch).await, "head=1@1");
    assert_eq!(next(&mut watch).await, "caught up@2");
    let writes = ["w.x", "a.me", "a.other", "head"].map(|key| put(key, "2", Expect::Any));
    commit(store, writes.to_vec()).await.expect("a batch");
    assert_eq!(next(&mut watch).await, "a.me=2@4");
    assert_eq!(next(&mut watch).await, "head=2@6");
    let error = store.watch(keys(&["a.>"])).await.map(drop);
    assert_eq!(
        error.expect_err("a wildcard").kind,
        StoreErrorKind::Rejected
    );
}

/// More events than any buffer holds, and a reader that starts late: nothing may be dropped.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_misses_no_last_value_and_keeps_the_order() {
    let world = World::new().await;
    let store = &world.store;
    let mut watch = store.watch(WatchScope::All).await.expect("watches");
    assert_eq!(next(&mut watch).await, "caught up@0");
    for round in 0..10 {
        let writes = (0..1000).map(|n| put(&format!("k.{n}"), &round.to_string(), Expect::Any));
        commit(store, writes.collect()).await.expect("a batch");
    }
    let seen = until(&mut watch, "k.999=9@").await;
    let revisions: Vec<u64> = seen
        .iter()
        .filter_map(|event| event.rsplit_once('@')?.1.parse().ok())
        .collect();
    assert_eq!(revisions.last(), Some(&10_000));
    assert!(revisions.windows(2).all(|pair| pair[0] < pair[1]));
    let last = seen.iter().filter(|event| event.contains("=9@")).count();
    assert_eq!(last, 1000, "the last value of every key");
}

/// Sessions are renewed while a new leader begins to watch; one that is missing at the end of the
/// present entries would look dead.
#[tokio::test(flavor = "multi_thread")]
async fn every_present_key_comes_before_the_end_although_keys_are_rewritten() {
    let world = World::new().await;
    let store = &world.store;
    let names: Vec<_> = (0..200).map(|n| format!("w.{n}")).collect();
    let born = names.iter().map(|name| put(name, "0", Expect::Absent));
    commit(store, born.collect()).await.expect("absent");
    let writer = {
        let (store, names) = (store.clone(), names.clone());
        tokio::spawn(async move {
            for name in names.iter().cycle() {
                write(&store, put(name, "1", Expect::Any)).await;
            }
        })
    };
    for _ in 0..30 {
        let mut watch = store.watch(WatchScope::All).await.expect("watches");
        let present = until(&mut watch, "caught up").await;
        let found: std::collections::BTreeSet<_> = present
            .iter()
            .filter_map(|event| event.split_once('='))
            .map(|(key, _)| key)
            .collect();
        assert_eq!(found.len(), names.len(), "{:?}", present.last());
        assert_eq!(list(store, "w.").await.0.len(), names.len());
    }
    writer.abort();
}

/// An abandoned wait that swallows an event loses an assignment.
#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_wait_for_an_event_loses_none() {
    let world = World::new().await;
    let store = &world.store;
    let mut watch = store.watch(WatchScope::All).await.expect("watches");
    assert_eq!(next(&mut watch).await, "caught up@0");
    let writer = {
        let store = store.clone();
        tokio::spawn(async move {
            for n in 0..200 {
                write(&store, put("a", &n.to_string(), Expect::Any)).await;
            }
        })
    };
    let mut seen = Vec::new();
    while seen.last().map(String::as_str) != Some("a=199@200") {
        let wait = timeout(Duration::from_micros(50), watch.next()).await;
        match wait {
            Err(_) => {}
            Ok(parti_core::WatchEvent::Entry(entry)) => {
                let value = String::from_utf8(entry.value.expect("a value")).expect("text");
                seen.push(format!("a={value}@{}", entry.revision));
            }
            Ok(other) => panic!("{other:?}"),
        }
        assert!(seen.len() <= 200, "{seen:?}");
    }
    writer.await.expect("no panic");
    let revisions: Vec<u64> = seen
        .iter()
        .filter_map(|event| event.rsplit_once('@')?.1.parse().ok())
        .collect();
    assert!(
        revisions.windows(2).all(|pair| pair[0] < pair[1]),
        "{revisions:?}"
    );
}

/// A watch in a history that has ended is blind until the new one catches up: minutes or never.
#[tokio::test(flavor = "multi_thread")]
async fn a_re_created_bucket_ends_the_watch_with_lost_and_stays_lost() {
    let world = World::new().await;
    let store = &world.store;
    for n in 0..5 {
        write(store, put("a", &n.to_string(), Expect::Any)).await;
    }
    let mut watch = store.watch(WatchScope::All).await.expect("watches");
    until(&mut watch, "caught up").await;
    let stream = format!("KV_{}", store.bucket());
    let config = api(store, &format!("STREAM.INFO.{stream}"), "").await["config"].to_string();
    api(store, &format!("STREAM.DELETE.{stream}"), "").await;
    api(store, &format!("STREAM.CREATE.{stream}"), &config).await;
    write(store, put("a", "new", Expect::Absent)).await;
    let seen = until(&mut watch, "lost").await;
    assert!(seen[0].contains("re-created"), "{seen:?}");
    assert!(next(&mut watch).await.starts_with("lost"), "and again");
}

/// A lost consumer (its server died, an operator deleted it) must not end the watch or its order.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_consumer_is_replaced_without_loss() {
    let world = World::new().await;
    let store = &world.store;
    let mut watch = store.watch(WatchScope::All).await.expect("watches");
    assert_eq!(next(&mut watch).await, "caught up@0");
    write(store, put("a", "1", Expect::Any)).await;
    assert_eq!(next(&mut watch).await, "a=1@1");
    let stream = format!("KV_{}", store.bucket());
    let names = api(store, &format!("CONSUMER.NAMES.{stream}"), "").await;
    let name = names["consumers"][0].as_str().expect("one consumer");
    api(store, &format!("CONSUMER.DELETE.{stream}.{name}"), "").await;
    write(store, put("a", "2", Expect::Any)).await;
    write(store, delete("b", Expect::Any)).await;
    assert_eq!(next(&mut watch).await, "a=2@2");
    assert_eq!(next(&mut watch).await, "b-@3");
}
