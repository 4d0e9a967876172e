//! The strategies of the simulated group: those that are shipped, and one of its own that keeps
//! previous owners as far as the balance allows.
//!
//! The simulator's own one is the plainest that keeps most partitions where they are, so that a run can judge
//! the core without the strategies of another crate.

use parti_core::{AssignmentStrategy, Plan, PlanError, PlanInput, Report, StrategyId};
use parti_strategy::{ConsistentHash, Rendezvous, RoundRobin, Sticky, WeightedConsistentHash};

use crate::simulator::plans::plan::{Planner, Pools};

/// The strategy of a plan.
pub(in crate::simulator) fn strategy(
    planner: Planner,
    pools: Pools,
) -> Box<dyn AssignmentStrategy> {
    if let Some(rules) = pools.rules() {
        return Box::new(Sticky::new().with_eligibility(rules));
    }
    match planner {
        Planner::KeepThenFill => Box::new(KeepThenFill),
        Planner::Sticky => Box::new(Sticky::new()),
        Planner::ConsistentHash => Box::new(ConsistentHash::new()),
        Planner::WeightedConsistentHash => Box::new(WeightedConsistentHash::new()),
        Planner::RoundRobin => Box::new(RoundRobin::new()),
        Planner::Rendezvous => Box::new(Rendezvous::new()),
    }
}

/// Gives each worker its share by capacity and leaves partitions with their previous owner when it
/// still has room.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeepThenFill;

impl AssignmentStrategy for KeepThenFill {
    fn id(&self) -> StrategyId {
        StrategyId::new("keep-then-fill/1")
    }

    fn plan(&self, input: &PlanInput) -> Result<Plan, PlanError> {
        let capacities: Vec<u64> = input
            .workers
            .as_slice()
            .iter()
            .map(|worker| u64::from(worker.capacity))
            .collect();
        let total: u64 = capacities.iter().sum();
        if total == 0 {
            return Err(PlanError::NoWorkers);
        }
        let partitions = input.partitions.len();
        let mut room = shares(partitions as u64, &capacities, total);
        let mut owners = vec![None; partitions];
        for (rank, owner) in owners.iter_mut().enumerate() {
            if let Some(previous) = input.living_owner(rank as u32)
                && room[previous as usize] > 0
            {
                room[previous as usize] -= 1;
                *owner = Some(previous);
            }
        }
        let mut next = 0;
        let owners: Vec<u32> = owners
            .into_iter()
            .map(|owner| {
                owner.unwrap_or_else(|| {
                    while room[next] == 0 {
                        next += 1;
                    }
                    room[next] -= 1;
                    next as u32
                })
            })
            .collect();
        let report = report(input, &owners);
        Ok(Plan {
            owners,
            report,
            ..Plan::default()
        })
    }
}

/// How many partitions each worker gets; the remainder goes to the first workers with capacity.
fn shares(partitions: u64, capacities: &[u64], total: u64) -> Vec<u64> {
    let mut shares: Vec<u64> = capacities
        .iter()
        .map(|capacity| partitions * capacity / total)
        .collect();
    let mut rest = partitions - shares.iter().sum::<u64>();
    for (share, _) in shares
        .iter_mut()
        .zip(capacities)
        .filter(|(_, capacity)| **capacity > 0)
    {
        let extra = rest.min(1);
        *share += extra;
        rest -= extra;
    }
    shares
}

fn report(input: &PlanInput, owners: &[u32]) -> Report {
    let mut loads = vec![0_u64; input.workers.len()];
    let mut report = Report {
        total_weight: input.partitions.total_weight(),
        ..Report::default()
    };
    for (rank, owner) in owners.iter().enumerate() {
        let weight = input.partitions.as_slice()[rank].weight;
        loads[*owner as usize] += weight;
        let living = input.living_owner(rank as u32);
        let had_owner = input
            .previous
            .get(rank)
            .is_some_and(|p| *p != parti_core::NO_OWNER);
        if had_owner && living != Some(*owner) {
            report.moved += 1;
            report.moved_weight += weight;
            match living {
                Some(_) => report.voluntary += 1,
                None => report.forced += 1,
            }
        }
    }
    report.max_load = loads.iter().copied().max().unwrap_or(0);
    report.min_load = loads.iter().copied().min().unwrap_or(0);
    report.settled = true;
    report
}
