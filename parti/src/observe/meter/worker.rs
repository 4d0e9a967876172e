//! How one worker does: its lease, its state, its partitions and their callbacks.

use std::time::Duration;

use parti_core::{DegradedReason, Difference, Grant, Mode, State, Status};

use super::group::number;
use crate::observe::catalogue as names;
use crate::observe::instrument::{ByLabel, Counter, Gauge, Histogram, Instruments};
use parti_core::callbacks::Callback;

/// Why a worker can be degraded.
const REASONS: [&str; 4] = [
    "writes_failing",
    "watch_silent",
    "lease_lost",
    "history_lost",
];

#[derive(Debug)]
pub(super) struct WorkerMeter {
    pub(super) lease_margin: Histogram,
    pub(super) leases_lost: Counter,
    pub(super) identities_lost: Counter,
    pub(super) leader_changes: Counter,
    pub(super) records_ignored: Counter,
    pub(super) clock_jumps: Counter,
    state: ByLabel<Gauge>,
    leader: Gauge,
    applied: Gauge,
    assigned: Gauge,
    token: Gauge,
    highest: u64,
    mode: ByLabel<Gauge>,
    differs: ByLabel<Gauge>,
    degraded: ByLabel<Gauge>,
    degraded_seconds: ByLabel<Histogram>,
    pub(super) callbacks: CallbackMeter,
}

/// Every callback of a handler.
const CALLBACKS: [Callback; 4] = [
    Callback::Assigned,
    Callback::Revoked,
    Callback::Prepare,
    Callback::PrepareCancelled,
];

/// How the callbacks and tasks of the user do.
#[derive(Debug)]
pub(super) struct CallbackMeter {
    duration: ByLabel<Histogram>,
    running: ByLabel<Gauge>,
    panics: ByLabel<Counter>,
    unprocessed: Gauge,
    pub(super) drain_timeouts: Counter,
    pub(super) assign_failures: Counter,
    pub(super) task_ends: Counter,
}

impl WorkerMeter {
    pub(super) fn new(make: &Instruments) -> Self {
        let reasons = || REASONS;
        Self {
            lease_margin: make.histogram(&names::LEASE_MARGIN, &[]),
            leases_lost: make.counter(&names::LEASES_LOST, &[]),
            identities_lost: make.counter(&names::IDENTITIES_LOST, &[]),
            leader_changes: make.counter(&names::LEADER_CHANGES, &[]),
            records_ignored: make.counter(&names::RECORDS_IGNORED, &[]),
            clock_jumps: make.counter(&names::CLOCK_JUMPS, &[]),
            state: ByLabel::new(State::ALL.map(State::as_str), |state| {
                make.gauge(&names::STATE, &[state])
            }),
            leader: make.gauge(&names::LEADER, &[]),
            applied: make.gauge(&names::APPLIED_VERSION, &[]),
            assigned: make.gauge(&names::ASSIGNED, &[]),
            token: make.gauge(&names::TOKEN, &[]),
            highest: 0,
            mode: ByLabel::new(Mode::ALL.map(Mode::as_str), |mode| {
                make.gauge(&names::MODE_HOLDS, &[mode])
            }),
            differs: ByLabel::new(Difference::WORDS, |setting| {
                make.gauge(&names::SETTINGS_DIFFER, &[setting])
            }),
            degraded: ByLabel::new(reasons(), |reason| make.gauge(&names::DEGRADED, &[reason])),
            degraded_seconds: ByLabel::new(reasons(), |reason| {
                make.histogram(&names::DEGRADED_SECONDS, &[reason])
            }),
            callbacks: CallbackMeter::new(make),
        }
    }

    pub(super) fn shows(&self, before: &Status, after: &Status) {
        if let Some(old) = self.state.get(before.state.as_str()) {
            old.set(0.0);
        }
        if let Some(new) = self.state.get(after.state.as_str()) {
            new.set(1.0);
        }
        self.leader.set(f64::from(u8::from(after.is_leader)));
        self.applied.set(number(after.applied.get()));
        self.assigned.set(number(after.assigned as u64));
        let holds = after.mode.holds.map(Mode::as_str);
        for (word, gauge) in self.mode.iter() {
            gauge.set(f64::from(u8::from(holds == Some(word))));
        }
        for (word, gauge) in self.differs.iter() {
            let mut differences = after.mode.differences.iter();
            let differs = differences.any(|found| found.difference.as_str() == word);
            gauge.set(f64::from(u8::from(differs)));
        }
    }

    pub(super) fn granted(&mut self, grants: &[Grant]) {
        let highest = grants.iter().map(|grant| grant.token.get()).max();
        if let Some(token) = highest.filter(|&token| token > self.highest) {
            self.highest = token;
            self.token.set(number(token));
        }
    }

    pub(super) fn degraded(&self, reason: Option<&DegradedReason>) {
        let present = reason.map(DegradedReason::as_str);
        for (word, gauge) in self.degraded.iter() {
            gauge.set(f64::from(u8::from(present == Some(word))));
        }
    }

    pub(super) fn was_degraded(&self, reason: &DegradedReason, lasted: Duration) {
        self.degraded(None);
        if let Some(seconds) = self.degraded_seconds.get(reason.as_str()) {
            seconds.record(lasted);
        }
    }

    /// Nothing is led or assigned any more, and the state is the last one.
    pub(super) fn end(&self, last: &Status) {
        let mut ended = last.clone();
        ended.state = State::Shutdown;
        ended.is_leader = false;
        ended.assigned = 0;
        ended.mode.holds = None;
        ended.mode.differences.clear();
        self.shows(last, &ended);
        self.callbacks.pends(0);
        for callback in CALLBACKS {
            self.callbacks.runs(callback, 0);
        }
    }
}

impl CallbackMeter {
    fn new(make: &Instruments) -> Self {
        let callbacks = || CALLBACKS.map(Callback::as_str);
        Self {
            duration: ByLabel::new(callbacks(), |callback| {
                make.histogram(&names::CALLBACK_DURATION, &[callback])
            }),
            running: ByLabel::new(callbacks(), |callback| {
                make.gauge(&names::CALLBACKS_RUNNING, &[callback])
            }),
            panics: ByLabel::new(callbacks(), |callback| {
                make.counter(&names::CALLBACK_PANICS, &[callback])
            }),
            unprocessed: make.gauge(&names::UNPROCESSED, &[]),
            drain_timeouts: make.counter(&names::DRAIN_TIMEOUTS, &[]),
            assign_failures: make.counter(&names::ASSIGN_FAILURES, &[]),
            task_ends: make.counter(&names::TASK_ENDS, &[]),
        }
    }

    pub(super) fn runs(&self, callback: Callback, running: usize) {
        if let Some(gauge) = self.running.get(callback.as_str()) {
            gauge.set(number(running as u64));
        }
    }

    pub(super) fn pends(&self, partitions: usize) {
        self.unprocessed.set(number(partitions as u64));
    }

    pub(super) fn ran(&self, callback: Callback, took: Duration) {
        if let Some(duration) = self.duration.get(callback.as_str()) {
            duration.record(took);
        }
    }

    pub(super) fn panicked(&self, callback: Callback) {
        if let Some(panics) = self.panics.get(callback.as_str()) {
            panics.increment(1);
        }
    }
}
