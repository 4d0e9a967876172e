//! Who owned what: one pass over the previous assignment.
//!
//! What always holds afterwards: every owner in the plan is a living worker or [`NO_OWNER`], and an
//! index that names nobody has been refused.

use parti_core::{NO_OWNER, PlanError, PlanInput};

use crate::input::unknown_previous;

/// How many partitions have which kind of owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Census {
    /// Owned by a worker that may own no more: forced moves.
    pub(super) departed: u32,
    /// Owned by nobody so far: placing them is no move.
    pub(super) unowned: u32,
}

impl Census {
    /// Partitions that must be given to somebody.
    pub(super) const fn homeless(self) -> u32 {
        self.departed + self.unowned
    }
}

/// Copies the living owners into `owners` and counts the partitions of each worker.
pub(super) fn take(
    input: &PlanInput,
    owners: &mut Vec<u32>,
    counts: &mut Vec<u32>,
) -> Result<Census, PlanError> {
    let (alive, mut unowned) = (input.workers.len(), 0);
    let (mut departed, mut unknown) = (0, false);
    counts.clear();
    counts.resize(alive, 0);
    owners.clear();
    if input.previous.is_empty() {
        owners.resize(input.partitions.len(), NO_OWNER);
        return Ok(Census {
            departed: 0,
            unowned: input.partitions.len() as u32,
        });
    }
    let known = alive + input.departed.len();
    owners.extend(input.previous.iter().map(|&owner| {
        if let Some(count) = counts.get_mut(owner as usize) {
            *count += 1;
            return owner;
        }
        match owner {
            NO_OWNER => unowned += 1,
            _ if (owner as usize) < known => departed += 1,
            _ => unknown = true,
        }
        NO_OWNER
    }));
    if unknown {
        return Err(unknown_previous(input));
    }
    Ok(Census { departed, unowned })
}
