//! Sticky, equally heavy partitions: balance, fewest moves, and finding back after a restart.

#[path = "support/world.rs"]
mod world;

use std::sync::Arc;

use parti_core::{
    AssignmentStrategy, NO_OWNER, Partition, PartitionTable, Plan, PlanInput, WorkerId, WorkerInfo,
    WorkerTable,
};
use parti_strategy::Sticky;
use parti_strategy::workload::{Weights, Workload, worker_table};
use proptest::prelude::*;
use world::World;

fn partitions(count: usize) -> Arc<PartitionTable> {
    let partition = |i| Partition::new([format!("p-{i}")]).expect("valid key");
    Arc::new(PartitionTable::new((0..count).map(partition).collect()).expect("distinct"))
}

fn workers(capacities: &[u32]) -> Arc<WorkerTable> {
    let info = |(number, &capacity): (u32, &u32)| WorkerInfo {
        capacity,
        ..WorkerInfo::new(WorkerId::numbered("w", number).expect("short"))
    };
    let list = (0..).zip(capacities).map(info).collect();
    Arc::new(WorkerTable::new(list).expect("distinct"))
}

/// An input with two departed owners; owners beyond them stand for nobody.
fn input(capacities: &[u32], previous: &[u32], anchors: &[(u32, u32)]) -> PlanInput {
    let mut input = PlanInput::fresh(partitions(previous.len()), workers(capacities));
    input.departed = vec![
        WorkerId::new("x").expect("ok"),
        WorkerId::new("y").expect("ok"),
    ];
    let known = (capacities.len() + input.departed.len()) as u32;
    let owner = |&owner: &u32| if owner < known { owner } else { NO_OWNER };
    input.previous = previous.iter().map(owner).collect();
    for &(rank, worker) in anchors {
        let id = WorkerId::numbered("w", worker).expect("short");
        if (rank as usize) < previous.len() && input.anchors.last().is_none_or(|last| last.0 < rank)
        {
            input.anchors.push((rank, id));
        }
    }
    input
}

fn counts(input: &PlanInput, owners: &[u32]) -> Vec<u64> {
    let mut counts = vec![0; input.workers.len()];
    for &owner in owners {
        counts[owner as usize] += 1;
    }
    counts
}

/// Floor and ceiling of each worker's exact share.
fn is_balanced(input: &PlanInput, owners: &[u32]) -> bool {
    let infos = input.workers.as_slice();
    let total: u64 = infos.iter().map(|w| u64::from(w.capacity)).sum();
    counts(input, owners)
        .iter()
        .zip(infos)
        .all(|(&count, info)| {
            let product = owners.len() as u64 * u64::from(info.capacity);
            (product / total..=product.div_ceil(total)).contains(&count)
        })
}

fn moves(input: &PlanInput, owners: &[u32]) -> u32 {
    let moved = |(old, new): &(&u32, &u32)| **old != NO_OWNER && old != new;
    input.previous.iter().zip(owners).filter(moved).count() as u32
}

/// The fewest moves of any balanced assignment, found by trying all of them.
fn fewest_moves_by_trying(input: &PlanInput) -> u32 {
    let (workers, partitions) = (input.workers.len() as u32, input.partitions.len() as u32);
    let decode = |mut code: u32| {
        let mut owners = Vec::new();
        for _ in 0..partitions {
            owners.push(code % workers);
            code /= workers;
        }
        owners
    };
    let all = (0..workers.pow(partitions)).map(decode);
    let balanced = all.filter(|owners| is_balanced(input, owners));
    balanced
        .map(|owners| moves(input, &owners))
        .min()
        .expect("some assignment is balanced")
}

fn plan(input: &PlanInput) -> Plan {
    let plan = Sticky::new().plan(input).expect("a plan");
    plan.check(input).expect("complete");
    plan
}

