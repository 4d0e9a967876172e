//! The stateless target: where partitions would be if the group had never changed.
//!
//! It is the hash ring, levelled. What always holds: it depends on the sets of workers and
//! partitions alone, so a group that returns to an earlier membership finds back to it.

use parti_core::{PlanError, PlanInput};

use crate::hashing::ring::{Ring, RingShape, Scale};
use crate::sticky::quota::Quotas;

/// Few points a worker: the target is levelled anyway, and a small ring is cheap to rebuild.
const SHAPE: RingShape = RingShape {
    virtual_nodes: 16,
    seed: 0,
    scale: Scale::Mean,
};

/// The owner of each partition on the hash ring.
pub(super) fn on_ring(input: &PlanInput) -> Result<Vec<u32>, PlanError> {
    let ring = Ring::of(&input.workers, SHAPE)?;
    Ok(ring.owners(input.partitions.hashes()))
}

/// Levels homes to the quotas in canonical order; returns what each worker is due then.
pub(super) fn level(quotas: &Quotas, workers: usize, homes: &mut [u32]) -> Vec<u32> {
    let mut counts = vec![0; workers];
    for &home in homes.iter() {
        counts[home as usize] += 1;
    }
    let dues = quotas.dues(&counts, 1, |_, _| 0);
    let (mut shed, mut need) = differences(&counts, &dues);
    let mut left: u32 = shed.iter().sum();
    let mut taker = 0;
    for home in homes {
        let shed = &mut shed[*home as usize];
        if *shed == 0 {
            continue;
        }
        if left == 0 {
            break;
        }
        while need[taker] == 0 {
            taker += 1;
        }
        (*shed, left) = (*shed - 1, left - 1);
        need[taker] -= 1;
        *home = taker as u32;
    }
    dues
}

/// What each worker has too many, and too few.
pub(super) fn differences(counts: &[u32], dues: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let pairs = counts.iter().zip(dues);
    let difference = |(&count, &due): (&u32, &u32)| {
        (
            u32::saturating_sub(count, due),
            u32::saturating_sub(due, count),
        )
    };
    pairs.map(difference).unzip()
}
