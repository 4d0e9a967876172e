//! Three servers, three replicas: lagging followers, moving leaders, refusals without a number.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use parti_core::{Expect, Store, StoreErrorKind, WatchScope};
use parti_nats::NatsStore;
use parti_testing::nats_server::{NatsServer, ServerOptions};
use tokio::task::JoinSet;

use crate::support::{
    api, commit, consumers, delete, eventually, get, group, list, next, options, put, until, write,
};

/// How long a new cluster may take to elect its leaders, and a stream to elect a new one.
const ELECTION_MAX: Duration = Duration::from_secs(40);

struct Cluster {
    servers: Vec<NatsServer>,
    store: NatsStore,
}

impl Cluster {
    async fn new() -> Self {
        let listeners: Vec<_> = (0..3)
            .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"))
            .collect();
        let routes: Vec<_> = listeners
            .iter()
            .map(|listener| listener.local_addr().expect("bound").to_string())
            .collect();
        drop(listeners);
        let urls: Vec<_> = routes
            .iter()
            .map(|route| format!("nats://{route}"))
            .collect();
        // A server greets before its cluster is whole, so they can be started one by one.
        let servers: Vec<_> = routes
            .iter()
            .enumerate()
            .map(|(number, route)| {
                let cluster = format!(
                    "server_name: s{number}\n\
                     cluster {{ name: c, listen: {route:?}, routes: {urls:?} }}"
                );
                NatsServer::start(ServerOptions::default().config(&cluster)).expect("starts")
            })
            .collect();
        let url: Vec<_> = servers.iter().map(NatsServer::url).collect();
        let url = url.join(",");
        let mut opened = None;
        eventually("the cluster opens a bucket", ELECTION_MAX, async || {
            opened = NatsStore::connect(&url, &group(), options().replicas(3))
                .await
                .ok();
            opened.is_some()
        })
        .await;
        let store = opened.expect("opened");
        Self { servers, store }
    }

    /// The number of the server that leads the bucket's stream.
    async fn leader(&self) -> usize {
        let info = api(&self.store, "STREAM.INFO.KV_parti_orders", "").await;
        let leader = info["cluster"]["leader"].as_str().expect("a leader");
        leader.trim_start_matches('s').parse().expect("our name")
    }
}

/// What holds on one server must hold when replicas lag and leaders die.
#[tokio::test(flavor = "multi_thread")]
async fn three_replicas_keep_every_promise_when_the_leader_is_killed() {
    let mut cluster = Cluster::new().await;
    let store = cluster.store.clone();
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
    eventually(
        "a list is whole on any replica",
        Duration::from_secs(5),
        async || list(&store, "").await.0 == ["a.x", "a.y", "head"],
    )
    .await;
    let leader = cluster.leader().await;
    cluster.servers[leader].kill().expect("dies");
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
    cluster.servers[leader].restart().expect("comes back");
    // A cluster that has just changed its leader repeats a lost removal only after half a minute.
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
