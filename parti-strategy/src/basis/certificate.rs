//! The certificate of a finished plan: what moved, why, and how even the result is.
//!
//! Separate from the strategies because it is computed from input and result alone, so that it
//! cannot share their mistakes. What always holds: `moved = forced + voluntary`.

use parti_core::{NO_OWNER, Plan, PlanError, PlanInput, Report};

use crate::basis::input::unknown_previous;

/// The plan of these owners, measured. Its lower bounds are the forced moves, which no plan can avoid.
pub(crate) fn certify(input: &PlanInput, owners: Vec<u32>) -> Result<Plan, PlanError> {
    let mut report = Report {
        settled: true,
        ..Report::default()
    };
    let weights = input.partitions.weights();
    let mut loads = vec![0; input.workers.len()];
    for (&owner, &weight) in owners.iter().zip(weights) {
        loads[owner as usize] += weight;
    }
    let (alive, known) = (
        input.workers.len(),
        input.workers.len() + input.departed.len(),
    );
    let mut total_capacity = 0;
    for info in input.workers.as_slice() {
        total_capacity += u64::from(info.capacity);
    }
    let changes = input.previous.iter().zip(&owners).zip(weights);
    for ((&old, _), &weight) in changes.filter(|((old, new), _)| old != new) {
        match old as usize {
            living if living < alive && input.workers.as_slice()[living].capacity > 0 => {
                report.voluntary += 1;
            }
            gone if gone < known => {
                report.forced += 1;
                report.moved_weight_bound += weight;
            }
            _ if old == NO_OWNER => continue,
            _ => return Err(unknown_previous(input)),
        }
        report.moved_weight += weight;
    }
    report.moved = report.forced + report.voluntary;
    report.lower_bound = report.forced;
    report.total_weight = input.partitions.total_weight();
    report.level = report.total_weight.checked_div(total_capacity).unwrap_or(0);
    report.max_load = loads.iter().copied().max().unwrap_or(0);
    let able = loads
        .iter()
        .zip(input.workers.as_slice())
        .filter(|(_, info)| info.capacity > 0);
    report.min_load = able.map(|(&load, _)| load).min().unwrap_or(0);
    Ok(Plan {
        owners,
        unmet: Vec::new(),
        report,
    })
}
