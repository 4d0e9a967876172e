//! The meter: what happens to a worker, as numbers.
//!
//! It is separate from the driver because measuring decides nothing. What always holds: every
//! instrument is made once, when the manager is built, with every value its labels can have, so that
//! a rate begins at zero and recording looks nothing up by name but a word in a short list.

use std::collections::BTreeMap;
use std::sync::Arc;

use parti_core::{
    CallEnd, Circuit, Config, DegradedReason, Effect, Event, Grant, Instant, Mode, Notice, OpOwner,
    PartitionKey, RevokeCause, Status, StoreOp,
};

use crate::observe::catalogue as names;
use crate::observe::instrument::{Counter, Gauge, Instruments};
use parti_core::callbacks::Callback;

mod group;
mod store;
mod worker;

use group::GroupMeter;
pub(crate) use store::{Operation, StoreMeter};
use worker::WorkerMeter;

/// Everything that measures one worker.
#[derive(Debug)]
pub(crate) struct Meter {
    pub(crate) store: Arc<StoreMeter>,
    group: GroupMeter,
    worker: WorkerMeter,
    mode: Mode,
    /// Since when partitions are being drained.
    draining: BTreeMap<Grant, (Instant, RevokeCause)>,
    /// Released and not acknowledged: since when, and the renewal that says so, once it is sent.
    unacknowledged: Option<(Instant, Option<parti_core::OpId>)>,
    /// Timed out and still running: since when.
    overdue: BTreeMap<PartitionKey, Instant>,
    /// Since when it has been degraded, and why.
    degraded: Option<(Instant, DegradedReason)>,
}

impl Meter {
    pub(crate) fn new(instruments: &Instruments, config: &Config) -> Self {
        Instruments::describe();
        let lease = instruments.gauge(&names::LEASE, &[]);
        lease.set(config.lease().as_secs_f64());
        Self {
            store: Arc::new(StoreMeter::new(instruments)),
            group: GroupMeter::new(instruments),
            worker: WorkerMeter::new(instruments),
            mode: config.mode(),
            draining: BTreeMap::new(),
            unacknowledged: None,
            overdue: BTreeMap::new(),
            degraded: None,
        }
    }

    /// Something is about to be done.
    pub(crate) fn on_effect(&mut self, now: Instant, effect: &Effect) {
        match effect {
            Effect::Store { op, request } => {
                let renews =
                    op.owner() == OpOwner::Session && matches!(request, StoreOp::Commit { .. });
                if let Some((_, sent @ None)) = &mut self.unacknowledged
                    && renews
                {
                    *sent = Some(*op);
                }
            }
            Effect::Plan { .. } => self.group.plan_begins(now),
            Effect::Revoke { grants, cause } => {
                let draining = grants.iter().cloned().map(|grant| (grant, (now, *cause)));
                self.draining.extend(draining);
            }
            Effect::Assign { grants } => self.worker.granted(grants),
            Effect::Watch { .. }
            | Effect::Unwatch { .. }
            | Effect::Answer { .. }
            | Effect::Probe { .. }
            | Effect::ListPartitions { .. }
            | Effect::Prepare { .. }
            | Effect::Withdraw { .. }
            | Effect::Notify(_) => {}
        }
    }

    /// Something is about to be told to the core.
    pub(crate) fn on_event(&mut self, now: Instant, event: &Event) {
        if matches!(event, Event::ClockJumped { .. }) {
            self.worker.clock_jumps.increment(1);
        }
        let Event::Store { op, result } = event else {
            return;
        };
        self.store.judge(result);
        if let Some((since, sent)) = self.unacknowledged
            && sent == Some(*op)
        {
            if result.is_ok() {
                self.group.handed("acknowledge", now.since(since), 1);
                self.unacknowledged = None;
            } else {
                self.unacknowledged = Some((since, None));
            }
        }
    }

    /// These partitions have been released.
    pub(crate) fn on_released(&mut self, now: Instant, grants: &[Grant]) {
        for grant in grants {
            let Some((since, cause)) = self.draining.remove(grant) else {
                continue;
            };
            let took = now.since(since);
            if matches!(cause, RevokeCause::Reassigned | RevokeCause::Stopping) {
                self.group.handed("drain", took, 1);
                self.unacknowledged.get_or_insert((now, None));
                if self.mode == Mode::Overlap && cause == RevokeCause::Reassigned {
                    self.group.overlapped(took);
                }
            }
        }
    }

