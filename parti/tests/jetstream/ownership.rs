//! Streams whose acknowledgements remove messages: owners that stand still, that are late, and consumers
//! that somebody deletes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use parti::StopMode;
use parti::jetstream::{Condition, Partitioned};
use parti::nats::async_nats;
use serde_json::json;
use tokio::sync::oneshot;

use crate::sink::Sink;
use crate::support::{PARTITIONS, RETENTIONS, World, connect, eventually, publish, worker};

/// What a worker of another process would be: its whole runtime stands still with its handler.
struct Stopped {
    is_ready: Arc<AtomicBool>,
    has_stopped: Arc<AtomicBool>,
    goes_on: Arc<AtomicBool>,
    end: oneshot::Sender<()>,
    thread: thread::JoinHandle<Option<Condition>>,
}

impl Stopped {
    /// Stops in the message with this number of the key `key-0`.
    fn begin(url: &str, sink: &Sink, number: &'static str) -> Self {
        let (has_stopped, goes_on) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let is_ready = Arc::<AtomicBool>::default();
        let ready = Arc::clone(&is_ready);
        let (end, ended) = oneshot::channel();
        let (url, sink) = (url.to_owned(), sink.clone());
        let (stopping, going) = (Arc::clone(&has_stopped), Arc::clone(&goes_on));
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async {
                let context = async_nats::jetstream::new(connect(&url).await);
                let orders = World::consumption(context).on_message(move |message| {
                    if message.subject().ends_with("key-0")
                        && message.payload() == number.as_bytes()
                    {
                        stopping.store(true, Ordering::Release);
                        while !going.load(Ordering::Acquire) {
                            thread::sleep(Duration::from_millis(5));
                        }
                    }
                    sink.take(&message);
                    std::future::ready(Ok(()))
                });
                let orders = orders.build().await.expect("it is built");
                let manager = worker(&url, &orders).await;
                ready.store(true, Ordering::Release);
                let _ = ended.await;
                drop(manager);
                orders.status().conditions.into_values().next()
            })
        });
        Self {
            is_ready,
            has_stopped,
            goes_on,
            end,
            thread,
        }
    }
}

/// A worker that was stopped and overtaken must neither acknowledge nor commit what it had in hand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_stood_still_and_was_overtaken_changes_nothing() {
    for retention in RETENTIONS {
        let world = World::with(retention).await;
        let sink = Sink::default();
        let first = Stopped::begin(&world.server.url(), &sink, "30");
        eventually("it is assigned", async || {
            first.is_ready.load(Ordering::Acquire)
        })
        .await;
        world.publish(20, 0..60).await;
        eventually("it stands still", async || {
            first.has_stopped.load(Ordering::Acquire)
        })
        .await;
        let orders = sink.fill(world.builder()).await;
        let manager = world.worker(&orders).await;
        eventually("another handles the rest", async || sink.count() >= 1200).await;
        first.goes_on.store(true, Ordering::Release);
        eventually("the first goes on and is refused", async || {
            sink.fenced() > 0
        })
        .await;
        world.publish(20, 60..80).await;
        eventually("all is handled", async || sink.count() >= 1600).await;
        first.end.send(()).expect("it runs");
        let found = thread::spawn(|| first.thread.join().expect("it ends"));
        let found = tokio::task::spawn_blocking(|| found.join().expect("it ends"));
        let condition = found.await.expect("it ends");
        let is_fenced = matches!(condition, None | Some(Condition::Fenced { .. }));
        assert!(is_fenced, "{retention}: {condition:?}");
        manager.stop(StopMode::Handoff).await.expect("it stops");
        sink.check(20, 80);
        world.emptied(retention, &orders).await;
    }
}

