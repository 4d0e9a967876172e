//! Planned moves: when the owner of a partition is told to end although it could go on.
//!
//! It is separate from the ledger because it concerns no safety: the worker that holds a partition here
//! is alive and works on it. A worker that prepares for partitions is told first and may take its time;
//! only so many partitions are on their way at once. What always holds: an owner is told to end only
//! when the worker that is to have the partition has ended the very preparation that its record names,
//! without a failure, or does not prepare; a preparation is no hold.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

use crate::leader::committing::ledger::{
    Draft, LedgerBug, NOBODY, Rules, Slot, Standing, may_hold,
};
use crate::model::id::Version;

/// What a worker says of getting ready.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Warmth {
    /// Whether it prepares for what it is to have.
    pub(crate) prepares: bool,
    /// Preparations that have ended, and whether they failed.
    pub(crate) ended: BTreeMap<(u32, Version), bool>,
    /// What it cannot process. Nobody works on that, so that nobody waits for a preparation.
    pub(crate) failing: BTreeSet<u32>,
}

/// What becomes of a partition that its living owner is to give to somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// It stays where it is for now.
    Keep,
    /// The new owner is told to prepare.
    Prepare,
    /// The owner is told to end.
    Revoke,
}

/// The moves of one step.
#[derive(Debug)]
pub(super) struct Moves<'a> {
    slots: &'a [Slot],
    /// The preparation that the record of its new owner names, by rank; zero: none.
    preparing: Vec<Version>,
    bug: Option<LedgerBug>,
    /// How many more may begin.
    room: u32,
    /// What stays where it is although it is to go, by rank.
    kept: Vec<bool>,
    /// What is taken away after a preparation.
    ready: Vec<u32>,
    /// What is to be prepared, and by which slot.
    begun: Vec<(u32, u32)>,
}

impl<'a> Moves<'a> {
    pub(super) fn new(rules: Rules, target: &[u32], slots: &'a [Slot]) -> Self {
        let preparing = preparing(target, slots);
        let room = rules.max_moves.map_or(u32::MAX, |most| {
            most.saturating_sub(in_flight(target, slots, &preparing))
        });
        Self {
            slots,
            preparing,
            bug: rules.bug,
            room,
            kept: vec![false; target.len()],
            ready: Vec::new(),
            begun: Vec::new(),
        }
    }

    /// Whether a partition stays with its owner for now, although it is to go to a living slot.
    pub(super) fn keeps_for(&mut self, from: &Slot, rank: u32, to: u32) -> bool {
        let next = self.next(from, rank, to);
        match next {
            Next::Keep => {}
            Next::Prepare => self.begun.push((rank, to)),
            Next::Revoke => return false,
        }
        self.kept[rank as usize] = true;
        true
    }

    /// Whether it does, as [`Moves::keeps_for`] said.
    pub(super) fn keeps(&self, rank: u32) -> bool {
        self.kept[rank as usize]
    }

    /// Whether it is granted without waiting for its owner: a planted bug.
    pub(super) fn is_early(&self, rank: u32) -> bool {
        self.bug == Some(LedgerBug::GrantsAtOnce) && self.ready.contains(&rank)
    }

    /// Tells the new owners to prepare.
    pub(super) fn prepare(&self, version: Version, drafts: &mut [Draft]) {
        for &(rank, to) in &self.begun {
            if let Some(draft) = drafts.get_mut(to as usize) {
                draft.page.preparing.push((rank, version));
                draft.changed = true;
            }
        }
    }

    fn next(&mut self, from: &Slot, rank: u32, to: u32) -> Next {
        let Some(gainer) = self.slots.get(to as usize) else {
            return Next::Revoke;
        };
        let warmth = &gainer.warmth;
        if from.warmth.failing.contains(&rank) {
            return Next::Revoke;
        }
        match (self.preparing[rank as usize], warmth.prepares) {
            (Version::ZERO, prepares) => {
                let Some(room) = self.room.checked_sub(1) else {
                    return Next::Keep;
                };
                if prepares && gainer.waits {
                    return Next::Keep;
                }
                self.room = room;
                if prepares {
                    Next::Prepare
                } else {
                    Next::Revoke
                }
            }
            (version, true) => match warmth.ended.get(&(rank, version)) {
                Some(false) if !gainer.waits => {
                    self.ready.push(rank);
                    Next::Revoke
                }
                // What failed is planned again, without this worker.
                Some(_) | None => Next::Keep,
            },
            (_, false) => Next::Revoke,
        }
    }
}

/// The preparations that the records of living workers name for what they are to have, by rank.
fn preparing(target: &[u32], slots: &[Slot]) -> Vec<Version> {
    let mut preparing = vec![Version::ZERO; target.len()];
    for (index, slot) in slots.iter().enumerate() {
        let bound = slot.living.is_some() && matches!(slot.standing, Standing::Bound { .. });
        let page = slot.page.iter().filter(|_| bound);
        for &(rank, since) in page.flat_map(|page| &page.preparing) {
            if target[rank as usize] as usize == index {
                preparing[rank as usize] = since;
            }
        }
    }
    preparing
}

/// How many partitions are on their way to somebody.
fn in_flight(target: &[u32], slots: &[Slot], preparing: &[Version]) -> u32 {
    let mut moving: Vec<bool> = preparing
        .iter()
        .map(|&since| since > Version::ZERO)
        .collect();
    for slot in slots {
        for &(rank, since) in slot.page.iter().flat_map(|page| &page.revoking) {
            moving[rank as usize] |= target[rank as usize] != NOBODY && may_hold(slot, rank, since);
        }
    }
    u32::try_from(moving.into_iter().filter(|moves| *moves).count()).unwrap_or(u32::MAX)
}
