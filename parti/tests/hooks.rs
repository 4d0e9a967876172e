//! Hooks in virtual time: what they are told, in which order, and that they cannot do harm.

#[path = "support/recorder.rs"]
mod recorder;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use parti::events::{
    AssignmentChange, ChangeCause, HookEvent, Hooks, LeadershipChange, NoHooks, StateChange,
    Trouble, hook_channel,
};
use parti::history::Cause;
use parti::store::LocalStore;
use parti::{RevokeCause, State, StopMode};
use recorder::{Behaviour, Recorder, fast, manager, until};

const LIMIT: Duration = Duration::from_secs(60);

/// All events until the worker has ended.
async fn rest(events: &mut parti::events::HookStream) -> Vec<HookEvent> {
    let mut all = Vec::new();
    while let Some(event) = events.next().await {
        all.push(event);
    }
    all
}

fn assignments(events: &[HookEvent]) -> Vec<&AssignmentChange> {
    let changes = events.iter().filter_map(|event| {
        let HookEvent::Assignment(change) = event else {
            return None;
        };
        Some(change)
    });
    changes.collect()
}

/// A program that follows its assignment by hooks must never have another idea of it than the worker.
#[tokio::test(start_paused = true)]
async fn hooks_hear_the_whole_life_in_order_from_the_first_assignment_to_the_end() {
    let (store, handler) = (LocalStore::new(), Recorder::new("a"));
    let (hooks, mut events) = hook_channel(1024);
    let worker = manager(fast(1), &store, 6, &handler).hooks(hooks);
    let worker = worker.start().await.expect("starts");
    worker.wait_assigned().await.expect("is assigned");
    let other = manager(fast(2), &store, 6, &handler.beside("b")).start();
    let other = other.await.expect("starts");
    until("both have three", LIMIT, || {
        worker.assignment().len() == 3 && other.assignment().len() == 3
    })
    .await;
    worker.stop(StopMode::Handoff).await.expect("clean");
    drop(worker);
    let events = rest(&mut events).await;

    let mut state = State::Init;
    for event in &events {
        if let HookEvent::State(StateChange { from, to, .. }) = event {
            assert_eq!(*from, state, "no step is left out");
            state = *to;
        }
    }
    assert_eq!(state, State::Shutdown);
    let gained = |event: &HookEvent| {
        matches!(
            event,
            HookEvent::Leadership(LeadershipChange::Gained { .. })
        )
    };
    assert!(events.iter().any(gained));

    let changes = assignments(&events);
    let first = changes.first().expect("the first assignment is told");
    assert_eq!((first.added.len(), first.assigned.len()), (6, 6));
    assert_eq!(first.cause, ChangeCause::Generation(Some(Cause::ColdStart)));
    let scaled = changes.iter().find(|change| change.removed.len() == 3);
    let scaled = scaled.expect("three are taken away for the joiner");
    assert_eq!(
        scaled.cause,
        ChangeCause::Generation(Some(Cause::PlannedScale))
    );
    assert_eq!(scaled.assigned.len(), 3);
    assert!(changes.last().expect("at least one").assigned.is_empty());
    let mut mine = std::collections::BTreeSet::new();
    for change in changes {
        change
            .removed
            .iter()
            .for_each(|g| assert!(mine.remove(&g.partition)));
        mine.extend(change.added.iter().map(|g| g.partition.clone()));
        assert!(
            mine.iter().eq(change.assigned.iter()),
            "the sum of changes is the whole"
        );
    }
}

/// "Nothing assigned" and "not told yet" must not look alike.
#[tokio::test(start_paused = true)]
async fn an_empty_first_assignment_is_told() {
    let (store, handler) = (LocalStore::new(), Recorder::new("a"));
    let (hooks, mut events) = hook_channel(64);
    let worker = manager(fast(1), &store, 0, &handler).hooks(hooks);
    let worker = worker.start().await.expect("starts");
    worker.wait_assigned().await.expect("is assigned");
    worker.stop(StopMode::Now).await.expect("clean");
    drop(worker);
    // As a stream of the async world, with its combinators.
    let events: Vec<HookEvent> = events.by_ref().collect().await;
    let changes = assignments(&events);
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert!(changes[0].assigned.is_empty() && changes[0].added.is_empty());
}

/// A stop is no generation; an operator who is told so would look for a rebalance that never was.
#[tokio::test(start_paused = true)]
async fn a_worker_that_stops_at_once_says_why_its_assignment_ended() {
    let (store, handler) = (LocalStore::new(), Recorder::new("a"));
    let (hooks, mut events) = hook_channel(64);
    let worker = manager(fast(1), &store, 2, &handler).hooks(hooks);
    let worker = worker.start().await.expect("starts");
    worker.wait_assigned().await.expect("is assigned");
    worker.stop(StopMode::Now).await.expect("clean");
    drop(worker);
    let events = rest(&mut events).await;
    let last = assignments(&events).last().map(|change| change.cause);
    assert_eq!(last, Some(ChangeCause::Revoked(RevokeCause::Stopping)));
}

