//! The workloads: each strategy alone, and the sticky strategy for the changes a group goes through.

use parti_core::{AssignmentStrategy, Partition, PartitionTable, Plan, PlanInput};
use parti_strategy::workload::{Weights, Workload, worker_table};
use parti_strategy::{
    ConsistentHash, Rendezvous, RoundRobin, Sticky, WeightedConsistentHash, next_input,
};

/// One workload, ready to run.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) weights: Weights,
    pub(crate) run: Box<dyn Fn() -> Plan>,
}

/// All workloads of one size.
pub(crate) fn all(workers: u32, partitions: u32) -> Vec<Case> {
    let mut cases = stateless(workers, partitions);
    for weights in [Weights::Equal, Weights::Uniform, Weights::Zipf] {
        cases.extend(sticky(workers, partitions, weights));
    }
    cases.extend(table(partitions));
    cases
}

fn case(
    name: &'static str,
    weights: Weights,
    strategy: impl AssignmentStrategy,
    input: PlanInput,
) -> Case {
    Case {
        name,
        weights,
        run: Box::new(move || strategy.plan(&input).expect("a plan")),
    }
}

fn stateless(workers: u32, partitions: u32) -> Vec<Case> {
    let equal = Workload::new(workers, partitions, Weights::Equal);
    let uniform = Workload::new(workers, partitions, Weights::Uniform);
    let fresh = |group: &Workload| PlanInput::fresh(group.partitions(), group.workers());
    let (ring, weighted) = (ConsistentHash::new(), WeightedConsistentHash::new());
    let (bounded, loose) = (ring.with_load_bound(50), ring.with_load_bound(250));
    let (e, u) = (Weights::Equal, Weights::Uniform);
    let mut cases = vec![
        case("round-robin", e, RoundRobin::new(), fresh(&equal)),
        case("consistent-hash", e, ring, fresh(&equal)),
        case("bounded 5 %", e, bounded, fresh(&equal)),
        case("bounded 25 %", u, loose, fresh(&uniform)),
        case("weighted-consistent-hash", u, weighted, fresh(&uniform)),
    ];
    if u64::from(workers) * u64::from(partitions) <= 100_000_000 {
        cases.push(case("rendezvous", e, Rendezvous::new(), fresh(&equal)));
    }
    cases
}

fn sticky(workers: u32, partitions: u32, weights: Weights) -> Vec<Case> {
    let group = Workload::new(workers, partitions, weights);
    let (strategy, plain) = (Sticky::new(), Sticky::new().without_homes());
    let fresh = PlanInput::fresh(group.partitions(), group.workers());
    let plan = strategy.plan(&fresh).expect("a plan");
    let same = PlanInput {
        previous: plan.owners.clone(),
        ..fresh.clone()
    };
    let join = next_input(&same, &plan, worker_table(0..=workers));
    let leave = next_input(&same, &plan, worker_table(1..workers));
    let plan = strategy.plan(&leave).expect("a plan");
    let back = next_input(&leave, &plan, group.workers());
    let named = |name, input| case(name, weights, strategy.clone(), input);
    vec![
        named("sticky fresh", fresh),
        named("sticky unchanged", same),
        case("sticky join, no homes", weights, plain, join.clone()),
        named("sticky join", join),
        named("sticky leave", leave),
        named("sticky return", back),
    ]
}

/// Building a table takes the list over, so a copy is made each time; its cost is shown beside.
fn table(partitions: u32) -> [Case; 2] {
    let list: Vec<Partition> = Workload::new(1, partitions, Weights::Uniform)
        .list()
        .to_vec();
    let copied = list.clone();
    let weights = Weights::Uniform;
    let build = move || {
        std::hint::black_box(PartitionTable::new(list.clone()).expect("distinct"));
        Plan::default()
    };
    let copy = move || {
        std::hint::black_box(copied.clone());
        Plan::default()
    };
    [
        Case {
            name: "partition table",
            weights,
            run: Box::new(build),
        },
        Case {
            name: "list copy",
            weights,
            run: Box::new(copy),
        },
    ]
}
