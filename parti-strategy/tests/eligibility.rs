//! Rules on labels: hard ones are never broken, soft ones wait for their grace, the result is exact
//! for equal weights, and what nobody may own is named and hinders nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parti_core::{
    AssignmentStrategy, NO_OWNER, ParkReason, Partition, PartitionTable, Plan, PlanError,
    PlanInput, WorkerId, WorkerInfo, WorkerTable,
};
use parti_strategy::{Eligibility, Sticky};
use proptest::prelude::*;

/// Partitions `c<class>/<n>`; workers with a label `set` each; a rule per class.
struct Group {
    input: PlanInput,
    rules: Eligibility,
}

/// `classes[i]` are the label values that class i may live on; a part is (class, weight, previous).
fn group(capacities: &[u32], classes: &[Vec<u32>], parts: &[(usize, u64, u32)]) -> Group {
    let mut rules = Eligibility::new();
    for (class, values) in classes.iter().enumerate() {
        let values = values.iter().map(ToString::to_string);
        rules = rules.require([format!("c{class}")], "set", values);
    }
    let info = |(number, &capacity): (u32, &u32)| WorkerInfo {
        capacity,
        labels: [("set".to_owned(), number.to_string())].into(),
        ..WorkerInfo::new(WorkerId::numbered("w", number).expect("short"))
    };
    let workers = WorkerTable::new((0..).zip(capacities).map(info).collect()).expect("distinct");
    let partition = |(number, &(class, weight, _)): (usize, &(usize, u64, u32))| {
        let keys = [format!("c{}", class % classes.len()), number.to_string()];
        Partition::new(keys).expect("valid").with_weight(weight)
    };
    let list: Vec<_> = parts.iter().enumerate().map(partition).collect();
    let table = PartitionTable::new(list.clone()).expect("distinct");
    let mut input = PlanInput::fresh(Arc::new(table), Arc::new(workers));
    input.departed = vec![WorkerId::new("x").expect("valid")];
    input.previous = vec![NO_OWNER; list.len()];
    for (partition, &(_, _, owner)) in list.iter().zip(parts) {
        let rank = input.partitions.rank_of(&partition.key).expect("listed") as usize;
        input.previous[rank] = if owner as usize <= capacities.len() {
            owner
        } else {
            NO_OWNER
        };
    }
    Group { input, rules }
}

fn is_allowed(group: &Group, rank: usize, owner: u32) -> bool {
    let worker = group.input.workers.get(owner).expect("known");
    worker.capacity > 0
        && group
            .rules
            .allows(&group.input.partitions.as_slice()[rank].key, worker)
}

fn plan(group: &Group) -> Result<Plan, PlanError> {
    let plan = Sticky::new()
        .with_eligibility(group.rules.clone())
        .plan(&group.input)?;
    plan.check(&group.input).expect("complete");
    for (rank, &owner) in plan.owners.iter().enumerate() {
        let mut workers = 0..group.input.workers.len() as u32;
        match owner {
            NO_OWNER => assert!(!workers.any(|worker| is_allowed(group, rank, worker))),
            _ => assert!(is_allowed(group, rank, owner), "rank {rank} on {owner}"),
        }
    }
    Ok(plan)
}

fn moves(input: &PlanInput, owners: &[u32]) -> u32 {
    let moves = input.previous.iter().zip(owners);
    moves
        .filter(|(old, new)| **old != NO_OWNER && **new != NO_OWNER && old != new)
        .count() as u32
}

fn squares(input: &PlanInput, owners: &[u32]) -> u64 {
    let mut counts = vec![0_u64; input.workers.len()];
    owners.iter().for_each(|&owner| counts[owner as usize] += 1);
    counts.iter().map(|count| count * count).sum()
}

/// (least sum of squares, then fewest moves), by trying everything.
fn best_by_trying(group: &Group) -> Option<(u64, u32)> {
    let (workers, count) = (
        group.input.workers.len() as u32,
        group.input.partitions.len() as u32,
    );
    let decode = |mut code: u32| {
        let mut owners = Vec::new();
        for _ in 0..count {
            owners.push(code % workers);
            code /= workers;
        }
        owners
    };
    let all = (0..workers.pow(count)).map(decode);
    let fine = all.filter(|owners| {
        owners
            .iter()
            .enumerate()
            .all(|(rank, &owner)| is_allowed(group, rank, owner))
    });
    fine.map(|owners| (squares(&group.input, &owners), moves(&group.input, &owners)))
        .min()
}

