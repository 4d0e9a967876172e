//! What every strategy promises, over groups as odd as the types allow.

use std::sync::Arc;

use parti_core::{
    AssignmentStrategy, NO_OWNER, Partition, PartitionTable, Plan, PlanError, PlanInput, WorkerId,
    WorkerInfo, WorkerTable, anchors_after,
};
use parti_strategy::workload::{Weights, Workload};
use parti_strategy::{
    ConsistentHash, Eligibility, Rendezvous, RoundRobin, Sticky, WeightedConsistentHash,
};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;

fn all() -> Vec<Box<dyn AssignmentStrategy>> {
    let nobody_matches = Eligibility::new().require(["no such key"], "label", ["none"]);
    vec![
        Box::new(Sticky::new()),
        Box::new(Sticky::new().without_homes().with_band(20, 50)),
        Box::new(Sticky::new().with_eligibility(nobody_matches)),
        Box::new(ConsistentHash::new().with_virtual_nodes(20)),
        Box::new(
            ConsistentHash::new()
                .with_virtual_nodes(20)
                .with_load_bound(50),
        ),
        Box::new(WeightedConsistentHash::new().with_seed(42)),
        Box::new(Rendezvous::new()),
        Box::new(RoundRobin::new()),
    ]
}

/// A way to make an input contradict itself.
type Spoil = fn(&mut PlanInput);

/// A group as it comes from outside: lists in any order, owners by number.
#[derive(Clone, Debug)]
struct Group {
    workers: Vec<WorkerInfo>,
    list: Vec<Partition>,
    previous: Vec<u32>,
    anchored: Vec<bool>,
    budget: Option<u32>,
}

impl Group {
    fn input(&self) -> PlanInput {
        let partitions = PartitionTable::new(self.list.clone()).expect("distinct and small");
        let workers = WorkerTable::new(self.workers.clone()).expect("distinct");
        let mut input = PlanInput::fresh(Arc::new(partitions), Arc::new(workers));
        // Names that no worker of the group can have: theirs are in lower case.
        input.departed = ["X", "Y"]
            .map(|name| WorkerId::new(name).expect("ok"))
            .to_vec();
        if self.previous.is_empty() {
            return input;
        }
        input.previous = vec![NO_OWNER; self.list.len()];
        let mut ids: Vec<_> = self.workers.iter().map(|worker| &worker.id).collect();
        ids.sort_unstable();
        for (number, partition) in self.list.iter().enumerate() {
            let rank = input.partitions.rank_of(&partition.key).expect("listed");
            let owner = self.previous[number % self.previous.len()];
            if (owner as usize) < ids.len() + 2 {
                input.previous[rank as usize] = owner;
            }
            if self.anchored[number % self.anchored.len()] {
                let home = ids
                    .get(owner as usize / 2)
                    .map_or(&input.departed[0], |id| *id);
                input.anchors.push((rank, home.clone()));
            }
        }
        input.anchors.sort_unstable();
        input.budget = self.budget;
        input
    }

    /// The same group with its lists in another order.
    fn turned(&self, by: usize) -> PlanInput {
        let numbers = |len: usize| (0..len).map(move |i| (i + by) % len.max(1)).rev();
        let original = self.input();
        let list = numbers(self.list.len())
            .map(|i| self.list[i].clone())
            .collect();
        let workers = numbers(self.workers.len()).map(|i| self.workers[i].clone());
        let workers = WorkerTable::new(workers.collect()).expect("distinct");
        PlanInput {
            partitions: Arc::new(PartitionTable::new(list).expect("distinct")),
            workers: Arc::new(workers),
            ..original
        }
    }
}

