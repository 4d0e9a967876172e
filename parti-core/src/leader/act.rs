//! Acting on a judgement: plan, commit, go on with a hand-over, resign.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::commit::{Commit, Draft};
use super::facts::{Difference, basis};
use super::ledger::{Step, advance};
use super::plan::{Brief, Target, candidates, input};
use super::seats::{Evictions, Seats};
use super::verdict::{Verdict, judge};
use super::view::Fate;
use super::{Leader, Leading, Work};
use crate::attempt::Outcome;
use crate::config::Mode;
use crate::contact::Contact;
use crate::cx::Cx;
use crate::event::{OpId, OpOwner};
use crate::id::{Revision, WorkerId};
use crate::keys::assignment_key;
use crate::notice::{FailedStep, Notice, StepDownReason};
use crate::planted::Planted;
use crate::record::SessionStatus;
use crate::state::{Cause, State};
use crate::store::{StoreError, StoreOp, StoreReply};
use crate::strategy::{NO_OWNER, Plan, PlanError, Report, WorkerTable};

impl Leader {
    /// Judges, and does what the judgement asks for, as far as nothing else is under way.
    pub(crate) fn step(&mut self, cx: &mut Cx<'_>, contact: &Contact) -> Leading {
        match &mut self.work {
            Work::Committing(commit) if cx.now >= commit.give_up.at && !cx.store_is_sound() => {
                // Nothing could be asked: neither the step nor the leader has failed.
                commit.give_up.at = cx.now + cx.config().lease();
            }
            Work::Committing(commit) if cx.now >= commit.give_up.at => {
                // It may still be applied: then `head` shows it, and the next attempt cannot win.
                let open = "the store left its outcome open".into();
                self.fail(cx, FailedStep::Commit, open);
            }
            Work::Committing(commit) => commit.attempt.handle_timeout(cx),
            Work::Resigning { attempt, .. } => attempt.handle_timeout(cx),
            Work::Pausing { until } if cx.now >= *until => {
                self.work = Work::Idle;
                self.stirred = true;
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
        if cx.now < self.held_back_until(cx.config(), cx.history()) {
            // Somebody may rely on a lease of a history that is gone.
            return Leading::On;
        }
        let due = self.stirred || self.judge_at.is_some_and(|at| cx.now >= at);
        if due && matches!(self.work, Work::Idle) {
            self.stirred = false;
            self.judge(cx, contact);
            self.judge_at = self.next_judgement(cx.config(), cx.now);
        }
        Leading::On
    }

    fn judge(&mut self, cx: &mut Cx<'_>, contact: &Contact) {
        self.confirmations.note(cx.now, &self.view);
        self.bench.forgive(cx.now);
        let basis = basis(&self.view, self.target.as_ref());
        let config = cx.shared_config();
        let difference = Difference::find(
            &config,
            cx.now,
            &self.view,
            &basis,
            &self.sitting_out(cx.now),
        );
        let mut facts = self.facts(&config, cx.now, contact, &difference);
        facts.in_contact &= cx.store_is_sound();
        let verdict = judge(&config, &facts);
        self.next_end = difference.next_end;
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
        self.verdict = verdict.clone();
        match verdict {
            Verdict::Act { cause, lost } if self.table.is_some() => {
                if self.failures > 0 {
                    // A plan that keeps failing must not hold up the hand-over under way.
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

    /// Asks the strategy.
    fn plan(&mut self, cx: &mut Cx<'_>, cause: Cause, lost: &[WorkerId], seen: &Difference) {
        let Some(table) = self.table.clone() else {
            return;
        };
        let config = cx.shared_config();
        let mut stuck = self.stuck(&config, cx.now);
        // What does not fit into one commit is left to the next.
        let most = (self.info.max_batch / 4).max(1);
        let lost = &lost[..lost.len().min(most)];
        let mut excluded = self.sitting_out(cx.now);
        excluded.extend(stuck.iter().cloned());
        stuck.truncate(most);
        let evictions = self.evictions(lost, &stuck);
        excluded.extend(evictions.keys().cloned());
        let usable = candidates(&config, cx.now, &self.view, &excluded);
        let epochs = usable
            .iter()
            .map(|(worker, (epoch, _))| (worker.clone(), *epoch))
            .collect();
        let workers = usable.into_values().map(|(_, info)| info).collect();
        let workers = match WorkerTable::new(workers) {
            Ok(workers) => Arc::new(workers),
            Err(error) => return self.fail(cx, FailedStep::Plan, alloc::format!("{error}")),
        };
        let input = input(
            &table,
            Arc::clone(&workers),
            &self.view,
            self.target.as_ref(),
        );
        let mut requests = self.requests();
        requests.truncate(most);
        let mut triggers = seen.triggers(lost, &requests);
        triggers.extend(stuck.iter().map(|worker| alloc::format!("stuck {worker}")));
        let brief = Brief {
            cause,
            input,
            epochs,
            evictions,
            requests,
            triggers,
        };
        if workers.as_slice().iter().all(|worker| worker.capacity == 0) {
            // Nobody is left to own anything: everything is taken away, nothing is given.
            let plan = Plan {
                owners: vec![NO_OWNER; table.len()],
                report: Report::default(),
            };
            return self.begin(cx, brief, plan);
        }
        let op = cx.plan(brief.input.clone());
        self.work = Work::Planning {
            op,
            brief: Box::new(brief),
        };
    }

    fn evictions(
        &self,
        lost: &[WorkerId],
        stuck: &[WorkerId],
    ) -> BTreeMap<WorkerId, (Revision, bool)> {
        let silent = lost.iter().map(|worker| (worker, true));
        let alive = stuck
            .iter()
            .filter(|worker| !lost.contains(worker))
            .map(|w| (w, false));
        let evictions = silent.chain(alive).filter_map(|(worker, silent)| {
            let session = self.view.sessions.get(worker)?;
            Some((worker.clone(), (session.revision, silent)))
        });
        evictions.collect()
    }

    /// The strategy answered.
    pub(crate) fn on_planned(
        &mut self,
        cx: &mut Cx<'_>,
        op: OpId,
        result: Result<Plan, PlanError>,
    ) -> Leading {
        let Work::Planning {
            op: expected,
            brief,
        } = &self.work
        else {
            return Leading::On;
        };
        if *expected != op {
            return Leading::On;
        }
        let brief = (**brief).clone();
        self.work = Work::Idle;
        self.stirred = true;
        match result.and_then(|plan| plan.check(&brief.input).map(|()| plan)) {
            Ok(mut plan) => {
                if brief.cause == Cause::Drain && cx.planted(Planted::MovesOnLeave) {
                    plan.owners.rotate_left(1);
                }
                let (cause, report) = (brief.cause, plan.report.clone());
                cx.notify(Notice::Planned { cause, report });
                self.begin(cx, brief, plan);
            }
            Err(error) => {
                cx.notify(Notice::PlanFailed {
                    error: error.clone(),
                });
                self.fail(cx, FailedStep::Plan, alloc::format!("{error}"));
            }
        }
        Leading::On
    }

    /// Commits the first generation of a new target.
    fn begin(&mut self, cx: &mut Cx<'_>, brief: Brief, plan: Plan) {
        let averted: Vec<WorkerId> = brief
            .evictions
            .iter()
            .filter(|(worker, (revision, _))| {
                self.view
                    .sessions
                    .get(*worker)
                    .is_none_or(|s| s.revision != *revision)
            })
            .map(|(worker, _)| worker.clone())
            .collect();
        if !averted.is_empty() {
            // Somebody renewed while the plan was made: judge anew.
            for worker in averted {
                cx.notify(Notice::EvictionAverted { worker });
            }
            self.work = Work::Pausing {
                until: cx.now + Duration::from_millis(1),
            };
            return;
        }
        let (evictions, requests) = (brief.evictions.clone(), brief.requests.clone());
        let cause = brief.cause;
        let target = Target::new(cx.boot().strategy.clone(), brief, plan);
        self.commit(cx, target, true, cause, evictions, requests);
    }

    /// Goes on towards the target with what has been acknowledged since.
    fn go_on(&mut self, cx: &mut Cx<'_>) {
        let Some(target) = self.target.clone() else {
            return;
        };
        let (evictions, requests) = (BTreeMap::new(), Vec::new());
        self.commit(cx, target, false, Cause::Resume, evictions, requests);
    }

    fn commit(
        &mut self,
        cx: &mut Cx<'_>,
        target: Target,
        begins: bool,
        cause: Cause,
        evictions: BTreeMap<WorkerId, (Revision, bool)>,
        requests: Vec<super::Requested>,
    ) {
        let config = cx.shared_config();
        let evicting: Evictions = evictions
            .iter()
            .map(|(worker, &(_, silent))| (worker.clone(), silent))
            .collect();
        let seats = Seats::build(&config, cx.now, &self.view, &target, &evicting);
        let version = self.next_version(cx);
        let anchor = |rank: u32| target.anchors.get(&rank).cloned();
        let unknown = !self.view.unaccounted(&config, cx.now).is_empty();
        let step = advance(
            config.unless_planted(Planted::DirectMove, config.mode(), Mode::Overlap),
            version,
            &seats.target,
            &seats.seats,
            unknown,
            &anchor,
        );
        if !begins && step.changes.is_empty() {
            self.note_pending(cx, &seats, &step);
            return;
        }
        let write = self.next_write();
        let draft = Draft {
            write,
            worker: &self.worker,
            info: &self.info,
            base: (&self.head, self.head_revision),
            version,
            view: &self.view,
            target: &target,
            begins,
            cause,
            seats: &seats,
            step,
            evictions,
            requests,
        };
        match draft.send(cx) {
            Ok(commit) => self.work = Work::Committing(Box::new(commit)),
            Err(reason) => {
                // The limits may have been raised since this process asked for them.
                self.asking = Some(cx.store(OpOwner::Leader, StoreOp::Info));
                self.fail(cx, FailedStep::Commit, reason);
            }
        }
    }

    /// Nothing can be granted yet: evictions of living workers end by time, the rest by events.
    fn note_pending(&mut self, cx: &Cx<'_>, seats: &Seats, step: &Step) {
        if step.unfinished == 0 {
            return;
        }
        let ends = seats.workers.iter().filter_map(|worker| {
            let record = self.view.records.get(worker)?;
            match self.view.fate(cx.config(), worker, record.epoch) {
                Fate::EndsAt(at) | Fate::Reserved { until: at } => {
                    Some(at).filter(|&at| at > cx.now)
                }
                Fate::Living | Fate::Ended => None,
            }
        });
        let unknown = self.view.unaccounted(cx.config(), cx.now);
        self.advance_at = ends.chain(unknown.into_values().flatten()).min();
    }

    /// An answer to a commit.
    pub(crate) fn on_store(
        &mut self,
        cx: &mut Cx<'_>,
        op: OpId,
        result: &Result<StoreReply, StoreError>,
    ) -> Leading {
        if self.asking == Some(op) {
            self.asking = None;
            if let Ok(StoreReply::Info(info)) = result {
                self.info = info.clone();
            }
            return Leading::On;
        }
        let outcome = match &mut self.work {
            Work::Committing(commit) => commit.attempt.on_reply(cx, op, result),
            Work::Resigning { attempt, .. } => attempt.on_reply(cx, op, result),
            Work::Idle | Work::Pausing { .. } | Work::Planning { .. } => Outcome::Pending,
        };
        self.on_outcome(cx, outcome)
    }

    pub(super) fn on_outcome(&mut self, cx: &mut Cx<'_>, outcome: Outcome) -> Leading {
        match outcome {
            Outcome::Pending => Leading::On,
            Outcome::Lost(_) if cx.planted(Planted::NeverYields) => {
                let until = cx.now + self.backoff.next(cx.rng());
                self.work = Work::Pausing { until };
                Leading::On
            }
            Outcome::Lost(entry) => Leading::Over(StepDownReason::Deposed, entry),
            Outcome::Won(revision) => match core::mem::replace(&mut self.work, Work::Idle) {
                Work::Committing(commit) => {
                    self.stirred = true;
                    self.committed(cx, *commit, revision);
                    Leading::On
                }
                Work::Resigning { head, .. } => {
                    let reason = self.resigning.clone().unwrap_or(StepDownReason::Stopping);
                    Leading::Resigned(reason, *head, revision)
                }
                other @ (Work::Idle | Work::Pausing { .. } | Work::Planning { .. }) => {
                    self.work = other;
                    Leading::On
                }
            },
            Outcome::Refused(error) => {
                self.refused(cx, &error);
                Leading::On
            }
            Outcome::Rejected(error) => {
                self.fail(cx, FailedStep::Commit, alloc::format!("{error}"));
                Leading::On
            }
        }
    }

    /// Nothing was written: a worker renewed before it could be evicted, or the refusal is spurious.
    /// The view will tell; it is judged anew after a moment.
    fn refused(&mut self, cx: &mut Cx<'_>, error: &StoreError) {
        let evicted = match &self.work {
            Work::Committing(commit) => commit
                .evicted
                .iter()
                .map(|(worker, _)| worker.clone())
                .collect(),
            Work::Idle | Work::Pausing { .. } | Work::Planning { .. } | Work::Resigning { .. } => {
                Vec::new()
            }
        };
        if evicted.is_empty() {
            return self.fail(cx, FailedStep::Commit, alloc::format!("{error}"));
        }
        for worker in evicted {
            cx.notify(Notice::EvictionAverted { worker });
        }
        self.expect_advance(cx);
        self.work = Work::Pausing {
            until: cx.now + self.backoff.next(cx.rng()),
        };
    }

    fn committed(&mut self, cx: &mut Cx<'_>, commit: Commit, revision: Revision) {
        cx.learn(commit.head.version);
        let transfers = commit.transfers(cx, &self.view);
        self.head = commit.head;
        self.head_revision = revision;
        (self.failures, self.advance_at) = (0, None);
        self.backoff.reset();
        for (worker, record) in commit.evicted.iter() {
            self.view.evicted(cx.now, worker, record.clone());
            if record.status == (SessionStatus::Evicted { silent: false }) {
                let first = cx.config().apply_timeout();
                self.bench.strike(cx.now, worker, first);
            }
        }
        for (worker, record) in commit.records {
            match &record {
                Some(record) => self.confirmations.expect(cx.now, &worker, record.version),
                None => self.confirmations.forget(&worker),
            }
            self.view
                .wrote(assignment_key(&worker), revision, &worker, record);
        }
        for (verb, worker, _) in &commit.requests {
            self.view.controls.remove(&(*verb, worker.clone()));
        }
        if let Some(target) = commit.target {
            self.target = Some(target);
            self.last_rebalance = Some(cx.now);
            (self.unfinished, self.weights_matter) = (None, None);
        }
        if self.head.unfinished > 0 {
            self.expect_advance(cx);
        }
        cx.notify(Notice::Committed {
            version: self.head.version,
            term: self.head.term,
            cause: self.head.cause,
            granted: commit.granted,
            revoked: commit.revoked,
            evicted: commit
                .evicted
                .into_iter()
                .map(|(worker, _)| worker)
                .collect(),
            unfinished: self.head.unfinished as usize,
            transfers,
        });
    }

    /// The public state of a leader.
    pub(crate) fn state(&self) -> Option<State> {
        let cause = match &self.work {
            Work::Planning { brief, .. } => Some(brief.cause),
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
