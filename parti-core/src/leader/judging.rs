//! Judging, when something has changed or time has come, and acting on it: plan, commit, go on with a
//! handoff.

use crate::io::notice::{FailedStep, StepDownReason};
use crate::leader::Leader;
use crate::leader::judging::verdict::{Verdict, judge};
use crate::leader::leadership::{Ground, Leadership, Resigning, Step, Work};
use crate::link::cx::Cx;
use crate::model::state::{Cause, State};

pub(crate) mod facts;
pub(crate) mod problems;
pub(crate) mod suspects;
pub(crate) mod unowned;
pub(crate) mod verdict;

impl Leader {
    /// Goes on with what is under way; judges and acts if nothing is.
    pub(crate) fn step(&mut self, cx: &mut Cx<'_>) {
        self.poll_work(cx);
        match &self.leadership {
            Leadership::CatchingUp { .. } => {}
            Leadership::Leading(_) => self.lead(cx),
            Leadership::Resigning(_) => self.poll_resignation(cx),
        }
    }

    /// What is under way goes on, or has taken too long.
    fn poll_work(&mut self, cx: &mut Cx<'_>) {
        if let Some(commit) = self.leadership.committing_mut()
            && cx.now >= commit.give_up.at
        {
            if cx.store_is_sound() {
                // It may still be applied: then `head` shows it, and the next attempt cannot win.
                let open = commit.attempt.still_open();
                self.fail(cx, FailedStep::Commit, open);
            } else {
                // Nothing could be asked: neither the step nor the leader has failed.
                commit.give_up.at = cx.now + cx.config().lease();
            }
            return;
        }
        if let Some(attempt) = self.leadership.attempt_mut() {
            return attempt.handle_timeout(cx);
        }
        match &self.leadership {
            Leadership::Leading(Work::Pausing { until }) if cx.now >= *until => {
                self.leadership.rest()
            }
            Leadership::Leading(Work::Planning { give_up, .. }) if cx.now >= *give_up => {
                let lost = "no answer, not even that it failed".into();
                self.fail(cx, FailedStep::Plan, lost);
            }
            Leadership::CatchingUp { .. } | Leadership::Leading(_) | Leadership::Resigning(_) => {}
        }
    }

    fn lead(&mut self, cx: &mut Cx<'_>) {
        self.poll_listing(cx);
        if self.knowledge.view.take_settings_news() {
            self.knowledge.on_settings(cx);
        }
        if cx.now < self.knowledge.held_back_until(cx.config(), cx.history()) {
            // Somebody may rely on a lease of a history that is gone.
            return;
        }
        // A leader that is evicted by order lets another one do it.
        if self.asked_to_step_down().next().is_some() || self.knowledge.resigns_by_order(cx.now) {
            self.resign(StepDownReason::Asked);
            return self.poll_resignation(cx);
        }
        let ground = self.ground(cx);
        let again_at = self.judgement.again_at;
        match &mut self.leadership {
            Leadership::Leading(Work::Idle { judged })
                if *judged != Some(ground) || again_at.is_some_and(|wake| cx.now >= wake.at) =>
            {
                *judged = Some(ground);
            }
            Leadership::CatchingUp { .. } | Leadership::Leading(_) | Leadership::Resigning(_) => {
                return;
            }
        }
        self.poll_agreement(cx);
        if self.leadership.is_idle() {
            self.judge(cx);
        }
    }

    /// What a judgement of this moment is made on.
    fn ground(&self, cx: &Cx<'_>) -> Ground {
        Ground {
            knowledge: self.knowledge.generation(),
            list: self.list.generation(),
            hears_since: cx.heard().since(),
        }
    }

    fn judge(&mut self, cx: &mut Cx<'_>) {
        let config = cx.shared_config();
        // Until a plan is made for it: the store may have grown while one was committed for less, and
        // what that one parks is seen later.
        if self.limits.have_grown() {
            self.knowledge.view.parking.make_room();
        }
        self.knowledge.poll(cx);
        let difference = self.difference(&config, cx.now);
        let target = self.in_force.target();
        self.knowledge
            .note_joins(&config, cx.now, (target, &difference));
        self.in_force.compare(&config, &self.knowledge, &self.list);
        let facts = self.facts(cx, &difference);
        self.judgement = judge(&config, &facts);
        if facts.in_contact && facts.cold.is_none() && facts.suspicions.isolated {
            // Somebody who reaches the others may find nobody dead; and until then leases decide.
            self.knowledge.budget.close(&config, cx.now);
            return self.resign(StepDownReason::Isolated);
        }
        let has_list = self.list.table.is_some();
        match self.judgement.verdict.clone() {
            Verdict::Act { cause, lost } if has_list => {
                if self.retry.failures > 0 {
                    // A plan that keeps failing must not hold up the handoff under way.
                    self.poll_handoff(cx);
                }
                if self.leadership.is_idle() {
                    self.plan(cx, cause, &lost, &difference);
                }
            }
            Verdict::Act { .. } => {
                if facts.in_contact {
                    self.poll_handoff(cx);
                }
            }
            Verdict::Quiet | Verdict::Wait(_) | Verdict::Settle { .. } => {
                if self.retry.failures == 0 && has_list && cx.link().is_steady(&config, cx.now) {
                    // It can do its work.
                    self.futile = 0;
                }
                if facts.in_contact {
                    self.poll_handoff(cx);
                }
            }
        }
    }

    fn poll_handoff(&mut self, cx: &mut Cx<'_>) {
        if self.in_force.advance_at().is_some_and(|at| cx.now >= at) {
            self.in_force.advance(None);
            self.go_on(cx);
        }
    }

    /// The public state of a leader.
    pub(crate) fn state(&self) -> Option<State> {
        let head = &self.knowledge.head;
        let handoff = (head.unfinished > 0).then_some(head.cause);
        let cause = match &self.leadership {
            Leadership::Leading(Work::Planning { brief, .. }) => Some(brief.cause),
            Leadership::Leading(Work::Committing(commit))
            | Leadership::Resigning(Resigning {
                step: Step::Committing(commit),
                ..
            }) => Some(commit.head.cause).filter(|cause| *cause != Cause::Settings),
            Leadership::CatchingUp { .. } | Leadership::Leading(_) | Leadership::Resigning(_) => {
                handoff
            }
        };
        match (cause, &self.judgement.verdict) {
            (Some(Cause::Emergency), _) => Some(State::Emergency),
            (Some(_), _) => Some(State::Rebalancing),
            (None, Verdict::Settle { .. }) => Some(State::Scaling),
            (None, Verdict::Quiet | Verdict::Wait(_) | Verdict::Act { .. }) => None,
        }
    }
}
