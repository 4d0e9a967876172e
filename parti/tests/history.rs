//! What a group tells about its past, on a store in memory in virtual time.

#[path = "support/recorder.rs"]
mod recorder;

use std::sync::Arc;
use std::time::Duration;

use parti::clock::Clock;
use parti::history::{Cause, Explanation, Move, OwnerSession, ReadError};
use parti::store::{LocalStore, Store, StoreError};
use parti::{Ended, Manager, PartitionKey, StopMode, WorkerId, async_trait};
use parti_core::{SessionStatus, StoreOp, StoreReply, Watch, WatchScope};
use recorder::{Recorder, fast, manager, until};

const LIMIT: Duration = Duration::from_secs(30);

async fn start(store: &LocalStore, handler: &Recorder, expected: u32) -> Manager {
    let builder = manager(fast(expected), store, 4, handler);
    builder.start().await.expect("starts")
}

fn one_of(manager: &Manager) -> PartitionKey {
    let guards = manager.assignment();
    guards.first().expect("has some").partition().clone()
}

fn last(explanation: &Explanation) -> &Move {
    explanation.moves.last().expect("it was granted once")
}

fn cause(step: &Move) -> Cause {
    let decided = step.decided.as_ref();
    decided.expect("the ring shows the decision").cause
}

fn id(manager: &Manager) -> Option<WorkerId> {
    manager.worker_id()
}

/// The present owner, its token and its session must be those of the guard.
fn assert_owned_by(explanation: &Explanation, manager: &Manager) {
    let owner = explanation.owner.as_ref().expect("owned");
    assert_eq!(Some(&owner.worker), id(manager).as_ref());
    let guards = manager.assignment();
    let mut held = guards.iter();
    let guard = held.find(|guard| *guard.partition() == explanation.partition);
    assert_eq!(owner.token, guard.expect("held").token());
    let active = OwnerSession::Present(SessionStatus::Active);
    assert_eq!(owner.session, active);
    assert!(
        owner.since_ms.is_some() && explanation.leaving.is_empty(),
        "{explanation}"
    );
    assert_eq!(explanation.gaps, [], "{explanation}");
}

/// "Why did it move" must be answered after a join, a drain and a crash, by the workers that are left.
#[tokio::test(start_paused = true)]
async fn explain_names_the_cause_after_a_join_a_drain_and_a_crash() {
    let (store, handler) = (LocalStore::new(), Recorder::new("a"));
    let first = start(&store, &handler, 1).await;
    until("all", LIMIT, || first.assignment().len() == 4).await;
    let own = one_of(&first);
    let cold = first.explain(&own).await.expect("read");
    assert_owned_by(&cold, &first);
    assert_eq!(cause(last(&cold)), Cause::ColdStart);
    assert_eq!(last(&cold).from, None);

    let joined = start(&store, &handler.beside("b"), 2).await;
    until("shared", LIMIT, || joined.assignment().len() == 2).await;
    let moved = one_of(&joined);
    let join = first.explain(&moved).await.expect("read");
    assert_owned_by(&join, &joined);
    assert_eq!(cause(last(&join)), Cause::PlannedScale);
    assert_eq!(
        (&last(&join).from, &last(&join).to),
        (&id(&first), &id(&joined))
    );
    assert!(last(&join).taken.is_some() && last(&join).granted.is_some());
    let text = join.to_string();
    assert!(text.contains("planned_scale (joined worker-1)"), "{text}");

    joined.stop(StopMode::Handoff).await.expect("stops cleanly");
    until("all back", LIMIT, || first.assignment().len() == 4).await;
    let drain = first.explain(&moved).await.expect("read");
    assert_owned_by(&drain, &first);
    assert_eq!(cause(last(&drain)), Cause::Drain);

    let crashing = start(&store, &handler.beside("c"), 2).await;
    until("shared again", LIMIT, || crashing.assignment().len() == 2).await;
    let (lost, name) = (one_of(&crashing), id(&crashing));
    drop(crashing);
    until("all once more", LIMIT, || first.assignment().len() == 4).await;
    let crash = first.explain(&lost).await.expect("read");
    assert_owned_by(&crash, &first);
    assert_eq!(cause(last(&crash)), Cause::Emergency);
    assert_eq!(last(&crash).from, name);
    assert!(last(&crash).taken.is_none(), "nobody could be asked");

    let history = first.history(100).await.expect("read");
    assert!(history.is_sorted_by_key(|entry| entry.version));
    let newest = history.last().expect("an entry").version;
    let latest = first.history(1).await.expect("read");
    assert_eq!(latest.len(), 1);
    assert_eq!(latest[0].version, newest);
    let causes: Vec<Cause> = history.iter().map(|entry| entry.cause).collect();
    for cause in [
        Cause::ColdStart,
        Cause::PlannedScale,
        Cause::Drain,
        Cause::Emergency,
    ] {
        assert!(causes.contains(&cause), "{cause} in {causes:?}");
    }
    first.stop(StopMode::Now).await.expect("stops cleanly");
    let ended = ReadError::Ended(Ended::Stopped);
    assert_eq!(first.history(1).await, Err(ended));
}

/// A store that never answers once lists are asked for.
struct NoLists(LocalStore);

#[async_trait]
impl Store for NoLists {
    async fn execute(&self, op: StoreOp) -> Result<StoreReply, StoreError> {
        match op {
            StoreOp::List { prefix } if prefix == "h." => std::future::pending().await,
            StoreOp::List { .. }
            | StoreOp::Get { .. }
            | StoreOp::Commit { .. }
            | StoreOp::Info
            | StoreOp::Create => self.0.execute(op).await,
        }
    }

    async fn watch(&self, scope: WatchScope) -> Result<Box<dyn Watch>, StoreError> {
        self.0.watch(scope).await
    }
}

/// An operator's question must end, also when the store is the problem.
#[tokio::test(start_paused = true)]
async fn a_history_that_cannot_be_read_says_so_within_the_request_timeout() {
    let store = Arc::new(NoLists(LocalStore::new()));
    let builder = manager(fast(1), &store.0, 1, &Recorder::new("a"));
    let builder = builder.store(store).clock(Clock::tokio());
    let worker = builder.start().await.expect("starts");
    let begun = tokio::time::Instant::now();
    let error = worker.history(1).await.expect_err("no answer");
    let after = Duration::from_millis(250);
    assert_eq!(error, ReadError::TimedOut { after });
    assert_eq!(begun.elapsed(), after);
    assert!(
        error.to_string().contains("request_timeout = 250ms"),
        "{error}"
    );
    worker.stop(StopMode::Now).await.expect("stops cleanly");
}
