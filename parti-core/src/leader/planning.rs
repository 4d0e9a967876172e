//! Planning: what a judgement wants planned, asked of the strategy, and what its answer leads to.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::config::Config;
use crate::io::event::OpId;
use crate::io::notice::{FailedStep, Notice};
use crate::leader::Leader;
use crate::leader::committing::commit::Order;
use crate::leader::judging::facts::Difference;
use crate::leader::leadership::{Leadership, Work};
use crate::leader::planning::failed_everywhere::FailedEverywhere;
use crate::leader::planning::kept_out::KeptOut;
use crate::leader::planning::overflow::park_overflow;
use crate::leader::planning::rejections::{Barred, Reassignment};
use crate::leader::planning::target::{Brief, Judged, Target, candidates, held, input};
use crate::link::cx::Cx;
use crate::model::id::{Epoch, WorkerId};
use crate::model::state::Cause;
use crate::model::time::Instant;
use crate::planted::Planted;
use crate::ports::strategy::{Plan, PlanError, PlanInput, WorkerInfo, WorkerTable};
use crate::records::orders::Ordered;

pub(crate) mod adopted;
pub(crate) mod failed_everywhere;
pub(crate) mod in_force;
pub(crate) mod inherited;
pub(crate) mod kept_out;
pub(crate) mod listing;
pub(crate) mod overflow;
pub(crate) mod pins;
pub(crate) mod rejections;
pub(crate) mod target;

impl Leader {
    /// Asks the strategy.
    pub(crate) fn plan(
        &mut self,
        cx: &mut Cx<'_>,
        cause: Cause,
        lost: &[WorkerId],
        seen: &Difference,
    ) {
        let Some(table) = self.list.table.clone() else {
            return;
        };
        let config = cx.shared_config();
        let (mut stuck, mut postponed): (Vec<_>, Vec<_>) = self
            .knowledge
            .stuck(&config, cx.now)
            .into_iter()
            .partition(|worker| self.knowledge.postponed.is_due(cx.now, worker));
        // What does not fit into one commit is left to the next.
        let most = (self.limits.info.max_batch / 4).max(1);
        let lost = &lost[..lost.len().min(most)];
        let mut excluded = self.knowledge.excluded(cx.now);
        excluded.extend(stuck.iter().chain(&postponed).cloned());
        postponed.extend(stuck.drain(most.min(stuck.len())..));
        let mut requests = self.requests();
        requests.truncate(most);
        let ended_holds = self.knowledge.ended_holds(&config, cx.now, &requests);
        excluded.extend(ended_holds.keys().cloned());
        let evictions = self.evictions(cx, lost, &stuck);
        excluded.extend(evictions.keys().cloned());
        let (ordered, usable) = self.usable(&config, cx.now, &excluded);
        let epochs = usable
            .iter()
            .map(|(worker, (epoch, _))| (worker.clone(), *epoch))
            .collect();
        let workers = usable.into_values().map(|(_, info)| info).collect();
        let workers = match WorkerTable::new(workers) {
            Ok(workers) => Arc::new(workers),
            Err(error) => return self.fail(cx, FailedStep::Plan, alloc::format!("{error}")),
        };
        let (view, in_force) = (&self.knowledge.view, self.in_force.target());
        let mut input = input(&table, Arc::clone(&workers), view, in_force);
        input.waited = self.knowledge.view.parking.waited(cx.now, cx.wall_ms());
        input.budget = ordered.frozen.then_some(0);
        let cordoned = &ordered.cordoned;
        let kept_out = KeptOut::from_input(&config, view, &excluded, cordoned, &mut input);
        let mut triggers = seen.triggers(&evictions, &requests);
        let orders = &self.knowledge.view.orders;
        triggers.extend(orders.words(cx.now, &ordered));
        requests.extend(orders.over(cx.now).into_iter().take(most));
        triggers.extend(stuck.iter().map(|worker| alloc::format!("stuck {worker}")));
        let parking = &self.knowledge.view.parking;
        let waited = parking.waited_enough(cx.now, cx.wall_ms());
        triggers.extend(waited.map(|needs| alloc::format!("waited for {needs}")));
        let ended = ended_holds.keys();
        triggers.extend(ended.map(|worker| alloc::format!("hold of {worker} ended")));
        let brief = Brief {
            cause,
            input,
            kept_out,
            epochs,
            evictions,
            postponed,
            ordered,
            requests,
            triggers,
            ended_holds,
        };
        if workers.as_slice().iter().all(|worker| worker.capacity == 0) {
            // Nobody is left to own anything: everything is taken away, nothing is given.
            let plan = Plan::of_nobody(brief.input.partitions.len());
            return self.begin(cx, brief, plan);
        }
        let question = brief.input.clone();
        self.ask_strategy(cx, Box::new(brief), None, question);
    }

