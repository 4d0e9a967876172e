//! What a member does when it was elected, and when its leadership ends.

use super::{Candidacy, Member};
use crate::io::event::OpId;
use crate::io::notice::{FailedStep, Notice, StepDownReason};
use crate::leader::{Inauguration, Leader, Leading};
use crate::link::cx::Cx;
use crate::model::id::Revision;
use crate::planted::Planted;
use crate::ports::store::WatchScope;
use crate::ports::strategy::{Plan, PlanError};
use crate::records::record::Head;
use alloc::boxed::Box;
use core::time::Duration;

impl Member {
    pub(super) fn on_elected(&mut self, cx: &mut Cx<'_>, head: Head, revision: Revision) {
        let start = Inauguration {
            worker: self.session.worker.clone(),
            nonce: self.session.nonce,
            info: self.info.clone(),
            head: head.clone(),
            revision,
            base: self
                .follow
                .head()
                .map(|head| head.version)
                .unwrap_or_default(),
            known: cx.known(),
            again: self
                .follow
                .head()
                .is_some_and(|head| head.write.nonce == self.session.nonce),
            predecessor: self.follow.predecessor(),
            last_rebalance: self.follow.last_rebalance(),
            sightings: self.follow.sightings().clone(),
            unowned: self.follow.told_unowned(),
        };
        self.follow.wrote_head(cx, head, revision);
        cx.step_done(FailedStep::TakeOver);
        let leader = Leader::new(cx, start);
        let change = Notice::LeaderChanged {
            leader: Some(self.session.worker.clone()),
            term: leader.term(),
        };
        cx.notify(change);
        self.leader = Some(Box::new(leader));
        self.rewatch_at = None;
        cx.watch(WatchScope::All);
        self.snapshot_begins();
        self.reconcile.lead(cx);
    }

    /// Another leader: its session is watched, too, well before it can be overdue. Not at once, since a
    /// thousand hear of it in the same moment, and what they came for is more urgent. Before that it is not
    /// asked whether it runs: where leaders are asked, the wait is as short as the size of the group allows.
    pub(super) fn rewatch_soon(&mut self, cx: &mut Cx<'_>) {
        let mut soon = cx.config().heartbeat_interval() / 2;
        let workers = self.follow.head().map_or(0, |head| head.workers);
        if cx.config().probe_interval().is_some() && workers > 0 {
            soon = soon.min(Duration::from_millis(2) * workers);
        }
        let until = cx.now + cx.rng().duration_below(soon) + Duration::from_millis(1);
        self.rewatch_at = self.follow.leader().map(|_| until);
    }

    pub(super) fn poll_rewatch(&mut self, cx: &mut Cx<'_>) {
        if self.rewatch_at.is_some_and(|at| cx.now >= at) {
            self.rewatch_at = None;
            cx.watch(self.follow.scope(&self.session.worker));
        }
    }

    /// The strategy answered.
    pub(crate) fn on_planned(
        &mut self,
        cx: &mut Cx<'_>,
        op: OpId,
        result: Result<Plan, PlanError>,
    ) {
        if let Some(leader) = self.leader_mut() {
            leader.on_planned(cx, op, result);
        }
    }

    pub(crate) fn on_leading(&mut self, cx: &mut Cx<'_>, leading: Leading) {
        match leading {
            Leading::On => {}
            Leading::Over(reason, entry) => {
                self.step_down(cx, reason);
                if let Some(entry) = entry {
                    self.on_head_entry(cx, &cx.seen(&entry), false);
                }
            }
            Leading::Resigned(reason, head, revision) => {
                if reason.stands_aside() {
                    self.stand_not_before = cx.now + cx.config().election_timeout() * 2;
                }
                self.step_down(cx, reason);
                self.follow.wrote_head(cx, *head, revision);
            }
        }
    }

    /// A complete view up to a revision does not have `head`. It names nobody then, and a worker that leads
    /// could commit nothing any more: the next one begins a new chain of heads, above all versions
    /// that are known.
    pub(super) fn head_is_gone(&mut self, cx: &mut Cx<'_>, upto: Revision) {
        let own = self.leader.as_ref().map(|leader| leader.head().1);
        if own.is_some_and(|own| own > upto) || cx.planted(Planted::VanishedHead) {
            return;
        }
        if own.is_some() {
            self.step_down(cx, StepDownReason::Deposed);
        }
        if self.follow.head_is_gone(cx, upto) {
            // It expects the revision of a head that is no more.
            self.candidacy = Candidacy::Waiting;
            let jitter = cx.config().election_jitter();
            self.jitter = cx.rng().duration_below(jitter);
            if self.leader.is_none() {
                cx.watch(self.follow.scope(&self.session.worker));
            }
        }
    }

    pub(crate) fn step_down(&mut self, cx: &mut Cx<'_>, reason: StepDownReason) {
        let Some(mut leader) = self.leader.take() else {
            return;
        };
        leader.poll_health(cx);
        self.follow.remember(leader.problems());
        let (head, revision) = leader.head();
        let term = leader.term();
        self.follow.wrote_head(cx, head.clone(), revision);
        cx.notify(Notice::LeadershipLost { term, reason });
        self.rewatch_at = None;
        cx.watch(self.follow.scope(&self.session.worker));
        self.reconcile.follow(cx);
    }
}
