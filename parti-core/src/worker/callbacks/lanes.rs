//! Lanes and timers: which callbacks wait for a turn together, and when something is over.
//!
//! They are separate because they know nothing of what a callback does. What always holds: what ends
//! something, what begins, and what only gets ready do not hold each other up.

use alloc::collections::{BTreeSet, VecDeque};

use super::{Callback, Job, Scheduler};
use crate::model::partition::PartitionKey;
use crate::model::time::Instant;

/// Callbacks of one kind: those whose turn it may be, and how many run.
#[derive(Clone, Debug, Default)]
pub(super) struct Lane {
    pub(super) ready: VecDeque<PartitionKey>,
    pub(super) running: usize,
}

impl<G> Scheduler<G> {
    /// Lets the next callback of a partition wait for its turn; [`Scheduler::begin_next`] passes over
    /// one whose predecessor still runs, which does this again when it ends.
    pub(super) fn make_ready(&mut self, key: &PartitionKey) {
        let next = self.slots.get(key).and_then(|slot| slot.queue.front());
        if let Some(callback) = next.map(Job::callback) {
            self.lane(callback).ready.push_back(key.clone());
        }
    }

    pub(super) const fn lane(&mut self, callback: Callback) -> &mut Lane {
        match callback {
            Callback::Assigned => &mut self.assigning,
            Callback::Revoked | Callback::PrepareCancelled => &mut self.revoking,
            Callback::Prepare => &mut self.preparing,
        }
    }
}

/// The lane of a callback: what ends something shares one.
pub(super) const fn lane_of(callback: Callback) -> Callback {
    match callback {
        Callback::Assigned => Callback::Assigned,
        Callback::Revoked | Callback::PrepareCancelled => Callback::Revoked,
        Callback::Prepare => Callback::Prepare,
    }
}

/// Takes a timer back that may have been set.
pub(super) fn cancel(
    timers: &mut BTreeSet<(Instant, PartitionKey)>,
    at: Option<Instant>,
    key: &PartitionKey,
) {
    if let Some(at) = at {
        timers.remove(&(at, key.clone()));
    }
}

/// The next partition whose timer has run out.
pub(super) fn take_due(
    timers: &mut BTreeSet<(Instant, PartitionKey)>,
    now: Instant,
) -> Option<PartitionKey> {
    timers.first().filter(|(at, _)| *at <= now)?;
    timers.pop_first().map(|(_, key)| key)
}