fn classes(workers: u32, most: usize) -> impl Strategy<Value = Vec<Vec<u32>>> {
    let values = prop::collection::vec(0..workers, 1..=workers as usize);
    prop::collection::vec(values, 1..=most)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Rules that overlap are where greedy placement goes wrong; small cases are compared with all.
    #[test]
    fn equal_weights_are_levelled_and_kept_as_well_as_possible(
        workers in 2_u32..5,
        classes in classes(4, 3),
        parts in prop::collection::vec((0_usize..3, Just(1_u64), 0_u32..7), 0..8),
    ) {
        let own = |values: &Vec<u32>| values.iter().map(|value| value % workers).collect();
        let classes: Vec<Vec<u32>> = classes.iter().map(own).collect();
        let group = group(&vec![1; workers as usize], &classes, &parts);
        let plan = plan(&group).expect("every class has somebody");
        let found = (squares(&group.input, &plan.owners), moves(&group.input, &plan.owners));
        prop_assert_eq!(Some(found), best_by_trying(&group));
        prop_assert_eq!(plan.report.moved, found.1);
        prop_assert_eq!(plan.report.lower_bound, found.1);
        prop_assert!(plan.report.settled);
    }

    /// Whatever the rules, capacities and weights: complete, allowed, honest, and at rest.
    #[test]
    fn larger_groups_are_planned_within_the_rules_and_come_to_rest(
        capacities in prop::collection::vec(0_u32..4, 1..9),
        classes in classes(9, 5),
        parts in prop::collection::vec((0_usize..5, 1_u64..9, 0_u32..12), 0..120),
        is_equal in any::<bool>(),
        budget in prop::option::of(0_u32..10),
    ) {
        prop_assume!(capacities.iter().any(|&capacity| capacity > 0));
        let parts: Vec<_> = parts.iter().map(|&(c, w, o)| (c, if is_equal { 3 } else { w }, o)).collect();
        let mut group = group(&capacities, &classes, &parts);
        group.input.budget = budget;
        let first = plan(&group).expect("what nobody may own fails nothing");
        let unplaced = first.owners.iter().filter(|owner| **owner == NO_OWNER).count();
        prop_assert_eq!(first.report.unplaced as usize, unplaced);
        prop_assert_eq!(first.report.moved, moves(&group.input, &first.owners));
        prop_assert!(budget.is_none_or(|budget| first.report.voluntary <= budget));
        if first.report.settled {
            group.input.previous.clone_from(&first.owners);
            let second = plan(&group).expect("as before");
            prop_assert_eq!(second.owners, first.owners);
            prop_assert_eq!(second.report.moved, 0);
        }
    }
}

/// An operator must learn which partition has no home, and what it would need; and the crash of
/// another pool's worker must be repaired all the same.
#[test]
fn an_impossible_partition_is_named_with_what_it_needs_and_hinders_no_other() {
    let parts = [(0, 1, 0), (0, 1, 2), (1, 1, 1), (0, 1, 1)];
    let group = group(&[1, 1], &[vec![0, 1], vec![7]], &parts);
    let plan = plan(&group).expect("a plan without the impossible one");
    let [unmet] = &plan.unmet[..] else {
        panic!("{:?}", plan.unmet)
    };
    let named = unmet.unplaced.iter();
    let named = named.map(|&rank| &group.input.partitions.as_slice()[rank as usize].key);
    assert_eq!(named.map(ToString::to_string).collect::<Vec<_>>(), ["c1/2"]);
    assert_eq!(unmet.reason, ParkReason::NoEligibleWorker);
    assert!(unmet.needs.contains("label \"set\" 7"), "{}", unmet.needs);
    assert_eq!((unmet.again_after, plan.report.unplaced), (None, 1));
    // The one whose owner departed moves, as without the impossible one; nothing else does.
    let report = &plan.report;
    assert_eq!((report.moved, report.lower_bound, report.forced), (1, 1, 1));
}

