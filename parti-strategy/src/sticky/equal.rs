//! Sticky assignment of equally heavy partitions: perfect balance with provably fewest moves.
//!
//! First it is settled how many partitions each worker is due, then which ones travel. Anchors and
//! homes only choose among plans with the same, fewest number of moves. What always holds without a
//! budget: counts follow the quotas, and `moved` equals the lower bound.

use parti_core::{NO_OWNER, Plan, PlanError, PlanInput, Report};

use crate::basis::scratch::Scratch;
use crate::sticky::census::{self, Census};
use crate::sticky::homes::{self, Levelling, differences};
use crate::sticky::quota::{Quotas, level_down};

/// Reused memory.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    quotas: Quotas,
    counts: Vec<u32>,
    anchored: Vec<u32>,
    anchors: Vec<(u32, u32)>,
    dues: Vec<u32>,
    shed: Vec<u32>,
    need: Vec<u32>,
    homes: Vec<u32>,
    levelling: Levelling,
}

/// Plans for equal weights.
pub(super) fn plan(
    input: &PlanInput,
    capacity: u64,
    use_homes: bool,
    scratch: &mut Scratch,
    plan: &mut Plan,
) -> Result<(), PlanError> {
    let mut buffers = core::mem::take(&mut scratch.equal);
    let result = buffers.plan(input, capacity, use_homes, scratch, plan);
    scratch.equal = buffers;
    result
}

/// Plans for workers that are due these numbers of partitions, whatever their capacity.
pub(crate) fn plan_with_dues(
    input: &PlanInput,
    dues: &[u32],
    scratch: &mut Scratch,
    plan: &mut Plan,
) -> Result<(), PlanError> {
    let buffers = &mut scratch.equal;
    let census = census::take(input, &mut plan.owners, &mut buffers.counts)?;
    buffers.homes.clear();
    buffers.dues.clear();
    buffers.dues.extend_from_slice(dues);
    differences(&buffers.counts, dues, &mut buffers.shed, &mut buffers.need);
    buffers.resolve_anchors(input, &plan.owners);
    let (voluntary, settled) = buffers.apply_budget(input.budget, census);
    buffers.travel(&mut plan.owners, voluntary + census.homeless());
    let weight = input.partitions.uniform_weight().unwrap_or(1);
    let moved = census.departed + voluntary;
    let missing = dues
        .iter()
        .zip(&buffers.dues)
        .map(|(&due, &has)| u64::from(due.abs_diff(has)));
    plan.report = Report {
        moved,
        moved_weight: u64::from(moved) * weight,
        forced: census.departed,
        voluntary,
        lower_bound: moved,
        moved_weight_bound: u64::from(moved) * weight,
        violation: missing.sum::<u64>() * weight,
        settled,
        ..Report::default()
    };
    Ok(())
}

impl Buffers {
    fn plan(
        &mut self,
        input: &PlanInput,
        capacity: u64,
        use_homes: bool,
        scratch: &mut Scratch,
        plan: &mut Plan,
    ) -> Result<(), PlanError> {
        let partitions = input.partitions.len() as u32;
        let census = census::take(input, &mut plan.owners, &mut self.counts)?;
        self.quotas
            .set(input.workers.as_slice(), partitions, capacity);
        if census.homeless() == 0 && self.quotas.are_met_by(&self.counts) {
            self.dues.clone_from(&self.counts);
            plan.report = self.report(input, capacity, census, 0, true);
            return Ok(());
        }
        if use_homes && census.unowned == partitions {
            homes::on_ring(&input.partitions, &input.workers, scratch, &mut plan.owners)?;
            self.levelling
                .level(&self.quotas, input.workers.len(), &mut plan.owners);
            self.dues.clear();
            self.dues.extend_from_slice(self.levelling.dues());
            plan.report = self.report(input, capacity, census, 0, true);
            return Ok(());
        }
        self.resolve_anchors(input, &plan.owners);
        self.homes.clear();
        self.set_dues();
        if use_homes && self.has_choice() {
            homes::on_ring(&input.partitions, &input.workers, scratch, &mut self.homes)?;
            self.levelling
                .level(&self.quotas, input.workers.len(), &mut self.homes);
            self.set_dues();
        }
        let (voluntary, settled) = self.apply_budget(input.budget, census);
        self.travel(&mut plan.owners, voluntary + census.homeless());
        plan.report = self.report(input, capacity, census, voluntary, settled);
        Ok(())
    }

    /// Anchors whose worker lives and does not own the partition, as indices; and how many
    /// partitions each worker would have if all of them went back.
    fn resolve_anchors(&mut self, input: &PlanInput, owners: &[u32]) {
        self.anchored.clone_from(&self.counts);
        self.anchors.clear();
        let mut last = None;
        for (rank, worker) in &input.anchors {
            let index = match last {
                Some((known, index)) if known == worker => index,
                _ => input.workers.index_of(worker),
            };
            last = Some((worker, index));
            let owner = owners[*rank as usize];
            let Some(index) = index.filter(|&index| index != owner) else {
                continue;
            };
            self.anchored[index as usize] += 1;
            if owner != NO_OWNER {
                self.anchored[owner as usize] -= 1;
            }
            self.anchors.push((*rank, index));
        }
    }

