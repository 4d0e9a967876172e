//! From the view to the facts a judgement is about.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use crate::config::Config;
use crate::leader::Leader;
use crate::leader::judging::verdict::{Facts, ParkedFacts};
use crate::leader::knowledge::view::{Fate, View};
use crate::leader::planning::rejections::Barred;
use crate::leader::planning::target::{Judged, Requested, Target};
use crate::link::cx::Cx;
use crate::model::id::{Epoch, WorkerId};
use crate::model::time::Instant;
use crate::planted::Planted;
use crate::records::record::{SessionStatus, Verb};

/// The workers the assignment in force was made for.
pub(crate) fn basis(view: &View, target: Option<&Target>) -> BTreeMap<WorkerId, Epoch> {
    match target {
        Some(target) => target.epochs.clone(),
        None => view
            .records
            .iter()
            .map(|(worker, record)| (worker.clone(), record.epoch))
            .collect(),
    }
}

/// How the group differs from its basis.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) cut_off: Vec<WorkerId>,
    pub(crate) left: Vec<WorkerId>,
    pub(crate) replaced: Vec<WorkerId>,
    pub(crate) joined: Vec<(WorkerId, Epoch)>,
    /// When a held slot is given up, or an evicted worker's validity ends.
    pub(crate) next_end: Option<Instant>,
}

impl Difference {
    pub(crate) fn find(
        config: &Config,
        now: Instant,
        view: &View,
        basis: &BTreeMap<WorkerId, Epoch>,
        excluded: &BTreeSet<WorkerId>,
    ) -> Self {
        let mut difference = Self::default();
        for (worker, &epoch) in basis {
            difference.look_at(config, now, view, worker, epoch);
        }
        for (worker, session) in &view.sessions {
            let active = view.active_epoch(worker).is_some() && !excluded.contains(worker);
            if active && !basis.contains_key(worker) {
                difference.joined.push((worker.clone(), session.epoch()));
            }
        }
        difference
    }

    /// Workers that a plan left as they were wait for their share as joiners do.
    pub(crate) fn wait(&mut self, view: &View, kept: &BTreeSet<WorkerId>, out: &[WorkerId]) {
        let waiting = kept.iter().filter(|worker| !out.contains(worker));
        let waiting = waiting.filter_map(|w| Some((w.clone(), view.active_epoch(w)?)));
        self.joined.extend(waiting);
    }

    fn look_at(
        &mut self,
        config: &Config,
        now: Instant,
        view: &View,
        worker: &WorkerId,
        epoch: Epoch,
    ) {
        let session = view.sessions.get(worker);
        let status = session
            .and_then(|s| s.record.as_ref())
            .map(|record| record.status);
        match (view.fate(config, worker, epoch), status) {
            (Fate::Living, Some(SessionStatus::Draining)) => self.left.push(worker.clone()),
            (Fate::Living, _) => {}
            (Fate::Reserved { until }, _) if now < until => self.ends(until),
            (Fate::Ended | Fate::EndsAt(_), Some(SessionStatus::Active)) => {
                self.replaced.push(worker.clone())
            }
            (_, Some(SessionStatus::Evicted { .. } | SessionStatus::Suspected)) => {
                self.cut_off.push(worker.clone());
            }
            (Fate::Reserved { .. } | Fate::Ended | Fate::EndsAt(_), _) => {
                self.left.push(worker.clone());
            }
        }
    }

    fn ends(&mut self, at: Instant) {
        self.next_end = Some(self.next_end.map_or(at, |earlier| earlier.min(at)));
    }

    /// What led to a decision, in words.
    pub(crate) fn triggers(
        &self,
        evictions: &BTreeMap<WorkerId, Judged>,
        requests: &[Requested],
    ) -> Vec<String> {
        let name = |what: &'static str| move |worker: &WorkerId| alloc::format!("{what} {worker}");
        let lost = evictions
            .iter()
            .filter_map(|(worker, judged)| match judged {
                Judged::Silent { .. } => Some(name("lost")(worker)),
                Judged::Suspected { .. } => Some(name("suspected")(worker)),
                Judged::Stuck { .. } => None,
            });
        let mut triggers: Vec<String> = lost.collect();
        triggers.extend(self.cut_off.iter().map(name("evicted")));
        triggers.extend(self.left.iter().map(name("left")));
        triggers.extend(self.replaced.iter().map(name("replaced")));
        triggers.extend(self.joined.iter().map(|(worker, _)| name("joined")(worker)));
        triggers.extend(
            requests
                .iter()
                .map(|(verb, by, _)| alloc::format!("{} by {by}", verb.as_str())),
        );
        triggers
    }
}

