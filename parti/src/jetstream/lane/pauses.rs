//! The partitions that this worker keeps and does not work on for now.
//!
//! It is separate because lanes wait for it while somebody else changes it.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Which partitions are paused.
#[derive(Debug, Default)]
pub(in crate::jetstream) struct Pauses {
    paused: Mutex<BTreeSet<u32>>,
    changed: Notify,
}

impl Pauses {
    /// Begins no further message of a partition.
    pub(in crate::jetstream) fn pause(&self, partition: u32) {
        self.paused().insert(partition);
    }

    /// Goes on with it.
    pub(in crate::jetstream) fn resume(&self, partition: u32) {
        self.paused().remove(&partition);
        self.changed.notify_waiters();
    }

    /// Whether a partition is paused.
    pub(in crate::jetstream) fn has(&self, partition: u32) -> bool {
        self.paused().contains(&partition)
    }

    /// All of them.
    pub(in crate::jetstream) fn all(&self) -> BTreeSet<u32> {
        self.paused().clone()
    }

    /// Waits until a partition is not paused.
    pub(in crate::jetstream) async fn resumed(&self, partition: u32) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if !self.has(partition) {
                return;
            }
            changed.await;
        }
    }

    fn paused(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        // A panic leaves the set whole.
        self.paused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
