//! The server dies, pauses and forbids: what a commit and a watch then say, and what is true.

use std::time::{Duration, Instant};

use parti_core::{Expect, Store, StoreErrorKind, StoreOp, StoreReply, WatchScope};
use parti_nats::NatsStore;
use parti_testing::rig::nats_server::ServerOptions;

use crate::support::{
    PATIENCE, World, commit, eventually, get, group, info, next, options, put, start, until, write,
};

/// An outage of the server must look like one, and the watch must come back without a gap.
#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_after_the_server_was_killed_and_restarted() {
    let mut world = World::new().await;
    let store = world.store.clone();
    let mut watch = store.watch(WatchScope::All).await.expect("watches");
    assert_eq!(next(&mut watch).await, "caught up@0");
    let mut expected = 0;
    for round in 1..=3 {
        expected += 1;
        write(&store, put("a", &round.to_string(), Expect::Any)).await;
        assert_eq!(next(&mut watch).await, format!("a={round}@{expected}"));
        world.server.kill().expect("dies");
        eventually("the store notices", PATIENCE, async || {
            let key = "a".to_owned();
            let read = store.execute(StoreOp::Get { key }).await;
            read.is_err_and(|error| error.kind == StoreErrorKind::Unavailable)
        })
        .await;
        let refused = commit(&store, vec![put("a", "lost", Expect::Any)]).await;
        assert_eq!(
            refused.expect_err("no server").kind,
            StoreErrorKind::Unavailable
        );
        world.server.restart().expect("comes back");
        let back = Instant::now();
        // Written by another client, before the watch has a consumer again.
        let other = crate::support::connect(&world.server, options()).await;
        expected += 1;
        write(&other, put("b", &round.to_string(), Expect::Any)).await;
        assert_eq!(next(&mut watch).await, format!("b={round}@{expected}"));
        println!("watch resumed {:?} after the restart", back.elapsed());
        eventually("the store is back", PATIENCE, async || {
            let key = "a".to_owned();
            store.execute(StoreOp::Get { key }).await.is_ok()
        })
        .await;
    }
    let entry = get(&store, "a").await.expect("there");
    assert_ne!(
        entry.value,
        Some(b"lost".to_vec()),
        "not sent means never written"
    );
}

/// "Failed" for a write that is stored later would let its writer believe it lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_to_a_paused_server_is_unknown_and_settled_by_reading() {
    let hasty = options().request_timeout(Duration::from_millis(300));
    let world = World::with(hasty).await;
    let store = &world.store;
    let first = write(store, put("a", "1", Expect::Absent)).await;
    for batch in [false, true] {
        let before = get(store, "a").await.expect("there").revision;
        let mut writes = vec![put("a", "nonce", Expect::Revision(before))];
        if batch {
            writes.push(put("b", "nonce", Expect::Any));
        }
        // A batch is sent only while the stream's leader has just said its version.
        info(store).await;
        world.server.pause().expect("pauses");
        let begin = Instant::now();
        let error = commit(store, writes.clone()).await;
        world.server.resume().expect("goes on");
        let error = error.expect_err("no answer");
        let unsent = batch && error.kind == StoreErrorKind::Unavailable;
        assert!(unsent || error.kind == StoreErrorKind::Unknown, "{error}");
        assert!(
            begin.elapsed() < Duration::from_secs(1),
            "{:?}",
            begin.elapsed()
        );
        // Either it is stored by now, or sending the very same again settles it.
        eventually("the outcome is settled", PATIENCE, async || {
            let stored = store
                .execute(StoreOp::Get {
                    key: "a".to_owned(),
                })
                .await;
            let Ok(parti_core::StoreReply::Entry(Some(entry))) = stored else {
                return false;
            };
            if entry.revision == before {
                drop(commit(store, writes.clone()).await);
                return false;
            }
            entry.value == Some(b"nonce".to_vec())
        })
        .await;
        if batch {
            let other = get(store, "b").await.expect("the whole batch");
            let own = get(store, "a").await.expect("there");
            assert_eq!(other.revision, own.revision.next());
        }
    }
    assert!(get(store, "a").await.expect("there").revision > first);
}

