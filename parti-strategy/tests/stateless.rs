//! Strategies without memory: what a change of the group may move, and how even they are.

use parti_core::{
    AssignmentStrategy, Plan, PlanError, PlanInput, WorkerId, WorkerInfo, WorkerTable,
};
use parti_strategy::workload::{Weights, Workload, worker_table};
use parti_strategy::{ConsistentHash, Rendezvous, RoundRobin, Sticky, WeightedConsistentHash};
use std::sync::Arc;

fn plan(strategy: &dyn AssignmentStrategy, input: &PlanInput) -> Plan {
    let plan = strategy.plan(input).expect("a plan");
    plan.check(input).expect("complete");
    plan
}

fn all() -> Vec<Box<dyn AssignmentStrategy>> {
    vec![
        Box::new(Sticky::new()),
        Box::new(Sticky::new().without_homes().with_band(20, 50)),
        Box::new(ConsistentHash::new()),
        Box::new(ConsistentHash::new().with_load_bound(50)),
        Box::new(ConsistentHash::new().with_seed(42).with_virtual_nodes(20)),
        Box::new(WeightedConsistentHash::new()),
        Box::new(WeightedConsistentHash::new().with_seed(42)),
        Box::new(Rendezvous::new()),
        Box::new(RoundRobin::new()),
    ]
}

/// What consistent hashing is for: hand-offs between workers that were there all along are waste.
#[test]
fn joins_move_only_to_the_joiner_and_leaves_only_from_the_leaver() {
    for strategy in [
        &ConsistentHash::new() as &dyn AssignmentStrategy,
        &Rendezvous::new(),
    ] {
        for size in [1, 2, 5, 30] {
            let group = Workload::new(size, 1000, Weights::Equal);
            let joined = worker_table(0..=size);
            let few = plan(
                strategy,
                &PlanInput::fresh(group.partitions(), group.workers()),
            );
            let many = plan(
                strategy,
                &PlanInput::fresh(group.partitions(), Arc::clone(&joined)),
            );
            let joiner = WorkerId::numbered("worker", size).expect("short");
            let mut gained = 0;
            for (old, new) in few.owners.iter().zip(&many.owners) {
                let before = &group.workers().get(*old).expect("known").id.clone();
                let after = &joined.get(*new).expect("known").id;
                assert!(before == after || *after == joiner, "{before} -> {after}");
                gained += usize::from(*after == joiner);
            }
            assert!(gained > 0, "{} gives the joiner nothing", strategy.id());
        }
    }
}

/// The bound is a promise about the fullest machine.
#[test]
fn a_load_bound_is_never_exceeded() {
    for weights in [Weights::Equal, Weights::Uniform] {
        for (size, bound) in [(7, 0), (7, 50), (50, 250), (200, 1)] {
            let group = Workload::new(size, 5000, weights);
            let strategy = ConsistentHash::new().with_load_bound(bound);
            let report = plan(
                &strategy,
                &PlanInput::fresh(group.partitions(), group.workers()),
            )
            .report;
            // Equal weights are bounded by count; other partitions may fit nobody.
            let (amount, unit, overflow) = match weights {
                Weights::Equal => (5000, 100, 0),
                Weights::Uniform | Weights::Zipf => (report.total_weight, 1, 200),
            };
            let limit = (amount * u64::from(1000 + bound)).div_ceil(u64::from(size) * 1000) * unit;
            assert!(
                report.max_load <= limit + overflow,
                "{} > {limit}",
                report.max_load
            );
        }
    }
}

/// A single partition heavier than any bound must be placed, not refused.
#[test]
fn giants_and_tight_bounds_still_give_a_plan() {
    let group = Workload::new(20, 500, Weights::Zipf);
    for bound in [0, 10, u32::MAX] {
        let strategy = ConsistentHash::new().with_load_bound(bound);
        plan(
            &strategy,
            &PlanInput::fresh(group.partitions(), group.workers()),
        );
    }
}

