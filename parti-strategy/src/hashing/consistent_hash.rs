//! Consistent hashing on a ring, placing exactly as the Go library of the same name does.
//!
//! What always holds without a load bound: a join moves partitions only to the joiner, a leave
//! only those of the leaver. With a load bound nobody carries more than it, and a change may push
//! further partitions along the ring.

mod bounded;

use parti_core::{AssignmentStrategy, Plan, PlanError, PlanInput, StrategyId};

use crate::basis::certificate::certify;
use crate::basis::input;
use crate::hashing::ring::{Ring, RingShape, Scale, seeded_hash};

/// Points per worker of capacity 1, as in the Go library.
const VIRTUAL_NODES: u32 = 150;

/// Owner = the first of the workers' virtual nodes at or after the partition's hash.
///
/// Stateless: it ignores the previous assignment and the budget. Weights count only with a load
/// bound. A worker has virtual nodes in proportion to its capacity; where that makes more than about
/// four million altogether, as for capacities in megabytes, all are thinned out alike.
///
/// ```
/// use parti_core::{AssignmentStrategy, PlanInput};
/// use parti_strategy::{ConsistentHash, workload::{Weights, Workload}};
/// let group = Workload::new(3, 300, Weights::Equal);
/// let bounded = ConsistentHash::new().with_load_bound(50);
/// let plan = bounded.plan(&PlanInput::fresh(group.partitions(), group.workers()))?;
/// assert!(plan.report.max_load <= 105 * 100);
/// # Ok::<(), parti_core::PlanError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsistentHash {
    shape: RingShape,
    load_bound: Option<u32>,
}

impl ConsistentHash {
    /// 150 virtual nodes a worker, no load bound: the Go library's default.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            shape: RingShape {
                virtual_nodes: VIRTUAL_NODES,
                seed: 0,
                scale: Scale::PerUnit,
            },
            load_bound: None,
        }
    }

    /// Another number of virtual nodes for a worker of capacity 1; 0 counts as 1.
    ///
    /// More are more even and cost more to sort when the group changes.
    #[must_use]
    pub const fn with_virtual_nodes(mut self, nodes: u32) -> Self {
        self.shape.virtual_nodes = if nodes == 0 { 1 } else { nodes };
        self
    }

    /// Another hash seed, as the Go library's option; 0 is none.
    #[must_use]
    pub const fn with_seed(mut self, seed: u64) -> Self {
        self.shape.seed = seed;
        self
    }

    /// Nobody may carry more than its share of the weight plus this many thousandths.
    ///
    /// 250 costs a few more moves than no bound; 50 costs several times the least possible. A
    /// partition that fits nobody goes to the least loaded worker in proportion to capacity.
    #[must_use]
    pub const fn with_load_bound(mut self, per_mille: u32) -> Self {
        self.load_bound = Some(per_mille);
        self
    }

    /// Visits (rank, point index) of every partition in canonical order.
    fn each(&self, input: &PlanInput, ring: &Ring, mut visit: impl FnMut(usize, usize)) {
        if self.shape.seed == 0 {
            return ring.merge(input.partitions.hashes(), visit);
        }
        for (rank, partition) in input.partitions.as_slice().iter().enumerate() {
            visit(
                rank,
                ring.successor(seeded_hash(&partition.key, self.shape.seed)),
            );
        }
    }
}

impl Default for ConsistentHash {
    fn default() -> Self {
        Self::new()
    }
}

impl AssignmentStrategy for ConsistentHash {
    fn id(&self) -> StrategyId {
        let RingShape {
            virtual_nodes,
            seed,
            ..
        } = self.shape;
        let bound = self
            .load_bound
            .map_or_else(|| "none".to_owned(), |bound| bound.to_string());
        let name = format!("consistent-hash/1 nodes={virtual_nodes} seed={seed} bound={bound}");
        StrategyId::new(&name)
    }

    fn plan(&self, input: &PlanInput) -> Result<Plan, PlanError> {
        let capacity = input::capacity(input)?;
        input::check_previous(input)?;
        let ring = Ring::of(&input.workers, self.shape)?;
        let mut owners = vec![0; input.partitions.len()];
        match self.load_bound {
            None => self.each(input, &ring, |rank, point| {
                owners[rank] = ring.points()[point].worker;
            }),
            Some(per_mille) => {
                let mut fill = bounded::Fill::new(input, capacity, per_mille, &ring);
                self.each(input, &ring, |rank, point| {
                    owners[rank] = fill.place(point, input.partitions.weights()[rank]);
                });
            }
        }
        certify(input, owners)
    }
}
