//! Three servers, three replicas: lagging followers, moving leaders, refusals without a number.

use std::time::Duration;

use parti_core::{Expect, Store, StoreErrorKind, StoreOp, StoreReply, WatchScope};
use parti_nats::NatsStore;
use parti_testing::rig::nats_cluster::NatsCluster;
use parti_testing::rig::nats_server::ServerOptions;
use tokio::task::JoinSet;

use crate::support::{
    PATIENCE, commit, consumers, delete, eventually, get, group, info, list, next, options, put,
    until, write,
};

/// How long a new cluster may take to elect its leaders, and a stream to elect a new one.
const ELECTION_MAX: Duration = Duration::from_secs(40);

/// Three servers and a store with three replicas on them.
async fn cluster(servers: &ServerOptions) -> (NatsCluster, NatsStore) {
    let started = NatsCluster::start(3, servers);
    let cluster = started.unwrap_or_else(|error| panic!("{error}"));
    let mut opened = None;
    eventually("the cluster opens a bucket", ELECTION_MAX, async || {
        opened = NatsStore::connect(&cluster.url(), &group(), options().replicas(3))
            .await
            .ok();
        opened.is_some()
    })
    .await;
    (cluster, opened.expect("opened"))
}

/// What holds on one server must hold when replicas lag and leaders die.
#[tokio::test(flavor = "multi_thread")]
async fn three_replicas_keep_every_promise_when_the_leader_is_killed() {
    let (mut cluster, store) = cluster(&ServerOptions::default()).await;
    let mut watch = store.watch(WatchScope::All).await.expect("watches");
    assert_eq!(next(&mut watch).await, "caught up@0");
    one_of_many_wins(&store).await;
    let seen = until(&mut watch, "head=").await;
    assert_eq!(seen.len(), 1, "losers write nothing: {seen:?}");
    let revision = write(&store, delete("head", Expect::Any)).await;
    assert_eq!(next(&mut watch).await, format!("head-@{revision}"));
    let batch = ["head", "a.x", "a.y"].map(|key| put(key, "2", Expect::Absent));
    let revisions = commit(&store, batch.to_vec()).await.expect("absent");
    for (key, revision) in ["head", "a.x", "a.y"].iter().zip(&revisions) {
        assert_eq!(next(&mut watch).await, format!("{key}=2@{revision}"));
    }
    eventually("a list is whole on any replica", PATIENCE, async || {
        list(&store, "").await.0 == ["a.x", "a.y", "head"]
    })
    .await;
    let leader = cluster.wait_for_stream_leader("KV_parti_orders");
    let leader = leader.expect("somebody leads");
    cluster.node(leader).kill().expect("dies");
    let mut after = None;
    eventually(
        "writes go on under a new leader",
        ELECTION_MAX,
        async || {
            let written = commit(&store, vec![put("head", "3", Expect::Any)]).await;
            if let Err(error) = &written {
                let kind = error.kind;
                let fair = [StoreErrorKind::Unavailable, StoreErrorKind::Unknown];
                assert!(fair.contains(&kind), "{error}");
            }
            after = written.ok();
            after.is_some()
        },
    )
    .await;
    let last = after.expect("written")[0];
    let seen = until(&mut watch, &format!("head=3@{last}")).await;
    assert!(
        seen.last().is_some_and(|event| event.starts_with("head=3")),
        "{seen:?}"
    );
    assert_eq!(
        get(&store, "a.x").await.expect("kept").revision,
        revisions[1]
    );
    drop(watch);
    cluster.node(leader).restart().expect("comes back");
    // A cluster that has just changed its leader repeats a lost removal only after half a minute.
    cluster.wait_until_whole().expect("it catches up");
    eventually("no consumer is left", Duration::from_secs(75), async || {
        consumers(&store).await == 0
    })
    .await;
}

async fn one_of_many_wins(store: &NatsStore) {
    let mut racers = JoinSet::new();
    for racer in 0..32 {
        let store = store.clone();
        let write = put("head", &racer.to_string(), Expect::Absent);
        racers.spawn(async move { commit(&store, vec![write]).await });
    }
    let mut winners = 0;
    while let Some(finished) = racers.join_next().await {
        match finished.expect("no panic") {
            Ok(_) => winners += 1,
            Err(error) => assert_eq!(error.kind, StoreErrorKind::Refused, "{error}"),
        }
    }
    assert_eq!(winners, 1);
}