fn group() -> impl Strategy<Value = Group> {
    let parts = vec(
        prop_oneof!["[ab/:0-9]{1,3}", "\\PC{1,6}", Just("é".to_owned())],
        1..4,
    );
    let weight = prop_oneof![0..4_u64, 0..1_u64 << 32, Just(7), Just(1 << 32)];
    let capacity = prop_oneof![4 => Just(1_u32), 1 => 0..6_u32];
    (
        btree_map("[a-z0-9_-]{1,3}", capacity, 1..64),
        btree_map(parts, weight, 0..150),
        (any::<bool>(), 1..100_u64),
        vec(0..70_u32, 0..40),
        vec(any::<bool>(), 1..9),
        proptest::option::of(0..60_u32),
    )
        .prop_map(
            |(workers, list, (is_equal, same), previous, anchored, budget)| {
                let info = |(id, capacity): (String, u32)| WorkerInfo {
                    capacity,
                    ..WorkerInfo::new(WorkerId::new(&id).expect("allowed characters"))
                };
                let partition = |(parts, weight): (Vec<String>, u64)| {
                    let weight = if is_equal { same } else { weight };
                    Partition::new(parts)
                        .expect("no empty part")
                        .with_weight(weight)
                };
                Group {
                    workers: workers.into_iter().map(info).collect(),
                    list: list.into_iter().map(partition).collect(),
                    previous,
                    anchored,
                    budget,
                }
            },
        )
}

