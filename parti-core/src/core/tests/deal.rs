//! The strategy of the scripted worlds. Separate because it is no part of the world: it is pure.

use alloc::vec;

use crate::strategy::{Plan, PlanInput, Report};

/// Keeps what living owners have up to an even share and deals out the rest.
pub(super) fn deal(input: &PlanInput) -> Plan {
    let (workers, partitions) = (input.workers.len(), input.partitions.len());
    let share = partitions.div_ceil(workers);
    let mut loads = vec![0_usize; workers];
    let mut owners = vec![u32::MAX; partitions];
    for (rank, owner) in owners.iter_mut().enumerate() {
        if let Some(before) = input.living_owner(rank as u32)
            && loads[before as usize] < share
        {
            *owner = before;
            loads[before as usize] += 1;
        }
    }
    for owner in &mut owners {
        if *owner == u32::MAX {
            let least = (0..workers)
                .min_by_key(|&w| loads[w])
                .expect("there are workers");
            *owner = least as u32;
            loads[least] += 1;
        }
    }
    Plan {
        owners,
        report: Report {
            moved: 7,
            lower_bound: 5,
            ..Report::default()
        },
    }
}
