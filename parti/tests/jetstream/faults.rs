//! Operators and outages: what a running group makes of them.

use std::time::Duration;

use parti::StopMode;
use serde_json::json;

use crate::support::{Log, World, eventually, publish, recording};

/// A reader is made to be thrown away: a deletion must not stop the group.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_an_operator_deletes_are_made_again_without_loss_or_repeat() {
    let world = World::new().await;
    let log = Log::default();
    let orders = recording(world.builder(), &log).await;
    let manager = world.worker(&orders).await;
    let context = world.context.clone();
    let publisher = tokio::spawn(async move { publish(&context, 20, 0..200).await });
    for least in [200, 800, 1600] {
        eventually("messages come", async || log.count() > least).await;
        let names = world.api("CONSUMER.NAMES.ORDERS", json!({})).await;
        for name in names["consumers"].as_array().into_iter().flatten() {
            let name = name.as_str().expect("a name");
            world
                .api(&format!("CONSUMER.DELETE.ORDERS.{name}"), json!({}))
                .await;
        }
    }
    publisher.await.expect("all is published");
    eventually("all is handled", async || log.count() >= 4000).await;
    manager.stop(StopMode::Handoff).await.expect("it stops");
    assert_eq!(log.check(20, 200), 0);
    eventually("readers are deleted", async || {
        world.api("CONSUMER.NAMES.ORDERS", json!({})).await["total"] == json!(0)
    })
    .await;
}

/// A server that is killed and comes back must find a group that goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_is_survived_without_loss() {
    let mut world = World::new().await;
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
}
