//! Which partitions leave their workers: from those above their band, and for those below it.
//!
//! What always holds: nobody is brought below the goal to feed another, a giant never leaves the
//! worker it is pinned to, and nobody sheds its last partition.

use std::cmp::Reverse;

use crate::basis::classes::{Fullest, NO_CLASS};
use crate::sticky::weighted::level::ByWeight;
use crate::sticky::weighted::members::Members;
use crate::sticky::weighted::state::State;

/// Reused memory.
#[derive(Debug, Default)]
pub(super) struct Shedding {
    members: Members,
    by_load: Vec<u32>,
    donors: Vec<u32>,
    is_listed: Vec<bool>,
    fullest: Fullest,
}

impl Shedding {
    /// Releases what overloaded workers must give, then what starving workers need beyond what
    /// nobody owns yet, `loose` by weight.
    pub(super) fn run(&mut self, state: &mut State<'_>, loose: u64) {
        let starving = Starving::among(state);
        let mut workers = 0..state.board.loads.len() as u32;
        if starving.need <= loose && !workers.any(|worker| is_overloaded(state, worker)) {
            return;
        }
        self.list_donors(state, starving.need.saturating_sub(loose));
        let mut loose = loose;
        for &donor in &self.donors {
            let before = state.board.loads[donor as usize];
            relieve(state, donor, self.members.by_weight(donor));
            loose += before - state.board.loads[donor as usize];
        }
        self.pull(state, starving, loose);
    }

    /// Finds the overloaded workers, fullest first, and lists what they have; also what those have who
    /// will probably be asked for `need`. Listing all for the sake of a few would cost more than
    /// anything else; a wrong guess costs only time.
    fn list_donors(&mut self, state: &State<'_>, need: u64) {
        let (classes, loads) = (&state.board.classes, &state.board.loads);
        self.by_load.clear();
        self.by_load
            .extend(classes.able().map(|(worker, _)| worker));
        self.by_load.sort_unstable_by(|&a, &b| {
            let load = |worker: u32| (loads[worker as usize], classes.of(worker));
            classes.compare(load(b), load(a)).then(a.cmp(&b))
        });
        self.donors.clear();
        let by_load = self.by_load.iter().copied();
        self.donors
            .extend(by_load.filter(|&worker| is_overloaded(state, worker)));
        self.is_listed.clear();
        self.is_listed.resize(loads.len(), false);
        for &worker in self
            .donors
            .iter()
            .chain(likely_donors(state, &self.by_load, need))
        {
            self.is_listed[worker as usize] = true;
        }
        let is_listed = |worker: u32| self.is_listed[worker as usize];
        self.members
            .set(loads.len(), state.owners, state.weights, is_listed);
    }

    /// The fullest worker gives its largest suitable partition, again and again.
    fn pull(&mut self, state: &mut State<'_>, starving: Starving, loose: u64) {
        let Starving { need, room, slack } = starving;
        let mut need = need.saturating_sub(loose);
        if need == 0 {
            return;
        }
        self.fullest.set(&state.board.classes, &state.board.loads);
        while need > 0 {
            let Some(donor) = self.fullest.pop(&state.board.classes) else {
                return;
            };
            let spare = state.board.loads[donor as usize].saturating_sub(state.band(donor).low);
            let limit = spare.min(room).min(need.saturating_add(slack));
            if !self.members.lists(donor) {
                let (workers, owners) = (state.board.loads.len(), &*state.owners);
                self.members.set(workers, owners, state.weights, |_| true);
            }
            let list = self.members.by_weight(donor);
            let first = list.partition_point(|&(Reverse(weight), _)| weight > limit);
            let is_here = |&&(_, rank): &&ByWeight| {
                state.owners[rank as usize] == donor && !state.is_pinned(rank)
            };
            let Some(&(Reverse(weight), rank)) = list[first..].iter().find(is_here) else {
                continue;
            };
            if !state.can_afford(&[rank]) {
                continue;
            }
            state.release(rank);
            need = need.saturating_sub(weight);
            self.fullest.push(
                &state.board.classes,
                donor,
                state.board.loads[donor as usize],
            );
        }
    }
}

fn is_overloaded(state: &State<'_>, worker: u32) -> bool {
    if state.board.classes.of(worker) == NO_CLASS {
        return false;
    }
    let limit = state
        .band(worker)
        .high_trigger
        .max(state.pinned_weight(worker));
    state.board.loads[worker as usize] > limit
}

/// The fullest workers, up to several times as many as `need` takes if each gives all it can spare:
/// most give a single partition.
fn likely_donors<'a>(state: &State<'_>, by_load: &'a [u32], need: u64) -> &'a [u32] {
    if need == 0 {
        return &[];
    }
    let mut spare = 0_u64;
    let enough = by_load.iter().position(|&worker| {
        let load = state.board.loads[worker as usize];
        let stays = state.band(worker).low.max(state.pinned_weight(worker));
        spare = spare.saturating_add(load.saturating_sub(stays));
        spare / 8 >= need
    });
    &by_load[..enough.map_or(by_load.len(), |last| by_load.len().min(last + 64))]
}

/// What workers below their band lack.
struct Starving {
    /// Together.
    need: u64,
    /// The most that one of them can take.
    room: u64,
    /// How much more than the middle that one can take.
    slack: u64,
}

impl Starving {
    fn among(state: &State<'_>) -> Self {
        let mut all = Self {
            need: 0,
            room: 0,
            slack: 0,
        };
        for (worker, _) in state.board.classes.able() {
            if !state.is_starving(worker) {
                continue;
            }
            let (band, load) = (state.band(worker), state.board.loads[worker as usize]);
            all.need = all.need.saturating_add(state.lacks(worker));
            if band.high - load > all.room {
                all.room = band.high - load;
                all.slack = band.high - band.middle;
            }
        }
        all
    }
}

/// Brings an overloaded worker to its band: large partitions first, because they are fewest; if none
/// fits any more, the smallest.
fn relieve(state: &mut State<'_>, donor: u32, list: &[ByWeight]) {
    let band = state.band(donor);
    let limit = band.high.max(state.pinned_weight(donor));
    let mut left = list.len();
    for &(Reverse(weight), rank) in list {
        let load = state.board.loads[donor as usize];
        if load <= limit || left == 1 {
            return;
        }
        let stays = load - weight;
        if stays >= band.low && !state.is_pinned(rank) && state.can_afford(&[rank]) {
            state.release(rank);
            left -= 1;
        }
    }
    for &(_, rank) in list.iter().rev() {
        if state.board.loads[donor as usize] <= limit || left == 1 {
            return;
        }
        let is_here = state.owners[rank as usize] == donor && !state.is_pinned(rank);
        if is_here && state.can_afford(&[rank]) {
            state.release(rank);
            left -= 1;
        }
    }
}
