//! Sticky, partitions of different weight: the proved bounds, budgets, giants, and finding back.

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

fn input(capacities: &[u32], parts: &[(u64, u32)]) -> PlanInput {
    let partition = |(number, &(weight, _)): (usize, &(u64, u32))| {
        Partition::new([format!("p-{number}")])
            .expect("valid key")
            .with_weight(weight)
    };
    let list: Vec<_> = parts.iter().enumerate().map(partition).collect();
    let table = PartitionTable::new(list.clone()).expect("distinct and small");
    let info = |(number, &capacity): (u32, &u32)| WorkerInfo {
        capacity,
        ..WorkerInfo::new(WorkerId::numbered("w", number).expect("short"))
    };
    let workers = (0..).zip(capacities).map(info).collect();
    let workers = Arc::new(WorkerTable::new(workers).expect("distinct"));
    let mut input = PlanInput::fresh(Arc::new(table), workers);
    input.departed = vec![
        WorkerId::new("x").expect("ok"),
        WorkerId::new("y").expect("ok"),
    ];
    let known = (capacities.len() + 2) as u32;
    input.previous = vec![NO_OWNER; list.len()];
    for (partition, &(_, owner)) in list.iter().zip(parts) {
        let rank = input.partitions.rank_of(&partition.key).expect("listed") as usize;
        input.previous[rank] = if owner < known { owner } else { NO_OWNER };
    }
    input
}

fn loads(input: &PlanInput, owners: &[u32]) -> Vec<u64> {
    let mut loads = vec![0; input.workers.len()];
    for (&owner, &weight) in owners.iter().zip(input.partitions.weights()) {
        loads[owner as usize] += weight;
    }
    loads
}

fn moved_weight(input: &PlanInput, owners: &[u32]) -> u64 {
    let moves = input
        .previous
        .iter()
        .zip(owners)
        .zip(input.partitions.weights());
    moves
        .filter(|((old, new), _)| **old != NO_OWNER && old != new)
        .map(|(_, &w)| w)
        .sum()
}

/// The water level of equal workers by its definition: (weight, workers) without giants, giants.
fn level(input: &PlanInput) -> (u64, u64, Vec<u64>) {
    let mut weights = input.partitions.weights().to_vec();
    weights.sort_unstable_by(|a, b| b.cmp(a));
    let (mut weight, mut workers) = (weights.iter().sum::<u64>(), input.workers.len() as u64);
    let mut giants = Vec::new();
    for giant in weights {
        if giant * workers <= weight {
            break;
        }
        (weight, workers) = (weight - giant, workers - 1);
        giants.push(giant);
    }
    (weight, workers, giants)
}

fn checked(strategy: &Sticky, input: &PlanInput) -> Plan {
    let plan = strategy.plan(input).expect("a plan");
    plan.check(input).expect("complete");
    let loads = loads(input, &plan.owners);
    assert_eq!(Some(plan.report.max_load), loads.iter().max().copied());
    assert_eq!(plan.report.moved_weight, moved_weight(input, &plan.owners));
    assert_eq!(
        plan.report.moved,
        plan.report.forced + plan.report.voluntary
    );
    assert!(plan.report.lower_bound <= plan.report.moved);
    assert!(plan.report.moved_weight_bound <= plan.report.moved_weight);
    for (load, info) in loads.iter().zip(input.workers.as_slice()) {
        assert!(
            info.capacity > 0 || *load == 0,
            "a worker of capacity 0 owns something"
        );
    }
    plan
}

