//! The workloads: each strategy alone, and the sticky strategy for the changes a group goes through.

use parti_core::{Partition, PartitionTable, Plan, PlanInput};
use parti_strategy::workload::{Weights, Workload, worker_table};
use parti_strategy::{
    ConsistentHash, Rendezvous, RoundRobin, Scratch, Sticky, WeightedConsistentHash, next_input,
};

/// One workload, ready to run.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) weights: Weights,
    pub(crate) run: Box<dyn FnMut(&mut Plan)>,
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

macro_rules! case {
    ($name:expr, $weights:expr, $strategy:expr, $input:expr, rebuilt: $rebuilt:expr) => {{
        let (strategy, input, mut scratch) = ($strategy, $input, Scratch::new());
        Case {
            name: $name,
            weights: $weights,
            run: Box::new(move |plan| {
                if $rebuilt {
                    scratch.forget_workers();
                }
                strategy
                    .plan_into(&input, &mut scratch, plan)
                    .expect("a plan");
            }),
        }
    }};
}

fn stateless(workers: u32, partitions: u32) -> Vec<Case> {
    let equal = Workload::new(workers, partitions, Weights::Equal);
    let uniform = Workload::new(workers, partitions, Weights::Uniform);
    let fresh = |group: &Workload| PlanInput::fresh(group.partitions(), group.workers());
    let (ring, weighted) = (ConsistentHash::new(), WeightedConsistentHash::new());
    let (e, u) = (Weights::Equal, Weights::Uniform);
    let mut cases = vec![
        case!("round-robin", e, RoundRobin::new(), fresh(&equal), rebuilt: false),
        case!("consistent-hash", e, ring, fresh(&equal), rebuilt: true),
        case!("consistent-hash cached", e, ring, fresh(&equal), rebuilt: false),
        case!("bounded 5 %", e, ring.with_load_bound(50), fresh(&equal), rebuilt: true),
        case!("bounded 25 %", u, ring.with_load_bound(250), fresh(&uniform), rebuilt: true),
        case!("weighted-consistent-hash", u, weighted, fresh(&uniform), rebuilt: true),
        case!("weighted-consistent-hash cached", u, weighted, fresh(&uniform), rebuilt: false),
    ];
    if u64::from(workers) * u64::from(partitions) <= 100_000_000 {
        cases.push(case!("rendezvous", e, Rendezvous::new(), fresh(&equal), rebuilt: false));
    }
    cases
}

fn sticky(workers: u32, partitions: u32, weights: Weights) -> Vec<Case> {
    let group = Workload::new(workers, partitions, weights);
    let (strategy, plain) = (Sticky::new(), Sticky::new().without_homes());
    let fresh = PlanInput::fresh(group.partitions(), group.workers());
    let mut scratch = Scratch::new();
    let mut plan = Plan::default();
    strategy
        .plan_into(&fresh, &mut scratch, &mut plan)
        .expect("a plan");
    let same = PlanInput {
        previous: plan.owners.clone(),
        ..fresh.clone()
    };
    let join = next_input(&same, &plan, worker_table(0..=workers));
    let leave = next_input(&same, &plan, worker_table(1..workers));
    strategy
        .plan_into(&leave, &mut scratch, &mut plan)
        .expect("a plan");
    let back = next_input(&leave, &plan, group.workers());
    vec![
        case!("sticky fresh", weights, strategy.clone(), fresh, rebuilt: true),
        case!("sticky unchanged", weights, strategy.clone(), same, rebuilt: false),
        case!("sticky join, no homes", weights, plain, join.clone(), rebuilt: true),
        case!("sticky join", weights, strategy.clone(), join, rebuilt: true),
        case!("sticky leave", weights, strategy.clone(), leave, rebuilt: true),
        case!("sticky return", weights, strategy, back, rebuilt: true),
    ]
}

/// Building a table takes the list over, so a copy is made each time; its cost is shown beside.
fn table(partitions: u32) -> [Case; 2] {
    let list: Vec<Partition> = Workload::new(1, partitions, Weights::Uniform)
        .list()
        .to_vec();
    let copied = list.clone();
    let weights = Weights::Uniform;
    let build = move |_: &mut Plan| {
        std::hint::black_box(PartitionTable::new(list.clone()).expect("distinct"));
    };
    let copy = move |_: &mut Plan| {
        std::hint::black_box(copied.clone());
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