/// What a hook does beside counting.
#[derive(Clone, Copy)]
enum Deed {
    Panic,
    Hang,
}

#[derive(Clone)]
struct Bad {
    deed: Deed,
    calls: Arc<Mutex<Vec<String>>>,
}

impl Bad {
    fn note(&self, what: String) {
        self.calls.lock().expect("not poisoned").push(what);
    }
}

#[parti::async_trait]
impl Hooks for Bad {
    async fn on_state(&self, change: &StateChange) {
        self.note(change.to.to_string());
        match self.deed {
            Deed::Panic => panic!("boom"),
            Deed::Hang => std::future::pending().await,
        }
    }

    async fn on_error(&self, trouble: &Trouble) {
        self.note(trouble.code().to_owned());
    }

    async fn on_missed(&self, count: u64) {
        self.note(format!("missed {count}"));
    }
}

/// An observer once held up what it observed.
#[tokio::test(start_paused = true)]
async fn hooks_that_panic_or_hang_harm_nobody_and_are_called_again() {
    for deed in [Deed::Panic, Deed::Hang] {
        let (store, handler) = (LocalStore::new(), Recorder::new("a"));
        let hooks = Bad {
            deed,
            calls: Arc::default(),
        };
        let worker = manager(fast(1), &store, 4, &handler)
            .hooks(hooks.clone())
            .hook_timeout(Duration::from_millis(200));
        let before = tokio::time::Instant::now();
        let worker = worker.start().await.expect("starts");
        worker.wait_assigned().await.expect("is assigned");
        assert!(
            before.elapsed() < Duration::from_secs(3),
            "the driver did not wait"
        );
        worker.stop(StopMode::Now).await.expect("clean");
        drop(worker);
        let calls = Arc::clone(&hooks.calls);
        until("every state was told", LIMIT, || {
            let calls = calls.lock().expect("not poisoned");
            calls.first().is_some_and(|first| first == "claiming_id")
                && calls.last().is_some_and(|last| last == "shutdown")
        })
        .await;
    }
}

/// Errors that the library has dealt with are still somebody's business.
#[tokio::test(start_paused = true)]
async fn trouble_is_told_with_its_code() {
    let (store, handler) = (LocalStore::new(), Recorder::new("a"));
    let handler = handler.behaving(Behaviour::PanicOnAssigned("1"));
    let (hooks, mut events) = hook_channel(64);
    let worker = manager(fast(1), &store, 2, &handler).hooks(hooks);
    let worker = worker.start().await.expect("starts");
    let trouble = loop {
        let event = events.next().await.expect("the worker goes on");
        if let HookEvent::Error(trouble) = event {
            break trouble;
        }
    };
    assert_eq!(trouble.code(), "callback_panicked");
    assert!(trouble.to_string().contains("boom"));
    worker.stop(StopMode::Now).await.expect("clean");
}

/// A reader that stops reading must not stop the worker, and must learn what it missed.
#[tokio::test(start_paused = true)]
async fn a_full_channel_loses_events_and_says_how_many() {
    let (store, handler) = (LocalStore::new(), Recorder::new("a"));
    let (hooks, mut events) = hook_channel(1);
    let worker = manager(fast(1), &store, 2, &handler)
        .hooks(hooks)
        .hook_timeout(Duration::from_millis(10));
    let worker = worker.start().await.expect("starts");
    worker.wait_assigned().await.expect("is assigned");
    tokio::time::advance(Duration::from_secs(2)).await;
    let read = tokio::spawn(async move { rest(&mut events).await });
    worker.stop(StopMode::Now).await.expect("clean");
    drop(worker);
    let events = read.await.expect("ends");
    let missed = events.iter().filter_map(|event| {
        let HookEvent::Missed(count) = event else {
            return None;
        };
        Some(*count)
    });
    assert!(missed.sum::<u64>() > 0, "{events:?}");
}

/// Hooks are optional, and every method of them is.
#[tokio::test(start_paused = true)]
async fn no_hooks_are_hooks() {
    let (store, handler) = (LocalStore::new(), Recorder::new("a"));
    let worker = manager(fast(1), &store, 2, &handler).hooks(NoHooks);
    let worker = worker.start().await.expect("starts");
    worker.wait_assigned().await.expect("is assigned");
    worker.stop(StopMode::Handoff).await.expect("clean");
}
