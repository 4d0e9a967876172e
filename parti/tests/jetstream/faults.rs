//! Operators and outages: what a running group makes of them.

use std::time::Duration;

use parti::jetstream::OnPoison;
use parti::{HandlerError, StopMode};
use serde_json::json;

use crate::support::{Log, RETENTIONS, World, eventually, publish, recording};

/// A reader is made to be thrown away: a deletion must not stop the group.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_an_operator_deletes_are_made_again_without_loss_or_repeat() {
    for retention in ["limits", "workqueue"] {
        readers_deleted(retention).await;
    }
}

async fn readers_deleted(retention: &str) {
    let world = World::with(retention).await;
    let log = Log::default();
    let orders = recording(world.builder(), &log).await;
    let manager = world.worker(&orders).await;
    let context = world.context.clone();
    let publisher = tokio::spawn(async move { publish(&context, 20, 0..200).await });
    for least in [200, 800, 1600] {
        eventually("messages come", async || log.count() > least).await;
        for name in world.consumers().await {
            world
                .api(&format!("CONSUMER.DELETE.ORDERS.{name}"), json!({}))
                .await;
        }
    }
    publisher.await.expect("all is published");
    eventually("all is handled", async || log.count() >= 4000).await;
    manager.stop(StopMode::Handoff).await.expect("it stops");
    assert_eq!(log.check(20, 200), 0, "{retention}");
    world.emptied(retention, &orders).await;
    // The durable of an owner that leaves while it is made is left to the next.
    eventually("readers are deleted", async || {
        retention == "workqueue" || world.consumers().await.is_empty()
    })
    .await;
}

/// A server that is killed and comes back must find a group that goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_is_survived_without_loss() {
    for retention in RETENTIONS {
        server_killed(retention).await;
    }
}

async fn server_killed(retention: &str) {
    let mut world = World::with(retention).await;
    let log = Log::default();
    let orders = recording(world.builder(), &log).await;
    let manager = world.worker(&orders).await;
    world.publish(20, 0..20).await;
    eventually("messages come", async || log.count() >= 400).await;
    world.server.kill().expect("it is killed");
    tokio::time::sleep(Duration::from_millis(200)).await;
    world.server.restart().expect("it comes back");
    eventually("the client is back", async || {
        let asked = world.client.request("$JS.API.INFO", "".into());
        tokio::time::timeout(Duration::from_secs(1), asked)
            .await
            .is_ok_and(|a| a.is_ok())
    })
    .await;
    // What was acknowledged just before a kill may be gone on one node: what is published now counts.
    let info = world.api("STREAM.INFO.ORDERS", json!({})).await;
    assert_eq!(info["state"]["last_seq"], json!(400), "{info}");
    world.publish(20, 20..40).await;
    eventually("all is handled", async || {
        let calls = log.calls();
        calls
            .values()
            .all(|calls| calls.iter().any(|call| call.number == 39))
    })
    .await;
    manager.stop(StopMode::Handoff).await.expect("it stops");
    log.check(20, 40);
    world.emptied(retention, &orders).await;
}

/// A server that stands still gives neither an error nor a heartbeat; a group that waits for one hangs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stood_still_is_noticed_and_nothing_is_lost() {
    let world = World::new().await;
    let log = Log::default();
    let orders = recording(world.builder(), &log).await;
    let manager = world.worker(&orders).await;
    world.publish(20, 0..20).await;
    eventually("messages come", async || log.count() >= 400).await;
    world.server.pause().expect("it stands still");
    tokio::time::sleep(Duration::from_secs(4)).await;
    world.server.resume().expect("it goes on");
    world.publish(20, 20..40).await;
    eventually("all is handled", async || {
        let calls = log.calls();
        calls
            .values()
            .all(|calls| calls.iter().any(|call| call.number == 39))
    })
    .await;
    manager.stop(StopMode::Handoff).await.expect("it stops");
    log.check(20, 40);
}

/// A dead letter that no stream has stored would be a message lost in silence.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_that_nobody_stores_is_no_dead_letter() {
    let world = World::new().await;
    let subject = "nobody.listens".to_owned();
    let orders = world
        .builder()
        .attempts(1)
        .retry_pauses(Duration::from_millis(1), Duration::from_millis(5))
        .request_timeout(Duration::from_millis(300))
        .on_poison(OnPoison::DeadLetter { subject })
        .on_message(|_| std::future::ready(Err(HandlerError::new("never"))));
    let orders = orders.build().await.expect("it is built");
    let manager = world.worker(&orders).await;
    world.publish(1, 0..3).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(orders.status().handled, 0, "{orders:?}");
    world.create("NOBODY", json!({})).await;
    eventually("they are stored", async || {
        orders.status().dead_lettered == 3
    })
    .await;
    manager.stop(StopMode::Handoff).await.expect("it stops");
    let info = world.api("STREAM.INFO.NOBODY", json!({})).await;
    assert_eq!(info["state"]["messages"], json!(3), "{info}");
}
