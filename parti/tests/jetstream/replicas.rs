//! Three servers: leaders that step down and die under a group.

use std::time::Duration;

use parti::jetstream::Partitioned;
use parti::nats::NatsOptions;
use parti::nats::async_nats::jetstream::{self, Context};
use parti::nats::async_nats::{ConnectOptions, HeaderMap};
use parti::{Config, Manager, Preset, StopMode};
use parti_testing::rig::nats_cluster::NatsCluster;
use parti_testing::rig::nats_server::ServerOptions;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::sink::Sink;
use crate::support::{PATIENCE, World, connect, eventually};

async fn ask(context: &Context, method: &str, body: &Value) -> Option<Value> {
    let asked = context.request::<_, _, Value>(method.to_owned(), body);
    let answer = timeout(Duration::from_secs(2), asked).await.ok()?.ok()?;
    answer.get("error").is_none().then_some(answer)
}

/// Publishes until each is stored, once.
async fn publish(context: &Context, keys: usize, numbers: std::ops::Range<u64>) {
    for number in numbers {
        for key in 0..keys {
            loop {
                let mut headers = HeaderMap::new();
                headers.insert("Nats-Msg-Id", format!("{key}:{number}"));
                let subject = format!("orders.key-{key}");
                let payload = number.to_string().into();
                let sent = context
                    .publish_with_headers(subject, headers, payload)
                    .await;
                let stored = timeout(
                    Duration::from_secs(1),
                    sent.expect("it is sent").into_future(),
                );
                if matches!(stored.await, Ok(Ok(_))) {
                    break;
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn member(url: &str, orders: &Partitioned) -> Manager {
    let config = Config::builder("billing")
        .preset(Preset::Fast)
        .lease(Duration::from_secs(30))
        .expected_workers(1)
        .build()
        .expect("a configuration");
    let options = NatsOptions::default().replicas(3);
    let manager = Manager::builder(config, orders.source(), orders.clone());
    let manager = manager.nats_with(url, ConnectOptions::new(), options);
    let manager = manager.start().await.expect("it starts");
    manager.wait_assigned().await.expect("it is assigned");
    manager
}

/// A group on three servers, and a publisher.
struct Cluster {
    nodes: NatsCluster,
    context: Context,
    sink: Sink,
    orders: Partitioned,
}

impl Cluster {
    async fn new(retention: &str) -> Self {
        let nodes = NatsCluster::start(3, &ServerOptions::default());
        let nodes = nodes.unwrap_or_else(|error| panic!("{error}"));
        let mut context = jetstream::new(connect(&nodes.url()).await);
        context.set_timeout(Duration::from_secs(1));
        let config = json!({ "name": "ORDERS", "subjects": ["orders.>"], "storage": "file",
            "retention": retention, "num_replicas": 3, "allow_direct": true });
        eventually("the stream is created", async || {
            let made = ask(&context, "STREAM.CREATE.ORDERS", &config).await;
            made.is_some()
        })
        .await;
        let sink = Sink::default();
        let mut built = None;
        eventually("the group is built", async || {
            let taking = sink.clone();
            let builder = World::consumption(context.clone()).unproven_replicas();
            let orders = builder.on_message(move |message| {
                taking.take(&message);
                std::future::ready(Ok(()))
            });
            built = orders.build().await.ok();
            built.is_some()
        })
        .await;
        let orders = built.expect("built");
        Self {
            nodes,
            context,
            sink,
            orders,
        }
    }

    async fn goes_on(&self) {
        let so_far = self.sink.count();
        eventually("it goes on", async || self.sink.count() > so_far + 200).await;
    }

    /// All leaders step down, and the stream's is killed.
    async fn changes_leaders(&mut self) {
        let none = json!({});
        let names = ask(&self.context, "CONSUMER.NAMES.ORDERS", &none).await;
        let names = names.expect("an answer");
        for name in names["consumers"].as_array().into_iter().flatten() {
            let name = name.as_str().expect("a name");
            let method = format!("CONSUMER.LEADER.STEPDOWN.ORDERS.{name}");
            ask(&self.context, &method, &none).await;
        }
        self.goes_on().await;
        ask(&self.context, "STREAM.LEADER.STEPDOWN.ORDERS", &none).await;
        self.goes_on().await;
        let leader = self.nodes.wait_for_stream_leader("ORDERS");
        let leader = leader.expect("a leader");
        self.nodes.node(leader).kill().expect("it is killed");
        self.goes_on().await;
        self.nodes.node(leader).restart().expect("it comes back");
    }
}

async fn leaders(retention: &str) {
    let mut cluster = Cluster::new(retention).await;
    let url = cluster.nodes.url();
    let manager = member(&url, &cluster.orders).await;
    let context = cluster.context.clone();
    let publisher = tokio::spawn(async move { publish(&context, 10, 0..300).await });
    cluster.goes_on().await;
    cluster.changes_leaders().await;
    publisher.await.expect("all is published");
    let Cluster { sink, orders, .. } = &cluster;
    let deadline = Instant::now() + PATIENCE;
    while sink.count() < 3000 {
        let gaps = sink.gaps(300);
        assert!(Instant::now() < deadline, "{gaps:?} {:?}", orders.status());
        sleep(Duration::from_millis(50)).await;
    }
    manager.stop(StopMode::Handoff).await.expect("it stops");
    // Servers whose leaders change can keep what was acknowledged: that the stream is empty is not asked for.
    assert_eq!(sink.check(10, 300), 0, "{retention}");
}

/// A cluster that changes its leaders must cost time and nothing else. It does not hold, which is why such
/// streams are refused unless asked for: about one run in ten loses messages of one partition.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "fails in about one run in ten, see the decision about acknowledgements"]
async fn leaders_that_step_down_or_die_lose_and_repeat_nothing() {
    for retention in ["workqueue", "interest"] {
        leaders(retention).await;
    }
}
