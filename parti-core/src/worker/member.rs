//! A member: a process that holds a session. It follows the leader, stands when there is none, leads
//! when elected, and leaves in order.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::config::{Config, Mode};
use crate::io::effect::{Effect, RevokeCause, Wake, WakeReason};
use crate::io::event::{OpId, StopMode};
use crate::io::notice::{FailedStep, HistoryLoss, Notice, StepDownReason};
use crate::leader::Leader;
use crate::link::Link;
use crate::link::attempt::Attempt;
use crate::link::cx::Cx;
use crate::model::id::{Revision, Version};
use crate::model::state::State;
use crate::model::time::Instant;
use crate::planted::Planted;
use crate::ports::store::{StoreError, StoreInfo, StoreReply};
use crate::records::record::{Head, SessionStatus};
use crate::worker::claim::Claimed;
use crate::worker::context::WorkerCx;
use crate::worker::departure::{Departure, Lead, Todo};
use crate::worker::follow::Follow;
use crate::worker::holdings::Holdings;
use crate::worker::session::{Session, SessionNews};

mod agree;
mod candidacy;
mod entries;
mod leadership;
mod look;
mod own_list;
mod own_record;
mod probing;
mod problems;
mod reconcile;
mod unsteady;

use own_list::OwnList;
use own_record::OwnRecord;
use probing::Suspecting;
use reconcile::Reconcile;
use unsteady::Unsteady;

/// A process with a session.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) session: Session,
    info: StoreInfo,
    /// Since when the store says that something about it is unfit.
    unfit_since: Option<Instant>,
    follow: Follow,
    candidacy: Candidacy,
    /// When to watch the session of a leader that is new, too.
    rewatch_at: Option<Instant>,
    /// Random part of the delay before standing, drawn again with each `head`.
    jitter: Duration,
    /// After giving up for failures: others first.
    stand_not_before: Instant,
    leader: Option<Box<Leader>>,
    reconcile: Reconcile,
    departure: Option<Departure>,
    /// Since when it has led without steady contact, and whether that was told.
    unsteady: Option<Unsteady>,
    /// The revision of the assignment record taken in last.
    record_revision: Revision,
    own_record: OwnRecord,
    /// The mode that held in the group when last looked at, and since when.
    holds: Option<(Mode, Instant)>,
    own_list: OwnList,
    suspecting: Suspecting,
}

#[derive(Clone, Debug)]
enum Candidacy {
    Waiting,
    Standing {
        attempt: Box<Attempt>,
        head: Box<Head>,
    },
}

/// Whether the membership goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Membership {
    On,
    /// The identity is lost; another has to be claimed.
    Lost,
    /// The bucket's history is gone, and the identity with it.
    HistoryLost(HistoryLoss),
    /// The stop is complete.
    Stopped,
}

impl Member {
    pub(crate) fn new(cx: &mut Cx<'_>, claimed: &Claimed) -> Self {
        let session = Session::new(cx, claimed);
        let follow = Follow::default();
        cx.open_link(follow.scope(&session.worker));
        if cx.config().probe_interval().is_some() {
            cx.push(Effect::Answer {
                session: Some(session.nonce),
            });
        }
        let jitter = cx.config().election_jitter();
        Self {
            session,
            info: claimed.info.clone(),
            unfit_since: None,
            follow,
            candidacy: Candidacy::Waiting,
            rewatch_at: None,
            jitter: cx.rng().duration_below(jitter),
            stand_not_before: Instant::ORIGIN,
            leader: None,
            reconcile: Reconcile::new(cx),
            departure: None,
            unsteady: None,
            record_revision: Revision::ZERO,
            own_record: OwnRecord::default(),
            holds: None,
            own_list: OwnList::default(),
            suspecting: Suspecting::default(),
        }
    }

    pub(crate) const fn is_leader(&self) -> bool {
        self.leader.is_some()
    }

    /// `head` as far as it is known: a leader knows its own.
    pub(crate) fn head(&self) -> Option<&Head> {
        let own = self.leader.as_ref().map(|leader| leader.head().0);
        own.or_else(|| self.follow.head())
    }

    /// Until when guards are valid.
    pub(crate) fn deadline(&self, config: &Config, link: &Link) -> Option<Instant> {
        let deadline = match self.honours(config) {
            Mode::Exclusive | Mode::Fenced => self.session.deadline,
            Mode::Overlap => Instant::FAR_FUTURE,
        };
        link.suspended_at().is_none().then_some(deadline)
    }

