//! What every strategy checks before it plans, in one place so that all refuse alike.
//!
//! What always holds: after [`capacity`] succeeded there is a worker that may own.

use parti_core::{PlanError, PlanInput, WorkerId};

/// The sum of all capacities; fits `u64` because there are fewer than 2^31 workers.
pub(crate) fn capacity(input: &PlanInput) -> Result<u64, PlanError> {
    let workers = input.workers.as_slice();
    match workers.iter().map(|w| u64::from(w.capacity)).sum() {
        0 => Err(PlanError::NoWorkers),
        total => Ok(total),
    }
}

/// Checks the shape of the previous assignment; its indices are checked while they are counted.
pub(crate) fn check_previous(input: &PlanInput) -> Result<(), PlanError> {
    let (found, expected) = (input.previous.len(), input.partitions.len());
    if found == 0 || found == expected {
        return check_departed(input);
    }
    Err(PlanError::BadInput(format!(
        "the previous assignment has {found} owners for {expected} partitions; align it with \
         `parti_core::align`, or pass none"
    )))
}

/// Checks that departed owners are in order, each once, and none of them alive: a worker with two
/// indices would lose what it has, and its moves would be counted as forced.
fn check_departed(input: &PlanInput) -> Result<(), PlanError> {
    let is_after = |pair: &&[WorkerId]| pair[0] >= pair[1];
    let unordered = input
        .departed
        .windows(2)
        .find(is_after)
        .map(|pair| &pair[1]);
    let is_alive = |id: &&WorkerId| input.workers.index_of(id).is_some();
    match unordered.or_else(|| input.departed.iter().find(is_alive)) {
        None => Ok(()),
        Some(id) => Err(PlanError::BadInput(format!(
            "the departed owner {id} is out of order, named twice, or alive"
        ))),
    }
}

/// The error for a previous owner that is neither a worker, nor departed, nor nobody.
pub(crate) fn unknown_previous(input: &PlanInput) -> PlanError {
    let known = input.workers.len() + input.departed.len();
    let is_unknown = |&owner: &u32| owner != parti_core::NO_OWNER && owner as usize >= known;
    let rank = input.previous.iter().position(is_unknown).unwrap_or(0);
    PlanError::BadInput(format!(
        "the previous owner {} of the partition of rank {rank} is unknown: there are {} workers \
         and {} departed owners",
        input
            .previous
            .get(rank)
            .copied()
            .unwrap_or(parti_core::NO_OWNER),
        input.workers.len(),
        input.departed.len(),
    ))
}

/// Checks that an order holds every rank exactly once.
pub(crate) fn check_order(input: &PlanInput, order: &[u32]) -> Result<(), PlanError> {
    let count = input.partitions.len();
    let mut seen = vec![false; count];
    for &rank in order {
        match seen.get_mut(rank as usize) {
            Some(seen) if !*seen => *seen = true,
            Some(_) => {
                return Err(PlanError::BadInput(format!(
                    "the order names rank {rank} twice"
                )));
            }
            None => {
                return Err(PlanError::BadInput(format!(
                    "the order names rank {rank} of {count} partitions"
                )));
            }
        }
    }
    match seen.iter().position(|seen| !seen) {
        Some(rank) => Err(PlanError::BadInput(format!(
            "the order leaves out rank {rank}"
        ))),
        None => Ok(()),
    }
}

/// Checks that anchors name existing ranks in ascending order.
pub(crate) fn check_anchors(input: &PlanInput) -> Result<(), PlanError> {
    let mut expected = 0;
    for (rank, worker) in &input.anchors {
        if *rank < expected || *rank as usize >= input.partitions.len() {
            return Err(PlanError::BadInput(format!(
                "the anchor {worker} of rank {rank} is out of order, a second one for its \
                 partition, or beyond the {} partitions",
                input.partitions.len()
            )));
        }
        expected = rank + 1;
    }
    Ok(())
}

/// Checks that every previous owner is known.
pub(crate) fn check_owners(input: &PlanInput) -> Result<(), PlanError> {
    let known = input.workers.len() + input.departed.len();
    let is_unknown = |&owner: &u32| owner != parti_core::NO_OWNER && owner as usize >= known;
    match input.previous.iter().any(is_unknown) {
        true => Err(unknown_previous(input)),
        false => Ok(()),
    }
}
