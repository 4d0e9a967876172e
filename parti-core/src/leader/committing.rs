//! Committing: one generation as one conditional write, and what became of it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::config::{Config, Mode};
use crate::io::event::{OpId, OpOwner};
use crate::io::notice::{FailedStep, Notice, StepDownReason};
use crate::leader::committing::commit::{Commit, Draft, Order};
use crate::leader::committing::ledger::{LedgerBug, Rules, Step, advance};
use crate::leader::committing::slots::{Evictions, Slots};
use crate::leader::knowledge::committed::Generation;
use crate::leader::knowledge::view::Fate;
use crate::leader::leadership::Written;
use crate::leader::planning::target::Judged;
use crate::leader::{Leader, Leading};
use crate::link::attempt::Outcome;
use crate::link::cx::Cx;
use crate::model::id::{Revision, Version, WorkerId};
use crate::model::state::Cause;
use crate::model::time::Instant;
use crate::planted::Planted;
use crate::ports::store::{StoreError, StoreOp, StoreReply};
use crate::records::agreement::Agreed;
use crate::records::carried::Carried;
use crate::records::record::SessionStatus;

pub(crate) mod audit;
pub(crate) mod commit;
pub(crate) mod fitting;
pub(crate) mod ledger;
pub(crate) mod moves;
pub(crate) mod settings;
pub(crate) mod slots;

/// The rule of the ledger that is broken, if a test asks for it.
fn planted(config: &Config) -> Option<LedgerBug> {
    if config.planted(Planted::PreparationHolds) {
        return Some(LedgerBug::PreparationHolds);
    }
    let early = config.planted(Planted::ReadyIsReleased);
    early.then_some(LedgerBug::GrantsAtOnce)
}

impl Leader {
    /// Sends the next generation on the way to a target, if there is anything to say.
    pub(crate) fn commit(&mut self, cx: &mut Cx<'_>, order: Order) {
        let config = cx.shared_config();
        let rule = self.knowledge.agreed(&config, cx.now);
        let version = self.knowledge.next_version(cx);
        let (slots, step) = self.next_step(&config, cx.now, version, (&order, &rule));
        if !order.begins && step.changes.is_empty() {
            return self.note_pending(cx, &slots, &step);
        }
        if self.says_nothing(cx.now, &order, &step) {
            cx.notify(Notice::PlanUnchanged { cause: order.cause });
            self.in_force.begin(order.target);
            self.leadership.rest();
            return self.expect_advance(cx);
        }
        let carried = self.carried_after(cx, &order.evictions);
        let write = self.author.next_write(&self.knowledge.head);
        let draft = Draft {
            write,
            worker: &self.knowledge.worker,
            info: &self.limits.info,
            format: self.knowledge.view.format(cx),
            lease: config.lease(),
            base: (&self.knowledge.head, self.knowledge.head_revision),
            version,
            view: &self.knowledge.view,
            target: &order.target,
            begins: order.begins,
            cause: order.cause,
            agreed: rule,
            slots: &slots,
            step,
            evictions: order.evictions,
            requests: order.requests,
            carried,
            origin: self.list.origin,
        };
        match draft.send(cx) {
            Ok(commit) => self.leadership.commit(commit),
            Err(reason) => {
                // The limits may have been raised since this process asked for them.
                self.limits.asking = Some(cx.store(OpOwner::Leader, StoreOp::Info));
                self.fail(cx, FailedStep::Commit, reason);
            }
        }
    }

    /// Who may hold what now, and the step from there.
    fn next_step(
        &self,
        config: &Config,
        now: Instant,
        version: Version,
        (order, rule): (&Order, &Agreed),
    ) -> (Slots, Step) {
        let (view, target) = (&self.knowledge.view, &order.target);
        let mode = self.knowledge.granting(config, rule);
        let evicting = order.evictions.iter();
        let evicting = evicting.map(|(worker, judged)| (worker.clone(), judged.ends_at_once(mode)));
        let evicting: Evictions = evicting.collect();
        let slots = Slots::build(config, now, view, target, &evicting, (mode, rule));
        let anchor = |rank: u32| target.anchors.get(&rank).cloned();
        let rules = Rules {
            mode: config.unless_planted(Planted::DirectMove, mode, Mode::Overlap),
            max_moves: config.max_moves_in_flight(),
            bug: planted(config),
        };
        let step = advance(
            rules,
            version,
            &slots.target,
            &slots.slots,
            slots.unknown_holders,
            &anchor,
        );
        (slots, step)
    }

    /// Whether nothing is left of a new plan but that it was made. One that only parks or unparks does
    /// say something, and so does one with another list: taken for nothing it would be made again for
    /// ever.
    fn says_nothing(&self, now: Instant, order: &Order, step: &Step) -> bool {
        let (head, target) = (&self.knowledge.head, &order.target);
        let removes = !order.requests.is_empty() || self.knowledge.view.pins_left(now).is_some();
        // The audit says of orders that are new whether they are obeyed, once.
        let said = order.target.ordered == *self.in_force.ordered();
        let moves = removes || !said || !(order.evictions.is_empty() && step.changes.is_empty());
        let first_look =
            order.cause == Cause::Parked && self.in_force.target().is_none_or(|t| t.unsure);
        let repeated = first_look || !target.kept.is_empty();
        let digests = (target.table.digest(), target.table.weights_digest());
        let same_list =
            self.list.origin.is_partial() || digests == (head.digest, head.weights_digest);
        let (parking, limit) = (&self.knowledge.view.parking, self.limits.info.max_value);
        let parks = || {
            parking
                .rewritten(&target.parked, head.parked, limit)
                .is_some()
        };
        order.begins && !moves && repeated && same_list && !parks()
    }

