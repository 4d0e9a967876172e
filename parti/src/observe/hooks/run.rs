//! Calling hooks: one event after the other, each bounded and contained.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::sleep;

use super::{HookEvent, Hooks};
use crate::observe::instrument::Counter;
use crate::system::contain::{self, Ran};

/// How long a call may take, and what is counted.
#[derive(Debug)]
pub(crate) struct Limits {
    pub(crate) timeout: Duration,
    pub(crate) dropped: Counter,
    pub(crate) timed_out: Counter,
    pub(crate) panicked: Counter,
}

/// Calls the hooks until the worker has ended and everything was told.
pub(crate) async fn run(
    hooks: Arc<dyn Hooks>,
    mut events: broadcast::Receiver<Arc<HookEvent>>,
    limits: Limits,
) {
    loop {
        match events.recv().await {
            Ok(event) => call(&*hooks, &event, &limits).await,
            Err(RecvError::Lagged(missed)) => {
                limits.dropped.increment(missed);
                tracing::warn!(missed, "the hooks are too slow");
                call(&*hooks, &HookEvent::Missed(missed), &limits).await;
            }
            Err(RecvError::Closed) => return,
        }
    }
}

async fn call(hooks: &dyn Hooks, event: &HookEvent, limits: &Limits) {
    let body = async {
        match event {
            HookEvent::State(change) => hooks.on_state(change).await,
            HookEvent::Assignment(change) => hooks.on_assignment(change).await,
            HookEvent::Leadership(change) => hooks.on_leadership(change).await,
            HookEvent::Degraded(change) => hooks.on_degraded(change).await,
            HookEvent::Error(trouble) => hooks.on_error(trouble).await,
            HookEvent::Missed(count) => hooks.on_missed(*count).await,
        }
    };
    let panic = match contain::run(body, sleep(limits.timeout)).await {
        Ran::Done(()) => None,
        Ran::Panicked(words) => Some(words),
        Ran::Cut { panic } => {
            limits.timed_out.increment(1);
            tracing::warn!(?event, after = ?limits.timeout, "a hook took too long");
            panic
        }
    };
    if let Some(panic) = panic {
        limits.panicked.increment(1);
        tracing::error!(?event, panic, "a hook panicked");
    }
}
