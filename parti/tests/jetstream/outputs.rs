//! Outputs that are stored with the position: each once, whatever happens to owners and servers.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use parti::StopMode;
use parti::jetstream::{
    Condition, ConsumeError, Output, Partitioned, PartitionedBuilder, repartition,
};
use parti::nats::async_nats::jetstream::consumer::{AckPolicy, pull};
use serde_json::json;

use crate::support::{RETENTIONS, World, connect, eventually, publish, worker};

async fn world(retention: &str) -> World {
    let world = World::with(retention).await;
    world
        .create("RESULTS", json!({ "allow_atomic": true }))
        .await;
    world
}

async fn copying(builder: PartitionedBuilder) -> Partitioned {
    let built = builder.on_message_into("RESULTS", "results.fence", |message| {
        let key = message.subject().rsplit('.').next().unwrap_or_default();
        let subject = format!("results.out.{key}");
        let output = Output::new(subject, message.payload());
        std::future::ready(Ok(vec![output]))
    });
    built
        .build()
        .await
        .unwrap_or_else(|error| panic!("{error}"))
}

async fn stored(world: &World) -> u64 {
    let body = json!({ "subjects_filter": "results.out.>" });
    let info = world.api("STREAM.INFO.RESULTS", body).await;
    let subjects = info["state"]["subjects"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    subjects
        .values()
        .filter_map(serde_json::Value::as_u64)
        .sum()
}

/// What was put out, by key.
async fn outputs(world: &World) -> BTreeMap<String, Vec<u64>> {
    let stream = world.context.get_stream("RESULTS").await.expect("a stream");
    let config = pull::Config {
        filter_subject: "results.out.>".to_owned(),
        ack_policy: AckPolicy::None,
        ..pull::Config::default()
    };
    let consumer = stream.create_consumer(config).await.expect("a consumer");
    let mut found = BTreeMap::<String, Vec<u64>>::new();
    let mut left = stored(world).await;
    while left > 0 {
        let mut batch = consumer
            .fetch()
            .max_messages(500)
            .messages()
            .await
            .expect("a batch");
        while let Some(message) = batch.next().await {
            let message = message.expect("a message");
            let number = std::str::from_utf8(&message.payload).expect("text").parse();
            let key = message
                .subject
                .rsplit('.')
                .next()
                .unwrap_or_default()
                .to_owned();
            found
                .entry(key)
                .or_default()
                .push(number.expect("a number"));
            left -= 1;
        }
    }
    found
}

/// Owners that crash before they commit, and servers that are killed, must not put anything out twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_input_is_put_out_once_in_order_through_crashes_of_owners_and_of_the_server() {
    for retention in RETENTIONS {
        put_out_once(retention).await;
    }
}

async fn put_out_once(retention: &str) {
    let mut world = world(retention).await;
    let orders = copying(world.builder()).await;
    let mut manager = Some((world.worker(&orders).await, orders));
    let mut published = 0;
    for round in 0..4 {
        let context = world.context.clone();
        let numbers = published..published + 40;
        let publisher = tokio::spawn(async move { publish(&context, 20, numbers).await });
        let least = published * 20 + 300;
        eventually("it works", async || stored(&world).await >= least).await;
        if round < 3 {
            // Like a crash: what was handled and not committed is handled again.
            drop(manager.take());
        }
        publisher.await.expect("all is published");
        published += 40;
        if round == 1 {
            world.server.kill().expect("it is killed");
            world.server.restart().expect("it comes back");
            world.client = connect(&world.server.url()).await;
            world.context = parti::nats::async_nats::jetstream::new(world.client.clone());
        }
        if manager.is_none() {
            let orders = copying(world.builder()).await;
            manager = Some((worker(&world.server.url(), &orders).await, orders));
        }
    }
    // A kill may have taken what was published just before: the stream says what there is.
    let info = world.api("STREAM.INFO.ORDERS", json!({})).await;
    let wanted = info["state"]["last_seq"].as_u64().expect("a number");
    assert_eq!(wanted, 20 * published);
    eventually("all is put out", async || stored(&world).await >= wanted).await;
    let (manager, orders) = manager.take().expect("one runs");
    manager.stop(StopMode::Handoff).await.expect("it stops");
    for (key, numbers) in outputs(&world).await {
        let all: Vec<u64> = (0..published).collect();
        assert_eq!(numbers, all, "{retention}: {key}");
    }
    world.emptied(retention, &orders).await;
}

