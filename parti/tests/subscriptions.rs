//! What subscribers of a manager may do, and that none of it matters to the manager or to others.

#[path = "support/recorder.rs"]
mod recorder;

use std::sync::Arc;
use std::time::Duration;

use parti::events::{ManagerNotice, Notice, Subscription};
use parti::store::LocalStore;
use parti::{Manager, State, StopMode};
use recorder::{Recorder, fast, manager, until};

const LIMIT: Duration = Duration::from_secs(30);
/// More requests than fit into the ring of notices, each being told in several.
const MANY: usize = 600;

/// A worker that has everything, and a subscriber that has listened from the start.
async fn start() -> (Manager, Subscription) {
    let builder = manager(fast(1), &LocalStore::new(), 2, &Recorder::new("a"));
    let subscription = builder.subscribe();
    let worker = builder.start().await.expect("starts");
    until("all", LIMIT, || worker.assignment().len() == 2).await;
    (worker, subscription)
}

/// Everything that is left to read of a manager that has ended.
async fn rest(mut subscription: Subscription) -> (Vec<Arc<ManagerNotice>>, u64) {
    let mut notices = Vec::new();
    while let Some(notice) = subscription.next().await {
        notices.push(notice);
    }
    (notices, subscription.lost())
}

/// The states told, as steps.
fn steps(notices: &[Arc<ManagerNotice>]) -> Vec<(State, State)> {
    let step = |notice: &Arc<ManagerNotice>| {
        let ManagerNotice::Core(Notice::StateChanged { from, to }) = **notice else {
            return None;
        };
        Some((from, to))
    };
    notices.iter().filter_map(step).collect()
}

/// A dashboard that hangs once held up the state machine of the worker it showed.
#[tokio::test(start_paused = true)]
async fn a_slow_subscriber_blocks_nobody_and_ends_at_the_latest_with_its_gap_counted() {
    let (worker, slow) = start().await;
    let mut prompt = worker.subscribe();
    let reading = tokio::spawn(async move {
        let mut seen = 0_u64;
        while prompt.next().await.is_some() {
            seen += 1;
        }
        (seen, prompt.lost())
    });
    for _ in 0..MANY {
        worker.trigger_rebalance().await.expect("carried out");
    }
    worker.stop(StopMode::Now).await.expect("stops cleanly");
    drop(worker);
    let (seen, missed) = reading.await.expect("no panic");
    assert!(seen > 1024, "more than the ring holds: {seen}");
    assert_eq!(missed, 0, "the prompt one missed nothing");
    let (notices, lost) = rest(slow).await;
    assert!(lost > 0 && notices.len() == 1024, "the newest are kept");
    let stopped = ManagerNotice::Core(Notice::Stopped { errors: Vec::new() });
    let last = notices.iter().rposition(|notice| **notice == stopped);
    assert!(last.is_some(), "the end is among them");
    assert_eq!(
        steps(&notices).last().map(|&(_, to)| to),
        Some(State::Shutdown)
    );
}

/// A reader that adds up the steps must come to the state the worker is in, or know that it missed some.
#[tokio::test(start_paused = true)]
async fn every_subscriber_sees_every_transition_in_order() {
    let (worker, early) = start().await;
    let late = worker.subscribe();
    worker.trigger_rebalance().await.expect("carried out");
    worker.stop(StopMode::Handoff).await.expect("stops cleanly");
    drop(worker);
    for (subscription, first) in [(early, Some(State::Init)), (late, None)] {
        let (notices, lost) = rest(subscription).await;
        let steps = steps(&notices);
        assert_eq!(lost, 0);
        assert!(first.is_none_or(|first| steps[0].0 == first), "{steps:?}");
        assert!(
            steps.windows(2).all(|pair| pair[0].1 == pair[1].0),
            "{steps:?}"
        );
        let allowed = |&(from, to): &(State, State)| State::transition(from, to);
        assert_eq!(steps.iter().try_for_each(allowed), Ok(()));
        assert_eq!(steps.last().map(|&(_, to)| to), Some(State::Shutdown));
    }
}

/// A defect in a subscriber is its own.
#[tokio::test(start_paused = true)]
async fn a_panicking_subscriber_is_isolated() {
    let (worker, mut other) = start().await;
    let mut doomed = worker.subscribe();
    let panicking = tokio::spawn(async move {
        doomed.next().await.expect("a notice");
        panic!("a defect of the subscriber");
    });
    worker.trigger_rebalance().await.expect("carried out");
    assert!(panicking.await.is_err_and(|error| error.is_panic()));
    worker.trigger_rebalance().await.expect("carried out");
    assert_eq!(worker.assignment().len(), 2);
    assert!(other.next().await.is_some());
    worker.stop(StopMode::Now).await.expect("stops cleanly");
    drop(worker);
    assert_eq!(rest(other).await.1, 0);
}

/// Unsubscribing from within a notification once waited for a lock that the notifier held.
#[tokio::test(start_paused = true)]
async fn unsubscribing_during_a_notification_cannot_deadlock() {
    let (worker, other) = start().await;
    let mut leaving = worker.subscribe();
    let (asked, ()) = tokio::join!(worker.trigger_rebalance(), async {
        leaving.next().await.expect("a notice");
        drop(leaving);
        drop(worker.subscribe());
    });
    asked.expect("carried out");
    worker.stop(StopMode::Now).await.expect("stops cleanly");
    drop(worker);
    assert_eq!(rest(other).await.1, 0, "the others are told everything");
}

/// A subscriber that acts on a notice must not change the order in which others hear of both.
#[tokio::test(start_paused = true)]
async fn a_transition_during_a_notification_is_told_in_order_to_all() {
    let (worker, one) = start().await;
    let mut acting = worker.subscribe();
    let (asked, answered) = tokio::join!(worker.trigger_rebalance(), async {
        acting.next().await.expect("a notice");
        worker.trigger_rebalance().await
    });
    assert!(asked.expect("carried out") <= answered.expect("carried out"));
    let other = worker.subscribe();
    worker.stop(StopMode::Now).await.expect("stops cleanly");
    drop(worker);
    let (one, other) = (rest(one).await.0, rest(other).await.0);
    assert!(
        !other.is_empty() && one.ends_with(&other),
        "the same, in the same order"
    );
}
