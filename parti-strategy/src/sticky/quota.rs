//! How many partitions each worker is due: its share of the capacity, rounded down or up.
//!
//! Separate because balance is defined here and nowhere else. What always holds: the dues add up to
//! the number of partitions, and each is the exact share rounded down, plus one for at most as many
//! workers as the rounding left partitions over, and only where the share is no whole number.

use parti_core::WorkerInfo;

/// The share of each worker, rounded down.
#[derive(Debug)]
pub(super) struct Quotas {
    floors: Vec<u32>,
    fractional: Vec<bool>,
    remainder: u32,
}

impl Quotas {
    /// The shares of these workers; `capacity` is the sum of all capacities and not zero.
    pub(super) fn new(workers: &[WorkerInfo], partitions: u32, capacity: u64) -> Self {
        let share = |worker: &WorkerInfo| {
            let product = u64::from(partitions) * u64::from(worker.capacity);
            ((product / capacity) as u32, product % capacity != 0)
        };
        let (floors, fractional): (Vec<u32>, Vec<bool>) = workers.iter().map(share).unzip();
        let remainder = partitions - floors.iter().sum::<u32>();
        Self {
            floors,
            fractional,
            remainder,
        }
    }

    /// Whether these loads are balanced.
    pub(super) fn are_met_by(&self, counts: &[u32]) -> bool {
        let bounds = self.floors.iter().zip(&self.fractional);
        counts
            .iter()
            .zip(bounds)
            .all(|(&count, (&floor, &fractional))| {
                count.wrapping_sub(floor) <= u32::from(fractional)
            })
    }

    /// How many partitions are outside the quotas.
    pub(super) fn violation(&self, counts: &[u32]) -> u64 {
        let bounds = self.floors.iter().zip(&self.fractional);
        let outside = counts
            .iter()
            .zip(bounds)
            .map(|(&count, (&floor, &fractional))| {
                count.saturating_sub(floor + u32::from(fractional)) + floor.saturating_sub(count)
            });
        outside.map(u64::from).sum()
    }

    /// The fewest partitions that must leave their owners or be placed again to reach any balanced
    /// state: what no balanced assignment can keep. `owned` counts those that had any owner.
    pub(super) fn fewest_moves(&self, counts: &[u32], owned: u32) -> u32 {
        let kept: u32 = counts
            .iter()
            .zip(&self.floors)
            .map(|(&c, &floor)| c.min(floor))
            .sum();
        let over = (0..counts.len())
            .filter(|&worker| self.fractional[worker] && counts[worker] > self.floors[worker]);
        owned - kept - self.remainder.min(over.count() as u32)
    }

    /// What each worker is due. The extra ones go to those who could keep one more first,
    /// which is what makes the moves fewest; among equals, to those with the lower `class`, then to
    /// the lower index.
    pub(super) fn dues(
        &self,
        counts: &[u32],
        classes: u32,
        class: impl Fn(usize, u32) -> u32,
    ) -> Vec<u32> {
        let mut dues = self.floors.clone();
        let mut left = self.remainder;
        for over in [true, false] {
            for wanted in 0..classes {
                for worker in 0..dues.len() {
                    if left == 0 {
                        return dues;
                    }
                    let floor = self.floors[worker];
                    let fits = self.fractional[worker] && (counts[worker] > floor) == over;
                    if fits && class(worker, floor) == wanted {
                        dues[worker] += 1;
                        left -= 1;
                    }
                }
            }
        }
        dues
    }
}

/// Lowers the values, largest first, until they add up to no more than `limit`: the result is the
/// most even one. Ties keep the values of the higher indices.
pub(super) fn level_down(values: &mut [u32], limit: u32) {
    let over = |cut: u32| {
        values
            .iter()
            .map(|&v| u64::from(v.saturating_sub(cut)))
            .sum::<u64>()
    };
    if over(0) <= u64::from(limit) {
        return;
    }
    let (mut low, mut high) = (0, values.iter().copied().max().unwrap_or(0));
    while low + 1 < high {
        let middle = low + (high - low) / 2;
        if over(middle) <= u64::from(limit) {
            high = middle
        } else {
            low = middle
        }
    }
    let mut left = limit - over(high) as u32;
    for value in values {
        // A worker that would be cut to the level gives one more while the limit allows it.
        let extra = u32::from(*value >= high && left > 0);
        left -= extra;
        *value = value.saturating_sub(high) + extra;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A budget must be spent where the imbalance is largest, and spent whole.
    #[test]
    fn levelling_keeps_the_largest_excess_and_meets_the_limit() {
        let cases: [(&[u32], u32, &[u32]); 6] = [
            (&[3, 3, 3], 9, &[3, 3, 3]),
            (&[9, 3, 0], 6, &[6, 0, 0]),
            (&[9, 3, 0], 8, &[7, 1, 0]),
            (&[5, 5, 5], 4, &[2, 1, 1]),
            (&[5, 5, 5], 0, &[0, 0, 0]),
            (&[], 0, &[]),
        ];
        for (values, limit, expected) in cases {
            let mut values = values.to_vec();
            level_down(&mut values, limit);
            assert_eq!(values, expected, "limit {limit}");
        }
    }
}
