//! The partitions of each worker, in one arena.
//!
//! Built by counting sort over the owners, for those workers that are asked for; a list is sorted by
//! weight when it is first needed. What always holds: lists are a snapshot, so users check the owner
//! of what they find.

use std::cmp::Reverse;

use crate::sticky::weighted::level::ByWeight;

/// Partitions grouped by owner.
#[derive(Debug, Default)]
pub(super) struct Members {
    // Weights lie beside the ranks: looking them up while sorting would miss the cache each time.
    entries: Vec<ByWeight>,
    starts: Vec<u32>,
    listed: Vec<bool>,
    sorted: Vec<bool>,
}

impl Members {
    /// Takes a snapshot of the workers that are wanted.
    pub(super) fn set(
        &mut self,
        workers: usize,
        owners: &[u32],
        weights: &[u64],
        is_wanted: impl Fn(u32) -> bool,
    ) {
        self.listed.clear();
        self.listed.extend((0..workers as u32).map(is_wanted));
        self.starts.clear();
        self.starts.resize(workers + 2, 0);
        for &owner in owners {
            if self.lists(owner) {
                self.starts[owner as usize + 1] += 1;
            }
        }
        for index in 1..self.starts.len() {
            self.starts[index] += self.starts[index - 1];
        }
        self.entries.clear();
        self.entries
            .resize(self.starts[workers] as usize, (Reverse(0), 0));
        for ((rank, &owner), &weight) in (0_u32..).zip(owners).zip(weights) {
            if self.lists(owner) {
                let start = &mut self.starts[owner as usize];
                self.entries[*start as usize] = (Reverse(weight), rank);
                *start += 1;
            }
        }
        // Each start has become the end of its list, which is the start of the next.
        self.starts.rotate_right(1);
        self.starts[0] = 0;
        self.sorted.clear();
        self.sorted.resize(workers, false);
    }

    /// Whether the snapshot has a worker.
    pub(super) fn lists(&self, worker: u32) -> bool {
        self.listed.get(worker as usize) == Some(&true)
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
