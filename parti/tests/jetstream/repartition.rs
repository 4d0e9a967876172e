//! Another number of partitions while messages come and workers come and go.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use parti::jetstream::{
    ConsumeError, Partitioned, plan_repartition, repartition, repartition_progress,
};
use parti::nats::async_nats;
use parti::{Manager, StopMode};
use parti_testing::rig::nats_server::{NatsServer, ServerOptions};
use serde_json::json;
use tokio::time::sleep;

use crate::support::{Log, PARTITIONS, RETENTIONS, World, eventually, publish, recording};

const KEYS: usize = 20;
const NUMBERS: u64 = 150;

/// A consumption that is slower than its publishers, so that the old partitions are behind.
async fn slow(world: &World, log: &Log) -> Partitioned {
    let log = log.clone();
    let orders = world.builder().on_message(move |message| {
        log.add(&message);
        async {
            sleep(Duration::from_millis(3)).await;
            Ok(())
        }
    });
    orders.build().await.expect("it is built")
}

/// Publishes all numbers, and tells how far it is.
fn publisher(world: &World) -> Arc<AtomicU64> {
    let published = Arc::new(AtomicU64::new(0));
    let (told, context) = (Arc::clone(&published), world.context.clone());
    tokio::spawn(async move {
        for number in 0..NUMBERS {
            publish(&context, KEYS, number..number + 1).await;
            told.store(number + 1, Ordering::Release);
        }
    });
    published
}

async fn wait_for(published: &AtomicU64, number: u64) {
    let is_there = async || published.load(Ordering::Acquire) >= number;
    eventually("messages are published", is_there).await;
}

/// The numbers of the partitions that these workers have, in order.
fn owned(managers: &[&Manager]) -> Vec<u32> {
    let keys = managers.iter().flat_map(|manager| manager.assignment());
    let numbers = keys.map(|owned| {
        let number = owned
            .partition()
            .parts()
            .nth(1)
            .and_then(|part| part.parse().ok());
        number.expect("a number")
    });
    let mut numbers: Vec<u32> = numbers.collect();
    numbers.sort_unstable();
    numbers
}

/// A key whose newer messages are handled in the new partition before the older ones in the old one are is
/// what order was promised for. It happens twice, the second time before the first is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_keep_their_order_through_two_re_partitions() {
    for retention in RETENTIONS {
        let world = World::with(retention).await;
        let log = Log::default();
        let (first, second) = (slow(&world, &log).await, slow(&world, &log).await);
        let one = world.worker(&first).await;
        let two = world.worker(&second).await;
        let published = publisher(&world);
        wait_for(&published, 30).await;
        let done = repartition(&world.context, "ORDERS", 12).await;
        let done = done.unwrap_or_else(|error| panic!("{retention}: {error}"));
        assert_eq!((done.from, done.to, done.was_done), (PARTITIONS, 12, false));
        wait_for(&published, 80).await;
        let waits = repartition_progress(&world.context, "ORDERS").await;
        let waits = waits.expect("progress");
        assert!(!waits[0].is_done, "{retention}: nothing was to wait for");
        let done = repartition(&world.context, "ORDERS", 4).await;
        done.unwrap_or_else(|error| panic!("{retention}: {error}"));
        two.stop(StopMode::Handoff).await.expect("it stops");
        let third = slow(&world, &log).await;
        let three = world.worker(&third).await;
        wait_for(&published, NUMBERS).await;
        let all = KEYS * usize::try_from(NUMBERS).expect("few");
        eventually("all is handled", async || log.count() >= all).await;
        log.check(KEYS, NUMBERS);
        eventually(
            &format!("{retention}: the old partitions are over"),
            async || {
                let progress = repartition_progress(&world.context, "ORDERS").await;
                progress.expect("progress")[0].is_done && owned(&[&one, &three]) == [20, 21, 22, 23]
            },
        )
        .await;
        one.stop(StopMode::Handoff).await.expect("it stops");
        three.stop(StopMode::Handoff).await.expect("it stops");
        world.emptied(retention, &first).await;
    }
}

