//! The observer: everything that watches a worker and decides nothing, behind one door.
//!
//! It is separate so that the driver says each thing once, whether it ends up as a number, a line, a
//! hook or a condition of the health. What always holds: nothing in here can fail or wait, and the
//! driver behaves the same without it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parti_core::callbacks::{Callback, End, Job, Pending};
use parti_core::{
    Config, Effect, Event, Grant, Instant, Notice, PartitionKey, RevokeCause, Status,
    StoreErrorKind, Token, Version,
};
use tokio::sync::broadcast;

use crate::error::Ended;
use crate::observe::health::{HealthCode, VitalSigns, judge};
use crate::observe::hooks::{AssignedKeys, AssignmentChange, ChangeCause, HookEvent, Keys};
use crate::observe::instrument::{ByLabel, Gauge, Instruments};
use crate::observe::log::Log;
use crate::observe::meter::{self, Meter};
use crate::observe::subscription::ManagerNotice;

/// How often the health is turned into numbers.
const HEALTH_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Observer {
    config: Config,
    vitals: Arc<VitalSigns>,
    pub(crate) meter: Meter,
    log: Log,
    /// Where events for hooks go, if there are hooks.
    hooks: Option<broadcast::Sender<Arc<HookEvent>>>,
    health: ByLabel<Gauge>,
    health_at: Instant,
    last: Status,
    /// Callbacks that run, and since when.
    running: BTreeMap<(PartitionKey, Callback), Instant>,
    assignment: Assignment,
}

/// What is assigned, and what changed since the last telling.
#[derive(Debug, Default)]
struct Assignment {
    now: BTreeMap<PartitionKey, Token>,
    /// The same partitions, as hooks are told them.
    keys: Keys,
    added: Vec<Grant>,
    removed: Vec<Grant>,
    revoked: Option<RevokeCause>,
    /// Whether the session's first assignment was told.
    begun: bool,
}

impl Observer {
    pub(crate) fn new(
        config: &Config,
        instruments: &Instruments,
        last: Status,
        vitals: Arc<VitalSigns>,
        hooks: Option<broadcast::Sender<Arc<HookEvent>>>,
    ) -> Self {
        let codes = HealthCode::ALL.iter().map(|code| code.as_str());
        Self {
            config: config.clone(),
            vitals,
            meter: Meter::new(instruments, config),
            log: Log::new(config.group().as_str()),
            hooks,
            health: ByLabel::new(codes, |code| meter::health(instruments, code)),
            health_at: Instant::ORIGIN,
            last,
            running: BTreeMap::new(),
            assignment: Assignment::default(),
        }
    }

    /// Something is about to be told to the core.
    pub(crate) fn on_event(&mut self, now: Instant, event: &Event) {
        self.meter.on_event(now, event);
        if let Event::ClockJumped { by } = event {
            tracing::warn!(
                ?by,
                "the wall clock ran ahead: was the machine suspended? The lease is shortened"
            );
        }
        let Event::Store { result, .. } = event else {
            return;
        };
        let failure = result.as_ref().err().filter(|error| match error.kind {
            StoreErrorKind::Unknown | StoreErrorKind::Unavailable | StoreErrorKind::Missing => true,
            StoreErrorKind::Refused | StoreErrorKind::Rejected => false,
        });
        let mut vitals = self.vitals.lock();
        let since = vitals.store_failing.take().map_or(now, |(since, _)| since);
        vitals.store_failing = failure.map(|error| (since, error.to_string()));
    }

    /// Something is about to be done.
    pub(crate) fn on_effect(&mut self, now: Instant, effect: &Effect) {
        self.meter.on_effect(now, effect);
        self.log.on_effect(now, &self.last, effect);
        self.assignment.on_effect(effect);
    }

