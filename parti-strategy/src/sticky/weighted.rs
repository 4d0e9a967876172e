//! Sticky assignment of partitions of different weight: loads are kept within a band.
//!
//! Exact balance with fewest moves is NP-hard here, so loads may differ from the level by a trigger
//! before anything is done, and are then brought to a narrower goal. What always holds: no load
//! exceeds the trigger, the giant it consists of, or the level plus one partition; voluntary moves
//! stay within the budget; what is inside the band is left alone.

mod bound;
mod level;
mod members;
mod place;
mod refine;
mod shed;
mod state;

use parti_core::{NO_OWNER, Plan, PlanError, PlanInput, Report};

use crate::basis::classes::{Classes, Emptiest};
use crate::sticky::Settings;
use crate::sticky::census::{self, Burden, Found};
use crate::sticky::homes;
use bound::Bound;
use level::{ByWeight, Giants};
use refine::Refinement;
use shed::Shedding;
use state::{Board, Purse, State};

pub(super) use level::Tolerance;

/// A plan is improved at most this often before it is committed; the next decision goes on.
const MAX_ROUNDS: u32 = 8;
/// The widest trigger that is chosen by itself, in thousandths: beyond it idle workers would be
/// taken for balanced ones.
const WIDEST_TRIGGER: u32 = 500;
/// The narrowest trigger that is chosen by itself.
const NARROWEST_TRIGGER: u32 = 100;

/// What the rounds of one planning work with; they share its memory.
#[derive(Debug, Default)]
struct Memory {
    board: Board,
    loose: Vec<u32>,
    starving: Vec<bool>,
    homes: Vec<u32>,
    anchors: Vec<(u32, u32)>,
    saved: Vec<u32>,
    pool: Vec<ByWeight>,
    giants: Giants,
    bound: Bound,
    emptiest: Emptiest,
    shedding: Shedding,
    refinement: Refinement,
}

/// How a plan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Outcome {
    violation: u64,
    purse: Purse,
    settled: bool,
}

/// Plans for unequal weights.
pub(super) fn plan(
    input: &PlanInput,
    capacity: u64,
    settings: Settings,
) -> Result<Plan, PlanError> {
    let (Found { mut owners, held }, burden) = census::weigh(input)?;
    let mut memory = Memory::default();
    memory.board.loads = held;
    memory.board.classes = Classes::new(input.workers.as_slice());
    let run = Run {
        input,
        capacity,
        settings,
    };
    let outcome = memory.plan(&run, burden, &mut owners)?;
    let report = memory.report(input, burden, outcome);
    let unmet = Vec::new();
    Ok(Plan {
        owners,
        unmet,
        report,
    })
}

impl Memory {
    fn plan(
        &mut self,
        run: &Run<'_>,
        burden: Burden,
        owners: &mut [u32],
    ) -> Result<Outcome, PlanError> {
        let Run {
            input,
            capacity,
            settings,
        } = *run;
        let workers = input.workers.as_slice();
        let (table, partitions) = (&input.partitions, input.partitions.len() as u32);
        let total = table.total_weight();
        self.giants.find(
            table.weights(),
            table.max_weight(),
            total,
            workers,
            capacity,
        );
        self.pin_in_place(workers.len(), owners);
        self.bound
            .remember(&self.board.loads, &self.board.pins, table.weights());
        self.board.purse = Purse::new(input.budget);

        let is_complete = burden.census.homeless() == 0;
        if is_complete && self.loose.is_empty() {
            run.set_bands(self);
            if self.board.state(input, owners).violation() == 0 {
                return Ok(Outcome {
                    violation: 0,
                    purse: self.board.purse,
                    settled: true,
                });
            }
        }
        let is_fresh = burden.census.unowned == partitions;
        if settings.homes {
            self.homes = homes::on_ring(input)?;
        }
        if settings.homes && is_fresh {
            owners.copy_from_slice(&self.homes);
            self.reweigh(table.weights(), owners);
            self.pin_in_place(workers.len(), owners);
        }
        self.resolve_anchors(input);
        Ok(run.improve(self, owners, is_complete, is_fresh))
    }

    fn pin_in_place(&mut self, workers: usize, owners: &[u32]) {
        let giants = self.giants.found();
        place::pin_in_place(
            giants,
            owners,
            &mut self.board.pins,
            workers,
            &mut self.loose,
        );
    }

    fn reweigh(&mut self, weights: &[u64], owners: &[u32]) {
        self.board.loads.fill(0);
        for (&owner, &weight) in owners.iter().zip(weights).filter(|(o, _)| **o != NO_OWNER) {
            self.board.loads[owner as usize] += weight;
        }
    }

    fn resolve_anchors(&mut self, input: &PlanInput) {
        let mut last = None;
        for (rank, worker) in &input.anchors {
            let index = match last {
                Some((known, index)) if known == worker => index,
                _ => input.workers.index_of(worker),
            };
            last = Some((worker, index));
            self.anchors.extend(index.map(|index| (*rank, index)));
        }
    }

    fn report(&self, input: &PlanInput, burden: Burden, outcome: Outcome) -> Report {
        let Purse {
            spent,
            spent_weight,
            ..
        } = outcome.purse;
        let departed = burden.census.departed;
        let moved = departed + spent;
        let moved_weight = burden.departed + spent_weight;
        let heaviest = input.partitions.max_weight();
        let (count, weight) =
            self.bound
                .least(burden, heaviest, &self.board.classes, &self.board.bands);
        let able = self
            .board
            .classes
            .able()
            .map(|(worker, _)| self.board.loads[worker as usize]);
        Report {
            moved,
            moved_weight,
            forced: departed,
            voluntary: spent,
            // A band that could not be reached leaves more imbalance, for which less can do.
            lower_bound: count.min(moved),
            moved_weight_bound: weight.min(moved_weight),
            max_load: self.board.loads.iter().copied().max().unwrap_or(0),
            min_load: able.min().unwrap_or(0),
            total_weight: input.partitions.total_weight(),
            level: self.board.bands.level,
            giants: self.giants.found().len() as u32,
            violation: outcome.violation,
            settled: outcome.settled,
            unplaced: 0,
        }
    }
}

