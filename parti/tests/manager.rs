//! The manager on a store in memory, in virtual time: whole lives of one or two workers.

#[path = "support/recorder.rs"]
mod recorder;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parti::clock::Clock;
use parti::events::{Callback, ManagerNotice, Notice};
use parti::sources::{SourceError, StaticSource, source_fn};
use parti::store::LocalStore;
use parti::{
    Ended, Guard, LaunchError, Manager, Partition, RequestError, RevokeCause, StartError, State,
    StopError, StopFailure, StopMode, Token, Version,
};
use parti_testing::kit::memory_store::MemoryStore;
use recorder::{Behaviour, Recorder, Seen, fast, heard, manager, until};

const LIMIT: Duration = Duration::from_secs(30);

/// The ordinary life of a worker; whatever breaks here breaks for everybody.
#[tokio::test(start_paused = true)]
async fn a_worker_starts_gets_everything_and_gives_it_back() {
    let (store, handler) = (LocalStore::new(), Recorder::new("a"));
    let worker = manager(fast(1), &store, 10, &handler)
        .start()
        .await
        .expect("starts");
    assert_eq!(worker.worker_id().expect("held").as_str(), "worker-0");
    worker.wait_assigned().await.expect("runs");
    until("all begun", LIMIT, || handler.seen().assigned == 10).await;
    assert!(worker.is_leader());
    let guards = worker.assignment();
    assert_eq!(guards.len(), 10);
    assert!(
        guards
            .iter()
            .all(|guard| guard.is_valid() && guard.token().get() > 0)
    );
    worker.wait_for(State::Stable).await.expect("runs");
    worker.stop(StopMode::Handoff).await.expect("stops cleanly");
    let revoked = handler.seen().revoked.clone();
    assert_eq!(revoked.len(), 10);
    assert!(
        revoked
            .iter()
            .all(|(_, cause)| *cause == RevokeCause::Stopping || *cause == RevokeCause::Reassigned)
    );
    assert!(guards.iter().all(|guard| !guard.is_valid()));
}

/// A handler that writes what is left when a partition goes needs the token of what ends, not of what
/// it may have been given since, and must learn when it is too late for that.
#[tokio::test(start_paused = true)]
async fn on_revoked_is_given_the_guard_of_what_ends() {
    let (store, handler) = (MemoryStore::new(), Recorder::new("a"));
    let worker = Manager::builder(
        fast(1).build().expect("coherent"),
        StaticSource::numbered("p", 3).expect("valid"),
        handler.clone(),
    );
    let worker = worker.store(Arc::new(store.clone())).clock(Clock::tokio());
    let worker = worker.start().await.expect("starts");
    until("all begun", LIMIT, || handler.seen().assigned == 3).await;
    let sorted = |tokens: &mut dyn Iterator<Item = Token>| {
        let mut tokens: Vec<_> = tokens.collect();
        tokens.sort();
        tokens
    };
    let owned = sorted(&mut worker.assignment().iter().map(Guard::token));
    let ended = || std::mem::take(&mut handler.seen().ended);

    store.set_unavailable(true);
    until("all lost", LIMIT, || handler.seen().ended.len() == 3).await;
    let lost = ended();
    assert_eq!(sorted(&mut lost.iter().map(|(token, _)| *token)), owned);
    assert!(lost.iter().all(|(_, valid)| !valid), "the lease is over");

    store.set_unavailable(false);
    until("begun again", LIMIT, || handler.seen().assigned == 6).await;
    let owned = sorted(&mut worker.assignment().iter().map(Guard::token));
    worker.stop(StopMode::Handoff).await.expect("stops cleanly");
    let given_back = ended();
    let tokens = sorted(&mut given_back.iter().map(|(token, _)| *token));
    assert_eq!(tokens, owned);
    assert!(
        given_back.iter().all(|(_, valid)| *valid),
        "time to write what is left"
    );
}

