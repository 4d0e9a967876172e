//! Who owned what: one pass over the previous assignment.
//!
//! What always holds afterwards: every owner in the plan is a living worker or [`NO_OWNER`], and an
//! index that names nobody has been refused.

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

/// Copies the living owners into `owners` and counts the partitions of each worker.
pub(super) fn take(
    input: &PlanInput,
    owners: &mut Vec<u32>,
    counts: &mut Vec<u32>,
) -> Result<Census, PlanError> {
    let mut census = Census::default();
    let mut unknown = false;
    counts.clear();
    counts.resize(input.workers.len(), 0);
    owners.clear();
    if input.previous.is_empty() {
        owners.resize(input.partitions.len(), NO_OWNER);
        census.unowned = input.partitions.len() as u32;
        return Ok(census);
    }
    let known = input.workers.len() + input.departed.len();
    owners.extend(input.previous.iter().map(|&owner| {
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
    }));
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
        census.departed += dismiss(input, owners);
    }
    Ok(census)
}

/// Copies the living owners into `owners` and adds up the load of each worker.
pub(super) fn weigh(
    input: &PlanInput,
    owners: &mut Vec<u32>,
    loads: &mut Vec<u64>,
) -> Result<Burden, PlanError> {
    let mut burden = Burden::default();
    let mut unknown = false;
    loads.clear();
    loads.resize(input.workers.len(), 0);
    owners.clear();
    if input.previous.is_empty() {
        owners.resize(input.partitions.len(), NO_OWNER);
        burden.census.unowned = input.partitions.len() as u32;
        burden.unowned = input.partitions.total_weight();
        return Ok(burden);
    }
    let known = input.workers.len() + input.departed.len();
    owners.extend(input.previous.iter().zip(input.partitions.weights()).map(
        |(&owner, &weight)| {
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
        },
    ));
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
        burden.census.departed += dismiss(input, owners);
    }
    Ok(burden)
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
