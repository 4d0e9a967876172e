//! Rendezvous hashing: every worker bids for every partition, and the highest bid wins.
//!
//! No ring to build and no state; shares follow the capacities exactly in expectation. What always
//! holds: a join moves partitions only to the joiner, a leave only those of the leaver. Integers
//! only, so that all machines agree.

mod log2;

use parti_core::{AssignmentStrategy, Plan, PlanError, PlanInput, StrategyId};
use xxhash_rust::xxh3::xxh3_64;

use crate::basis::certificate::certify;
use crate::basis::input;

/// Every pair costs about a nanosecond, so this many take seconds: more is a mistake.
const MAX_PAIRS: u64 = 2_000_000_000;

/// Owner = the worker with the best hash together with the partition, in proportion to capacity.
///
/// Stateless: ignores weights, the previous assignment and the budget. Costs workers times
/// partitions, so it suits small groups; more than two thousand million pairs are refused.
///
/// ```
/// use parti_core::{AssignmentStrategy, PlanInput};
/// use parti_strategy::{Rendezvous, workload::{Weights, Workload}};
/// let group = Workload::new(3, 100, Weights::Equal);
/// let plan = Rendezvous::new().plan(&PlanInput::fresh(group.partitions(), group.workers()))?;
/// assert_eq!(plan.owners.len(), 100);
/// # Ok::<(), parti_core::PlanError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rendezvous;

/// A worker that bids.
#[derive(Clone, Copy, Debug)]
struct Bidder {
    hash: u64,
    worker: u32,
    capacity: u32,
}

impl Rendezvous {
    /// The strategy; it has no parameters.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl AssignmentStrategy for Rendezvous {
    fn id(&self) -> StrategyId {
        StrategyId::new("rendezvous/1")
    }

    fn plan(&self, input: &PlanInput) -> Result<Plan, PlanError> {
        input::capacity(input)?;
        input::check_previous(input)?;
        let pairs = (input.workers.len() as u64).saturating_mul(input.partitions.len() as u64);
        if pairs > MAX_PAIRS {
            return Err(PlanError::BadInput(format!(
                "rendezvous hashing of {pairs} pairs would take long; at most {MAX_PAIRS} are \
                 allowed, so use the sticky strategy"
            )));
        }
        let able = (0..)
            .zip(input.workers.as_slice())
            .filter(|(_, info)| info.capacity > 0);
        let bidders = able.map(|(worker, info)| Bidder {
            hash: xxh3_64(info.id.as_str().as_bytes()),
            worker,
            capacity: info.capacity,
        });
        let bidders: Vec<Bidder> = bidders.collect();
        let is_level = bidders
            .iter()
            .all(|bidder| bidder.capacity == bidders[0].capacity);
        let winner = if is_level { highest } else { cheapest };
        let hashes = input.partitions.hashes().iter();
        certify(input, hashes.map(|&hash| winner(&bidders, hash)).collect())
    }
}

/// The highest score wins; ties go to the lower index.
fn highest(bidders: &[Bidder], hash: u64) -> u32 {
    let (mut best, mut owner) = (0, bidders[0].worker);
    for bidder in bidders {
        let score = score(hash, bidder.hash);
        if score > best {
            (best, owner) = (score, bidder.worker);
        }
    }
    owner
}

/// The largest `capacity / -log2(score)` wins, compared by cross-multiplication.
fn cheapest(bidders: &[Bidder], hash: u64) -> u32 {
    let mut best: Option<(u64, &Bidder)> = None;
    for bidder in bidders {
        let cost = log2::negative(score(hash, bidder.hash));
        let wins = best.is_none_or(|(least, rival)| {
            u128::from(cost) * u128::from(rival.capacity)
                < u128::from(least) * u128::from(bidder.capacity)
        });
        if wins {
            best = Some((cost, bidder));
        }
    }
    best.map_or(0, |(_, bidder)| bidder.worker)
}

/// The finaliser of MurmurHash3: every input bit affects every output bit.
const fn score(partition: u64, worker: u64) -> u64 {
    let mut mixed = partition ^ worker;
    mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^ (mixed >> 33)
}