/// A restart after a stop half worked in the field, without the protection of the first start.
#[tokio::test(start_paused = true)]
async fn a_stop_is_terminal_and_every_method_says_so() {
    let (store, handler) = (LocalStore::new(), Recorder::new("a"));
    let worker = manager(fast(1), &store, 3, &handler)
        .start()
        .await
        .expect("starts");
    let mut notices = worker.subscribe();
    let (one, other) = tokio::join!(worker.stop(StopMode::Now), worker.stop(StopMode::Now));
    assert_eq!(
        (one.map(drop), other.map(drop)),
        (Ok(()), Ok(())),
        "every caller gets the answer"
    );
    assert_eq!(
        worker.stop(StopMode::Handoff).await.map(drop),
        Ok(()),
        "again, harmless"
    );
    assert_eq!(worker.state(), State::Shutdown);
    assert_eq!((worker.worker_id(), worker.is_leader()), (None, false));
    assert!(worker.assignment().is_empty());
    let stopped = RequestError::Ended(Ended::Stopped);
    assert_eq!(worker.trigger_rebalance().await, Err(stopped.clone()));
    assert_eq!(worker.refresh().await, Err(stopped));
    assert_eq!(worker.wait_for(State::Stable).await, Err(Ended::Stopped));
    assert_eq!(worker.wait_for(State::Shutdown).await, Ok(()));
    while notices.next().await.is_some() {}
    assert!(
        worker.subscribe().next().await.is_none(),
        "nothing more comes"
    );
}

/// The promise of the library, in one process: never two at once, and a fair share for each.
#[tokio::test(start_paused = true)]
async fn two_managers_share_a_hundred_partitions_exclusively() {
    let (store, handler) = (LocalStore::new(), Recorder::new("a"));
    let first = manager(fast(1), &store, 100, &handler)
        .start()
        .await
        .expect("starts");
    until("the first has all", LIMIT, || {
        first.assignment().len() == 100
    })
    .await;
    let other = handler.beside("b");
    let second = manager(fast(2), &store, 100, &other)
        .start()
        .await
        .expect("starts");
    assert_ne!(first.worker_id(), second.worker_id());
    let share = || (first.assignment().len(), second.assignment().len());
    until("an even share", LIMIT, || share() == (50, 50)).await;
    until("callbacks are through", LIMIT, || {
        handler.seen().assigned >= 150
    })
    .await;
    second.stop(StopMode::Handoff).await.expect("stops cleanly");
    until("the first has all again", LIMIT, || {
        first.assignment().len() == 100
    })
    .await;
    let faults = |seen: &Seen| (seen.overlaps, seen.stale_tokens);
    assert_eq!(faults(&handler.seen()), (0, 0));
    first.stop(StopMode::Handoff).await.expect("stops cleanly");
}

/// A defect in the work on one partition must not take the worker down, nor stay unknown.
#[tokio::test(start_paused = true)]
async fn a_panicking_callback_is_contained_and_told() {
    let store = LocalStore::new();
    let handler = Recorder::new("a").behaving(Behaviour::PanicOnAssigned("3"));
    let builder = manager(fast(1), &store, 10, &handler);
    let mut notices = builder.subscribe();
    let worker = builder.start().await.expect("starts");
    let panicked = |notice: &ManagerNotice| {
        matches!(
            notice,
            ManagerNotice::CallbackPanicked {
                callback: Callback::Assigned,
                ..
            }
        )
    };
    let notice = heard(&mut notices, panicked).await;
    let ManagerNotice::CallbackPanicked {
        partition, message, ..
    } = &*notice
    else {
        panic!("as asked for");
    };
    assert_eq!(
        (partition.to_string().as_str(), message.as_str()),
        ("p/3", "boom")
    );
    until("all others begun", LIMIT, || handler.seen().assigned == 10).await;
    worker
        .stop(StopMode::Handoff)
        .await
        .expect("a panic before the stop is not its failure");
    assert_eq!(
        handler.seen().revoked.len(),
        10,
        "what began is told to end, the panicked too"
    );
}

/// A shutdown once reported only its last error; each failing step has to be seen.
#[tokio::test(start_paused = true)]
async fn a_stop_lists_every_callback_that_failed() {
    let store = LocalStore::new();
    let handler = Recorder::new("a").behaving(Behaviour::PanicOnRevoked);
    let worker = manager(fast(1), &store, 3, &handler)
        .start()
        .await
        .expect("starts");
    until("all begun", LIMIT, || handler.seen().assigned == 3).await;
    let StopError { failures, .. } = worker.stop(StopMode::Now).await.expect_err("not clean");
    let panicked = |failure: &&StopFailure| matches!(failure, StopFailure::CallbackPanicked { .. });
    assert_eq!(failures.iter().filter(panicked).count(), 3, "{failures:?}");
}

