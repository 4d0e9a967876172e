//! What is refused, and what stops a partition, by name.

use std::time::Duration;

use parti::StopMode;
use parti::jetstream::{Condition, ConsumeError, OnRecreated, Partitioned, StartAt};
use serde_json::json;

use crate::support::{Log, PARTITIONS, World, eventually, recording};

async fn refusal(builder: parti::jetstream::PartitionedBuilder) -> ConsumeError {
    let built = builder.on_message(|_| async { Ok(()) }).build().await;
    built.expect_err("it is refused")
}

/// Workers that count partitions differently leave some of them lying.
#[tokio::test]
async fn a_stream_or_a_group_with_other_partitions_is_refused_with_both_values() {
    let world = World::new().await;
    let bare = Partitioned::builder(world.context.clone(), "ORDERS").partitions(PARTITIONS);
    let text = refusal(bare).await.to_string();
    assert!(
        text.contains("no transform") && text.contains("partition(8"),
        "{text}"
    );
    drop(recording(world.builder(), &Log::default()).await);
    let text = refusal(world.builder().partitions(16)).await.to_string();
    assert!(
        text.contains("8 partitions") && text.contains("16"),
        "{text}"
    );
    let text = refusal(world.builder().transform("other.*"))
        .await
        .to_string();
    assert!(
        text.contains("orders.*") && text.contains("other.*"),
        "{text}"
    );
    let text = refusal(world.builder().numbered("orders"))
        .await
        .to_string();
    assert!(
        text.contains("orders.*.*") && text.contains("orders.*.>"),
        "{text}"
    );
    world.create("EVENTS", json!({})).await;
    for _ in 0..3 {
        world
            .context
            .publish("events.a", "x".into())
            .await
            .expect("sent")
            .await
            .expect("stored");
    }
    let late = Partitioned::builder(world.context.clone(), "EVENTS");
    let text = refusal(late.partitions(4).transform("events.*"))
        .await
        .to_string();
    assert!(
        text.contains("3 found"),
        "messages that nobody would read: {text}"
    );
    let missing = Partitioned::builder(world.context.clone(), "NOTHING").partitions(4);
    let error = refusal(missing).await;
    let gone = matches!(
        &error,
        ConsumeError::Condition(Condition::StreamMissing { .. })
    );
    assert!(gone, "{error}");
    world
        .create("WORK", json!({ "retention": "workqueue" }))
        .await;
    let work = Partitioned::builder(world.context.clone(), "WORK")
        .partitions(4)
        .numbered("work")
        .start_at(StartAt::New);
    let text = refusal(work).await.to_string();
    assert!(text.contains("New") && text.contains("All"), "{text}");
}

/// A cursor that is begun again by itself handles everything twice, or skips what was never handled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_or_a_bucket_that_is_gone_stops_with_a_condition() {
    let world = World::new().await;
    let log = Log::default();
    let orders = recording(world.builder(), &log).await;
    let manager = world.worker(&orders).await;
    world.publish(20, 0..5).await;
    eventually("all is handled", async || log.count() >= 100).await;
    manager.stop(StopMode::Handoff).await.expect("it stops");
    for partition in 0..PARTITIONS {
        let mut headers = parti::nats::async_nats::HeaderMap::new();
        headers.insert("KV-Operation", "DEL");
        let subject = format!("$KV.parti_cursors_ORDERS.billing.{partition}");
        let sent = world
            .context
            .publish_with_headers(subject, headers, "".into())
            .await;
        sent.expect("sent").await.expect("stored");
    }
    let manager = world.worker(&orders).await;
    eventually("each partition says so", async || {
        let conditions = orders.status().conditions;
        let missing = |condition: &Condition| matches!(condition, Condition::CursorMissing { .. });
        conditions.len() == 8 && conditions.values().all(missing)
    })
    .await;
    drop(manager);
    assert_eq!(log.count(), 100, "nothing is handled again");
    world
        .api("STREAM.DELETE.KV_parti_cursors_ORDERS", json!({}))
        .await;
    let error = refusal(world.builder()).await;
    let missing = matches!(
        &error,
        ConsumeError::Condition(Condition::CursorMissing { .. })
    );
    assert!(missing, "{error}");
}

