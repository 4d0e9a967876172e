//! Partitions that move: planned, after a crash, and to an owner that is not the newest.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parti::StopMode;

use crate::support::{Log, RETENTIONS, World, eventually, publish, recording};

/// A consumer that repeats or skips at each deployment is what people leave queue groups for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planned_moves_under_load_skip_nothing_and_repeat_nothing() {
    for retention in RETENTIONS {
        planned_moves(retention).await;
    }
}

async fn planned_moves(retention: &str) {
    let world = World::with(retention).await;
    let log = Log::default();
    let first = recording(world.builder(), &log).await;
    let one = world.worker(&first).await;
    let (context, enough) = (world.context.clone(), Arc::new(AtomicBool::new(false)));
    let until = Arc::clone(&enough);
    let publisher = tokio::spawn(async move {
        let mut number = 0;
        while !until.load(Ordering::Acquire) {
            publish(&context, 20, number..number + 1).await;
            number += 1;
        }
        number
    });
    eventually("messages come", async || log.count() > 300).await;
    let second = recording(world.builder(), &log).await;
    let two = world.worker(&second).await;
    eventually("the second has its half", async || {
        second.status().waiting.len() == 4
    })
    .await;
    eventually("it works", async || second.status().handled > 200).await;
    one.stop(StopMode::Handoff).await.expect("it stops");
    let so_far = log.count();
    eventually("it goes on", async || log.count() > so_far + 200).await;
    enough.store(true, Ordering::Release);
    let numbers = publisher.await.expect("all is published");
    let wanted = 20 * usize::try_from(numbers).expect("small");
    eventually("all is handled", async || log.count() >= wanted).await;
    two.stop(StopMode::Handoff).await.expect("it stops");
    world.emptied(retention, &second).await;
    let repeats = log.check(20, numbers);
    assert_eq!(repeats, 0, "{retention}: a planned move repeats nothing");
    assert!(second.status().conditions.is_empty(), "{second:?}");
}

/// What a crashed worker had begun must come again, at once, in order, and say that it may have been seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_crash_the_next_owner_goes_on_at_the_first_message_that_was_not_committed() {
    for retention in RETENTIONS {
        crash(retention).await;
    }
}

async fn crash(retention: &str) {
    let world = World::with(retention).await;
    let log = Log::default();
    let first = recording(world.builder(), &log).await;
    let one = world.worker(&first).await;
    world.publish(20, 0..50).await;
    eventually("half is handled", async || log.count() >= 1000).await;
    let context = world.context.clone();
    let publisher = tokio::spawn(async move { publish(&context, 20, 50..100).await });
    eventually("it goes on", async || log.count() >= 1100).await;
    // Like a crash: nothing is released.
    drop((one, first));
    let second = recording(world.builder(), &log).await;
    let two = world.worker(&second).await;
    publisher.await.expect("all is published");
    eventually("all is handled", async || {
        let calls = log.calls();
        calls
            .values()
            .all(|calls| calls.iter().any(|call| call.number == 99))
    })
    .await;
    two.stop(StopMode::Handoff).await.expect("it stops");
    let repeats = log.check(20, 100);
    // At most what was not committed: 20 of each partition, and what came within the interval.
    assert!(repeats <= 1000, "{retention}: {repeats}");
    world.emptied(retention, &second).await;
}

/// A worker that comes back later must neither begin again nor miss what came meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_was_away_goes_on_where_it_was() {
    for retention in RETENTIONS {
        away(retention).await;
    }
}

async fn away(retention: &str) {
    let world = World::with(retention).await;
    let log = Log::default();
    for round in 0..3 {
        let orders = recording(world.builder(), &log).await;
        let manager = world.worker(&orders).await;
        world.publish(10, round * 10..round * 10 + 10).await;
        let wanted = usize::try_from((round + 1) * 100).expect("small");
        eventually("all is handled", async || log.count() >= wanted).await;
        manager.stop(StopMode::Handoff).await.expect("it stops");
    }
    assert_eq!(log.check(10, 30), 0);
    let orders = recording(world.builder(), &log).await;
    world.emptied(retention, &orders).await;
}
