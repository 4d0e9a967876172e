//! Trials: partitions that are this worker's and whose processing has not begun.
//!
//! They are separate from the order of callbacks because owned is not processed: a partition waits for
//! its turn, is in `on_assigned`, or has failed there and waits for its next try. What always holds: a
//! partition is on trial from its grant until `on_assigned` returned `Ok` or it was released; the
//! pauses between tries double up to a limit; each run of failures is told once, when it is long
//! enough, and its end is told if its beginning was.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use parti_core::{Grant, Instant, PartitionKey};

use crate::shell::guard::Guard;

/// The pause after the first failure; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What the core is to know of a partition's processing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) grant: Grant,
    /// Why it cannot begin here; `None` when it has begun after all.
    pub(crate) failing: Option<String>,
}

/// How many partitions are not processed, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    /// Since when the one that has waited for longest is this worker's.
    pub(crate) since: Instant,
    /// How many.
    pub(crate) partitions: usize,
    /// How many of them have failed.
    pub(crate) failed: usize,
}

#[derive(Debug)]
pub(super) struct Trials {
    /// After how many failures in a row they are told.
    attempts: u32,
    open: BTreeMap<PartitionKey, Trial>,
    /// How many of them have failed.
    failed: usize,
    oldest: BTreeSet<(Instant, PartitionKey)>,
    /// When a further try is due.
    resting: BTreeSet<(Instant, PartitionKey)>,
    told: Vec<Told>,
}

#[derive(Debug)]
struct Trial {
    guard: Guard,
    since: Instant,
    failures: u32,
    resting: Option<Instant>,
}

impl Trials {
    pub(super) fn new(attempts: u32) -> Self {
        Self {
            attempts: attempts.max(1),
            open: BTreeMap::new(),
            failed: 0,
            oldest: BTreeSet::new(),
            resting: BTreeSet::new(),
            told: Vec::new(),
        }
    }

    /// A partition became this worker's.
    pub(super) fn begin(&mut self, now: Instant, guard: &Guard) {
        let key = guard.partition();
        self.remove(key);
        let trial = Trial {
            guard: guard.clone(),
            since: now,
            failures: 0,
            resting: None,
        };
        self.oldest.insert((now, key.clone()));
        self.open.insert(key.clone(), trial);
    }

    /// `on_assigned` returned `Ok`, or there is nothing to try any more.
    pub(super) fn end(&mut self, guard: &Guard, processed: bool) {
        if self.find(guard).is_none() {
            return;
        }
        let failures = self.remove(guard.partition());
        if processed && failures.is_some_and(|failures| failures >= self.attempts) {
            let (grant, failing) = (guard.grant().clone(), None);
            self.told.push(Told { grant, failing });
        }
    }

    /// `on_assigned` failed: how often in a row now, and after which pause it is tried again.
    pub(super) fn fail(&mut self, now: Instant, guard: &Guard, why: &str) -> (u32, Duration) {
        let attempts = self.attempts;
        let Some(trial) = self.find(guard) else {
            return (0, Duration::ZERO);
        };
        trial.failures = trial.failures.saturating_add(1);
        let failures = trial.failures;
        let doubled = FIRST_PAUSE.saturating_mul(1 << (failures - 1).min(16));
        let pause = doubled.min(LONGEST_PAUSE);
        trial.resting = Some(now + pause);
        self.failed += usize::from(failures == 1);
        self.resting
            .insert((now + pause, guard.partition().clone()));
        if failures == attempts {
            let (grant, failing) = (guard.grant().clone(), Some(why.to_owned()));
            self.told.push(Told { grant, failing });
        }
        (failures, pause)
    }

    /// Whether a partition rests before its next try.
    pub(super) fn rests(&self, key: &PartitionKey) -> bool {
        let trial = self.open.get(key);
        trial.is_some_and(|trial| trial.resting.is_some())
    }

    /// Whether `on_assigned` has been called for an ownership and failed.
    pub(super) fn has_failed(&self, guard: &Guard) -> bool {
        let trial = self.open.get(guard.partition());
        trial.is_some_and(|trial| trial.guard.is(guard) && trial.failures > 0)
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

    /// When [`Trials::take_due`] has something.
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

    /// What the core is to know.
    pub(super) fn take_told(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    fn find(&mut self, guard: &Guard) -> Option<&mut Trial> {
        let trial = self.open.get_mut(guard.partition())?;
        trial.guard.is(guard).then_some(trial)
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
