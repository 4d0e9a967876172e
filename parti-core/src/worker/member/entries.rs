//! What a member does with an entry of the store, whether the watch or a read brought it.

use super::{Candidacy, Member, Membership};
use crate::io::event::WatchId;
use crate::io::notice::HistoryLoss;
use crate::leader::Leading;
use crate::link::cx::Cx;
use crate::model::id::{Revision, WorkerId};
use crate::ports::store::WatchEvent;
use crate::records::keys::Key;
use crate::records::record::Verb;
use crate::records::seen::Seen;
use crate::worker::context::WorkerCx;
use alloc::string::ToString;

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
            WatchEvent::Entry(entry) => self.on_entry(cx, &cx.seen(entry), true),
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
        seen: &Seen<'_>,
        echoed: bool,
    ) -> Membership {
        if let Some(leader) = &mut self.leader {
            leader.on_entry(cx, seen);
        }
        match seen.key() {
            Key::Head => {
                self.on_head_entry(cx, seen, echoed);
                Membership::On
            }
            Key::Session(worker) if *worker == self.session.worker => {
                self.on_own_session(cx, seen, echoed)
            }
            Key::Session(worker) => {
                self.on_other_session(cx, worker, seen);
                Membership::On
            }
            Key::Assignment(worker) if *worker == self.session.worker => {
                self.take_in(cx, seen);
                Membership::On
            }
            Key::Piece(worker, number) if *worker == self.session.worker => {
                self.on_piece(cx, *number, seen);
                Membership::On
            }
            Key::Control(verb, worker) if *worker == self.session.worker => {
                self.on_control(cx, *verb, seen);
                Membership::On
            }
            Key::Suspicion => {
                self.on_suspicion(cx, seen);
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

    pub(super) fn on_control(&mut self, cx: &mut WorkerCx<'_>, verb: Verb, seen: &Seen<'_>) {
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
        cx.requests.on_entry(&mut cx.cx, verb, seen, known.max(own));
    }

    /// Its own session came back, or somebody else's in its place.
    fn on_own_session(
        &mut self,
        cx: &mut WorkerCx<'_>,
        seen: &Seen<'_>,
        echoed: bool,
    ) -> Membership {
        let own = seen.outline().map(|outline| outline.nonce) == Some(self.session.nonce);
        if own && echoed {
            cx.on_echo(seen.revision(), self.session.revision);
        }
        // Epochs are repeated in another history: a record may be for the same slot and epoch and yet
        // be another's.
        if !own && self.session.is_contradicted_by(seen.revision()) {
            let (key, revision) = (seen.name().to_string(), self.session.revision);
            return Membership::HistoryLost(HistoryLoss::Vanished { key, revision });
        }
        let news = self.session.on_seen(cx, seen);
        self.on_session_news(cx, news)
    }

    fn on_other_session(&mut self, cx: &mut Cx<'_>, worker: &WorkerId, seen: &Seen<'_>) {
        if self.follow.leader() == Some(worker) {
            self.follow.on_leader_session(cx, worker, seen);
        }
    }

    /// Processing has ended for some partitions.
    pub(crate) fn on_released(&mut self, cx: &Cx<'_>) {
        self.session.acknowledge_soon(cx);
    }

    /// Takes in an entry of `head`; `watched` when the present watch brought it.
    pub(super) fn on_head_entry(&mut self, cx: &mut Cx<'_>, seen: &Seen<'_>, watched: bool) {
        let before = self.is_leader();
        if let Candidacy::Standing { attempt, .. } = &self.candidacy {
            let outcome = attempt.on_seen(cx, seen);
            self.on_candidacy(cx, outcome);
        }
        // The watch that shows an election is not yet the one a leader decides on.
        let watched = watched && before == self.is_leader();
        if let Some(leader) = &mut self.leader {
            let leading = leader.on_head(cx, seen, watched);
            let over = matches!(leading, Leading::Over(..) | Leading::Resigned(..));
            self.on_leading(cx, leading);
            if !over {
                return;
            }
        }
        let before = self.follow.leader().cloned();
        if self.follow.on_head(cx, seen) {
            let jitter = cx.config().election_jitter();
            self.jitter = cx.rng().duration_below(jitter);
            if self.leader.is_none() && self.follow.leader() != before.as_ref() {
                self.rewatch_soon(cx);
            }
        }
    }
}
