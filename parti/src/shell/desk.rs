//! The desk: which callback of which partition is due, runs, or has to be given up on.
//!
//! It is separate from the driver so that the order of callbacks is a plain state machine: grants
//! and finished callbacks go in; callbacks to begin, releases and notices come out; it does no I/O
//! and has no clock. What always holds: at most one callback of a partition runs at a time, no
//! `on_assigned` begins with a guard that is invalid, every one that began is followed by one
//! `on_revoked`, and every revoked grant is reported as released exactly once, at the latest when its
//! drain time is over.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use parti_core::{Grant, Instant, PartitionKey, RevokeCause, Token};
use tokio::sync::oneshot;

use crate::handler::Callback;
use crate::observe::subscription::ManagerNotice;
use crate::shell::guard::Guard;

#[cfg(test)]
mod tests;
mod trials;

use trials::Trials;
pub(crate) use trials::{Pending, Told};

/// A callback to begin now.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) job: Job,
    /// Resolves when the callback is to be cut short.
    pub(crate) cut: oneshot::Receiver<()>,
}

/// What a callback is about.
#[derive(Clone, Debug)]
pub(crate) enum Job {
    Assigned { guard: Guard },
    Revoked { guard: Guard, cause: RevokeCause },
}

impl Job {
    pub(crate) const fn callback(&self) -> Callback {
        match self {
            Self::Assigned { .. } => Callback::Assigned,
            Self::Revoked { .. } => Callback::Revoked,
        }
    }

    pub(crate) const fn guard(&self) -> &Guard {
        match self {
            Self::Assigned { guard } | Self::Revoked { guard, .. } => guard,
        }
    }
}

/// A callback that has ended, in whatever way.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) job: Job,
    pub(crate) end: End,
}

/// How a callback ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Returned,
    /// `on_assigned` returned an error, or did not return in time: it has not begun. In words.
    Failed(String),
    /// It panicked; with what words.
    Panicked(String),
    /// It took too long and was dropped.
    CutShort,
    /// It took too long, and panicked when it was dropped; with what words.
    CutShortPanicking(String),
    /// Its guard had become invalid before it could begin, as after a blocked runtime.
    NotBegun,
}

/// What the desk knows of one partition.
#[derive(Debug, Default)]
struct Slot {
    /// The ownership that is not released yet.
    holding: Option<Guard>,
    /// What runs now, and how to cut it short.
    running: Option<(Callback, Token, Option<oneshot::Sender<()>>)>,
    /// What comes after it, in order.
    queue: VecDeque<Job>,
}

impl Slot {
    fn is_empty(&self) -> bool {
        self.holding.is_none() && self.running.is_none() && self.queue.is_empty()
    }
}

/// Callbacks of one kind that may begin, and how many run.
#[derive(Debug, Default)]
struct Lane {
    ready: VecDeque<PartitionKey>,
    /// Those whose guard is invalid: as a rule the core is about to revoke them.
    waiting: Vec<PartitionKey>,
    running: usize,
}

/// The ownerships whose drain time is running, in the order in which it ends. They are not named by
/// their grants: a session that resumes gets the same grant again.
#[derive(Debug)]
struct Drain {
    until: Instant,
    guard: Guard,
}

#[derive(Debug)]
pub(crate) struct Desk {
    drain_timeout: Duration,
    concurrency: usize,
    slots: BTreeMap<PartitionKey, Slot>,
    /// Revocations have their own lane: slow assignments must not hold them up.
    assigning: Lane,
    revoking: Lane,
    drains: VecDeque<Drain>,
    trials: Trials,
    released: Vec<Grant>,
    notices: Vec<ManagerNotice>,
}

impl Desk {
    pub(crate) fn new(drain_timeout: Duration, concurrency: usize, attempts: u32) -> Self {
        Self {
            trials: Trials::new(attempts),
            drain_timeout,
            concurrency: concurrency.max(1),
            slots: BTreeMap::new(),
            assigning: Lane::default(),
            revoking: Lane::default(),
            drains: VecDeque::new(),
            released: Vec::new(),
            notices: Vec::new(),
        }
    }

    /// A partition was granted to this worker.
    pub(crate) fn assign(&mut self, now: Instant, guard: Guard) {
        self.trials.begin(now, &guard);
        let key = guard.partition().clone();
        let slot = self.slots.entry(key.clone()).or_default();
        if let Some(old) = slot.holding.replace(guard.clone()) {
            old.end();
        }
        slot.queue.push_back(Job::Assigned { guard });
        self.make_ready(&key);
    }

