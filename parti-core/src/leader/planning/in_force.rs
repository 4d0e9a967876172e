//! The plan in force: how far the group is on the way to it, and what became of it.
//!
//! It is separate because some answers about it take a look at all partitions: they are found once per
//! plan and list, not for every heartbeat. What always holds: another plan or list forgets them.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::config::Config;
use crate::leader::judging::facts::basis;
use crate::leader::knowledge::Knowledge;
use crate::leader::knowledge::view::Fate;
use crate::leader::planning::listing::PartitionList;
use crate::leader::planning::target::{Target, imbalance, input};
use crate::model::id::{Version, WorkerId};
use crate::model::partition::PartitionKey;
use crate::model::table::PartitionTable;
use crate::model::time::Instant;
use crate::ports::strategy::{WorkerInfo, WorkerTable};
use crate::records::orders::Ordered;

/// The plan in force.
#[derive(Clone, Debug, Default)]
pub(crate) struct InForce {
    /// The orders it obeys.
    ordered: Ordered,
    /// Where it leads, unless an earlier leader made it.
    target: Option<Target>,
    /// When the handoff goes on, since something was acknowledged.
    advance_at: Option<Instant>,
    /// What it went around: partitions with those who must not be given them.
    reassigned: BTreeMap<PartitionKey, BTreeSet<WorkerId>>,
    /// Whether an earlier leader left partitions without an owner or on their way.
    unfinished: Option<bool>,
    /// Whether weights differ from those it was made with by enough to matter.
    weights_matter: Option<bool>,
}

impl InForce {
    pub(crate) const fn target(&self) -> Option<&Target> {
        self.target.as_ref()
    }

    /// The orders it obeys.
    pub(crate) const fn ordered(&self) -> &Ordered {
        &self.ordered
    }

    /// Another plan is in force.
    pub(crate) fn begin(&mut self, target: Target) {
        self.ordered = target.ordered.clone();
        self.target = Some(target);
        self.forget_comparison();
    }

    /// It does not know all partitions: it counts as one of an earlier leader.
    pub(crate) fn disown(&mut self) {
        self.target = None;
    }

    /// The list has changed.
    pub(crate) const fn forget_comparison(&mut self) {
        (self.unfinished, self.weights_matter) = (None, None);
    }

    /// What the next plan goes around.
    pub(crate) fn reassign(&mut self, movable: BTreeMap<PartitionKey, BTreeSet<WorkerId>>) {
        self.reassigned = movable;
    }

    /// Whether it went around all of these already.
    pub(crate) fn is_reassigned(
        &self,
        movable: &BTreeMap<PartitionKey, BTreeSet<WorkerId>>,
    ) -> bool {
        let known = |(key, by)| self.reassigned.get(key) == Some(by);
        movable.iter().all(known)
    }

    /// When the handoff goes on.
    pub(crate) const fn advance_at(&self) -> Option<Instant> {
        self.advance_at
    }

    /// The handoff goes on then, or earlier if that was so already. False if there is none.
    pub(crate) fn expect_advance(&mut self, at: Instant) -> bool {
        let any = self.target.is_some();
        if any {
            self.advance_at = Some(self.advance_at.map_or(at, |earlier| earlier.min(at)));
        }
        any
    }

    /// The handoff goes on now, or waits for something else.
    pub(crate) const fn advance(&mut self, next: Option<Instant>) {
        self.advance_at = next;
    }

    /// Finds what takes a look at all partitions and is not known yet.
    pub(crate) fn compare(&mut self, config: &Config, knowledge: &Knowledge, list: &PartitionList) {
        let Some(table) = &list.table else {
            return;
        };
        if self.unfinished.is_none() && self.target.is_none() && !knowledge.is_cold() {
            self.unfinished = Some(is_unfinished(config, knowledge, list, table));
        }
        if self.weights_matter.is_none() && self.weights_differ(knowledge, list) == Some(true) {
            let imbalance = self.imbalance(knowledge, table);
            self.weights_matter = Some(imbalance >= config.min_rebalance_threshold());
        }
    }

    /// Whether an earlier leader left partitions without an owner or on their way.
    pub(crate) fn is_unfinished(&self, knowledge: &Knowledge, list: &PartitionList) -> bool {
        let inherited = self.target.is_none() && !knowledge.is_cold() && list.table.is_some();
        inherited && self.unfinished == Some(true)
    }

    /// Whether the list has other partitions than the plan, and whether other weights that matter.
    pub(crate) fn list_changes(&self, knowledge: &Knowledge, list: &PartitionList) -> (bool, bool) {
        if list.table.is_none() || list.origin.is_partial() {
            return (false, false);
        }
        match self.weights_differ(knowledge, list) {
            None => (true, false),
            Some(differ) => (false, differ && self.weights_matter == Some(true)),
        }
    }

    /// Whether the list has other weights than the plan was made with; `None` if it has other
    /// partitions, or if there is no list that could tell.
    fn weights_differ(&self, knowledge: &Knowledge, list: &PartitionList) -> Option<bool> {
        let (table, head) = (list.table.as_ref()?, &knowledge.head);
        let other = table.digest() != head.digest || head.planned == Version::ZERO;
        // The plan in force may have been made with what the records named meanwhile.
        let planned = self.target.as_ref().map(|target| target.table.digest());
        let other = other || planned.is_some_and(|planned| planned != table.digest());
        let comparable = !other && !list.origin.is_partial();
        comparable.then(|| table.weights_digest() != head.weights_digest)
    }

    fn imbalance(&self, knowledge: &Knowledge, table: &Arc<PartitionTable>) -> f64 {
        let basis = basis(&knowledge.view, self.target.as_ref());
        let capacity = |worker: &WorkerId| {
            let record = knowledge.said(worker);
            record.map_or(1, |record| record.capacity)
        };
        let workers = basis.into_keys().map(|worker| WorkerInfo {
            capacity: capacity(&worker),
            ..WorkerInfo::new(worker)
        });
        let workers: Vec<WorkerInfo> = workers.collect();
        let Ok(workers) = WorkerTable::new(workers) else {
            return 0.0;
        };
        let workers = Arc::new(workers);
        let (shared, target) = (Arc::clone(&workers), self.target.as_ref());
        let now = input(table, shared, &knowledge.view, target);
        imbalance(table, &workers, &now.previous)
    }
}

fn is_unfinished(
    config: &Config,
    knowledge: &Knowledge,
    list: &PartitionList,
    table: &PartitionTable,
) -> bool {
    let (view, head) = (&knowledge.view, &knowledge.head);
    let (parked, unnamed) = view.parking.named();
    let mut known: BTreeSet<u32> = parked.filter_map(|key| table.rank_of(key)).collect();
    let mut on_the_way = false;
    for (worker, record) in &view.records {
        if view.fate(config, worker, record.epoch) == Fate::Living {
            on_the_way |= !(record.revoking.is_empty() && record.preparing.is_empty());
        }
        let granted = record.granted.iter();
        known.extend(granted.filter_map(|g| table.rank_of(&g.partition)));
    }
    // Of another list, what is missing is not unfinished but new.
    let same_list = table.digest() == head.digest || list.origin.is_partial();
    (on_the_way && head.unfinished > 0) || (same_list && known.len() + unnamed < table.len())
}
