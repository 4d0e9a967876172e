//! Limits that are reached, and streams that others have laid out.

use parti::StopMode;
use parti::jetstream::{Condition, Partitioned};
use serde_json::json;

use crate::support::{Log, PARTITIONS, World, eventually, recording};

/// A limit that somebody set must not look like an outage: it lasts until somebody raises it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_of_consumers_is_a_condition_until_it_is_raised() {
    for retention in ["limits", "workqueue"] {
        let world = World::with(retention).await;
        let mut config = world.api("STREAM.INFO.ORDERS", json!({})).await["config"].clone();
        world.api("STREAM.DELETE.ORDERS", json!({})).await;
        // The server does not change it afterwards on all versions: one consumer fits, of somebody else.
        config["max_consumers"] = json!(1);
        world.api("STREAM.CREATE.ORDERS", config.clone()).await;
        let other = json!({ "stream_name": "ORDERS", "config": { "durable_name": "other",
            "ack_policy": "explicit", "filter_subject": "orders.other.>" } });
        world.api("CONSUMER.CREATE.ORDERS.other", other).await;
        let log = Log::default();
        let orders = recording(world.builder(), &log).await;
        let manager = world.worker(&orders).await;
        world.publish(20, 0..5).await;
        eventually("each partition says so", async || {
            let conditions = orders.status().conditions;
            let reached =
                |condition: &Condition| matches!(condition, Condition::LimitReached { .. });
            conditions.len() == PARTITIONS as usize && conditions.values().all(reached)
        })
        .await;
        let conditions = orders.status().conditions;
        let text = conditions.values().next().expect("one").to_string();
        assert!(text.contains("maximum consumers"), "{text}");
        assert_eq!(log.count(), 0);
        // By limits one reader is enough; a work queue needs one for each partition.
        world.api("CONSUMER.DELETE.ORDERS.other", json!({})).await;
        if retention == "limits" {
            eventually("all is handled", async || log.count() >= 100).await;
            log.check(20, 5);
            assert!(orders.status().conditions.is_empty(), "it is over");
        }
        manager.stop(StopMode::Handoff).await.expect("it stops");
    }
}

/// A cursor that cannot be stored is told, and what it covers is handled again and not lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_bucket_of_cursors_is_a_condition_until_there_is_room() {
    let world = World::new().await;
    let log = Log::default();
    let orders = recording(world.builder(), &log).await;
    let manager = world.worker(&orders).await;
    world.publish(20, 0..2).await;
    eventually("all is handled", async || log.count() >= 40).await;
    let stream = "STREAM.INFO.KV_parti_cursors_ORDERS";
    let mut config = world.api(stream, json!({})).await["config"].clone();
    let limit = async |config: &serde_json::Value| {
        world
            .api("STREAM.UPDATE.KV_parti_cursors_ORDERS", config.clone())
            .await;
    };
    config["max_bytes"] = json!(1);
    limit(&config).await;
    world.publish(20, 2..4).await;
    eventually("it says so", async || {
        let conditions = orders.status().conditions;
        let mut conditions = conditions.values();
        conditions.any(|condition| matches!(condition, Condition::LimitReached { .. }))
    })
    .await;
    config["max_bytes"] = json!(-1);
    limit(&config).await;
    eventually("it is over, and all is stored", async || {
        let lag = orders.lag().await.expect("an answer");
        orders.status().conditions.is_empty() && lag.values().sum::<u64>() == 0
    })
    .await;
    manager.stop(StopMode::Handoff).await.expect("it stops");
    log.check(20, 4);
}

/// A stream that was laid out for partitioned consumer groups is taken as it is, beside their members.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_a_partitioned_consumer_group_is_taken_as_it_is() {
    let world = World::new().await;
    let layout = json!({ "subject_transform": { "src": "foo.*",
        "dest": "{{partition(8,1)}}.foo.{{wildcard(1)}}" } });
    world.create("FOO", layout).await;
    let member = json!({ "stream_name": "FOO", "config": { "durable_name": "cg-m1",
        "ack_policy": "explicit", "filter_subjects": ["0.>", "1.>", "2.>", "3.>"] } });
    world.api("CONSUMER.CREATE.FOO.cg-m1", member).await;
    let described = async || {
        let mut config = world.api("STREAM.INFO.FOO", json!({})).await["config"].clone();
        config
            .as_object_mut()
            .expect("an object")
            .remove("metadata");
        let member = world.api("CONSUMER.INFO.FOO.cg-m1", json!({})).await;
        (
            config,
            member["config"].clone(),
            member["num_pending"].clone(),
        )
    };
    let before = described().await;
    let log = Log::default();
    let foo = Partitioned::builder(world.context.clone(), "FOO").partitions(PARTITIONS);
    let foo = recording(foo.group("mine"), &log).await;
    let manager = world.worker(&foo).await;
    for number in 0..5 {
        for key in 0..20 {
            let subject = format!("foo.key-{key}");
            let sent = world
                .context
                .publish(subject, number.to_string().into())
                .await;
            sent.expect("sent").await.expect("stored");
        }
    }
    eventually("all is handled", async || log.count() >= 100).await;
    log.check(20, 5);
    let after = described().await;
    assert_eq!(
        (&after.0, &after.1),
        (&before.0, &before.1),
        "nothing of theirs is changed"
    );
    assert_ne!(after.2, json!(0), "nothing of theirs is acknowledged");
    manager.stop(StopMode::Handoff).await.expect("it stops");
}
