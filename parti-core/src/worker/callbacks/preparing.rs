//! Preparations: what this worker gets ready for without owning it.
//!
//! They are separate from ownerships because they give no right to anything, have no guard and need no
//! lease. What always holds: each ends exactly once, by the `on_assigned` of its partition, or by an
//! `on_prepare_cancelled` if its `on_prepare` had begun; the core is told once how it went, at the latest
//! when its time is over.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeSet;
use alloc::format;

use super::action::{Action, CutReason, End, Job};
use super::{Scheduler, Slot, cancel};
use crate::model::partition::PartitionKey;
use crate::model::preparation::Preparation;
use crate::model::time::Instant;

/// A preparation that is neither taken up nor withdrawn.
#[derive(Clone, Debug)]
pub(super) struct Underway {
    preparation: Preparation,
    /// When it is waited for no longer.
    until: Instant,
    /// Whether `on_prepare` has been called.
    pub(super) begun: bool,
    /// Whether the core knows how it went.
    told: bool,
}

impl<G: Clone> Scheduler<G> {
    /// This worker is to get ready for a partition, as [`Effect::Prepare`](crate::Effect::Prepare) says.
    pub fn prepare(&mut self, now: Instant, preparation: Preparation) {
        let key = preparation.partition.clone();
        self.end_preparation(&key);
        let until = now + self.limits.prepare;
        let slot = self.slots.entry(key.clone()).or_insert_with(Slot::new);
        slot.preparation = Some(Underway {
            preparation: preparation.clone(),
            until,
            begun: false,
            told: false,
        });
        slot.queue.push_back(Job::Prepare { preparation });
        self.warmups.insert((until, key.clone()));
        self.make_ready(&key);
    }

    /// A preparation is of no more use, as [`Effect::Withdraw`](crate::Effect::Withdraw) says. One that
    /// has ended already is none.
    pub fn withdraw(&mut self, preparation: &Preparation) {
        let key = &preparation.partition;
        let underway = self.underway(key);
        if underway.is_some_and(|underway| underway.preparation == *preparation) {
            self.end_preparation(key);
            self.forget_if_empty(key);
        }
    }

    /// Ends the preparation of a partition that is not to be taken up, if there is one.
    pub(super) fn end_preparation(&mut self, key: &PartitionKey) {
        let slot = self.slots.get_mut(key);
        let Some((slot, underway)) = slot.and_then(|slot| {
            let underway = slot.preparation.take()?;
            Some((slot, underway))
        }) else {
            return;
        };
        cancel(&mut self.warmups, Some(underway.until), key);
        if underway.begun {
            let preparation = underway.preparation;
            slot.queue.push_back(Job::PrepareCancelled { preparation });
            self.cut_preparing(key, CutReason::Withdrawn);
            self.make_ready(key);
        } else {
            slot.queue.retain(|job| !job.prepares());
            self.make_ready(key);
        }
    }

    /// The time of a preparation is over: it counts as done.
    pub(super) fn end_warmup(&mut self, key: &PartitionKey) {
        let slot = self.slots.get_mut(key);
        let Some(underway) = slot.and_then(|slot| slot.preparation.as_mut()) else {
            return;
        };
        if core::mem::replace(&mut underway.told, true) {
            return;
        }
        let preparation = underway.preparation.clone();
        let begun = underway.begun;
        self.actions
            .push_back(Action::PrepareTimedOut(preparation.clone()));
        self.actions.push_back(Action::Prepared {
            preparation,
            failing: None,
        });
        if begun {
            self.cut_preparing(key, CutReason::Limit);
        } else if let Some(slot) = self.slots.get_mut(key) {
            // Its turn did not come.
            slot.queue.retain(|job| !job.prepares());
            self.make_ready(key);
        }
    }

    /// An `on_prepare` has ended.
    pub(super) fn prepared(&mut self, preparation: &Preparation, end: End) {
        let key = &preparation.partition;
        let slot = self.slots.get_mut(key);
        let underway = slot.and_then(|slot| slot.preparation.as_mut());
        let Some(underway) = underway.filter(|underway| underway.preparation == *preparation)
        else {
            return;
        };
        cancel(&mut self.warmups, Some(underway.until), key);
        if core::mem::replace(&mut underway.told, true) {
            return;
        }
        let failing = match end {
            End::Returned | End::NotBegun => None,
            End::Failed(reason) => Some(reason),
            End::Panicked(words) | End::CutPanicking(words) => {
                Some(format!("it panicked: {words}"))
            }
            End::Cut => Some("it was cut short".to_owned()),
        };
        self.actions.push_back(Action::Prepared {
            preparation: preparation.clone(),
            failing,
        });
    }

    /// An `on_assigned` that was not begun after all takes nothing up.
    pub(super) fn put_back(&mut self, key: &PartitionKey, underway: Option<Underway>) {
        let slot = self.slots.get_mut(key);
        let (Some(slot), Some(underway)) = (slot, underway) else {
            return;
        };
        if slot.preparation.is_none() {
            slot.preparation = Some(underway);
        } else {
            // There is another one by now.
            let preparation = underway.preparation;
            slot.queue.push_front(Job::PrepareCancelled { preparation });
        }
    }

    fn cut_preparing(&mut self, key: &PartitionKey, why: CutReason) {
        let running = self.slots.get(key).and_then(|slot| slot.running.as_ref());
        if running.is_some_and(|running| running.job.prepares()) {
            self.cut(key, why);
        }
    }

    fn underway(&self, key: &PartitionKey) -> Option<&Underway> {
        self.slots.get(key)?.preparation.as_ref()
    }
}

impl Underway {
    pub(super) fn cancel(&self, warmups: &mut BTreeSet<(Instant, PartitionKey)>) {
        cancel(warmups, Some(self.until), &self.preparation.partition);
    }
}

impl<G> Job<G> {
    pub(super) const fn prepares(&self) -> bool {
        matches!(self, Self::Prepare { .. })
    }
}