    /// All effects of an event have been begun, and this is where the worker stands.
    pub(crate) fn settled(&mut self, now: Instant, status: &Status) {
        if *status != self.last {
            self.meter.on_status(now, &self.last, status);
            self.note_vitals(now, status);
            self.last = status.clone();
        }
        let Some(mut change) = self.assignment.take(status) else {
            return;
        };
        self.log
            .on_assignment(status, &change, self.assignment.now.len());
        if let Some(hooks) = &self.hooks {
            change.assigned = self.assignment.keys.snapshot();
            // Hooks may have panicked themselves to their end.
            let _ = hooks.send(Arc::new(HookEvent::Assignment(change)));
        }
    }

    /// Something worth knowing happened.
    pub(crate) fn on_notice(&mut self, now: Instant, notice: &Arc<ManagerNotice>) {
        match &**notice {
            ManagerNotice::Core(notice) => {
                self.meter.on_notice(now, notice);
                self.note_degraded(now, notice);
            }
            ManagerNotice::CallbackPanicked { callback, .. } => self.meter.on_panic(*callback),
            ManagerNotice::AssignFailed { .. } => self.meter.on_assign_failed(),
            ManagerNotice::TaskEnded { .. } => self.meter.on_task_ended(),
            ManagerNotice::PrepareTimedOut { .. } => {}
            ManagerNotice::DrainTimedOut { partition, .. } => {
                let runs = |callback| self.running.contains_key(&(partition.clone(), callback));
                let runs = runs(Callback::Assigned) || runs(Callback::Revoked);
                self.meter.on_drain_timeout(now, partition, runs);
            }
        }
        self.log.on_notice(now, &self.last, notice);
        if let (Some(hooks), Some(event)) = (&self.hooks, HookEvent::of(notice)) {
            let _ = hooks.send(Arc::new(event));
        }
    }

    /// These partitions have been released.
    pub(crate) fn on_released(&mut self, now: Instant, grants: &[Grant]) {
        self.meter.on_released(now, grants);
        self.log.on_released(now, &self.last, grants);
    }

    /// A callback begins.
    pub(crate) fn on_call<G>(&mut self, now: Instant, job: &Job<G>) {
        let (key, callback) = (job.partition().clone(), job.callback());
        self.running.insert((key, callback), now);
        self.meter.on_callback(callback, self.count(callback));
        self.note_oldest();
    }

    /// A callback has ended.
    pub(crate) fn on_finished<G>(&mut self, now: Instant, job: &Job<G>, end: &End) {
        let (key, callback) = (job.partition(), job.callback());
        let since = self.running.remove(&(key.clone(), callback)).unwrap_or(now);
        let running = self.count(callback);
        self.note_oldest();
        if *end == End::NotBegun {
            self.meter.on_callback(callback, running);
            tracing::warn!(partition = %key, "a callback was not begun: its guard was invalid");
            return;
        }
        self.meter.on_finished(now, (key, callback), since, running);
    }

    /// A stop was asked for.
    pub(crate) fn on_stop(&self) {
        self.vitals.lock().stopping = true;
    }

    /// What is owned and not processed.
    pub(crate) fn on_pending(&self, pending: Option<Pending>) {
        let mut vitals = self.vitals.lock();
        if vitals.pending != pending {
            vitals.pending = pending;
            self.meter.on_pending(pending.map_or(0, |p| p.partitions));
        }
    }

    /// The driver has turned.
    pub(crate) fn turned(&mut self, now: Instant) {
        self.vitals.lock().turned = now;
        if now.since(self.health_at) < HEALTH_EVERY {
            return;
        }
        self.health_at = now;
        let vitals = self.vitals.look();
        let health = judge(&self.config, now, None, &self.last, &vitals);
        for (code, gauge) in self.health.iter() {
            let holds = health.conditions.iter().any(|c| c.code.as_str() == code);
            gauge.set(f64::from(u8::from(holds)));
        }
    }

    /// The driver has ended in this way.
    pub(crate) fn end(&mut self, now: Instant, ended: Option<&Ended>) {
        self.meter.end(now, &self.last);
        // Who halted waits for people: what they are to look at stays.
        let halted = matches!(ended, Some(Ended::HistoryLost(_)));
        for (code, gauge) in self.health.iter() {
            let holds = halted && code == HealthCode::HistoryLost.as_str();
            gauge.set(f64::from(u8::from(holds)));
        }
    }

