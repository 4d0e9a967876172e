//! The ledger: who *may* hold each partition, and the next records on the way to a target.
//!
//! [`advance`] is pure. What always holds in exclusive mode: a partition is granted only when nobody
//! else may hold it, where "may hold" is everything granted to or being revoked from an incarnation
//! that has neither acknowledged nor ended.

use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;

use crate::config::Mode;
use crate::leader::committing::moves::{Moves, Warmth};
use crate::model::id::{Epoch, Token, Version, WorkerId};

/// No slot.
pub(crate) const NOBODY: u32 = u32::MAX;

/// A partition granted, by rank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) rank: u32,
    pub(crate) token: Token,
    pub(crate) anchor: Option<WorkerId>,
}

/// What a worker's record says, by ranks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) epoch: Epoch,
    pub(crate) granted: Vec<Granted>,
    /// Partitions being taken away, and the version that began it.
    pub(crate) revoking: Vec<(u32, Version)>,
    /// Partitions to get ready for, and the version that began it. It holds none of them.
    pub(crate) preparing: Vec<(u32, Version)>,
}

impl Page {
    /// A page that says nothing.
    pub(crate) const fn blank(epoch: Epoch) -> Self {
        Self {
            epoch,
            granted: Vec::new(),
            revoking: Vec::new(),
            preparing: Vec::new(),
        }
    }
}

/// What stands behind a worker's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Its incarnation may hold what the record says, less what it acknowledged.
    Bound {
        applied: Version,
        draining: BTreeSet<u32>,
    },
    /// Its slot was taken by a later incarnation before its end was proven: it may hold what the
    /// record says, or only these partitions, whose callbacks still run in the process that took it.
    Ending { draining: Option<BTreeSet<u32>> },
    /// Its incarnation has ended, but the slot is kept for a replacement.
    Reserved,
    /// Its incarnation has ended.
    Ended,
}

/// A worker as the ledger sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// The record in force, if there is one.
    pub(crate) page: Option<Page>,
    pub(crate) standing: Standing,
    /// The incarnation that can be written for: it takes part or is draining.
    pub(crate) living: Option<Epoch>,
    /// Whether the target was made with this worker: only then it gets a first record.
    pub(crate) planned: bool,
    /// Whether the stored record is not the one in force and has to be written again.
    pub(crate) damaged: bool,
    /// Whether it is granted nothing new, since the mode it relies on does not hold yet.
    pub(crate) waits: bool,
    /// What it says of getting ready.
    pub(crate) warmth: Warmth,
}

/// What goes for every partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) mode: Mode,
    /// How many partitions may be on their way at once because a plan wants it.
    pub(crate) max_moves: Option<u32>,
    pub(crate) bug: Option<LedgerBug>,
}

/// A rule that is broken, for tests of tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LedgerBug {
    /// A preparation counts as holding.
    PreparationHolds,
    /// What is ready is granted in the commit that takes it away.
    GrantsAtOnce,
}

/// The next record of one slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Write this.
    Write(Page),
    /// The record is of no more use.
    Remove,
}

/// A step towards the target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Step {
    /// Changed slots by index, in rising order.
    pub(crate) changes: Vec<(usize, Change)>,
    /// Ranks newly granted.
    pub(crate) granted: usize,
    /// Ranks newly being taken away.
    pub(crate) revoked: usize,
    /// Ranks whose target cannot be granted yet.
    pub(crate) unfinished: usize,
}

/// The records that lead from the ledger as near to the target as is safe now.
///
/// `target` gives the slot for each rank, [`NOBODY`] for none; ranks beyond the partition table
/// (partitions no longer in the list) have no target. `anchor` is asked for newly granted ranks.
/// `unknown_holders` says that somebody may hold partitions that no record in force lists.
pub(crate) fn advance(
    rules: Rules,
    version: Version,
    target: &[u32],
    slots: &[Slot],
    unknown_holders: bool,
    anchor: &dyn Fn(u32) -> Option<WorkerId>,
) -> Step {
    let mode = rules.mode;
    let holders = holders(target.len(), slots, rules.bug);
    let mut moves = Moves::new(rules, target, slots);
    let mut step = Step::default();
    let mut next: Vec<Draft> = Vec::with_capacity(slots.len());
    let mut settled = vec![false; target.len()];
    let mut arrived = vec![false; target.len()];
    for (index, slot) in slots.iter().enumerate() {
        next.push(keep(
            version,
            target,
            slots,
            index,
            slot,
            &mut settled,
            (&mut step, &mut moves),
        ));
    }
    moves.prepare(version, &mut next);
    for (rank, &slot) in target.iter().enumerate() {
        if slot == NOBODY || settled[rank] {
            continue;
        }
        let free = match holders[rank] {
            // Somebody whose record is missing may hold it. That the record of an ended incarnation lists
            // it says nothing: it stays when its partitions are granted to others.
            Held::Free => !unknown_holders || mode == Mode::Overlap,
            // Overlap waits for nobody, but a record that cannot be rewritten keeps what it lists.
            Held::Rewritable => mode == Mode::Overlap,
            Held::Fixed => false,
        };
        let free = (free && !moves.keeps(rank as u32)) || moves.is_early(rank as u32);
        let draft = &mut next[slot as usize];
        if !free || !draft.writable || slots[slot as usize].waits {
            step.unfinished += 1;
            continue;
        }
        arrived[rank] = true;
        let (rank, token) = (rank as u32, Token::from(version));
        // In overlap mode a partition can come back before its revocation was acknowledged.
        draft.page.revoking.retain(|&(leaving, _)| leaving != rank);
        draft.page.granted.push(Granted {
            rank,
            token,
            anchor: anchor(rank),
        });
        draft.changed = true;
        step.granted += 1;
    }
    for (index, (mut draft, slot)) in next.into_iter().zip(slots).enumerate() {
        // What is granted needs no preparation any more.
        draft
            .page
            .preparing
            .retain(|&(rank, _)| !arrived[rank as usize]);
        if draft.writable && draft.changed {
            step.changes.push((index, Change::Write(draft.page)));
        } else if slot.page.is_some() && slot.living.is_none() && slot.standing == Standing::Ended {
            step.changes.push((index, Change::Remove));
        }
    }
    step
}