/// A watch on a paused server hears nothing; afterwards it must be complete and in order.
#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_after_a_pause() {
    let world = World::new().await;
    let store = &world.store;
    let mut watch = store.watch(WatchScope::All).await.expect("watches");
    assert_eq!(next(&mut watch).await, "caught up@0");
    world.server.pause().expect("pauses");
    tokio::time::sleep(Duration::from_millis(1200)).await;
    world.server.resume().expect("goes on");
    let mut writes = Vec::new();
    eventually("writes succeed again", PATIENCE, async || {
        let revision = commit(store, vec![put("a", "x", Expect::Any)]).await;
        writes.extend(revision.iter().flatten().map(|revision| revision.get()));
        writes.len() == 5
    })
    .await;
    let last = writes.last().expect("five").to_string();
    let seen = until(&mut watch, &format!("a=x@{last}")).await;
    let revisions: Vec<u64> = seen
        .iter()
        .filter_map(|event| event.rsplit_once('@')?.1.parse().ok())
        .collect();
    assert!(
        revisions.windows(2).all(|pair| pair[0] < pair[1]),
        "{seen:?}"
    );
    assert!(
        seen.last().is_some_and(|event| event.starts_with("a=x@")),
        "{seen:?}"
    );
}

/// A missing right to write must not look like a slow server: it is retried for ever then.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_without_permission_is_rejected_at_once() {
    let forbidden = ["$KV.parti_orders.secret.>", "$JS.API.CONSUMER.CREATE.>"];
    let server = ServerOptions::default().user("u", "p", &forbidden, &[]);
    let server = start(server);
    let url = format!("nats://u:p@{}", server.address());
    let store = NatsStore::connect(&url, &group(), options())
        .await
        .expect("opens");
    write(&store, put("open", "1", Expect::Absent)).await;
    let alone = vec![put("secret.a", "1", Expect::Any)];
    let first = vec![
        put("secret.a", "1", Expect::Any),
        put("open", "2", Expect::Any),
    ];
    let last = vec![
        put("open", "2", Expect::Any),
        put("secret.a", "1", Expect::Any),
    ];
    for writes in [alone, first, last] {
        let begin = Instant::now();
        let error = commit(&store, writes).await.expect_err("forbidden");
        assert_eq!(error.kind, StoreErrorKind::Rejected, "{error}");
        assert!(error.message.contains("secret.a"), "{error}");
        assert!(
            begin.elapsed() < Duration::from_millis(900),
            "{:?}",
            begin.elapsed()
        );
    }
    assert_eq!(
        info(&store).await.last_revision.get(),
        1,
        "nothing else was written"
    );
    let error = store.watch(WatchScope::All).await.map(drop);
    assert_eq!(error.expect_err("forbidden").kind, StoreErrorKind::Rejected);
}

/// A bucket that an operator deleted is an outage, not a lost race, and the watch must end.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_bucket_is_told_from_an_outage_and_ends_the_watch() {
    let world = World::new().await;
    let store = &world.store;
    let mut watch = store.watch(WatchScope::All).await.expect("watches");
    assert_eq!(next(&mut watch).await, "caught up@0");
    crate::support::api(store, "STREAM.DELETE.KV_parti_orders", "").await;
    let single = vec![put("a", "1", Expect::Any)];
    let batch = vec![put("a", "1", Expect::Any), put("b", "1", Expect::Any)];
    let error = commit(store, single).await.expect_err("no bucket");
    assert_eq!(error.kind, StoreErrorKind::Unavailable, "{error}");
    // The stream's leader may have to be asked for its version first.
    let error = commit(store, batch).await.expect_err("no bucket");
    let fair = [StoreErrorKind::Unavailable, StoreErrorKind::Missing];
    assert!(fair.contains(&error.kind), "{error}");
    let get = StoreOp::Get {
        key: "a".to_owned(),
    };
    let list = StoreOp::List {
        prefix: String::new(),
    };
    // The question about the bucket is the one that always tells.
    let cases = [
        (get, StoreErrorKind::Missing),
        (list, StoreErrorKind::Unavailable),
        (StoreOp::Info, StoreErrorKind::Missing),
    ];
    for (op, kind) in cases {
        let error = store.execute(op).await.expect_err("no bucket");
        assert_eq!(error.kind, kind, "{error}");
    }
    let lost = next(&mut watch).await;
    assert!(lost.contains("stream not found"), "{lost}");
}

