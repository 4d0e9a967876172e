//! Servers joined by leaf nodes, each with a JetStream of its own or with none.

use std::net::TcpListener;
use std::path::PathBuf;

use parti_core::{Expect, Store, StoreErrorKind, WatchScope};
use parti_nats::{NatsOptions, NatsStore, OpenError};
use parti_testing::rig::nats_server::{NatsServer, ServerOptions};

use crate::support::{
    Log, PATIENCE, commit, delete, eventually, get, group, info, list, next, options, put, start,
    until, write,
};

/// A hub and two leaf nodes of it: one with a JetStream of its own, one without.
struct Network {
    hub: NatsServer,
    leaf: NatsServer,
    plain: NatsServer,
    folder: PathBuf,
}

impl Network {
    async fn new(name: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let port = port.expect("a free port").port();
        let folder = std::env::temp_dir().join(format!("parti-{name}-{}", std::process::id()));
        let server = |name: &str, lines: &str| {
            let lines = format!("server_name: {name}\n{lines}");
            start(ServerOptions::default().without_jetstream().config(&lines))
        };
        let stored = |name: &str| {
            let store = folder.join(name);
            format!("jetstream {{ store_dir: {store:?}, domain: {name} }}")
        };
        let listen = format!("leafnodes {{ listen: \"127.0.0.1:{port}\" }}");
        let remote = format!("leafnodes {{ remotes: [ {{ url: \"nats://127.0.0.1:{port}\" }} ] }}");
        let network = Self {
            hub: server("hub", &format!("{}\n{listen}", stored("hub"))),
            leaf: server("leaf", &format!("{}\n{remote}", stored("leaf"))),
            plain: server("plain", &remote),
            folder,
        };
        for server in [&network.leaf, &network.plain] {
            eventually("the leaf reaches the hub", PATIENCE, async || {
                open(server, hub()).await.is_ok()
            })
            .await;
        }
        network
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // A folder that stays is litter, not an error.
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

fn hub() -> NatsOptions {
    options().domain("hub")
}

async fn open(server: &NatsServer, options: NatsOptions) -> Result<NatsStore, OpenError> {
    NatsStore::connect(&server.url(), &group(), options).await
}

/// Workers that connect to the nearest server must meet in one bucket, or every partition has two
/// owners.
#[tokio::test(flavor = "multi_thread")]
async fn workers_that_name_the_domain_meet_in_one_bucket_from_every_server() {
    let network = Network::new("domains").await;
    let mut stores = Vec::new();
    for server in [&network.hub, &network.leaf, &network.plain] {
        stores.push(open(server, hub()).await.expect("opens"));
    }
    let created = info(&stores[0]).await.created;
    let mut watches = Vec::new();
    for store in &stores {
        assert_eq!(info(store).await.created, created);
        let mut watch = store.watch(WatchScope::All).await.expect("watches");
        assert_eq!(next(&mut watch).await, "caught up@0");
        watches.push(watch);
    }
    let mut revision = 0;
    for (number, store) in stores.iter().enumerate() {
        let (one, two) = (format!("k.{number}"), format!("b.{number}"));
        let alone = write(store, put(&one, "1", Expect::Absent)).await;
        let batch = vec![
            put(&one, "2", Expect::Revision(alone)),
            put(&two, "2", Expect::Absent),
        ];
        let batch = commit(store, batch).await.expect("a batch");
        write(store, delete(&two, Expect::Revision(batch[1]))).await;
        // Over a link that has just come up the first message may be lost; what is overwritten meanwhile
        // is not sent again.
        let end = format!("{two}-@{}", revision + 4);
        for watch in &mut watches {
            let seen = until(watch, &end).await;
            assert_eq!(seen.last(), Some(&end), "{seen:?}");
            assert!(seen.contains(&format!("{one}=2@{}", batch[0])), "{seen:?}");
        }
        let stale = commit(store, vec![put(&one, "3", Expect::Absent)]).await;
        assert_eq!(stale.expect_err("stale").kind, StoreErrorKind::Refused);
        revision += 4;
    }
    for store in &stores {
        let (keys, upto) = list(store, "k.").await;
        assert_eq!((keys.len(), upto), (3, revision));
        assert!(
            get(store, "b.0")
                .await
                .is_none_or(|entry| entry.value.is_none())
        );
    }
}

/// A domain that does not exist must be told as that, not as a bucket that is missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_domain_that_nobody_serves_is_named() {
    let network = Network::new("nobody").await;
    let error = open(&network.plain, options()).await.map(drop);
    let error = error.expect_err("no JetStream here").to_string();
    assert!(
        error.contains("JetStream") && error.contains("domain"),
        "{error}"
    );
    let error = open(&network.hub, options().domain("elsewhere"))
        .await
        .map(drop);
    let error = error.expect_err("nobody serves it").to_string();
    assert!(error.contains("elsewhere"), "{error}");
}

/// Workers that connect to the nearest server and were not told which JetStream to use: each of two
/// groups gives every partition an owner, and nothing else would say so.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_exists_twice_under_one_name_is_told_on_both_sides() {
    let network = Network::new("twice").await;
    let told = async |store: &NatsStore| {
        let faults = info(store).await.faults;
        faults.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let at_hub = open(&network.hub, options()).await.expect("opens");
    let beside = open(&network.hub, options()).await.expect("opens");
    for store in [&at_hub, &beside] {
        assert_eq!(told(store).await, [""; 0], "one group");
    }
    let at_leaf = open(&network.leaf, options()).await.expect("opens");
    for (store, own, other) in [(&at_hub, "hub", "leaf"), (&at_leaf, "leaf", "hub")] {
        eventually("it is told", PATIENCE, async || {
            // One of the stores of a group hears it each time.
            info(&at_hub).await;
            info(&at_leaf).await;
            let words = told(store).await.join("; ");
            words.contains(&format!("one of domain \"{own}\""))
                && words.contains(&format!("one of domain \"{other}\""))
                && words.contains("NatsOptions::domain")
        })
        .await;
    }
    // Who means the hub meets the others there.
    let meets = open(&network.leaf, hub()).await.expect("opens");
    assert_eq!(info(&meets).await.created, info(&at_hub).await.created);
    info(&at_leaf).await;
    eventually("somebody at the leaf knows", PATIENCE, async || {
        info(&meets).await;
        !told(&at_leaf).await.is_empty()
    })
    .await;
    assert_eq!(told(&meets).await, [""; 0], "it was told where to look");
}

/// The search is a help, and must not become a duty: without the permission everything else works.
#[tokio::test(flavor = "multi_thread")]
async fn where_the_search_for_twins_is_not_permitted_nobody_is_bothered() {
    let (log, _guard) = Log::begin();
    let server = start(ServerOptions::default().config(
        "authorization { users: [ { user: u, password: p, permissions: { \
         publish: { deny: [\"parti.group.>\"] }, subscribe: { deny: [\"parti.group.>\"] } } } ] }",
    ));
    let url = format!("nats://u:p@{}", server.address());
    let store = NatsStore::connect(&url, &group(), options()).await;
    let store = store.expect("opens");
    for _ in 0..20 {
        assert_eq!(info(&store).await.faults, []);
    }
    write(&store, put("a", "1", Expect::Absent)).await;
    eventually("both are denied", PATIENCE, async || {
        let text = std::fs::read_to_string(server.log_path()).unwrap_or_default();
        text.matches("Violation").count() >= 2
    })
    .await;
    for _ in 0..20 {
        info(&store).await;
    }
    let text = std::fs::read_to_string(server.log_path()).unwrap_or_default();
    let denials = text.matches("Violation").count();
    assert!(denials < 10, "{denials} lines in the server's log");
    assert!(!log.text().contains("WARN"), "{}", log.text());
}
