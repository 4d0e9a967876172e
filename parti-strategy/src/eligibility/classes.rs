//! Partitions grouped by who may own them, and groups that share no worker.
//!
//! What always holds: every class has a worker that may own, and two classes of different components
//! have no worker in common, so that components can be planned one by one.

use std::collections::BTreeMap;

use parti_core::{PlanError, PlanInput};

use crate::eligibility::{Eligibility, MAX_RULES};

/// Partitions that the same workers may own.
#[derive(Clone, Debug, Default)]
pub(super) struct Class {
    /// Their ranks, ascending.
    pub(super) ranks: Vec<u32>,
    /// The workers, by index.
    pub(super) allowed: Vec<bool>,
}

/// Groups the partitions into components of classes that compete for workers.
pub(super) fn components(
    rules: &Eligibility,
    input: &PlanInput,
) -> Result<Vec<Vec<Class>>, PlanError> {
    if rules.len() > MAX_RULES {
        return Err(PlanError::BadInput(format!(
            "{} eligibility rules; at most {MAX_RULES} are allowed",
            rules.len()
        )));
    }
    let workers = input.workers.as_slice();
    let satisfied: Vec<u64> = workers
        .iter()
        .map(|worker| rules.satisfied(worker))
        .collect();
    let mut by_mask: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    for (rank, partition) in (0_u32..).zip(input.partitions.as_slice()) {
        by_mask
            .entry(rules.mask(&partition.key))
            .or_default()
            .push(rank);
    }
    // Different rules can come down to the same workers.
    let mut by_workers: BTreeMap<Vec<bool>, Vec<u32>> = BTreeMap::new();
    for (mask, ranks) in by_mask {
        let may = |(own, worker): (&u64, &parti_core::WorkerInfo)| {
            worker.capacity > 0 && mask & !own == 0
        };
        let allowed: Vec<bool> = satisfied.iter().zip(workers).map(may).collect();
        if !allowed.contains(&true) {
            return Err(PlanError::Unplaceable {
                key: input.partitions.as_slice()[ranks[0] as usize].key.clone(),
                needs: rules.needs(mask),
            });
        }
        by_workers.entry(allowed).or_default().extend(ranks);
    }
    let classes = by_workers.into_iter().map(|(allowed, mut ranks)| {
        ranks.sort_unstable();
        Class { ranks, allowed }
    });
    Ok(connect(classes.collect(), workers.len()))
}

/// Joins classes that share workers, directly or through others.
fn connect(classes: Vec<Class>, workers: usize) -> Vec<Vec<Class>> {
    let mut components: Vec<(Vec<bool>, Vec<Class>)> = Vec::new();
    for class in classes {
        let shares = |other: &Vec<bool>| other.iter().zip(&class.allowed).any(|(a, b)| *a && *b);
        let (touched, apart): (Vec<_>, Vec<_>) = components
            .into_iter()
            .partition(|(workers, _)| shares(workers));
        let (mut all, mut members) = (vec![false; workers], Vec::new());
        for (theirs, classes) in touched {
            all.iter_mut()
                .zip(theirs)
                .for_each(|(all, own)| *all |= own);
            members.extend(classes);
        }
        all.iter_mut()
            .zip(&class.allowed)
            .for_each(|(all, own)| *all |= own);
        members.push(class);
        components = apart;
        components.push((all, members));
    }
    components.into_iter().map(|(_, classes)| classes).collect()
}
