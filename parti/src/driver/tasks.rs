//! What the driver does not wait for: each request to the outside as a task that reports back once.
//!
//! They are separate because they are where user code runs: the store, the source, the strategy and
//! the handler. What always holds: each answers within its limit and a panic is an answer, too.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use parti_core::{
    AssignmentStrategy, Event, OpId, PartitionSource, PlanError, PlanInput, SourceError, Store,
    StoreError, StoreErrorKind, StoreOp, WatchEvent, WatchId, WatchScope,
};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Input;
use crate::clock::Clock;
use crate::desk::{Call, End, Finished, Job};
use crate::handler::{Callback, PartitionHandler};
use crate::meter::{Operation, StoreMeter};

/// The least time between two announcements of a source, so that one whose `changed` returns at
/// once costs little.
const ANNOUNCE_PAUSE: Duration = Duration::from_millis(100);

/// A store, and what measures how it answers.
pub(super) struct Asking {
    pub(super) store: Arc<dyn Store>,
    pub(super) meter: Arc<StoreMeter>,
    pub(super) clock: Clock,
}

/// Executes a store request.
pub(super) async fn execute(asking: Asking, op: OpId, request: StoreOp, limit: Duration) -> Input {
    let (operation, begun) = (Operation::of(&request), asking.clock.now());
    let call = AssertUnwindSafe(asking.store.execute(request)).catch_unwind();
    let unknown = |message| Err(StoreError::new(StoreErrorKind::Unknown, message));
    let result = match timeout(limit, call).await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => unknown(format!("the store panicked: {}", words(&*panic))),
        Err(_) => unknown(format!("no answer within {limit:?}")),
    };
    let took = asking.clock.now().since(begun);
    asking.meter.asked(operation, took, &result);
    Input::Event(Event::Store { op, result })
}

/// Runs a watch until it is lost. Only its set-up is bounded: a watch may be silent for long.
pub(super) async fn watch(
    asking: Asking,
    id: WatchId,
    scope: WatchScope,
    limit: Duration,
    inbox: mpsc::Sender<Input>,
) -> Input {
    let passing_on = pass_on(&asking, id, scope, limit, &inbox);
    let reason = match AssertUnwindSafe(passing_on).catch_unwind().await {
        Ok(reason) => reason,
        Err(panic) => format!("the store panicked: {}", words(&*panic)),
    };
    let event = WatchEvent::Lost { reason };
    // Through the inbox, so that it stays behind the events that came before it.
    let _ = inbox.send(Input::Event(Event::Watch { id, event })).await;
    Input::Nothing
}

/// Passes on what a watch says and answers why it ended.
async fn pass_on(
    asking: &Asking,
    id: WatchId,
    scope: WatchScope,
    limit: Duration,
    inbox: &mpsc::Sender<Input>,
) -> String {
    let begun = asking.clock.now();
    let watch = timeout(limit, asking.store.watch(scope)).await;
    let watch = watch.unwrap_or_else(|_| {
        let message = format!("not set up within {limit:?}");
        Err(StoreError::new(StoreErrorKind::Unknown, message))
    });
    let took = asking.clock.now().since(begun);
    asking.meter.asked(Operation::Watch, took, &watch);
    let mut watch = match watch {
        Ok(watch) => watch,
        Err(error) => return error.to_string(),
    };
    loop {
        let event = match watch.next().await {
            WatchEvent::Lost { reason } => return reason,
            event @ (WatchEvent::Entry(_) | WatchEvent::CaughtUp { .. }) => event,
        };
        let input = Input::Event(Event::Watch { id, event });
        if inbox.send(input).await.is_err() {
            return "the driver has ended".to_owned();
        }
    }
}

/// Lists the partitions.
pub(super) async fn list(source: Arc<dyn PartitionSource>, op: OpId, limit: Duration) -> Input {
    let call = AssertUnwindSafe(source.list()).catch_unwind();
    let unavailable = |reason| Err(SourceError::Unavailable(reason));
    let result = match timeout(limit, call).await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => unavailable(format!("it panicked: {}", words(&*panic))),
        Err(_) => unavailable(format!("no list within {limit:?}")),
    };
    Input::Event(Event::Partitions { op, result })
}

/// Computes a plan on a thread of its own. A plan that takes too long is not waited for; its thread
/// goes on until it returns.
pub(super) async fn plan(
    strategy: Arc<dyn AssignmentStrategy>,
    op: OpId,
    input: PlanInput,
    limit: Duration,
) -> Input {
    let thread = tokio::task::spawn_blocking(move || strategy.plan(&input));
    let result = match timeout(limit, thread).await {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => Err(PlanError::Failed(format!("the strategy failed: {error}"))),
        Err(_) => Err(PlanError::Failed(format!("no plan within {limit:?}"))),
    };
    Input::Event(Event::Planned { op, result })
}

/// Passes on that the partition source has changed.
pub(super) async fn announce(
    source: Arc<dyn PartitionSource>,
    inbox: mpsc::Sender<Input>,
) -> Input {
    loop {
        if AssertUnwindSafe(source.changed())
            .catch_unwind()
            .await
            .is_err()
        {
            tracing::error!("the partition source panicked; its changes are no longer noticed");
            return Input::Nothing;
        }
        if inbox
            .send(Input::Event(Event::SourceChanged))
            .await
            .is_err()
        {
            return Input::Nothing;
        }
        tokio::time::sleep(ANNOUNCE_PAUSE).await;
    }
}

/// Runs a callback to its end, or until it is cut short: `on_revoked` by `limit`, `on_assigned` when
/// its partition has waited too long to be revoked.
pub(super) async fn call(handler: Arc<dyn PartitionHandler>, call: Call, limit: Duration) -> Input {
    let Call { job, cut } = call;
    let body = AssertUnwindSafe(run(&*handler, &job)).catch_unwind();
    let too_long = async {
        match job.callback() {
            Callback::Revoked => tokio::time::sleep(limit).await,
            // The sender is dropped to say so.
            Callback::Assigned => drop(cut.await),
        }
    };
    let end = tokio::select! {
        biased;
        result = body => result.map_or_else(|panic| End::Panicked(words(&*panic)), |()| End::Returned),
        () = too_long => End::CutShort,
    };
    Input::Finished(Finished { job, end })
}

async fn run(handler: &dyn PartitionHandler, job: &Job) {
    match job {
        Job::Assigned { guard } => handler.on_assigned(guard.partition(), guard.clone()).await,
        Job::Revoked { guard, cause } => handler.on_revoked(guard.partition(), *cause).await,
    }
}

/// What a panic said.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a value that is not text".to_owned())
}