/// A handler that never returns must not keep its partition from the rest of the group.
#[tokio::test(start_paused = true)]
async fn a_hanging_revocation_is_given_up_on_with_the_guard_invalid_first() {
    for behaviour in [Behaviour::HangOnRevoked, Behaviour::HangOnAssigned] {
        let (store, handler) = (LocalStore::new(), Recorder::new("a").behaving(behaviour));
        let config = || fast(1).drain_timeout(Duration::from_millis(700));
        let first = manager(config(), &store, 2, &handler)
            .start()
            .await
            .expect("starts");
        let mut notices = first.subscribe();
        until("both begun", LIMIT, || handler.seen().assigned == 2).await;
        let other = handler.beside("b").behaving(Behaviour::Prompt);
        let second = manager(config(), &store, 2, &other)
            .start()
            .await
            .expect("starts");
        let late = |notice: &ManagerNotice| matches!(notice, ManagerNotice::DrainTimedOut { .. });
        heard(&mut notices, late).await;
        until("one moved", LIMIT, || second.assignment().len() == 1).await;
        until("and begun", LIMIT, || handler.seen().assigned == 3).await;
        assert_eq!(handler.seen().overlaps, 0, "{behaviour:?}");
        assert_eq!(first.worker_id().expect("still held").as_str(), "worker-0");
        let stopped = first.stop(StopMode::Now).await;
        let StopError { failures, .. } = stopped.expect_err("the other partition hangs, too");
        assert!(
            matches!(failures[..], [StopFailure::DrainTimedOut { .. }]),
            "{failures:?}"
        );
        second.stop(StopMode::Now).await.expect("stops cleanly");
    }
}

/// A program that forgets to stop must not go on writing as an owner.
#[tokio::test(start_paused = true)]
async fn dropping_a_manager_is_like_a_crash_with_its_guards_invalid_at_once() {
    let (store, handler) = (LocalStore::new(), Recorder::new("a"));
    let config = fast(1);
    let lease = Duration::from_secs(1);
    let first = manager(config, &store, 4, &handler)
        .start()
        .await
        .expect("starts");
    until("all begun", LIMIT, || handler.seen().assigned == 4).await;
    let other = handler.beside("b");
    let second = manager(fast(1), &store, 4, &other)
        .start()
        .await
        .expect("starts");
    until("shared", LIMIT, || second.assignment().len() == 2).await;
    let guards = first.assignment();
    let mut notices = first.subscribe();
    let revoked = handler.seen().revoked.len();
    drop(first);
    assert!(guards.iter().all(|guard| !guard.is_valid()));
    guards[0].invalidated().await;
    let end = async { while notices.next().await.is_some() {} };
    tokio::time::timeout(LIMIT, end)
        .await
        .expect("nothing more is told");
    let crashed = tokio::time::Instant::now();
    until("taken over", LIMIT, || second.assignment().len() == 4).await;
    assert!(
        crashed.elapsed() < lease + Duration::from_secs(1),
        "{:?}",
        crashed.elapsed()
    );
    assert_eq!(handler.seen().revoked.len(), revoked, "nobody was called");
    assert_eq!(handler.seen().overlaps, 0);
    second.stop(StopMode::Now).await.expect("stops cleanly");
}

/// "Does not start" is no answer: an operator needs the range and who fills it.
#[tokio::test(start_paused = true)]
async fn a_start_without_a_free_id_names_the_range_and_the_holders() {
    let (store, handler) = (LocalStore::new(), Recorder::new("a"));
    let config = || {
        fast(1)
            .worker_id_range(3, 3)
            .startup_timeout(Duration::from_secs(5))
    };
    let first = manager(config(), &store, 1, &handler)
        .start()
        .await
        .expect("starts");
    let error = manager(config(), &store, 1, &handler)
        .start()
        .await
        .expect_err("no free ID");
    let LaunchError::Start(StartError::StableIdExhausted {
        first: low,
        last,
        holders,
    }) = &error
    else {
        panic!("another error: {error}");
    };
    assert_eq!((low.as_str(), last.as_str()), ("worker-3", "worker-3"));
    assert_eq!(holders.len(), 1);
    assert!(
        error.to_string().contains("worker-3 to worker-3"),
        "{error}"
    );
    first.stop(StopMode::Now).await.expect("stops cleanly");
}

