//! Suspicions: who is silent or does not do what it is told, and who is not planned for because of that.
//!
//! It is separate because several reasons come together here. What always holds: silence counts only
//! while the leader itself is in contact, and nobody's renewals excuse what it does not confirm.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use crate::config::{Config, Mode};
use crate::leader::judging::suspects::{OwnWay, Suspect, Suspicions, Unanswered, suspicions};
use crate::leader::judging::verdict::Silent;
use crate::leader::knowledge::Knowledge;
use crate::leader::knowledge::view::SessionView;
use crate::link::Link;
use crate::link::contact::Contact;
use crate::model::id::{Nonce, WorkerId};
use crate::model::time::Instant;
use crate::planted::Planted;
use crate::records::orders::Ordered;
use crate::records::record::{SessionRecord, SessionStatus};

impl Knowledge {
    /// When each of the others counts as lost unless it renews.
    pub(crate) fn silent(&self, config: &Config, contact: &Contact) -> Vec<Silent> {
        let others = self.view.sessions.iter().filter(|(worker, session)| {
            **worker != self.worker
                && session.is_living()
                && (session.record.is_some()
                    || session.unread.is_some()
                    || self.view.may_own(worker))
        });
        let silent = others.map(|(worker, session)| Silent {
            worker: worker.clone(),
            lost_at: self.lost_at(config, contact, worker, session),
        });
        silent.collect()
    }

    /// What is known of those who do not answer, in a group whose sinks compare tokens.
    fn unanswered(&self, config: &Config, now: Instant, link: &Link) -> Unanswered {
        if config.probe_interval().is_none() {
            return Unanswered::default();
        }
        if self.agreed(config, now).mode != Mode::Fenced
            && !config.planted(Planted::SuspicionInExclusive)
        {
            return Unanswered::default();
        }
        let probes = link.probes();
        let living = self.view.sessions.iter();
        let asked: Vec<_> = living
            .filter_map(|(worker, session)| Some((worker, session.answers()?)))
            .collect();
        let own = asked.iter().find(|(worker, _)| **worker == self.worker);
        let others = || asked.iter().filter(|(worker, _)| **worker != self.worker);
        let count = others().count();
        let found = others()
            .filter(|&&(_, other)| probes.is_gone(other))
            .count();
        let suspects = others().filter_map(|&(worker, session)| {
            let at = probes.suspected_at(config, session)?;
            let own = own.is_some_and(|&(_, own)| probes.answered_since(own, session));
            let answered = probes
                .answered_since_all(session)
                .saturating_sub(usize::from(own));
            let gone = probes.is_gone(session);
            // Of several that are gone together one is found first: the rest is waited for, not for long.
            let rest = if gone && answered + found < count {
                config.probe_interval().unwrap_or_default()
            } else {
                Duration::ZERO
            };
            let suspect = || Suspect {
                worker: worker.clone(),
                at: at + rest,
                gone,
                owns: self.view.owns(worker),
                answered: (own, answered),
            };
            self.postponed.is_due(now, worker).then(suspect)
        });
        let own_way = own.map_or(OwnWay::Broken, |&(_, own)| {
            let broken = probes.suspected_at(config, own).is_some_and(|at| at <= now);
            let cleared = asked.iter().filter_map(|&(_, any)| probes.cleared(any));
            // Its own connection was gone, too, if only for a moment.
            match cleared.chain(probes.silent(own)).max() {
                _ if broken => OwnWay::Broken,
                Some(at) => OwnWay::Restored(at),
                None => OwnWay::Good,
            }
        });
        Unanswered {
            others: count,
            suspects: suspects.collect(),
            own_way,
        }
    }

    /// Who is to be evicted on a suspicion now.
    pub(crate) fn suspicions(&self, config: &Config, now: Instant, link: &Link) -> Suspicions {
        let unanswered = self.unanswered(config, now, link);
        suspicions(config, now, &self.budget, &unanswered)
    }

    /// The sessions whose processes are asked by a leader: all that answer, its own among them, which
    /// shows whether the way is good.
    pub(crate) fn to_probe(&self, config: &Config) -> Vec<Nonce> {
        let anyway = config.planted(Planted::SuspicionInExclusive);
        if self.head.agreed.mode != Mode::Fenced && !anyway {
            return Vec::new();
        }
        let sessions = self.view.sessions.values();
        sessions.filter_map(SessionView::answers).collect()
    }