fn weight() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 1_u64..200, 1 => 1_u64..4, 1 => (0_u32..20).prop_map(|bits| 1 << bits)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// The hard upper bound is what an operator sizes machines by (Theorem 5).
    #[test]
    fn no_load_exceeds_the_proved_bound(
        workers in 1_usize..12,
        parts in prop::collection::vec((weight(), 0_u32..16), 1..150),
        goal in 0_u32..100, more in 0_u32..100,
    ) {
        let input = input(&vec![1; workers], &parts);
        prop_assume!(input.partitions.uniform_weight().is_none());
        let plan = checked(&Sticky::new().with_band(goal, goal + more), &input);
        let (weight, free, giants) = level(&input);
        prop_assert_eq!(plan.report.giants as usize, giants.len());
        let high = (weight * u64::from(1000 + goal + more)).div_ceil(free * 1000);
        let pooled = input.partitions.weights().iter().copied();
        let heaviest = pooled.filter(|w| w * free <= weight).max().unwrap_or(0);
        let limit = high.max((weight + heaviest * free).div_ceil(free));
        for (worker, load) in loads(&input, &plan.owners).into_iter().enumerate() {
            let own = plan.owners.iter().zip(input.partitions.weights());
            let own = own.filter(|(owner, _)| **owner as usize == worker).map(|(_, &w)| w);
            prop_assert!(load <= limit.max(own.max().unwrap_or(0)), "{load} > {limit}");
        }
    }

    /// Planning again must change nothing, whatever the input, or the group never comes to rest.
    #[test]
    fn plans_are_idempotent_and_do_not_depend_on_used_memory(
        capacities in prop::collection::vec(0_u32..6, 1..12),
        parts in prop::collection::vec((weight(), 0_u32..16), 0..150),
        homes in any::<bool>(),
        band in prop::option::of((0_u32..30, 0_u32..30)),
    ) {
        prop_assume!(capacities.iter().any(|&c| c > 0));
        let input = input(&capacities, &parts);
        let mut strategy = if homes { Sticky::new() } else { Sticky::new().without_homes() };
        if let Some((goal, more)) = band {
            strategy = strategy.with_band(goal, goal + more);
        }
        let first = checked(&strategy, &input);
        prop_assume!(first.report.settled);
        let mut again = input.clone();
        again.previous.clone_from(&first.owners);
        let plan = strategy.plan(&again).expect("a plan");
        prop_assert_eq!(&plan.owners, &first.owners);
        prop_assert_eq!((plan.report.moved, plan.report.settled), (0, true));
    }

    /// A lower bound that some assignment undercuts would make every plan look bad.
    #[test]
    fn no_assignment_within_the_band_moves_less_than_the_bound(
        workers in 1_usize..4,
        parts in prop::collection::vec((1_u64..12, 0_u32..6), 1..7),
        trigger in 100_u32..600,
    ) {
        let input = input(&vec![1; workers], &parts);
        prop_assume!(input.partitions.uniform_weight().is_none());
        let report = checked(&Sticky::new().with_band(50, trigger), &input).report;
        let (weight, free, giants) = level(&input);
        let low = weight * u64::from(1000_u32.saturating_sub(trigger)) / (free * 1000);
        let high = (weight * u64::from(1000 + trigger)).div_ceil(free * 1000);
        let count = parts.len() as u32;
        for mut code in 0..(workers as u32).pow(count) {
            let mut owners = Vec::new();
            for _ in 0..count {
                owners.push(code % workers as u32);
                code /= workers as u32;
            }
            let holds_one_giant = |worker: usize| {
                let own = owners.iter().zip(input.partitions.weights());
                let own: Vec<_> = own.filter(|(o, _)| **o as usize == worker).collect();
                own.len() == 1 && giants.contains(own[0].1)
            };
            let is_fine = |(worker, load): (usize, &u64)| {
                (low..=high).contains(load) || holds_one_giant(worker)
            };
            if loads(&input, &owners).iter().enumerate().all(is_fine) {
                prop_assert!(report.moved_weight_bound <= moved_weight(&input, &owners));
                let moves = input.previous.iter().zip(&owners);
                let moves = moves.filter(|(old, new)| **old != NO_OWNER && old != new).count();
                prop_assert!(report.lower_bound as usize <= moves);
            }
        }
    }

    /// A budget must be kept by every decision, and a chain of decisions must come to rest.
    #[test]
    fn budgets_are_kept_and_violations_only_shrink(
        workers in 1_usize..10,
        parts in prop::collection::vec((weight(), 0_u32..12), 1..150),
        budget in 1_u32..12,
    ) {
        let mut input = input(&vec![1; workers], &parts);
        input.budget = Some(budget);
        let mut last = None;
        for _ in 0..400 {
            let plan = checked(&Sticky::new(), &input);
            prop_assert!(plan.report.voluntary <= budget);
            let violation = plan.report.violation;
            prop_assert!(last.is_none_or(|last| violation <= last), "{last:?} -> {violation}");
            last = Some(violation);
            input.previous.clone_from(&plan.owners);
            if plan.report.moved == 0 {
                return Ok(());
            }
        }
        prop_assert!(false, "no rest after 400 decisions");
    }

    /// Two giants on one worker while another has none is the worst imbalance there is.
    #[test]
    fn giants_never_share_a_worker(
        workers in 2_usize..12,
        giants in 1_usize..6,
        parts in prop::collection::vec((1_u64..20, 0_u32..16), 20..100),
    ) {
        let mut parts = parts;
        for part in parts.iter_mut().take(giants.min(workers - 1)) {
            part.0 += 10_000;
        }
        let input = input(&vec![1; workers], &parts);
        let plan = checked(&Sticky::new(), &input);
        let mut held = vec![0; workers];
        for (&owner, _) in plan.owners.iter().zip(input.partitions.weights()).filter(|(_, w)| **w > 9000) {
            held[owner as usize] += 1;
        }
        prop_assert!(held.iter().all(|&count| count <= 1), "{held:?}");
    }
}

/// What joins and leaves may cost at a realistic granularity: P/W >= 50.
#[test]
fn joins_and_leaves_move_close_to_the_least_weight() {
    for (size, count) in [(10, 500), (20, 2000), (50, 5000)] {
        let group = Workload::new(size, count, Weights::Uniform);
        let mut world = World::new(group.partitions());
        world.decide(&Sticky::new(), &group.workers());
        let changes = [
            ("join", worker_table(0..=size)),
            ("leave", worker_table(1..size)),
            ("replace", worker_table(1..=size)),
        ];
        for (change, workers) in changes {
            let report = world.clone().decide(&Sticky::new(), &workers);
            let (moved, bound) = (report.moved_weight, report.moved_weight_bound);
            assert!(
                moved * 100 <= bound * 125,
                "{change} {size} x {count}: {moved} > {bound}"
            );
            assert_eq!(report.violation, 0, "{change} {size} x {count}");
        }
    }
}

