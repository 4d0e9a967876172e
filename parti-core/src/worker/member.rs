//! A member: a process that holds a session. It follows the leader, stands when there is none, leads
//! when elected, and leaves in order.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::config::{Config, Mode};
use crate::io::effect::{RevokeCause, Wake, WakeReason};
use crate::io::event::{OpId, StopMode};
use crate::io::notice::{FailedStep, HistoryLoss, Notice, StepDownReason};
use crate::leader::Leader;
use crate::link::attempt::Attempt;
use crate::link::contact::Contact;
use crate::link::continuity::Continuity;
use crate::link::cx::Cx;
use crate::link::watching::Watching;
use crate::model::id::{Revision, Version};
use crate::model::state::State;
use crate::model::time::Instant;
use crate::planted::Planted;
use crate::ports::store::{StoreError, StoreErrorKind, StoreInfo, StoreReply};
use crate::records::record::{Head, SessionStatus};
use crate::worker::claim::Claimed;
use crate::worker::departure::{Departure, Todo};
use crate::worker::follow::Follow;
use crate::worker::health::Health;
use crate::worker::holdings::Holdings;
use crate::worker::requests::Requests;
use crate::worker::session::{Kept, Session};

mod agree;
mod candidacy;
mod entries;
mod hearing;
mod look;
mod office;
mod own_list;
mod own_record;
mod problems;
mod reconcile;

use hearing::Unsteady;
use own_list::OwnList;
use own_record::OwnRecord;
use reconcile::Reconcile;