/// Positions that live beside the outputs go through a re-partition as others do, also when their owner
/// crashes in it: each input is put out once, in order by key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outputs_are_put_out_once_through_a_re_partition() {
    for retention in RETENTIONS {
        re_partitioned(retention).await;
    }
}

async fn re_partitioned(retention: &str) {
    let world = world(retention).await;
    let orders = copying(world.builder()).await;
    let manager = world.worker(&orders).await;
    let context = world.context.clone();
    let publisher = tokio::spawn(async move { publish(&context, 20, 0..150).await });
    eventually("it works", async || stored(&world).await >= 300).await;
    let done = repartition(&world.context, "ORDERS", 12).await;
    done.unwrap_or_else(|error| panic!("{retention}: {error}"));
    drop((manager, orders));
    let orders = copying(world.builder()).await;
    let manager = world.worker(&orders).await;
    publisher.await.expect("all is published");
    eventually("all is put out", async || stored(&world).await >= 3000).await;
    manager.stop(StopMode::Handoff).await.expect("it stops");
    let found = outputs(&world).await;
    assert_eq!(found.len(), 20, "{retention}");
    for (key, numbers) in found {
        let all: Vec<u64> = (0..150).collect();
        assert_eq!(numbers, all, "{retention}: {key}");
    }
}

/// A stream that can lose a cursor, or has none of the fence's subjects, would put out twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_output_stream_that_cannot_keep_cursors_is_refused_and_a_purged_one_stops() {
    let world = world("limits").await;
    world.create("PLAIN", json!({})).await;
    let refusal = async |stream: &str, fence: &str| {
        let none = |_| std::future::ready(Ok(Vec::new()));
        let built = world
            .builder()
            .group("refused")
            .on_message_into(stream, fence, none);
        built.build().await.expect_err("it is refused").to_string()
    };
    let text = refusal("PLAIN", "plain.fence").await;
    assert!(text.contains("allow_atomic"), "{text}");
    let text = refusal("RESULTS", "elsewhere").await;
    assert!(
        text.contains("no stream") && text.contains("RESULTS"),
        "{text}"
    );
    let orders = copying(world.builder()).await;
    let manager = world.worker(&orders).await;
    world.publish(20, 0..5).await;
    eventually("all is put out", async || stored(&world).await >= 100).await;
    manager.stop(StopMode::Handoff).await.expect("it stops");
    let built = world
        .builder()
        .on_message(|_| std::future::ready(Ok(())))
        .build()
        .await;
    let text = built.expect_err("the cursors are elsewhere").to_string();
    assert!(text.contains("the bucket wanted"), "{text}");
    world.api("STREAM.PURGE.RESULTS", json!({})).await;
    let orders = copying(world.builder()).await;
    let manager = world.worker(&orders).await;
    eventually("each partition says so", async || {
        let conditions = orders.status().conditions;
        let missing = |condition: &Condition| matches!(condition, Condition::CursorMissing { .. });
        conditions.len() == 8 && conditions.values().all(missing)
    })
    .await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(stored(&world).await, 0, "nothing is put out again");
    drop(manager);
    world.api("STREAM.DELETE.RESULTS", json!({})).await;
    let gone = world
        .builder()
        .on_message_into("RESULTS", "results.fence", |_| {
            std::future::ready(Ok(Vec::new()))
        });
    let error = gone.build().await.expect_err("there is no stream");
    let missing = matches!(
        &error,
        ConsumeError::Condition(Condition::StreamMissing { .. })
    );
    assert!(missing, "{error}");
}
