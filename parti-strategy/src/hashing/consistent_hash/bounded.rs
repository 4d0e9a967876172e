//! Consistent hashing with bounded loads: who is full is skipped.
//!
//! Points of full workers are unlinked, with path halving, so that skipping them is nearly free.
//! What always holds: nobody exceeds its limit unless no worker has room for the partition.

use parti_core::{PlanInput, WorkerTable};

use crate::hashing::ring::{Point, Ring};

/// The loads while a ring is filled in canonical order.
pub(super) struct Fill<'a> {
    points: &'a [Point],
    workers: &'a WorkerTable,
    /// The next point, from each point on, whose worker may still have room.
    next: Vec<u32>,
    loads: Vec<u64>,
    limits: Vec<u64>,
    largest_limit: u64,
    lightest: u64,
}

impl<'a> Fill<'a> {
    /// An empty group; `capacity` is the sum of all capacities.
    pub(super) fn new(input: &'a PlanInput, capacity: u64, per_mille: u32, ring: &'a Ring) -> Self {
        // Equal weights are limited by count, or the rounding could leave some without room.
        let table = &input.partitions;
        let (amount, unit) = match table.uniform_weight() {
            Some(weight) => (table.len() as u64, weight),
            None => (table.total_weight(), 1),
        };
        let workers = input.workers.as_slice().iter();
        let limits: Vec<u64> = workers
            .map(|info| limit(amount, info.capacity, capacity, per_mille).saturating_mul(unit))
            .collect();
        Self {
            points: ring.points(),
            workers: &input.workers,
            next: (0..ring.points().len() as u32).collect(),
            loads: vec![0; input.workers.len()],
            largest_limit: limits.iter().copied().max().unwrap_or(0),
            limits,
            lightest: input
                .partitions
                .weights()
                .iter()
                .copied()
                .min()
                .unwrap_or(0),
        }
    }

    /// Places a partition that hashes to a point; returns its owner.
    pub(super) fn place(&mut self, point: usize, weight: u64) -> u32 {
        let worker = self
            .first_with_room(point, weight)
            .unwrap_or_else(|| self.least_loaded());
        self.loads[worker as usize] += weight;
        worker
    }

    fn first_with_room(&mut self, point: usize, weight: u64) -> Option<u32> {
        if weight > self.largest_limit {
            return None;
        }
        let mut first = self.find(point)?;
        let mut at = first;
        loop {
            let worker = self.points[at].worker;
            let room = self.limits[worker as usize].saturating_sub(self.loads[worker as usize]);
            if weight <= room {
                return Some(worker);
            }
            // A worker without room for the lightest partition has room for none: unlink the point.
            let after = if at + 1 == self.points.len() {
                0
            } else {
                at + 1
            };
            let is_unlinked = room < self.lightest;
            if is_unlinked {
                self.next[at] = after as u32;
            }
            let was_first = at == first;
            at = self.find(after)?;
            match (was_first, is_unlinked) {
                // An unlinked point is never met again: the round ends at its successor.
                (true, true) if at != first => first = at,
                _ if at == first => return None,
                _ => {}
            }
        }
    }

    /// The first linked point from here on; `None` when all are unlinked.
    fn find(&mut self, start: usize) -> Option<usize> {
        let mut at = start;
        for _ in 0..=self.points.len() {
            let next = self.next[at] as usize;
            if next == at {
                return Some(at);
            }
            let skip = self.next[next];
            self.next[at] = skip;
            at = next;
        }
        None
    }

    /// Least load in proportion to capacity; ties go to the lower index.
    fn least_loaded(&self) -> u32 {
        let able = (0_u32..)
            .zip(self.workers.as_slice())
            .filter(|(_, info)| info.capacity > 0);
        let least = able.min_by(|(a, left), (b, right)| {
            let scaled =
                |index: u32, other: u32| u128::from(self.loads[index as usize]) * u128::from(other);
            scaled(*a, right.capacity).cmp(&scaled(*b, left.capacity))
        });
        least.map_or(0, |(index, _)| index)
    }
}

/// `ceil((1 + per_mille / 1000) * total * own / all)`, or the largest number if that overflows.
fn limit(total: u64, own: u32, all: u64, per_mille: u32) -> u64 {
    let share = u128::from(total) * u128::from(own);
    let allowed = u128::from(per_mille) + 1000;
    let scaled = match share.checked_mul(allowed) {
        Some(product) => product.div_ceil(u128::from(all) * 1000),
        None => (share / u128::from(all))
            .saturating_mul(allowed)
            .div_ceil(1000),
    };
    u64::try_from(scaled).unwrap_or(u64::MAX)
}
