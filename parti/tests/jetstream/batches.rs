//! Batches, and partitions that are paused.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use parti::jetstream::{OnPoison, PartitionMessage, Partitioned};
use parti::{HandlerError, StopMode};
use serde_json::json;

use crate::support::{Log, RETENTIONS, World, eventually};

/// A batch that is committed in part, mixed or out of order is worse than single messages.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_are_of_one_partition_in_order_and_bounded_through_a_crash() {
    for retention in RETENTIONS {
        let world = World::with(retention).await;
        let (log, largest) = (Log::default(), Arc::new(AtomicUsize::new(0)));
        let fill = async || {
            let (log, largest) = (log.clone(), Arc::clone(&largest));
            let orders = world.builder().on_batch(30, move |batch| {
                let partitions: BTreeSet<_> =
                    batch.iter().map(PartitionMessage::partition).collect();
                assert_eq!(partitions.len(), 1);
                largest.fetch_max(batch.len(), Ordering::Relaxed);
                batch.iter().for_each(|message| log.add(message));
                std::future::ready(Ok(()))
            });
            orders.build().await.expect("it is built")
        };
        let first = fill().await;
        world.publish(20, 0..60).await;
        let one = world.worker(&first).await;
        eventually("it works", async || log.count() >= 200).await;
        drop((one, first));
        let second = fill().await;
        let two = world.worker(&second).await;
        world.publish(20, 60..80).await;
        eventually("all is handled", async || {
            let calls = log.calls();
            let ended = |key: &Vec<crate::support::Call>| key.iter().any(|call| call.number == 79);
            calls.len() == 20 && calls.values().all(ended)
        })
        .await;
        two.stop(StopMode::Handoff).await.expect("it stops");
        log.check(20, 80);
        let largest = largest.load(Ordering::Relaxed);
        assert!((2..=30).contains(&largest), "{retention}: {largest}");
        world.emptied(retention, &second).await;
    }
}

/// One poisoned message must not take those around it to the dead letters.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_batch_that_fails_only_what_is_poison_is_skipped() {
    let world = World::new().await;
    let (log, alone) = (Log::default(), Arc::new(Mutex::new(Vec::new())));
    let (calls, singles) = (log.clone(), Arc::clone(&alone));
    let orders = world
        .builder()
        .attempts(2)
        .retry_pauses(Duration::from_millis(1), Duration::from_millis(1))
        .on_poison(OnPoison::Skip)
        .on_batch(50, move |batch| {
            let is_poison = |message: &PartitionMessage| {
                message.subject().ends_with("key-3") && message.payload() == b"2"
            };
            if batch.iter().any(is_poison) {
                if let [message] = batch.as_slice() {
                    let mut singles = singles.lock().expect("no panic");
                    singles.push((message.sequence(), message.may_repeat()));
                }
                return std::future::ready(Err(HandlerError::new("not this one")));
            }
            batch.iter().for_each(|message| calls.add(message));
            std::future::ready(Ok(()))
        });
    let orders = orders.build().await.expect("it is built");
    world.publish(20, 0..5).await;
    let manager = world.worker(&orders).await;
    eventually("all others are handled", async || log.count() >= 99).await;
    eventually("one is skipped", async || orders.status().skipped == 1).await;
    manager.stop(StopMode::Handoff).await.expect("it stops");
    assert_eq!(log.count(), 99);
    assert_eq!(*alone.lock().expect("no panic"), [(44, true), (44, true)]);
}

async fn pausing(world: &World, log: &Log) -> Partitioned {
    let builder = world.builder().max_waiting(50, 4000);
    let builder = builder.measure_lag(Duration::from_secs(1));
    crate::support::recording(builder, log).await
}

/// A partition whose target is down must be held without holding up others, and lose nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_partition_stands_still_and_goes_on_where_it_was() {
    for retention in RETENTIONS {
        let world = World::with(retention).await;
        let log = Log::default();
        let orders = pausing(&world, &log).await;
        let paused = parti::jetstream::partition_of("key-0", 8);
        orders.pause(paused);
        let manager = world.worker(&orders).await;
        world.publish(20, 0..100).await;
        let is_held = |key: &str| parti::jetstream::partition_of(key, 8) == paused;
        let held = (0..20).filter(|key| is_held(&format!("key-{key}"))).count();
        eventually("the others are handled", async || {
            log.count() == (20 - held) * 100
        })
        .await;
        assert!(!log.calls().keys().any(|key| is_held(key)), "{retention}");
        assert_eq!(orders.status().paused, BTreeSet::from([paused]));
        assert!(orders.status().waiting[&paused] <= 50, "{orders:?}");
        // What operators alert on: that a partition stands still, and how much it has to do.
        let lag = orders.lag().await.expect("an answer");
        let behind: Vec<_> = lag.iter().filter(|(_, messages)| **messages > 0).collect();
        assert_eq!(
            behind,
            [(&paused, &(held as u64 * 100))],
            "{retention}: {lag:?}"
        );
        eventually("it is measured", async || {
            orders.status().lag.get(&paused) == Some(&(held as u64 * 100))
        })
        .await;
        orders.resume(paused);
        eventually("all is handled", async || log.count() == 2000).await;
        eventually("it is measured again", async || {
            orders.status().lag.values().sum::<u64>() == 0
        })
        .await;
        orders.pause(paused);
        manager.stop(StopMode::Handoff).await.expect("it stops");
        assert_eq!(log.check(20, 100), 0, "{retention}");
        orders.resume(paused);
        world.emptied(retention, &orders).await;
        let info = world.api("STREAM.INFO.ORDERS", json!({})).await;
        assert_eq!(info["state"]["last_seq"], json!(2000));
    }
}
