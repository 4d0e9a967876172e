//! Memory that planning reuses.
//!
//! Separate from the strategies so that these stay plain values that can be shared between
//! threads. What always holds: a plan never depends on what a scratch was used for before.

use std::sync::Arc;

use parti_core::WorkerTable;

use crate::hashing::rendezvous::Bidder;
use crate::hashing::ring::{Ring, RingShape};
use crate::hashing::weighted_consistent_hash;
use crate::sticky;

/// Buffers and the last hash ring, kept between plans so that a steady state allocates nothing.
///
/// ```
/// use parti_core::{AssignmentStrategy, Plan, PlanInput};
/// use parti_strategy::{ConsistentHash, Scratch, workload::{Weights, Workload}};
/// let group = Workload::new(3, 100, Weights::Equal);
/// let input = PlanInput::fresh(group.partitions(), group.workers());
/// let (strategy, mut scratch, mut plan) = (ConsistentHash::new(), Scratch::new(), Plan::default());
/// strategy.plan_into(&input, &mut scratch, &mut plan)?;
/// assert_eq!(plan, strategy.plan(&input)?);
/// # Ok::<(), parti_core::PlanError>(())
/// ```
#[derive(Debug, Default)]
pub struct Scratch {
    ring: Ring,
    ring_of: Option<(Arc<WorkerTable>, RingShape)>,
    pub(crate) loads: Vec<u64>,
    pub(crate) slots: Vec<u32>,
    pub(crate) limits: Vec<u64>,
    pub(crate) bidders: Vec<Bidder>,
    pub(crate) go: weighted_consistent_hash::Buffers,
    pub(crate) equal: sticky::EqualBuffers,
    pub(crate) weighted: sticky::WeightedBuffers,
}

impl Scratch {
    /// Empty buffers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets the ring, so that the next plan builds it as for a changed group.
    pub fn forget_workers(&mut self) {
        self.ring_of = None;
    }

    /// The ring of these workers: the cached one if they are the same.
    pub(crate) fn ring(
        &mut self,
        workers: &Arc<WorkerTable>,
        shape: RingShape,
    ) -> Result<&Ring, parti_core::PlanError> {
        let is_cached = self.ring_of.as_ref().is_some_and(|(of, cached)| {
            *cached == shape && (Arc::ptr_eq(of, workers) || same_members(of, workers))
        });
        if !is_cached {
            self.ring_of = None;
            self.ring.build(workers, shape)?;
            self.ring_of = Some((Arc::clone(workers), shape));
        }
        Ok(&self.ring)
    }

    /// Moves the ring out, so that it can be read while other buffers are written.
    pub(crate) fn take_ring(
        &mut self,
        workers: &Arc<WorkerTable>,
        shape: RingShape,
    ) -> Result<Ring, parti_core::PlanError> {
        self.ring(workers, shape)?;
        Ok(core::mem::take(&mut self.ring))
    }

    /// Puts back what [`Scratch::take_ring`] took.
    pub(crate) fn return_ring(&mut self, ring: Ring) {
        self.ring = ring;
    }
}

/// Labels do not shape a ring, IDs and capacities do.
fn same_members(left: &WorkerTable, right: &WorkerTable) -> bool {
    left.len() == right.len()
        && left
            .as_slice()
            .iter()
            .zip(right.as_slice())
            .all(|(a, b)| a.capacity == b.capacity && a.id == b.id)
}