    /// Whether a stop is under way.
    pub(crate) const fn is_leaving(&self) -> bool {
        self.departure.is_some()
    }

    /// Whether it is too late to lead: the session is being released.
    fn is_releasing(&self) -> bool {
        self.departure.as_ref().is_some_and(Departure::is_releasing)
    }

    /// The lease comes before everything else: past it, nothing may be relied on.
    pub(crate) fn check_lease(&mut self, cx: &mut WorkerCx<'_>) {
        // In overlap mode work goes on until somebody else is known to have the identity.
        let exclusive = self.honours(cx.config()).waits();
        let suspended = cx.link().suspended_at().is_some();
        if exclusive && !suspended && cx.now >= self.session.deadline {
            self.lose_lease(cx);
        }
    }

    /// Time passed that the clock did not show: whatever was sent before it proves nothing now.
    ///
    /// Only its own lease is shortened. What was seen of others was seen longer ago than the clock
    /// says, so that everything counted from it is only waited for longer.
    pub(crate) fn clock_jumped(&mut self, cx: &mut WorkerCx<'_>, by: Option<Duration>) {
        let by = cx.unless_planted(Planted::IgnoredJump, by, by.map(|_| Duration::ZERO));
        self.session.distrust(cx.now, by);
        self.check_lease(cx);
    }

    fn lose_lease(&mut self, cx: &mut WorkerCx<'_>) {
        cx.suspend_link();
        cx.holdings.suspend(&mut cx.cx, RevokeCause::LeaseLost);
        cx.notify(Notice::LeaseLost {
            worker: self.session.worker.clone(),
        });
        cx.poll_health();
        self.step_down(cx, StepDownReason::SessionLost);
    }

    /// A stop was asked for.
    pub(crate) fn leave(&mut self, cx: &mut Cx<'_>, mode: StopMode) {
        let mode = bounded(cx, mode);
        match &mut self.departure {
            Some(departure) => departure.hurry(cx, mode),
            None => self.departure = Some(Departure::begin(cx, mode)),
        }
        if self.departure.as_ref().is_some_and(Departure::is_draining) {
            self.session.set_status(cx, SessionStatus::Draining);
        }
    }

    /// Does whatever is due.
    pub(crate) fn handle_timeout(&mut self, cx: &mut WorkerCx<'_>) -> Membership {
        self.poll_promise(cx);
        if self.session.is_due(cx.now) {
            self.poll_bulletin(cx);
        }
        self.session.handle_timeout(&mut cx.cx, cx.holdings);
        self.on_vanished(cx);
        self.poll_look(cx);
        self.resume_if_intact(cx);
        self.poll_rewatch(cx);
        if cx.poll_watch() {
            self.snapshot_begins();
        }
        cx.poll_health();
        self.poll_reconcile(cx);
        self.poll_pieces(cx);
        self.poll_own_list(cx);
        cx.requests.handle_timeout(&mut cx.cx, &self.session);
        self.poll_probing(cx);
        self.poll_candidacy(cx);
        self.poll_one_way(cx);
        self.poll_unsteady_contact(cx);
        if let Some(leader) = &mut self.leader {
            leader.step(cx);
        }
        self.poll_departure(cx)
    }

    pub(crate) fn wake(&self, now: Instant, config: &Config, link: &Link) -> Option<Wake> {
        let lease = self
            .deadline(config, link)
            .filter(|&at| at < Instant::FAR_FUTURE);
        let lease = lease.map(|at| Wake::new(at, WakeReason::LeaseDeadline));
        let candidacy = match &self.candidacy {
            Candidacy::Standing { attempt, .. } => attempt.wake(),
            Candidacy::Waiting => self
                .stands_at(config, link, now)
                .map(|at| Wake::new(at, WakeReason::Election)),
        };
        let leader = self.leader.as_ref();
        let leader = leader.and_then(|leader| leader.wake(now, config, link.history()));
        let unsteady = self.unsteady_wake(config, now);
        let all = [
            lease,
            self.session.wake(),
            link.wake(config, now),
            candidacy,
            leader,
            self.reconcile.wake(),
            self.rewatch_at
                .map(|at| Wake::new(at, WakeReason::WatchRetry)),
            self.own_record.wake(),
            self.own_list.wake(),
            unsteady.map(|at| Wake::new(at, WakeReason::Reconcile)),
            self.departure.as_ref().and_then(Departure::wake),
        ];
        all.into_iter().flatten().min()
    }

