//! Whether a member hears the store: degraded mode, a watch that has gone silent, a leader that is deaf.

use super::Member;
use crate::config::Config;
use crate::io::effect::{Wake, WakeReason};
use crate::io::notice::{DegradedReason, Notice, StepDownReason};
use crate::link::cx::Cx;
use crate::model::time::Instant;
use crate::planted::Planted;
use crate::records::carried::patience;
use crate::resilience::breaker::CallEnd;
use alloc::string::ToString;

/// A time in which a leader had no steady contact.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unsteady {
    since: Instant,
    told: bool,
}

impl Member {
    /// There is trouble while the own renewals are not applied or do not come back.
    pub(super) fn watch_over_health(&mut self, cx: &mut Cx<'_>) {
        let config = cx.shared_config();
        let trouble = if self.suspended {
            Some(DegradedReason::LeaseLost)
        } else if !cx.store_is_sound() || cx.now >= self.writes_late_at(&config) {
            Some(DegradedReason::WritesFailing)
        } else if !cx.watch_is_sound() || !self.contact.is_held(&config, cx.now) {
            Some(DegradedReason::WatchSilent)
        } else {
            None
        };
        for notice in self.health.look(cx.now, &config.degraded(), trouble) {
            if matches!(notice, Notice::Degraded { .. }) {
                // An echo of before, even a late one, says nothing about what goes on now.
                self.contact.break_off();
            }
            cx.notify(notice);
        }
    }

    fn writes_late_at(&self, config: &Config) -> Instant {
        self.session.acknowledged_at + config.overdue_after() + config.request_timeout()
    }

    pub(super) fn health_wake(&self, config: &Config, now: Instant) -> Option<Wake> {
        let writes = self.writes_late_at(config);
        let heard = self.contact.lost_at(config);
        let health = self.health.wake(&config.degraded());
        let limps = self.limping_wake(config, now);
        let times = [writes, heard].into_iter().chain(health).chain(limps);
        let future = times.filter(|&at| at > now).min();
        let watch = self.rewatch_at(config).filter(|&at| at > now);
        let watch = watch.map(|at| Wake::new(at, WakeReason::WatchRetry));
        Wake::earlier(future.map(|at| Wake::new(at, WakeReason::Reconcile)), watch)
    }

    /// A leader whose renewals are applied and whose watch stays silent judges nobody, and nobody can
    /// take its place: it has to give it up itself.
    pub(super) fn mind_deafness(&mut self, cx: &Cx<'_>) {
        let lease = cx.config().lease();
        let lease = cx.unless_planted(Planted::NoRepair, lease, lease * 1_000);
        if let (Some(since), Some(leader)) = (self.unheard_since, &mut self.leader)
            && cx.now >= since + patience(lease, leader.futile())
        {
            let reason = "own renewals do not come back through the watch".to_string();
            leader.resign(StepDownReason::Failing(reason));
        }
    }

    /// A leader whose renewals come back too late for its contact to hold, and soon enough for everybody
    /// else, judges nobody and is not challenged: it has to give up its office itself.
    pub(super) fn mind_limping(&mut self, cx: &mut Cx<'_>) {
        let config = cx.shared_config();
        let Some(leader) = &mut self.leader else {
            self.unsteady = None;
            return;
        };
        let blind = cx.planted(Planted::LimpsForever) || cx.planted(Planted::NoRepair);
        if self.contact.is_steady(&config, cx.now) || blind {
            self.unsteady = None;
            return;
        }
        let unsteady = self.unsteady.get_or_insert(Unsteady {
            since: cx.now,
            told: false,
        });
        let once = config.leader_patience();
        if !cx.store_is_sound() {
            // The store fails, not the leader. After that it needs a time without a gap.
            let recovery = config.lease() + config.recovery_grace_period();
            let at_least = cx.now.saturating_sub(once.saturating_sub(recovery));
            unsteady.since = unsteady.since.max(at_least);
            return;
        }
        let (lasting, futile) = (cx.now.since(unsteady.since), leader.futile());
        if lasting >= patience(once, futile) {
            leader.resign(StepDownReason::Limping(lasting));
        } else if lasting >= once && !unsteady.told {
            unsteady.told = true;
            cx.notify(Notice::LeaderLimps { lasting, futile });
        }
    }

    /// When a leader without steady contact is to be looked at again.
    fn limping_wake(&self, config: &Config, now: Instant) -> Option<Instant> {
        let (unsteady, leader) = (self.unsteady.as_ref()?, self.leader.as_ref()?);
        let once = config.leader_patience();
        let times = [once, patience(once, leader.futile())].map(|after| unsteady.since + after);
        times.into_iter().filter(|&at| at > now).min()
    }

    /// When a watch that does not bring back renewals although they are applied is begun again.
    fn rewatch_at(&self, config: &Config) -> Option<Instant> {
        let since = self.contact.echo().max(self.watching.since());
        let applied_since =
            self.session.acknowledged_at > since && !config.planted(Planted::NoRepair);
        applied_since.then(|| since + config.heartbeat_interval() * 2)
    }

    pub(super) fn watch_over_watch(&mut self, cx: &mut Cx<'_>) {
        let config = cx.shared_config();
        if self.rewatch_at(&config).is_some_and(|at| cx.now >= at) && self.watching.wake().is_none()
        {
            cx.saw_watch(CallEnd::Failed);
            let scope = self.watching.scope().clone();
            self.watching.change(cx, scope);
            self.snapshot_begins();
            let reason = "own renewals do not come back through the watch".to_string();
            cx.notify(Notice::WatchRenewed { reason });
        }
    }
}