    /// A grant is taken back. One that is not held is released already.
    pub(crate) fn revoke(&mut self, now: Instant, grant: Grant, cause: RevokeCause) {
        let key = grant.partition.clone();
        let slot = self.slots.get_mut(&key);
        let held = slot.filter(|slot| holds(slot, grant.token));
        let Some((slot, guard)) = held.and_then(|slot| {
            let guard = slot.holding.clone()?;
            Some((slot, guard))
        }) else {
            self.released.push(grant);
            return;
        };
        match cause {
            RevokeCause::LeaseLost | RevokeCause::IdentityLost => guard.end(),
            RevokeCause::Reassigned | RevokeCause::Stopping => guard.begin_revoking(),
        }
        let token = grant.token;
        let unbegun = slot
            .queue
            .iter()
            .position(|job| matches!(job, Job::Assigned { guard } if guard.token() == token));
        if let Some(index) = unbegun {
            slot.queue.remove(index);
            if !self.trials.has_failed(&guard) {
                self.release(&guard);
                return;
            }
            // It was called, and may have left something to end.
            self.trials.end(&guard, false);
        }
        let until = now + self.drain_timeout;
        self.drains.push_back(Drain {
            until,
            guard: guard.clone(),
        });
        slot.queue.push_back(Job::Revoked { guard, cause });
        self.make_ready(&key);
    }

    /// A callback has ended.
    pub(crate) fn finish(&mut self, now: Instant, finished: Finished) {
        let Finished { job, end } = finished;
        let (callback, key) = (job.callback(), job.guard().partition().clone());
        self.lane(callback).running -= 1;
        if let Some(slot) = self.slots.get_mut(&key) {
            slot.running = None;
        }
        if end == End::NotBegun {
            self.take_back(&job);
        }
        let guard = job.guard();
        let cut = matches!(end, End::CutShort | End::CutShortPanicking(_));
        if let End::Panicked(message) | End::CutShortPanicking(message) = &end {
            self.notices.push(ManagerNotice::CallbackPanicked {
                partition: key.clone(),
                callback,
                message: message.clone(),
            });
        }
        match callback {
            Callback::Assigned => self.assigned(now, &job, &end),
            Callback::Revoked => {
                if cut {
                    // The limit of the callback and of the drain are the same: whichever is first.
                    self.time_out(guard);
                }
                self.release(guard);
            }
        }
        self.make_ready(&key);
        self.forget_if_empty(&key);
    }

    /// An `on_assigned` has ended: what failed is tried again unless it is being revoked.
    fn assigned(&mut self, now: Instant, job: &Job, end: &End) {
        let guard = job.guard();
        let reason = match end {
            End::Returned => return self.trials.end(guard, true),
            End::NotBegun => return,
            End::Failed(reason) => reason.clone(),
            End::Panicked(words) | End::CutShortPanicking(words) => format!("it panicked: {words}"),
            End::CutShort => "it was cut short".to_owned(),
        };
        let Some(slot) = self.slots.get_mut(guard.partition()) else {
            return;
        };
        let ends_it = |next: &Job| matches!(next, Job::Revoked { .. }) && next.guard().is(guard);
        let held = slot.holding.as_ref().is_some_and(|held| held.is(guard));
        if !held || slot.queue.iter().any(ends_it) {
            return;
        }
        slot.queue.push_front(job.clone());
        let (failures, pause) = self.trials.fail(now, guard, &reason);
        self.notices.push(ManagerNotice::AssignFailed {
            partition: guard.partition().clone(),
            token: guard.token(),
            failures,
            reason,
            pause,
        });
    }

