//! What the driver does not wait for: each request to the outside as a task that reports back once.
//!
//! They are separate because they are where user code runs: the store, the source, the strategy and
//! the handler. What always holds: each answers within its limit, and a panic, also one in the drop
//! of a future that was cut short, is an answer, too.

use std::sync::Arc;
use std::time::Duration;

use parti_core::callbacks::End;
use parti_core::{
    AssignmentStrategy, Event, Liveness, Nonce, OpId, PartitionSource, PlanError, PlanInput,
    ProbeAnswer, ProbeId, SourceError, Store, StoreError, StoreErrorKind, StoreOp, StoreReply,
    WatchEvent, WatchId, WatchScope,
};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinError;
use tokio::time::{sleep, timeout};

use super::Input;
use crate::handler::PartitionHandler;
use crate::observe::meter::{Operation, StoreMeter};
use crate::shell::callbacks::{Call, Finished, Job};
use crate::shell::planted::{Bugs, ShellBug};
use crate::system::clock::Clock;
use crate::system::contain::{Ran, answer, run};
use crate::system::random::Randomness;

/// The least time between two announcements of a source, so that one whose `changed` returns at
/// once costs little.
const ANNOUNCE_PAUSE: Duration = Duration::from_millis(100);

/// How many plans may be computed at a time: one that was given up and never ends, and the next.
const PLANNERS: usize = 2;

/// Where plans are computed.
#[derive(Clone, Debug)]
pub(super) enum Planners {
    /// On threads of their own, as many as there are permits.
    Threads(Arc<Semaphore>),
    /// Where the driver runs: a thread ends at a moment that no seed decides.
    Inline,
}

impl Planners {
    pub(super) fn new(randomness: Randomness) -> Self {
        match randomness {
            Randomness::System => Self::Threads(Arc::new(Semaphore::new(PLANNERS))),
            Randomness::Seeded(_) => Self::Inline,
        }
    }
}

/// How long a source whose `changed` panicked is left alone.
const ANNOUNCE_AGAIN: Duration = Duration::from_secs(10);

/// How long after it broke off probes are answered again.
const ANSWER_AGAIN: Duration = Duration::from_secs(1);

/// A store, and what measures how it answers.
pub(super) struct Asking {
    pub(super) bugs: Bugs,
    pub(super) store: Arc<dyn Store>,
    pub(super) meter: Arc<StoreMeter>,
    pub(super) clock: Clock,
}

/// What a task has to say. Each contains what it runs and answers by itself; what is left are watches
/// that were ended.
pub(super) fn told(done: Result<Input, JoinError>) -> Input {
    done.unwrap_or_else(|error| {
        if !error.is_cancelled() {
            tracing::error!(%error, "a task of the driver panicked");
        }
        Input::Nothing
    })
}

