//! Restarts as a program sees them: a process that died and is back, and one that does not come back.

#[path = "support/recorder.rs"]
mod recorder;

use std::collections::BTreeSet;
use std::time::Duration;

use parti::health::HealthCode;
use parti::store::LocalStore;
use parti::{Manager, PartitionKey, StopMode};
use recorder::{Recorder, fast, manager, until};

const LIMIT: Duration = Duration::from_secs(60);

fn owned(handler: &Recorder) -> usize {
    let seen = handler.seen();
    seen.open.values().filter(|guard| guard.is_valid()).count()
}

fn owned_by(handler: &Recorder, name: &str) -> BTreeSet<PartitionKey> {
    let seen = handler.seen();
    let open = seen.open.iter();
    let valid = open.filter(|((_, owner), guard)| *owner == name && guard.is_valid());
    valid.map(|((partition, _), _)| partition.clone()).collect()
}

async fn numbered(store: &LocalStore, handler: &Recorder, number: u32) -> Manager {
    let hint = format!("worker-{number}");
    let config = fast(3).worker_id_hint(&hint).predecessor_is_dead(true);
    manager(config, store, 12, handler)
        .start()
        .await
        .expect("starts")
}

/// A pod that is killed and started again came back under another ID, and its partitions moved twice.
#[tokio::test(start_paused = true)]
async fn a_process_that_was_killed_and_is_back_at_once_has_its_slot_and_its_partitions() {
    let store = LocalStore::new();
    let all = Recorder::new("0");
    let first = numbered(&store, &all, 0).await;
    let second = numbered(&store, &all.beside("1"), 1).await;
    let killed = numbered(&store, &all.beside("2"), 2).await;
    until("everything is owned", LIMIT, || owned(&all) == 12).await;
    let before = ["0", "1", "2"].map(|name| owned_by(&all, name));
    // Nothing is released: that is what the group sees of a crash.
    drop(killed);
    let again = numbered(&store, &all.beside("2"), 2).await;
    let worker = again.status().worker.expect("has an ID");
    assert_eq!(worker.as_str(), "worker-2");
    until("everything is owned again", LIMIT, || owned(&all) == 12).await;
    assert_eq!(["0", "1", "2"].map(|name| owned_by(&all, name)), before);
    let seen = all.seen();
    assert_eq!((seen.overlaps, seen.stale_tokens), (0, 0));
    assert_eq!(seen.assigned, 12 + before[2].len(), "nothing else moved");
    drop(seen);
    drop((first, second, again));
}

/// A worker that left "until it is back" and never came back took its partitions with it, and neither
/// the health nor a rebalance did anything about it.
#[tokio::test(start_paused = true)]
async fn a_slot_that_is_held_for_ever_is_seen_and_given_away_on_request() {
    let store = LocalStore::new();
    let all = Recorder::new("0");
    let staying = manager(fast(2), &store, 8, &all).start().await;
    let staying = staying.expect("starts");
    let leaving = manager(fast(2), &store, 8, &all.beside("1")).start().await;
    let leaving = leaving.expect("starts");
    until("both own half", LIMIT, || owned_by(&all, "1").len() == 4).await;
    let hold = Duration::MAX;
    leaving
        .stop(StopMode::Restart { hold })
        .await
        .expect("stops");
    let held = || staying.health().has(HealthCode::SlotsHeld);
    until("the health says so", LIMIT, held).await;
    assert_eq!(owned(&all), 4);
    staying.trigger_rebalance().await.expect("is done");
    until("everything is owned", LIMIT, || owned(&all) == 8).await;
    until("the health is well", LIMIT, || !held()).await;
}
