//! Planning under eligibility rules: component by component, class by class.
//!
//! A class that shares no worker with another is an ordinary plan among its workers. Classes that
//! compete are levelled together, exactly for equal weights. What always holds: the budget is spent
//! once over all components, in a fixed order.

use std::collections::BTreeMap;
use std::sync::Arc;

use parti_core::{NO_OWNER, Plan, PlanError, PlanInput, Report, WorkerInfo, WorkerTable};

use crate::sticky::eligibility::classes::{Class, sort};
use crate::sticky::eligibility::{Eligibility, flow, local};
use crate::sticky::{Settings, equal, plan_unruled};

/// Plans under rules.
pub(in crate::sticky) fn plan(
    rules: &Eligibility,
    input: &PlanInput,
    settings: Settings,
) -> Result<Plan, PlanError> {
    crate::basis::input::check_owners(input)?;
    let sorted = sort(rules, input)?;
    let mut owners = vec![NO_OWNER; input.partitions.len()];
    let mut sum = Report {
        settled: true,
        ..Report::default()
    };
    for classes in &sorted.components {
        match &classes[..] {
            [class] => {
                let sub = restrict(input, class, left(input.budget, &sum))?;
                adopt(class, plan_unruled(&sub, settings)?, &mut owners, &mut sum);
            }
            several if input.partitions.uniform_weight().is_some() => {
                for (class, dues) in several.iter().zip(flow::dues(input, several)) {
                    let sub = restrict(input, class, left(input.budget, &sum))?;
                    let own = equal::plan_with_dues(&sub, dues)?;
                    adopt(class, own, &mut owners, &mut sum);
                }
            }
            several => {
                let budget = left(input.budget, &sum);
                let report = local::plan(input, several, settings, budget, &mut owners);
                add(&mut sum, report);
            }
        }
    }
    finish(input, &owners, &mut sum);
    Ok(Plan {
        owners,
        unmet: sorted.unmet,
        report: sum,
    })
}

fn left(budget: Option<u32>, sum: &Report) -> Option<u32> {
    budget.map(|budget| budget - sum.voluntary)
}

/// The input of one class: all other workers have capacity 0, so that indices stay the same.
fn restrict(input: &PlanInput, class: &Class, budget: Option<u32>) -> Result<PlanInput, PlanError> {
    let masked = input
        .workers
        .as_slice()
        .iter()
        .zip(&class.allowed)
        .map(|(worker, &allowed)| WorkerInfo {
            capacity: if allowed { worker.capacity } else { 0 },
            ..worker.clone()
        });
    let previous = class
        .ranks
        .iter()
        .filter_map(|&rank| input.previous.get(rank as usize));
    let anchors = input.anchors.iter().filter_map(|(rank, worker)| {
        let rank = class.ranks.binary_search(rank).ok()?;
        Some((rank as u32, worker.clone()))
    });
    let warm = input.warm.iter();
    let warm = warm.filter_map(|rank| Some(class.ranks.binary_search(rank).ok()? as u32));
    Ok(PlanInput {
        partitions: Arc::new(input.partitions.subset(&class.ranks)),
        workers: Arc::new(WorkerTable::new(masked.collect())?),
        previous: previous.copied().collect(),
        departed: input.departed.clone(),
        anchors: anchors.collect(),
        budget,
        waited: BTreeMap::new(),
        warm: warm.collect(),
    })
}

fn adopt(class: &Class, own: Plan, owners: &mut [u32], sum: &mut Report) {
    for (&rank, owner) in class.ranks.iter().zip(own.owners) {
        owners[rank as usize] = owner;
    }
    add(sum, own.report);
}

fn add(sum: &mut Report, own: Report) {
    sum.moved += own.moved;
    sum.moved_weight += own.moved_weight;
    sum.forced += own.forced;
    sum.voluntary += own.voluntary;
    sum.lower_bound += own.lower_bound;
    sum.moved_weight_bound += own.moved_weight_bound;
    sum.giants += own.giants;
    sum.violation = sum.violation.saturating_add(own.violation);
    sum.settled &= own.settled;
}

/// What concerns the group as a whole.
fn finish(input: &PlanInput, owners: &[u32], sum: &mut Report) {
    let workers = input.workers.as_slice();
    let mut loads = vec![0; workers.len()];
    for (&owner, &weight) in owners.iter().zip(input.partitions.weights()) {
        match loads.get_mut(owner as usize) {
            Some(load) => *load += weight,
            None => sum.unplaced += 1,
        }
    }
    let placed: u64 = loads.iter().sum();
    let able = loads
        .iter()
        .zip(workers)
        .filter(|(_, worker)| worker.capacity > 0);
    let capacity: u64 = workers
        .iter()
        .map(|worker| u64::from(worker.capacity))
        .sum();
    sum.min_load = able.map(|(&load, _)| load).min().unwrap_or(0);
    sum.max_load = loads.iter().copied().max().unwrap_or(0);
    sum.total_weight = input.partitions.total_weight();
    sum.level = placed.checked_div(capacity).unwrap_or(0);
}
