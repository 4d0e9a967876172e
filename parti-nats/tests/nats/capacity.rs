//! Clients that hold few messages: they drop the rest without a word, and nothing may be missing.

use std::collections::BTreeSet;
use std::time::Duration;

use parti_core::{Expect, Store, StoreOp, StoreReply, WatchScope};
use parti_nats::async_nats::ConnectOptions;
use parti_nats::{NatsStore, Storage, tuned};

use crate::support::{World, commit, get, group, next, options, put, until, write};

const KEYS: usize = 900;

async fn filled() -> World {
    let world = World::with(options().storage(Storage::Memory)).await;
    let all = (0..KEYS).map(|n| put(&format!("w.k{n}"), "x", Expect::Absent));
    commit(&world.store, all.collect()).await.expect("a batch");
    world
}

/// A client that was connected by the program, with a capacity of its own.
async fn given(world: &World, capacity: usize) -> NatsStore {
    // Sixty pages one after another take their time on a busy machine.
    let patient = options().request_timeout(Duration::from_secs(5));
    let connect = tuned(ConnectOptions::new(), &patient).subscription_capacity(capacity);
    let client = connect.connect(world.server.url()).await.expect("connects");
    let store = NatsStore::with_client(client, &group(), patient).await;
    store.expect("opens")
}

async fn listed(store: &NatsStore) -> Option<(usize, u64)> {
    let prefix = "w.".to_owned();
    let reply = store.execute(StoreOp::List { prefix }).await.ok()?;
    let StoreReply::Entries {
        entries,
        last_revision,
    } = reply
    else {
        panic!("a list was answered with {reply:?}")
    };
    Some((entries.len(), last_revision.get()))
}

/// A leader that takes keys for deleted which its client dropped evicts living workers.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_whole_or_fails_whatever_the_client_holds() {
    let world = filled().await;
    for capacity in [65_536, 1_025, 800, 512, 256, 64, 16] {
        let store = given(&world, capacity).await;
        let mut failed = 0;
        for _ in 0..10 {
            match listed(&store).await {
                Some(whole) => assert_eq!(whole, (KEYS, 900), "capacity {capacity}"),
                None => failed += 1,
            }
        }
        println!("capacity {capacity}: {failed} of 10 lists failed");
        assert!(
            failed <= 2,
            "capacity {capacity}: {failed} of 10 lists failed"
        );
    }
}

/// Pages are read one after another, and what changes between two of them must not fall between.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_in_pages_misses_no_key_that_is_rewritten_meanwhile() {
    let world = filled().await;
    let (store, busy) = (given(&world, 16).await, world.store.clone());
    let writer = tokio::spawn(async move {
        for n in (0..KEYS).rev().cycle() {
            write(&busy, put(&format!("w.k{n}"), "y", Expect::Any)).await;
        }
    });
    let (mut whole, mut before) = (0, 0);
    while whole < 10 {
        if let Some((count, revision)) = listed(&store).await {
            assert_eq!(count, KEYS);
            assert!(revision >= before, "{revision} after {before}");
            (whole, before) = (whole + 1, revision);
        }
    }
    writer.abort();
}

/// A watch that waits for messages its client dropped would never catch up.
#[tokio::test(flavor = "multi_thread")]
async fn a_watch_catches_up_whatever_the_client_holds() {
    let world = filled().await;
    for capacity in [800, 256, 64, 16] {
        let store = given(&world, capacity).await;
        let begun = std::time::Instant::now();
        let mut watch = store.watch(WatchScope::All).await.expect("watches");
        let seen = until(&mut watch, "caught up").await;
        assert_eq!(seen.last().map(String::as_str), Some("caught up@900"));
        let keys: BTreeSet<_> = seen
            .iter()
            .filter_map(|event| event.split_once('='))
            .collect();
        assert_eq!(keys.len(), KEYS, "capacity {capacity}");
        println!("capacity {capacity}: caught up after {:?}", begun.elapsed());
    }
}

/// A program that saves memory with a small capacity must not make its lists slow or short.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_the_stores_own_has_room_for_a_whole_list() {
    let world = filled().await;
    let small = ConnectOptions::new().subscription_capacity(4);
    let store = NatsStore::connect_with(small, &world.server.url(), &group(), options()).await;
    let store = store.expect("opens");
    let asked = store.client().statistics();
    let sent = || {
        asked
            .out_messages
            .load(std::sync::atomic::Ordering::Relaxed)
    };
    // What was sent at the opening is counted when this is answered.
    assert_eq!(get(&store, "none").await, None);
    let before = sent();
    assert_eq!(listed(&store).await, Some((KEYS, 900)));
    assert_eq!(sent() - before, 1, "one page");
    let mut watch = store.watch(WatchScope::All).await.expect("watches");
    for _ in 0..KEYS {
        assert!(next(&mut watch).await.contains('='));
    }
    assert_eq!(next(&mut watch).await, "caught up@900");
}
