//! The partitions of each worker, in one arena.
//!
//! Built by counting sort over the owners; a worker's list is sorted by weight when it is first
//! needed. What always holds: lists are a snapshot, so users check the owner of what they find.

use std::cmp::Reverse;

use parti_core::NO_OWNER;

/// Ranks grouped by owner.
#[derive(Debug, Default)]
pub(super) struct Members {
    ranks: Vec<u32>,
    starts: Vec<u32>,
    sorted: Vec<bool>,
}

impl Members {
    /// Takes a snapshot for this many workers.
    pub(super) fn set(&mut self, workers: usize, owners: &[u32]) {
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
        self.ranks.resize(owners.len(), 0);
        for (rank, &owner) in (0_u32..).zip(owners) {
            let start = &mut self.starts[slot(owner)];
            self.ranks[*start as usize] = rank;
            *start += 1;
        }
        // Each start has become the end of its list, which is the start of the next.
        self.starts.rotate_right(1);
        self.starts[0] = 0;
        self.sorted.clear();
        self.sorted.resize(workers, false);
    }

    /// The partitions of a worker, heaviest first, then by rank.
    pub(super) fn by_weight(&mut self, worker: u32, weights: &[u64]) -> &[u32] {
        let worker = worker as usize;
        let list = self.starts[worker] as usize..self.starts[worker + 1] as usize;
        let list = &mut self.ranks[list];
        if !self.sorted[worker] {
            list.sort_unstable_by_key(|&rank| (Reverse(weights[rank as usize]), rank));
            self.sorted[worker] = true;
        }
        list
    }
}