    /// Who may be planned for, as orders leave them: who is drained has no capacity, who is cordoned is no
    /// candidate. Held slots take nothing over from those.
    fn usable(
        &self,
        config: &Config,
        now: Instant,
        excluded: &BTreeSet<WorkerId>,
    ) -> (Ordered, BTreeMap<WorkerId, (Epoch, WorkerInfo)>) {
        let view = &self.knowledge.view;
        let mut usable = candidates(config, now, view, excluded);
        let takers = usable
            .iter()
            .filter(|(worker, (_, info))| info.capacity > 0 && view.active_epoch(worker).is_some());
        let ordered = view.ordered(now, takers.map(|(worker, _)| worker));
        usable.retain(|worker, _| !ordered.cordoned.contains(worker));
        for worker in &ordered.drained {
            if let Some((_, info)) = usable.get_mut(worker) {
                info.capacity = 0;
            }
        }
        (ordered, usable)
    }

    fn ask_strategy(
        &mut self,
        cx: &mut Cx<'_>,
        brief: Box<Brief>,
        reassignment: Option<Box<Reassignment>>,
        question: PlanInput,
    ) {
        let op = cx.plan(question);
        self.leadership = Leadership::Leading(Work::Planning {
            op,
            brief,
            reassignment,
            give_up: cx.now + cx.config().answer_bound(),
        });
    }

    fn evictions(
        &self,
        cx: &Cx<'_>,
        lost: &[WorkerId],
        stuck: &[WorkerId],
    ) -> BTreeMap<WorkerId, Judged> {
        let alive = stuck.iter().filter(|worker| !lost.contains(worker));
        let alive = alive.filter_map(|worker| {
            let session = self.knowledge.view.sessions.get(worker)?;
            let (epoch, revision) = (session.epoch(), session.revision);
            Some((worker.clone(), Judged::Stuck { epoch, revision }))
        });
        let silent = lost.iter().filter_map(|worker| {
            let session = self.knowledge.view.sessions.get(worker)?;
            let (revision, contact) = (session.revision, cx.link().contact());
            let lost_at = self
                .knowledge
                .lost_at(cx.config(), contact, worker, session);
            let judged = if lost_at <= cx.now || cx.planted(Planted::SuspicionIsSilence) {
                Judged::Silent { revision }
            } else {
                Judged::Suspected { revision }
            };
            Some((worker.clone(), judged))
        });
        silent.chain(alive).collect()
    }

    /// The strategy answered.
    pub(crate) fn on_planned(
        &mut self,
        cx: &mut Cx<'_>,
        op: OpId,
        result: Result<Plan, PlanError>,
    ) {
        let Leadership::Leading(Work::Planning {
            op: expected,
            brief,
            reassignment,
            ..
        }) = &self.leadership
        else {
            return;
        };
        if *expected != op {
            return;
        }
        let (brief, reassignment) = (brief.clone(), reassignment.clone());
        self.leadership.rest();
        let reassignment = match (reassignment, result) {
            (Some(mut reassignment), answer) => {
                // What the strategy cannot place elsewhere stays: that is no failure.
                reassignment.answer(&brief.input, answer.ok().as_ref());
                reassignment
            }
            (None, result) => {
                let checked = result.and_then(|plan| plan.check(&brief.input).map(|()| plan));
                match checked.and_then(|plan| unless_planted_to_fail(cx, plan)) {
                    Ok(plan) => {
                        let config = cx.shared_config();
                        Box::new(self.reassign(&config, &brief, plan))
                    }
                    Err(error) => {
                        cx.notify(Notice::PlanFailed {
                            error: error.clone(),
                        });
                        self.fail(cx, FailedStep::Plan, alloc::format!("{error}"));
                        return;
                    }
                }
            }
        };
        self.poll_reassignment(cx, brief, reassignment);
    }

    /// What the plan has to go around, if anything.
    fn reassign(&mut self, config: &Config, brief: &Brief, plan: Plan) -> Reassignment {
        let first = config.rejection_quarantine();
        let (input, ordered) = (&brief.input, &brief.ordered);
        let mut barred = Barred::find(&self.knowledge.view);
        self.in_force.reassign(barred.movable(&self.knowledge.view));
        let futile =
            FailedEverywhere::new(first, self.knowledge.view.parking.groups(), &input.waited);
        barred.try_again(&futile);
        let pins_count = !config.planted(Planted::PinIgnored);
        let wanted = Some(ordered).filter(|_| pins_count);
        Reassignment::begin(barred, futile, wanted, input, plan)
    }

