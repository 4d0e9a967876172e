//! Forecasts: what they promise must be what a leader would do.

use std::sync::Arc;

use parti_core::{
    AssignmentStrategy, NO_OWNER, Partition, PlanError, PlanInput, WorkerId, WorkerInfo,
};
use parti_strategy::workload::{Weights, Workload};
use parti_strategy::{Change, ConsistentHash, Sticky, next_input, what_if};

fn settled(workers: u32, partitions: u32) -> PlanInput {
    let group = Workload::new(workers, partitions, Weights::Equal);
    let mut now = PlanInput::fresh(group.partitions(), group.workers());
    now.previous = Sticky::new().plan(&now).expect("a plan").owners;
    now
}

fn id(name: &str) -> WorkerId {
    WorkerId::new(name).expect("valid")
}

/// An operator decides by these numbers whether to scale now or at night.
#[test]
fn changes_are_forecast_with_moves_and_balance() {
    let now = settled(10, 1000);
    let moved = |changes: &[Change]| {
        let forecast = what_if(&Sticky::new(), &now, changes).expect("a plan");
        let report = &forecast.plan.report;
        assert_eq!(forecast.moves().count(), report.moved as usize);
        let loads = forecast.loads();
        assert_eq!(loads.iter().map(|(_, count, _)| count).sum::<u32>(), 1000);
        assert_eq!(
            loads.iter().map(|(_, _, load)| *load).max(),
            Some(report.max_load)
        );
        (report.moved, report.lower_bound)
    };
    assert_eq!(moved(&[]), (0, 0));
    assert_eq!(moved(&[Change::Join(1)]), (90, 90));
    assert_eq!(moved(&[Change::Join(3)]), (230, 230));
    assert_eq!(moved(&[Change::Leave(2)]), (200, 200));
    assert_eq!(moved(&[Change::Remove(vec![id("worker-3")])]), (100, 100));
    assert_eq!(
        moved(&[Change::Remove(vec![id("worker-3")]), Change::Join(1)]),
        (100, 100)
    );
    let larger = WorkerInfo {
        capacity: 2,
        ..WorkerInfo::new(id("worker-3"))
    };
    assert_eq!(moved(&[Change::Add(vec![larger])]), (81, 81));
}

/// A forecast for things that do not exist would be about another group.
#[test]
fn unknown_workers_and_partitions_are_refused_by_name() {
    let now = settled(3, 10);
    let check = |change: Change, part: &str| {
        let error = what_if(&Sticky::new(), &now, &[change]).expect_err(part);
        assert!(error.to_string().contains(part), "{error}");
    };
    check(Change::Remove(vec![id("worker-9")]), "worker-9");
    let key = Partition::new(["nowhere"]).expect("valid").key;
    check(Change::Reweigh(vec![(key, 3)]), "nowhere");
    check(Change::Leave(3), "no worker");
    let twice = vec![Partition::new(["a"]).expect("valid"); 2];
    check(Change::Replace(twice), "occurs twice");
}

/// A list that grows must not look like moves, and what stays must stay.
#[test]
fn another_list_keeps_what_it_shares_with_the_old_one() {
    let now = settled(5, 100);
    let list = Workload::new(1, 150, Weights::Equal).list()[50..].to_vec();
    let forecast = what_if(&Sticky::new(), &now, &[Change::Replace(list)]).expect("a plan");
    let fresh = forecast.moves().filter(|m| m.from.is_none()).count();
    assert_eq!(fresh, 50);
    assert_eq!(forecast.plan.report.moved, forecast.plan.report.lower_bound);

    let heavy = now.partitions.as_slice()[7].key.clone();
    let changes = [Change::Reweigh(vec![(heavy, 5000)])];
    let forecast = what_if(&Sticky::new(), &now, &changes).expect("a plan");
    assert_eq!(forecast.plan.report.giants, 1);
    assert_eq!(forecast.plan.report.max_load, 5000);
}

/// A strategy that leaves partitions out must not be forecast as if it worked.
#[test]
fn an_incomplete_plan_of_a_user_strategy_is_refused() {
    struct Lazy;
    impl AssignmentStrategy for Lazy {
        fn id(&self) -> parti_core::StrategyId {
            parti_core::StrategyId::new("lazy/1")
        }
        fn plan(&self, input: &PlanInput) -> Result<parti_core::Plan, PlanError> {
            let mut plan = ConsistentHash::new().plan(input)?;
            plan.owners[3] = NO_OWNER;
            Ok(plan)
        }
    }
    let error = what_if(&Lazy, &settled(3, 10), &[]).expect_err("rank 3 has no owner");
    assert!(
        matches!(error, PlanError::UnknownOwner { rank: 3, .. }),
        "{error}"
    );
}

/// The next decision must know departed owners and anchors, or a returning worker gets nothing back.
#[test]
fn the_next_input_carries_departures_and_anchors() {
    let now = settled(4, 100);
    let leave = what_if(&Sticky::new(), &now, &[Change::Leave(1)]).expect("a plan");
    assert_eq!(leave.input.departed, [id("worker-3")]);
    let back = next_input(&leave.input, &leave.plan, Arc::clone(&now.workers));
    assert_eq!(back.anchors.len(), 25);
    let plan = Sticky::new().plan(&back).expect("a plan");
    assert_eq!(plan.owners, now.previous);
}