/// A server that is taken out of service for an update must cost a moment and no event.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_retires_sends_its_clients_to_the_others() {
    // The shortest the server allows; clients are sent away after the grace period.
    let quick = "lame_duck_duration: \"30s\"\nlame_duck_grace_period: \"1s\"";
    let (mut cluster, store) = cluster(&ServerOptions::default().config(quick)).await;
    let mut watch = store.watch(WatchScope::All).await.expect("watches");
    assert_eq!(next(&mut watch).await, "caught up@0");
    write(&store, put("a", "1", Expect::Any)).await;
    assert_eq!(next(&mut watch).await, "a=1@1");
    let connected_to = || store.client().server_info().server_name;
    let own = connected_to();
    let number = own.strip_prefix('s').and_then(|number| number.parse().ok());
    cluster
        .node(number.expect("a node"))
        .retire()
        .expect("is told");
    let mut after = None;
    eventually("work goes on elsewhere", ELECTION_MAX, async || {
        let written = commit(&store, vec![put("a", "2", Expect::Any)]).await;
        if let Err(error) = &written {
            let fair = [StoreErrorKind::Unavailable, StoreErrorKind::Unknown];
            assert!(fair.contains(&error.kind), "{error}");
        }
        after = written.ok().filter(|_| connected_to() != own);
        after.is_some()
    })
    .await;
    let last = after.expect("written")[0];
    let seen = until(&mut watch, &format!("a=2@{last}")).await;
    assert_eq!(seen.last(), Some(&format!("a=2@{last}")), "{seen:?}");
}

/// The leader of the stream is cut off with its clients and does not know it. It still answers reads;
/// if it also acknowledged a write, two workers would win one race.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_split_off_acknowledges_nothing_and_its_writes_lose() {
    let (cluster, store) = cluster(&ServerOptions::default()).await;
    let first = write(&store, put("head", "1", Expect::Absent)).await;
    let stream = "KV_parti_orders";
    let alone = cluster.wait_for_stream_leader(stream).expect("leads");
    let others: Vec<usize> = (0..3).filter(|&node| node != alone).collect();
    let on = async |node: usize| {
        let url = format!("nats://{}", cluster.addresses()[node]);
        let opened = NatsStore::connect(&url, &group(), options().replicas(3)).await;
        opened.expect("opens")
    };
    let (lonely, other) = (on(alone).await, on(others[0]).await);

    cluster.split(&[alone]);
    let next_write = |value| vec![put("head", value, Expect::Revision(first))];
    let error = commit(&lonely, next_write("2")).await;
    let error = error.expect_err("nobody else has it");
    let fair = [StoreErrorKind::Unavailable, StoreErrorKind::Unknown];
    assert!(fair.contains(&error.kind), "{error}");
    // The one before is still under way and may yet win, for all the server knows.
    let behind = commit(&lonely, next_write("3")).await;
    assert!(behind.is_err(), "{behind:?}");
    let old = get(&lonely, "head").await.expect("it still answers reads");
    assert_eq!(old.value.as_deref(), Some(b"1".as_slice()));
    assert_eq!(
        cluster.stream_leader_among(stream, &[alone]),
        Some(alone),
        "it believes in itself"
    );
    let mut won = None;
    eventually("the others write", ELECTION_MAX, async || {
        won = commit(&other, next_write("4")).await.ok();
        won.is_some()
    })
    .await;
    let won = won.expect("written")[0];
    // Its facts are from before: they looked like a bucket that was rolled back.
    let facts = lonely.execute(StoreOp::Info).await;
    let error = facts.expect_err("it has lost the others");
    assert_eq!(error.kind, StoreErrorKind::Unavailable, "{error}");

    cluster.heal();
    let settled = async || {
        get(&lonely, "head")
            .await
            .is_some_and(|entry| entry.revision == won)
    };
    eventually("the one that was alone has it", ELECTION_MAX, settled).await;
    let late = commit(&lonely, next_write("5")).await;
    assert_eq!(late.expect_err("too late").kind, StoreErrorKind::Refused);
    let last = get(&store, "head").await.expect("written");
    assert_eq!(
        (last.revision, last.value.as_deref()),
        (won, Some(b"4".as_slice()))
    );
}

/// Servers of a cluster take each of several creations at the same time, and tell of the same stream
/// that it was created then or then, as they lead it one after another. If workers took that for two
/// buckets, a fail-over would end the work of a group.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_many_create_at_once_keeps_one_identity_whichever_server_leads() {
    let started = NatsCluster::start(3, &ServerOptions::default());
    let mut cluster = started.unwrap_or_else(|error| panic!("{error}"));
    let patient = options().replicas(3).connect_timeout(ELECTION_MAX);
    let mut racers = JoinSet::new();
    for racer in 0..12 {
        let url = format!("nats://{}", cluster.addresses()[racer % 3]);
        let patient = patient.clone();
        racers.spawn(async move { NatsStore::connect(&url, &group(), patient).await });
    }
    let mut stores = Vec::new();
    while let Some(opened) = racers.join_next().await {
        stores.push(opened.expect("no panic").expect("opens"));
    }
    let (first, stream) = (info(&stores[0]).await.created, "KV_parti_orders");
    for _ in 0..3 {
        for store in &stores {
            let mut created = None;
            eventually("the facts", ELECTION_MAX, async || {
                created = match store.execute(StoreOp::Info).await {
                    Ok(StoreReply::Info(info)) => Some(info.created),
                    _ => None,
                };
                created.is_some()
            })
            .await;
            assert_eq!(created, Some(first));
        }
        let leader = cluster.wait_for_stream_leader(stream).expect("leads");
        cluster.node(leader).restart().expect("comes back");
        cluster.wait_until_whole().expect("whole");
    }
}