/// Complete, allowed, and with a certificate that tells the truth.
fn check(name: &str, input: &PlanInput, plan: &Plan) {
    plan.check(input)
        .expect("every partition once, with an owner that lives");
    let workers = input.workers.as_slice();
    let mut loads = vec![0_u64; workers.len()];
    for (&owner, weight) in plan.owners.iter().zip(input.partitions.weights()) {
        assert_ne!(
            workers[owner as usize].capacity, 0,
            "{name} gives to capacity 0"
        );
        loads[owner as usize] += weight;
    }
    let (mut moved, mut moved_weight, mut forced) = (0, 0, 0);
    let changes = input
        .previous
        .iter()
        .zip(&plan.owners)
        .zip(input.partitions.weights());
    for ((&old, _), weight) in changes.filter(|((old, new), _)| old != new && **old != NO_OWNER) {
        let may_keep = workers
            .get(old as usize)
            .is_some_and(|worker| worker.capacity > 0);
        (moved, moved_weight) = (moved + 1, moved_weight + weight);
        forced += u32::from(!may_keep);
    }
    let report = &plan.report;
    let certificate = (
        report.moved,
        report.moved_weight,
        report.forced,
        report.voluntary,
    );
    assert_eq!(
        certificate,
        (moved, moved_weight, forced, moved - forced),
        "{name}"
    );
    assert_eq!(
        report.max_load,
        loads.iter().copied().max().unwrap_or(0),
        "{name}"
    );
    assert!(
        report.lower_bound <= moved && report.moved_weight_bound <= moved_weight,
        "{name}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// A partition left out or given twice is work undone or done twice, whatever the strategy; and
    /// two leaders whose lists come in different orders must agree.
    #[test]
    fn plans_are_complete_honest_repeatable_and_at_rest(group in group(), by in 0..50_usize) {
        let input = group.input();
        let able = group.workers.iter().any(|worker| worker.capacity > 0);
        for strategy in all() {
            let name = strategy.id().to_string();
            let plan = match strategy.plan(&input) {
                Ok(plan) => plan,
                Err(error) => {
                    prop_assert_eq!(error, PlanError::NoWorkers, "{}", name);
                    prop_assert!(!able, "{} plans nothing", name);
                    continue;
                }
            };
            check(&name, &input, &plan);
            prop_assert_eq!(strategy.plan(&input), Ok(plan.clone()), "{} again", name);
            prop_assert_eq!(strategy.plan(&group.turned(by)), Ok(plan.clone()), "{} turned", name);
            if plan.report.settled {
                let next = PlanInput {
                    previous: plan.owners.clone(),
                    anchors: anchors_after(&input, &plan),
                    departed: Vec::new(),
                    ..input.clone()
                };
                let again = strategy.plan(&next).expect("the same group");
                prop_assert_eq!(again.report.moved, 0, "{} is not at rest", name);
            }
        }
    }

    /// A group whose weights are all the same is one of equal weights, whatever the number is.
    #[test]
    fn equally_heavy_partitions_are_planned_as_those_of_weight_one(group in group(), weight: u32) {
        let planned = |weight: u64| {
            let mut group = group.clone();
            group.list.iter_mut().for_each(|partition| partition.weight = weight);
            Sticky::new().plan(&group.input()).map(|plan| plan.owners)
        };
        prop_assert_eq!(planned(u64::from(weight)), planned(1));
    }

    /// Two workers of one ID, or two partitions of one key, would own each other's work.
    #[test]
    fn duplicates_are_refused_by_name(ids in btree_set("[a-z]{1,2}", 1..20), pick in 0..20_usize) {
        let id = |name: &String| WorkerId::new(name).expect("letters");
        let twice = ids.iter().nth(pick % ids.len()).expect("within");
        let workers = ids.iter().chain([twice]).map(|name| WorkerInfo::new(id(name)));
        let error = WorkerTable::new(workers.collect()).expect_err("a duplicate");
        prop_assert_eq!(error, PlanError::DuplicateWorker { worker: id(twice) });
        let list = ids.iter().chain([twice]).map(|name| Partition::new([name]).expect("a key"));
        let error = PartitionTable::new(list.collect()).expect_err("a duplicate");
        prop_assert!(error.to_string().contains(&format!("partition {twice} ")), "{}", error);
    }
}

/// Numbers at the edge of their types come from a unit mistaken once; nothing may overflow.
#[test]
fn huge_weights_and_capacities_are_planned_or_refused_with_advice() {
    for strategy in all() {
        for capacities in [[1, 1, 1], [u32::MAX, 0, u32::MAX], [1, 300, 90_000]] {
            let info = |(number, &capacity): (u32, &u32)| WorkerInfo {
                capacity,
                ..WorkerInfo::new(WorkerId::numbered("w", number).expect("short"))
            };
            let workers = WorkerTable::new((0..).zip(&capacities).map(info).collect());
            let weights = [u64::MAX / 4, u64::MAX / 4, u64::MAX / 4, 0, 1, u64::MAX / 8];
            let list = (0..).zip(weights).map(|(number, weight): (u32, u64)| {
                let key = Partition::new([number.to_string()]);
                key.expect("valid").with_weight(weight)
            });
            let partitions = PartitionTable::new(list.collect()).expect("the sum fits");
            let input =
                PlanInput::fresh(Arc::new(partitions), Arc::new(workers.expect("distinct")));
            match strategy.plan(&input) {
                Ok(plan) => check(strategy.id().as_str(), &input, &plan),
                Err(PlanError::BadInput(advice)) => {
                    assert!(advice.contains("capacit"), "{}: {advice}", strategy.id());
                }
                Err(error) => panic!("{}: {error}", strategy.id()),
            }
        }
    }
}

/// A previous assignment that contradicts itself must be refused, or a plan would be certified
/// against owners that never were.
#[test]
fn a_previous_assignment_that_contradicts_itself_is_refused() {
    let id = |name: &str| WorkerId::new(name).expect("valid");
    let group = Workload::new(3, 10, Weights::Uniform);
    let spoilt: [(&str, Spoil); 3] = [
        ("9 owners for 10", |input| input.previous.truncate(9)),
        ("11 owners for 10", |input| input.previous.push(0)),
        ("owner 5 of the partition of rank 2", |input| {
            input.previous[2] = 5
        }),
    ];
    let departed = [
        ("departed owner x", vec![id("x"), id("x")]),
        ("departed owner a", vec![id("x"), id("a")]),
        ("departed owner worker-1", vec![id("worker-1"), id("x")]),
    ];
    for strategy in all() {
        let mut good = PlanInput::fresh(group.partitions(), group.workers());
        good.previous = vec![0, 1, 2, 3, 4, NO_OWNER, 0, 1, 2, 3];
        good.departed = vec![id("x"), id("y")];
        check(
            strategy.id().as_str(),
            &good,
            &strategy.plan(&good).expect("a plan"),
        );
        let check = |bad: PlanInput, part: &str| match strategy.plan(&bad) {
            Err(PlanError::BadInput(words)) => assert!(words.contains(part), "{words}"),
            other => panic!("{}: {part}: {other:?}", strategy.id()),
        };
        for (part, spoil) in spoilt {
            let mut bad = good.clone();
            spoil(&mut bad);
            check(bad, part);
        }
        for (part, departed) in &departed {
            let departed = departed.clone();
            check(
                PlanInput {
                    departed,
                    ..good.clone()
                },
                part,
            );
        }
    }
}
