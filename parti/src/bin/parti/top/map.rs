//! The map of partitions: who owns each, in as many cells as there is room for.
//!
//! It is separate because it decides what one cell says about many partitions. What always holds: a cell
//! shows the worst of what it stands for, so that one partition without an owner among 100 000 is seen.

use std::collections::BTreeMap;

use parti::directory::{PartitionState, PartitionView};
use parti_core::WorkerId;

/// What a cell shows, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cell {
    /// Owned by this worker, by its place among those shown.
    Owned(usize),
    /// Owned by somebody who is not shown.
    Elsewhere,
    Parked,
    Moving,
    Unowned,
}

impl Cell {
    /// A letter, for terminals and people without colours.
    pub(super) const fn letter(self) -> char {
        const LETTERS: &[u8; 26] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ";
        match self {
            Self::Owned(place) => LETTERS[place % LETTERS.len()] as char,
            Self::Elsewhere => '?',
            Self::Parked => 'p',
            Self::Moving => '~',
            Self::Unowned => '!',
        }
    }
}

/// One cell for each partition, or for so many neighbours that all fit into `room`, and how many that are.
pub(super) fn cells(
    partitions: &[PartitionView],
    workers: &[&WorkerId],
    room: usize,
) -> (Vec<Cell>, usize) {
    if room == 0 || partitions.is_empty() {
        return (Vec::new(), 1);
    }
    let each = partitions.len().div_ceil(room);
    let places: BTreeMap<&WorkerId, usize> = workers.iter().copied().zip(0..).collect();
    let cell = |partition: &PartitionView| match &partition.state {
        PartitionState::Owned { worker, .. } => {
            let place = places.get(worker).copied();
            place.map_or(Cell::Elsewhere, Cell::Owned)
        }
        PartitionState::Moving { .. } => Cell::Moving,
        PartitionState::Parked(_) => Cell::Parked,
        PartitionState::Unowned { .. } | _ => Cell::Unowned,
    };
    let worst = |some: &[PartitionView]| some.iter().map(cell).max();
    let cells = partitions.chunks(each).filter_map(worst).collect();
    (cells, each)
}