    /// When a worker counts as lost unless it renews.
    pub(crate) fn lost_at(
        &self,
        config: &Config,
        contact: &Contact,
        worker: &WorkerId,
        session: &SessionView,
    ) -> Instant {
        let judged_from = contact.judges_from(config);
        let heard_since = contact.since();
        let (judged_from, heard_since) = config.unless_planted(
            Planted::OutageIsSilence,
            (judged_from, heard_since),
            (Instant::ORIGIN, Instant::ORIGIN),
        );
        let (lost, _) = session.patience(config);
        let lost_at = (session.since.max(heard_since) + lost).max(judged_from);
        lost_at.max(self.postponed.until(worker))
    }

    /// Whether somebody who is stuck may be evicted now.
    pub(crate) fn has_stuck(&self, config: &Config, now: Instant) -> bool {
        let stuck = self.stuck(config, now);
        stuck
            .iter()
            .any(|worker| self.postponed.is_due(now, worker))
    }

    /// Living workers that do not confirm what they were told in time.
    pub(crate) fn stuck(&self, config: &Config, now: Instant) -> Vec<WorkerId> {
        let mut stuck = self.confirmations.late(config, now, &self.view);
        stuck.extend(self.disobedient(config, now));
        let unheeding = self.view.unheeding(config).filter(|&(_, at)| at <= now);
        stuck.extend(unheeding.map(|(worker, _)| worker.clone()));
        // Those whose end is known hold it, or an earlier session of their slot does.
        let unaccounted = self
            .view
            .unaccounted(config, now, Mode::Exclusive)
            .into_iter();
        let living = unaccounted.filter(|(_, ends)| ends.is_none());
        stuck.extend(living.map(|(worker, _)| worker));
        // The leader itself resigns before.
        let mut ordered = self.evicted_by_order(now);
        ordered.retain(|_| !config.planted(Planted::EvictIgnored));
        stuck.extend(ordered.into_iter().filter(|worker| *worker != self.worker));
        stuck
    }

    /// Whether the leader is to resign, since its own session is to be ended by order. If it was elected
    /// again after it had done so, nobody else can lead, and it leads on.
    pub(crate) fn resigns_by_order(&self, now: Instant) -> bool {
        let mut orders = self.view.orders.evictions(now);
        let own = orders.find(|(worker, _)| **worker == self.worker);
        let done = |given| self.again.is_some_and(|elected| given < elected);
        own.is_some_and(|(_, given)| !done(given))
            && self.evicted_by_order(now).contains(&self.worker)
    }

    /// Workers whose session is to be ended by order, if somebody else can own something.
    fn evicted_by_order(&self, now: Instant) -> Vec<WorkerId> {
        if self.view.orders.evictions(now).next().is_none() {
            return Vec::new();
        }
        let ordered = self.view.ordered(now, self.takers(&self.excluded(now)));
        let evicted = self.view.evicted_by_order(now, &ordered);
        evicted.cloned().collect()
    }

    /// Workers that could own something.
    fn takers(&self, excluded: &BTreeSet<WorkerId>) -> impl Iterator<Item = &WorkerId> {
        let takers = self.view.sessions.iter().filter(|(worker, session)| {
            let takes = |r: &SessionRecord| r.status == SessionStatus::Active && r.capacity > 0;
            session.record.as_ref().is_some_and(takes) && !excluded.contains(*worker)
        });
        takers.map(|(worker, _)| worker)
    }

    /// Workers that are not to be planned for because they did not do what they were told.
    pub(crate) fn excluded(&self, now: Instant) -> BTreeSet<WorkerId> {
        self.quarantine.excluded(now, |out| {
            let others = self.view.sessions.iter().filter(|(w, _)| !out.contains(*w));
            let mut records = others.filter_map(|(_, session)| session.record.as_ref());
            records.any(|r| r.status == SessionStatus::Active && r.capacity > 0)
        })
    }

    /// What orders ask of a plan made now.
    pub(crate) fn ordered(&self, config: &Config, now: Instant) -> Ordered {
        if self.view.orders.is_empty() {
            return Ordered::default();
        }
        let mut excluded = self.excluded(now);
        excluded.extend(self.stuck(config, now));
        self.view.ordered(now, self.takers(&excluded))
    }

    /// When one of these patiences, rests or quarantines is over next, although nothing happens.
    pub(crate) fn next_expiry(&self, config: &Config, now: Instant) -> Option<Instant> {
        let confirmed = self.confirmations.next(config, now);
        let times = confirmed
            .into_iter()
            .chain(self.quarantine.next_end(now))
            .chain(self.postponed.next(now))
            .chain(self.view.orders.next_end(now))
            .chain(self.agreement.next(config))
            .chain(self.view.unheeding(config).map(|(_, at)| at));
        times.filter(|&at| at > now).min()
    }
}
