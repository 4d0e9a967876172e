//! Looking at the store itself: whether its history still has what this member knows of it.

use alloc::vec;

use super::Member;
use crate::io::event::OpOwner;
use crate::io::notice::Notice;
use crate::link::continuity::KnownKey;
use crate::link::cx::Cx;
use crate::model::id::Revision;
use crate::ports::store::{StoreInfo, StoreOp};
use crate::records::keys::{assignment_key, head_key, session_key};
use crate::worker::context::WorkerCx;

impl Member {
    /// What the store says of itself: limits and settings can change while a worker runs.
    pub(super) fn learn_facts(&mut self, cx: &mut Cx<'_>, info: &StoreInfo) {
        if info.faults != self.info.faults || info.faults.is_empty() == self.unfit_since.is_some() {
            let since = self.unfit_since.unwrap_or(cx.now);
            self.unfit_since = (!info.faults.is_empty()).then_some(since);
            let faults = info.faults.clone();
            cx.notify(Notice::StoreUnfit { faults });
        }
        self.info = info.clone();
        self.session.on_info(info);
        if let Some(leader) = &mut self.leader {
            leader.on_info(info.clone());
        }
    }

    /// Takes note of what the last look did not find.
    pub(super) fn on_vanished(&mut self, cx: &mut Cx<'_>) {
        for (key, upto) in cx.continuity().take_gone() {
            if key == head_key() {
                self.head_is_gone(cx, upto);
            }
        }
    }

    /// Begins a look when one is due: the facts, and the three keys this member knows best.
    pub(super) fn poll_look(&mut self, cx: &mut Cx<'_>) {
        if cx.continuity().look_at().is_none_or(|at| cx.now < at) {
            return;
        }
        let head = self.leader.as_ref().map(|leader| leader.head().1);
        let head = head.unwrap_or_default().max(self.follow.head_revision());
        let known = |key, revision, own| KnownKey { key, revision, own };
        let keys = [
            known(
                session_key(&self.session.worker),
                self.session.revision,
                true,
            ),
            known(
                assignment_key(&self.session.worker),
                self.record_revision,
                false,
            ),
            known(head_key(), head, false),
        ];
        let mut ops = vec![(cx.store(OpOwner::Reconcile, StoreOp::Info), None)];
        for known in keys
            .into_iter()
            .filter(|known| known.revision > Revision::ZERO)
        {
            let prefix = known.key.clone();
            let op = cx.store(OpOwner::Reconcile, StoreOp::List { prefix });
            ops.push((op, Some(known)));
        }
        let now = cx.now;
        cx.continuity().looking(now, ops);
    }

    /// After the lease was lost, the same session goes on once it is renewed *and* the history is
    /// known to be the one in which its partitions were granted.
    pub(super) fn resume_if_intact(&mut self, cx: &mut WorkerCx<'_>) {
        let valid = cx.now < self.session.deadline && self.departure.is_none();
        let Some(since) = cx.link().suspended_at().filter(|_| valid) else {
            self.session.set_idle(cx, false);
            return;
        };
        if cx.history().is_intact_since(since) {
            cx.resume_link();
            self.session.set_idle(cx, false);
            cx.holdings.resume(&mut cx.cx);
        } else {
            cx.suspect();
            self.session.set_idle(cx, true);
        }
    }
}