    /// A partition was not drained in time; whether its callback still runs.
    pub(crate) fn on_drain_timeout(&mut self, now: Instant, key: &PartitionKey, runs: bool) {
        self.worker.callbacks.drain_timeouts.increment(1);
        if runs {
            self.overdue.insert(key.clone(), now);
        }
    }

    pub(crate) fn on_callback(&self, callback: Callback, running: usize) {
        self.worker.callbacks.runs(callback, running);
    }

    /// A callback has ended after so long; `running` of its kind are left.
    pub(crate) fn on_finished(
        &mut self,
        now: Instant,
        (key, callback): (&PartitionKey, Callback),
        since: Instant,
        running: usize,
    ) {
        self.worker.callbacks.ran(callback, now.since(since));
        self.worker.callbacks.runs(callback, running);
        if let Some(since) = self.overdue.remove(key) {
            self.group.overlapped(now.since(since));
        }
    }

    pub(crate) fn on_assign_failed(&self) {
        self.worker.callbacks.assign_failures.increment(1);
    }

    /// The task of a partition ended by itself.
    pub(crate) fn on_task_ended(&self) {
        self.worker.callbacks.task_ends.increment(1);
    }

    pub(crate) fn on_pending(&self, partitions: usize) {
        self.worker.callbacks.pends(partitions);
    }

    pub(crate) fn on_panic(&self, callback: Callback) {
        self.worker.callbacks.panicked(callback);
    }

    /// The status changed.
    pub(crate) fn on_status(&mut self, now: Instant, before: &Status, after: &Status) {
        if let (Some(old), Some(new)) = (before.deadline, after.deadline)
            && old < new
            && before.nonce == after.nonce
        {
            self.worker.lease_margin.record(old.since(now));
        }
        let new = |count: fn(&Status) -> u64| count(after).saturating_sub(count(before));
        for (end, calls) in [
            (
                CallEnd::Succeeded,
                new(|status| status.store.watch_successes),
            ),
            (CallEnd::Failed, new(|status| status.store.watch_failures)),
        ] {
            self.store.called(Circuit::Watch, end, calls);
        }
        self.mode = after.mode.holds.unwrap_or(self.mode);
        self.worker.shows(before, after);
        self.group.knows(after);
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "not every notice is a number"
    )]
    pub(crate) fn on_notice(&mut self, now: Instant, notice: &Notice) {
        match notice {
            Notice::Degraded { reason } => {
                let since = self.degraded.as_ref().map_or(now, |(since, _)| *since);
                self.worker.degraded(Some(reason));
                self.degraded = Some((since, reason.clone()));
            }
            Notice::Recovered => self.end_degraded(now),
            Notice::WatchRenewed { .. } => self.store.watch_failures.increment(1),
            Notice::CircuitChanged { circuit, to, .. } => self.store.circuit_changed(*circuit, *to),
            Notice::Retry { owner, .. } => self.store.retried(*owner),
            Notice::RetriesExhausted { owner, .. } => self.store.exhausted(*owner),
            Notice::RecordIgnored { .. } => self.worker.records_ignored.increment(1),
            Notice::LeaseLost { .. } => self.worker.leases_lost.increment(1),
            Notice::IdentityLost { .. } => self.worker.identities_lost.increment(1),
            Notice::LeaderChanged { .. } => self.worker.leader_changes.increment(1),
            other => self.group.on_notice(now, other),
        }
    }

    /// The worker has ended: nothing of it stands any more.
    pub(crate) fn end(&mut self, now: Instant, last: &Status) {
        self.end_degraded(now);
        self.group.give_up(now);
        self.worker.end(last);
    }

    fn end_degraded(&mut self, now: Instant) {
        if let Some((since, reason)) = self.degraded.take() {
            self.worker.was_degraded(&reason, now.since(since));
        }
    }
}

/// What readers were too slow for.
pub(crate) fn dropped(instruments: &Instruments, reader: &str) -> Counter {
    instruments.counter(&names::NOTICES_DROPPED, &[reader])
}

/// Hooks that failed, by how.
pub(crate) fn hook_failures(instruments: &Instruments, failure: &str) -> Counter {
    instruments.counter(&names::HOOK_FAILURES, &[failure])
}

/// Whether a condition of the health holds.
pub(crate) fn health(instruments: &Instruments, code: &str) -> Gauge {
    instruments.gauge(&names::HEALTH, &[code])
}

#[cfg(all(test, feature = "prometheus"))]
mod tests;