/// Capacities must be met in proportion; five standard deviations of a fair draw.
#[test]
fn rendezvous_shares_follow_capacities() {
    let capacities = [1_u32, 2, 4, 0, 9];
    let info = |(number, &capacity): (u32, &u32)| WorkerInfo {
        capacity,
        ..WorkerInfo::new(WorkerId::numbered("w", number).expect("short"))
    };
    let workers = (0..).zip(&capacities).map(info).collect();
    let group = Workload::new(1, 20_000, Weights::Equal);
    let workers = Arc::new(WorkerTable::new(workers).expect("distinct"));
    let plan = plan(
        &Rendezvous::new(),
        &PlanInput::fresh(group.partitions(), workers),
    );
    for (worker, capacity) in (0_u32..).zip(capacities) {
        let count = plan.owners.iter().filter(|&&owner| owner == worker).count() as f64;
        let share = f64::from(capacity) / 16.0;
        let deviation = (20_000.0 * share * (1.0 - share)).sqrt();
        assert!(
            (count - 20_000.0 * share).abs() <= 5.0 * deviation,
            "{worker}: {count}"
        );
    }
}

/// Equal weights must give the plain ring, and extremes must be dealt evenly.
#[test]
fn weighted_consistent_hash_degenerates_as_documented() {
    let group = Workload::new(20, 2000, Weights::Equal);
    let input = PlanInput::fresh(group.partitions(), group.workers());
    let owners = plan(&WeightedConsistentHash::new(), &input).owners;
    assert_eq!(owners, plan(&ConsistentHash::new(), &input).owners);

    let group = Workload::new(10, 2000, Weights::Zipf);
    let input = PlanInput::fresh(group.partitions(), group.workers());
    let plan = plan(&WeightedConsistentHash::new(), &input);
    let cutoff = 2 * plan.report.total_weight / 2000;
    let mut extremes = [0_u32; 10];
    for (&owner, _) in plan
        .owners
        .iter()
        .zip(input.partitions.weights())
        .filter(|(_, w)| **w > cutoff)
    {
        extremes[owner as usize] += 1;
    }
    let (least, most) = (extremes.iter().min(), extremes.iter().max());
    assert!(
        most <= least.map(|least| least + 1).as_ref(),
        "{extremes:?}"
    );
}

/// Every strategy: the edges of what a group can be.
#[test]
fn edges_are_planned_or_refused_alike_by_all() {
    for strategy in all() {
        let name = strategy.id();
        for (size, count) in [
            (1, 0),
            (1, 1),
            (5, 1),
            (3, 2),
            (1, 100),
            (64, 10),
            (13, 200),
        ] {
            for weights in [Weights::Equal, Weights::Uniform, Weights::Zipf] {
                let group = Workload::new(size, count, weights);
                let mut input = PlanInput::fresh(group.partitions(), group.workers());
                let first = plan(&strategy, &input);
                assert_eq!(
                    first.report.moved, 0,
                    "{name} counts first placements as moves"
                );
                assert_eq!(
                    strategy.plan(&input).as_ref(),
                    Ok(&first),
                    "{name} is not a function"
                );
                input.previous.clone_from(&first.owners);
                let second = plan(&strategy, &input);
                assert_eq!(second.owners, first.owners, "{name} is not idempotent");
                assert_eq!(second.report.moved, 0, "{name}");
            }
        }
        let group = Workload::new(0, 10, Weights::Equal);
        let input = PlanInput::fresh(group.partitions(), group.workers());
        assert_eq!(strategy.plan(&input), Err(PlanError::NoWorkers), "{name}");
        let group = Workload::new(3, 10, Weights::Uniform);
        let mut input = PlanInput::fresh(group.partitions(), group.workers());
        input.previous = vec![0; 9];
        assert!(
            matches!(strategy.plan(&input), Err(PlanError::BadInput(_))),
            "{name}"
        );
        input.previous = vec![3; 10];
        assert!(
            matches!(strategy.plan(&input), Err(PlanError::BadInput(_))),
            "{name}"
        );
    }
}

/// A source may list in any order, and workers come in any order; the plan must be the same.
#[test]
fn the_order_of_lists_does_not_matter() {
    for strategy in all() {
        let group = Workload::new(9, 300, Weights::Zipf);
        let owners = plan(
            &strategy,
            &PlanInput::fresh(group.partitions(), group.workers()),
        )
        .owners;
        for step in [1, 7, 101] {
            let list: Vec<_> = (0..300)
                .map(|i| group.list()[(i * step + 5) % 300].clone())
                .collect();
            let partitions = parti_core::PartitionTable::new(list).expect("the same list");
            let workers = worker_table((0..9).map(|number| (number * 4 + step as u32) % 9));
            let input = PlanInput::fresh(Arc::new(partitions), workers);
            assert_eq!(plan(&strategy, &input).owners, owners, "{}", strategy.id());
        }
    }
}
