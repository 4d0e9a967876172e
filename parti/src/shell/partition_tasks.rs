//! One task per partition: the handler that most workers need, so that nobody has to write it again.
//!
//! It is separate from the callback scheduler because it is a handler like any other. What always
//! holds: `on_revoked` returns after the task has ended, and a task that ends while its partition is not
//! being revoked is told and begun again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use parti_core::{PartitionKey, RevokeCause};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tracing::Instrument as _;

use crate::handler::guard::Guard;
use crate::handler::{HandlerError, PartitionHandler};
use crate::observe::subscription::ManagerNotice;
use crate::shell::driver::Input;
use crate::system::contain::{self, Ran};

/// The first and the longest pause before a task is begun again. One that ran longer than the longest
/// begins with the first.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What is done with a partition while it is owned.
pub(crate) type Work =
    Arc<dyn Fn(Guard) -> BoxFuture<'static, Result<(), HandlerError>> + Send + Sync>;

/// Runs the work of each partition in a task of its own.
pub(crate) struct PartitionTasks {
    work: Work,
    inbox: mpsc::Sender<Input>,
    /// Each has one task, which ends when the set is dropped.
    running: Mutex<BTreeMap<PartitionKey, JoinSet<()>>>,
}

impl PartitionTasks {
    pub(crate) fn new(work: Work, inbox: mpsc::Sender<Input>) -> Self {
        let running = Mutex::default();
        Self {
            work,
            inbox,
            running,
        }
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<PartitionKey, JoinSet<()>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl PartitionHandler for PartitionTasks {
    async fn on_assigned(
        &self,
        partition: &PartitionKey,
        guard: Guard,
    ) -> Result<(), HandlerError> {
        let work = supervise(Arc::clone(&self.work), guard, self.inbox.clone());
        let mut task = JoinSet::new();
        task.spawn(work.in_current_span());
        self.running().insert(partition.clone(), task);
        Ok(())
    }

    async fn on_revoked(&self, partition: &PartitionKey, _: Guard, _: RevokeCause) {
        let task = self.running().remove(partition);
        if let Some(mut task) = task {
            while task.join_next().await.is_some() {}
        }
    }
}

/// Does the work until its partition is revoked.
async fn supervise(work: Work, guard: Guard, inbox: mpsc::Sender<Input>) {
    let (first, longest) = PAUSES;
    let mut pause = first;
    loop {
        let begun = Instant::now();
        let body = async { work(guard.clone()).await };
        let ran = contain::run(body, guard.invalidated()).await;
        let revoking = guard.is_revoking();
        let reason = match ran {
            Ran::Done(Ok(())) if revoking => return,
            Ran::Done(Ok(())) => "it returned before its partition was revoked".to_owned(),
            Ran::Done(Err(error)) => error.to_string(),
            Ran::Cut { panic: None } => return,
            Ran::Panicked(words) | Ran::Cut { panic: Some(words) } => {
                format!("it panicked: {words}")
            }
        };
        let ended = ManagerNotice::TaskEnded {
            partition: guard.partition().clone(),
            token: guard.token(),
            reason,
            pause: (!revoking).then_some(pause),
        };
        // A driver that takes in nothing more has ended, and so has this task.
        let _ = inbox.send(Input::Notice(ended)).await;
        tokio::select! {
            biased;
            () = guard.revoking() => return,
            () = sleep(pause) => {}
        }
        let lasted = begun.elapsed() > longest;
        pause = if lasted {
            first
        } else {
            (pause * 2).min(longest)
        };
    }
}
