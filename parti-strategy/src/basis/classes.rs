//! Workers grouped by capacity, so that loads can be compared in proportion to it with integers.
//!
//! Within a class the load alone decides; between classes loads are compared by cross-multiplication.
//! What always holds: workers of capacity 0 are in no class, and ties go to the lower index.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use parti_core::WorkerInfo;

/// The class of a worker that may own nothing.
pub(crate) const NO_CLASS: u32 = u32::MAX;

/// The distinct capacities of a group.
#[derive(Debug, Default)]
pub(crate) struct Classes {
    capacities: Vec<u32>,
    of: Vec<u32>,
}

impl Classes {
    /// Groups these workers.
    pub(crate) fn new(workers: &[WorkerInfo]) -> Self {
        let mut capacities = Vec::new();
        let mut last = 0;
        for capacity in workers.iter().map(|w| w.capacity).filter(|&c| c > 0) {
            if capacity != last {
                capacities.push(capacity);
                last = capacity;
            }
        }
        capacities.sort_unstable();
        capacities.dedup();
        let of = workers.iter().map(|worker| {
            if let [only] = capacities[..]
                && only == worker.capacity
            {
                return 0;
            }
            capacities
                .binary_search(&worker.capacity)
                .map_or(NO_CLASS, |index| index as u32)
        });
        let of = of.collect();
        Self { capacities, of }
    }

    /// The distinct capacities, ascending.
    pub(crate) fn capacities(&self) -> &[u32] {
        &self.capacities
    }

    /// The class of a worker, or [`NO_CLASS`].
    pub(crate) fn of(&self, worker: u32) -> u32 {
        self.of[worker as usize]
    }

    /// The workers that may own, with their classes.
    pub(crate) fn able(&self) -> impl Iterator<Item = (u32, u32)> + Clone + '_ {
        (0_u32..)
            .zip(self.of.iter().copied())
            .filter(|&(_, class)| class != NO_CLASS)
    }

    /// Compares `load / capacity` of two classes.
    pub(crate) fn compare(&self, left: (u64, u32), right: (u64, u32)) -> Ordering {
        if left.1 == right.1 {
            return left.0.cmp(&right.0);
        }
        let capacity = |class: u32| u128::from(self.capacities[class as usize]);
        (u128::from(left.0) * capacity(right.1)).cmp(&(u128::from(right.0) * capacity(left.1)))
    }
}

/// The workers by load, the emptiest first. Loads may only rise while it is in use.
#[derive(Debug, Default)]
pub(crate) struct Emptiest {
    heaps: Vec<BinaryHeap<Reverse<(u64, u32)>>>,
}

impl Emptiest {
    /// Starts over with these loads.
    pub(crate) fn set(&mut self, classes: &Classes, loads: &[u64]) {
        self.heaps.iter_mut().for_each(BinaryHeap::clear);
        if self.heaps.len() < classes.capacities.len() {
            self.heaps
                .resize_with(classes.capacities.len(), BinaryHeap::new);
        }
        for (class, heap) in (0..).zip(&mut self.heaps) {
            let members = classes.able().filter(|&(_, of)| of == class);
            heap.extend(members.map(|(worker, _)| Reverse((loads[worker as usize], worker))));
        }
    }

    /// The worker whose load in proportion to its capacity is least after taking `weight`.
    pub(crate) fn pick(&mut self, classes: &Classes, loads: &[u64], weight: u64) -> Option<u32> {
        let mut best: Option<((u64, u32), u32)> = None;
        for (class, heap) in (0_u32..).zip(&mut self.heaps) {
            let Some((load, worker)) = refreshed_top(heap, loads) else {
                continue;
            };
            let offer = (load.saturating_add(weight), class);
            let wins = best.is_none_or(|(other, rival)| {
                classes.compare(offer, other).then(worker.cmp(&rival)) == Ordering::Less
            });
            if wins {
                best = Some((offer, worker));
            }
        }
        best.map(|(_, worker)| worker)
    }
}

/// The top of a heap whose entries may show smaller loads than the workers have by now.
fn refreshed_top(heap: &mut BinaryHeap<Reverse<(u64, u32)>>, loads: &[u64]) -> Option<(u64, u32)> {
    loop {
        let mut top = heap.peek_mut()?;
        let (shown, worker) = top.0;
        let load = loads[worker as usize];
        if shown == load {
            return Some((load, worker));
        }
        *top = Reverse((load, worker));
    }
}

/// The workers by load, the fullest first.
#[derive(Debug, Default)]
pub(crate) struct Fullest {
    heaps: Vec<BinaryHeap<(u64, Reverse<u32>)>>,
}

impl Fullest {
    /// Starts over with these loads.
    pub(crate) fn set(&mut self, classes: &Classes, loads: &[u64]) {
        self.heaps.iter_mut().for_each(BinaryHeap::clear);
        if self.heaps.len() < classes.capacities.len() {
            self.heaps
                .resize_with(classes.capacities.len(), BinaryHeap::new);
        }
        for (class, heap) in (0..).zip(&mut self.heaps) {
            let members = classes.able().filter(|&(_, of)| of == class);
            heap.extend(members.map(|(worker, _)| (loads[worker as usize], Reverse(worker))));
        }
    }

    /// Takes out the worker with the highest load in proportion to its capacity.
    pub(crate) fn pop(&mut self, classes: &Classes) -> Option<u32> {
        let mut best: Option<((u64, u32), u32)> = None;
        for (class, heap) in (0_u32..).zip(&self.heaps) {
            let Some(&(load, Reverse(worker))) = heap.peek() else {
                continue;
            };
            let wins = best.is_none_or(|(other, rival)| {
                classes
                    .compare((load, class), other)
                    .then(rival.cmp(&worker))
                    == Ordering::Greater
            });
            if wins {
                best = Some(((load, class), worker));
            }
        }
        let ((_, class), worker) = best?;
        self.heaps[class as usize].pop();
        Some(worker)
    }

    /// Puts a worker back.
    pub(crate) fn push(&mut self, classes: &Classes, worker: u32, load: u64) {
        self.heaps[classes.of(worker) as usize].push((load, Reverse(worker)));
    }
}
