//! Servers joined by leaf nodes, each with a JetStream of its own or with none.

use std::net::TcpListener;
use std::path::PathBuf;

use parti_core::{Expect, Store, StoreErrorKind, WatchScope};
use parti_nats::{NatsOptions, NatsStore, OpenError};
use parti_testing::nats_server::{NatsServer, ServerOptions};

use crate::support::{
    PATIENCE, commit, delete, eventually, get, group, info, list, next, options, put, start, write,
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
async fn whoever_names_the_domain_meets_in_one_bucket_from_every_server() {
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
        for watch in &mut watches {
            for event in [
                format!("{one}=1@{alone}"),
                format!("{one}=2@{}", batch[0]),
                format!("{two}=2@{}", batch[1]),
                format!("{two}-@{}", revision + 4),
            ] {
                assert_eq!(next(watch).await, event);
            }
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
