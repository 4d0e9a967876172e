//! Planned moves under load: what callers sent before, during and after each of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parti::nats::router::Router;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::support::{Board, PARTITIONS, PATIENCE, Worker, key, router, server, shared_by};

/// Requests a second.
const RATE: u64 = 2_000;

/// What became of all requests that were sent.
#[derive(Default)]
struct Outcome {
    answered: BTreeMap<u64, u64>,
    failed: Vec<String>,
}

/// Sends requests at a steady rate, each in a task of its own, until told to end.
async fn load(router: Router, end: Arc<AtomicBool>, sent: Arc<AtomicU64>) -> Outcome {
    let mut calls = JoinSet::new();
    let mut tick = interval(Duration::from_millis(5));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let begun = Instant::now();
    let mut next = 0_u64;
    while !end.load(Ordering::Relaxed) {
        tick.tick().await;
        let due = begun.elapsed().as_millis() as u64 * RATE / 1000;
        // A machine that stood still does not make up for it all at once.
        for _ in 0..(due.saturating_sub(next)).min(RATE / 50) {
            let (router, id) = (router.clone(), next);
            next += 1;
            let partition = u32::try_from(id % u64::from(PARTITIONS)).expect("small");
            calls.spawn(async move {
                let answer = router
                    .call(&key(partition), id.to_le_bytes().to_vec())
                    .await;
                (id, answer)
            });
        }
        sent.store(next, Ordering::Relaxed);
    }
    let mut outcome = Outcome::default();
    while let Some(call) = calls.join_next().await {
        match call.expect("no panic") {
            (id, Ok(answer)) => {
                assert_eq!(
                    answer.payload(),
                    id.to_le_bytes(),
                    "the answer of another request"
                );
                outcome.answered.insert(id, answer.token().get());
            }
            (id, Err(error)) => outcome.failed.push(format!("{id}: {error}")),
        }
    }
    outcome
}

/// Until so many more requests have been sent.
async fn more(sent: &AtomicU64, count: u64) {
    let goal = sent.load(Ordering::Relaxed) + count;
    crate::recorder::until("requests go on", PATIENCE, || {
        sent.load(Ordering::Relaxed) >= goal
    })
    .await;
}

/// A deploy under load lost requests that were on their way, or had two workers charge the same order.
#[tokio::test(flavor = "multi_thread")]
async fn joins_and_leaves_under_load_lose_no_request_and_handle_none_twice() {
    let server = server();
    let board = Board::default();
    let first = Worker::start(&server, &board).await;
    let router = router(&server).await;
    shared_by(router.directory(), 1).await;
    let (end, sent) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let load = tokio::spawn(load(router.clone(), Arc::clone(&end), Arc::clone(&sent)));
    more(&sent, 200).await;
    let second = Worker::start(&server, &board).await;
    shared_by(router.directory(), 2).await;
    more(&sent, 200).await;
    let third = Worker::start(&server, &board).await;
    shared_by(router.directory(), 3).await;
    more(&sent, 200).await;
    first.leave().await;
    shared_by(router.directory(), 2).await;
    more(&sent, 200).await;
    second.leave().await;
    shared_by(router.directory(), 1).await;
    more(&sent, 200).await;
    end.store(true, Ordering::Relaxed);
    let outcome = tokio::time::timeout(PATIENCE, load)
        .await
        .expect("ends")
        .expect("no panic");
    third.leave().await;

    let sent = sent.load(Ordering::Relaxed);
    assert!(
        outcome.failed.is_empty(),
        "{} of {sent}: {:?}",
        outcome.failed.len(),
        outcome.failed.first()
    );
    assert_eq!(outcome.answered.len() as u64, sent);
    let handled = board.handled();
    for (id, token) in &outcome.answered {
        assert_eq!(
            handled.by_request.get(id),
            Some(&vec![*token]),
            "request {id}"
        );
    }
    assert_eq!(handled.stale, 0, "an old owner worked beside a new one");
    let tokens: std::collections::BTreeSet<_> = outcome.answered.values().collect();
    assert!(tokens.len() > 2, "nothing moved: {tokens:?}");
}
