//! Assignments that fit no single message of a real server: they are kept in pieces.

use parti::nats::{NatsOptions, NatsStore};
use parti::sources::StaticSource;
use parti::store::{Entry, Store as _, StoreOp, StoreReply};
use parti::{GroupName, Manager, Partition, StopMode};

use crate::recorder::{Recorder, until};
use crate::{PATIENCE, config, held, never_twice, server};

/// Three workers hold so many in one message each, one worker does not.
const PARTITIONS: usize = 4_500;

async fn start(url: &str, handler: &Recorder) -> Manager {
    let list = (0..PARTITIONS).map(|number| Partition::new([format!("{number:0>26}")]));
    let list = list.collect::<Result<_, _>>().expect("valid");
    let source = StaticSource::new(list).expect("distinct");
    let builder = Manager::builder(config(3), source, handler.clone()).nats(url);
    builder.start().await.expect("starts")
}

/// How many pieces of assignments there are.
async fn pieces(url: &str) -> usize {
    let name = GroupName::new("test").expect("valid");
    let store = NatsStore::connect(url, &name, NatsOptions::default()).await;
    let prefix = "a.".to_owned();
    let listed = store
        .expect("opens")
        .execute(StoreOp::List { prefix })
        .await;
    let Ok(StoreReply::Entries { entries, .. }) = listed else {
        panic!("{listed:?}")
    };
    let piece = |entry: &&Entry| entry.value.is_some() && entry.key.matches('.').count() == 2;
    entries.iter().filter(piece).count()
}

/// 60 000 keys were fine on three workers and stuck on two: what a message has room for bounded the group.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_worker_owns_everything_although_no_message_has_room_for_it() {
    let server = server("max_payload: 65536");
    let (url, handler) = (server.url(), Recorder::new("all"));
    let mut workers = Vec::new();
    for _ in 0..3 {
        workers.push(start(&url, &handler).await);
    }
    let everything = || held(&handler).len() == PARTITIONS;
    until("all are owned", PATIENCE, everything).await;
    for last in ["two", "one"] {
        // It crashes: nothing is released.
        drop(workers.remove(0));
        until(last, PATIENCE, everything).await;
    }
    let pieces = pieces(&url).await;
    assert!(pieces >= 2, "{pieces} pieces");
    // A worker that comes takes its share of pieces, and a planned end hands them over.
    workers.push(start(&url, &handler).await);
    until("shared", PATIENCE, || {
        everything()
            && workers
                .iter()
                .all(|worker| worker.assignment().len() == PARTITIONS / 2)
    })
    .await;
    // The leader leaves: what it gives back and what it takes in of others share one driver.
    let leads = workers.iter().position(Manager::is_leader);
    let leaving = workers.remove(leads.unwrap_or(0));
    leaving.stop(StopMode::Handoff).await.expect("handed over");
    until("handed over", PATIENCE, everything).await;
    never_twice(&handler);
}
