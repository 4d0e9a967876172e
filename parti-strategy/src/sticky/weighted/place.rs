//! Where partitions without an owner go: giants to workers of their own, the rest to where they feel
//! at home or to the emptiest.
//!
//! What always holds: largest first, so the small ones even out what the large ones left (the
//! longest-processing-time rule), and nobody is filled above the band for the sake of a preference.

use std::cmp::Reverse;

use parti_core::NO_OWNER;

use crate::basis::classes::Emptiest;
use crate::sticky::weighted::level::ByWeight;
use crate::sticky::weighted::state::{NO_PIN, State};

/// Pins each giant to its owner, where that holds no heavier one; collects the others.
pub(super) fn pin_in_place(
    giants: &[ByWeight],
    owners: &[u32],
    pins: &mut Vec<u32>,
    workers: usize,
    loose: &mut Vec<u32>,
) {
    pins.clear();
    pins.resize(workers, NO_PIN);
    loose.clear();
    for &(_, rank) in giants {
        match pins.get_mut(owners[rank as usize] as usize) {
            Some(pin) if *pin == NO_PIN => *pin = rank,
            Some(_) | None => loose.push(rank),
        }
    }
}

/// Gives every loose giant a worker without one: the largest, then the emptiest.
pub(super) fn pin_loose(loose: &[u32], state: &mut State<'_>) {
    for &rank in loose {
        let is_owned = state.owners[rank as usize] != NO_OWNER;
        if is_owned && !state.can_afford(&[rank]) {
            continue;
        }
        let free = state
            .board
            .classes
            .able()
            .filter(|&(worker, _)| state.board.pins[worker as usize] == NO_PIN);
        let best = free.min_by_key(|&(worker, class)| {
            (Reverse(class), state.board.loads[worker as usize], worker)
        });
        if let Some((worker, _)) = best {
            state.relocate(rank, worker);
            state.board.pins[worker as usize] = rank;
        }
    }
}

/// Sends partitions to the starving workers they prefer. Owned ones travel only while their owner
/// stays within its band and `quota`, the weight wanted from owners, lasts.
pub(super) fn prefer(
    state: &mut State<'_>,
    starving: &[bool],
    preferences: impl Iterator<Item = (u32, u32)>,
    mut quota: u64,
) {
    for (rank, wanted) in preferences {
        let owner = state.owners[rank as usize];
        if !starving[wanted as usize] || owner == wanted {
            continue;
        }
        let weight = state.weights[rank as usize];
        let filled = state.board.loads[wanted as usize].saturating_add(weight);
        if filled > state.band(wanted).high {
            continue;
        }
        if owner != NO_OWNER {
            let stays = state.board.loads[owner as usize] - weight;
            let may_go = quota > 0 && stays >= state.band(owner).low && !state.is_pinned(rank);
            if !may_go || !state.can_afford(&[rank]) {
                continue;
            }
            quota = quota.saturating_sub(weight);
        }
        state.relocate(rank, wanted);
    }
}

/// Places the pool, largest first: at home while that is below the level, else where the load is
/// least.
pub(super) fn place(
    state: &mut State<'_>,
    pool: &mut Vec<ByWeight>,
    homes: &[u32],
    emptiest: &mut Emptiest,
) {
    pool.clear();
    let unowned = (0_u32..)
        .zip(state.owners.iter())
        .filter(|&(_, &owner)| owner == NO_OWNER);
    pool.extend(unowned.map(|(rank, _)| (Reverse(state.weights[rank as usize]), rank)));
    if pool.is_empty() {
        return;
    }
    pool.sort_unstable();
    emptiest.set(&state.board.classes, &state.board.loads);
    for &(Reverse(weight), rank) in pool.iter() {
        let home = homes.get(rank as usize).copied().filter(|&home| {
            state.board.loads[home as usize].saturating_add(weight) <= state.band(home).level
        });
        if let Some(worker) =
            home.or_else(|| emptiest.pick(&state.board.classes, &state.board.loads, weight))
        {
            state.place(rank, worker);
        }
    }
}
