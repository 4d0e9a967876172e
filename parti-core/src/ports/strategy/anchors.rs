//! Anchors: where displaced partitions came from, so that a returning worker gets its own back.
//!
//! A pure rule over a plan and its input, separate from the strategies because the leader applies it
//! whatever the strategy is. What always holds: an anchor never names the partition's owner.

use alloc::vec::Vec;

use crate::model::id::WorkerId;
use crate::ports::strategy::{Plan, PlanInput};

/// The anchors in force after a plan was committed, ordered by rank.
///
/// An anchor is set when a partition is placed because its owner departed, and replaces an older
/// one: a worker that left for good must not keep a claim on what others have hosted since. It is
/// cleared when the partition returns there, when it is moved although its owner lives, and when the
/// anchor's worker is back but a settled plan leaves the partition elsewhere: that is its home now.
/// Dropping anchors to workers that have been gone for long is up to the caller.
///
/// The plan must have passed [`Plan::check`] for this input; ranks beyond it are left out.
///
/// ```
/// use std::sync::Arc;
/// use parti_core::{
///     Partition, PartitionTable, Plan, PlanInput, WorkerId, WorkerInfo, WorkerTable, anchors_after,
/// };
/// let partitions = PartitionTable::new(vec![Partition::new(["p"])?])?;
/// let workers = WorkerTable::new(vec![WorkerInfo::new(WorkerId::new("b")?)])?;
/// let mut input = PlanInput::fresh(Arc::new(partitions), Arc::new(workers));
/// input.departed = vec![WorkerId::new("a")?];
/// input.previous = vec![1]; // one worker lives, so 1 is the first departed owner
/// let plan = Plan { owners: vec![0], ..Plan::default() };
/// assert_eq!(anchors_after(&input, &plan), [(0, WorkerId::new("a")?)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn anchors_after(input: &PlanInput, plan: &Plan) -> Vec<(u32, WorkerId)> {
    let mut after = Vec::new();
    let mut anchors = input.anchors.iter().peekable();
    for (rank, &new) in (0_u32..).zip(&plan.owners) {
        let previous = input.previous.get(rank as usize).copied();
        let older = anchors
            .next_if(|(of, _)| *of == rank)
            .map(|(_, worker)| worker);
        if let Some(anchor) = next_anchor(input, plan, previous, new, older) {
            after.push((rank, anchor.clone()));
        }
    }
    after
}

/// The anchor of one partition.
fn next_anchor<'a>(
    input: &'a PlanInput,
    plan: &Plan,
    previous: Option<u32>,
    new: u32,
    older: Option<&'a WorkerId>,
) -> Option<&'a WorkerId> {
    let previous = previous?;
    let alive = older.and_then(|worker| input.workers.index_of(worker));
    if alive == Some(new) {
        return None;
    }
    let older = older.filter(|_| alive.is_none() || !plan.report.settled);
    match (previous as usize).checked_sub(input.workers.len()) {
        None if previous == new => older,
        None => None,
        Some(index) => input.departed.get(index).or(older),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::sync::Arc;
    use alloc::vec;

    use crate::model::partition::Partition;
    use crate::model::table::PartitionTable;
    use crate::ports::strategy::{NO_OWNER, Report, WorkerInfo, WorkerTable};

    fn id(name: &str) -> WorkerId {
        WorkerId::new(name).expect("valid ID")
    }

    /// One partition; `a` and `b` live as 0 and 1, `x` departed as 2.
    fn check(settled: bool, previous: u32, older: Option<&str>, new: u32, expected: Option<&str>) {
        let list = vec![Partition::new(["p"]).expect("valid key")];
        let workers = [id("a"), id("b")].map(WorkerInfo::new).to_vec();
        let mut input = PlanInput::fresh(
            Arc::new(PartitionTable::new(list).expect("one")),
            Arc::new(WorkerTable::new(workers).expect("distinct")),
        );
        input.departed = vec![id("x")];
        input.previous = vec![previous];
        input.anchors = older.iter().map(|name| (0, id(name))).collect();
        let report = Report {
            settled,
            ..Report::default()
        };
        let after = anchors_after(
            &input,
            &Plan {
                owners: vec![new],
                unmet: Vec::new(),
                report,
            },
        );
        let expected: Vec<_> = expected.iter().map(|name| (0, id(name))).collect();
        assert_eq!(after, expected, "{previous} -> {new}, anchor {older:?}");
    }

    /// A rolling restart loses its affinity if an anchor is set, kept or cleared at the wrong time.
    #[test]
    fn anchors_follow_departures_and_end_with_returns_and_voluntary_moves() {
        for settled in [true, false] {
            check(settled, 2, None, 0, Some("x"));
            check(settled, 2, Some("y"), 0, Some("x"));
            check(settled, 2, Some("a"), 0, None);
            check(settled, 0, None, 0, None);
            check(settled, 0, Some("x"), 0, Some("x"));
            check(settled, 0, Some("b"), 1, None);
            check(settled, 0, Some("x"), 1, None);
            check(settled, 0, None, 1, None);
            check(settled, NO_OWNER, None, 0, None);
            check(settled, NO_OWNER, Some("x"), 0, Some("x"));
            check(settled, NO_OWNER, Some("a"), 0, None);
        }
        check(true, 0, Some("b"), 0, None);
        check(false, 0, Some("b"), 0, Some("b"));
        check(true, 2, Some("b"), 0, Some("x"));
        check(false, 2, Some("b"), 0, Some("x"));
    }
}
