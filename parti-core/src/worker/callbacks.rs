//! The callback scheduler: which callback of which partition is due, runs, or has to be given up on.
//!
//! It is separate from what runs callbacks, so that production and the simulator follow the same rules:
//! grants, ends of callbacks and the time go in; [`Action`]s come out; it does no I/O and has no clock.
//! What always holds: at most one callback of a partition runs at a time, and at most so many of each
//! kind at all; no `on_assigned` begins without a lease; every one that began is followed by one
//! `on_revoked`, and every `on_prepare` that began by the `on_assigned` of its partition or by one
//! `on_prepare_cancelled`; every revoked grant is released exactly once, at the latest when its drain time is
//! over, and its guard is invalid before.
//!
//! A shell calls an entry point, then carries out what [`Scheduler::poll_action`] says until it says
//! nothing more.
//!
//! ```
//! use parti_core::callbacks::{Action, End, Job, Limits, Scheduler};
//! use parti_core::{Grant, Instant, PartitionKey, RevokeCause, Token};
//! # use core::time::Duration;
//!
//! let partition = PartitionKey::new(["p"])?;
//! let grant = Grant { partition: partition.clone(), token: Token::new(7) };
//! let now = Instant::from_millis(1_000);
//! // The shell's own guards go through it unseen; here they are names.
//! let mut scheduler = Scheduler::new(Limits::new(Duration::from_secs(5)));
//! scheduler.assign(now, grant.clone(), "guard");
//! scheduler.begin(now, true);
//! let Some(Action::Begin(Job::Assigned { .. })) = scheduler.poll_action() else { panic!() };
//! scheduler.finish(now, &partition, End::Returned);
//! scheduler.revoke(now, grant.clone(), RevokeCause::Reassigned);
//! assert_eq!(scheduler.poll_action(), Some(Action::Revoking("guard")));
//! scheduler.begin(now, true);
//! let Some(Action::Begin(Job::Revoked { .. })) = scheduler.poll_action() else { panic!() };
//! scheduler.finish(now, &partition, End::Returned);
//! assert_eq!(scheduler.poll_action(), Some(Action::Invalidate("guard")));
//! assert_eq!(scheduler.poll_action(), Some(Action::Release(grant)));
//! # Ok::<(), parti_core::PartitionError>(())
//! ```

use alloc::borrow::ToOwned;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;

use crate::io::effect::RevokeCause;
use crate::io::grant::Grant;
use crate::model::partition::PartitionKey;
use crate::model::time::Instant;

mod action;
mod handler_error;
mod lanes;
mod preparing;
mod retries;
#[cfg(test)]
mod tests;

pub use action::{Action, Callback, CutReason, End, Job, Limits, Ownership};
pub use handler_error::HandlerError;
use lanes::{Lane, cancel, lane_of, take_due};
use preparing::Underway;
pub use retries::Pending;
use retries::Retries;

/// What is known of one partition.
#[derive(Clone, Debug)]
struct Slot<G> {
    /// The ownership that is not released yet.
    held: Option<Held<G>>,
    running: Option<Running<G>>,
    /// What is prepared for and neither begun nor withdrawn.
    preparation: Option<Underway>,
    /// What comes after it, in order.
    queue: VecDeque<Job<G>>,
}

#[derive(Clone, Debug)]
struct Held<G> {
    ownership: Ownership<G>,
    /// When its drain time is over, once it is being revoked.
    drained: Option<Instant>,
}

/// A callback that runs.
#[derive(Clone, Debug)]
struct Running<G> {
    job: Job<G>,
    /// When it has taken too long.
    limit: Option<Instant>,
    /// Why it is being cut short, if it is.
    cut: Option<CutReason>,
    /// The preparation that it takes up.
    takes_up: Option<Underway>,
}

impl<G> Slot<G> {
    const fn new() -> Self {
        Self {
            held: None,
            running: None,
            preparation: None,
            queue: VecDeque::new(),
        }
    }

    fn is_idle(&self) -> bool {
        self.running.is_none() && self.queue.is_empty()
    }

    /// Whether this ownership is the one that is not released yet.
    fn holds(&self, ownership: &Ownership<G>) -> bool {
        let held = self.held.as_ref();
        held.is_some_and(|held| held.ownership.is(ownership))
    }
}

