//! Servers joined by leaf nodes, each with a JetStream of its own or with none.

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::StreamExt as _;
use parti_core::{Expect, Store, StoreErrorKind, WatchScope};
use parti_nats::async_nats::ConnectOptions;
use parti_nats::{NatsOptions, NatsStore, OpenError};
use parti_testing::rig::nats_server::{NatsServer, ServerOptions};
use parti_testing::rig::proxy::{Admission, Proxy};
use tokio::time::timeout;

use crate::support::{
    PATIENCE, commit, delete, eventually, get, group, info, list, next, options, put, start, until,
    write,
};

/// A hub and two leaf nodes of it: one with a JetStream of its own, one without. The leaf nodes reach the
/// hub through the link.
pub(crate) struct Network {
    pub(crate) hub: NatsServer,
    pub(crate) leaf: NatsServer,
    pub(crate) plain: NatsServer,
    pub(crate) link: Proxy,
    folder: PathBuf,
}

impl Network {
    /// Joined, and each JetStream in a domain.
    async fn new(name: &str) -> Self {
        let network = Self::apart(name);
        network.join().await;
        for server in [&network.leaf, &network.plain] {
            eventually("the leaf reaches the hub", PATIENCE, async || {
                open(server, hub()).await.is_ok()
            })
            .await;
        }
        network
    }

    /// Not joined yet, and each JetStream in a domain.
    pub(crate) fn apart(name: &str) -> Self {
        Self::with(name, |server| {
            (format!(", domain: {server}"), String::new())
        })
    }

    /// Not joined yet; `lines` are those in the section of the JetStream, and beside it.
    pub(crate) fn with(name: &str, lines: impl Fn(&str) -> (String, String)) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let port = port.expect("a free port");
        let link = Proxy::start(port, 1).expect("a proxy");
        link.set_admission(Admission::Refuse);
        let folder = std::env::temp_dir().join(format!("parti-{name}-{}", std::process::id()));
        let server = |name: &str, lines: &str| {
            let lines = format!("server_name: {name}\n{lines}");
            start(ServerOptions::default().without_jetstream().config(&lines))
        };
        let stored = |name: &str, leaf_nodes: &str| {
            let (store, (within, beside)) = (folder.join(name), lines(name));
            server(
                name,
                &format!("jetstream {{ store_dir: {store:?}{within} }}\n{beside}\n{leaf_nodes}"),
            )
        };
        let user = "user: link, password: link";
        let listen = format!(
            "leafnodes {{ listen: \"{port}\", no_advertise: true, authorization {{ {user} }} }}"
        );
        let url = format!("nats://link:link@{}", link.address());
        let remote = format!("leafnodes {{ reconnect: 1, remotes: [ {{ url: {url:?} }} ] }}");
        Self {
            hub: stored("hub", &listen),
            leaf: stored("leaf", &remote),
            plain: server("plain", &remote),
            link,
            folder,
        }
    }

    /// Lets the leaf nodes reach the hub, and waits until messages pass.
    pub(crate) async fn join(&self) {
        self.link.set_admission(Admission::Forward);
        let client = async |server: &NatsServer| {
            let options = ConnectOptions::with_user_and_password("u".to_owned(), "p".to_owned());
            options.connect(server.url()).await.expect("connects")
        };
        let mut heard = client(&self.hub)
            .await
            .subscribe("joined.*")
            .await
            .expect("subscribes");
        for (server, subject) in [(&self.leaf, "joined.leaf"), (&self.plain, "joined.plain")] {
            let says = client(server).await;
            eventually("the leaf reaches the hub", PATIENCE, async || {
                says.publish(subject, "".into()).await.expect("says");
                let next = timeout(Duration::from_millis(20), heard.next()).await;
                next.is_ok_and(|message| message.is_some_and(|m| &*m.subject == subject))
            })
            .await;
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // A folder that stays is litter, not an error.
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

pub(crate) fn hub() -> NatsOptions {
    options().domain("hub")
}

pub(crate) async fn open(
    server: &NatsServer,
    options: NatsOptions,
) -> Result<NatsStore, OpenError> {
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
