//! What of a plan nobody's record has room for: parked, alone, and named.
//!
//! Separate because it is the only limit on a plan that comes from the store. What always holds: a
//! worker that has a partition keeps it where there is no room elsewhere, however little the store takes
//! now, and what does not fit holds up nothing.

use alloc::vec;
use alloc::vec::Vec;

use crate::leader::planning::rejections::recount;
use crate::ports::store::StoreInfo;
use crate::ports::strategy::{NO_OWNER, ParkReason, Plan, PlanInput, Unmet};
use crate::records::assembly::{bound, capacity, largest};

/// The number of this need: that of a strategy is a digest or small.
const NEED: u64 = 0x726f_6f6d_0000_0001;

/// Takes from a plan what the records of its owners have no room for. `held` says who owns each partition
/// by the records, as an index of the workers.
pub(crate) fn park_overflow(plan: &mut Plan, input: &PlanInput, held: &[u32], info: &StoreInfo) {
    let partitions = input.partitions.as_slice();
    let most = largest(info);
    let sizes: Vec<usize> = partitions.iter().map(|p| bound(&p.key)).collect();
    let fitting = sizes.iter().copied().filter(|&size| size <= most);
    let room = capacity(info, fitting.max().unwrap_or(0));
    let mut used = vec![0_usize; input.workers.len()];
    let mut all_fits = sizes.iter().all(|&size| size <= most);
    for (&owner, &size) in plan.owners.iter().zip(&sizes) {
        if let Some(used) = used.get_mut(owner as usize) {
            *used += size;
            all_fits &= *used <= room;
        }
    }
    if all_fits {
        return;
    }
    // Who has it can keep it: that is stored already, and a limit may be lowered for a while only.
    let keeper = |rank: usize| {
        let holder = held.get(rank).copied();
        holder.filter(|&at| input.workers.get(at).is_some_and(|it| it.capacity > 0))
    };
    used.fill(0);
    for (rank, size) in sizes.iter().enumerate() {
        if let Some(holder) = keeper(rank) {
            used[holder as usize] += size;
        }
    }
    let mut unplaced = Vec::new();
    for moves in [true, false] {
        for (rank, (owner, size)) in plan.owners.iter_mut().zip(&sizes).enumerate() {
            let holder = keeper(rank);
            if *owner == NO_OWNER || holder == Some(*owner) || holder.is_some() != moves {
                continue;
            }
            let fits = *size <= most && used[*owner as usize] + size <= room;
            match (holder, fits) {
                (_, true) => used[*owner as usize] += size,
                (Some(holder), false) => *owner = holder,
                (None, false) => {
                    *owner = NO_OWNER;
                    unplaced.push(rank as u32);
                }
            }
            if let (Some(holder), true) = (holder, fits) {
                used[holder as usize] -= size;
            }
        }
    }
    recount(input, &plan.owners, &mut plan.report);
    if unplaced.is_empty() {
        return;
    }
    unplaced.sort_unstable();
    plan.report.unplaced += unplaced.len() as u32;
    plan.unmet.push(Unmet {
        reason: ParkReason::DoesNotFit,
        need: NEED,
        needs: alloc::format!(
            "room: use more workers, shorter keys or a larger payload limit; with values of {} bytes a \
             worker has room for {room} bytes of keys, one of them of {most} at most",
            info.max_value
        ),
        unplaced,
        again_after: None,
    });
}

#[cfg(test)]
mod tests;
