//! A partition list in a store: changed by many, read whole, never taken for smaller than it is.

mod outcomes;
#[path = "../support/recorder.rs"]
mod recorder;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parti::clock::Clock;
use parti::sources::{KvSource, KvSourceError, PartitionSource, PieceError, SourceError};
use parti::store::{LocalStore, Store as _};
use parti::{Manager, Partition, PartitionError, PartitionKey, StopMode};
use parti_core::{StoreOp, StoreReply};
use parti_testing::kit::kv::Limits;
use parti_testing::kit::memory_store::MemoryStore;
use recorder::{Recorder, fast, until};
use tokio::time::timeout;

fn partition(name: &str) -> Partition {
    Partition::new([name]).expect("valid")
}

fn key(name: &str) -> PartitionKey {
    PartitionKey::new([name]).expect("valid")
}

fn numbered(count: u32) -> Vec<Partition> {
    (0..count).map(|n| partition(&format!("p{n}"))).collect()
}

/// `name:weight` of each partition in order.
fn shown(list: &[Partition]) -> Vec<String> {
    let text = |p: &Partition| format!("{}:{}", p.key, p.weight);
    list.iter().map(text).collect()
}

/// An operator's mistake must be named with its partition, and change nothing.
#[tokio::test]
async fn changes_are_made_in_order_and_mistakes_name_their_partition() {
    let source = KvSource::new(LocalStore::new());
    let none = source.add(numbered(1)).await;
    assert_eq!(none, Err(KvSourceError::NotStored), "nothing to add to");
    source.create(numbered(2)).await.expect("the first list");
    let again = source.create(numbered(1)).await;
    assert_eq!(again, Err(KvSourceError::AlreadyStored));
    let heavy = partition("a").with_weight(7);
    source.add(vec![heavy]).await.expect("new");
    let weights = [(key("p1"), 3)];
    let list = source.update_weights(&weights).await.expect("there");
    assert_eq!(shown(&list), ["p0:1", "p1:3", "a:7"]);
    let list = source.remove(&[key("p0")]).await.expect("there");
    assert_eq!(shown(&list), ["p1:3", "a:7"]);

    let mistakes = [
        source.add(vec![partition("x"), partition("p1")]).await,
        source.add(vec![partition("x"), partition("x")]).await,
        source.remove(&[key("a"), key("x")]).await,
        source.remove(&[key("a"), key("a")]).await,
        source.update_weights(&[(key("a"), 1), (key("x"), 2)]).await,
        source
            .transform(|_| Err(KvSourceError::declined("no")))
            .await,
    ];
    let errors: Vec<_> = mistakes.into_iter().map(Result::unwrap_err).collect();
    let expected = [
        KvSourceError::AlreadyListed { key: key("p1") },
        KvSourceError::Invalid(PartitionError::Duplicate { key: key("x") }),
        KvSourceError::NotListed { key: key("x") },
        KvSourceError::NotListed { key: key("a") },
        KvSourceError::NotListed { key: key("x") },
        KvSourceError::declined("no"),
    ];
    assert_eq!(errors, expected);
    let list = source.partitions().await.expect("stored");
    assert_eq!(shown(&list), ["p1:3", "a:7"], "no mistake changed anything");
}

