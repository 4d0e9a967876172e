//! Partitions grouped by who may own them, and groups that share no worker.
//!
//! What always holds: every class has a worker that may own, and two classes of different components
//! have no worker in common, so that components can be planned one by one. Partitions that nobody
//! may own are in no class.

use core::time::Duration;
use std::collections::BTreeMap;

use parti_core::{ParkReason, PlanError, PlanInput, Unmet};

use crate::sticky::eligibility::{Eligibility, MAX_RULES};

/// Partitions that the same workers may own.
#[derive(Clone, Debug, Default)]
pub(super) struct Class {
    /// Their ranks, ascending.
    pub(super) ranks: Vec<u32>,
    /// The workers, by index.
    pub(super) allowed: Vec<bool>,
}

/// What the rules make of a group.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    /// Classes that compete for workers, together.
    pub(super) components: Vec<Vec<Class>>,
    /// What nobody offers, and the partitions that have no owner for it.
    pub(super) unmet: Vec<Unmet>,
}

/// Sorts the partitions into components of classes that compete for workers, and those that nobody
/// may own.
pub(super) fn sort(rules: &Eligibility, input: &PlanInput) -> Result<Sorted, PlanError> {
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
    let allowed = |mask: u64| -> Vec<bool> {
        let able = workers.iter().map(|worker| worker.capacity > 0);
        let meets = satisfied.iter().map(|own| mask & !own == 0);
        able.zip(meets).map(|(able, meets)| able && meets).collect()
    };
    let mut by_mask: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    for (rank, partition) in (0_u32..).zip(input.partitions.as_slice()) {
        let mask = rules.mask(&partition.key);
        by_mask.entry(mask).or_default().push(rank);
    }
    // Different rules can come down to the same workers.
    let mut by_workers: BTreeMap<Vec<bool>, Vec<u32>> = BTreeMap::new();
    let mut unmet = Vec::new();
    for (mask, ranks) in by_mask {
        let open = offer(rules, mask, &allowed);
        let mut placed = open.place(rules, mask, input, ranks, &mut unmet);
        if let Some(workers) = open.workers {
            by_workers.entry(workers).or_default().append(&mut placed);
        }
    }
    let classes = by_workers
        .into_iter()
        .filter(|(_, ranks)| !ranks.is_empty());
    let classes = classes.map(|(allowed, mut ranks)| {
        ranks.sort_unstable();
        Class { ranks, allowed }
    });
    Ok(Sorted {
        components: connect(classes.collect(), workers.len()),
        unmet,
    })
}

/// Who may own the partitions of a mask, and from when on.
struct Offer {
    /// How long the soft rules must have been unmet.
    after: Duration,
    /// `None`: nobody, however long they wait.
    workers: Option<Vec<bool>>,
    /// Whether every rule is met, soft ones included.
    is_whole: bool,
}

/// The strictest level at which there is somebody.
fn offer(rules: &Eligibility, mask: u64, allowed: &dyn Fn(u64) -> Vec<bool>) -> Offer {
    let levels = rules.levels(mask).into_iter();
    let mut filled = levels.filter_map(|(after, asked)| {
        let workers = allowed(asked);
        workers.contains(&true).then_some((after, asked, workers))
    });
    match filled.next() {
        Some((after, asked, workers)) => Offer {
            after,
            workers: Some(workers),
            is_whole: asked == mask,
        },
        None => Offer {
            after: Duration::MAX,
            workers: None,
            is_whole: false,
        },
    }
}

impl Offer {
    /// Splits the partitions of a mask: those that are placed are returned, the others are noted as
    /// unplaced. Those whose owner lives and is among the offered stay in the plan at once: taking
    /// them away to wait would help nobody, and who was placed so before need not wait again.
    fn place(
        &self,
        rules: &Eligibility,
        mask: u64,
        input: &PlanInput,
        ranks: Vec<u32>,
        unmet: &mut Vec<Unmet>,
    ) -> Vec<u32> {
        if self.is_whole {
            return ranks;
        }
        let need = rules.need(mask);
        let waited = input.waited.get(&need).copied().unwrap_or_default();
        let (placed, unplaced) = match &self.workers {
            Some(_) if waited >= self.after => (ranks, Vec::new()),
            Some(workers) => ranks.into_iter().partition(|&rank| {
                let owner = input.living_owner(rank);
                owner.is_some_and(|owner| workers[owner as usize])
            }),
            None => (Vec::new(), ranks),
        };
        let waits = self.workers.is_some() && !unplaced.is_empty();
        unmet.push(Unmet {
            reason: match self.workers {
                Some(_) => ParkReason::AwaitsPreferred,
                None => ParkReason::NoEligibleWorker,
            },
            need,
            needs: rules.needs(mask),
            unplaced,
            again_after: waits.then_some(self.after),
        });
        placed
    }
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
