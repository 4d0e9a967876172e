//! What of a plan nobody's record has room for: parked, alone, and named.
//!
//! Separate because it is the only limit on a plan that comes from the store. What always holds: a
//! worker that has a partition keeps it, however little the store takes now, and what does not fit
//! holds up nothing.

use alloc::vec;
use alloc::vec::Vec;

use crate::leader::planning::rejections::recount;
use crate::ports::store::StoreInfo;
use crate::ports::strategy::{NO_OWNER, ParkReason, Plan, PlanInput, Unmet};
use crate::records::assembly::{bound, capacity, largest};

/// The number of this need: that of a strategy is a digest or small.
const NEED: u64 = 0x726f_6f6d_0000_0001;

/// Takes from a plan what the records of its owners have no room for.
pub(crate) fn park_overflow(plan: &mut Plan, input: &PlanInput, info: &StoreInfo) {
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
    used.fill(0);
    let mut unplaced = Vec::new();
    // Who has it keeps it: that is stored already, and a limit may be lowered for a while only.
    for keeps in [true, false] {
        for (rank, size) in (0_u32..).zip(&sizes) {
            let Some(owner) = plan.owners.get_mut(rank as usize) else {
                continue;
            };
            let Some(used) = used.get_mut(*owner as usize) else {
                continue;
            };
            if (input.living_owner(rank) == Some(*owner)) != keeps {
                continue;
            }
            if keeps || (*size <= most && *used + size <= room) {
                *used += size;
            } else {
                *owner = NO_OWNER;
                unplaced.push(rank);
            }
        }
    }
    unplaced.sort_unstable();
    plan.report.unplaced += unplaced.len() as u32;
    recount(input, &plan.owners, &mut plan.report);
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
