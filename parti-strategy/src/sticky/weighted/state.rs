//! The assignment while it is being changed: owners, loads, and what the changes cost so far.
//!
//! What always holds: `loads` are the sums of the weights by `owners`, and `spent` counts the
//! partitions that are away from a previous owner who could keep them.

use parti_core::{NO_OWNER, PlanInput};

use crate::basis::classes::{Classes, NO_CLASS};
use crate::sticky::weighted::level::{Band, Bands};

/// No giant is pinned to this worker.
pub(super) const NO_PIN: u32 = u32::MAX;

/// What a state is made of.
#[derive(Debug, Default)]
pub(super) struct Board {
    /// Loads by worker.
    pub(super) loads: Vec<u64>,
    /// The giant each worker holds, by rank, or [`NO_PIN`].
    pub(super) pins: Vec<u32>,
    /// Workers by capacity.
    pub(super) classes: Classes,
    /// The bands in force.
    pub(super) bands: Bands,
    /// The cost so far and its limit.
    pub(super) purse: Purse,
}

impl Board {
    /// The state of these owners, whose loads the board must have.
    pub(super) fn state<'a>(
        &'a mut self,
        input: &'a PlanInput,
        owners: &'a mut [u32],
    ) -> State<'a> {
        let (weights, origin) = (input.partitions.weights(), &input.previous[..]);
        State {
            board: self,
            weights,
            origin,
            owners,
        }
    }
}

/// What all steps work on.
pub(super) struct State<'a> {
    /// Loads, bands and costs.
    pub(super) board: &'a mut Board,
    /// Weights by rank.
    pub(super) weights: &'a [u64],
    /// Previous owners by rank; may be empty.
    origin: &'a [u32],
    /// Owners by rank.
    pub(super) owners: &'a mut [u32],
}

/// The movement budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Purse {
    /// Voluntary moves so far.
    pub(super) spent: u32,
    /// Their weight.
    pub(super) spent_weight: u64,
    /// The most there may be.
    pub(super) limit: u32,
    /// Whether the limit prevented a move.
    pub(super) denied: bool,
}

impl State<'_> {
    /// The band of a worker that may own.
    pub(super) fn band(&self, worker: u32) -> Band {
        self.board.bands.of(self.board.classes.of(worker))
    }

    /// The weight of the giant pinned to a worker, or 0.
    pub(super) fn pinned_weight(&self, worker: u32) -> u64 {
        match self.board.pins[worker as usize] {
            NO_PIN => 0,
            rank => self.weights[rank as usize],
        }
    }

    /// Whether this partition is the giant its owner is there for.
    pub(super) fn is_pinned(&self, rank: u32) -> bool {
        let owner = self.owners[rank as usize];
        self.board.pins.get(owner as usize) == Some(&rank)
    }

    fn is_at_origin(&self, rank: u32) -> bool {
        let owner = self.owners[rank as usize];
        owner != NO_OWNER && self.origin.get(rank as usize) == Some(&owner)
    }

    /// Whether `moves` more partitions may leave their previous owners; remembers a refusal.
    pub(super) fn can_afford(&mut self, ranks: &[u32]) -> bool {
        let cost = ranks
            .iter()
            .filter(|&&rank| self.is_at_origin(rank))
            .count() as u32;
        let affordable =
            self.board.purse.spent.saturating_add(cost) <= self.board.purse.limit || cost == 0;
        self.board.purse.denied |= !affordable;
        affordable
    }

    /// Takes a partition from its owner, if it has one. Check [`State::can_afford`] first.
    pub(super) fn release(&mut self, rank: u32) {
        let owner = self.owners[rank as usize];
        let weight = self.weights[rank as usize];
        let Some(load) = self.board.loads.get_mut(owner as usize) else {
            return;
        };
        *load -= weight;
        if self.is_at_origin(rank) {
            self.board.purse.spent += 1;
            self.board.purse.spent_weight += weight;
        }
        self.owners[rank as usize] = NO_OWNER;
    }

    /// Gives a partition that nobody owns to a worker.
    pub(super) fn place(&mut self, rank: u32, worker: u32) {
        let weight = self.weights[rank as usize];
        self.owners[rank as usize] = worker;
        self.board.loads[worker as usize] += weight;
        if self.is_at_origin(rank) {
            self.board.purse.spent -= 1;
            self.board.purse.spent_weight -= weight;
        }
    }

    /// Moves a partition.
    pub(super) fn relocate(&mut self, rank: u32, worker: u32) {
        self.release(rank);
        self.place(rank, worker);
    }

    /// Whether a worker is so empty that something is done for it.
    pub(super) fn is_starving(&self, worker: u32) -> bool {
        self.board.classes.of(worker) != NO_CLASS
            && self.pinned_weight(worker) == 0
            && self.board.loads[worker as usize] < self.band(worker).low_trigger
    }

    /// What a worker lacks to the middle of its band.
    pub(super) fn lacks(&self, worker: u32) -> u64 {
        self.band(worker)
            .middle
            .saturating_sub(self.board.loads[worker as usize])
    }

    /// How far a worker is outside what triggers something; a giant alone is never too much.
    pub(super) fn violation_of(&self, worker: u32) -> u64 {
        let (band, load) = (self.band(worker), self.board.loads[worker as usize]);
        let pinned = self.pinned_weight(worker);
        let missing = if pinned > 0 {
            0
        } else {
            band.low_trigger.saturating_sub(load)
        };
        load.saturating_sub(band.high_trigger.max(pinned)) + missing
    }

    /// The sum of all violations.
    pub(super) fn violation(&self) -> u64 {
        let able = self.board.classes.able();
        able.fold(0, |sum, (worker, _)| {
            sum.saturating_add(self.violation_of(worker))
        })
    }
}
