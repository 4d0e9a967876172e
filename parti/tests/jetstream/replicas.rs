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

async fn leaders(retention: &str) {
    if std::env::var_os("SHOW").is_some() {
        let _ = tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::INFO).try_init();
    }

    let cluster = NatsCluster::start(3, &ServerOptions::default());
    let mut cluster = cluster.unwrap_or_else(|error| panic!("{error}"));
    let client = connect(&cluster.url()).await;
    let mut context = jetstream::new(client);
    context.set_timeout(Duration::from_secs(1));
    let config = json!({ "name": "ORDERS", "subjects": ["orders.>"], "storage": "file",
        "retention": retention, "num_replicas": 3, "allow_direct": true });
    eventually("the stream is created", async || {
        ask(&context, "STREAM.CREATE.ORDERS", &config)
            .await
            .is_some()
    })
    .await;
    let sink = Sink::default();
    let orders = sink.fill(World::consumption(context.clone())).await;
    let manager = member(&cluster.url(), &orders).await;
    let publisher = {
        let context = context.clone();
        tokio::spawn(async move { publish(&context, 10, 0..300).await })
    };
    eventually("messages come", async || sink.count() > 200).await;
    let names = ask(&context, "CONSUMER.NAMES.ORDERS", &json!({})).await;
    for name in names.expect("an answer")["consumers"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let name = name.as_str().expect("a name");
        ask(
            &context,
            &format!("CONSUMER.LEADER.STEPDOWN.ORDERS.{name}"),
            &json!({}),
        )
        .await;
    }
    let so_far = sink.count();
    eventually("it goes on", async || sink.count() > so_far + 200).await;
    ask(&context, "STREAM.LEADER.STEPDOWN.ORDERS", &json!({})).await;
    let so_far = sink.count();
    eventually("it goes on", async || sink.count() > so_far + 200).await;
    let leader = cluster.wait_for_stream_leader("ORDERS").expect("a leader");
    cluster.node(leader).kill().expect("it is killed");
    let so_far = sink.count();
    eventually("it goes on with two", async || sink.count() > so_far + 200).await;
    cluster.node(leader).restart().expect("it comes back");
    publisher.await.expect("all is published");
    let until = Instant::now() + PATIENCE;
    while sink.count() < 3000 {
        if Instant::now() > until {
            println!("count {} missing {:?} status {:?}", sink.count(), sink.gaps(300), orders.status());
            let body = json!({"offset": 0});
            println!("{:?}", ask(&context, "STREAM.INFO.ORDERS", &json!({})).await);
            let all = ask(&context, "CONSUMER.LIST.ORDERS", &body).await;
            for c in all.expect("list")["consumers"].as_array().into_iter().flatten() {
                println!("{} delivered {} floor {} pend {} np {} start {}", c["name"], c["delivered"], c["ack_floor"], c["num_ack_pending"], c["num_pending"], c["config"]["opt_start_seq"]);
            }
            panic!("lost");
        }
        sleep(Duration::from_millis(10)).await;
    }
    let mut left = None;
    let until = Instant::now() + PATIENCE;
    while left.as_ref().is_none_or(|info: &Value| info["state"]["messages"] != json!(0)) {
        if Instant::now() > until {
            let body = json!({"offset": 0});
            println!("{left:?}");
            let all = ask(&context, "CONSUMER.LIST.ORDERS", &body).await;
            for c in all.expect("list")["consumers"].as_array().into_iter().flatten() {
                println!("{} delivered {} floor {} pend {} np {} start {}", c["name"], c["delivered"], c["ack_floor"], c["num_ack_pending"], c["num_pending"], c["config"]["opt_start_seq"]);
            }
            let first = left.expect("x")["state"]["first_seq"].clone();
            println!("{:?}", ask(&context, "STREAM.MSG.GET.ORDERS", &json!({"seq": first})).await);
            panic!("left");
        }
        left = ask(&context, "STREAM.INFO.ORDERS", &json!({})).await;
        sleep(Duration::from_millis(10)).await;
    }
    manager.stop(StopMode::Handoff).await.expect("it stops");
    assert_eq!(sink.check(10, 300), 0, "{retention}");
}

/// A cluster that changes its leaders must cost time and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_that_step_down_or_die_lose_and_repeat_nothing_of_a_work_queue() {
    leaders("workqueue").await;
}

/// The same where what nobody is interested in is dropped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_that_step_down_or_die_lose_and_repeat_nothing_by_interest() {
    leaders("interest").await;
}
