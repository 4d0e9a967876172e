//! Who owned what: one pass over the previous assignment.
//!
//! What always holds: every owner found is a living worker or [`NO_OWNER`], and an index that
//! names nobody has been refused.

use parti_core::{NO_OWNER, PlanError, PlanInput, WorkerInfo};

use crate::basis::input::unknown_previous;

/// How many partitions have which kind of owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Census {
    /// Owned by a worker that may own no more: forced moves.
    pub(super) departed: u32,
    /// Owned by nobody so far: placing them is no move.
    pub(super) unowned: u32,
}

impl Census {
    /// Partitions that must be given to somebody.
    pub(super) const fn homeless(self) -> u32 {
        self.departed + self.unowned
    }
}

/// A census with weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Burden {
    /// The counts.
    pub(super) census: Census,
    /// The weight owned by workers that may own no more.
    pub(super) departed: u64,
    /// The weight owned by nobody so far.
    pub(super) unowned: u64,
}

/// What is found of each partition and worker.
#[derive(Debug)]
pub(super) struct Found<T> {
    /// The living owner of each partition, or [`NO_OWNER`].
    pub(super) owners: Vec<u32>,
    /// What each worker has: the number of its partitions, or their weight.
    pub(super) held: Vec<T>,
}

/// The living owners, the number of partitions of each worker, and the kinds of owner.
pub(super) fn take(input: &PlanInput) -> Result<(Found<u32>, Census), PlanError> {
    let mut census = Census::default();
    let mut unknown = false;
    let mut counts = vec![0; input.workers.len()];
    if input.previous.is_empty() {
        census.unowned = input.partitions.len() as u32;
        let owners = vec![NO_OWNER; input.partitions.len()];
        let held = counts;
        return Ok((Found { owners, held }, census));
    }
    let known = input.workers.len() + input.departed.len();
    let owners = input.previous.iter().map(|&owner| {
        if let Some(count) = counts.get_mut(owner as usize) {
            *count += 1;
            return owner;
        }
        match owner {
            NO_OWNER => census.unowned += 1,
            _ if (owner as usize) < known => census.departed += 1,
            _ => unknown = true,
        }
        NO_OWNER
    });
    let mut owners: Vec<u32> = owners.collect();
    if unknown {
        return Err(unknown_previous(input));
    }
    let held = |(info, count): &(&WorkerInfo, &mut u32)| info.capacity == 0 && **count > 0;
    let mut dismissed = 0;
    for (_, count) in input
        .workers
        .as_slice()
        .iter()
        .zip(counts.iter_mut())
        .filter(held)
    {
        dismissed += core::mem::take(count);
    }
    if dismissed > 0 {
        census.departed += dismiss(input, &mut owners);
    }
    let held = counts;
    Ok((Found { owners, held }, census))
}

/// The living owners, the load of each worker, and the kinds of owner.
pub(super) fn weigh(input: &PlanInput) -> Result<(Found<u64>, Burden), PlanError> {
    let mut burden = Burden::default();
    let mut unknown = false;
    let mut loads = vec![0; input.workers.len()];
    if input.previous.is_empty() {
        burden.census.unowned = input.partitions.len() as u32;
        burden.unowned = input.partitions.total_weight();
        let owners = vec![NO_OWNER; input.partitions.len()];
        let held = loads;
        return Ok((Found { owners, held }, burden));
    }
    let known = input.workers.len() + input.departed.len();
    let pairs = input.previous.iter().zip(input.partitions.weights());
    let owners = pairs.map(|(&owner, &weight)| {
        if let Some(load) = loads.get_mut(owner as usize) {
            *load += weight;
            return owner;
        }
        match owner {
            NO_OWNER => {
                burden.census.unowned += 1;
                burden.unowned += weight;
            }
            _ if (owner as usize) < known => {
                burden.census.departed += 1;
                burden.departed += weight;
            }
            _ => unknown = true,
        }
        NO_OWNER
    });
    let mut owners: Vec<u32> = owners.collect();
    if unknown {
        return Err(unknown_previous(input));
    }
    let held = |(info, load): &(&WorkerInfo, &mut u64)| info.capacity == 0 && **load > 0;
    let mut dismissed = 0;
    for (_, load) in input
        .workers
        .as_slice()
        .iter()
        .zip(loads.iter_mut())
        .filter(held)
    {
        dismissed += core::mem::take(load);
    }
    if dismissed > 0 {
        burden.departed += dismissed;
        burden.census.departed += dismiss(input, &mut owners);
    }
    let held = loads;
    Ok((Found { owners, held }, burden))
}

/// Takes their partitions from workers of capacity 0, which may keep nothing; returns how many.
fn dismiss(input: &PlanInput, owners: &mut [u32]) -> u32 {
    let mut dismissed = 0;
    for owner in owners {
        if input
            .workers
            .get(*owner)
            .is_some_and(|info| info.capacity == 0)
        {
            *owner = NO_OWNER;
            dismissed += 1;
        }
    }
    dismissed
}
