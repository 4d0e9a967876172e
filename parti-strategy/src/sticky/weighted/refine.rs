//! The last resort against loads outside the trigger band: moves and swaps between the fullest and
//! the emptiest worker.
//!
//! What always holds: each step leaves both workers below what the fuller one had, so it ends.

use std::cmp::Reverse;

use crate::sticky::weighted::level::ByWeight;
use crate::sticky::weighted::members::Members;
use crate::sticky::weighted::state::State;

/// Ends a list of partitions that came to a worker.
const END: u32 = u32::MAX;

/// Reused memory.
#[derive(Debug, Default)]
pub(super) struct Refinement {
    members: Members,
    heads: Vec<u32>,
    arrivals: Vec<(u32, u32)>,
    fuller: Vec<ByWeight>,
    emptier: Vec<ByWeight>,
}

/// What passes between two workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Exchange {
    give: u32,
    take: Option<u32>,
}

impl Refinement {
    /// Exchanges until all loads are inside the band or nothing helps; returns whether anything
    /// was changed.
    pub(super) fn run(&mut self, state: &mut State<'_>) {
        if state
            .board
            .classes
            .able()
            .all(|(worker, _)| state.violation_of(worker) == 0)
        {
            return;
        }
        self.members
            .set(state.board.loads.len(), state.owners, state.weights, |_| {
                true
            });
        self.heads.clear();
        self.heads.resize(state.board.loads.len(), END);
        self.arrivals.clear();
        for _ in 0..2 * state.board.loads.len() + 64 {
            if state
                .board
                .classes
                .able()
                .all(|(worker, _)| state.violation_of(worker) == 0)
            {
                return;
            }
            let Some((fuller, emptier)) = extremes(state) else {
                return;
            };
            self.list(state, fuller, true);
            self.list(state, emptier, false);
            let Some(Exchange { give, take }) = self.best(state, fuller, emptier) else {
                return;
            };
            let both = [give, take.unwrap_or(give)];
            let ranks = if take.is_some() {
                &both[..]
            } else {
                &both[..1]
            };
            if !state.can_afford(ranks) {
                return;
            }
            state.relocate(give, emptier);
            self.arrive(give, emptier);
            if let Some(take) = take {
                state.relocate(take, fuller);
                self.arrive(take, fuller);
            }
        }
    }

    fn arrive(&mut self, rank: u32, worker: u32) {
        let head = &mut self.heads[worker as usize];
        self.arrivals.push((rank, *head));
        *head = self.arrivals.len() as u32 - 1;
    }

    /// Lists what a worker has now, except its giant.
    fn list(&mut self, state: &State<'_>, worker: u32, is_fuller: bool) {
        let list = if is_fuller {
            &mut self.fuller
        } else {
            &mut self.emptier
        };
        list.clear();
        let entry = |rank: u32| (Reverse(state.weights[rank as usize]), rank);
        let is_here = |rank: u32| state.owners[rank as usize] == worker && !state.is_pinned(rank);
        let residents = self.members.by_weight(worker).iter().copied();
        list.extend(residents.filter(|&(_, rank)| is_here(rank)));
        let mut at = self.heads[worker as usize];
        while at != END {
            let (rank, next) = self.arrivals[at as usize];
            if is_here(rank) {
                list.push(entry(rank));
            }
            at = next;
        }
        list.sort_unstable();
        list.dedup();
    }

    /// The move or swap that brings the two workers closest to each other.
    fn best(&self, state: &State<'_>, fuller: u32, emptier: u32) -> Option<Exchange> {
        let gap = Gap::between(state, fuller, emptier)?;
        let mut best: Option<(u64, Exchange)> = None;
        let mut offer = |transfer: u64, exchange: Exchange| {
            let error = transfer.abs_diff(gap.ideal);
            if gap.improves(transfer) && best.is_none_or(|(least, _)| error < least) {
                best = Some((error, exchange));
            }
        };
        for &(Reverse(weight), give) in &self.fuller {
            offer(weight, Exchange { give, take: None });
        }
        // Both lists are sorted, so the partner that fits best only moves one way.
        let mut at = 0;
        for &(Reverse(weight), give) in &self.fuller {
            let wanted = weight.saturating_sub(gap.ideal);
            while at < self.emptier.len() && self.emptier[at].0.0 > wanted {
                at += 1;
            }
            for partner in at.saturating_sub(1)..(at + 1).min(self.emptier.len()) {
                let (Reverse(other), take) = self.emptier[partner];
                if other < weight {
                    offer(
                        weight - other,
                        Exchange {
                            give,
                            take: Some(take),
                        },
                    );
                }
            }
        }
        best.map(|(_, exchange)| exchange)
    }
}

/// The fullest and the emptiest worker that may exchange. A worker that is only its giant cannot.
fn extremes(state: &State<'_>) -> Option<(u32, u32)> {
    let load = |worker: u32| {
        (
            state.board.loads[worker as usize],
            state.board.classes.of(worker),
        )
    };
    let workers = || {
        let able = state.board.classes.able().map(|(worker, _)| worker);
        able.filter(|&worker| {
            let pinned = state.pinned_weight(worker);
            pinned == 0 || state.board.loads[worker as usize] > pinned
        })
    };
    let fuller = workers().max_by(|&a, &b| {
        state
            .board
            .classes
            .compare(load(a), load(b))
            .then(b.cmp(&a))
    })?;
    let emptier = workers().min_by(|&a, &b| {
        state
            .board
            .classes
            .compare(load(a), load(b))
            .then(a.cmp(&b))
    })?;
    (fuller != emptier).then_some((fuller, emptier))
}

/// How much should pass from one worker to the other.
struct Gap {
    loads: (u64, u64),
    capacities: (u128, u128),
    ideal: u64,
}

impl Gap {
    fn between(state: &State<'_>, fuller: u32, emptier: u32) -> Option<Self> {
        let capacity = |worker: u32| {
            u128::from(state.board.classes.capacities()[state.board.classes.of(worker) as usize])
        };
        let (full, empty) = (capacity(fuller), capacity(emptier));
        let loads = (
            state.board.loads[fuller as usize],
            state.board.loads[emptier as usize],
        );
        let surplus = (u128::from(loads.0) * empty).checked_sub(u128::from(loads.1) * full)?;
        let ideal = u64::try_from(surplus / (full + empty)).unwrap_or(u64::MAX);
        Some(Self {
            loads,
            capacities: (full, empty),
            ideal,
        })
    }

    /// Whether the emptier worker stays below what the fuller one has now.
    fn improves(&self, transfer: u64) -> bool {
        let filled = u128::from(self.loads.1) + u128::from(transfer);
        filled * self.capacities.0 < u128::from(self.loads.0) * self.capacities.1
    }
}