/// What nobody was interested in for a moment is lost: worse than that is not to know.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn durables_by_interest_that_an_operator_deletes_are_reported_with_a_number() {
    let world = World::with("interest").await;
    let sink = Sink::default();
    let orders = sink.fill(world.builder()).await;
    let manager = world.worker(&orders).await;
    let context = world.context.clone();
    let publisher = tokio::spawn(async move { publish(&context, 20, 0..200).await });
    for least in [400, 1200] {
        eventually("messages come", async || sink.count() > least).await;
        for name in world.consumers().await {
            let method = format!("CONSUMER.DELETE.ORDERS.{name}");
            world.api(&method, json!({})).await;
        }
    }
    publisher.await.expect("all is published");
    eventually("it goes on to the end", async || {
        let info = world.api("STREAM.INFO.ORDERS", json!({})).await;
        info["state"]["messages"] == json!(0) && info["state"]["last_seq"] == json!(4000)
    })
    .await;
    eventually("the loss is told", async || {
        sink.missing(20, 200) <= orders.status().lost_at_most
    })
    .await;
    let status = orders.status();
    let is_told = |condition: &Condition| matches!(condition, Condition::InterestLost { .. });
    assert_eq!(status.conditions.len(), 8, "{status:?}");
    assert!(status.conditions.values().all(is_told), "{status:?}");
    eventually("interest is back", async || {
        world.consumers().await.len() == 8
    })
    .await;
    let so_far = sink.count();
    world.publish(20, 200..210).await;
    eventually("nothing more is lost", async || {
        sink.count() == so_far + 200
    })
    .await;
    manager.stop(StopMode::Handoff).await.expect("it stops");
}

/// What is published before a partition has an owner, or while it has none, must be kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interest_is_there_before_the_first_owner_and_after_the_last() {
    let world = World::with("interest").await;
    let sink = Sink::default();
    let orders = sink.fill(world.builder()).await;
    world.publish(20, 0..10).await;
    let manager = world.worker(&orders).await;
    eventually("all is handled", async || sink.count() >= 200).await;
    manager.stop(StopMode::Handoff).await.expect("it stops");
    world.publish(20, 10..20).await;
    let orders = sink.fill(world.builder()).await;
    let manager = world.worker(&orders).await;
    eventually("all is handled", async || sink.count() >= 400).await;
    assert_eq!(sink.check(20, 20), 0);
    assert!(orders.status().conditions.is_empty(), "{orders:?}");
    assert_eq!(world.consumers().await.len(), 8, "those before are deleted");
    manager.stop(StopMode::Handoff).await.expect("it stops");
    world.emptied("interest", &orders).await;
}

/// A durable that an older owner creates late must go, and that of a newer one must stop an older.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_durables_are_deleted_and_newer_ones_stop() {
    let world = World::with("interest").await;
    let sink = Sink::default();
    let orders = sink.fill(world.builder()).await;
    let create = async |name: &str, partition: u32| {
        let config = json!({ "name": name, "durable_name": name, "ack_policy": "all",
            "filter_subject": format!("orders.{partition}.*") });
        let body = json!({ "stream_name": "ORDERS", "action": "create", "config": config });
        let method = format!("CONSUMER.CREATE.ORDERS.{name}");
        world.api(&method, body).await;
    };
    create("billing-3-0-00000000000000aa-7", 3).await;
    create("dashboard", 4).await;
    let newer = format!("billing-5-{}-00000000000000aa-1", u64::MAX);
    create(&newer, 5).await;
    let manager = world.worker(&orders).await;
    eventually("the newer is obeyed", async || {
        let conditions = orders.status().conditions;
        matches!(conditions.get(&5), Some(Condition::Fenced { .. })) && conditions.len() == 1
    })
    .await;
    eventually("the late one is deleted", async || {
        let names = world.consumers().await;
        let of = |partition: u32| {
            let prefix = format!("billing-{partition}-");
            names
                .iter()
                .filter(|name| name.starts_with(&prefix))
                .count()
        };
        let is_one =
            (0..PARTITIONS).all(|partition| of(partition) == 1 + usize::from(partition == 5));
        is_one && names.contains(&newer) && names.iter().any(|name| name == "dashboard")
    })
    .await;
    manager.stop(StopMode::Handoff).await.expect("it stops");
    world
        .api(&format!("CONSUMER.DELETE.ORDERS.{newer}"), json!({}))
        .await;
    world.publish(20, 0..5).await;
    let orders: Partitioned = sink.fill(world.builder()).await;
    let manager = world.worker(&orders).await;
    eventually("all is handled", async || sink.count() >= 100).await;
    manager.stop(StopMode::Handoff).await.expect("it stops");
    assert_eq!(sink.check(20, 5), 0);
}