/// Two operators, or two instances of a scaling job, at the same time: both changes must be there.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_change_is_lost_when_many_change_the_list_at_once() {
    let store = LocalStore::new();
    let source = KvSource::new(store.clone());
    source.create(Vec::new()).await.expect("an empty list");
    let writers = (0..8).map(|writer| {
        let source = KvSource::new(store.clone());
        tokio::spawn(async move {
            for n in 0..5 {
                let new = vec![partition(&format!("{writer}-{n}"))];
                source.add(new).await.expect("added");
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("no panic");
    }
    let list = source.partitions().await.expect("stored");
    let names: BTreeSet<_> = list.iter().map(|p| p.key.clone()).collect();
    assert_eq!((list.len(), names.len()), (40, 40));
}

/// A list beyond the payload limit of the server must neither be cut off nor be put together from
/// two changes.
#[tokio::test(start_paused = true)]
async fn a_long_list_is_kept_in_pieces_and_read_whole_or_not_at_all() {
    let limits = Limits {
        max_value: 1000,
        max_batch: 50,
    };
    let store = MemoryStore::with_limits(limits);
    let source = KvSource::new(store.clone());
    source.create(numbered(800)).await.expect("in pieces");
    assert_eq!(source.partitions().await.expect("whole").len(), 800);
    let living = || {
        store
            .entries()
            .into_iter()
            .filter(|e| e.value.is_some())
            .count()
    };
    let pieces = living();
    assert!((10..50).contains(&pieces), "{pieces}");

    let old = store
        .entry("src.3")
        .and_then(|entry| entry.value)
        .expect("a piece");
    source.add(vec![partition("new")]).await.expect("added");
    store.plant("src.3", &old);
    let mixed = source.list().await.expect_err("of two changes");
    assert!(matches!(mixed, SourceError::Unavailable(_)), "{mixed}");
    assert!(mixed.to_string().contains("piece 3"), "{mixed}");
    store.uproot("src.3");
    let missing = source.partitions().await;
    assert_eq!(
        missing,
        Err(KvSourceError::Pieces(PieceError::Missing { index: 3 }))
    );

    source.replace(numbered(2)).await.expect("repairs it");
    assert_eq!(source.partitions().await.expect("whole").len(), 2);
    let error = source.replace(numbered(3000)).await.expect_err("too large");
    assert!(
        matches!(error, KvSourceError::TooLarge { max_batch: 50, .. }),
        "{error}"
    );
    let list = source.partitions().await.expect("as it was");
    assert_eq!(list.len(), 2);
}

/// When a list gets shorter its last pieces must go, or they pile up and confuse people.
#[tokio::test]
async fn pieces_that_are_not_needed_any_more_are_deleted() {
    let store = MemoryStore::with_limits(Limits {
        max_value: 1000,
        max_batch: 50,
    });
    let source = KvSource::new(store.clone());
    source.create(numbered(500)).await.expect("in pieces");
    source
        .transform(|list| Ok(list[..3].to_vec()))
        .await
        .expect("shorter");
    let living = store
        .entries()
        .into_iter()
        .filter(|entry| entry.value.is_some());
    let keys: Vec<_> = living.map(|entry| entry.key).collect();
    assert_eq!(keys, ["src"]);
}

/// What a list that nobody can read has left behind would be taken for pieces of the next one by people, and
/// would fill the bucket.
#[tokio::test(start_paused = true)]
async fn a_list_that_replaces_an_unreadable_one_leaves_no_piece_of_it() {
    let limits = Limits {
        max_value: 1000,
        max_batch: 50,
    };
    let harms: [fn(&MemoryStore) -> parti_core::Revision; 3] = [
        |store| store.plant("src", b"junk"),
        |store| store.plant("src.2", b"junk"),
        |store| store.uproot("src"),
    ];
    for harm in harms {
        let store = MemoryStore::with_limits(limits);
        let source = KvSource::new(store.clone());
        source.create(numbered(500)).await.expect("in pieces");
        harm(&store);
        source.replace(numbered(60)).await.expect("overwrites");
        assert_eq!(source.partitions().await.expect("whole"), numbered(60));
        let living = store.entries();
        let living = living.iter().filter(|entry| entry.value.is_some());
        let keys: BTreeSet<_> = living.map(|entry| entry.key.as_str()).collect();
        assert_eq!(keys, BTreeSet::from(["src", "src.1"]));
    }
}

/// A failed read that looks like a shorter list takes partitions from their owners.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_an_error_and_never_a_shorter_list() {
    let store = MemoryStore::new();
    let source = KvSource::new(store.clone());
    let unavailable = |listed: Result<Vec<Partition>, SourceError>, part: &str| {
        let error = listed.expect_err(part);
        assert!(matches!(error, SourceError::Unavailable(_)), "{error}");
        assert!(error.to_string().contains(part), "{error}");
    };
    unavailable(source.list().await, "no partition list is stored");
    source.create(numbered(3)).await.expect("stored");
    assert_eq!(source.list().await.expect("there").len(), 3);
    store.set_unavailable(true);
    unavailable(source.list().await, "store of the partition list");
    store.set_unavailable(false);
    store.uproot("src");
    unavailable(source.list().await, "no partition list is stored");
    for junk in [&b""[..], b"\x01", b"\x07list", b"{}"] {
        store.plant("src", junk);
        unavailable(source.list().await, "src does not hold a partition list");
        let refused = source.add(numbered(1)).await;
        assert!(
            matches!(refused, Err(KvSourceError::Unreadable { .. })),
            "{refused:?}"
        );
    }
    source.replace(numbered(4)).await.expect("overwrites");
    assert_eq!(source.list().await.expect("there").len(), 4);
}

async fn is_announced(source: &KvSource) -> bool {
    timeout(Duration::from_secs(30), source.changed())
        .await
        .is_ok()
}

/// A change that is not announced waits for the next refresh, or for ever.
#[tokio::test(start_paused = true)]
async fn every_change_is_announced_once_also_across_lost_watches_and_dropped_waits() {
    let store = MemoryStore::new();
    let source = KvSource::new(store.clone());
    let other = source.clone();
    other.create(numbered(1)).await.expect("stored");
    assert!(is_announced(&source).await, "made before anybody waited");
    assert!(!is_announced(&source).await, "once");
    other.add(vec![partition("a")]).await.expect("added");
    assert!(is_announced(&source).await, "made between two waits");
    other.add(vec![partition("b")]).await.expect("added");
    source.list().await.expect("there");
    assert!(!is_announced(&source).await, "it was listed already");
    store.lose_watches();
    store.set_unavailable(true);
    let waiting = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        store.set_unavailable(false);
        other.remove(&[key("a")]).await.expect("removed");
    };
    let (announced, ()) = tokio::join!(is_announced(&source), waiting);
    assert!(announced, "after an outage");
    store.recreate();
    other.create(numbered(2)).await.expect("a new history");
    assert!(
        is_announced(&source).await,
        "although its revisions are smaller"
    );
    assert_eq!(source.list().await.expect("there").len(), 2);
    assert_eq!(store.watch_count(), 1);
}

/// The whole way: an operator changes the list, and the group follows without being asked to.
#[tokio::test(start_paused = true)]
async fn a_group_follows_its_list_and_keeps_it_when_it_is_gone() {
    let store = MemoryStore::new();
    let handler = Recorder::new("a");
    let operator = KvSource::new(store.clone());
    operator.create(numbered(4)).await.expect("stored");
    let config = fast(1).build().expect("coherent");
    let manager = Manager::builder(config, operator.clone(), handler.clone())
        .store(store.clone())
        .clock(Clock::tokio())
        .start()
        .await
        .expect("starts");
    let owns = async |count: usize| {
        let limit = Duration::from_secs(60);
        until("it owns the list", limit, || {
            manager.assignment().len() == count
        })
        .await;
    };
    owns(4).await;
    operator.add(vec![partition("x")]).await.expect("added");
    owns(5).await;
    operator
        .remove(&[key("x"), key("p0")])
        .await
        .expect("removed");
    owns(3).await;
    store.uproot("src");
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(
        manager.assignment().len(),
        3,
        "a deleted list is not an empty one"
    );
    operator.create(numbered(6)).await.expect("stored again");
    owns(6).await;
    operator
        .replace(Vec::new())
        .await
        .expect("an empty list on purpose");
    owns(0).await;
    manager.stop(StopMode::Handoff).await.expect("stops");
}

/// What the fake promises, a server must keep: pieces in one batch, conditions, the announcement.
#[cfg(feature = "nats")]
#[tokio::test(flavor = "multi_thread")]
async fn on_a_real_server_a_list_is_kept_in_the_bucket_of_its_group() {
    use parti::GroupName;
    use parti::nats::{NatsOptions, NatsStore};
    use parti_testing::rig::nats_server::{NatsServer, ServerOptions};

    // Small messages, so that a moderate list needs many pieces.
    let options = ServerOptions::default().config("max_payload: 4096");
    let server = NatsServer::start(options).unwrap_or_else(|error| panic!("{error}"));
    let group = GroupName::new("test").expect("valid");
    let open = async || {
        let opened = NatsStore::connect(&server.url(), &group, NatsOptions::default()).await;
        Arc::new(opened.expect("the store opens"))
    };
    let store = open().await;
    let operator = KvSource::new(open().await);
    operator.create(numbered(3000)).await.expect("in pieces");
    assert_eq!(operator.partitions().await.expect("whole"), numbered(3000));
    operator.remove(&[key("p0")]).await.expect("removed");
    let list = operator.transform(|list| Ok(list[..4].to_vec())).await;
    assert_eq!(list.expect("shorter").len(), 4);
    let prefix = "src".to_owned();
    let Ok(StoreReply::Entries { entries, .. }) = store.execute(StoreOp::List { prefix }).await
    else {
        panic!("no list");
    };
    assert_eq!(entries.len(), 1, "{entries:?}");

    let config = fast(1).build().expect("coherent");
    let source = KvSource::new(store.clone());
    let manager = Manager::builder(config, source, Recorder::new("a")).store(store);
    let manager = manager.start().await.expect("starts");
    let limit = Duration::from_secs(30);
    until("it owns the list", limit, || {
        manager.assignment().len() == 4
    })
    .await;
    let writers = (0..4).map(|n| {
        let operator = operator.clone();
        let new = vec![partition(&format!("new{n}"))];
        tokio::spawn(async move { operator.add(new).await })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("no panic").expect("added");
    }
    until("it follows", limit, || manager.assignment().len() == 8).await;
    manager.stop(StopMode::Handoff).await.expect("stops");
}