/// A process with a session.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) session: Session,
    info: StoreInfo,
    /// Since when the store says that something about it is unfit.
    unfit_since: Option<Instant>,
    contact: Contact,
    follow: Follow,
    watching: Watching,
    candidacy: Candidacy,
    /// Random part of the delay before standing, drawn again with each `head`.
    jitter: Duration,
    /// After giving up for failures: others first.
    stand_not_before: Instant,
    leader: Option<Box<Leader>>,
    reconcile: Reconcile,
    departure: Option<Departure>,
    /// Whether the lease ran out and nothing may be held.
    suspended: bool,
    /// Since when own renewals have been applied without coming back through the watch.
    unheard_since: Option<Instant>,
    /// Since when it has led without steady contact, and whether that was told.
    unsteady: Option<Unsteady>,
    suspended_at: Instant,
    /// The revision of the assignment record taken in last.
    record_revision: Revision,
    own_record: OwnRecord,
    health: Health,
    /// The mode that held in the group when last looked at, and since when.
    holds: Option<(Mode, Instant)>,
    own_list: OwnList,
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
        let watching = Watching::begin(cx, follow.scope(&session.worker));
        let jitter = cx.config().election_jitter();
        Self {
            session,
            info: claimed.info.clone(),
            unfit_since: None,
            contact: Contact::new(cx.now),
            follow,
            watching,
            candidacy: Candidacy::Waiting,
            jitter: cx.rng().duration_below(jitter),
            stand_not_before: Instant::ORIGIN,
            leader: None,
            reconcile: Reconcile::new(cx),
            departure: None,
            suspended: false,
            unheard_since: None,
            unsteady: None,
            suspended_at: Instant::ORIGIN,
            record_revision: Revision::ZERO,
            own_record: OwnRecord::default(),
            health: Health::default(),
            holds: None,
            own_list: OwnList::default(),
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
    pub(crate) fn deadline(&self, config: &Config) -> Option<Instant> {
        let deadline = match self.honours(config) {
            Mode::Exclusive => self.session.deadline,
            Mode::Overlap => Instant::FAR_FUTURE,
        };
        (!self.suspended).then_some(deadline)
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
    pub(crate) fn check_lease(&mut self, cx: &mut Cx<'_>, holdings: &mut Holdings) {
        // In overlap mode work goes on until somebody else is known to have the identity.
        let exclusive = self.honours(cx.config()) == Mode::Exclusive;
        if exclusive && !self.suspended && cx.now >= self.session.deadline {
            self.lose_lease(cx, holdings);
        }
    }

    /// Time passed that the clock did not show: whatever was sent before it proves nothing now.
    ///
    /// Only the own lease is shortened. What was seen of others was seen longer ago than the clock
    /// says, so that everything counted from it is only waited for longer.
    pub(crate) fn clock_jumped(
        &mut self,
        cx: &mut Cx<'_>,
        holdings: &mut Holdings,
        by: Option<Duration>,
    ) {
        let by = cx.unless_planted(Planted::IgnoredJump, by, by.map(|_| Duration::ZERO));
        self.session.distrust(cx.now, by);
        self.check_lease(cx, holdings);
    }

    fn lose_lease(&mut self, cx: &mut Cx<'_>, holdings: &mut Holdings) {
        (self.suspended, self.suspended_at) = (true, cx.now);
        cx.suspect();
        holdings.suspend(cx, RevokeCause::LeaseLost);
        cx.notify(Notice::LeaseLost {
            worker: self.session.worker.clone(),
        });
        self.watch_over_health(cx);
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
    pub(crate) fn handle_timeout(
        &mut self,
        cx: &mut Cx<'_>,
        holdings: &mut Holdings,
        requests: &mut Requests,
    ) -> Membership {
        if cx.store_is_out() {
            self.contact.break_off();
        }
        self.keep_promise(cx);
        if self.session.is_due(cx.now) {
            self.post_bulletin(cx);
        }
        self.session.handle_timeout(cx, holdings);
        self.mind_what_is_gone(cx);
        self.keep_looking(cx);
        self.resume_if_intact(cx, holdings);
        if self.watching.handle_timeout(cx) {
            self.snapshot_begins();
        }
        self.watch_over_watch(cx);
        self.watch_over_health(cx);
        self.keep_reconciling(cx, requests);
        self.keep_reading_pieces(cx);
        self.keep_comparing_lists(cx);
        requests.handle_timeout(cx, &self.session);
        self.keep_candidacy(cx);
        self.mind_deafness(cx);
        self.mind_limping(cx);
        if let Some(leader) = &mut self.leader {
            leader.step(cx, &self.contact);
        }
        self.keep_leaving(cx, holdings)
    }

    pub(crate) fn wake(
        &self,
        now: Instant,
        config: &Config,
        continuity: &Continuity,
    ) -> Option<Wake> {
        let lease = self.deadline(config).filter(|&at| at < Instant::FAR_FUTURE);
        let lease = lease.map(|at| Wake::new(at, WakeReason::LeaseDeadline));
        let candidacy = match &self.candidacy {
            Candidacy::Standing { attempt, .. } => attempt.wake(),
            Candidacy::Waiting => self
                .stands_at(config, now)
                .map(|at| Wake::new(at, WakeReason::Election)),
        };
        let leader = self.leader.as_ref();
        let leader = leader.and_then(|leader| leader.wake(now, config, continuity));
        let look = continuity.look_at();
        let all = [
            lease,
            self.session.wake(),
            self.watching.wake(),
            candidacy,
            leader,
            self.reconcile.wake(),
            self.own_record.wake(),
            self.own_list.wake(),
            look.map(|at| Wake::new(at, WakeReason::Reconcile)),
            self.health_wake(config, now),
            self.departure.as_ref().and_then(Departure::wake),
        ];
        all.into_iter().flatten().min()
    }

    /// The public state.
    pub(crate) fn state(&self, holdings: &Holdings) -> State {
        if self.departure.is_some() {
            return State::Shutdown;
        }
        if self.health.is_degraded() {
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
        cx: &mut Cx<'_>,
        holdings: &mut Holdings,
        op: OpId,
        result: &Result<StoreReply, StoreError>,
    ) -> Membership {
        match result {
            Ok(_) => self.health.on_success(),
            Err(error) => match error.kind {
                StoreErrorKind::Unknown | StoreErrorKind::Unavailable | StoreErrorKind::Missing => {
                    self.health.on_error(cx.now, &cx.config().degraded());
                }
                StoreErrorKind::Refused | StoreErrorKind::Rejected => {}
            },
        }
        let kept = self.session.on_reply(cx, op, result);
        self.on_kept(cx, holdings, kept)
    }

    pub(crate) fn on_kept(
        &mut self,
        cx: &mut Cx<'_>,
        holdings: &mut Holdings,
        kept: Kept,
    ) -> Membership {
        match kept {
            Kept::Pending => Membership::On,
            Kept::Lost => Membership::Lost,
            Kept::Rejected(reason) => {
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
            Kept::Renewed(SessionStatus::Released { .. }) => Membership::Stopped,
            Kept::Renewed(_) => {
                cx.step_done(FailedStep::RenewSession);
                if !self.contact.is_held(cx.config(), cx.now) {
                    self.unheard_since.get_or_insert(cx.now);
                }
                self.resume_if_intact(cx, holdings);
                Membership::On
            }
        }
    }

    // Leaving.

    fn keep_leaving(&mut self, cx: &mut Cx<'_>, holdings: &mut Holdings) -> Membership {
        let leading = self.leader.is_some();
        let Some(departure) = &mut self.departure else {
            return Membership::On;
        };
        match departure.next(cx.now, holdings, leading) {
            Todo::Nothing => Membership::On,
            Todo::Revoke => {
                holdings.abandon(cx);
                self.keep_leaving(cx, holdings)
            }
            Todo::Resign => {
                // Whoever is leaving for good must not be given anything on the way out.
                holdings.abandon(cx);
                if let Some(leader) = &mut self.leader {
                    leader.resign(StepDownReason::Stopping);
                    leader.step(cx, &self.contact);
                }
                Membership::On
            }
            Todo::Release(hold) => {
                holdings.abandon(cx);
                self.session
                    .set_status(cx, SessionStatus::Released { hold });
                self.session.handle_timeout(cx, holdings);
                Membership::On
            }
            Todo::End => Membership::Stopped,
        }
    }

    /// Ends everything of this membership that would go on by itself.
    pub(crate) fn end(mut self, cx: &mut Cx<'_>) -> Vec<String> {
        self.step_down(cx, StepDownReason::SessionLost);
        self.watching.end(cx);
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
