//! The partitions of each worker, in one arena.
//!
//! Built by counting sort over the owners; a worker's list is sorted by weight when it is first
//! needed. What always holds: lists are a snapshot, so users check the owner of what they find.

use std::cmp::Reverse;

use parti_core::NO_OWNER;

use crate::sticky::weighted::level::ByWeight;

/// Partitions grouped by owner.
#[derive(Debug, Default)]
pub(super) struct Members {
    // Weights lie beside the ranks: looking them up while sorting would miss the cache each time.
    entries: Vec<ByWeight>,
    starts: Vec<u32>,
    sorted: Vec<bool>,
}

impl Members {
    /// Takes a snapshot for this many workers.
    pub(super) fn set(&mut self, workers: usize, owners: &[u32], weights: &[u64]) {
        self.starts.clear();
        self.starts.resize(workers + 2, 0);
        // Partitions of nobody go to a list of their own behind the last worker.
        let slot = |owner: u32| {
            if owner == NO_OWNER {
                workers
            } else {
                owner as usize
            }
        };
        for &owner in owners {
            self.starts[slot(owner) + 1] += 1;
        }
        for index in 1..self.starts.len() {
            self.starts[index] += self.starts[index - 1];
        }
        self.entries.resize(owners.len(), (Reverse(0), 0));
        for ((rank, &owner), &weight) in (0_u32..).zip(owners).zip(weights) {
            let start = &mut self.starts[slot(owner)];
            self.entries[*start as usize] = (Reverse(weight), rank);
            *start += 1;
        }
        // Each start has become the end of its list, which is the start of the next.
        self.starts.rotate_right(1);
        self.starts[0] = 0;
        self.sorted.clear();
        self.sorted.resize(workers, false);
    }

    /// The partitions of a worker, heaviest first, then by rank.
    pub(super) fn by_weight(&mut self, worker: u32) -> &[ByWeight] {
        let worker = worker as usize;
        let list = self.starts[worker] as usize..self.starts[worker + 1] as usize;
        let list = &mut self.entries[list];
        if !self.sorted[worker] {
            list.sort_unstable();
            self.sorted[worker] = true;
        }
        list
    }
}
