//! Which partitions stay when there is no room for all.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::*;
use crate::model::id::{Revision, WorkerId};
use crate::model::partition::Partition;
use crate::model::table::PartitionTable;
use crate::ports::strategy::{WorkerInfo, WorkerTable};

fn info(max_value: usize) -> StoreInfo {
    StoreInfo {
        created: 1,
        age: Duration::MAX,
        last_revision: Revision::ZERO,
        version: "test".into(),
        max_batch: 1_000,
        max_value,
        faults: Vec::new(),
    }
}

fn input(names: impl Iterator<Item = alloc::string::String>) -> PlanInput {
    let partitions = names.map(|name| Partition::new([name]).expect("valid"));
    let table = PartitionTable::new(partitions.collect::<Vec<_>>()).expect("no doubles");
    let workers = ["a", "b"].map(|name| WorkerInfo::new(WorkerId::new(name).expect("valid")));
    let workers = WorkerTable::new(workers.into()).expect("no doubles");
    PlanInput::fresh(Arc::new(table), Arc::new(workers))
}

fn plan(owners: Vec<u32>) -> Plan {
    let mut plan = Plan::of_nobody(0);
    plan.unmet.clear();
    plan.report.unplaced = 0;
    plan.owners = owners;
    plan
}

/// A limit that is lowered for a while must not take away what is stored already, and a leader that comes
/// must not push out those who are there.
#[test]
fn who_has_a_partition_keeps_it_and_the_rest_is_named() {
    let mut input = input((0..4_000).map(|number| alloc::format!("partition-{number:05}")));
    let before = |held: u32| (0..4_000).map(move |rank| if rank < held { 0 } else { NO_OWNER });
    for (held, owned) in [(500, 700..1_200), (3_000, 3_000..3_001)] {
        let before: Vec<u32> = before(held).collect();
        input.previous = before.clone();
        let mut planned = plan(vec![0; 4_000]);
        park_overflow(&mut planned, &input, &before, &info(1_000));
        assert!(
            planned.owners[..held as usize]
                .iter()
                .all(|&owner| owner == 0)
        );
        let unmet = &planned.unmet[0];
        assert_eq!(unmet.reason, ParkReason::DoesNotFit);
        let parked = planned.owners.iter().filter(|&&owner| owner == NO_OWNER);
        let parked = parked.count();
        assert!(owned.contains(&(4_000 - parked)), "{parked}");
        let told = (unmet.unplaced.len(), planned.report.unplaced as usize);
        assert_eq!(told, (parked, parked));
        assert!(unmet.unplaced.is_sorted());
        assert!(
            unmet.needs.contains("values of 1000 bytes"),
            "{}",
            unmet.needs
        );
    }
}

/// A plan moved a partition to a worker without room, and it was taken from its owner for nobody; a
/// worker that only got ready for it counted as having it.
#[test]
fn what_does_not_fit_where_it_is_to_go_stays_with_its_owner() {
    let mut input = input((0..3_000).map(|number| alloc::format!("partition-{number:05}")));
    let before: Vec<u32> = (0..3_000).map(|rank| u32::from(rank < 1_500)).collect();
    input.previous = vec![0; 3_000];
    let mut planned = plan(vec![0; 3_000]);
    park_overflow(&mut planned, &input, &before, &info(1_000));
    assert!(planned.unmet.is_empty(), "{:?}", planned.unmet[0].unplaced);
    let stays = planned.owners.iter().zip(&before);
    let moved = stays.filter(|(now, before)| now != before).count();
    assert!(moved < 1_500, "{moved} moves that do not fit");
}

/// One name that no value holds must not stand in the way of the others.
#[test]
fn a_partition_that_no_value_holds_is_parked_alone() {
    let input = input(["short".into(), "x".repeat(450), "other".into()].into_iter());
    let mut planned = plan(vec![0, 0, 1]);
    park_overflow(&mut planned, &input, &[], &info(512));
    let long = input
        .partitions
        .as_slice()
        .iter()
        .position(|p| p.key.encoded().len() > 400);
    assert_eq!(
        planned.unmet[0].unplaced,
        [long.expect("it is in the list") as u32]
    );
    let owned = planned
        .owners
        .iter()
        .filter(|&&owner| owner != NO_OWNER)
        .count();
    assert_eq!(owned, 2);
}

/// As long as everything fits, nothing is touched.
#[test]
fn a_plan_that_fits_is_left_alone() {
    let input = input((0..1_000).map(|number| alloc::format!("{number}")));
    let mut planned = plan(vec![1; 1_000]);
    park_overflow(&mut planned, &input, &[], &info(1 << 20));
    assert!(planned.unmet.is_empty() && planned.owners == vec![1; 1_000]);
}