impl Purse {
    fn new(budget: Option<u32>) -> Self {
        Self {
            limit: budget.unwrap_or(u32::MAX),
            ..Self::default()
        }
    }
}

/// One planning, apart from its memory.
struct Run<'a> {
    input: &'a PlanInput,
    capacity: u64,
    settings: Settings,
}

impl Run<'_> {
    /// Repeats rounds while the violation shrinks.
    ///
    /// A plan is settled when the next planning would change nothing. That one prefers homes alone: a
    /// settled plan ends the anchors of the living. So a round that improves nothing by anchors is
    /// followed by one without them, before the plan is called settled.
    fn improve(
        &self,
        memory: &mut Memory,
        owners: &mut [u32],
        is_complete: bool,
        is_fresh: bool,
    ) -> Outcome {
        let mut best = None;
        if is_complete {
            self.set_bands(memory);
            best = Some(memory.board.state(self.input, owners).violation());
        }
        let mut settled = false;
        for round in 0..MAX_ROUNDS {
            memory.saved.clear();
            memory.saved.extend_from_slice(owners);
            let purse = memory.board.purse;
            let violation = self.round(memory, owners, is_fresh && round == 0);
            if best.is_some_and(|best| violation >= best) {
                let is_denied = memory.board.purse.denied;
                self.restore(memory, owners, purse);
                if !is_denied && !memory.anchors.is_empty() {
                    memory.anchors.clear();
                    continue;
                }
                settled = !is_denied;
                break;
            }
            best = Some(violation);
            if violation == 0 {
                settled = true;
                break;
            }
            memory.pin_in_place(self.input.workers.len(), owners);
        }
        Outcome {
            violation: best.unwrap_or(0),
            purse: memory.board.purse,
            settled,
        }
    }

    /// Goes back to how it was before the last round.
    fn restore(&self, memory: &mut Memory, owners: &mut [u32], purse: Purse) {
        owners.copy_from_slice(&memory.saved);
        memory.reweigh(self.input.partitions.weights(), owners);
        memory.pin_in_place(self.input.workers.len(), owners);
        self.set_bands(memory);
        memory.board.purse = purse;
    }

    /// One pass over all steps; returns the violation that is left.
    fn round(&self, memory: &mut Memory, owners: &mut [u32], is_free: bool) -> u64 {
        place::pin_loose(&memory.loose, &mut memory.board.state(self.input, owners));
        self.set_bands(memory);
        if is_free {
            memory.board.bands.act_on_goals();
        }
        let state = &mut memory.board.state(self.input, owners);
        // A group that begins starts from its homes.
        let homes: &[u32] = if is_free { &[] } else { &memory.homes };
        self.send_home(&mut memory.starving, &memory.anchors, homes, state);
        let unowned = self.unowned(state);
        memory.shedding.run(state, unowned);
        place::place(state, &mut memory.pool, homes, &mut memory.emptiest);
        if is_free {
            self.set_bands(memory);
        }
        let state = &mut memory.board.state(self.input, owners);
        memory.refinement.run(state);
        state.violation()
    }

    /// Sends partitions to starving workers by anchor, then by home.
    fn send_home(
        &self,
        starving: &mut Vec<bool>,
        anchors: &[(u32, u32)],
        homes: &[u32],
        state: &mut State<'_>,
    ) {
        starving.clear();
        let workers = 0..state.board.loads.len() as u32;
        starving.extend(workers.map(|worker| state.is_starving(worker)));
        if !starving.contains(&true) {
            return;
        }
        place::prefer(state, starving, anchors.iter().copied(), u64::MAX);
        if homes.is_empty() {
            return;
        }
        let need = (0_u32..).zip(&*starving).filter(|(_, starving)| **starving);
        let need: u64 = need.map(|(worker, _)| state.lacks(worker)).sum();
        let quota = need.saturating_sub(self.unowned(state));
        place::prefer(state, starving, (0_u32..).zip(homes.iter().copied()), quota);
    }

    /// The weight that nobody owns.
    fn unowned(&self, state: &State<'_>) -> u64 {
        self.input.partitions.total_weight() - state.board.loads.iter().sum::<u64>()
    }

    /// Computes level and bands for the giants that are pinned now.
    fn set_bands(&self, memory: &mut Memory) {
        let table = &self.input.partitions;
        let (mut weight, mut capacity) = (table.total_weight(), self.capacity);
        let workers = memory.board.classes.able().count() as u64;
        let mut pinned = 0;
        let pins = memory.board.pins.iter().zip(self.input.workers.as_slice());
        for (&rank, info) in pins.filter(|(pin, _)| **pin != state::NO_PIN) {
            weight -= table.weights()[rank as usize];
            capacity -= u64::from(info.capacity);
            pinned += 1;
        }
        let (others, free) = (table.len() as u64 - pinned, workers - pinned);
        let granular = (free * 1500 / others.max(1)).min(u64::from(WIDEST_TRIGGER)) as u32;
        let Settings { goal, trigger, .. } = self.settings;
        let automatic = granular.max(NARROWEST_TRIGGER).max(goal);
        let tolerance = Tolerance {
            goal,
            trigger: trigger.unwrap_or(automatic),
        };
        let Board { classes, bands, .. } = &mut memory.board;
        bands.set(classes, weight, capacity.max(1), tolerance);
    }
}