/// A slot's next page while it is being written.
pub(super) struct Draft {
    pub(super) page: Page,
    writable: bool,
    pub(super) changed: bool,
}

/// Carries over what a slot keeps and begins to take away what it does not.
#[allow(clippy::too_many_arguments)]
fn keep(
    version: Version,
    target: &[u32],
    slots: &[Slot],
    index: usize,
    slot: &Slot,
    settled: &mut [bool],
    (step, moves): (&mut Step, &mut Moves<'_>),
) -> Draft {
    let mut draft = Draft {
        page: Page::blank(slot.living.unwrap_or_default()),
        writable: slot.living.is_some(),
        changed: slot.damaged,
    };
    let (Some(old), Standing::Bound { .. }) = (&slot.page, &slot.standing) else {
        // A new incarnation gets its own record, even if it is empty: it waits for it. One that was
        // not planned for must not: it would look settled.
        draft.changed = slot.planned;
        return draft;
    };
    for granted in &old.granted {
        let rank = granted.rank as usize;
        let wanted = target[rank];
        let stays = wanted as usize == index;
        let waits = wanted != NOBODY && slots[wanted as usize].living.is_none();
        let mut keeps = || wanted != NOBODY && moves.keeps_for(slot, granted.rank, wanted);
        if stays || waits || !draft.writable || keeps() {
            settled[rank] |= stays;
            draft.page.granted.push(granted.clone());
            continue;
        }
        draft.changed = true;
        step.revoked += 1;
        // In overlap mode nobody waits for it, but a stricter mode may be asked for before it is done.
        draft.page.revoking.push((granted.rank, version));
    }
    for &(rank, since) in &old.revoking {
        if may_hold(slot, rank, since) {
            draft.page.revoking.push((rank, since));
        }
    }
    for &(rank, since) in &old.preparing {
        // Withdrawn when it is to go elsewhere, or is there already.
        if target[rank as usize] as usize == index && !settled[rank as usize] {
            draft.page.preparing.push((rank, since));
        } else {
            draft.changed = true;
        }
    }
    draft
}

/// Who may hold a partition.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Held {
    /// Nobody.
    Free,
    /// Workers whose records can be written, so that they can be told to stop.
    Rewritable,
    /// Somebody whose record stays as it is.
    Fixed,
}

/// Per rank, who may hold it. Grants made in overlap mode may have left several holders.
fn holders(ranks: usize, slots: &[Slot], bug: Option<LedgerBug>) -> Vec<Held> {
    let mut holders = vec![Held::Free; ranks];
    for slot in slots {
        let Some(page) = &slot.page else {
            continue;
        };
        let how = match slot.living {
            Some(_) => Held::Rewritable,
            None => Held::Fixed,
        };
        for granted in &page.granted {
            let held = &mut holders[granted.rank as usize];
            if may_hold_granted(slot, granted.rank) {
                *held = how.max(*held);
            }
        }
        for &(rank, since) in &page.revoking {
            let held = &mut holders[rank as usize];
            if may_hold(slot, rank, since) {
                // What is being taken away stays so, whichever leader writes the record.
                *held = Held::Rewritable.max(*held);
            }
        }
        if bug == Some(LedgerBug::PreparationHolds) {
            for &(rank, _) in &page.preparing {
                holders[rank as usize] = Held::Rewritable.max(holders[rank as usize]);
            }
        }
    }
    holders
}

/// Whether a partition that the record grants may be held.
fn may_hold_granted(slot: &Slot, rank: u32) -> bool {
    match &slot.standing {
        Standing::Bound { .. } => true,
        Standing::Ending { draining } => draining.as_ref().is_none_or(|d| d.contains(&rank)),
        Standing::Reserved | Standing::Ended => false,
    }
}

/// Whether a partition taken away at `since` may still be held.
pub(super) fn may_hold(slot: &Slot, rank: u32, since: Version) -> bool {
    match &slot.standing {
        Standing::Bound { applied, draining } => *applied < since || draining.contains(&rank),
        Standing::Ending { draining } => draining.as_ref().is_none_or(|d| d.contains(&rank)),
        Standing::Reserved | Standing::Ended => false,
    }
}

#[cfg(test)]
mod tests;
