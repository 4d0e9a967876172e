//! Acting on a judgement: plan, commit, go on with a handoff, resign.

use crate::io::notice::FailedStep;
use crate::leader::judging::facts::{Difference, basis};
use crate::leader::judging::verdict::{Verdict, judge};
use crate::leader::{Leader, Leading, Work};
use crate::link::cx::Cx;
use crate::model::state::{Cause, State};

pub(crate) mod facts;
pub(crate) mod problems;
pub(crate) mod unowned;
pub(crate) mod verdict;

impl Leader {
    /// Judges, and does what the judgement asks for, as far as nothing else is under way.
    pub(crate) fn step(&mut self, cx: &mut Cx<'_>) -> Leading {
        match &mut self.work {
            Work::Committing(commit) if cx.now >= commit.give_up.at && !cx.store_is_sound() => {
                // Nothing could be asked: neither the step nor the leader has failed.
                commit.give_up.at = cx.now + cx.config().lease();
            }
            Work::Committing(commit) if cx.now >= commit.give_up.at => {
                // It may still be applied: then `head` shows it, and the next attempt cannot win.
                let open = commit.attempt.still_open();
                self.fail(cx, FailedStep::Commit, open);
            }
            Work::Committing(commit) => commit.attempt.handle_timeout(cx),
            Work::Resigning { attempt, .. } => attempt.handle_timeout(cx),
            Work::Pausing { until } if cx.now >= *until => {
                self.work = Work::Idle;
                self.stirred = true;
            }
            Work::Planning { give_up, .. } if cx.now >= *give_up => {
                let lost = "no answer, not even that it failed".into();
                self.fail(cx, FailedStep::Plan, lost);
            }
            Work::Pausing { .. } | Work::Planning { .. } | Work::Idle => {}
        }
        if self.resigning.is_some() {
            return self.keep_resigning(cx);
        }
        if !self.ready {
            return Leading::On;
        }
        self.keep_listing(cx);
        if self.view.take_settings_news() {
            self.look_at_settings(cx);
        }
        if cx.now < self.held_back_until(cx.config(), cx.history()) {
            // Somebody may rely on a lease of a history that is gone.
            return Leading::On;
        }
        let due = self.stirred || self.judge_at.is_some_and(|at| cx.now >= at);
        if due && matches!(self.work, Work::Idle) {
            self.stirred = false;
            self.keep_agreement(cx);
        }
        if due && matches!(self.work, Work::Idle) {
            self.judge(cx);
            self.judge_at = self.next_judgement(cx.config(), cx.now);
        }
        Leading::On
    }

    fn judge(&mut self, cx: &mut Cx<'_>) {
        self.confirmations.note(cx.now, &self.view);
        self.view.lower_formats(cx);
        self.bench.forgive(cx.now);
        let basis = basis(&self.view, self.target.as_ref());
        let config = cx.shared_config();
        let mut difference = Difference::find(
            &config,
            cx.now,
            &self.view,
            &basis,
            &self.sitting_out(cx.now),
        );
        if let Some(target) = &self.target {
            let stuck = self.stuck(&config, cx.now);
            difference.wait(&self.view, &target.kept, &stuck);
        }
        let mut facts = self.facts(&config, (cx.now, cx.wall_ms()), cx.link(), &difference);
        // Somebody has come who does not read what the group writes.
        facts.resume |= self.head.format > self.view.format(cx);
        let verdict = judge(&config, &facts);
        self.next_end = difference.next_end;
        self.parked_until = facts.parked_until;
        let losses = facts.silent.iter().map(|silent| silent.lost_at);
        self.next_loss = losses.filter(|&at| at > cx.now).min();
        self.restarting = match &verdict {
            Verdict::Settle {
                cause: Cause::Restart,
                until,
            } => Some(*until),
            Verdict::Settle { .. } | Verdict::Quiet | Verdict::Wait(_) | Verdict::Act { .. } => {
                None
            }
        };
        let calm = match &verdict {
            Verdict::Quiet | Verdict::Wait(_) | Verdict::Settle { .. } => true,
            Verdict::Act { .. } => false,
        };
        if calm
            && self.failures == 0
            && self.table.is_some()
            && cx.link().is_steady(&config, cx.now)
        {
            // It can do its work.
            self.futile = 0;
        }
        self.verdict = verdict.clone();
        match verdict {
            Verdict::Act { cause, lost } if self.table.is_some() => {
                if self.failures > 0 {
                    // A plan that keeps failing must not hold up the handoff under way.
                    self.keep_advancing(cx);
                }
                if matches!(self.work, Work::Idle) {
                    self.plan(cx, cause, &lost, &difference);
                }
            }
            Verdict::Act { .. } | Verdict::Quiet | Verdict::Wait(_) | Verdict::Settle { .. } => {
                if facts.in_contact {
                    self.keep_advancing(cx);
                }
            }
        }
    }

    fn keep_advancing(&mut self, cx: &mut Cx<'_>) {
        if self.advance_at.is_some_and(|at| cx.now >= at) {
            self.advance_at = None;
            self.go_on(cx);
        }
    }

    /// The public state of a leader.
    pub(crate) fn state(&self) -> Option<State> {
        let cause = match &self.work {
            Work::Planning { brief, .. } => Some(brief.cause),
            Work::Committing(commit) if commit.head.cause == Cause::Settings => None,
            Work::Committing(commit) => Some(commit.head.cause),
            Work::Idle | Work::Pausing { .. } | Work::Resigning { .. } => {
                (self.head.unfinished > 0).then_some(self.head.cause)
            }
        };
        match (cause, &self.verdict) {
            (Some(Cause::Emergency), _) => Some(State::Emergency),
            (Some(_), _) => Some(State::Rebalancing),
            (None, Verdict::Settle { .. }) => Some(State::Scaling),
            (None, Verdict::Quiet | Verdict::Wait(_) | Verdict::Act { .. }) => None,
        }
    }
}
