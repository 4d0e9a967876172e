//! Failing messages, slow partitions, and what may wait in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parti::health::HealthCode;
use parti::jetstream::{Condition, OnPoison, PartitionMessage};
use parti::{HandlerError, StopMode};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::support::{Log, World, eventually};

fn poison(log: &Log, message: &PartitionMessage) -> Result<(), HandlerError> {
    if message.subject().ends_with("key-3") && message.payload() == b"2" {
        return Err(HandlerError::new("not\nthis one"));
    }
    log.add(message);
    Ok(())
}

/// A message that can never be handled must neither be lost nor hold up others' partitions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison_stops_its_partition_or_is_skipped_or_becomes_a_dead_letter() {
    let world = World::new().await;
    world.create("DEAD", json!({})).await;
    let subject = "dead.orders".to_owned();
    let policies = [
        ("stop", OnPoison::Stop),
        ("skip", OnPoison::Skip),
        ("dead", OnPoison::DeadLetter { subject }),
    ];
    let mut first = true;
    for (group, policy) in policies {
        let log = Log::default();
        let calls = log.clone();
        let orders = world.builder().group(group).attempts(3).on_poison(policy);
        let orders = orders.retry_pauses(Duration::from_millis(1), Duration::from_millis(5));
        let orders = orders.on_message(move |message| std::future::ready(poison(&calls, &message)));
        let orders = orders.build().await.expect("it is built");
        if std::mem::take(&mut first) {
            world.publish(20, 0..5).await;
        }
        let manager = world.worker(&orders).await;
        let settled = async || match group {
            "stop" => orders.status().conditions.len() == 1,
            _ => log.count() >= 99,
        };
        eventually("the policy is carried out", settled).await;
        let status = orders.status();
        match group {
            "stop" => {
                let condition = status.conditions.values().next().expect("one");
                let Condition::Poisoned {
                    attempts: 3,
                    sequence,
                    ..
                } = condition
                else {
                    panic!("{condition:?}")
                };
                assert_eq!(*sequence, 44, "the third of the fourth key");
                let health = manager.health();
                let told = health.conditions.iter();
                let told = told.filter(|c| c.code == HealthCode::WorkTroubled);
                let told: Vec<_> = told.map(ToString::to_string).collect();
                assert!(health.is_ready() && told.len() == 1, "{health}");
                assert!(told[0].contains("1 partitions stand still"), "{told:?}");
                assert!(told[0].contains("message 44 failed 3 times"), "{told:?}");
                assert!(!log.calls()["key-3"].iter().any(|call| call.number > 2));
            }
            "skip" => assert_eq!((status.skipped, status.dead_lettered), (1, 0)),
            _ => assert_eq!((status.skipped, status.dead_lettered), (0, 1)),
        }
        if group != "stop" {
            assert!(!manager.health().has(HealthCode::WorkTroubled), "{group}");
        }
        manager.stop(StopMode::Handoff).await.expect("it stops");
    }
    let body = json!({ "last_by_subj": "dead.orders" });
    let letter = world.api("STREAM.MSG.GET.DEAD", body).await;
    assert_eq!(letter["message"]["data"], json!("Mg=="), "{letter}");
}

/// A handler that panics must not take the partition with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_panics_is_tried_again() {
    let world = World::new().await;
    let log = Log::default();
    let (calls, panics) = (log.clone(), Arc::new(AtomicUsize::new(0)));
    let orders = world
        .builder()
        .retry_pauses(Duration::from_millis(1), Duration::from_millis(1));
    let orders = orders.on_message(move |message| {
        let (calls, panics) = (calls.clone(), Arc::clone(&panics));
        async move {
            let fails = message.payload() == b"1" && panics.fetch_add(1, Ordering::SeqCst) < 5;
            assert!(!fails, "a planted panic");
            calls.add(&message);
            Ok(())
        }
    });
    let orders = orders.build().await.expect("it is built");
    let manager = world.worker(&orders).await;
    world.publish(5, 0..3).await;
    eventually("all is handled", async || log.count() >= 15).await;
    manager.stop(StopMode::Handoff).await.expect("it stops");
    log.check(5, 3);
}

/// One slow key must not hold up the others, nor fill the memory with what waits behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_partition_holds_up_no_other_and_keeps_to_its_bounds() {
    let world = World::new().await;
    let log = Log::default();
    let (calls, gate) = (log.clone(), Arc::new(Semaphore::new(0)));
    let gates = Arc::clone(&gate);
    let orders = world.builder().max_waiting(50, 4000);
    let orders = orders.on_message(move |message| {
        let (calls, gate) = (calls.clone(), Arc::clone(&gates));
        async move {
            if message.subject().ends_with("key-0") {
                gate.acquire().await.expect("it stays open").forget();
            }
            calls.add(&message);
            Ok(())
        }
    });
    let orders = orders.build().await.expect("it is built");
    let manager = world.worker(&orders).await;
    world.publish(20, 0..300).await;
    let slow = parti::jetstream::partition_of("key-0", 8);
    let held = |key: &str| parti::jetstream::partition_of(key, 8) == slow;
    eventually("the others are handled", async || {
        let calls = log.calls();
        (0..20)
            .map(|key| format!("key-{key}"))
            .filter(|key| !held(key))
            .all(|key| calls.get(&key).is_some_and(|calls| calls.len() == 300))
    })
    .await;
    let waiting = orders.status().waiting[&slow];
    assert!(waiting <= 50, "{waiting} wait, 50 may");
    gate.add_permits(10_000);
    eventually("all is handled", async || log.count() >= 6000).await;
    manager.stop(StopMode::Handoff).await.expect("it stops");
    assert_eq!(log.check(20, 300), 0);
}

/// A few large messages fill the memory as many small ones do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_messages_of_a_slow_partition_keep_to_its_bytes() {
    for retention in ["limits", "workqueue"] {
        large_messages(retention).await;
    }
}

async fn large_messages(retention: &str) {
    const SIZE: usize = 10_000;
    let world = World::with(retention).await;
    let gate = Arc::new(Semaphore::new(0));
    let gates = Arc::clone(&gate);
    let orders = world
        .builder()
        .max_waiting_bytes(20 * SIZE as u64, 64 << 20);
    let orders = orders.on_message(move |_| {
        let gate = Arc::clone(&gates);
        async move {
            gate.acquire().await.expect("it stays open").forget();
            Ok(())
        }
    });
    let orders = orders.build().await.expect("it is built");
    let manager = world.worker(&orders).await;
    let payload = "x".repeat(SIZE);
    let waiting = || {
        orders
            .status()
            .waiting
            .into_values()
            .max()
            .unwrap_or_default()
    };
    let mut most = 0;
    for _ in 0..400 {
        let sent = world
            .context
            .publish("orders.key-0", payload.clone().into())
            .await;
        sent.expect("it is sent").await.expect("it is stored");
        most = most.max(waiting());
    }
    eventually("the queue is full", async || {
        most = most.max(waiting());
        most >= 10
    })
    .await;
    // One that is in the hands of the handler, and what was asked for while the size was not known.
    let bound = 64;
    assert!(most <= bound, "{retention}: {most} wait, {bound} may");
    gate.add_permits(10_000);
    eventually("all is handled", async || {
        most = most.max(waiting());
        orders.status().handled == 400
    })
    .await;
    assert!(most <= bound, "{retention}: {most} waited, {bound} may");
    manager.stop(StopMode::Handoff).await.expect("it stops");
}