/// An operator's request must be answered with what contains it, from a follower, too.
#[tokio::test(start_paused = true)]
async fn a_trigger_or_refresh_answers_with_the_version_that_contains_it() {
    let (store, handler) = (LocalStore::new(), Recorder::new("a"));
    let first = manager(fast(2), &store, 6, &handler)
        .start()
        .await
        .expect("starts");
    let other = handler.beside("b");
    let second = manager(fast(2), &store, 6, &other)
        .start()
        .await
        .expect("starts");
    let share = || (first.assignment().len(), second.assignment().len());
    until("shared", LIMIT, || share() == (3, 3)).await;
    for worker in [&first, &second] {
        let version = worker.trigger_rebalance().await.expect("carried out");
        assert!(
            version > Version::ZERO
                && version <= first.status().version.max(second.status().version)
        );
        worker.refresh().await.expect("carried out");
    }
    for worker in [second, first] {
        worker.stop(StopMode::Now).await.expect("stops cleanly");
    }
}

/// A grown list has to be taken up without a restart.
#[tokio::test(start_paused = true)]
async fn a_refresh_takes_up_what_the_source_lists_now() {
    let (store, handler) = (LocalStore::new(), Recorder::new("a"));
    let count = Arc::new(AtomicU32::new(2));
    let listed = Arc::clone(&count);
    let source = source_fn(move || {
        let count = listed.load(Ordering::Relaxed);
        let list = (0..count).map(|i| Partition::new([format!("p-{i}")]));
        std::future::ready(list.collect::<Result<_, _>>().map_err(SourceError::from))
    });
    let config = fast(1).build().expect("coherent");
    let builder = Manager::builder(config, source, handler.clone());
    let builder = builder.store(store).clock(Clock::tokio());
    let worker = builder.start().await.expect("starts");
    until("both", LIMIT, || worker.assignment().len() == 2).await;
    count.store(5, Ordering::Relaxed);
    worker.refresh().await.expect("carried out");
    until("five", LIMIT, || worker.assignment().len() == 5).await;
    count.store(1, Ordering::Relaxed);
    worker.refresh().await.expect("carried out");
    until("one", LIMIT, || worker.assignment().len() == 1).await;
    worker.stop(StopMode::Now).await.expect("stops cleanly");
}

/// A replacement within the hold inherits slot and partitions: a rolling update moves nothing.
#[tokio::test(start_paused = true)]
async fn a_restart_with_a_hold_lets_the_replacement_inherit() {
    let (store, handler) = (LocalStore::new(), Recorder::new("a"));
    let first = manager(fast(2), &store, 8, &handler)
        .start()
        .await
        .expect("starts");
    let other = handler.beside("b");
    let second = manager(fast(2), &store, 8, &other)
        .start()
        .await
        .expect("starts");
    let share = || (first.assignment().len(), second.assignment().len());
    until("shared", LIMIT, || share() == (4, 4)).await;
    until("begun", LIMIT, || handler.seen().assigned == 8).await;
    let (id, had) = (second.worker_id(), keys(&second));
    let hold = Duration::from_secs(20);
    second
        .stop(StopMode::Restart { hold })
        .await
        .expect("stops cleanly");
    let mut notices = first.subscribe();
    let third = manager(fast(2), &store, 8, &handler.beside("c"))
        .start()
        .await
        .expect("starts");
    assert_eq!(third.worker_id(), id);
    until("inherited", LIMIT, || keys(&third) == had).await;
    assert_eq!(first.assignment().len(), 4, "nothing moved");
    third.stop(StopMode::Now).await.expect("stops cleanly");
    first.stop(StopMode::Now).await.expect("stops cleanly");
    while let Some(notice) = notices.next().await {
        let lost = matches!(*notice, ManagerNotice::Core(Notice::LeaseLost { .. }));
        assert!(!lost, "{notice:?}");
    }
}

fn keys(manager: &Manager) -> Vec<String> {
    let guards = manager.assignment();
    guards
        .iter()
        .map(|guard| guard.partition().to_string())
        .collect()
}