    /// What the next leader is to go on with once these workers are evicted.
    fn carried_after(&self, cx: &Cx<'_>, evictions: &BTreeMap<WorkerId, Judged>) -> Carried {
        let mut quarantine = self.knowledge.quarantine.clone();
        for (worker, _) in evictions.iter().filter(|(_, judged)| judged.is_stuck()) {
            quarantine.add(cx.now, worker, cx.config().apply_timeout());
        }
        let mut budget = self.knowledge.budget.clone();
        for (worker, judged) in evictions {
            if judged.status() == SessionStatus::Suspected {
                budget.spend(cx.config(), cx.now, worker);
            }
        }
        let (suspected, leases_decide) = budget.carried(cx.now);
        Carried {
            suspected,
            leases_decide,
            quarantined: quarantine.carried(cx.now),
            ..self.carried(cx.now)
        }
    }

    /// Nothing can be granted yet: evictions of living workers end by time, the rest by events.
    fn note_pending(&mut self, cx: &Cx<'_>, slots: &Slots, step: &Step) {
        if step.unfinished == 0 {
            return;
        }
        let ends = slots.workers.iter().filter_map(|worker| {
            let record = self.knowledge.view.records.get(worker)?;
            match self.knowledge.view.fate(cx.config(), worker, record.epoch) {
                Fate::EndsAt(at) | Fate::Reserved { until: at } => {
                    Some(at).filter(|&at| at > cx.now)
                }
                Fate::Living | Fate::Ended => None,
            }
        });
        let unknown = self
            .knowledge
            .view
            .unaccounted(cx.config(), cx.now, Mode::Exclusive);
        let next = ends.chain(unknown.into_values().flatten()).min();
        self.in_force.advance(next);
        if let Some(at) = next {
            self.judgement.hasten(at);
        }
    }

    /// An answer to a commit.
    pub(crate) fn on_store(
        &mut self,
        cx: &mut Cx<'_>,
        op: OpId,
        result: &Result<StoreReply, StoreError>,
    ) -> Leading {
        if self.limits.asking == Some(op) {
            self.limits.asking = None;
            if let Ok(StoreReply::Info(info)) = result {
                self.on_info(info.clone());
            }
            return Leading::On;
        }
        let attempt = self.leadership.attempt_mut();
        let outcome = attempt.map(|attempt| attempt.on_reply(cx, op, result));
        self.on_outcome(cx, outcome.unwrap_or(Outcome::Pending))
    }

    pub(crate) fn on_outcome(&mut self, cx: &mut Cx<'_>, outcome: Outcome) -> Leading {
        match outcome {
            Outcome::Pending => Leading::On,
            Outcome::Lost(_) if cx.planted(Planted::NeverYields) => {
                let until = cx.now + self.retry.backoff.next(cx.rng());
                self.leadership.pause(until);
                Leading::On
            }
            Outcome::Lost(entry) => Leading::Over(StepDownReason::Deposed, entry),
            Outcome::Won(revision) => match self.leadership.take_written() {
                Some(Written::Generation(commit)) => {
                    self.committed(cx, *commit, revision);
                    Leading::On
                }
                Some(Written::Resignation(reason, head)) => {
                    Leading::Resigned(reason, head, revision)
                }
                None => Leading::On,
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
        let commit = self.leadership.committing();
        let evicted = commit.map(|commit| commit.evicted.iter().map(|(worker, _)| worker.clone()));
        let evicted: Vec<WorkerId> = evicted.into_iter().flatten().collect();
        for worker in evicted {
            // The next plan must not fail for the same reason for ever.
            self.knowledge
                .postponed
                .refused(cx.config(), cx.now, &worker);
            cx.notify(Notice::EvictionCancelled { worker });
        }
        self.fail(cx, FailedStep::Commit, alloc::format!("{error}"));
    }

    fn committed(&mut self, cx: &mut Cx<'_>, commit: Commit, revision: Revision) {
        cx.learn(commit.head.version);
        cx.adopt_format(commit.head.format);
        let transfers = commit.transfers(cx, &self.knowledge.view);
        let written = Generation {
            head: commit.head,
            revision,
            puts: commit.puts,
            evicted: &commit.evicted,
            parked: commit.parked,
            requests: &commit.requests,
            pins: commit.pins,
        };
        let before = self.knowledge.on_committed(cx, written);
        self.retry.reset();
        self.in_force.advance(None);
        cx.step_done(FailedStep::Commit);
        if commit.granted > 0 {
            self.health.placed();
        }
        if self.knowledge.head.agreed.holds != before.holds {
            // What waits for the mode that holds now may be granted.
            self.expect_advance(cx);
        }
        if let Some(target) = commit.target {
            self.in_force.begin(target);
            self.last_rebalance = Some(cx.now);
        }
        if self.knowledge.head.unfinished > 0 {
            self.expect_advance(cx);
        }
        let head = &self.knowledge.head;
        cx.notify(Notice::Committed {
            version: head.version,
            term: head.term,
            cause: head.cause,
            granted: commit.granted,
            revoked: commit.revoked,
            evicted: commit
                .evicted
                .into_iter()
                .map(|(worker, _)| worker)
                .collect(),
            unfinished: head.unfinished as usize,
            transfers,
        });
    }
}