fn capacities() -> impl Strategy<Value = Vec<u32>> {
    let some = prop::collection::vec(0_u32..4, 1..5);
    prop_oneof![(1_usize..5).prop_map(|w| vec![1; w]), some]
        .prop_filter("somebody must be able to own", |list| {
            list.iter().any(|&c| c > 0)
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// A claim of minimality that is not compared with all alternatives is only a hope.
    #[test]
    fn small_plans_are_balanced_and_as_few_moves_as_any_balanced_assignment(
        capacities in capacities(),
        previous in prop::collection::vec(0_u32..8, 0..7),
        anchors in prop::collection::vec((0_u32..7, 0_u32..5), 0..4),
    ) {
        let input = input(&capacities, &previous, &anchors);
        let plan = plan(&input);
        prop_assert!(is_balanced(&input, &plan.owners), "{:?}", plan.owners);
        let fewest = fewest_moves_by_trying(&input);
        prop_assert_eq!(moves(&input, &plan.owners), fewest);
        prop_assert_eq!(plan.report.moved, fewest);
        prop_assert_eq!(plan.report.lower_bound, fewest);
    }

    /// The closed form of the bound is what operators read; it must hold at real sizes too.
    #[test]
    fn large_plans_are_balanced_and_meet_the_bound(
        capacities in prop::collection::vec(0_u32..1000, 1..64),
        previous in prop::collection::vec(0_u32..70, 0..2000),
        dirty in any::<u32>(),
    ) {
        prop_assume!(capacities.iter().any(|&c| c > 0));
        let input = input(&capacities, &previous, &[(3, 0), (7, 1), (dirty % 2000, 2)]);
        let plan = plan(&input);
        prop_assert!(is_balanced(&input, &plan.owners));
        prop_assert_eq!(plan.report.moved, plan.report.lower_bound);
        prop_assert_eq!(plan.report.moved, moves(&input, &plan.owners));
        prop_assert_eq!(plan.report.forced + plan.report.voluntary, plan.report.moved);
        let loads = counts(&input, &plan.owners);
        prop_assert_eq!(Some(plan.report.max_load), loads.iter().max().copied());

        // Planning again changes nothing.
        let mut again = input.clone();
        again.previous.clone_from(&plan.owners);
        let second = Sticky::new().plan(&again).expect("a plan");
        prop_assert_eq!(&second.owners, &plan.owners);
        prop_assert_eq!(second.report.moved, 0);
    }

    /// A budget must cap what is optional, never what is forced, and must lead to balance in the end.
    #[test]
    fn budgets_cap_voluntary_moves_and_converge(
        capacities in prop::collection::vec(1_u32..5, 1..10),
        previous in prop::collection::vec(0_u32..14, 0..200),
        budget in 1_u32..20,
    ) {
        let mut input = input(&capacities, &previous, &[]);
        let unlimited = plan(&input).report;
        input.budget = Some(budget);
        let mut voluntary = 0;
        for _ in 0..=unlimited.voluntary / budget {
            let plan = plan(&input);
            prop_assert!(plan.report.voluntary <= budget);
            prop_assert!(plan.report.lower_bound <= plan.report.moved);
            prop_assert_eq!(plan.report.moved, moves(&input, &plan.owners));
            let loads = counts(&input, &plan.owners);
            prop_assert_eq!(Some(plan.report.max_load), loads.iter().max().copied());
            voluntary += plan.report.voluntary;
            input.previous.clone_from(&plan.owners);
            if plan.report.settled {
                break;
            }
        }
        prop_assert!(is_balanced(&input, &input.previous));
        prop_assert_eq!(voluntary, unlimited.voluntary);
    }

    /// A join that moves partitions between old workers causes hand-offs that nobody needs.
    #[test]
    fn joins_feed_only_joiners_and_leaves_drain_only_leavers(
        old in 1_u32..20, joiners in 1_u32..5, count in 0_u32..300, with_anchors in any::<bool>(),
    ) {
        let mut world = World::new(partitions(count as usize));
        world.remembers = with_anchors;
        let (few, many) = (worker_table(0..old), worker_table(0..old + joiners));
        let strategy = Sticky::new();
        world.decide(&strategy, &few);
        for (group, is_join) in [(&many, true), (&few, false), (&many, true), (&few, false)] {
            let before = world.owners.clone();
            world.decide(&strategy, group);
            for (then, now) in before.iter().zip(&world.owners).filter(|(then, now)| then != now) {
                let newcomer = if is_join { now } else { then };
                prop_assert!(few.index_of(newcomer).is_none(), "{then} -> {now}");
            }
        }
    }
}

/// One worker after the other leaves, the group decides, and the same ID comes back.
fn rolling_restart(world: &mut World, strategy: &Sticky, size: u32) -> u32 {
    let mut moved = 0;
    for gone in 0..size {
        let others = worker_table((0..size).filter(|&number| number != gone));
        moved += world.decide(strategy, &others).moved;
        moved += world.decide(strategy, &worker_table(0..size)).moved;
    }
    moved
}

/// Joins and leaves under ever new IDs, so that the group forgets its first assignment.
fn age(world: &mut World, strategy: &Sticky, size: u32) {
    for round in 0..20 {
        let others = (1..size).chain([1000 + round]);
        world.decide(strategy, &worker_table(others));
        world.decide(strategy, &worker_table(0..size));
        world.decide(strategy, &worker_table(0..size + 1 + round % 3));
        world.decide(strategy, &worker_table(0..size));
    }
}

/// An update that restarts every worker must not scatter caches: 80 % is what users were promised.
#[test]
fn a_rolling_restart_restores_every_partition() {
    for aged in [false, true] {
        let (strategy, group) = (Sticky::new(), Workload::new(10, 100, Weights::Equal));
        let mut world = World::new(group.partitions());
        world.decide(&strategy, &group.workers());
        if aged {
            age(&mut world, &strategy, 10);
        }
        world.anchors.clear();
        let before = world.owners.clone();
        let moved = rolling_restart(&mut world, &strategy, 10);
        assert_eq!(world.affinity(&before), 100, "aged: {aged}");
        assert!(moved <= 200, "{moved} moves, aged: {aged}");
        assert_eq!(world.anchors, []);
    }
}

/// Guards the test above: stickiness alone does not find back.
#[test]
fn without_anchors_and_homes_a_rolling_restart_scatters() {
    let (strategy, group) = (
        Sticky::new().without_homes(),
        Workload::new(10, 100, Weights::Equal),
    );
    let mut world = World::new(group.partitions());
    world.remembers = false;
    world.decide(&strategy, &group.workers());
    let before = world.owners.clone();
    rolling_restart(&mut world, &strategy, 10);
    assert!(
        world.affinity(&before) < 50,
        "{} %",
        world.affinity(&before)
    );
}

/// The same at sizes where the shares are no whole numbers: one partition may stay abroad per
/// restart, since bringing it back would be a move that balance does not need.
#[test]
fn a_single_restart_loses_at_most_the_rounding() {
    for (size, count) in [(3, 100), (7, 100), (10, 1003), (16, 5), (9, 1000)] {
        let group = Workload::new(size, count, Weights::Equal);
        let strategy = Sticky::new();
        let mut world = World::new(group.partitions());
        world.decide(&strategy, &group.workers());
        age(&mut world, &strategy, size);
        for gone in 0..size {
            let before = world.owners.clone();
            world.decide(
                &strategy,
                &worker_table((0..size).filter(|&number| number != gone)),
            );
            world.decide(&strategy, &worker_table(0..size));
            let abroad = before
                .iter()
                .zip(&world.owners)
                .filter(|(a, b)| a != b)
                .count();
            assert!(abroad <= 1, "{abroad} of {count} at {size} workers");
        }
    }
}

/// Bad input must be refused by name: a leader that indexes with it would crash-loop.
#[test]
fn bad_input_is_refused_with_the_offender() {
    let check = |spoil: &dyn Fn(&mut PlanInput), part: &str| {
        let mut input = input(&[1, 1], &[0, 1, 0], &[]);
        spoil(&mut input);
        let error = Sticky::new().plan(&input).expect_err(part).to_string();
        assert!(error.contains(part), "{error}");
    };
    check(
        &|input| input.previous.truncate(2),
        "2 owners for 3 partitions",
    );
    check(
        &|input| input.previous[1] = 4,
        "owner 4 of the partition of rank 1",
    );
    check(&|input| input.workers = workers(&[]), "no worker");
    check(&|input| input.workers = workers(&[0, 0]), "no worker");
    check(
        &|input| input.anchors = vec![(3, WorkerId::new("a").expect("ok"))],
        "rank 3",
    );
    let twice = || vec![(1, WorkerId::new("a").expect("ok")); 2];
    check(&|input| input.anchors = twice(), "rank 1");
}

/// Nothing to own is a normal state of a group, not an error.
#[test]
fn an_empty_list_gives_an_empty_plan() {
    let plan = plan(&input(&[1, 2, 0], &[], &[]));
    assert_eq!(
        (plan.owners.len(), plan.report.moved, plan.report.max_load),
        (0, 0, 0)
    );
    assert!(plan.report.settled);
}

/// Two workers restart with overlap: what the second one hosted for the first may stay with it.
#[test]
fn overlapping_restarts_lose_at_most_what_one_hosted_for_the_other() {
    let (strategy, group) = (Sticky::new(), Workload::new(10, 100, Weights::Equal));
    let mut world = World::new(group.partitions());
    world.decide(&strategy, &group.workers());
    let before = world.owners.clone();
    for gone in 0..10 {
        let without = |gone: &[u32]| worker_table((0..10).filter(|number| !gone.contains(number)));
        let other = (gone + 1) % 10;
        world.decide(&strategy, &without(&[gone]));
        world.decide(&strategy, &without(&[gone, other]));
        world.decide(&strategy, &without(&[other]));
        world.decide(&strategy, &without(&[]));
    }
    assert!(
        world.affinity(&before) >= 80,
        "{} %",
        world.affinity(&before)
    );
}

/// A group that has just shrunk for good is restarted: the leavers must not keep a claim.
#[test]
fn a_rolling_restart_after_shrinking_restores_every_partition() {
    let (strategy, group) = (Sticky::new(), Workload::new(10, 100, Weights::Equal));
    let mut world = World::new(group.partitions());
    world.decide(&strategy, &worker_table(0..20));
    world.decide(&strategy, &worker_table(0..10));
    let before = world.owners.clone();
    rolling_restart(&mut world, &strategy, 10);
    assert_eq!(world.affinity(&before), 100);
}