    /// The public state.
    pub(crate) fn state(&self, link: &Link, holdings: &Holdings) -> State {
        if self.departure.is_some() {
            return State::Shutdown;
        }
        if link.is_degraded() {
            return State::Degraded;
        }
        if let Some(state) = self.leader.as_ref().and_then(|leader| leader.state()) {
            return state;
        }
        match self.head() {
            None => State::Election,
            Some(head) if head.leader.is_none() => State::Election,
            Some(_) if holdings.applied() == Version::ZERO => State::WaitingAssignment,
            Some(head) if head.unfinished > 0 => State::Rebalancing,
            Some(_) => State::Stable,
        }
    }

    pub(crate) fn leader_mut(&mut self) -> Option<&mut Leader> {
        self.leader.as_deref_mut()
    }

    fn snapshot_begins(&mut self) {
        if let Some(leader) = &mut self.leader {
            leader.on_snapshot();
        }
    }

    /// An answer about the session.
    pub(crate) fn on_session_reply(
        &mut self,
        cx: &mut WorkerCx<'_>,
        op: OpId,
        result: &Result<StoreReply, StoreError>,
    ) -> Membership {
        let news = self.session.on_reply(cx, op, result);
        self.on_session_news(cx, news)
    }

    pub(crate) fn on_session_news(
        &mut self,
        cx: &mut WorkerCx<'_>,
        news: SessionNews,
    ) -> Membership {
        match news {
            SessionNews::Pending => Membership::On,
            SessionNews::Lost => Membership::Lost,
            SessionNews::Rejected(reason) => {
                let step = FailedStep::RenewSession;
                cx.notify(Notice::StepFailed {
                    step,
                    failures: 1,
                    reason: reason.clone(),
                });
                if let Some(departure) = &mut self.departure {
                    departure.error(alloc::format!("{step}: {reason}"));
                }
                Membership::On
            }
            SessionNews::Renewed(SessionStatus::Released { .. }) => Membership::Stopped,
            SessionNews::Renewed(_) => {
                cx.step_done(FailedStep::RenewSession);
                self.resume_if_intact(cx);
                Membership::On
            }
        }
    }

    // Leaving.

    fn poll_departure(&mut self, cx: &mut WorkerCx<'_>) -> Membership {
        let Some(departure) = &mut self.departure else {
            return Membership::On;
        };
        let lead = match &self.leader {
            None => Lead::Not,
            Some(leader) => {
                let owes = cx.holdings.is_drained() && leader.owes_grants();
                if owes { Lead::Granting } else { Lead::Free }
            }
        };
        match departure.next(cx.now, cx.holdings, lead) {
            Todo::Nothing => Membership::On,
            Todo::Revoke => {
                cx.holdings.abandon(&mut cx.cx);
                self.poll_departure(cx)
            }
            Todo::Resign => {
                // A worker that is leaving for good must not be given anything on the way out.
                cx.holdings.abandon(&mut cx.cx);
                if let Some(leader) = &mut self.leader {
                    leader.resign(StepDownReason::Stopping);
                    leader.step(cx);
                }
                Membership::On
            }
            Todo::Release(hold) => {
                cx.holdings.abandon(&mut cx.cx);
                self.session
                    .set_status(cx, SessionStatus::Released { hold });
                self.session.handle_timeout(&mut cx.cx, cx.holdings);
                Membership::On
            }
            Todo::End => Membership::Stopped,
        }
    }

    /// Ends everything of this membership that would go on by itself.
    pub(crate) fn end(mut self, cx: &mut Cx<'_>) -> Vec<String> {
        self.step_down(cx, StepDownReason::SessionLost);
        cx.close_link();
        if cx.config().probe_interval().is_some() {
            cx.push(Effect::Answer { session: None });
        }
        let Some(departure) = self.departure else {
            return Vec::new();
        };
        let (errors, partitions) = departure.into_outcome();
        if !partitions.is_empty() {
            cx.notify(Notice::LeftUnowned { partitions });
        }
        errors
    }
}

/// A hold that the group allows.
fn bounded(cx: &mut Cx<'_>, mode: StopMode) -> StopMode {
    let StopMode::Restart { hold: asked } = mode else {
        return mode;
    };
    let hold = cx.config().bounded_hold(asked);
    if hold < asked {
        let allowed = hold;
        cx.notify(Notice::HoldCapped { asked, allowed });
    }
    StopMode::Restart { hold }
}
