//! Reads of one key, lists, and the facts of the bucket.

use std::time::{Duration, SystemTime};

use parti_core::{Expect, Store, StoreErrorKind, StoreOp};

use crate::support::{World, commit, consumers, delete, get, info, list, put, write};

/// A value that comes back changed is a broken record.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_read_as_it_was_written() {
    let world = World::new().await;
    let store = &world.store;
    let mut all = put("bytes", "", Expect::Absent);
    all.value = Some((0..=255).chain([13, 10, 0]).collect());
    let revision = write(store, all.clone()).await;
    let entry = get(store, "bytes").await.expect("written");
    assert_eq!((entry.revision, entry.value), (revision, all.value));
    write(store, put("empty", "", Expect::Absent)).await;
    let empty = get(store, "empty").await.expect("written");
    assert_eq!(
        empty.value,
        Some(Vec::new()),
        "an empty value is not a deletion"
    );
    assert_eq!(get(store, "never").await, None);
}

/// A list that misses a session evicts a living worker; one that shows a dead one keeps its slot.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_has_the_living_keys_of_the_prefix_and_the_last_revision() {
    let world = World::new().await;
    let store = &world.store;
    assert_eq!(list(store, "").await, (vec![], 0), "an empty bucket");
    for key in ["w.a", "w.b", "w.ab", "wx", "head", "w.a-c.d"] {
        write(store, put(key, "1", Expect::Absent)).await;
    }
    write(store, delete("w.b", Expect::Any)).await;
    let names = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
    let cases = [
        ("", vec!["head", "w.a", "w.a-c.d", "w.ab", "wx"]),
        ("w.", vec!["w.a", "w.a-c.d", "w.ab"]),
        ("w.a", vec!["w.a", "w.a-c.d", "w.ab"]),
        ("w.a-c.", vec!["w.a-c.d"]),
        ("head", vec!["head"]),
        ("w.b", vec![]),
        ("none.", vec![]),
    ];
    for (prefix, keys) in cases {
        let (found, revision) = list(store, prefix).await;
        assert_eq!(found, names(&keys), "{prefix:?}");
        assert_eq!(revision, 7, "{prefix:?}: nothing up to here is missing");
    }
}

/// The server lists at most 1024 keys in one request; a larger group must not lose its tail.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_whole_on_both_sides_of_the_servers_limit() {
    let world = World::new().await;
    let store = &world.store;
    for count in [1000, 1024, 1025, 2000] {
        let (present, _) = list(store, "k.").await;
        let new = (present.len()..count).map(|n| put(&format!("k.{n}"), "1", Expect::Absent));
        commit(store, new.collect()).await.expect("all absent");
        let (keys, revision) = list(store, "k.").await;
        assert_eq!(keys.len(), count);
        assert_eq!(usize::try_from(revision), Ok(count));
    }
    crate::support::eventually("no consumer is left", Duration::from_secs(2), async || {
        consumers(store).await == 0
    })
    .await;
}

/// A wildcard in a key or prefix would read what belongs to others.
#[tokio::test(flavor = "multi_thread")]
async fn keys_outside_the_alphabet_are_rejected() {
    let world = World::new().await;
    for key in ["", "a b", "*", "a.>", "a..b"] {
        let key = key.to_owned();
        let error = world.store.execute(StoreOp::Get { key: key.clone() }).await;
        assert_eq!(
            error.expect_err("bad").kind,
            StoreErrorKind::Rejected,
            "{key:?}"
        );
        let write = put(&key, "1", Expect::Any);
        let error = commit(&world.store, vec![write]).await.expect_err("bad");
        assert_eq!(error.kind, StoreErrorKind::Rejected, "{key:?}");
    }
}

/// Limits and the creation time drive batching and the detection of a re-created bucket.
#[tokio::test(flavor = "multi_thread")]
async fn the_facts_of_the_bucket_are_the_servers() {
    let world = World::new().await;
    let store = &world.store;
    write(store, put("a", "1", Expect::Absent)).await;
    let facts = info(store).await;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let age = now.expect("after 1970") - Duration::from_nanos(facts.created);
    assert!(age < Duration::from_secs(60), "{age:?}");
    assert_eq!(facts.last_revision.get(), 1);
    assert!(
        facts.version.starts_with("nats-server 2."),
        "{}",
        facts.version
    );
    assert_eq!(facts.max_batch, 1000);
    assert!(
        (1_000_000..1 << 20).contains(&facts.max_value),
        "{}",
        facts.max_value
    );
    assert_eq!(info(store).await.created, facts.created, "the same history");
}