/// Partitions that stay unplaced must not cost the others anything: what is planned for the rest is
/// what is planned without them.
#[test]
fn the_rest_is_planned_as_if_the_impossible_were_not_there() {
    for heavy in [1, 5] {
        let part = |i: usize| (i % 4, 1 + (i as u64 % 3) * (heavy - 1), (i % 6) as u32);
        let parts: Vec<_> = (0..80).map(part).collect();
        let zones = [vec![0, 1], vec![1, 2, 3], vec![4], vec![9]];
        let whole = group(&[1, 2, 1, 1, 1], &zones, &parts);
        let plan_of_all = plan(&whole).expect("a plan");
        let keep: Vec<u32> = (0..80)
            .filter(|&rank| plan_of_all.owners[rank as usize] != NO_OWNER)
            .collect();
        assert_eq!(keep.len(), 60);
        let mut rest = group(&[1, 2, 1, 1, 1], &zones, &parts);
        let table = rest.input.partitions.subset(&keep);
        let previous = |rank: &u32| whole.input.previous[*rank as usize];
        rest.input.previous = keep.iter().map(previous).collect();
        rest.input.partitions = Arc::new(table);
        let plan_of_rest = plan(&rest).expect("a plan");
        let kept: Vec<u32> = keep
            .iter()
            .map(|&rank| plan_of_all.owners[rank as usize])
            .collect();
        assert_eq!(plan_of_rest.owners, kept);
        assert_eq!(plan_of_rest.report.moved, plan_of_all.report.moved);
        assert_eq!(
            plan_of_rest.report.lower_bound,
            plan_of_all.report.lower_bound
        );
        assert_eq!(plan_of_rest.report.level, plan_of_all.report.level);
    }
}

const GRACE: Duration = Duration::from_secs(60);

/// Partitions `p/<n>` that prefer `zone` a for a grace, need `tier` x, and workers by (zone, tier).
fn preferring(workers: &[(&str, &str)], previous: &[u32], waited: Option<Duration>) -> Plan {
    let rules =
        Eligibility::new()
            .require(["p"], "tier", ["x"])
            .prefer(["p"], "zone", ["a"], GRACE);
    let info = |(number, &(zone, tier)): (u32, &(&str, &str))| WorkerInfo {
        labels: [("zone", zone), ("tier", tier)]
            .map(|(label, value)| (label.to_owned(), value.to_owned()))
            .into(),
        ..WorkerInfo::new(WorkerId::numbered("w", number).expect("short"))
    };
    let table = WorkerTable::new((0..).zip(workers).map(info).collect()).expect("distinct");
    let list = (0..previous.len()).map(|n| Partition::new(["p".into(), n.to_string()]));
    let list = PartitionTable::new(list.map(|p| p.expect("valid")).collect()).expect("distinct");
    let mut input = PlanInput::fresh(Arc::new(list), Arc::new(table));
    input.previous = previous.to_vec();
    input.departed = vec![WorkerId::new("x").expect("valid")];
    let strategy = Sticky::new().with_eligibility(rules);
    if let Some(waited) = waited {
        let need = strategy.plan(&input).expect("a plan").unmet[0].need;
        input.waited = [(need, waited)].into();
    }
    let plan = strategy.plan(&input).expect("a plan");
    plan.check(&input).expect("complete");
    plan
}

/// A zone that is gone for a moment must not scatter its partitions; one that is gone for good must
/// not leave them without an owner.
#[test]
fn a_preferred_zone_is_waited_for_as_long_as_its_grace() {
    let other_zone = [("b", "x"), ("b", "y")];
    let gone = other_zone.len() as u32;
    for waited in [
        None,
        Some(Duration::ZERO),
        Some(GRACE - Duration::from_millis(1)),
    ] {
        let plan = preferring(&other_zone, &[gone; 4], waited);
        assert_eq!(plan.owners, [NO_OWNER; 4]);
        assert_eq!(plan.unmet[0].reason, ParkReason::AwaitsPreferred);
        assert_eq!(plan.unmet[0].again_after, Some(GRACE));
    }
    for waited in [GRACE, Duration::MAX] {
        let plan = preferring(&other_zone, &[gone; 4], Some(waited));
        assert_eq!(plan.owners, [0; 4], "only tier x may own them");
        // The count goes on, so that a second crash does not wait again.
        assert_eq!((plan.unmet.len(), plan.unmet[0].unplaced.len()), (1, 0));
        assert_eq!(plan.unmet[0].again_after, None);
    }
    let nobody = preferring(&[("b", "y")], &[1; 4], Some(Duration::MAX));
    assert_eq!(nobody.unmet[0].reason, ParkReason::NoEligibleWorker);
    assert_eq!(nobody.unmet[0].again_after, None);
}