    /// Asks the strategy for what its plan gave to somebody who cannot process it; then commits.
    fn poll_reassignment(
        &mut self,
        cx: &mut Cx<'_>,
        mut brief: Box<Brief>,
        mut reassignment: Box<Reassignment>,
    ) {
        if let Some(question) = reassignment.next(&brief.input) {
            if !cx.heard().is_heard() {
                // It is planned again when contact returns.
                return;
            }
            return self.ask_strategy(cx, brief, Some(reassignment), question);
        }
        brief.triggers.extend(reassignment.take_unobeyed());
        let mut plan = reassignment.finish(&brief.input);
        if brief.cause == Cause::Drain && cx.planted(Planted::MovesOnLeave) {
            plan.owners.rotate_left(1);
        }
        cx.step_done(FailedStep::Plan);
        let (cause, report) = (brief.cause, plan.report.clone());
        cx.notify(Notice::Planned { cause, report });
        if cx.heard().is_heard() {
            self.begin(cx, *brief, plan);
        }
    }

    /// Commits the first generation of a new target. What was judged may have changed while the plan
    /// was made: a worker that is not to be evicted any more keeps what it has, the rest of the plan goes on.
    fn begin(&mut self, cx: &mut Cx<'_>, mut brief: Brief, plan: Plan) {
        let config = cx.shared_config();
        let stuck = self.knowledge.stuck(&config, cx.now);
        let mut evictions = core::mem::take(&mut brief.evictions);
        let before = evictions.len();
        let mut keep = core::mem::take(&mut brief.postponed);
        evictions.retain(|worker, judged| {
            let due = self.is_still_due(cx, worker, *judged, &stuck);
            if !due {
                keep.push(worker.clone());
                let worker = worker.clone();
                cx.notify(Notice::EvictionCancelled { worker });
            }
            due
        });
        if evictions.len() < before && cx.planted(Planted::RenewalDropsPlan) {
            self.leadership.pause(cx.now + Duration::from_millis(1));
            return;
        }
        let mut plan = brief.kept_out.restore(&mut brief.input, plan);
        let kept_out = core::mem::take(&mut brief.kept_out.workers);
        let held = held(&self.knowledge.view, &brief.input);
        park_overflow(&mut plan, &brief.input, &held, &self.limits.info);
        self.limits.on_plan();
        let (cause, requests) = (brief.cause, brief.requests.clone());
        let table = &brief.input.partitions;
        let parked = self
            .knowledge
            .view
            .parking
            .after(&plan.unmet, table, cx.wall_ms());
        let mut target = Target::new(cx.boot().strategy.clone(), brief, plan, parked);
        let view = &self.knowledge.view;
        keep.retain(|worker| view.may_work(&config, worker));
        // What became of these meanwhile is found by comparing with this target.
        for worker in keep.iter().chain(&kept_out) {
            if let Some(record) = view.records.get(worker) {
                target.keep(view.info(worker), record);
            }
        }
        self.pin(&config, &mut target);
        target.unsure = self.knowledge.view.has_unread();
        let order = Order {
            target,
            begins: true,
            cause,
            evictions,
            requests,
        };
        self.commit(cx, order);
    }

    /// Whether what was judged of a worker holds now. Of a silent one, that its last write is the same
    /// and nothing was missed since; of a stuck one, that this incarnation still does not do what it
    /// is told, however often it renewed.
    fn is_still_due(
        &self,
        cx: &Cx<'_>,
        worker: &WorkerId,
        judged: Judged,
        stuck: &[WorkerId],
    ) -> bool {
        let Some(session) = self.knowledge.view.sessions.get(worker) else {
            return false;
        };
        match judged {
            Judged::Silent { revision } => {
                let lost_at =
                    self.knowledge
                        .lost_at(cx.config(), cx.link().contact(), worker, session);
                let early = cx.planted(Planted::SuspicionIsSilence);
                session.revision == revision && (lost_at <= cx.now || early)
            }
            Judged::Suspected { revision } => {
                let found = self.knowledge.suspicions(cx.config(), cx.now, cx.link());
                session.revision == revision && found.evict.contains(worker)
            }
            Judged::Stuck { epoch, revision } => {
                let same = session.epoch() == epoch && stuck.contains(worker);
                same && (session.revision == revision || !cx.planted(Planted::RenewalDropsPlan))
            }
        }
    }

    /// Goes on towards the target with what has been acknowledged since.
    pub(crate) fn go_on(&mut self, cx: &mut Cx<'_>) {
        let Some(target) = self.in_force.target().cloned() else {
            return;
        };
        let order = Order {
            target,
            begins: false,
            cause: Cause::Resume,
            evictions: BTreeMap::new(),
            requests: Vec::new(),
        };
        self.commit(cx, order);
    }
}

/// The plan; an error if it is planted that one partition without an owner fails it as a whole.
fn unless_planted_to_fail(cx: &Cx<'_>, plan: Plan) -> Result<Plan, PlanError> {
    if plan.report.unplaced > 0 && cx.planted(Planted::OneFailsAll) {
        return Err(PlanError::failed("a partition has nobody who may own it"));
    }
    Ok(plan)
}
