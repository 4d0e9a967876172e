//! The water level: the load per unit of capacity to which everything but giants can be levelled.
//!
//! A giant is a partition heavier than the level times the largest capacity: nobody can hold it and
//! be level, so each gets a worker of its own and both are left out of the level. What always holds:
//! fewer giants than workers, so there is a level; all integers, products in 128 bits.

use std::cmp::Reverse;

use parti_core::WorkerInfo;

use crate::basis::classes::Classes;

/// A partition, ordered by weight from heavy to light, then by rank.
pub(super) type ByWeight = (Reverse<u64>, u32);

/// Finds the giants, heaviest first.
#[derive(Debug, Default)]
pub(super) struct Giants {
    found: Vec<ByWeight>,
    capacities: Vec<Reverse<u32>>,
}

impl Giants {
    /// The giants found last.
    pub(super) fn found(&self) -> &[ByWeight] {
        &self.found
    }

    /// Searches; `total` is the sum of weights, `capacity` that of the capacities.
    pub(super) fn find(
        &mut self,
        weights: &[u64],
        heaviest: u64,
        total: u64,
        workers: &[WorkerInfo],
        capacity: u64,
    ) {
        self.found.clear();
        let largest = workers.iter().map(|w| w.capacity).max().unwrap_or(0);
        let mut cut = share(total, largest, capacity);
        if heaviest <= cut {
            return;
        }
        self.capacities.clear();
        self.capacities
            .extend(workers.iter().map(|w| Reverse(w.capacity)));
        self.capacities.sort_unstable();
        // Each giant lowers the level, which can make further giants; a generous cut saves passes.
        loop {
            cut /= 4;
            self.found.clear();
            self.found.extend(
                (0_u32..)
                    .zip(weights)
                    .filter(|&(_, &w)| w > cut)
                    .map(|(r, &w)| (Reverse(w), r)),
            );
            self.found.sort_unstable();
            let count = self.count(total, capacity);
            if count < self.found.len() || cut == 0 {
                return self.found.truncate(count);
            }
        }
    }

    /// How many of the candidates are giants if each goes to the largest worker left.
    fn count(&self, total: u64, capacity: u64) -> usize {
        let (mut weight, mut room) = (u128::from(total), u128::from(capacity));
        for (index, (Reverse(giant), _)) in self.found.iter().enumerate() {
            let Some(&Reverse(own)) = self.capacities.get(index) else {
                return index;
            };
            let (giant, own) = (u128::from(*giant), u128::from(own));
            if giant * room <= weight * own || room <= own {
                return index;
            }
            weight -= giant;
            room -= own;
        }
        self.found.len()
    }
}

/// `total * own / all`, rounded down; never more than `total`.
fn share(total: u64, own: u32, all: u64) -> u64 {
    (u128::from(total) * u128::from(own) / u128::from(all)) as u64
}

/// The loads that are fine for a worker of one capacity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Band {
    /// Below this, a worker that takes part in a change wants more.
    pub(super) low: u64,
    /// What a starving worker is filled to.
    pub(super) middle: u64,
    /// The level itself, rounded up.
    pub(super) level: u64,
    /// Above this, a worker that takes part in a change wants less.
    pub(super) high: u64,
    /// Below this something is done.
    pub(super) low_trigger: u64,
    /// Above this something is done.
    pub(super) high_trigger: u64,
}

/// How far loads may differ from the level, in thousandths of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tolerance {
    /// Where loads are brought to.
    pub(crate) goal: u32,
    /// Where something is done; at least `goal`.
    pub(crate) trigger: u32,
}

/// The level `weight / capacity` and the bands around it.
#[derive(Debug, Default)]
pub(super) struct Bands {
    of_class: Vec<Band>,
    /// The level per unit of capacity, rounded down.
    pub(super) level: u64,
}

impl Bands {
    /// Recomputes the bands; `capacity` must not be 0.
    pub(super) fn set(&mut self, classes: &Classes, weight: u64, capacity: u64, by: Tolerance) {
        let (goal, trigger) = (u128::from(by.goal), u128::from(by.trigger.max(by.goal)));
        self.level = weight / capacity;
        self.of_class.clear();
        self.of_class
            .extend(classes.capacities().iter().map(|&own| {
                let (own, all) = (u128::from(weight) * u128::from(own), u128::from(capacity));
                let down = |thousandths: u128| clamp(own * thousandths / (all * 1000));
                let up = |thousandths: u128| clamp((own * thousandths).div_ceil(all * 1000));
                Band {
                    low: down(1000_u128.saturating_sub(goal)),
                    middle: down(1000_u128.saturating_sub(goal / 2)),
                    level: up(1000),
                    high: up(1000 + goal),
                    low_trigger: down(1000_u128.saturating_sub(trigger)),
                    high_trigger: up(1000 + trigger),
                }
            }));
    }

    /// Makes goals the triggers, for a plan in which every move is free.
    pub(super) fn act_on_goals(&mut self) {
        for band in &mut self.of_class {
            (band.low_trigger, band.high_trigger) = (band.low, band.high);
        }
    }

    /// The band of a class.
    pub(super) fn of(&self, class: u32) -> Band {
        self.of_class[class as usize]
    }
}

fn clamp(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}
