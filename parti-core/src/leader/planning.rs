//! Planning: what a judgement wants planned, asked of the strategy, and what its answer leads to.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::around::{Around, Barred};
use super::facts::Difference;
use super::plan::{Brief, Target, candidates, input};
use super::{Leader, Leading, Work};
use crate::cx::Cx;
use crate::event::OpId;
use crate::id::{Revision, WorkerId};
use crate::notice::{FailedStep, Notice};
use crate::planted::Planted;
use crate::state::Cause;
use crate::strategy::{Plan, PlanError, PlanInput, WorkerTable};

impl Leader {
    /// Asks the strategy.
    pub(super) fn plan(
        &mut self,
        cx: &mut Cx<'_>,
        cause: Cause,
        lost: &[WorkerId],
        seen: &Difference,
    ) {
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
        let mut requests = self.requests();
        requests.truncate(most);
        let ended_holds = self.ended_holds(&config, cx.now, &requests);
        excluded.extend(ended_holds.keys().cloned());
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
        let mut input = input(
            &table,
            Arc::clone(&workers),
            &self.view,
            self.target.as_ref(),
        );
        input.waited = self.view.parking.waited(cx.now, cx.wall_ms());
        let mut triggers = seen.triggers(lost, &requests);
        triggers.extend(stuck.iter().map(|worker| alloc::format!("stuck {worker}")));
        let waited = self.view.parking.waited_enough(cx.now, cx.wall_ms());
        triggers.extend(waited.map(|needs| alloc::format!("waited for {needs}")));
        let ended = ended_holds.keys();
        triggers.extend(ended.map(|worker| alloc::format!("hold of {worker} ended")));
        let brief = Brief {
            cause,
            input,
            epochs,
            evictions,
            requests,
            triggers,
            ended_holds,
        };
        if workers.as_slice().iter().all(|worker| worker.capacity == 0) {
            // Nobody is left to own anything: everything is taken away, nothing is given.
            let plan = Plan::of_nobody(table.len());
            return self.begin(cx, brief, plan);
        }
        let question = brief.input.clone();
        self.ask_strategy(cx, Box::new(brief), None, question);
    }

    fn ask_strategy(
        &mut self,
        cx: &mut Cx<'_>,
        brief: Box<Brief>,
        around: Option<Box<Around>>,
        question: PlanInput,
    ) {
        let op = cx.plan(question);
        self.work = Work::Planning {
            op,
            brief,
            around,
            give_up: cx.now + cx.config().answer_bound(),
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
            around,
            ..
        } = &self.work
        else {
            return Leading::On;
        };
        if *expected != op {
            return Leading::On;
        }
        let (brief, around) = (brief.clone(), around.clone());
        self.work = Work::Idle;
        self.stirred = true;
        let around = match (around, result) {
            (Some(mut around), answer) => {
                // What the strategy cannot place elsewhere stays: that is no failure.
                around.answer(&brief.input, answer.ok().as_ref());
                around
            }
            (None, result) => {
                let checked = result.and_then(|plan| plan.check(&brief.input).map(|()| plan));
                match checked.and_then(|plan| unless_planted_to_fail(cx, plan)) {
                    Ok(plan) => Box::new(self.plan_around(&brief.input, plan)),
                    Err(error) => {
                        cx.notify(Notice::PlanFailed {
                            error: error.clone(),
                        });
                        self.fail(cx, FailedStep::Plan, alloc::format!("{error}"));
                        return Leading::On;
                    }
                }
            }
        };
        self.go_around(cx, brief, around);
        Leading::On
    }

    /// What the plan has to go around, if anything.
    fn plan_around(&mut self, input: &PlanInput, plan: Plan) -> Around {
        let barred = Barred::find(&self.view);
        self.planned_around = barred.movable(&self.view);
        Around::begin(&barred, input, plan)
    }

    /// Asks the strategy for what its plan gave to somebody who cannot process it; then commits.
    fn go_around(&mut self, cx: &mut Cx<'_>, brief: Box<Brief>, mut around: Box<Around>) {
        if let Some(question) = around.next(&brief.input) {
            return self.ask_strategy(cx, brief, Some(around), question);
        }
        let mut plan = around.finish(&brief.input);
        if brief.cause == Cause::Drain && cx.planted(Planted::MovesOnLeave) {
            plan.owners.rotate_left(1);
        }
        cx.step_done(FailedStep::Plan);
        let (cause, report) = (brief.cause, plan.report.clone());
        cx.notify(Notice::Planned { cause, report });
        self.begin(cx, *brief, plan);
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
        let table = &brief.input.partitions;
        let parked = self.view.parking.after(&plan.unmet, table, cx.wall_ms());
        let target = Target::new(cx.boot().strategy.clone(), brief, plan, parked);
        self.commit(cx, target, true, cause, evictions, requests);
    }

    /// Goes on towards the target with what has been acknowledged since.
    pub(super) fn go_on(&mut self, cx: &mut Cx<'_>) {
        let Some(target) = self.target.clone() else {
            return;
        };
        let (evictions, requests) = (BTreeMap::new(), Vec::new());
        self.commit(cx, target, false, Cause::Resume, evictions, requests);
    }
}

/// The plan; an error if it is planted that one partition without an owner fails it as a whole.
fn unless_planted_to_fail(cx: &Cx<'_>, plan: Plan) -> Result<Plan, PlanError> {
    if plan.report.unplaced > 0 && cx.planted(Planted::OneFailsAll) {
        return Err(PlanError::failed("a partition has nobody who may own it"));
    }
    Ok(plan)
}
