//! The state machine of one process: events in, effects out. This file only dispatches.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::config::Config;
use crate::io::boot::Boot;
use crate::io::effect::{Effect, Wake, WakeReason};
use crate::io::event::{Event, OpId, OpOwner, StopMode};
use crate::io::notice::Notice;
use crate::link::cx::Env;
use crate::model::state::State;
use crate::model::time::Instant;
use crate::planted::Planted;
use crate::ports::store::{StoreError, StoreReply};
use crate::records::record::Verb;
use crate::worker::claim::{Claim, Claimed, Claiming};
use crate::worker::context::WorkerCx;
use crate::worker::holdings::Holdings;
use crate::worker::member::{Member, Membership};
use crate::worker::requests::Requests;

/// The most rounds of due deadlines in one call; more would mean that one never goes away.
const MAX_ROUNDS: usize = 64;

/// The coordination core of one worker process.
///
/// The driver's whole duty is this loop:
///
/// 1. after every call of [`Core::handle`] or [`Core::handle_timeout`], begin every effect that
///    [`Core::poll_effect`] gives out, in order;
/// 2. pass what happens to [`Core::handle`], with the time;
/// 3. call [`Core::handle_timeout`] when [`Core::poll_timeout`] says so. Earlier is harmless.
#[derive(Clone, Debug)]
pub struct Core {
    env: Env,
    now: Instant,
    phase: Phase,
    holdings: Holdings,
    requests: Requests,
    shown: State,
}

#[derive(Clone, Debug)]
enum Phase {
    Idle,
    Claiming(Box<Claim>),
    Member(Box<Member>),
    /// The bucket's history was lost.
    Quarantined(loss::Quarantine),
    /// Without a session, waiting for callbacks to end.
    Ending {
        until: Instant,
        errors: Vec<String>,
    },
    Stopped,
}

impl Core {
    /// A core that has not started.
    #[must_use]
    pub fn new(config: Config, boot: Boot) -> Self {
        let now = boot.now;
        Self {
            env: Env::new(config, boot),
            now,
            phase: Phase::Idle,
            holdings: Holdings::default(),
            requests: Requests::default(),
            shown: State::Init,
        }
    }

    /// Something happened. Due deadlines fire first, then the event, then whatever it made due.
    ///
    /// A `now` before an earlier one counts as that earlier one.
    pub fn handle(&mut self, now: Instant, event: Event) {
        self.begin(now);
        if !self.env.config.planted(Planted::EventBeforeLease) {
            self.run_due();
        }
        self.on_event(event);
        self.run_due();
        self.finish();
    }

