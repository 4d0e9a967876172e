//! What-if questions through the facade, as an operator's tool asks them.

use parti::planning::{Change, Forecast, plan, situation, what_if};
use parti::strategy::{Eligibility, PartitionTable, PlanError, Sticky, WorkerInfo, WorkerTable};
use parti::{Partition, PartitionKey, WorkerId};

type Owned = Vec<(PartitionKey, WorkerId)>;

fn id(name: &str) -> WorkerId {
    WorkerId::new(name).expect("valid")
}

fn workers(names: &[&str]) -> WorkerTable {
    let infos = names.iter().map(|name| WorkerInfo::new(id(name)));
    WorkerTable::new(infos.collect()).expect("distinct")
}

fn list(count: usize) -> PartitionTable {
    let list = (0..count).map(|i| Partition::new(["p".into(), i.to_string()]).expect("valid"));
    PartitionTable::new(list.collect()).expect("distinct")
}

fn owned(forecast: &Forecast) -> Owned {
    let moves = forecast.moves();
    moves
        .filter_map(|m| Some((m.partition.key.clone(), m.to?.clone())))
        .collect()
}

/// An operator decides by these numbers whether to scale; they must be those of the whole group.
#[test]
fn joins_leaves_and_other_weights_are_forecast() {
    let group = || (workers(&["a", "b", "c", "d"]), list(100));
    let (table, partitions) = group();
    let owned = owned(&plan(table, partitions, &[], &[]).expect("a plan"));
    let ask = |change: Change| {
        let (table, partitions) = group();
        let forecast = plan(table, partitions, &owned, &[change]).expect("a plan");
        let report = forecast.plan.report.clone();
        assert_eq!(forecast.moves().count(), report.moved as usize);
        (
            report.moved,
            report.lower_bound,
            report.max_load,
            report.min_load,
        )
    };
    assert_eq!(ask(Change::Join(1)), (20, 20, 20, 20));
    assert_eq!(ask(Change::Leave(1)), (25, 25, 34, 33));
    assert_eq!(ask(Change::Remove(vec![id("b")])), (25, 25, 34, 33));
    let heavy = owned[0].0.clone();
    let (_, _, most, _) = ask(Change::Reweigh(vec![(heavy, 1000)]));
    assert_eq!(most, 1000);
}

/// Who owns what comes from outside: what contradicts itself must not become a wrong forecast.
#[test]
fn a_previous_assignment_from_outside_is_read_strictly() {
    let key = |i: usize| list(3).as_slice()[i].key.clone();
    let twice = [(key(0), id("a")), (key(0), id("b"))];
    let error = plan(workers(&["a", "b"]), list(3), &twice, &[]).expect_err("two owners");
    let PlanError::BadInput(words) = &error else {
        panic!("{error:?}");
    };
    assert!(words.contains("to a and to b"), "{words}");

    // A departed owner has to give up what it had; a partition off the list is nobody's concern.
    let elsewhere = Partition::new(["elsewhere"]).expect("valid").key;
    let previous = [
        (key(0), id("gone")),
        (key(1), id("a")),
        (elsewhere, id("a")),
    ];
    let forecast = plan(workers(&["a", "b"]), list(3), &previous, &[]).expect("a plan");
    let report = &forecast.plan.report;
    assert_eq!((report.moved, report.forced, report.voluntary), (1, 1, 0));
    assert_eq!(forecast.moves().count(), 2, "one moves, one is placed");

    let nobody = plan(workers(&[]), list(3), &[], &[]).expect_err("nobody");
    assert_eq!(nobody, PlanError::NoWorkers);
    let empty = plan(workers(&["a"]), list(0), &[], &[Change::Join(1)]).expect("an empty plan");
    assert_eq!(empty.moves().count(), 0);
}

/// A group with rules asks its what-if questions with its own strategy.
#[test]
fn another_strategy_is_asked_through_what_if() {
    let rules = Eligibility::new().require(["p"], "zone", ["eu"]);
    let strategy = Sticky::new().with_eligibility(rules);
    let now = situation(workers(&["a"]).into(), list(4).into(), &[]).expect("nothing owned");
    let forecast = what_if(&strategy, &now, &[]).expect("a plan without anybody");
    assert_eq!(
        (forecast.moves().count(), forecast.plan.report.unplaced),
        (0, 4)
    );
    assert!(
        forecast.plan.unmet[0].needs.contains("zone"),
        "{:?}",
        forecast.plan.unmet
    );
    let mut worker = WorkerInfo::new(id("b"));
    worker.labels.insert("zone".into(), "eu".into());
    let forecast = what_if(&strategy, &now, &[Change::Add(vec![worker])]).expect("a plan");
    assert!(forecast.moves().all(|m| m.to == Some(&id("b"))));
}
