//! Retries: partitions that are this worker's and whose processing has not begun.
//!
//! They are separate from the order of callbacks because owned is not processed: a partition waits for
//! its turn, is in `on_assigned`, or has failed there and waits for its next try. What always holds: a
//! partition is here from its grant until `on_assigned` returned `Ok` or it was released; the pauses
//! between tries double up to a limit.

use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;

use super::Ownership;
use crate::model::partition::PartitionKey;
use crate::model::time::Instant;

/// The pause after the first failure; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How many partitions are not processed, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Since when the one that has waited for longest is this worker's.
    pub since: Instant,
    /// How many.
    pub partitions: usize,
    /// How many of them have failed.
    pub failed: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Retries {
    /// After how many failures in a row the core is told.
    attempts: u32,
    open: BTreeMap<PartitionKey, Trial>,
    /// How many of them have failed.
    failed: usize,
    oldest: BTreeSet<(Instant, PartitionKey)>,
    /// When a further try is due.
    resting: BTreeSet<(Instant, PartitionKey)>,
}

#[derive(Clone, Debug)]
struct Trial {
    /// The number of the ownership.
    number: u64,
    since: Instant,
    failures: u32,
    resting: Option<Instant>,
}

impl Retries {
    pub(super) const fn new(attempts: u32) -> Self {
        Self {
            attempts,
            open: BTreeMap::new(),
            failed: 0,
            oldest: BTreeSet::new(),
            resting: BTreeSet::new(),
        }
    }

    /// A partition became this worker's.
    pub(super) fn begin<G>(&mut self, now: Instant, ownership: &Ownership<G>) {
        let key = &ownership.grant.partition;
        self.remove(key);
        let trial = Trial {
            number: ownership.number(),
            since: now,
            failures: 0,
            resting: None,
        };
        self.oldest.insert((now, key.clone()));
        self.open.insert(key.clone(), trial);
    }

    /// `on_assigned` returned `Ok`, or there is nothing to try any more. Whether it was processed after
    /// the core had been told that it cannot be.
    pub(super) fn end<G>(&mut self, ownership: &Ownership<G>, processed: bool) -> bool {
        if self.find(ownership).is_none() {
            return false;
        }
        let failures = self.remove(&ownership.grant.partition);
        processed && failures.is_some_and(|failures| failures >= self.attempts)
    }

    /// `on_assigned` failed: how often in a row now, and after which pause it is tried again.
    pub(super) fn fail<G>(&mut self, now: Instant, ownership: &Ownership<G>) -> (u32, Duration) {
        let Some(trial) = self.find(ownership) else {
            return (0, Duration::ZERO);
        };
        trial.failures = trial.failures.saturating_add(1);
        let failures = trial.failures;
        let doubled = FIRST_PAUSE.saturating_mul(1 << (failures - 1).min(16));
        let pause = doubled.min(LONGEST_PAUSE);
        trial.resting = Some(now + pause);
        self.failed += usize::from(failures == 1);
        let key = ownership.grant.partition.clone();
        self.resting.insert((now + pause, key));
        (failures, pause)
    }

    /// Whether a partition rests before its next try.
    pub(super) fn rests(&self, key: &PartitionKey) -> bool {
        let trial = self.open.get(key);
        trial.is_some_and(|trial| trial.resting.is_some())
    }

    /// Whether `on_assigned` has been called for an ownership and failed.
    pub(super) fn has_failed<G>(&self, ownership: &Ownership<G>) -> bool {
        let trial = self.open.get(&ownership.grant.partition);
        trial.is_some_and(|trial| trial.number == ownership.number() && trial.failures > 0)
    }

    /// The next partition that has rested for long enough.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<PartitionKey> {
        let (at, _) = self.resting.first()?;
        if *at > now {
            return None;
        }
        let (_, key) = self.resting.pop_first()?;
        if let Some(trial) = self.open.get_mut(&key) {
            trial.resting = None;
        }
        Some(key)
    }

    /// When [`Retries::take_due`] has something.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.resting.first().map(|(at, _)| *at)
    }

    /// What is not processed, if anything.
    pub(super) fn pending(&self) -> Option<Pending> {
        let (since, _) = self.oldest.first()?;
        Some(Pending {
            since: *since,
            partitions: self.open.len(),
            failed: self.failed,
        })
    }

    fn find<G>(&mut self, ownership: &Ownership<G>) -> Option<&mut Trial> {
        let trial = self.open.get_mut(&ownership.grant.partition)?;
        (trial.number == ownership.number()).then_some(trial)
    }

    /// How often it had failed.
    fn remove(&mut self, key: &PartitionKey) -> Option<u32> {
        let trial = self.open.remove(key)?;
        self.failed -= usize::from(trial.failures > 0);
        self.oldest.remove(&(trial.since, key.clone()));
        if let Some(at) = trial.resting {
            self.resting.remove(&(at, key.clone()));
        }
        Some(trial.failures)
    }
}
