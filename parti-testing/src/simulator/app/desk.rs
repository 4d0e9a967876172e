//! The order of callbacks in a simulated process, by the rules of the driver in `parti`.
//!
//! It is separate so that the rules stand in one place. What always holds: at most one callback of a
//! partition runs at a time, every `on_assigned` that began is followed by one `on_revoked`, and every
//! revoked grant is released once, at the latest when its drain time is over.

use std::collections::{BTreeMap, VecDeque};

use parti_core::{Grant, PartitionKey, RevokeCause, Token};

use super::guard::SimGuard;
use super::tasks::TaskId;

/// A callback to begin.
#[derive(Clone, Debug)]
pub(super) enum Job {
    Assigned(SimGuard),
    Revoked(SimGuard, RevokeCause),
}

impl Job {
    const fn guard(&self) -> &SimGuard {
        match self {
            Self::Assigned(guard) | Self::Revoked(guard, _) => guard,
        }
    }

    const fn is_revocation(&self) -> bool {
        matches!(self, Self::Revoked(..))
    }
}

/// What has to happen next outside.
#[derive(Debug)]
pub(super) enum Next {
    /// Begin a callback, and tell with [`Desk::began`].
    Begin(Job),
    /// Drop the task of a callback.
    Cut(TaskId),
    /// Tell the core.
    Release(Grant),
    /// The drain time of an ownership runs from now.
    Drain(SimGuard),
}

#[derive(Debug, Default)]
struct Slot {
    holding: Option<SimGuard>,
    running: Option<(Job, Option<TaskId>)>,
    queue: VecDeque<Job>,
}

#[derive(Debug, Default)]
pub(super) struct Desk {
    slots: BTreeMap<PartitionKey, Slot>,
}

impl Desk {
    pub(super) fn assign(&mut self, guard: SimGuard) -> Vec<Next> {
        let key = guard.partition().clone();
        let slot = self.slots.entry(key.clone()).or_default();
        if let Some(old) = slot.holding.replace(guard.clone()) {
            old.end();
        }
        slot.queue.push_back(Job::Assigned(guard));
        self.begin(&key)
    }

    pub(super) fn revoke(&mut self, grant: Grant, cause: RevokeCause) -> Vec<Next> {
        let key = grant.partition.clone();
        let Some((slot, guard)) = self.held(&key, grant.token) else {
            return vec![Next::Release(grant)];
        };
        match cause {
            RevokeCause::LeaseLost | RevokeCause::IdentityLost => guard.end(),
            RevokeCause::Reassigned | RevokeCause::Stopping => guard.begin_revoking(),
        }
        let waits = |job: &Job| !job.is_revocation() && job.guard().token() == grant.token;
        if let Some(index) = slot.queue.iter().position(waits) {
            slot.queue.remove(index);
            return self.release(&key, guard.serial());
        }
        slot.queue.push_back(Job::Revoked(guard.clone(), cause));
        let mut next = vec![Next::Drain(guard)];
        next.extend(self.begin(&key));
        next
    }

    /// The task that runs the callback which was to begin.
    pub(super) fn began(&mut self, key: &PartitionKey, task: TaskId) {
        let slot = self.slots.get_mut(key);
        if let Some((_, place)) = slot.and_then(|slot| slot.running.as_mut()) {
            *place = Some(task);
        }
    }

    /// A callback has ended; says whose, and whether it was a revocation.
    pub(super) fn finish(&mut self, task: TaskId) -> Option<(SimGuard, bool, Vec<Next>)> {
        let of_task = |slot: &Slot| matches!(&slot.running, Some((_, Some(id))) if *id == task);
        let key = self.slots.iter().find(|(_, slot)| of_task(slot))?.0.clone();
        let (job, _) = self.slots.get_mut(&key)?.running.take()?;
        let (guard, revocation) = (job.guard().clone(), job.is_revocation());
        let mut next = Vec::new();
        if revocation {
            next.extend(self.release(&key, guard.serial()));
        }
        next.extend(self.begin(&key));
        Some((guard, revocation, next))
    }

    /// The drain time of a grant is over. An `on_revoked` that began late has a limit of its own.
    pub(super) fn time_out(&mut self, key: &PartitionKey, serial: u64) -> Vec<Next> {
        let mut next = Vec::new();
        if let Some(slot) = self.slots.get_mut(key)
            && let Some((_, Some(task))) = slot
                .running
                .take_if(|(job, _)| !job.is_revocation() && job.guard().serial() == serial)
        {
            next.push(Next::Cut(task));
        }
        next.extend(self.release(key, serial));
        next.extend(self.begin(key));
        next
    }

    /// What is assigned, and no callback runs or waits for it.
    pub(super) fn at_rest(&self) -> impl Iterator<Item = (&PartitionKey, bool)> {
        self.slots.iter().map(|(key, slot)| {
            let rests = slot.running.is_none() && slot.queue.is_empty();
            (key, rests && slot.holding.is_some())
        })
    }

    fn held(&mut self, key: &PartitionKey, token: Token) -> Option<(&mut Slot, SimGuard)> {
        let slot = self.slots.get_mut(key)?;
        let guard = slot
            .holding
            .clone()
            .filter(|guard| guard.token() == token)?;
        Some((slot, guard))
    }

    fn begin(&mut self, key: &PartitionKey) -> Vec<Next> {
        let Some(slot) = self.slots.get_mut(key) else {
            return Vec::new();
        };
        if slot.running.is_none()
            && let Some(job) = slot.queue.pop_front()
        {
            slot.running = Some((job.clone(), None));
            return vec![Next::Begin(job)];
        }
        if slot.running.is_none() && slot.holding.is_none() {
            self.slots.remove(key);
        }
        Vec::new()
    }

    fn release(&mut self, key: &PartitionKey, serial: u64) -> Vec<Next> {
        let slot = self.slots.get_mut(key);
        let holding = slot.map(|slot| &mut slot.holding);
        let Some(guard) = holding.and_then(|held| held.take_if(|guard| guard.serial() == serial))
        else {
            return Vec::new();
        };
        guard.end();
        vec![Next::Release(guard.grant().clone())]
    }
}
