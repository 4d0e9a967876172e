//! Conditional commits: the only authority everything else rests on.

use std::collections::BTreeSet;

use parti_core::{Expect, Revision, StoreErrorKind};
use tokio::task::JoinSet;

use crate::support::{World, commit, delete, get, info, put, write};

/// A condition that does not hold and is not noticed gives one partition to two workers.
#[tokio::test(flavor = "multi_thread")]
async fn a_single_write_happens_exactly_when_its_expectation_holds() {
    let world = World::new().await;
    let store = &world.store;
    let first = write(store, put("a", "1", Expect::Absent)).await;
    let wrong = Revision::new(first.get() + 7);
    for expect in [
        Expect::Absent,
        Expect::Revision(wrong),
        Expect::Revision(Revision::ZERO),
    ] {
        let error = commit(store, vec![put("a", "2", expect)]).await;
        let error = error.expect_err("the expectation does not hold");
        assert_eq!(error.kind, StoreErrorKind::Refused, "{error}");
        assert_eq!(get(store, "a").await.expect("there").revision, first);
    }
    let second = write(store, put("a", "2", Expect::Revision(first))).await;
    let third = write(store, put("a", "3", Expect::Any)).await;
    assert!(first < second && second < third);
    let missing = commit(store, vec![put("b", "1", Expect::Revision(first))]).await;
    assert_eq!(
        missing.expect_err("never written").kind,
        StoreErrorKind::Refused
    );
    assert_eq!(
        get(store, "a").await.and_then(|entry| entry.value),
        Some(b"3".to_vec())
    );
    assert_eq!(get(store, "b").await, None);
}

/// A worker ID that was released by deletion could never be claimed again.
#[tokio::test(flavor = "multi_thread")]
async fn a_tombstone_counts_as_absent_alone_and_in_a_batch() {
    let world = World::new().await;
    let store = &world.store;
    for batch in [false, true] {
        let born = write(store, put("a", "1", Expect::Absent)).await;
        let tombstone = write(store, delete("a", Expect::Revision(born))).await;
        let entry = get(store, "a").await.expect("the tombstone has a revision");
        assert_eq!((entry.revision, entry.value), (tombstone, None));
        let old = commit(store, vec![put("a", "2", Expect::Revision(born))]).await;
        assert_eq!(old.expect_err("stale").kind, StoreErrorKind::Refused);
        let mut writes = vec![put("a", "2", Expect::Absent)];
        if batch {
            writes.push(put("b", "2", Expect::Absent));
        }
        let revisions = commit(store, writes).await.expect("absent");
        assert!(revisions[0] > tombstone);
        let living = commit(store, vec![put("a", "3", Expect::Absent)]).await;
        assert_eq!(living.expect_err("it lives").kind, StoreErrorKind::Refused);
        write(store, delete("a", Expect::Any)).await;
    }
}

/// Half a generation would grant a partition that was not revoked.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_with_one_broken_expectation_writes_nothing() {
    let world = World::new().await;
    let store = &world.store;
    let head = write(store, put("head", "1", Expect::Absent)).await;
    let before = info(store).await.last_revision;
    for broken in 0..3 {
        let expect = |index, fine| {
            let wrong = Expect::Revision(Revision::new(999));
            if index == broken { wrong } else { fine }
        };
        let writes = vec![
            put("head", "2", expect(0, Expect::Revision(head))),
            put("a.x", "2", expect(1, Expect::Absent)),
            put("a.y", "2", expect(2, Expect::Any)),
        ];
        let error = commit(store, writes).await.expect_err("one is broken");
        assert_eq!(error.kind, StoreErrorKind::Refused, "{error}");
    }
    assert_eq!(info(store).await.last_revision, before);
    assert_eq!(get(store, "head").await.expect("there").revision, head);
    assert_eq!(get(store, "a.x").await, None);
}

/// Each record's revision is the condition of its next write.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_gives_each_write_its_own_rising_revision() {
    let world = World::new().await;
    let store = &world.store;
    let keys: Vec<_> = (0..1000).map(|n| format!("a.{n}")).collect();
    let writes = keys.iter().map(|key| put(key, "1", Expect::Absent));
    let revisions = commit(store, writes.collect()).await.expect("all absent");
    assert_eq!(revisions.len(), 1000);
    assert!(revisions.windows(2).all(|pair| pair[0] < pair[1]));
    for index in [0, 1, 500, 999] {
        let entry = get(store, &keys[index]).await.expect("written");
        assert_eq!(entry.revision, revisions[index], "{}", keys[index]);
    }
    let writes = vec![
        delete("a.0", Expect::Revision(revisions[0])),
        put("a.1", "2", Expect::Revision(revisions[1])),
    ];
    let next = commit(store, writes).await.expect("both hold");
    assert!(revisions[999] < next[0] && next[0] < next[1]);
    assert_eq!(get(store, "a.0").await.expect("a tombstone").value, None);
}

/// Two winners of one claim are two workers with one identity.
#[tokio::test(flavor = "multi_thread")]
async fn exactly_one_of_64_concurrent_commits_wins() {
    let world = World::new().await;
    let mut last = Expect::Absent;
    for round in 0..5 {
        let mut racers = JoinSet::new();
        for racer in 0..64 {
            let store = world.store.clone();
            let mut writes = vec![put("head", &format!("{round}/{racer}"), last)];
            if racer % 2 == 0 {
                writes.push(put(&format!("a.{racer}"), "x", Expect::Any));
            }
            racers.spawn(async move { (racer, commit(&store, writes).await) });
        }
        let mut winners = BTreeSet::new();
        while let Some(finished) = racers.join_next().await {
            match finished.expect("no panic") {
                (racer, Ok(revisions)) => drop(winners.insert((racer, revisions[0]))),
                (_, Err(error)) => assert_eq!(error.kind, StoreErrorKind::Refused, "{error}"),
            }
        }
        assert_eq!(winners.len(), 1, "{winners:?}");
        let (racer, revision) = winners.pop_first().expect("one");
        let entry = get(&world.store, "head").await.expect("written");
        let value = format!("{round}/{racer}").into_bytes();
        assert_eq!((entry.revision, entry.value), (revision, Some(value)));
        last = Expect::Revision(revision);
    }
}

/// A record that outgrew the limit must be named, not retried for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_over_the_limit_is_rejected_with_its_size() {
    let world = World::new().await;
    let store = &world.store;
    let most = info(store).await.max_value;
    let mut writes = vec![put("a", &"x".repeat(most), Expect::Absent)];
    commit(store, writes.clone())
        .await
        .expect("as large as allowed");
    writes.push(put("b", &"x".repeat(most + 1), Expect::Absent));
    writes[0].expect = Expect::Any;
    let error = commit(store, writes).await.expect_err("one byte too many");
    assert_eq!(error.kind, StoreErrorKind::Rejected);
    assert!(error.message.contains(&(most + 1).to_string()), "{error}");
    let pair = ["a", "b"].map(|key| put(key, &"y".repeat(most), Expect::Any));
    commit(store, pair.to_vec())
        .await
        .expect("largest values in a batch");
}
