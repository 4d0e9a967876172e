//! Two groups of one name: workers connect to the nearest of two servers, a hub and a leaf node with a
//! JetStream of its own.

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use parti::health::HealthCode;
use parti::nats::async_nats::ConnectOptions;
use parti::nats::{NatsOptions, NatsStore};
use parti::sources::StaticSource;
use parti::{GroupName, LaunchError, Manager, StopMode};
use parti_testing::rig::nats_server::{NatsServer, ServerOptions};
use parti_testing::rig::proxy::{Admission, Proxy};

use crate::recorder::{Recorder, until};
use crate::{PATIENCE, config, detail, held, never_twice};

/// The two servers, and the link over which the leaf reaches the hub; it is down at first.
struct Servers {
    hub: NatsServer,
    leaf: NatsServer,
    link: Proxy,
    folder: PathBuf,
}

impl Servers {
    fn apart(name: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let port = port.expect("a free port");
        let link = Proxy::start(port, 1).expect("a proxy");
        link.set_admission(Admission::Refuse);
        let folder = std::env::temp_dir().join(format!("parti-{name}-{}", std::process::id()));
        let start = |name: &str, rest: &str| {
            let store = folder.join(name);
            let lines = format!(
                "server_name: {name}\njetstream {{ store_dir: {store:?}, domain: {name} }}\n{rest}"
            );
            let options = ServerOptions::default().without_jetstream().config(&lines);
            NatsServer::start(options).unwrap_or_else(|error| panic!("{error}"))
        };
        let listen = format!("leafnodes {{ listen: \"{port}\", no_advertise: true }}");
        let url = format!("nats://{}", link.address());
        let remote = format!("leafnodes {{ reconnect: 1, remotes: [ {{ url: {url:?} }} ] }}");
        Self {
            hub: start("hub", &listen),
            leaf: start("leaf", &remote),
            link,
            folder,
        }
    }

    async fn join(&self) {
        self.link.set_admission(Admission::Forward);
        let group = GroupName::new("other").expect("valid");
        let reach = async {
            // The link is up as soon as the hub is reached over it.
            let url = self.leaf.url();
            while NatsStore::connect(&url, &group, hub()).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let reached = tokio::time::timeout(PATIENCE, reach).await;
        reached.expect("the leaf reaches the hub");
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        // A folder that stays is litter, not an error.
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

fn hub() -> NatsOptions {
    NatsOptions::default().domain("hub")
}

/// Nobody told it where the group is. Answers are waited for long enough for a busy machine.
fn unnamed() -> NatsOptions {
    NatsOptions::default().connect_timeout(Duration::from_secs(30))
}

async fn begin(
    server: &NatsServer,
    options: NatsOptions,
    handler: &Recorder,
) -> Result<Manager, LaunchError> {
    let source = StaticSource::numbered("p", 8).expect("valid");
    let builder = Manager::builder(config(1), source, handler.clone());
    let builder = builder.nats_with(&server.url(), ConnectOptions::new(), options);
    builder.start().await
}

/// A worker that starts at the leaf would give everything a second owner. It is told what to set, and the
/// living group has no damage and no alarm from it.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_group_of_the_name_does_not_start_and_the_first_goes_on() {
    let servers = Servers::apart("second");
    servers.join().await;
    let at_hub = Recorder::new("hub");
    let first = begin(&servers.hub, unnamed(), &at_hub).await;
    let first = first.expect("starts");
    until("all are owned", PATIENCE, || held(&at_hub).len() == 8).await;
    let before = held(&at_hub);
    let at_leaf = at_hub.beside("leaf");
    let refused = begin(&servers.leaf, unnamed(), &at_leaf).await;
    let refused = refused.map(drop).expect_err("it would be the second");
    assert!(matches!(refused, LaunchError::Store(_)), "{refused:?}");
    let text = refused.to_string();
    for word in ["\"hub\"", "\"leaf\"", "NatsOptions::domain"] {
        assert!(text.contains(word), "{text}");
    }
    assert_eq!(held(&at_hub), before, "living owners keep theirs");
    assert_eq!(detail(&first, HealthCode::StoreUnfit), None);
    // With what it was told to set it takes part.
    let second = begin(&servers.leaf, hub(), &at_leaf).await;
    let second = second.expect("starts");
    until("they share", PATIENCE, || {
        first.assignment().len() == 4 && second.assignment().len() == 4
    })
    .await;
    never_twice(&at_hub);
}

/// Both began while the link between them was down, and both give everything an owner. Each has to say so,
/// and the one option that repairs it has to work.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_exists_twice_says_so_on_both_sides_until_the_domain_is_named() {
    let servers = Servers::apart("twice");
    let (at_hub, at_leaf) = (Recorder::new("hub"), Recorder::new("leaf"));
    let first = begin(&servers.hub, NatsOptions::default(), &at_hub).await;
    let first = first.expect("starts");
    let second = begin(&servers.leaf, NatsOptions::default(), &at_leaf).await;
    let second = second.expect("starts");
    servers.join().await;
    for (worker, own, other) in [(&first, "hub", "leaf"), (&second, "leaf", "hub")] {
        until("it is a condition", PATIENCE, || {
            let said = detail(worker, HealthCode::StoreUnfit).unwrap_or_default();
            [own, other]
                .iter()
                .all(|domain| said.contains(&format!("{domain:?}")))
        })
        .await;
    }
    until("both own everything", PATIENCE, || {
        held(&at_hub).len() == 8 && held(&at_leaf).len() == 8
    })
    .await;
    let before = held(&at_hub);
    // Told which JetStream to use, the worker at the leaf takes part in the group of the hub.
    second.stop(StopMode::Handoff).await.expect("stops");
    let joined = at_hub.beside("joined");
    let second = begin(&servers.leaf, hub(), &joined).await;
    let second = second.expect("starts");
    until("they share", PATIENCE, || {
        first.assignment().len() == 4 && second.assignment().len() == 4
    })
    .await;
    until("all are owned", PATIENCE, || held(&at_hub).len() == 8).await;
    let kept = first.assignment();
    assert!(
        kept.iter()
            .all(|guard| before.get(guard.partition()) == Some(&guard.token().get())),
        "who lived kept what it has now"
    );
    never_twice(&at_hub);
}
