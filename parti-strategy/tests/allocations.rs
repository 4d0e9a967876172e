//! The default strategy in a steady state must not touch the allocator: a leader of a large group
//! plans again and again for years.

use std::sync::Arc;

use parti_core::{Plan, PlanInput};
use parti_strategy::workload::{Weights, Workload, worker_table};
use parti_strategy::{ConsistentHash, Rendezvous, RoundRobin, Scratch, Sticky};

/// Heap growth per decision would show as latency spikes and fragmentation.
#[test]
fn warm_plans_allocate_nothing() {
    for weights in [Weights::Equal, Weights::Uniform, Weights::Zipf] {
        let group = Workload::new(50, 5000, weights);
        let (strategy, mut scratch, mut plan) = (Sticky::new(), Scratch::new(), Plan::default());
        let fresh = PlanInput::fresh(group.partitions(), group.workers());
        strategy
            .plan_into(&fresh, &mut scratch, &mut plan)
            .expect("a plan");
        let same = PlanInput {
            previous: plan.owners.clone(),
            ..fresh.clone()
        };
        // Numbers 0..50 sort before any later joiner only in part, so indices are renamed.
        let many = worker_table(0..51);
        let rename = |&owner: &u32| {
            let id = &group.workers().get(owner).expect("known").id.clone();
            many.index_of(id).expect("still there")
        };
        let mut join = PlanInput::fresh(group.partitions(), Arc::clone(&many));
        join.previous = plan.owners.iter().map(rename).collect();
        let leave = PlanInput {
            departed: vec![many.get(50).expect("the last").id.clone()],
            workers: worker_table((0..51).filter(|number| *number != 9)),
            ..join.clone()
        };
        let inputs = [fresh, same, join, leave];
        let mut run = || {
            for input in &inputs {
                scratch.forget_workers();
                strategy
                    .plan_into(input, &mut scratch, &mut plan)
                    .expect("a plan");
            }
        };
        run();
        let counted = allocation_counter::measure(run);
        assert_eq!(counted.count_total, 0, "{} weights", weights.name());
    }
}

/// The others too, as far as they promise reuse.
#[test]
fn warm_stateless_plans_allocate_nothing() {
    let group = Workload::new(50, 5000, Weights::Uniform);
    let input = PlanInput::fresh(group.partitions(), group.workers());
    let (mut scratch, mut plan) = (Scratch::new(), Plan::default());
    let mut run = || {
        scratch.forget_workers();
        RoundRobin::new()
            .plan_into(&input, &mut scratch, &mut plan)
            .expect("a plan");
        Rendezvous::new()
            .plan_into(&input, &mut scratch, &mut plan)
            .expect("a plan");
        for ring in [
            ConsistentHash::new(),
            ConsistentHash::new().with_load_bound(100),
        ] {
            ring.plan_into(&input, &mut scratch, &mut plan)
                .expect("a plan");
        }
    };
    run();
    assert_eq!(allocation_counter::measure(run).count_total, 0);
}