/// Hysteresis: a change of weights that stays inside the band must not move anything.
#[test]
fn nothing_moves_while_all_loads_are_inside_the_trigger() {
    let parts: Vec<_> = (0..100).map(|i| (100 + u64::from(i % 7), i % 10)).collect();
    let plan = checked(&Sticky::new(), &input(&[1; 10], &parts));
    assert_eq!((plan.report.moved, plan.report.settled), (0, true));
    let mut heavier = parts;
    heavier
        .iter_mut()
        .filter(|part| part.1 == 0)
        .for_each(|part| part.0 += 30);
    let plan = checked(&Sticky::new(), &input(&[1; 10], &heavier));
    assert!(plan.report.moved > 0);
    assert!(plan.report.violation == 0);
}

/// Capacity is what operators give larger machines for.
#[test]
fn loads_follow_capacities() {
    let parts: Vec<_> = (0..1000).map(|i| (50 + i % 101, u32::MAX)).collect();
    let input = input(&[1, 2, 4, 0, 3], &parts);
    let plan = checked(&Sticky::new(), &input);
    let level = input.partitions.total_weight() / 10;
    for (load, info) in loads(&input, &plan.owners)
        .iter()
        .zip(input.workers.as_slice())
    {
        let due = level * u64::from(info.capacity);
        assert!(
            load * 100 >= due * 89 && load * 100 <= due * 111,
            "{load} for {due}"
        );
    }
}

/// The same promise as for equal weights: an update of all workers must not scatter caches.
#[test]
fn a_rolling_restart_restores_nearly_every_partition() {
    for (size, count) in [(10, 1000), (20, 2000)] {
        let group = Workload::new(size, count, Weights::Uniform);
        let mut world = World::new(group.partitions());
        world.decide(&Sticky::new(), &group.workers());
        let before = world.owners.clone();
        for gone in 0..size {
            let others = worker_table((0..size).filter(|&number| number != gone));
            world.decide(&Sticky::new(), &others);
            world.decide(&Sticky::new(), &worker_table(0..size));
        }
        assert!(
            world.affinity(&before) >= 95,
            "{} %",
            world.affinity(&before)
        );
    }
}

/// Weights at the edge of the type must neither overflow nor loop.
#[test]
fn extreme_weights_are_planned() {
    let heavy = u64::MAX / 4;
    let parts = [(heavy, 0), (heavy, 0), (heavy, 1), (1, 0), (0, 9), (7, 2)];
    for capacities in [&[1, 1, 1, 1][..], &[u32::MAX, 1, 0, u32::MAX], &[1]] {
        let plan = checked(&Sticky::new(), &input(capacities, &parts));
        assert!(plan.report.total_weight > heavy);
    }
}

/// One heavy hand-off is better than many light ones when both would do.
#[test]
fn an_overloaded_worker_sheds_its_largest_suitable_partition() {
    let mut parts: Vec<_> = (0..30).map(|i| (10, i % 3)).collect();
    parts.push((50, 0));
    parts.extend([(30, 1), (30, 2)]);
    // 150, 130 and 130: without the 50 the worker would starve, so one of 10 goes.
    let plan = checked(&Sticky::new().with_band(50, 50), &input(&[1; 3], &parts));
    assert_eq!((plan.report.moved, plan.report.violation), (1, 0));
    // 190, 100 and 100: one of 50 does what would take five of 10.
    let mut parts: Vec<_> = (0..30).map(|i| (10, i % 3)).collect();
    parts.extend([(50, 0), (40, 0)]);
    let plan = checked(&Sticky::new().with_band(250, 250), &input(&[1; 3], &parts));
    assert_eq!(plan.report.moved, 1);
}

/// A new group of few heavy and many light partitions: a plan that says it is settled and moves
/// partitions at the next decision hands off what had just been opened.
#[test]
fn the_first_plan_of_a_group_is_at_rest_when_it_says_so() {
    // Among 20 000 seeds these moved up to 8 partitions when homes counted only at the second decision.
    for seed in [2_511, 7_940, 11_351, 12_884_u64] {
        let draw = |number: u64, of: u64| {
            let mixed = (seed << 16 | number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            ((mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 29) % of
        };
        let capacities: Vec<_> = (0..16)
            .map(|w| [1, 1, 1, 0, 3][draw(w, 5) as usize])
            .collect();
        let weight = |p| [draw(p, 4), draw(p, 1 << 32), 7, 1 << 32][draw(p + 500, 4) as usize];
        let parts: Vec<_> = (100..180).map(|p| (weight(p), NO_OWNER)).collect();
        let first = input(&capacities, &parts);
        let plan = checked(&Sticky::new(), &first);
        if plan.report.settled {
            let next = PlanInput {
                previous: plan.owners.clone(),
                ..first
            };
            let moved = checked(&Sticky::new(), &next).report.moved;
            assert_eq!(moved, 0, "seed {seed}");
        }
    }
}