/// Polls a future so often at most.
async fn polled<T>(work: impl Future<Output = T>, most: usize) -> Option<T> {
    let mut work = pin!(work);
    let mut polls = 0;
    poll_fn(|context| {
        if polls == most {
            return Poll::Ready(None);
        }
        polls += 1;
        work.as_mut().poll(context).map(Some)
    })
    .await
}

/// An operator whose program dies between two steps must be able to call again, and nothing may be lost or
/// out of order meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_re_partition_that_ends_anywhere_is_gone_on_with() {
    for retention in ["limits", "interest"] {
        let world = World::with(retention).await;
        let log = Log::default();
        let orders = recording(world.builder().partitions(2), &log).await;
        let manager = world.worker(&orders).await;
        let (mut number, mut cut) = (0, 0);
        for most in 1.. {
            // Three and two in turn.
            let partitions = if most % 2 == 0 { 2 } else { 3 };
            world.publish(KEYS, number..number + 1).await;
            let work = repartition(&world.context, "ORDERS", partitions);
            let ended = polled(work, most).await;
            world.publish(KEYS, number + 1..number + 2).await;
            number += 2;
            if let Some(done) = ended {
                done.expect("it is done");
                break;
            }
            cut += 1;
            let again = repartition(&world.context, "ORDERS", partitions).await;
            let again = again.unwrap_or_else(|error| panic!("after {most} polls: {error}"));
            assert_eq!(again.to, partitions);
        }
        assert!(cut >= 5, "{cut} is not at several steps");
        world.publish(KEYS, number..number + 1).await;
        let all = KEYS * usize::try_from(number + 1).expect("few");
        eventually("all is handled", async || log.count() >= all).await;
        log.check(KEYS, number + 1);
        manager.stop(StopMode::Handoff).await.expect("it stops");
    }
}

/// A server that is killed while a group goes from one numbering to the next must not let it skip one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_and_a_program_that_begins_again_change_nothing() {
    let mut world = World::new().await;
    let log = Log::default();
    let orders = slow(&world, &log).await;
    let manager = world.worker(&orders).await;
    let published = publisher(&world);
    wait_for(&published, NUMBERS / 2).await;
    let done = repartition(&world.context, "ORDERS", 16).await;
    done.expect("it is done");
    wait_for(&published, NUMBERS).await;
    world.server.kill().expect("it is killed");
    drop(manager);
    drop(orders);
    world.server.restart().expect("it is there again");
    // The program still says eight.
    let orders = slow(&world, &log).await;
    let manager = world.worker(&orders).await;
    eventually("the old partitions are over", async || {
        let progress = repartition_progress(&world.context, "ORDERS").await;
        progress.is_ok_and(|progress| progress[0].is_done)
    })
    .await;
    let last = NUMBERS - 1;
    eventually("all is handled", async || {
        let calls = log.calls();
        let is_there = |calls: &Vec<_>| {
            calls
                .iter()
                .any(|call: &crate::support::Call| call.number == last)
        };
        calls.len() == KEYS && calls.values().all(is_there)
    })
    .await;
    log.check(KEYS, NUMBERS);
    manager.stop(StopMode::Handoff).await.expect("it stops");
}

