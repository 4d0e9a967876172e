//! The way from the view to an input and from a plan to a target, in small groups.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use super::{Brief, Target, imbalance, input};
use crate::leader::knowledge::view::View;
use crate::leader::planning::kept_out::KeptOut;
use crate::model::id::{Epoch, Nonce, Token, Version, WorkerId, WriteId};
use crate::model::partition::Partition;
use crate::model::state::Cause;
use crate::model::table::PartitionTable;
use crate::ports::strategy::{NO_OWNER, Plan, Report, StrategyId, WorkerInfo, WorkerTable};
use crate::records::orders::Ordered;
use crate::records::record::{AssignmentRecord, RecordGrant};

fn id(name: &str) -> WorkerId {
    WorkerId::new(name).expect("valid ID")
}

/// Partitions of these weights; the rank of the first is looked up by its key.
fn table(weights: &[u64]) -> Arc<PartitionTable> {
    let named = (0..).zip(weights).map(|(i, &weight)| Partition {
        weight,
        ..Partition::new([alloc::format!("p-{i}")]).expect("valid key")
    });
    Arc::new(PartitionTable::new(named.collect()).expect("distinct"))
}

fn workers(capacities: &[(&str, u32)]) -> Arc<WorkerTable> {
    let workers = capacities.iter().map(|&(name, capacity)| WorkerInfo {
        capacity,
        ..WorkerInfo::new(id(name))
    });
    Arc::new(WorkerTable::new(workers.collect()).expect("distinct"))
}

/// A view in which a worker was granted the partitions of these ranks.
fn grant(view: &mut View, table: &PartitionTable, worker: &str, ranks: &[(u32, Option<&str>)]) {
    let granted = ranks.iter().map(|&(rank, anchor)| RecordGrant {
        partition: table.as_slice()[rank as usize].key.clone(),
        token: Token::new(1),
        anchor: anchor.map(id),
    });
    let record = AssignmentRecord {
        write: WriteId {
            nonce: Nonce::new(1),
            seq: 1,
        },
        version: Version::new(1),
        epoch: Epoch::new(1),
        session: crate::model::id::Nonce::new(0),
        granted: granted.collect(),
        revoking: Vec::new(),
        preparing: Vec::new(),
    };
    view.records.insert(id(worker), record);
}

fn target(view: &View, table: &Arc<PartitionTable>, owners: Vec<u32>) -> Target {
    let brief = Brief {
        ordered: Ordered::default(),
        kept_out: KeptOut::default(),
        postponed: Vec::new(),
        cause: Cause::Emergency,
        input: input(table, workers(&[("a", 1), ("b", 1)]), view, None),
        epochs: BTreeMap::new(),
        evictions: BTreeMap::new(),
        requests: Vec::new(),
        triggers: Vec::new(),
        ended_holds: BTreeMap::new(),
    };
    let report = Report {
        settled: true,
        ..Report::default()
    };
    Target::new(
        StrategyId::new("s"),
        brief,
        Plan {
            owners,
            report,
            ..Plan::default()
        },
        Vec::new(),
    )
}

/// A strategy that is told the wrong owner moves what could have stayed.
#[test]
fn previous_owners_are_living_or_departed_or_nobody() {
    let (table, mut view) = (table(&[1, 1, 1]), View::default());
    grant(&mut view, &table, "a", &[(0, Some("y"))]);
    grant(&mut view, &table, "x", &[(2, None)]);
    let input = input(&table, workers(&[("a", 1), ("b", 1)]), &view, None);
    assert_eq!(input.previous, [0, NO_OWNER, 2]);
    assert_eq!(input.departed, [id("x")]);
    assert_eq!(input.anchors, [(0, id("y"))]);
}

/// What is on its way must not be moved a second time before it has arrived.
#[test]
fn a_partition_on_its_way_counts_as_the_gainers() {
    let (table, mut view) = (table(&[1, 1]), View::default());
    grant(&mut view, &table, "a", &[(0, None), (1, None)]);
    let target = target(&view, &table, vec![0, 1]);
    let now = input(&table, workers(&[("a", 1), ("b", 1)]), &view, Some(&target));
    assert_eq!(now.previous, [0, 1]);
    assert_eq!(target.previous, [Some(id("a")), Some(id("a"))]);
}

/// An anchor that a plan ended would go on pulling at its partition.
#[test]
fn anchors_of_the_last_plan_replace_those_of_unchanged_records() {
    let (table, mut view) = (table(&[1, 1]), View::default());
    grant(&mut view, &table, "a", &[(0, Some("b"))]);
    grant(&mut view, &table, "x", &[(1, None)]);
    let target = target(&view, &table, vec![0, 0]);
    let now = input(&table, workers(&[("a", 1), ("b", 1)]), &view, Some(&target));
    assert_eq!(now.anchors, [(1, id("x"))]);
}

/// A group of unequal workers that is in balance must not be rebalanced for ever.
#[test]
fn imbalance_is_measured_per_capacity() {
    let even = |capacities: &[(&str, u32)], owners: &[u32]| {
        let table = table(&[10, 10, 10, 10]);
        imbalance(&table, &workers(capacities), owners)
    };
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} is not {b}");
    close(even(&[("a", 1), ("b", 1)], &[0, 0, 1, 1]), 0.0);
    close(even(&[("a", 1), ("b", 1)], &[0, 0, 0, 1]), 1.0);
    close(even(&[("a", 3), ("b", 1)], &[0, 0, 0, 1]), 0.0);
    close(even(&[("a", 1), ("b", 0)], &[0, 0, 0, 0]), 0.0);
    close(even(&[("a", 0)], &[0, 0, 0, 0]), 0.0);
    close(even(&[], &[]), 0.0);
}

/// Two records that list one partition must not make the plan depend on who sorts last.
#[test]
fn of_two_records_with_one_partition_the_later_grant_counts() {
    let (table, mut view) = (table(&[1, 1]), View::default());
    grant(&mut view, &table, "a", &[(0, None), (1, None)]);
    grant(&mut view, &table, "b", &[(0, None), (1, None)]);
    let both = workers(&[("a", 1), ("b", 1)]);
    assert_eq!(
        input(&table, Arc::clone(&both), &view, None).previous,
        [0, 0]
    );
    let record = view.records.get_mut(&id("b")).expect("granted");
    record.granted[1].token = Token::new(2);
    assert_eq!(input(&table, both, &view, None).previous, [0, 1]);
}