/// Kill -9 in the middle of batches: none may be stored in part, none acknowledged and lost.
#[tokio::test(flavor = "multi_thread")]
async fn batches_are_whole_when_the_server_is_killed_in_between() {
    let mut world = World::new().await;
    let store = world.store.clone();
    let mut acknowledged = 0_u64;
    for round in 1..=4_u64 {
        let writer = tokio::spawn({
            let store = store.clone();
            async move {
                let mut last = 0;
                for n in 0.. {
                    let value = (round * 1_000_000 + n).to_string();
                    let keys = (0..100).map(|k| put(&format!("k.{k}"), &value, Expect::Any));
                    match commit(&store, keys.collect()).await {
                        Ok(_) => last = round * 1_000_000 + n,
                        Err(error) => {
                            assert_ne!(error.kind, StoreErrorKind::Refused, "{error}");
                            return last;
                        }
                    }
                }
                last
            }
        });
        tokio::time::sleep(Duration::from_millis(40 * round)).await;
        world.server.kill().expect("dies");
        acknowledged = acknowledged.max(writer.await.expect("no panic"));
        world.server.restart().expect("comes back");
        let fresh = crate::support::connect(&world.server, options()).await;
        let mut values = std::collections::BTreeSet::new();
        for key in (0..100).map(|k| format!("k.{k}")) {
            let value = get(&fresh, &key).await.and_then(|entry| entry.value);
            let value = String::from_utf8(value.expect("written")).expect("text");
            values.insert(value.parse::<u64>().expect("a number"));
        }
        assert_eq!(values.len(), 1, "all keys are of one batch: {values:?}");
        assert!(
            values.first() >= Some(&acknowledged),
            "{values:?} {acknowledged}"
        );
        eventually("the store is back", PATIENCE, async || {
            store.execute(StoreOp::Info).await.is_ok()
        })
        .await;
    }
}

/// A watch of a bucket that was created again would be blind until its revisions catch up, and a reader that
/// creates it while workers run must create the same one.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_created_on_demand_only_and_the_watch_of_the_old_one_ends() {
    let world = World::new().await;
    let store = &world.store;
    let mut watch = store.watch(WatchScope::All).await.expect("watches");
    assert_eq!(next(&mut watch).await, "caught up@0");
    write(store, put("a", "1", Expect::Any)).await;
    assert_eq!(next(&mut watch).await, "a=1@1");
    let before = info(store).await;
    crate::support::api(store, "STREAM.DELETE.KV_parti_orders", "").await;
    for _ in 0..3 {
        let gone = store
            .execute(StoreOp::Info)
            .await
            .expect_err("nobody creates it");
        assert_eq!(gone.kind, StoreErrorKind::Missing, "{gone}");
    }
    let created = match store.execute(StoreOp::Create).await {
        Ok(StoreReply::Info(info)) => info,
        other => panic!("not created: {other:?}"),
    };
    assert_ne!(created.created, before.created);
    assert_eq!(created.age, Duration::ZERO, "{created:?}");
    assert_eq!(created.last_revision.get(), 0);
    let lost = until(&mut watch, "lost").await;
    assert!(
        lost.last().is_some_and(|event| event.starts_with("lost")),
        "{lost:?}"
    );
    // The new one takes batches, as the first did.
    let batch = vec![put("a", "2", Expect::Absent), put("b", "2", Expect::Absent)];
    commit(store, batch).await.expect("a batch");
    let again = match store.execute(StoreOp::Create).await {
        Ok(StoreReply::Info(info)) => info,
        other => panic!("not answered: {other:?}"),
    };
    assert_eq!(
        (again.created, again.last_revision.get()),
        (created.created, 2)
    );
}