/// What cannot be re-partitioned is refused before anything is changed, with both values.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_is_refused_with_both_values() {
    let world = World::new().await;
    let refused = |outcome: Result<_, ConsumeError>| outcome.expect_err("refused").to_string();
    let text = refused(plan_repartition(&world.context, "ORDERS", 16).await);
    assert!(
        text.contains("no transform") && text.contains("partition(n"),
        "{text}"
    );
    let log = Log::default();
    let orders = recording(world.builder(), &log).await;
    let text = refused(repartition(&world.context, "ORDERS", 0).await);
    assert!(text.contains("zero partitions"), "{text}");
    world.publish(KEYS, 0..2).await;
    let plan = plan_repartition(&world.context, "ORDERS", 16)
        .await
        .expect("a plan");
    assert_eq!(plan.groups, ["billing"]);
    assert_eq!(
        plan.new_destination,
        "orders.g2.{{partition(16,1)}}.{{wildcard(1)}}"
    );
    let info = world.api("STREAM.INFO.ORDERS", json!({})).await;
    let there = &info["config"]["subject_transform"]["dest"];
    assert_eq!(
        *there,
        json!(plan.old_destination),
        "a plan changes nothing"
    );
    repartition(&world.context, "ORDERS", 16)
        .await
        .expect("it is done");
    let text = refused_build(world.builder().partitions(5)).await;
    assert!(text.contains("[8, 16]") && text.contains('5'), "{text}");
    let text = refused_build(world.builder().numbered("orders")).await;
    assert!(text.contains("re-partitioned"), "{text}");
    // Somebody else changes the transform.
    let mut config = world.api("STREAM.INFO.ORDERS", json!({})).await["config"].clone();
    config["subject_transform"]["dest"] = json!("orders.{{partition(3,1)}}.{{wildcard(1)}}");
    world.api("STREAM.UPDATE.ORDERS", config).await;
    let text = refused(repartition(&world.context, "ORDERS", 32).await);
    assert!(
        text.contains("partition(3") && text.contains("partition(16"),
        "{text}"
    );
    drop(orders);
}

async fn refused_build(builder: parti::jetstream::PartitionedBuilder) -> String {
    let built = builder.on_message(|_| async { Ok(()) }).build().await;
    built.expect_err("it is refused").to_string()
}

/// A group that comes later must find the messages of before, and in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_begins_after_a_re_partition_reads_what_was_stored_before() {
    let world = World::new().await;
    drop(recording(world.builder().group("first"), &Log::default()).await);
    world.publish(KEYS, 0..20).await;
    repartition(&world.context, "ORDERS", 12)
        .await
        .expect("it is done");
    world.publish(KEYS, 20..40).await;
    let log = Log::default();
    let late = recording(world.builder().group("late").partitions(12), &log).await;
    let manager = world.worker(&late).await;
    eventually("all is handled", async || log.count() >= KEYS * 40).await;
    log.check(KEYS, 40);
    manager.stop(StopMode::Handoff).await.expect("it stops");
}

/// Without the permission nothing is half done: the next call, with it, goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_permission_is_named_and_the_next_call_goes_on() {
    let lines = "authorization { users = [
        { user: all, password: p },
        { user: some, password: p, permissions: { publish: { deny: \"$JS.API.STREAM.UPDATE.>\" } } }
    ] }";
    let server = NatsServer::start(ServerOptions::default().config(lines)).expect("a server");
    let context = async |user: &str| {
        let options = async_nats::ConnectOptions::with_user_and_password(user.into(), "p".into());
        let client = options.connect(server.url()).await.expect("a connection");
        async_nats::jetstream::new(client)
    };
    let (all, some) = (context("all").await, context("some").await);
    let config = json!({ "name": "ORDERS", "subjects": ["orders.>"], "metadata": {} });
    let _: serde_json::Value = all
        .request("STREAM.CREATE.ORDERS", &config)
        .await
        .expect("made");
    let orders = World::consumption(all.clone()).on_message(|_| async { Ok(()) });
    drop(orders.build().await.expect("it is built"));
    let failed = repartition(&some, "ORDERS", 16)
        .await
        .expect_err("forbidden");
    assert!(
        failed.to_string().contains("changing the stream ORDERS"),
        "{failed}"
    );
    let other = repartition(&all, "ORDERS", 24)
        .await
        .expect_err("begun with 16")
        .to_string();
    assert!(other.contains("16") && other.contains("24"), "{other}");
    let done = repartition(&all, "ORDERS", 16).await.expect("it is done");
    assert!(!done.was_done);
    assert!(
        repartition(&all, "ORDERS", 16)
            .await
            .expect("again")
            .was_done
    );
}