    /// Gives up on what has drained for too long, and lets what failed have its next try.
    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some(key) = self.trials.take_due(now) {
            self.make_ready(&key);
        }
        while self.drains.front().is_some_and(|drain| drain.until <= now) {
            let Some(Drain { guard, .. }) = self.drains.pop_front() else {
                break;
            };
            self.time_out(&guard);
        }
    }

    /// The callbacks to begin now.
    pub(crate) fn calls(&mut self) -> Vec<Call> {
        let mut calls = Vec::new();
        let Lane { ready, waiting, .. } = &mut self.assigning;
        ready.extend(waiting.drain(..));
        for callback in [Callback::Revoked, Callback::Assigned] {
            while self.lane(callback).running < self.concurrency {
                let Some(key) = self.lane(callback).ready.pop_front() else {
                    break;
                };
                if let Some(call) = self.begin(&key, callback) {
                    self.lane(callback).running += 1;
                    calls.push(call);
                }
            }
        }
        calls
    }

    /// When [`Desk::expire`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let drain = self.drains.front().map(|drain| drain.until);
        drain.into_iter().chain(self.trials.deadline()).min()
    }

    /// What is owned and not processed, if anything.
    pub(crate) fn pending(&self) -> Option<Pending> {
        self.trials.pending()
    }

    /// What the core is to know of partitions that cannot be processed here, since the last call.
    pub(crate) fn take_told(&mut self) -> Vec<Told> {
        self.trials.take_told()
    }

    /// What has been released since the last call.
    pub(crate) fn take_released(&mut self) -> Vec<Grant> {
        std::mem::take(&mut self.released)
    }

    /// What there is to tell since the last call.
    pub(crate) fn take_notices(&mut self) -> Vec<ManagerNotice> {
        std::mem::take(&mut self.notices)
    }

    /// Whether no callback runs or waits.
    pub(crate) fn is_idle(&self) -> bool {
        let busy = |slot: &Slot| slot.running.is_some() || !slot.queue.is_empty();
        !self.slots.values().any(busy)
    }

    /// The next callback of a partition, if it is of this kind and may begin.
    fn begin(&mut self, key: &PartitionKey, callback: Callback) -> Option<Call> {
        let slot = self.slots.get_mut(key)?;
        let due = slot.running.is_none()
            && slot
                .queue
                .front()
                .is_some_and(|job| job.callback() == callback);
        if !due || callback == Callback::Assigned && self.trials.rests(key) {
            return None;
        }
        let dead = |job: &Job| callback == Callback::Assigned && !job.guard().is_valid();
        if slot.queue.front().is_some_and(dead) {
            self.assigning.waiting.push(key.clone());
            return None;
        }
        let job = slot.queue.pop_front()?;
        let (sender, cut) = oneshot::channel();
        slot.running = Some((callback, job.guard().token(), Some(sender)));
        Some(Call { job, cut })
    }

    /// An `on_assigned` was not begun after all. If its partition is being revoked meanwhile, there is
    /// nothing to end; else it waits as if its turn had not come yet.
    fn take_back(&mut self, job: &Job) {
        let guard = job.guard();
        let Some(slot) = self.slots.get_mut(guard.partition()) else {
            return;
        };
        let ends_it = |next: &Job| matches!(next, Job::Revoked { .. }) && next.guard().is(guard);
        if let Some(index) = slot.queue.iter().position(ends_it) {
            slot.queue.remove(index);
            self.release(guard);
        } else if slot.holding.as_ref().is_some_and(|held| held.is(guard)) {
            slot.queue.push_front(job.clone());
        }
    }

    /// Gives up on the drain of an ownership that is not released yet.
    fn time_out(&mut self, guard: &Guard) {
        let (key, token) = (guard.partition(), guard.token());
        let held = |slot: &&mut Slot| slot.holding.as_ref().is_some_and(|held| held.is(guard));
        let Some(slot) = self.slots.get_mut(key).filter(held) else {
            return;
        };
        if let Some((Callback::Assigned, running, cut)) = &mut slot.running
            && *running == token
        {
            drop(cut.take());
        }
        self.release(guard);
        let partition = key.clone();
        self.notices
            .push(ManagerNotice::DrainTimedOut { partition, token });
    }

    /// Ends an ownership and reports it, once.
    fn release(&mut self, guard: &Guard) {
        let key = guard.partition();
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        if let Some(guard) = slot.holding.take_if(|held| held.is(guard)) {
            self.trials.end(&guard, false);
            guard.end();
            self.released.push(guard.grant().clone());
        }
        self.forget_if_empty(key);
    }

    /// Lets the next callback of a partition wait for its turn; [`Desk::begin`] passes over one
    /// whose predecessor still runs, which does this again when it ends.
    fn make_ready(&mut self, key: &PartitionKey) {
        let next = self.slots.get(key).and_then(|slot| slot.queue.front());
        if let Some(callback) = next.map(Job::callback) {
            self.lane(callback).ready.push_back(key.clone());
        }
    }

    const fn lane(&mut self, callback: Callback) -> &mut Lane {
        match callback {
            Callback::Assigned => &mut self.assigning,
            Callback::Revoked => &mut self.revoking,
        }
    }

    fn forget_if_empty(&mut self, key: &PartitionKey) {
        if self.slots.get(key).is_some_and(Slot::is_empty) {
            self.slots.remove(key);
        }
    }
}

fn holds(slot: &Slot, token: Token) -> bool {
    slot.holding
        .as_ref()
        .is_some_and(|guard| guard.token() == token)
}
