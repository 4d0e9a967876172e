//! The Go library's weighted consistent hashing: a ring, a soft cap, and extremes dealt in turn.
//!
//! Kept for groups that come from there. What always holds: with equal weights it places like
//! [`ConsistentHash`](crate::ConsistentHash). Under skew it moves most of the weight whenever a
//! worker comes or goes; [`Sticky`](crate::Sticky) does not.

use std::cmp::Reverse;

use parti_core::{AssignmentStrategy, Plan, PlanError, PlanInput, StrategyId};

use crate::basis::certificate::certify;
use crate::basis::classes::{Classes, Emptiest};
use crate::basis::input;
use crate::hashing::ring::{Ring, RingShape, Scale, seeded_hash};

/// The smallest overload the Go library accepts, in thousandths of the mean load.
const LEAST_OVERLOAD: u32 = 1100;
/// The smallest extreme the Go library accepts, in thousandths of the mean weight.
const LEAST_EXTREME: u32 = 1500;

/// Owner = the ring's, unless that would be overloaded: then the lightest worker.
///
/// Partitions far heavier than the mean are dealt in turn first. Stateless: ignores the previous
/// assignment and the budget. Capacities count as for [`ConsistentHash`](crate::ConsistentHash).
///
/// ```
/// use parti_core::{AssignmentStrategy, PlanInput};
/// use parti_strategy::{WeightedConsistentHash, workload::{Weights, Workload}};
/// let group = Workload::new(10, 1000, Weights::Uniform);
/// let input = PlanInput::fresh(group.partitions(), group.workers());
/// let report = WeightedConsistentHash::new().plan(&input)?.report;
/// assert!(report.max_load <= report.total_weight / 10 * 13 / 10);
/// # Ok::<(), parti_core::PlanError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightedConsistentHash {
    shape: RingShape,
    overload: u32,
    extreme: u32,
}

impl WeightedConsistentHash {
    /// 150 virtual nodes, overload 1300, extreme 2000.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            shape: RingShape {
                virtual_nodes: 150,
                seed: 0,
                scale: Scale::PerUnit,
            },
            overload: 1300,
            extreme: 2000,
        }
    }

    /// Another number of virtual nodes for a worker of capacity 1; 0 counts as 1.
    #[must_use]
    pub const fn with_virtual_nodes(mut self, nodes: u32) -> Self {
        self.shape.virtual_nodes = if nodes == 0 { 1 } else { nodes };
        self
    }

    /// Another hash seed; 0 is none.
    #[must_use]
    pub const fn with_seed(mut self, seed: u64) -> Self {
        self.shape.seed = seed;
        self
    }

    /// How much a worker takes from the ring, in thousandths of its share; at least 1100.
    #[must_use]
    pub const fn with_overload(mut self, per_mille: u32) -> Self {
        self.overload = if per_mille < LEAST_OVERLOAD {
            LEAST_OVERLOAD
        } else {
            per_mille
        };
        self
    }

    /// From which weight on a partition is dealt, in thousandths of the mean; at least 1500.
    #[must_use]
    pub const fn with_extreme(mut self, per_mille: u32) -> Self {
        self.extreme = if per_mille < LEAST_EXTREME {
            LEAST_EXTREME
        } else {
            per_mille
        };
        self
    }

    /// Fills in another order of the ranks, such as that of the list they came from, which is what
    /// the Go library does. Then every leader must use the same order.
    ///
    /// # Errors
    /// As [`AssignmentStrategy::plan`], and [`PlanError::BadInput`] when `order` does not hold every
    /// rank exactly once.
    pub fn plan_in_order(&self, input: &PlanInput, order: &[u32]) -> Result<Plan, PlanError> {
        input::check_order(input, order)?;
        self.place(input, order.iter().copied())
    }

    fn place(
        &self,
        input: &PlanInput,
        order: impl Iterator<Item = u32>,
    ) -> Result<Plan, PlanError> {
        let capacity = input::capacity(input)?;
        input::check_previous(input)?;
        let mut owners = self.on_ring(input)?;
        if input.partitions.uniform_weight().is_none() {
            self.spread(input, capacity, order, &mut owners);
        }
        certify(input, owners)
    }

    fn on_ring(&self, input: &PlanInput) -> Result<Vec<u32>, PlanError> {
        let ring = Ring::of(&input.workers, self.shape)?;
        if self.shape.seed == 0 {
            return Ok(ring.owners(input.partitions.hashes()));
        }
        let owners = input.partitions.as_slice().iter().map(|partition| {
            ring.points()[ring.successor(seeded_hash(&partition.key, self.shape.seed))].worker
        });
        Ok(owners.collect())
    }

    /// Deals the extremes, then lets the others overflow from where the ring puts them.
    fn spread(
        &self,
        input: &PlanInput,
        capacity: u64,
        order: impl Iterator<Item = u32>,
        owners: &mut [u32],
    ) {
        let (weights, total) = (input.partitions.weights(), input.partitions.total_weight());
        let cutoff = scaled(total, 1, self.extreme, weights.len() as u64);
        let workers = input.workers.as_slice();
        let classes = Classes::new(workers);
        let limits = workers
            .iter()
            .map(|w| scaled(total, w.capacity, self.overload, capacity));
        let limits: Vec<u64> = limits.collect();
        let mut loads = vec![0; workers.len()];
        let extremes = (0_u32..)
            .zip(weights)
            .filter(|&(_, &w)| w > cutoff)
            .map(|(rank, &w)| (Reverse(w), rank));
        let mut extremes: Vec<(Reverse<u64>, u32)> = extremes.collect();
        let key = |rank: u32| &input.partitions.as_slice()[rank as usize].key;
        extremes.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| key(a.1).cmp(key(b.1))));
        let turns = classes.able().map(|(worker, _)| worker).cycle();
        for (&(Reverse(weight), rank), worker) in extremes.iter().zip(turns) {
            owners[rank as usize] = worker;
            loads[worker as usize] += weight;
        }
        let mut emptiest = Emptiest::default();
        emptiest.set(&classes, &loads);
        for rank in order {
            let (weight, mut owner) = (weights[rank as usize], owners[rank as usize]);
            if weight > cutoff {
                continue;
            }
            if loads[owner as usize].saturating_add(weight) > limits[owner as usize] {
                let lightest = emptiest.pick(&classes, &loads, weight);
                owner = lightest.unwrap_or(owner);
            }
            owners[rank as usize] = owner;
            loads[owner as usize] += weight;
        }
    }
}

/// `total * own / all` times thousandths, rounded down: a number exceeds this exactly when it
/// exceeds the fraction.
fn scaled(total: u64, own: u32, per_mille: u32, all: u64) -> u64 {
    let product = u128::from(total) * u128::from(own);
    let scaled = match product.checked_mul(u128::from(per_mille)) {
        Some(product) => product / (u128::from(all) * 1000),
        None => product / u128::from(all) / 1000 * u128::from(per_mille),
    };
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

impl Default for WeightedConsistentHash {
    fn default() -> Self {
        Self::new()
    }
}

impl AssignmentStrategy for WeightedConsistentHash {
    fn id(&self) -> StrategyId {
        let RingShape {
            virtual_nodes,
            seed,
            ..
        } = self.shape;
        let (overload, extreme) = (self.overload, self.extreme);
        StrategyId::new(&format!(
            "weighted-consistent-hash/1 nodes={virtual_nodes} seed={seed} overload={overload} \
             extreme={extreme}"
        ))
    }

    fn plan(&self, input: &PlanInput) -> Result<Plan, PlanError> {
        self.place(input, 0..input.partitions.len() as u32)
    }
}
