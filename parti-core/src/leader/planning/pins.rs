//! Pins: partitions that are planned for where operators want them, as far as that is possible.
//!
//! It is separate because strategies know nothing of it: the strategy plans as ever, then it is asked
//! again for the partitions that are wanted elsewhere, with only the worker they are wanted at. What
//! always holds: rules of the strategy hold for those, too; what is not obeyed is said, with the reason.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::model::id::WorkerId;
use crate::model::partition::PartitionKey;
use crate::ports::strategy::{Plan, PlanInput};
use crate::records::orders::{Ordered, Wanted};

/// What becomes of the pins of one plan.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pinning {
    /// By worker: the ranks that it is to get.
    pub(crate) asked: BTreeMap<WorkerId, Vec<u32>>,
    /// What is not obeyed, and why.
    refused: Vec<String>,
}

impl Pinning {
    /// Finds what to ask the strategy for.
    pub(crate) fn find(
        ordered: &Ordered,
        input: &PlanInput,
        plan: &Plan,
        barred: impl Fn(&PartitionKey, &WorkerId) -> bool,
    ) -> Self {
        let mut pinning = Self::default();
        for (key, wanted) in &ordered.pins {
            let rank = input.partitions.rank_of(key);
            let Some(rank) = rank else {
                let why = format!("{key} is not in the list, or stays with a cordoned worker");
                pinning.refuse(key, wanted, &why);
                continue;
            };
            if let Some(why) = refusal(ordered, input, (key, rank), wanted, &barred) {
                pinning.refuse(key, wanted, &why);
                continue;
            }
            let planned = plan.owners.get(rank as usize).copied();
            let planned = planned.and_then(|owner| input.workers.get(owner));
            if planned.is_none_or(|owner| owner.id != wanted.worker) {
                let ranks = pinning.asked.entry(wanted.worker.clone()).or_default();
                ranks.push(rank);
            }
        }
        pinning
    }

    fn refuse(&mut self, key: &PartitionKey, wanted: &Wanted, why: &str) {
        let (name, to) = (if wanted.once { "move" } else { "pin" }, &wanted.worker);
        let said = format!("{name} of {key} to {to} is not obeyed: {why}");
        self.refused.push(said);
    }

    /// The strategy does not give a partition to the worker it is wanted at.
    pub(crate) fn forbidden(&mut self, key: &PartitionKey, to: &WorkerId) {
        self.refused.push(format!(
            "the order of {key} at {to} is not obeyed: the strategy does not allow it"
        ));
    }

    /// What is not obeyed, in words.
    pub(crate) fn take_words(&mut self) -> Vec<String> {
        core::mem::take(&mut self.refused)
    }
}

/// Why a partition cannot be where it is wanted, if that is known before the strategy is asked.
fn refusal(
    ordered: &Ordered,
    input: &PlanInput,
    (key, rank): (&PartitionKey, u32),
    wanted: &Wanted,
    barred: &impl Fn(&PartitionKey, &WorkerId) -> bool,
) -> Option<String> {
    let name = &wanted.worker;
    let to = input.workers.index_of(name);
    let takes = to.and_then(|to| input.workers.get(to));
    let owner = input.living_owner(rank);
    match takes.map(|worker| worker.capacity > 0) {
        _ if !ordered.admits(name) => Some(format!("{name} is drained or cordoned")),
        None => Some(format!("{name} is not there, or is quarantined")),
        Some(false) => Some(format!("{name} has no capacity")),
        Some(true) if barred(key, name) => Some(format!("{name} cannot process it")),
        Some(true) if ordered.frozen && owner.is_some() && owner != to => {
            Some("the group is frozen".to_string())
        }
        Some(true) => None,
    }
}