    fn count(&self, callback: Callback) -> usize {
        self.running
            .keys()
            .filter(|(_, kind)| *kind == callback)
            .count()
    }

    fn note_oldest(&self) {
        // A preparation has a limit of its own, and nobody is without an owner for it.
        let running = self.running.iter();
        let running = running.filter(|((_, callback), _)| *callback != Callback::Prepare);
        let oldest = running.min_by_key(|(_, since)| **since);
        let oldest = oldest
            .map(|((key, callback), since)| (*since, format!("{} of {key}", callback.as_str())));
        self.vitals.lock().oldest_callback = oldest;
    }

    fn note_vitals(&self, now: Instant, status: &Status) {
        let mut vitals = self.vitals.lock();
        let since = |holds: bool, before: Option<Instant>| holds.then(|| before.unwrap_or(now));
        vitals.no_identity = since(status.worker.is_none(), vitals.no_identity);
        vitals.no_leader = since(status.leader.is_none(), vitals.no_leader);
        // A handoff that comes forward is not stuck.
        let moves = (status.version, status.group.unfinished)
            != (self.last.version, self.last.group.unfinished);
        let before = vitals.unfinished.filter(|_| !moves);
        vitals.unfinished = since(status.group.unfinished > 0, before);
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the others say nothing of it"
    )]
    fn note_degraded(&self, now: Instant, notice: &Notice) {
        let mut vitals = self.vitals.lock();
        match notice {
            Notice::Degraded { reason } => {
                let since = vitals.degraded.take().map_or(now, |(since, _)| since);
                vitals.degraded = Some((since, reason.clone()));
            }
            Notice::HistoryLost { loss, .. } => {
                let since = vitals.history_lost.take().map_or(now, |(since, _)| since);
                vitals.history_lost = Some((since, loss.to_string()));
            }
            Notice::Recovered => (vitals.degraded, vitals.history_lost) = (None, None),
            Notice::IdentityLost { .. } => vitals.degraded = None,
            _ => {}
        }
    }
}

impl Assignment {
    fn on_effect(&mut self, effect: &Effect) {
        match effect {
            Effect::Assign { grants } => {
                for grant in grants {
                    self.now.insert(grant.partition.clone(), grant.token);
                    self.keys.insert(grant.partition.clone());
                    self.added.push(grant.clone());
                }
            }
            Effect::Revoke { grants, cause } => {
                for grant in grants {
                    if self.now.get(&grant.partition) == Some(&grant.token) {
                        self.now.remove(&grant.partition);
                        self.keys.remove(&grant.partition);
                        self.removed.push(grant.clone());
                    }
                }
                if *cause != RevokeCause::Reassigned {
                    self.revoked = Some(*cause);
                }
            }
            Effect::Store { .. }
            | Effect::Watch { .. }
            | Effect::Unwatch { .. }
            | Effect::Answer { .. }
            | Effect::Probe { .. }
            | Effect::ListPartitions { .. }
            | Effect::Plan { .. }
            | Effect::Prepare { .. }
            | Effect::Withdraw { .. }
            | Effect::Notify(_) => {}
        }
    }

    /// What changed since the last call, if anything did; the whole is left to be filled in.
    fn take(&mut self, status: &Status) -> Option<AssignmentChange> {
        let assigned = status.applied > Version::ZERO;
        let first = assigned && !self.begun;
        self.begun = assigned;
        let revoked = self.revoked.take();
        if self.added.is_empty() && self.removed.is_empty() && !first {
            return None;
        }
        let generation = status
            .group
            .cause
            .filter(|_| status.version == status.applied);
        Some(AssignmentChange {
            version: status.applied,
            cause: revoked.map_or(ChangeCause::Generation(generation), ChangeCause::Revoked),
            added: std::mem::take(&mut self.added),
            removed: std::mem::take(&mut self.removed),
            assigned: AssignedKeys::default(),
        })
    }
}