/// What was given to another zone goes back when the preferred one does, and stays until then.
#[test]
fn what_spilled_over_stays_until_the_preferred_zone_is_back() {
    let spilled = preferring(&[("b", "x")], &[0; 4], None);
    assert_eq!((spilled.owners, spilled.report.moved), (vec![0; 4], 0));
    let back = preferring(&[("a", "x"), ("b", "x")], &[1; 4], None);
    assert_eq!((back.owners, back.unmet.len()), (vec![0; 4], 0));
    // A living owner that may keep it does; the one beside it, whose owner is gone, waits.
    let half = preferring(&[("b", "x")], &[0, 1, 0, 1], None);
    assert_eq!(half.report.unplaced, 2);
    assert_eq!((half.report.moved, half.unmet[0].unplaced.len()), (0, 2));
}

/// An explicit zero must not be taken for a default: such a rule is a mere preference.
#[test]
fn a_grace_of_zero_does_not_wait_and_rules_are_given_up_in_the_order_of_their_graces() {
    let rules = Eligibility::new()
        .prefer(["c0"], "set", ["9"], Duration::ZERO)
        .prefer(["c0"], "set", ["1"], GRACE);
    let mut group = group(&[1, 1], &[vec![0, 1]], &[(0, 1, 9), (0, 1, 9)]);
    group.rules = rules;
    let strategy = Sticky::new().with_eligibility(group.rules.clone());
    let plan = strategy.plan(&group.input).expect("a plan");
    let owners: BTreeSet<u32> = plan.owners.into_iter().collect();
    assert_eq!(
        owners,
        [1].into(),
        "nobody is 9, so the other rule is met at once"
    );
}

/// Zones that share nobody must be balanced each for itself, as without rules.
#[test]
fn separate_zones_are_balanced_each_for_itself() {
    let parts: Vec<_> = (0..100)
        .map(|i| (usize::from(i >= 30), 1, u32::MAX))
        .collect();
    let group = group(&[1; 6], &[vec![0, 1, 2], vec![3, 4, 5]], &parts);
    let plan = plan(&group).expect("a plan");
    let mut counts = [0; 6];
    plan.owners
        .iter()
        .for_each(|&owner| counts[owner as usize] += 1);
    assert_eq!(counts[..3], [10, 10, 10]);
    assert!(
        counts[3..].iter().all(|count| [23, 24].contains(count)),
        "{counts:?}"
    );
}

/// Weights with overlapping rules have no proof, so at least the ordinary case must come out even.
#[test]
fn overlapping_weighted_zones_come_out_even() {
    let parts: Vec<_> = (0..600)
        .map(|i| ((i % 3) as usize, 50 + i % 101, (i % 2) as u32))
        .collect();
    let zones = [vec![0, 1, 2], vec![2, 3, 4], vec![0, 1, 2, 3, 4, 5]];
    let report = plan(&group(&[1; 6], &zones, &parts))
        .expect("a plan")
        .report;
    assert!(
        report.max_load * 6 * 100 <= report.total_weight * 115,
        "{report:?}"
    );
    assert!(
        report.min_load * 6 * 100 >= report.total_weight * 85,
        "{report:?}"
    );
}

/// More rules than a mask has bits must be refused, not half applied.
#[test]
fn too_many_rules_are_refused() {
    let mut rules = Eligibility::new();
    for number in 0..65 {
        rules = rules.require([format!("t{number}")], "zone", ["a"]);
    }
    let group = group(&[1], &[vec![0]], &[(0, 1, 0)]);
    let error = Sticky::new()
        .with_eligibility(rules)
        .plan(&group.input)
        .expect_err("65 rules");
    assert!(
        error.to_string().contains("65 eligibility rules"),
        "{error}"
    );
}
