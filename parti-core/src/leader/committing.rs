//! Committing: one generation as one conditional write, and what became of it.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::config::Mode;
use crate::io::event::{OpId, OpOwner};
use crate::io::notice::{FailedStep, Notice, StepDownReason};
use crate::leader::committing::commit::{Commit, Draft};
use crate::leader::committing::fitting::What;
use crate::leader::committing::ledger::{Step, advance};
use crate::leader::committing::slots::{Evictions, Seats};
use crate::leader::knowledge::view::Fate;
use crate::leader::planning::target::{Judged, Target};
use crate::leader::{Leader, Leading, Work};
use crate::link::attempt::Outcome;
use crate::link::cx::Cx;
use crate::model::id::{Revision, WorkerId};
use crate::model::state::Cause;
use crate::planted::Planted;
use crate::ports::store::{StoreError, StoreOp, StoreReply};
use crate::records::carried::Carried;
use crate::records::record::SessionStatus;

pub(crate) mod audit;
pub(crate) mod commit;
pub(crate) mod fitting;
pub(crate) mod ledger;
pub(crate) mod slots;

impl Leader {
    pub(crate) fn commit(
        &mut self,
        cx: &mut Cx<'_>,
        target: Target,
        begins: bool,
        cause: Cause,
        evictions: BTreeMap<WorkerId, Judged>,
        requests: Vec<crate::leader::Requested>,
    ) {
        let config = cx.shared_config();
        let evicting: Evictions = evictions
            .iter()
            .map(|(worker, judged)| (worker.clone(), judged.is_silent()))
            .collect();
        let rule = self.agreed(&config, cx.now);
        let mode = self.granting(&config, &rule);
        let seats = Seats::build(
            &config,
            cx.now,
            &self.view,
            &target,
            &evicting,
            (mode, &rule),
        );
        let version = self.next_version(cx);
        let anchor = |rank: u32| target.anchors.get(&rank).cloned();
        let unknown = !self.view.unaccounted(&config, cx.now).is_empty();
        let step = advance(
            config.unless_planted(Planted::DirectMove, mode, Mode::Overlap),
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
        let nothing = evictions.is_empty() && requests.is_empty() && step.changes.is_empty();
        let (said, limit) = (self.head.parked, self.info.max_value);
        let parked = self.view.parking.rewritten(&target.parked, said, limit);
        let first_look = cause == Cause::Parked && self.target.as_ref().is_none_or(|t| t.unsure);
        if begins && nothing && parked.is_none() && (first_look || !target.kept.is_empty()) {
            // Nothing is left of the plan but that it was made.
            cx.notify(Notice::PlanUnchanged { cause });
            self.target = Some(target);
            (self.unfinished, self.weights_matter, self.stirred) = (None, None, true);
            return self.expect_advance(cx);
        }
        let carried = self.carried_after(cx, &evictions);
        let write = self.next_write();
        let draft = Draft {
            write,
            worker: &self.worker,
            info: &self.info,
            format: self.view.format(cx),
            lease: config.lease(),
            base: (&self.head, self.head_revision),
            version,
            view: &self.view,
            target: &target,
            begins,
            cause,
            agreed: rule,
            seats: &seats,
            step,
            evictions,
            requests,
            carried,
            origin: self.origin,
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

    /// What the next leader is to go on with once these workers are evicted.
    fn carried_after(&self, cx: &Cx<'_>, evictions: &BTreeMap<WorkerId, Judged>) -> Carried {
        let mut bench = self.bench.clone();
        for (worker, _) in evictions.iter().filter(|(_, judged)| !judged.is_silent()) {
            bench.strike(cx.now, worker, cx.config().apply_timeout());
        }
        Carried {
            quarantined: bench.carried(cx.now),
            ..self.carried(cx.now)
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
                self.inform(info.clone());
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

    pub(crate) fn on_outcome(&mut self, cx: &mut Cx<'_>, outcome: Outcome) -> Leading {
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
                    Leading::Resigned(reason, head, revision)
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
    /// The view will tell; it is judged again after a moment.
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
        for worker in evicted {
            // The next plan must not fail for the same reason for ever.
            self.spared.refused(cx.config(), cx.now, &worker);
            cx.notify(Notice::EvictionAverted { worker });
        }
        self.fail(cx, FailedStep::Commit, alloc::format!("{error}"));
    }

    fn committed(&mut self, cx: &mut Cx<'_>, commit: Commit, revision: Revision) {
        cx.learn(commit.head.version);
        cx.adopt_format(commit.head.format);
        let transfers = commit.transfers(cx, &self.view);
        let before = core::mem::replace(&mut self.head, commit.head);
        self.head_revision = revision;
        (self.failures, self.advance_at) = (0, None);
        self.agreement_committed(cx, before.agreed);
        cx.step_done(FailedStep::Commit);
        if commit.granted > 0 {
            self.minding.placed();
        }
        self.backoff.reset();
        for (worker, record) in commit.evicted.iter() {
            self.view.evicted(cx.now, worker, record.clone());
            self.spared.forget(worker);
            if record.status == (SessionStatus::Evicted { silent: false }) {
                let first = cx.config().apply_timeout();
                self.bench.strike(cx.now, worker, first);
            }
        }
        for put in commit.puts {
            let worker = &put.worker;
            match &put.what {
                What::Written(record) => {
                    self.confirmations.expect(cx.now, worker, record.version);
                }
                What::Removed => self.confirmations.forget(worker),
                What::Mended => {}
            }
            self.view.wrote(revision, self.head.format, put);
        }
        if let Some(parked) = commit.parked {
            self.view.parking.tell(cx, &parked);
            self.view.parking.set(cx.now, parked);
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
}
