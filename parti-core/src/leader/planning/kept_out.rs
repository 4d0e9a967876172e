//! What a plan leaves alone: the partitions of living workers whose session cannot be read, or that an
//! operator wants to get nothing new.
//!
//! It is separate because strategies know nothing of it: while a worker of another release is updated,
//! neither its labels nor its capacity are known, so that any rule would have to guess. What always
//! holds: such a worker is no candidate and loses nothing, until it can be read or is gone; the strategy
//! sees a group without it and without what it has.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use crate::config::Config;
use crate::leader::knowledge::view::View;
use crate::model::id::WorkerId;
use crate::model::table::PartitionTable;
use crate::ports::strategy::{NO_OWNER, Plan, PlanInput};

/// What was kept out of a plan.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeptOut {
    /// The workers.
    pub(crate) workers: Vec<WorkerId>,
    /// The input with their partitions, and the ranks without them; `None` if they have none.
    whole: Option<(PlanInput, Vec<u32>)>,
}

impl KeptOut {
    /// Keeps the partitions of those that cannot be read, and of those that get nothing new, out of an
    /// input made without them.
    pub(crate) fn from_input(
        config: &Config,
        view: &View,
        excluded: &BTreeSet<WorkerId>,
        cordoned: &BTreeSet<WorkerId>,
        input: &mut PlanInput,
    ) -> Self {
        let unread = view.sessions.iter().filter(|(worker, session)| {
            let stays = session.record.is_none() || cordoned.contains(*worker);
            stays && view.may_work(config, worker) && !excluded.contains(*worker)
        });
        let workers: Vec<WorkerId> = unread.map(|(worker, _)| worker.clone()).collect();
        let records = workers.iter().filter_map(|worker| view.records.get(worker));
        let granted = records.flat_map(|record| &record.granted);
        let kept = granted.filter_map(|grant| input.partitions.rank_of(&grant.partition));
        let kept: BTreeSet<u32> = kept.collect();
        let whole = without(input, &kept).map(|(rest, ranks)| {
            let whole = core::mem::replace(input, rest);
            (whole, ranks)
        });
        Self { workers, whole }
    }

    /// The plan for all partitions, and its input: what was kept out has no owner in it yet.
    pub(crate) fn restore(&mut self, input: &mut PlanInput, mut plan: Plan) -> Plan {
        let Some((whole, ranks)) = self.whole.take() else {
            return plan;
        };
        let mut owners = vec![NO_OWNER; whole.partitions.len()];
        for (&rank, &owner) in ranks.iter().zip(&plan.owners) {
            owners[rank as usize] = owner;
        }
        let unplaced = plan.unmet.iter_mut().flat_map(|unmet| &mut unmet.unplaced);
        for rank in unplaced {
            *rank = ranks.get(*rank as usize).copied().unwrap_or(*rank);
        }
        plan.owners = owners;
        *input = whole;
        plan
    }
}

/// The input without some partitions, and the ranks it has in the one with them.
fn without(input: &PlanInput, kept: &BTreeSet<u32>) -> Option<(PlanInput, Vec<u32>)> {
    if kept.is_empty() {
        return None;
    }
    let all = input.partitions.as_slice();
    let ranks: Vec<u32> = (0..all.len() as u32)
        .filter(|rank| !kept.contains(rank))
        .collect();
    let partitions = ranks.iter().map(|&rank| all[rank as usize].clone());
    let partitions = PartitionTable::new(partitions.collect()).ok()?;
    let previous = ranks
        .iter()
        .filter_map(|&rank| input.previous.get(rank as usize).copied());
    let anchors = input.anchors.iter().filter_map(|(rank, worker)| {
        let place = ranks.binary_search(rank).ok()?;
        Some((place as u32, worker.clone()))
    });
    let warm = input.warm.iter();
    let warm = warm.filter_map(|rank| Some(ranks.binary_search(rank).ok()? as u32));
    let rest = PlanInput {
        partitions: Arc::new(partitions),
        workers: Arc::clone(&input.workers),
        previous: previous.collect(),
        departed: input.departed.clone(),
        anchors: anchors.collect(),
        budget: input.budget,
        waited: input.waited.clone(),
        warm: warm.collect(),
    };
    Some((rest, ranks))
}