impl Leader {
    /// How the group differs from the one the plan in force was made for.
    pub(crate) fn difference(&self, config: &Config, now: Instant) -> Difference {
        let (knowledge, target) = (&self.knowledge, self.in_force.target());
        let basis = basis(&knowledge.view, target);
        let cordoned = knowledge.ordered(config, now).cordoned;
        let mut excluded = knowledge.excluded(now);
        excluded.extend(cordoned.iter().cloned());
        let mut difference = Difference::find(config, now, &knowledge.view, &basis, &excluded);
        if let Some(target) = target {
            let mut stuck = knowledge.stuck(config, now);
            stuck.extend(cordoned);
            difference.wait(&knowledge.view, &target.kept, &stuck);
        }
        difference
    }

    /// The facts of this moment.
    pub(crate) fn facts(&self, cx: &Cx<'_>, difference: &Difference) -> Facts {
        let (config, now, knowledge) = (cx.config(), cx.now, &self.knowledge);
        let view = &knowledge.view;
        let cold = knowledge.is_cold();
        let (partitions_changed, weights_changed) =
            self.in_force.list_changes(knowledge, &self.list);
        let expiry = knowledge.next_expiry(config, now);
        let (frozen, parked) = (
            knowledge.ordered(config, now).frozen,
            knowledge.head.parked.count > 0,
        );
        Facts {
            now,
            in_contact: cx.heard().is_heard(),
            group: view.sessions.values().filter(|s| s.is_living()).count(),
            complete: knowledge.is_complete(config),
            cold: knowledge.joins.gathering().filter(|_| cold),
            silent: knowledge.silent(config, cx.link().contact()),
            suspicions: knowledge.suspicions(config, now, cx.link()),
            cut_off: !difference.cut_off.is_empty() || knowledge.has_stuck(config, now),
            left: !difference.left.is_empty(),
            replaced: !difference.replaced.is_empty(),
            unprocessed: !config.planted(Planted::IgnoredRejections)
                && self.has_movable_rejections(),
            manual: !self.requests().is_empty() || (!cold && self.has_new_orders(config, now)),
            resume: self.in_force.is_unfinished(knowledge, &self.list)
                || view.is_spoiled()
                || view.parking.is_spoiled(knowledge.head.parked)
                // Somebody has come who does not read what the group writes.
                || knowledge.head.format > view.format(cx),
            // A worker that waits for a share waits for the source.
            joined: knowledge
                .joins
                .window()
                .filter(|_| !self.list.origin.is_partial())
                // What is parked may wait for a joiner, and has no owner that could keep it.
                .filter(|_| !frozen || parked),
            parked: ParkedFacts {
                any: parked,
                // A group that begins again waits for nobody of the time before.
                until: self.parked_until(now, cx.wall_ms()).filter(|_| !cold),
            },
            partitions_changed,
            weights_changed: weights_changed && !frozen,
            last_rebalance: self.last_rebalance,
            restarting: self.judgement.verdict.restarting(),
            expires_at: expiry
                .into_iter()
                .chain(difference.next_end)
                .chain(self.in_force.advance_at().filter(|&at| at > now))
                .min(),
        }
    }

    /// When the strategy is to be asked again for what is parked. Whom the last leader planned without
    /// is not stored: the next one asks once, when it knows everybody's labels.
    fn parked_until(&self, now: Instant, wall_ms: u64) -> Option<Instant> {
        let unsure = self.in_force.target().is_none_or(|target| target.unsure);
        let (view, parked) = (&self.knowledge.view, self.knowledge.head.parked);
        let again = unsure && parked.count > 0 && !view.has_unread();
        let due = view.parking.due(now, wall_ms);
        if again { Some(now) } else { due }
    }

    /// Requests that the next generation can contain: triggers, and refreshes that were listed for.
    pub(crate) fn requests(&self) -> Vec<Requested> {
        let seen = self
            .knowledge
            .view
            .controls
            .iter()
            .filter(|((verb, worker), revision)| match verb {
                Verb::Trigger => true,
                Verb::Refresh => self
                    .list
                    .listed
                    .contains(&(*verb, worker.clone(), **revision)),
                // It is done by resigning.
                Verb::StepDown => false,
                // They are kept elsewhere.
                Verb::Drain | Verb::Cordon | Verb::Freeze | Verb::Pin | Verb::Evict => false,
            });
        seen.map(|((verb, worker), &revision)| (*verb, worker.clone(), revision))
            .collect()
    }

    /// Whether orders ask for something else than the plan in force was made for, or are over. A group
    /// that begins finds them in its first plan.
    fn has_new_orders(&self, config: &Config, now: Instant) -> bool {
        let (knowledge, view) = (&self.knowledge, &self.knowledge.view);
        let mut obeyed = self.in_force.ordered().clone();
        view.forget_done(&mut obeyed);
        let over = !view.orders.over(now).is_empty() || view.pins_left(now).is_some();
        over || knowledge.ordered(config, now) != obeyed
    }

    /// Whether something stuck could be tried by somebody it was not planned around for yet.
    fn has_movable_rejections(&self) -> bool {
        let view = &self.knowledge.view;
        let movable = Barred::find(view).movable(view);
        !self.in_force.is_reassigned(&movable)
    }
}

#[cfg(test)]
mod tests;
