//! The stateless target: where partitions would be if the group had never changed.
//!
//! It is the hash ring, levelled. What always holds: it depends on the sets of workers and
//! partitions alone, so a group that returns to an earlier membership finds back to it.

use std::sync::Arc;

use parti_core::{PartitionTable, PlanError, WorkerTable};

use crate::basis::scratch::Scratch;
use crate::hashing::ring::{RingShape, Scale};
use crate::sticky::quota::Quotas;

/// Few points a worker: the target is levelled anyway, and a small ring is cheap to rebuild.
const SHAPE: RingShape = RingShape {
    virtual_nodes: 16,
    seed: 0,
    scale: Scale::Mean,
};

/// The owner of each partition on the hash ring.
pub(super) fn on_ring(
    partitions: &PartitionTable,
    workers: &Arc<WorkerTable>,
    scratch: &mut Scratch,
    homes: &mut Vec<u32>,
) -> Result<(), PlanError> {
    let ring = scratch.ring(workers, SHAPE)?;
    homes.clear();
    ring.extend_owners(partitions.hashes(), homes);
    Ok(())
}

/// Buffers of [`level`].
#[derive(Debug, Default)]
pub(super) struct Levelling {
    counts: Vec<u32>,
    dues: Vec<u32>,
    shed: Vec<u32>,
    need: Vec<u32>,
}

impl Levelling {
    /// Levels homes to the quotas in canonical order.
    pub(super) fn level(&mut self, quotas: &Quotas, workers: usize, homes: &mut [u32]) {
        self.counts.clear();
        self.counts.resize(workers, 0);
        for &home in homes.iter() {
            self.counts[home as usize] += 1;
        }
        quotas.dues(&self.counts, 1, |_, _| 0, &mut self.dues);
        differences(&self.counts, &self.dues, &mut self.shed, &mut self.need);
        let mut left: u32 = self.shed.iter().sum();
        let mut taker = 0;
        for home in homes {
            let shed = &mut self.shed[*home as usize];
            if *shed == 0 {
                continue;
            }
            if left == 0 {
                return;
            }
            while self.need[taker] == 0 {
                taker += 1;
            }
            (*shed, left) = (*shed - 1, left - 1);
            self.need[taker] -= 1;
            *home = taker as u32;
        }
    }

    /// What each worker is due in the levelled target.
    pub(super) fn dues(&self) -> &[u32] {
        &self.dues
    }
}

/// What each worker has too many, and too few.
pub(super) fn differences(counts: &[u32], dues: &[u32], shed: &mut Vec<u32>, need: &mut Vec<u32>) {
    shed.clear();
    need.clear();
    for (&count, &due) in counts.iter().zip(dues) {
        shed.push(count.saturating_sub(due));
        need.push(due.saturating_sub(count));
    }
}