    /// Time passed. Harmless when nothing is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.begin(now);
        self.run_due();
        self.finish();
    }

    /// The next thing to do; drain until `None` after every `handle*`.
    #[must_use]
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.env.out.pop_front()
    }

    /// When to call [`Core::handle_timeout`] next, and why. Always later than the last `now`.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Wake> {
        let wake = self.wake()?;
        debug_assert!(
            wake.at > self.now,
            "due and not done: {wake:?} at {}",
            self.now
        );
        Some(Wake {
            at: wake.at.max(self.now + Duration::from_millis(1)),
            ..wake
        })
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.env.config
    }

    /// Until when the session is valid on the local clock, and with it every guard that has not
    /// lapsed; `None` when nothing is valid. Cheap: drivers ask after every call.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Member(member) => member.deadline(&self.env.config, &self.env.link),
            Phase::Idle
            | Phase::Claiming(_)
            | Phase::Quarantined(_)
            | Phase::Ending { .. }
            | Phase::Stopped => None,
        }
    }

    fn begin(&mut self, now: Instant) {
        // A clock that goes back must not undo what was decided at a later time.
        self.now = now.max(self.now);
    }

    fn finish(&mut self) {
        if cfg!(debug_assertions) {
            self.holdings.check();
        }
        let (from, to) = (self.shown, self.state());
        if from != to {
            self.shown = to;
            self.env
                .cx(self.now)
                .notify(Notice::StateChanged { from, to });
        }
    }

    /// Fires whatever is due until nothing is.
    fn run_due(&mut self) {
        for _ in 0..MAX_ROUNDS {
            self.fire();
            if self.wake().is_none_or(|wake| wake.at > self.now) {
                return;
            }
        }
    }

    fn fire(&mut self) {
        let mut cx = WorkerCx {
            cx: self.env.cx(self.now),
            holdings: &mut self.holdings,
            requests: &mut self.requests,
        };
        match &mut self.phase {
            Phase::Idle | Phase::Stopped => {}
            Phase::Claiming(claim) => {
                let claiming = claim.handle_timeout(&mut cx);
                self.on_claiming(claiming);
            }
            Phase::Member(member) => {
                // The lease comes first: past it, nothing that follows may rely on it.
                member.check_lease(&mut cx);
                let on = member.handle_timeout(&mut cx);
                self.on_membership(on);
            }
            Phase::Quarantined(quarantine) => {
                if cx.now >= quarantine.until {
                    let quarantine = quarantine.clone();
                    self.begin_again(quarantine);
                }
            }
            Phase::Ending { until, errors } => {
                if cx.holdings.is_empty() || cx.now >= *until {
                    let mut errors = core::mem::take(errors);
                    if !cx.holdings.is_empty() {
                        errors.push("partitions were not released in time".into());
                    }
                    self.stop(errors);
                }
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Start => self.start(),
            Event::Stop { mode } => self.leave(mode),
            Event::Store { op, result } => self.on_store(op, &result),
            Event::Released { grants } => {
                let mut cx = self.env.cx(self.now);
                let any = self.holdings.released(&mut cx, &grants);
                if let (true, Phase::Member(member)) = (any, &mut self.phase) {
                    member.on_released(&cx);
                }
            }
            Event::Processing { grant, failing } => {
                let cx = self.env.cx(self.now);
                let any = self.holdings.note_processing(&cx, &grant, failing);
                if let (true, Phase::Member(member)) = (any, &mut self.phase) {
                    member.on_released(&cx);
                }
            }
            Event::Prepared {
                preparation,
                failing,
            } => {
                let cx = self.env.cx(self.now);
                let any = self.holdings.prepared(&cx, &preparation, failing);
                if let (true, Phase::Member(member)) = (any, &mut self.phase) {
                    member.on_released(&cx);
                }
            }
            Event::Refresh { request } => self.ask(Verb::Refresh, request),
            Event::Trigger { request } => self.ask(Verb::Trigger, request),
            Event::ClockJumped { .. }
            | Event::Watch { .. }
            | Event::Partitions { .. }
            | Event::Planned { .. }
            | Event::Answering { .. }
            | Event::Probed { .. }
            | Event::SourceChanged => self.on_running_event(event),
        }
    }

    /// Events that only a member, or one that is about to be, has a use for.
    fn on_running_event(&mut self, event: Event) {
        let member = match &mut self.phase {
            Phase::Member(member) => member,
            Phase::Claiming(claim) if matches!(event, Event::ClockJumped { .. }) => {
                return claim.distrust(self.now);
            }
            Phase::Claiming(_)
            | Phase::Idle
            | Phase::Quarantined(_)
            | Phase::Ending { .. }
            | Phase::Stopped => return,
        };
        let mut cx = WorkerCx {
            cx: self.env.cx(self.now),
            holdings: &mut self.holdings,
            requests: &mut self.requests,
        };
        let membership = match event {
            Event::ClockJumped { by } => {
                member.clock_jumped(&mut cx, by);
                Membership::On
            }
            Event::Watch { id, event } => member.on_watch(&mut cx, id, &event),
            Event::Partitions { op, result } if op.owner() == OpOwner::Reconcile => {
                member.on_own_list(&mut cx, op, result);
                Membership::On
            }
            Event::Partitions { op, result } => {
                let leading = member
                    .leader_mut()
                    .map(|l| l.on_partitions(&mut cx, op, result));
                leading
                    .into_iter()
                    .for_each(|leading| member.on_leading(&mut cx, leading));
                Membership::On
            }
            Event::Planned { op, result } => {
                member.on_planned(&mut cx, op, result);
                Membership::On
            }
            Event::Answering { session } => {
                member.on_answering(&cx, session);
                Membership::On
            }
            Event::Probed { probe, answer } => {
                cx.on_probed(probe, answer);
                Membership::On
            }
            Event::SourceChanged => {
                if let Some(leader) = member.leader_mut() {
                    leader.source_changed();
                }
                member.source_changed(&mut cx);
                Membership::On
            }
            Event::Start
            | Event::Stop { .. }
            | Event::Store { .. }
            | Event::Released { .. }
            | Event::Processing { .. }
            | Event::Prepared { .. }
            | Event::Refresh { .. }
            | Event::Trigger { .. } => Membership::On,
        };
        self.on_membership(membership);
    }

    fn start(&mut self) {
        if matches!(self.phase, Phase::Idle) {
            let claim = Claim::first(&mut self.env.cx(self.now));
            self.phase = Phase::Claiming(Box::new(claim));
        }
    }

    fn ask(&mut self, verb: Verb, request: crate::io::event::RequestId) {
        let mut cx = self.env.cx(self.now);
        match &self.phase {
            Phase::Claiming(_) | Phase::Quarantined(_) | Phase::Member(_) => {
                self.requests.ask(&mut cx, verb, request);
            }
            Phase::Idle | Phase::Ending { .. } | Phase::Stopped => {
                let reason = "the worker is not running".into();
                cx.notify(Notice::RequestFailed { request, reason });
            }
        }
    }

    fn leave(&mut self, mode: StopMode) {
        let mut cx = self.env.cx(self.now);
        match &mut self.phase {
            Phase::Idle => self.stop(Vec::new()),
            Phase::Claiming(_) | Phase::Quarantined(_) => self.end_without_session(Vec::new()),
            Phase::Member(member) => member.leave(&mut cx, mode),
            Phase::Ending { .. } | Phase::Stopped => {}
        }
    }

    fn on_store(&mut self, op: OpId, result: &Result<StoreReply, StoreError>) {
        if let Some(loss) = self.env.cx(self.now).on_answer(op, result) {
            return self.lose_history(loss);
        }
        let mut cx = WorkerCx {
            cx: self.env.cx(self.now),
            holdings: &mut self.holdings,
            requests: &mut self.requests,
        };
        match (op.owner(), &mut self.phase) {
            (OpOwner::Claim, Phase::Claiming(claim)) => {
                let claiming = claim.on_reply(&mut cx, op, result);
                self.on_claiming(claiming);
            }
            (owner, Phase::Member(member)) => {
                let membership = match owner {
                    OpOwner::Session => member.on_session_reply(&mut cx, op, result),
                    OpOwner::Reconcile => member.on_reconciled(&mut cx, op, result),
                    OpOwner::Candidate => {
                        member.on_candidate_reply(&mut cx, op, result);
                        Membership::On
                    }
                    OpOwner::Leader => {
                        let leading = member.leader_mut().map(|l| l.on_store(&mut cx, op, result));
                        leading
                            .into_iter()
                            .for_each(|l| member.on_leading(&mut cx, l));
                        Membership::On
                    }
                    OpOwner::Request => {
                        cx.requests.on_reply(&mut cx.cx, op, result);
                        Membership::On
                    }
                    OpOwner::Claim => Membership::On,
                };
                self.on_membership(membership);
            }
            // The one who asked is gone.
            (
                _,
                Phase::Claiming(_)
                | Phase::Idle
                | Phase::Quarantined(_)
                | Phase::Ending { .. }
                | Phase::Stopped,
            ) => {}
        }
    }

    fn on_claiming(&mut self, claiming: Claiming) {
        match claiming {
            Claiming::Pending => {}
            Claiming::Won(claimed) => self.join(&claimed),
            Claiming::Failed(error) => {
                let mut cx = self.env.cx(self.now);
                cx.notify(Notice::StartFailed(error));
                self.end_without_session(Vec::new());
            }
        }
    }

    fn join(&mut self, claimed: &Claimed) {
        let mut cx = self.env.cx(self.now);
        self.holdings.begin();
        self.requests.begin_again();
        cx.notify(Notice::Claimed {
            worker: claimed.worker.clone(),
            epoch: claimed.revision.into(),
            nonce: claimed.nonce,
        });
        let mut member = Member::new(&mut cx, claimed);
        if !claimed.predecessors.is_empty() {
            // Callbacks may have ended since the claim was written.
            member.on_released(&cx);
        }
        self.phase = Phase::Member(Box::new(member));
    }

    fn on_membership(&mut self, membership: Membership) {
        match membership {
            Membership::On => {}
            Membership::Lost => self.lose_identity(),
            Membership::HistoryLost(loss) => self.lose_history(loss),
            Membership::Stopped => {
                let errors = self.leave_membership();
                self.end_without_session(errors);
            }
        }
    }

    fn wake(&self) -> Option<Wake> {
        match &self.phase {
            Phase::Idle | Phase::Stopped => None,
            Phase::Claiming(claim) => claim.wake(),
            Phase::Member(member) => {
                let wake = member.wake(self.now, &self.env.config, &self.env.link);
                Wake::earlier(wake, self.requests.wake())
            }
            Phase::Quarantined(quarantine) => Some(Wake::new(quarantine.until, WakeReason::Claim)),
            Phase::Ending { until, .. } => Some(Wake::new(*until, WakeReason::StopDeadline)),
        }
    }

    fn state(&self) -> State {
        match &self.phase {
            Phase::Idle => State::Init,
            Phase::Claiming(_) => State::ClaimingId,
            Phase::Member(member) => member.state(&self.env.link, &self.holdings),
            Phase::Quarantined(_) => State::Degraded,
            Phase::Ending { .. } | Phase::Stopped => State::Shutdown,
        }
    }
}

mod ending;
mod loss;
mod status;
#[cfg(test)]
mod tests;
