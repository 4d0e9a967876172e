//! What a manager tells its subscribers, and how a subscriber reads it.
//!
//! It is separate so that no reader can reach the driver: notices go into a ring of fixed size, and
//! a reader that falls behind loses the oldest of them. What always holds: a reader sees notices in
//! order, knows how many it lost, and ends at the latest one.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use parti_core::{Notice, PartitionKey, Token, Version};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;

use crate::observe::instrument::Counter;
use parti_core::callbacks::Callback;

/// How many notices a slow reader may be behind before it loses some.
pub(crate) const RING: usize = 1024;

/// Something worth knowing, from the core or from the callbacks.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ManagerNotice {
    /// From the coordination core: state changes, leadership, generations, failures.
    Core(Notice),
    /// `on_assigned` failed, panicked or took longer than `assign_timeout`. It is tried again; a
    /// partition that keeps failing is given to another worker.
    AssignFailed {
        /// The partition.
        partition: PartitionKey,
        /// The token of the ownership.
        token: Token,
        /// How often in a row.
        failures: u32,
        /// The reason in words.
        reason: String,
        /// After how long it is tried again.
        pause: Duration,
    },
    /// A callback panicked. One that ends something counts as returned, the others as failed.
    CallbackPanicked {
        /// The partition.
        partition: PartitionKey,
        /// Which callback.
        callback: Callback,
        /// What the panic said.
        message: String,
    },
    /// The task of a partition ([`Manager::with_tasks`](crate::Manager::with_tasks)) failed, panicked, or
    /// returned before its partition was revoked.
    TaskEnded {
        /// The partition.
        partition: PartitionKey,
        /// The token of the ownership.
        token: Token,
        /// The reason in words.
        reason: String,
        /// After how long it is begun again; `None` when its partition is being revoked.
        pause: Option<Duration>,
    },
    /// `on_prepare` did not return within `prepare_timeout`. It was dropped, and the partition comes all
    /// the same.
    PrepareTimedOut {
        /// The partition.
        partition: PartitionKey,
        /// The generation that asked for the preparation.
        version: Version,
    },
    /// Processing was not ended within `drain_timeout`. The guard is invalid and the partition
    /// counts as released.
    DrainTimedOut {
        /// The partition.
        partition: PartitionKey,
        /// The token of the ownership that ended so.
        token: Token,
    },
}

/// A reader of a manager's notices, from the moment of
/// [`Manager::subscribe`](crate::Manager::subscribe) on, also as a [`Stream`]. Dropping it ends it.
#[derive(Debug)]
pub struct Subscription {
    notices: Option<BroadcastStream<Arc<ManagerNotice>>>,
    lost: u64,
    dropped: Counter,
}

impl Subscription {
    pub(crate) fn new(
        receiver: Option<broadcast::Receiver<Arc<ManagerNotice>>>,
        dropped: Counter,
    ) -> Self {
        Self {
            notices: receiver.map(BroadcastStream::new),
            lost: 0,
            dropped,
        }
    }

    /// The next notice, or `None` after the last one of a manager that has ended.
    ///
    /// # Cancellation safety
    /// Dropping the future loses no notice. There is no deadline: it ends with the manager.
    pub async fn next(&mut self) -> Option<Arc<ManagerNotice>> {
        StreamExt::next(self).await
    }

    /// How many notices this reader was too slow for.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }
}

impl Stream for Subscription {
    type Item = Arc<ManagerNotice>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let Some(notices) = &mut self.notices else {
                return Poll::Ready(None);
            };
            match ready!(notices.poll_next_unpin(cx)) {
                Some(Ok(notice)) => return Poll::Ready(Some(notice)),
                Some(Err(BroadcastStreamRecvError::Lagged(missed))) => {
                    self.dropped.increment(missed);
                    self.lost += missed;
                }
                None => return Poll::Ready(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::instrument::Instruments;
    use crate::observe::meter::dropped;

    fn notice(number: u64) -> Arc<ManagerNotice> {
        let (partition, token) = (PartitionKey::new(["p"]), Token::new(number));
        let partition = partition.expect("valid key");
        Arc::new(ManagerNotice::DrainTimedOut { partition, token })
    }

    /// A slow reader once held up the state machine; a dropped one must not matter either.
    #[tokio::test]
    async fn a_slow_reader_loses_the_oldest_counts_them_and_ends_at_the_latest() {
        let sender = broadcast::Sender::new(RING);
        let dropped = || dropped(&Instruments::new("g", &[]), "subscription");
        let mut slow = Subscription::new(Some(sender.subscribe()), dropped());
        drop(Subscription::new(Some(sender.subscribe()), dropped()));
        let sent = 3 * RING as u64;
        for number in 1..=sent {
            sender.send(notice(number)).expect("one reads");
        }
        drop(sender);
        let (mut read, mut last) = (0, None);
        while let Some(next) = slow.next().await {
            (read, last) = (read + 1, Some(next));
        }
        assert_eq!(last, Some(notice(sent)));
        assert_eq!((read, slow.lost()), (RING as u64, sent - RING as u64));
    }
}
