//! Which partitions leave their workers: from those above their band, and for those below it.
//!
//! What always holds: nobody is brought below the goal to feed another, a giant never leaves the
//! worker it is pinned to, and nobody sheds its last partition.

use std::cmp::Reverse;

use crate::classes::Fullest;
use crate::sticky::weighted::level::ByWeight;
use crate::sticky::weighted::members::Members;
use crate::sticky::weighted::state::State;

/// Reused memory.
#[derive(Debug, Default)]
pub(super) struct Shedding {
    members: Members,
    donors: Vec<u32>,
    fullest: Fullest,
}

impl Shedding {
    /// Releases what overloaded workers must give, then what starving workers need beyond what
    /// nobody owns yet, `loose` by weight. Returns the weight released.
    pub(super) fn run(&mut self, state: &mut State<'_>, loose: u64) {
        self.donors.clear();
        self.donors
            .extend(
                state
                    .board
                    .classes
                    .able()
                    .map(|(worker, _)| worker)
                    .filter(|&worker| {
                        let limit = state
                            .band(worker)
                            .high_trigger
                            .max(state.pinned_weight(worker));
                        state.board.loads[worker as usize] > limit
                    }),
            );
        let starving = Starving::among(state);
        if self.donors.is_empty() && starving.need <= loose {
            return;
        }
        self.members
            .set(state.board.loads.len(), state.owners, state.weights);
        let classes = &state.board.classes;
        self.donors.sort_unstable_by(|&a, &b| {
            let load = |worker: u32| (state.board.loads[worker as usize], classes.of(worker));
            classes.compare(load(b), load(a)).then(a.cmp(&b))
        });
        let mut loose = loose;
        for &donor in &self.donors {
            let before = state.board.loads[donor as usize];
            relieve(state, donor, self.members.by_weight(donor));
            loose += before - state.board.loads[donor as usize];
        }
        self.pull(state, starving, loose);
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