/// Decides which callbacks run. `G` is a shell's guard; it is handed back and never looked at.
#[derive(Clone, Debug)]
pub struct Scheduler<G> {
    limits: Limits,
    slots: BTreeMap<PartitionKey, Slot<G>>,
    /// How many ownerships there were, which numbers them.
    ownerships: u64,
    /// Revocations have their own lane: slow assignments must not hold them up.
    assigning: Lane,
    revoking: Lane,
    /// So must slow preparations.
    preparing: Lane,
    /// When which preparation is waited for no longer.
    warmups: BTreeSet<(Instant, PartitionKey)>,
    /// When which drain time is over.
    drains: BTreeSet<(Instant, PartitionKey)>,
    /// When which callback has taken too long.
    late: BTreeSet<(Instant, PartitionKey)>,
    retries: Retries,
    actions: VecDeque<Action<G>>,
}

impl<G: Clone> Scheduler<G> {
    /// A scheduler without partitions.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let limits = Limits {
            concurrency: limits.concurrency.max(1),
            attempts: limits.attempts.max(1),
            ..limits
        };
        Self {
            retries: Retries::new(limits.attempts),
            limits,
            slots: BTreeMap::new(),
            ownerships: 0,
            assigning: Lane::default(),
            revoking: Lane::default(),
            preparing: Lane::default(),
            warmups: BTreeSet::new(),
            drains: BTreeSet::new(),
            late: BTreeSet::new(),
            actions: VecDeque::new(),
        }
    }

    /// A partition was granted to this worker, as [`Effect::Assign`](crate::Effect::Assign) says.
    pub fn assign(&mut self, now: Instant, grant: Grant, guard: G) {
        self.ownerships += 1;
        let ownership = Ownership::new(grant, self.ownerships, guard);
        let key = ownership.grant.partition.clone();
        let slot = self.slots.entry(key.clone()).or_insert_with(Slot::new);
        let held = Held {
            ownership: ownership.clone(),
            drained: None,
        };
        if let Some(old) = slot.held.replace(held) {
            slot.queue.retain(|job| !job.begins(&old.ownership));
            cancel(&mut self.drains, old.drained, &key);
            let guard = old.ownership.guard;
            self.actions.push_back(Action::Invalidate(guard));
        }
        let unbegun = slot.preparation.take_if(|underway| !underway.begun);
        if let Some(underway) = unbegun {
            // There is no time for it any more.
            slot.queue.retain(|job| !job.prepares());
            underway.cancel(&mut self.warmups);
        }
        self.retries.begin(now, &ownership);
        slot.queue.push_back(Job::Assigned { ownership });
        self.make_ready(&key);
    }

    /// A grant is taken back, as [`Effect::Revoke`](crate::Effect::Revoke) says. One that is not held
    /// is released already.
    pub fn revoke(&mut self, now: Instant, grant: Grant, cause: RevokeCause) {
        let key = grant.partition.clone();
        let slot = self.slots.get_mut(&key);
        let Some((slot, ownership)) = slot.and_then(|slot| {
            let ownership = slot.held.as_ref()?.ownership.clone();
            (ownership.grant.token == grant.token).then_some((slot, ownership))
        }) else {
            self.actions.push_back(Action::Release(grant));
            return;
        };
        let guard = ownership.guard.clone();
        self.actions.push_back(match cause {
            RevokeCause::LeaseLost | RevokeCause::IdentityLost => Action::Invalidate(guard),
            RevokeCause::Reassigned | RevokeCause::Stopping => Action::Revoking(guard),
        });
        if let Some(index) = slot.queue.iter().position(|job| job.begins(&ownership)) {
            slot.queue.remove(index);
            if !self.retries.has_failed(&ownership) {
                // It was prepared for at most.
                self.end_preparation(&key);
                self.release(&ownership);
                return;
            }
            // It was called, and may have left something to end.
            self.retries.end(&ownership, false);
        }
        let until = now + self.limits.drain;
        if let Some(held) = &mut slot.held {
            cancel(&mut self.drains, held.drained.replace(until), &key);
            self.drains.insert((until, key.clone()));
        }
        slot.queue.push_back(Job::Revoked { ownership, cause });
        self.make_ready(&key);
    }

    /// The callback of a partition has ended, in whatever way.
    pub fn finish(&mut self, now: Instant, partition: &PartitionKey, end: End) {
        let slot = self.slots.get_mut(partition);
        let Some(running) = slot.and_then(|slot| slot.running.take()) else {
            return;
        };
        let Running {
            job,
            limit,
            cut,
            takes_up,
        } = running;
        if end == End::NotBegun {
            self.put_back(partition, takes_up);
        }
        cancel(&mut self.late, limit, partition);
        let callback = job.callback();
        self.lane(callback).running -= 1;
        if let Some(message) = end.panic() {
            self.actions.push_back(Action::Panicked {
                partition: partition.clone(),
                callback,
                message: message.to_owned(),
            });
        }
        match &job {
            Job::Assigned { ownership } => self.assigned(now, ownership, end, cut),
            Job::Revoked { ownership, .. } => self.release(ownership),
            Job::Prepare { preparation } => self.prepared(preparation, end),
            Job::PrepareCancelled { .. } => {}
        }
        self.make_ready(partition);
        self.forget_if_empty(partition);
    }

    /// Time has passed: gives up on what has drained or run for too long, and lets what failed have its
    /// next try.
    pub fn expire(&mut self, now: Instant) {
        while let Some(key) = self.retries.take_due(now) {
            self.make_ready(&key);
        }
        while let Some(key) = take_due(&mut self.drains, now) {
            self.time_out(&key);
        }
        while let Some(key) = take_due(&mut self.late, now) {
            self.cut(&key, CutReason::Limit);
        }
        while let Some(key) = take_due(&mut self.warmups, now) {
            self.end_warmup(&key);
        }
    }

    /// There is no lease: what is being revoked is invalid for good. A later session has another lease,
    /// and somebody else may have the partition by then.
    pub fn end_lease(&mut self) {
        for (_, key) in &self.drains {
            if let Some(held) = self.slots.get(key).and_then(|slot| slot.held.as_ref()) {
                let guard = held.ownership.guard.clone();
                self.actions.push_back(Action::Invalidate(guard));
            }
        }
    }

    /// Begins the callbacks whose turn it is. Without a lease, no `on_assigned` is begun.
    pub fn begin(&mut self, now: Instant, lease_lasts: bool) {
        let lanes = [Callback::Revoked, Callback::Assigned, Callback::Prepare];
        let lanes = lanes.into_iter();
        for lane in lanes.filter(|lane| lease_lasts || *lane != Callback::Assigned) {
            while self.lane(lane).running < self.limits.concurrency {
                let Some(key) = self.lane(lane).ready.pop_front() else {
                    break;
                };
                self.begin_next(now, &key, lane);
            }
        }
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action<G>> {
        self.actions.pop_front()
    }

    /// When [`Scheduler::expire`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let first = |timers: &BTreeSet<(Instant, PartitionKey)>| timers.first().map(|(at, _)| *at);
        let deadlines = [
            first(&self.drains),
            first(&self.late),
            first(&self.warmups),
            self.retries.deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// What is owned and not processed, if anything.
    #[must_use]
    pub fn pending(&self) -> Option<Pending> {
        self.retries.pending()
    }

    /// Whether no callback runs or waits.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.slots.values().all(Slot::is_idle)
    }

    /// Every partition of which something is left, and whether it is processed: owned, with no callback
    /// that runs or waits.
    pub fn partitions(&self) -> impl Iterator<Item = (&PartitionKey, bool)> {
        let slots = self.slots.iter();
        slots.map(|(key, slot)| (key, slot.held.is_some() && slot.is_idle()))
    }

    /// Begins the next callback of a partition if it is of this lane and may begin.
    fn begin_next(&mut self, now: Instant, key: &PartitionKey, lane: Callback) {
        let rests = lane == Callback::Assigned && self.retries.rests(key);
        let due = |slot: &&mut Slot<G>| {
            let next = slot.queue.front().map(|job| lane_of(job.callback()));
            slot.running.is_none() && next == Some(lane) && !rests
        };
        let Some(slot) = self.slots.get_mut(key).filter(due) else {
            return;
        };
        let Some(job) = slot.queue.pop_front() else {
            return;
        };
        let limit = match job.callback() {
            Callback::Assigned => self.limits.assign,
            Callback::Revoked | Callback::PrepareCancelled => Some(self.limits.drain),
            // Its time has run since it was asked for.
            Callback::Prepare => None,
        };
        if let Some(underway) = &mut slot.preparation {
            underway.begun |= matches!(job, Job::Prepare { .. });
        }
        let begins = matches!(job, Job::Assigned { .. });
        let takes_up = slot.preparation.take_if(|_| begins);
        let limit = limit.map(|limit| now + limit);
        self.late.extend(limit.map(|at| (at, key.clone())));
        slot.running = Some(Running {
            job: job.clone(),
            limit,
            cut: None,
            takes_up,
        });
        self.actions.push_back(Action::Begin(job));
        self.lane(lane).running += 1;
    }

    /// An `on_assigned` has ended: what failed is tried again unless it is being revoked.
    fn assigned(
        &mut self,
        now: Instant,
        ownership: &Ownership<G>,
        end: End,
        cut: Option<CutReason>,
    ) {
        let grant = &ownership.grant;
        let reason = match (end, cut, self.limits.assign) {
            (End::Returned, ..) => {
                if self.retries.end(ownership, true) {
                    let (grant, failing) = (grant.clone(), None);
                    self.actions
                        .push_back(Action::Processing { grant, failing });
                }
                return;
            }
            (End::NotBegun, ..) => return self.take_back(ownership),
            (End::Failed(reason), ..) => reason,
            (End::Panicked(words) | End::CutPanicking(words), ..) => {
                format!("it panicked: {words}")
            }
            (End::Cut, Some(CutReason::Limit), Some(limit)) => {
                format!("it did not return within {limit:?}")
            }
            (End::Cut, ..) => "it was cut short".to_owned(),
        };
        let Some(slot) = self.slots.get_mut(&grant.partition) else {
            return;
        };
        if !slot.holds(ownership) || slot.queue.iter().any(|job| job.ends(ownership)) {
            return;
        }
        slot.queue.push_front(Job::Assigned {
            ownership: ownership.clone(),
        });
        let (failures, pause) = self.retries.fail(now, ownership);
        if failures == self.limits.attempts {
            self.actions.push_back(Action::Processing {
                grant: grant.clone(),
                failing: Some(reason.clone()),
            });
        }
        self.actions.push_back(Action::AssignFailed {
            grant: grant.clone(),
            failures,
            reason,
            pause,
        });
    }

    /// An `on_assigned` was not begun after all. If its partition is being revoked meanwhile, there is
    /// nothing to end; else it waits as if its turn had not come yet.
    fn take_back(&mut self, ownership: &Ownership<G>) {
        let Some(slot) = self.slots.get_mut(&ownership.grant.partition) else {
            return;
        };
        if let Some(index) = slot.queue.iter().position(|job| job.ends(ownership)) {
            slot.queue.remove(index);
            self.end_preparation(&ownership.grant.partition);
            self.release(ownership);
        } else if slot.holds(ownership) {
            let ownership = ownership.clone();
            slot.queue.push_front(Job::Assigned { ownership });
        }
    }

    /// Gives up on the drain of the ownership of a partition.
    fn time_out(&mut self, key: &PartitionKey) {
        let slot = self.slots.get(key);
        let Some(held) = slot.and_then(|slot| slot.held.as_ref()) else {
            return;
        };
        let ownership = held.ownership.clone();
        let running = slot.and_then(|slot| slot.running.as_ref());
        if running.is_some_and(|running| running.job.begins(&ownership)) {
            self.cut(key, CutReason::Drain);
        }
        self.release(&ownership);
        let grant = ownership.grant;
        self.actions.push_back(Action::DrainTimedOut(grant));
    }

    /// Has the callback of a partition cut short, once.
    fn cut(&mut self, key: &PartitionKey, why: CutReason) {
        let running = self.slots.get_mut(key);
        let running = running.and_then(|slot| slot.running.as_mut());
        if let Some(running) = running.filter(|running| running.cut.is_none()) {
            running.cut = Some(why);
            let (partition, callback) = (key.clone(), running.job.callback());
            self.actions.push_back(Action::Cut {
                partition,
                callback,
                why,
            });
        }
    }

    /// Ends an ownership and reports it, once.
    fn release(&mut self, ownership: &Ownership<G>) {
        let key = &ownership.grant.partition;
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        if let Some(held) = slot.held.take_if(|held| held.ownership.is(ownership)) {
            cancel(&mut self.drains, held.drained, key);
            self.retries.end(ownership, false);
            let Ownership { grant, guard, .. } = held.ownership;
            self.actions.push_back(Action::Invalidate(guard));
            self.actions.push_back(Action::Release(grant));
        }
        self.forget_if_empty(key);
    }

    fn forget_if_empty(&mut self, key: &PartitionKey) {
        let empty =
            |slot: &Slot<G>| slot.held.is_none() && slot.preparation.is_none() && slot.is_idle();
        if self.slots.get(key).is_some_and(empty) {
            self.slots.remove(key);
        }
    }
}