/// Executes a store request.
pub(super) async fn execute(asking: Asking, op: OpId, request: StoreOp, limit: Duration) -> Input {
    let (operation, begun) = (Operation::of(&request), asking.clock.now());
    let call = async {
        let opened = match request {
            StoreOp::Info => asking.store.take_opened(),
            StoreOp::Get { .. } | StoreOp::List { .. } | StoreOp::Commit { .. } => None,
            StoreOp::Create => None,
        };
        match opened {
            Some(info) => Ok(StoreReply::Info(info)),
            None => asking.store.execute(request).await,
        }
    };
    let unknown = |message| Err(StoreError::new(StoreErrorKind::Unknown, message));
    let result = match run(call, sleep(limit)).await {
        Ran::Done(result) => result,
        Ran::Panicked(words) => unknown(format!("the store panicked: {words}")),
        Ran::Cut { .. } if asking.bugs.has(ShellBug::TimeoutIsRefusal) => {
            let kind = StoreErrorKind::Unavailable;
            Err(StoreError::new(kind, in_time("answer", limit, None)))
        }
        Ran::Cut { panic } => unknown(in_time("answer", limit, panic)),
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
    let reason = answer(passing_on, |words| format!("the store panicked: {words}")).await;
    if asking.bugs.has(ShellBug::LostWatchUnseen) {
        return Input::Nothing;
    }
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
    let watch = match run(async { asking.store.watch(scope).await }, sleep(limit)).await {
        Ran::Done(watch) => watch,
        Ran::Panicked(words) => return format!("the store panicked: {words}"),
        Ran::Cut { panic } => {
            let message = in_time("watch", limit, panic);
            Err(StoreError::new(StoreErrorKind::Unknown, message))
        }
    };
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
    let unavailable = |reason| Err(SourceError::Unavailable(reason));
    let result = match run(async { source.list().await }, sleep(limit)).await {
        Ran::Done(result) => result,
        Ran::Panicked(words) => unavailable(format!("it panicked: {words}")),
        Ran::Cut { panic } => unavailable(in_time("list", limit, panic)),
    };
    Input::Event(Event::Partitions { op, result })
}

/// Computes a plan on a thread of its own. A plan that takes too long is not waited for; its thread
/// goes on until it returns, since nothing can end it. So that such threads cannot pile up, there
/// are at most as many as `planners` has permits, and a plan waits for one.
pub(super) async fn plan(
    strategy: Arc<dyn AssignmentStrategy>,
    planners: Planners,
    op: OpId,
    input: PlanInput,
    limit: Duration,
) -> Input {
    let failed = |words: String| Err(PlanError::Failed(format!("the strategy failed: {words}")));
    let planning = async {
        match planners {
            Planners::Inline => answer(async { strategy.plan(&input) }, failed).await,
            Planners::Threads(permits) => {
                // Nobody closes it.
                let permit = permits.acquire_owned().await.ok();
                let thread = tokio::task::spawn_blocking(move || {
                    let _until_it_returns = permit;
                    strategy.plan(&input)
                });
                let planned = thread.await;
                planned.unwrap_or_else(|error| failed(error.to_string()))
            }
        }
    };
    let late = |_| Err(PlanError::Failed(in_time("plan", limit, None)));
    let result = timeout(limit, planning).await.unwrap_or_else(late);
    Input::Event(Event::Planned { op, result })
}

/// What there is to say of something that was cut short.
fn in_time(what: &str, limit: Duration, panic: Option<String>) -> String {
    let late = format!("no {what} within {limit:?}");
    panic.map_or_else(
        || late.clone(),
        |words| format!("{late}, and it panicked when it was dropped: {words}"),
    )
}

/// Asks whether the process of a session runs.
pub(super) async fn probe(
    liveness: Option<Arc<dyn Liveness>>,
    probe: ProbeId,
    within: Duration,
) -> Input {
    let asking = async {
        match &liveness {
            Some(liveness) => liveness.ask(probe.session(), within).await,
            None => ProbeAnswer::Silence,
        }
    };
    let answer = match run(asking, sleep(within)).await {
        Ran::Done(answer) => answer,
        Ran::Panicked(_) | Ran::Cut { .. } => ProbeAnswer::Silence,
    };
    Input::Event(Event::Probed { probe, answer })
}

/// Answers probes for a session until it is ended, and begins again when that breaks off.
pub(super) async fn answer_probes(
    liveness: Arc<dyn Liveness>,
    session: Nonce,
    limit: Duration,
    inbox: mpsc::Sender<Input>,
) -> Input {
    loop {
        let begun = run(async { liveness.answer(session).await }, sleep(limit)).await;
        if let Ran::Done(Ok(mut answering)) = begun {
            let event = Event::Answering { session };
            if inbox.send(Input::Event(event)).await.is_err() {
                return Input::Nothing;
            }
            let reason = answer(answering.run(), |words| words).await;
            tracing::debug!(reason, "probes are not answered any more");
        } else if let Ran::Done(Err(error)) = begun {
            tracing::warn!(%error, "probes cannot be answered: nobody probes this worker, or it looks gone");
            sleep(limit).await;
        }
        sleep(ANSWER_AGAIN).await;
    }
}

/// Passes on that the partition source has changed.
pub(super) async fn announce(
    source: Arc<dyn PartitionSource>,
    inbox: mpsc::Sender<Input>,
) -> Input {
    loop {
        let changed = async {
            source.changed().await;
            Ok(())
        };
        if let Err(panic) = answer(changed, Err).await {
            tracing::error!(panic, "the partition source panicked instead of announcing");
            sleep(ANNOUNCE_AGAIN).await;
            continue;
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

/// Runs a callback to its end, or until it is cut short. An `on_assigned` whose guard has become invalid
/// since it was its turn, as after a blocked runtime, is not begun.
pub(super) async fn call(handler: Arc<dyn PartitionHandler>, call: Call, bugs: Bugs) -> Input {
    let Call { job, cut } = call;
    // The sender is dropped to say so.
    let cut = async { drop(cut.await) };
    if bugs.has(ShellBug::CallbacksOverlap) {
        let (handler, of) = (Arc::clone(&handler), job.clone());
        let body = tokio::spawn(async move { call_handler(&*handler, &of).await });
        let end = tokio::select! {
            biased;
            end = body => end.unwrap_or(End::Returned),
            () = cut => End::Cut,
        };
        return Input::Finished(Finished { job, end });
    }
    let end = match run(call_handler(&*handler, &job), cut).await {
        Ran::Done(End::Failed(_)) if bugs.has(ShellBug::ErrorSwallowed) => End::Returned,
        Ran::Done(end) => end,
        Ran::Panicked(_) if bugs.has(ShellBug::PanicSwallowed) => End::Returned,
        Ran::Panicked(words) => End::Panicked(words),
        Ran::Cut { panic: Some(words) } => End::CutPanicking(words),
        Ran::Cut { panic: None } => End::Cut,
    };
    Input::Finished(Finished { job, end })
}

async fn call_handler(handler: &dyn PartitionHandler, job: &Job) -> End {
    let partition = job.partition();
    let begun = match job {
        Job::Assigned { ownership } if !ownership.guard.is_valid() => return End::NotBegun,
        Job::Assigned { ownership } => {
            handler
                .on_assigned(partition, ownership.guard.clone())
                .await
        }
        Job::Revoked { ownership, cause } => {
            let guard = ownership.guard.clone();
            handler.on_revoked(partition, guard, *cause).await;
            Ok(())
        }
        Job::Prepare { preparation } => handler.on_prepare(partition, preparation.clone()).await,
        Job::PrepareCancelled { preparation } => {
            let preparation = preparation.clone();
            handler.on_prepare_cancelled(partition, preparation).await;
            Ok(())
        }
    };
    begun.map_or_else(|error| End::Failed(error.to_string()), |()| End::Returned)
}