/// A newer owner's position must not be overwritten, whatever the older one believes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_owner_commits_nothing_and_stops() {
    let world = World::new().await;
    let log = Log::default();
    let orders = recording(world.builder(), &log).await;
    let manager = world.worker(&orders).await;
    world.publish(20, 0..5).await;
    eventually("all is handled", async || log.count() >= 100).await;
    let subject = "$KV.parti_cursors_ORDERS.billing.3";
    let read = async || {
        let body = json!({ "last_by_subj": subject });
        world
            .api("STREAM.MSG.GET.KV_parti_cursors_ORDERS", body)
            .await["message"]["seq"]
            .clone()
    };
    // Somebody with a larger token takes over.
    let newer = json!({ "format": 1, "owner": { "token": u64::MAX, "nonce": 1 }, "hold": "held",
        "position": 2, "stream_created": "x" });
    let stored = world
        .context
        .publish(subject, newer.to_string().into())
        .await
        .expect("sent");
    let revision = stored.await.expect("stored").sequence;
    world.publish(20, 5..10).await;
    eventually("it is fenced", async || {
        let conditions = orders.status().conditions;
        matches!(
            conditions.get(&3),
            Some(Condition::Fenced {
                found: u64::MAX,
                ..
            })
        )
    })
    .await;
    manager.stop(StopMode::Handoff).await.expect("it stops");
    assert_eq!(read().await, json!(revision), "the newer cursor stands");
}

/// Positions of a stream that is no more would skip the first messages of the new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_created_again_stops_the_group_until_it_may_start_over() {
    let world = World::new().await;
    let log = Log::default();
    let orders = recording(world.builder(), &log).await;
    let manager = world.worker(&orders).await;
    world.publish(20, 0..5).await;
    eventually("all is handled", async || log.count() >= 100).await;
    world.api("STREAM.DELETE.ORDERS", json!({})).await;
    eventually("the stream is missed", async || {
        let conditions = orders.status().conditions;
        conditions
            .values()
            .any(|condition| matches!(condition, Condition::StreamMissing { .. }))
    })
    .await;
    let created = json!({ "subject_transform":
        { "src": "orders.*", "dest": "orders.{{partition(8,1)}}.{{wildcard(1)}}" } });
    world.create("ORDERS", created).await;
    world.publish(20, 0..2).await;
    eventually("each partition says so", async || {
        let conditions = orders.status().conditions;
        let other = |condition: &Condition| matches!(condition, Condition::StreamRecreated { .. });
        conditions.len() == 8 && conditions.values().all(other)
    })
    .await;
    assert_eq!(log.count(), 100, "nothing of the new stream is handled");
    manager.stop(StopMode::Handoff).await.expect("it stops");
    let over = Log::default();
    // The bucket of cursors is still the one; the new stream does not know it.
    let again = world.builder().on_recreated(OnRecreated::StartOver);
    let again = recording(again, &over).await;
    let manager = world.worker(&again).await;
    eventually("the new stream is handled", async || over.count() >= 40).await;
    manager.stop(StopMode::Handoff).await.expect("it stops");
    over.check(20, 2);
}

/// Messages that retention removed unhandled are lost; what is worse is not to know.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_beyond_the_position_is_reported_with_a_number() {
    let world = World::new().await;
    let log = Log::default();
    let orders = recording(world.builder(), &log).await;
    let manager = world.worker(&orders).await;
    world.publish(20, 0..5).await;
    eventually("all is handled", async || log.count() >= 100).await;
    manager.stop(StopMode::Handoff).await.expect("it stops");
    world.publish(20, 5..10).await;
    world.api("STREAM.PURGE.ORDERS", json!({})).await;
    world.publish(20, 10..12).await;
    let late = Log::default();
    let orders = recording(world.builder(), &late).await;
    let manager = world.worker(&orders).await;
    eventually("the rest is handled", async || late.count() >= 40).await;
    let status = orders.status();
    let overtaken =
        |condition: &Condition| matches!(condition, Condition::Overtaken { first: 201, .. });
    assert_eq!(status.conditions.len(), 8, "{status:?}");
    assert!(status.conditions.values().all(overtaken), "{status:?}");
    assert!(status.lost_at_most >= 100, "{status:?}");
    manager.stop(StopMode::Handoff).await.expect("it stops");
}

/// A group that is new to a stream begins where it was told, in every partition the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_group_begins_where_it_was_told() {
    let world = World::new().await;
    let prepared = recording(world.builder(), &Log::default()).await;
    drop(prepared);
    world.publish(20, 0..5).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = u64::try_from(now.expect("after 1970").as_nanos()).expect("before 2554");
    tokio::time::sleep(Duration::from_millis(20)).await;
    world.publish(20, 5..10).await;
    let mut groups = Vec::new();
    let starts = [
        ("all", StartAt::All, 200),
        ("new", StartAt::New, 40),
        ("sequence", StartAt::Sequence(151), 90),
        ("time", StartAt::Time(nanos), 140),
    ];
    for (name, start, expected) in starts {
        let log = Log::default();
        let orders = world.builder().group(name).start_at(start);
        groups.push((name, recording(orders, &log).await, log, expected));
    }
    world.publish(20, 10..12).await;
    for (name, orders, log, expected) in groups {
        let expected = if name == "all" {
            expected + 40
        } else {
            expected
        };
        let manager = world.worker(&orders).await;
        eventually("its messages are handled", async || log.count() >= expected).await;
        manager.stop(StopMode::Handoff).await.expect("it stops");
        assert_eq!(log.count(), expected, "{name}");
    }
}
