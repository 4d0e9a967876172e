//! Placement must agree with deployed groups of the Go library: vectors made by its own code.

use parti_core::{AssignmentStrategy, Plan, PlanInput};
use parti_strategy::workload::{Weights, Workload};
use parti_strategy::{ConsistentHash, RoundRobin, WeightedConsistentHash};

/// FNV-1a-64 over `worker-<owner>\n` of each partition in list order.
fn checksum(group: &Workload, plan: &Plan) -> u64 {
    let workers = group.workers();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for rank in group.ranks() {
        let owner = workers
            .get(plan.owners[rank as usize])
            .expect("a known owner");
        for byte in owner.id.as_str().bytes().chain([b'\n']) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}

fn input(group: &Workload) -> PlanInput {
    PlanInput::fresh(group.partitions(), group.workers())
}

/// A mixed fleet of Go and Rust workers would otherwise disagree about who owns what.
#[test]
fn consistent_hash_places_as_the_go_library() {
    let cases = [
        (10, 100, 0xf81c_c4a9_4c45_8271),
        (100, 1000, 0x94ca_8d42_cdd3_03bb),
        (1000, 10_000, 0xa361_4525_6ecc_35c8),
        (1000, 100_000, 0x06db_33c4_f62a_4497),
        (100, 100_000, 0xe235_baf3_b0fc_ad2d),
    ];
    for (workers, partitions, expected) in cases {
        let group = Workload::new(workers, partitions, Weights::Equal);
        let plan = ConsistentHash::new().plan(&input(&group)).expect("a plan");
        assert_eq!(
            checksum(&group, &plan),
            expected,
            "{workers} x {partitions}"
        );
    }
}

/// The vector of the ring in readable form: it shows what is wrong when the checksums differ.
#[test]
fn thirty_partitions_sit_where_go_puts_them() {
    let group = Workload::new(3, 30, Weights::Equal);
    let plan = ConsistentHash::new().plan(&input(&group)).expect("a plan");
    let mut owned = [const { Vec::new() }; 3];
    for (number, rank) in group.ranks().into_iter().enumerate() {
        owned[plan.owners[rank as usize] as usize].push(number);
    }
    let expected: [&[usize]; 3] = [
        &[0, 2, 3, 15, 16, 18, 25, 26, 28],
        &[6, 9, 11, 12, 13, 20, 22, 23],
        &[1, 4, 5, 7, 8, 10, 14, 17, 19, 21, 24, 27, 29],
    ];
    assert_eq!(owned, expected);
}

/// Go deals in the order of the list; a migrating group can keep that.
#[test]
fn round_robin_deals_in_list_order_when_asked() {
    let group = Workload::new(3, 10, Weights::Equal);
    let ranks = group.ranks();
    let plan = RoundRobin::new()
        .plan_in_order(&input(&group), &ranks)
        .expect("a plan");
    let owners: Vec<_> = ranks
        .iter()
        .map(|&rank| plan.owners[rank as usize])
        .collect();
    assert_eq!(owners, [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]);
    let twice = [vec![0, 0], ranks[2..].to_vec()].concat();
    assert!(
        RoundRobin::new()
            .plan_in_order(&input(&group), &twice)
            .is_err()
    );
}

/// The cap and the overflow must agree to the last partition, in list order as Go does it.
#[test]
fn weighted_consistent_hash_places_as_the_go_library() {
    let cases = [
        (10, 100, 0x9516_e615_ad12_7608),
        (100, 1000, 0x2e88_2fa8_4859_b74b),
        (1000, 10_000, 0x2b66_5425_af64_f9bc),
        (1000, 100_000, 0x8d38_617e_3afa_3298),
    ];
    for (workers, partitions, expected) in cases {
        let group = Workload::new(workers, partitions, Weights::Uniform);
        let strategy = WeightedConsistentHash::new();
        let plan = strategy
            .plan_in_order(&input(&group), &group.ranks())
            .expect("a plan");
        assert_eq!(
            checksum(&group, &plan),
            expected,
            "{workers} x {partitions}"
        );
    }
}
