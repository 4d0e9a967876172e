//! What changes how far the store is heard, and what follows from it at once.
//!
//! It is separate from the answer itself so that the answer stays a pure function. What always holds:
//! a user of the link says what it has seen, and never what another part should conclude from it.

use alloc::string::ToString;

use super::Link;
use super::contact::Contact;
use super::cx::Cx;
use super::health::Health;
use super::probes::Probes;
use super::watching::Watching;
use crate::config::Config;
use crate::io::effect::{Wake, WakeReason};
use crate::io::event::{OpId, OpOwner};
use crate::io::notice::{DegradedReason, HistoryLoss, Notice};
use crate::model::id::Revision;
use crate::model::time::Instant;
use crate::planted::Planted;
use crate::ports::store::{StoreError, StoreErrorKind, StoreReply, WatchScope};
use crate::resilience::breaker::{CallEnd, Circuit, CircuitState};

impl Link {
    /// When to look again at how far the store is heard.
    pub(crate) fn wake(&self, config: &Config, now: Instant) -> Option<Wake> {
        let overdue = self.contact.overdue_at(config);
        let lost = self.contact.lost_at(config);
        let health = self.health.wake(&config.degraded());
        let times = [overdue, lost].into_iter().chain(health);
        let reconcile = |at| Wake::new(at, WakeReason::Reconcile);
        let rewatch = self.rewatch_at(config).filter(|&at| at > now);
        let all = [
            times.filter(|&at| at > now).min().map(reconcile),
            rewatch.map(|at| Wake::new(at, WakeReason::WatchRetry)),
            self.continuity.look_at().map(reconcile),
            self.watching.wake(),
            self.probes.wake(),
        ];
        all.into_iter().flatten().min()
    }

    /// When a watch that does not bring back renewals although they are applied is begun again.
    fn rewatch_at(&self, config: &Config) -> Option<Instant> {
        let since = self.contact.echo().max(self.watching.since());
        let applied_since = self.contact.applied_at() > since && !config.planted(Planted::NoRepair);
        applied_since.then(|| since + config.heartbeat_interval() * 2)
    }
}

impl Cx<'_> {
    /// A session begins: nothing has been heard of it yet.
    pub(crate) fn open_link(&mut self, scope: WatchScope) {
        let now = self.now;
        let watching = Watching::idle(self.config(), now);
        let link = self.link_mut();
        link.contact = Contact::new(now);
        link.health = Health::default();
        link.suspended_at = None;
        link.probes = Probes::default();
        link.watching = watching;
        if link.requests_are_out() {
            link.contact.break_off();
        }
        self.watch(scope);
    }

    /// The session is over.
    pub(crate) fn close_link(&mut self) {
        self.end_watch();
    }

    /// A request was answered, whichever part of the core asked. The loss of the history, if it proves one.
    pub(crate) fn on_answer(
        &mut self,
        op: OpId,
        result: &Result<StoreReply, StoreError>,
    ) -> Option<HistoryLoss> {
        let (now, env) = (self.now, &mut *self.env);
        let (config, link) = (&env.config, &mut env.link);
        let loss = link.continuity.on_reply(now, config.lease(), op, result);
        let before = link.requests.state();
        link.requests.answered(op, now, result);
        match result.as_ref().map_err(|error| error.kind) {
            _ if op.owner() != OpOwner::Session => {}
            Ok(_) => link.health.on_success(),
            Err(
                StoreErrorKind::Unknown | StoreErrorKind::Unavailable | StoreErrorKind::Missing,
            ) => link.health.on_error(now, &config.degraded()),
            Err(StoreErrorKind::Refused | StoreErrorKind::Rejected) => {}
        }
        self.on_requests(before);
        loss.filter(|_| !self.planted(Planted::UnseenLoss))
    }

    /// A request was carried out although no answer has come: what it wrote was seen.
    pub(crate) fn proved(&mut self, op: OpId) {
        let (now, link) = (self.now, self.link_mut());
        let before = link.requests.state();
        link.requests.proved(op, now);
        self.on_requests(before);
    }

    /// The circuit of requests may have changed. While it is open, nothing that happens is a sign of
    /// life or death.
    pub(super) fn on_requests(&mut self, before: CircuitState) {
        let link = self.link_mut();
        if link.requests_are_out() {
            link.contact.break_off();
        }
        let after = link.requests.state();
        self.tell_change(Circuit::Store, before, after);
    }

    /// The watch gave a sign of life, or ended.
    pub(super) fn record_watch(&mut self, end: CallEnd) {
        let (now, link) = (self.now, self.link_mut());
        let before = link.watch.state();
        link.watch.saw(now, end);
        let after = link.watch.state();
        self.tell_change(Circuit::Watch, before, after);
    }

    fn tell_change(&mut self, circuit: Circuit, from: CircuitState, to: CircuitState) {
        if from != to {
            self.notify(Notice::CircuitChanged { circuit, from, to });
        }
    }

    /// An own renewal was applied.
    pub(crate) fn on_renewal_applied(&mut self) {
        let (now, env) = (self.now, &mut *self.env);
        env.link.contact.on_applied(&env.config, now);
    }

    /// An own renewal came back through the watch; `last` is the last one known to be applied.
    pub(crate) fn on_echo(&mut self, revision: Revision, last: Revision) {
        self.record_watch(CallEnd::Succeeded);
        let (now, env) = (self.now, &mut *self.env);
        let link = &mut env.link;
        // Even what comes while the store is out is no news when it comes again.
        if revision >= last && link.contact.is_news(revision) && !link.requests_are_out() {
            link.contact.on_echo(&env.config, now);
        }
    }

    /// The lease ran out: nothing may be held until the session is known to be good again.
    pub(crate) fn suspend_link(&mut self) {
        self.link_mut().suspended_at = Some(self.now);
        self.suspect();
    }

    /// What was held may be held again.
    pub(crate) fn resume_link(&mut self) {
        self.link_mut().suspended_at = None;
    }

    /// Begins a watch that was lost or stays silent again. Whether one was begun.
    pub(crate) fn poll_watch(&mut self) -> bool {
        let now = self.now;
        let lost = self.link().watching.is_due(now);
        if lost {
            self.begin_watch();
        }
        let silent = self
            .link()
            .rewatch_at(self.config())
            .is_some_and(|at| now >= at);
        if silent && self.link().watching.is_running() {
            self.record_watch(CallEnd::Failed);
            self.end_watch();
            self.begin_watch();
            let reason = "own renewals do not come back through the watch".to_string();
            self.notify(Notice::WatchRenewed { reason });
            return true;
        }
        lost
    }

    /// Tells of trouble that lasts, and of its end.
    pub(crate) fn poll_health(&mut self) {
        let (now, settings) = (self.now, self.config().degraded());
        let lost = self.link().suspended_at.is_some();
        let trouble = if lost {
            Some(DegradedReason::LeaseLost)
        } else {
            self.heard().trouble()
        };
        let link = self.link_mut();
        let notices = link.health.look(now, &settings, trouble);
        for notice in notices {
            if matches!(notice, Notice::Degraded { .. }) {
                // An echo of before, even a late one, says nothing about what goes on now.
                self.link_mut().contact.break_off();
            }
            self.notify(notice);
        }
    }
}