    /// Whether somebody sheds and anchors do not already say what. A ring is not free, and without
    /// a choice it would change nothing.
    fn has_choice(&self) -> bool {
        self.shed.iter().any(|&shed| shed > 0) && !self.quotas.are_met_by(&self.anchored)
    }

    /// Settles how many partitions each worker is due, and from that who gives and who takes.
    fn set_dues(&mut self) {
        let anchored = &self.anchored;
        let home_dues = if self.homes.is_empty() {
            &[][..]
        } else {
            self.levelling.dues()
        };
        let class = |worker: usize, floor: u32| {
            let at_home = home_dues.get(worker).is_some_and(|&due| due > floor);
            2 * u32::from(anchored[worker] <= floor) + u32::from(!at_home)
        };
        self.quotas.dues(&self.counts, 4, class, &mut self.dues);
        differences(&self.counts, &self.dues, &mut self.shed, &mut self.need);
    }

    /// Caps the voluntary moves; returns how many there are and whether all could be afforded.
    fn apply_budget(&mut self, budget: Option<u32>, census: Census) -> (u32, bool) {
        let wanted: u32 = self.shed.iter().sum();
        let voluntary = wanted.min(budget.unwrap_or(u32::MAX));
        if voluntary < wanted {
            level_down(&mut self.shed, voluntary);
            level_down(&mut self.need, voluntary + census.homeless());
            for (worker, due) in self.dues.iter_mut().enumerate() {
                *due = self.counts[worker] - self.shed[worker] + self.need[worker];
            }
        }
        (voluntary, voluntary == wanted)
    }

    /// Moves `travellers` partitions from those who shed to those in need.
    fn travel(&mut self, owners: &mut [u32], travellers: u32) {
        let mut left = travellers;
        let anchors = core::mem::take(&mut self.anchors);
        left -= self.go_directly(owners, anchors.iter().copied(), left);
        self.anchors = anchors;
        if left > 0 && !self.homes.is_empty() {
            let homes = core::mem::take(&mut self.homes);
            left -= self.go_directly(owners, (0_u32..).zip(homes.iter().copied()), left);
            if left > 0 {
                // Guests leave before residents.
                self.release(owners, |rank, owner| homes[rank] != owner);
            }
            self.homes = homes;
        }
        if left > 0 {
            self.release(owners, |_, _| true);
            self.fill(owners);
        }
    }

    /// Sends partitions straight to a preferred worker where both ends gain; returns how many.
    fn go_directly(
        &mut self,
        owners: &mut [u32],
        preferences: impl Iterator<Item = (u32, u32)>,
        limit: u32,
    ) -> u32 {
        let mut gone = 0;
        for (rank, wanted) in preferences {
            if gone == limit {
                break;
            }
            let owner = owners[rank as usize];
            if owner == wanted || self.need[wanted as usize] == 0 {
                continue;
            }
            if owner != NO_OWNER {
                let shed = &mut self.shed[owner as usize];
                if *shed == 0 {
                    continue;
                }
                *shed -= 1;
            }
            self.need[wanted as usize] -= 1;
            owners[rank as usize] = wanted;
            gone += 1;
        }
        gone
    }

    /// Takes partitions from those who have too many, in canonical order.
    fn release(&mut self, owners: &mut [u32], may_go: impl Fn(usize, u32) -> bool) {
        let mut left: u32 = self.shed.iter().sum();
        for (rank, owner) in owners.iter_mut().enumerate() {
            if left == 0 {
                return;
            }
            let Some(shed) = self.shed.get_mut(*owner as usize) else {
                continue;
            };
            if *shed > 0 && may_go(rank, *owner) {
                (*shed, left) = (*shed - 1, left - 1);
                *owner = NO_OWNER;
            }
        }
    }

    /// Gives what nobody owns to the first worker in need.
    fn fill(&mut self, owners: &mut [u32]) {
        let mut taker = 0;
        for owner in owners.iter_mut().filter(|owner| **owner == NO_OWNER) {
            while self.need[taker] == 0 {
                taker += 1;
            }
            self.need[taker] -= 1;
            *owner = taker as u32;
        }
    }

    fn report(
        &self,
        input: &PlanInput,
        capacity: u64,
        census: Census,
        voluntary: u32,
        settled: bool,
    ) -> Report {
        let weight = input.partitions.uniform_weight().unwrap_or(1);
        let moved = census.departed + voluntary;
        let owned = input.partitions.len() as u32 - census.unowned;
        // A budget leaves more imbalance, for which fewer moves can do.
        let lower_bound = self.quotas.fewest_moves(&self.counts, owned).min(moved);
        let workers = input.workers.as_slice().iter().zip(&self.dues);
        let least = workers
            .filter(|(info, _)| info.capacity > 0)
            .map(|(_, &due)| due)
            .min();
        Report {
            moved,
            moved_weight: u64::from(moved) * weight,
            forced: census.departed,
            voluntary,
            lower_bound,
            moved_weight_bound: u64::from(lower_bound) * weight,
            max_load: u64::from(self.dues.iter().copied().max().unwrap_or(0)) * weight,
            min_load: u64::from(least.unwrap_or(0)) * weight,
            total_weight: input.partitions.total_weight(),
            level: input.partitions.total_weight() / capacity,
            giants: 0,
            violation: self.quotas.violation(&self.dues) * weight,
            settled,
            unplaced: 0,
        }
    }
}
