//! A server whose wall clock is set while it runs, and on whose data it starts again.
//!
//! It is separate because what is shown here is that something does not matter.

use std::time::Duration;

use parti_core::{Expect, Revision, Store, StoreErrorKind, StoreInfo, WatchScope};
use parti_nats::NatsStore;
use parti_testing::rig::nats_server::NatsServer;

use crate::support::{
    PATIENCE, World, api, commit, eventually, get, info, list, next, put, until, write,
};

const HOUR: i64 = 3_600;

/// The hour of the server's own answers, to see that its clock is another one at all.
async fn told_time(store: &NatsStore) -> String {
    let answer = api(store, "STREAM.INFO.KV_parti_orders", "").await;
    answer["ts"].as_str().expect("a time").to_owned()
}

async fn set(store: &NatsStore, server: &NatsServer, hours: i64) {
    let before = told_time(store).await;
    server.set_clock(hours * HOUR).expect("set");
    let after = told_time(store).await;
    assert_ne!(before[..13], after[..13], "the clock is {hours} h off");
}

/// The creation time names the history and the store claims no age: facts that followed a clock
/// would have a group give up everything, or grant what somebody still relies on.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_follows_the_wall_clock_of_the_server() {
    let mut world = World::new().await;
    let store = world.store.clone();
    let mut watch = store.watch(WatchScope::All).await.expect("watches");
    assert_eq!(next(&mut watch).await, "caught up@0");
    let facts = |info: StoreInfo| (info.created, info.age, info.last_revision.get());
    let (created, age, _) = facts(info(&store).await);
    assert_eq!(age, Duration::ZERO, "it claims to be no older than new");
    let mut revision = 0;
    for hours in [1, -1, 24, -24] {
        set(&store, &world.server, hours).await;
        for value in ["1", "2"] {
            let expect = if revision == 0 {
                Expect::Absent
            } else {
                Expect::Revision(Revision::new(revision))
            };
            let written = write(&store, put("a", value, expect)).await.get();
            assert_eq!(written, revision + 1, "{hours} h");
            revision = written;
            assert_eq!(next(&mut watch).await, format!("a={value}@{revision}"));
        }
        let stale = commit(&store, vec![put("a", "3", Expect::Absent)]).await;
        assert_eq!(stale.expect_err("there").kind, StoreErrorKind::Refused);
        assert_eq!(
            get(&store, "a").await.map(|entry| entry.revision.get()),
            Some(revision)
        );
        assert_eq!(list(&store, "").await, (vec!["a".to_owned()], revision));
        assert_eq!(
            facts(info(&store).await),
            (created, Duration::ZERO, revision)
        );
    }
    // The server comes back with the machine's time, a day after that of its last messages.
    world.server.restart().expect("comes back");
    let mut last = None;
    eventually("a write after the restart", PATIENCE, async || {
        let written = commit(&store, vec![put("a", "4", Expect::Any)]).await;
        last = written.ok();
        last.is_some()
    })
    .await;
    let last = last.expect("written")[0];
    let seen = until(&mut watch, &format!("a=4@{last}")).await;
    assert!(seen.iter().all(|event| event != "lost"), "{seen:?}");
    assert_eq!(info(&store).await.created, created, "the same history");
}
