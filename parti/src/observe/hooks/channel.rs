//! Hooks as a stream of events, for programs that would rather read than be called.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use async_trait::async_trait;
use futures_util::Stream;
use tokio::sync::mpsc;

use super::{
    AssignmentChange, DegradedChange, HookEvent, Hooks, LeadershipChange, StateChange, Trouble,
};

/// Hooks that send what they are told into a channel of this capacity, at least 1, and its reader.
///
/// A full channel makes the hooks wait, up to the builder's `hook_timeout` per event; beyond it
/// events are lost, which [`HookEvent::Missed`] and `parti_hook_failures_total` tell. Dropping the
/// reader ends it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use parti::{Config, Guard, HandlerError, Manager, PartitionHandler, PartitionKey, Preset, RevokeCause};
/// # use parti::events::{HookEvent, hook_channel};
/// # use parti::sources::StaticSource;
/// # struct Work;
/// # #[parti::async_trait]
/// # impl PartitionHandler for Work {
/// #     async fn on_assigned(&self, _: &PartitionKey, _: Guard) -> Result<(), HandlerError> {
/// #         Ok(())
/// #     }
/// #     async fn on_revoked(&self, _: &PartitionKey, _: Guard, _: RevokeCause) {}
/// # }
/// let (hooks, mut events) = hook_channel(64);
/// # let config = Config::builder("g").preset(Preset::Fast).expected_workers(1).build()?;
/// # let source = StaticSource::numbered("p", 4)?;
/// let worker = Manager::builder(config, source, Work).hooks(hooks).start().await?;
/// while let Some(event) = events.next().await {
///     if let HookEvent::Assignment(change) = event {
///         println!("{} partitions", change.assigned.len());
///         break;
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn hook_channel(capacity: usize) -> (impl Hooks, HookStream) {
    let (sender, receiver) = mpsc::channel(capacity.max(1));
    let lost = AtomicU64::new(0);
    (ChannelHooks { sender, lost }, HookStream(receiver))
}

/// The events of [`hook_channel`], also as a [`Stream`]; it ends with the worker.
#[derive(Debug)]
pub struct HookStream(mpsc::Receiver<HookEvent>);

impl HookStream {
    /// The next event, or `None` after the last one of a worker that has ended.
    ///
    /// # Cancellation safety
    /// Dropping the future loses no event. There is no deadline: it ends with the worker.
    pub async fn next(&mut self) -> Option<HookEvent> {
        self.0.recv().await
    }
}

impl Stream for HookStream {
    type Item = HookEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<HookEvent>> {
        self.0.poll_recv(cx)
    }
}

struct ChannelHooks {
    sender: mpsc::Sender<HookEvent>,
    /// Events that were begun to be sent and have not arrived.
    lost: AtomicU64,
}

impl ChannelHooks {
    /// Sends an event. If the future is dropped while the channel is full, the event counts as lost.
    async fn send(&self, event: HookEvent) {
        let missed = self.lost.fetch_add(1, Ordering::Relaxed);
        if missed > 0 && self.sender.send(HookEvent::Missed(missed)).await.is_ok() {
            self.lost.fetch_sub(missed, Ordering::Relaxed);
        }
        // The reader may have stopped.
        let _ = self.sender.send(event).await;
        self.lost.fetch_sub(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl Hooks for ChannelHooks {
    async fn on_state(&self, change: &StateChange) {
        self.send(HookEvent::State(change.clone())).await;
    }

    async fn on_assignment(&self, change: &AssignmentChange) {
        self.send(HookEvent::Assignment(change.clone())).await;
    }

    async fn on_leadership(&self, change: &LeadershipChange) {
        self.send(HookEvent::Leadership(change.clone())).await;
    }

    async fn on_degraded(&self, change: &DegradedChange) {
        self.send(HookEvent::Degraded(change.clone())).await;
    }

    async fn on_error(&self, trouble: &Trouble) {
        self.send(HookEvent::Error(trouble.clone())).await;
    }

    async fn on_missed(&self, count: u64) {
        self.send(HookEvent::Missed(count)).await;
    }
}
