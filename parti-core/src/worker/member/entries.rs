//! What a member does with an entry of the store, whether the watch or a read brought it.

use super::{Candidacy, Member, Membership};
use crate::io::event::WatchId;
use crate::io::notice::HistoryLoss;
use crate::leader::Leading;
use crate::link::cx::Cx;
use crate::model::id::{Revision, WorkerId};
use crate::ports::store::{Entry, WatchEvent};
use crate::records::keys::Key;
use crate::records::outline::SessionOutline;
use crate::records::record::Verb;
use crate::worker::context::WorkerCx;

impl Member {
    pub(crate) fn on_watch(
        &mut self,
        cx: &mut WorkerCx<'_>,
        id: WatchId,
        event: &WatchEvent,
    ) -> Membership {
        if !cx.on_watch(id, event) {
            return Membership::On;
        }
        match event {
            WatchEvent::Entry(entry) => self.on_entry(cx, entry, true),
            WatchEvent::CaughtUp { revision } => {
                self.follow.on_caught_up(cx.now);
                if self.follow.head_revision() > Revision::ZERO
                    && !cx.link().watching().showed_head()
                {
                    let soon = cx.now + cx.config().acknowledge_delay();
                    self.reconcile.hasten(soon);
                }
                if let Some(leader) = &mut self.leader {
                    leader.on_caught_up(cx, *revision);
                }
                self.look_at_requests(cx);
                Membership::On
            }
            WatchEvent::Lost { .. } => Membership::On,
        }
    }

    /// Takes in an entry; `echoed` when the watch brought it, so that it proves contact.
    pub(super) fn on_entry(
        &mut self,
        cx: &mut WorkerCx<'_>,
        entry: &Entry,
        echoed: bool,
    ) -> Membership {
        if let Some(leader) = &mut self.leader {
            leader.on_entry(cx, entry);
        }
        match Key::parse(&entry.key) {
            Key::Head => {
                self.see_head(cx, entry, echoed);
                Membership::On
            }
            Key::Session(worker) if worker == self.session.worker => {
                self.on_own_session(cx, entry, echoed)
            }
            Key::Session(worker) => {
                self.on_other_session(cx, &worker, entry);
                Membership::On
            }
            Key::Assignment(worker) if worker == self.session.worker => {
                self.take_in(cx, entry);
                Membership::On
            }
            Key::Piece(worker, number) if worker == self.session.worker => {
                self.take_piece(cx, number, entry);
                Membership::On
            }
            Key::Control(verb, worker) if worker == self.session.worker => {
                self.on_control(cx, verb, entry);
                Membership::On
            }
            Key::Assignment(_)
            | Key::Piece(..)
            | Key::Control(..)
            | Key::Audit(_)
            | Key::Source
            | Key::Parked
            | Key::Foreign => Membership::On,
        }
    }

    pub(super) fn on_control(&mut self, cx: &mut WorkerCx<'_>, verb: Verb, entry: &Entry) {
        let known = self
            .follow
            .head()
            .map(|head| head.version)
            .unwrap_or_default();
        let own = self
            .leader
            .as_ref()
            .map(|l| l.head().0.version)
            .unwrap_or_default();
        cx.requests
            .on_entry(&mut cx.cx, verb, entry, known.max(own));
    }

    /// The own session came back, or somebody else's in its place.
    fn on_own_session(&mut self, cx: &mut WorkerCx<'_>, entry: &Entry, echoed: bool) -> Membership {
        let outline = entry.value.as_deref().and_then(SessionOutline::of);
        let own = outline.is_some_and(|outline| outline.nonce == self.session.nonce);
        if own && echoed {
            cx.on_echo(entry.revision, self.session.revision);
        }
        // Epochs come again in another history: a record may be for the same seat and epoch and yet
        // be another's.
        if !own && self.session.is_contradicted_by(entry) {
            let (key, revision) = (entry.key.clone(), self.session.revision);
            return Membership::HistoryLost(HistoryLoss::Vanished { key, revision });
        }
        let kept = self.session.on_seen(cx, entry);
        self.on_kept(cx, kept)
    }

    fn on_other_session(&mut self, cx: &mut Cx<'_>, worker: &WorkerId, entry: &Entry) {
        if self.follow.leader() == Some(worker) {
            self.follow.on_leader_session(cx, worker, entry);
        }
    }

    /// Processing has ended for some partitions.
    pub(crate) fn on_released(&mut self, cx: &Cx<'_>) {
        self.session.speak(cx);
    }

    /// Takes in an entry of `head`; `watched` when the present watch brought it.
    pub(super) fn see_head(&mut self, cx: &mut Cx<'_>, entry: &Entry, watched: bool) {
        let before = self.is_leader();
        if let Candidacy::Standing { attempt, .. } = &self.candidacy {
            let outcome = attempt.on_seen(cx, entry);
            self.on_candidacy(cx, outcome);
        }
        // The watch that shows an election is not yet the one a leader decides on.
        let watched = watched && before == self.is_leader();
        if let Some(leader) = &mut self.leader {
            let leading = leader.on_head(cx, entry, watched);
            let over = matches!(leading, Leading::Over(..) | Leading::Resigned(..));
            self.on_leading(cx, leading);
            if !over {
                return;
            }
        }
        let before = self.follow.leader().cloned();
        if self.follow.on_head(cx, entry) {
            let jitter = cx.config().election_jitter();
            self.jitter = cx.rng().duration_below(jitter);
            if self.leader.is_none() && self.follow.leader() != before.as_ref() {
                cx.watch(self.follow.scope(&self.session.worker));
            }
        }
    }
}
