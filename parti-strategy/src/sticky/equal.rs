//! Sticky assignment of equally heavy partitions: perfect balance with provably fewest moves.
//!
//! First it is settled how many partitions each worker is due, then which ones travel. Anchors and
//! homes only choose among plans with the same, fewest number of moves. What always holds without a
//! budget: counts follow the quotas, and `moved` equals the lower bound.

use std::collections::BTreeSet;

use parti_core::{NO_OWNER, Plan, PlanError, PlanInput, Report};

use crate::sticky::census::{self, Census, Found};
use crate::sticky::homes::{self, differences};
use crate::sticky::quota::{Quotas, level_down};

/// Partitions that prefer a worker, as (rank, worker).
type Preferences = Vec<(u32, u32)>;

/// Plans for equal weights.
pub(super) fn plan(input: &PlanInput, capacity: u64, use_homes: bool) -> Result<Plan, PlanError> {
    let (workers, partitions) = (input.workers.as_slice(), input.partitions.len() as u32);
    let (Found { mut owners, held }, census) = census::take(input)?;
    let quotas = Quotas::new(workers, partitions, capacity);
    let before = Before {
        input,
        capacity,
        quotas: &quotas,
        counts: &held,
        census,
    };
    if census.homeless() == 0 && quotas.are_met_by(&held) {
        return Ok(before.plan(owners, &held, 0, true));
    }
    if use_homes && census.unowned == partitions {
        owners = homes::on_ring(input)?;
        let dues = homes::level(&quotas, workers.len(), &mut owners);
        return Ok(before.plan(owners, &dues, 0, true));
    }
    let (anchors, anchored) = resolve_anchors(input, &held, &owners);
    let mut homes = Vec::new();
    let mut dues = before.dues(&anchored, &[]);
    // A ring is not free, and it changes nothing unless somebody sheds and anchors do not already
    // say what.
    let sheds = held.iter().zip(&dues).any(|(count, due)| count > due);
    if use_homes && sheds && !quotas.are_met_by(&anchored) {
        homes = homes::on_ring(input)?;
        let home_dues = homes::level(&quotas, workers.len(), &mut homes);
        dues = before.dues(&anchored, &home_dues);
    }
    let mut moves = Moves::new(&held, dues);
    let (voluntary, settled) = moves.apply_budget(&held, input.budget, census);
    let travellers = voluntary + census.homeless();
    moves.travel(&mut owners, travellers, (anchors, &homes), &input.warm);
    Ok(before.plan(owners, &moves.dues, voluntary, settled))
}

/// Plans for workers that are due these numbers of partitions, whatever their capacity.
pub(super) fn plan_with_dues(input: &PlanInput, dues: Vec<u32>) -> Result<Plan, PlanError> {
    let (Found { mut owners, held }, census) = census::take(input)?;
    let (anchors, _) = resolve_anchors(input, &held, &owners);
    let mut moves = Moves::new(&held, dues.clone());
    let (voluntary, settled) = moves.apply_budget(&held, input.budget, census);
    let travellers = voluntary + census.homeless();
    moves.travel(&mut owners, travellers, (anchors, &[]), &input.warm);
    let weight = input.partitions.uniform_weight().unwrap_or(1);
    let moved = census.departed + voluntary;
    let missing = dues
        .iter()
        .zip(&moves.dues)
        .map(|(&due, &has)| u64::from(due.abs_diff(has)));
    let report = Report {
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
    let unmet = Vec::new();
    Ok(Plan {
        owners,
        unmet,
        report,
    })
}

/// Anchors whose worker lives and does not own the partition, as indices; and how many partitions
/// each worker would have if all of them went back.
fn resolve_anchors(input: &PlanInput, counts: &[u32], owners: &[u32]) -> (Preferences, Vec<u32>) {
    let (mut anchors, mut anchored) = (Vec::new(), counts.to_vec());
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
        anchored[index as usize] += 1;
        if owner != NO_OWNER {
            anchored[owner as usize] -= 1;
        }
        anchors.push((*rank, index));
    }
    (anchors, anchored)
}

/// The group before the plan, and what balance is.
struct Before<'a> {
    input: &'a PlanInput,
    capacity: u64,
    quotas: &'a Quotas,
    counts: &'a [u32],
    census: Census,
}

impl Before<'_> {
    /// How many partitions each worker is due; `home_dues` is empty if homes do not matter.
    fn dues(&self, anchored: &[u32], home_dues: &[u32]) -> Vec<u32> {
        let class = |worker: usize, floor: u32| {
            let at_home = home_dues.get(worker).is_some_and(|&due| due > floor);
            2 * u32::from(anchored[worker] <= floor) + u32::from(!at_home)
        };
        self.quotas.dues(self.counts, 4, class)
    }

    /// The plan that gives each worker its due.
    fn plan(&self, owners: Vec<u32>, dues: &[u32], voluntary: u32, settled: bool) -> Plan {
        let (input, census) = (self.input, self.census);
        let weight = input.partitions.uniform_weight().unwrap_or(1);
        let moved = census.departed + voluntary;
        let owned = input.partitions.len() as u32 - census.unowned;
        // A budget leaves more imbalance, for which fewer moves can do.
        let lower_bound = self.quotas.fewest_moves(self.counts, owned).min(moved);
        let workers = input.workers.as_slice().iter().zip(dues);
        let least = workers
            .filter(|(info, _)| info.capacity > 0)
            .map(|(_, &due)| due)
            .min();
        let report = Report {
            moved,
            moved_weight: u64::from(moved) * weight,
            forced: census.departed,
            voluntary,
            lower_bound,
            moved_weight_bound: u64::from(lower_bound) * weight,
            max_load: u64::from(dues.iter().copied().max().unwrap_or(0)) * weight,
            min_load: u64::from(least.unwrap_or(0)) * weight,
            total_weight: input.partitions.total_weight(),
            level: input.partitions.total_weight() / self.capacity,
            giants: 0,
            violation: self.quotas.violation(dues) * weight,
            settled,
            unplaced: 0,
        };
        let unmet = Vec::new();
        Plan {
            owners,
            unmet,
            report,
        }
    }
}

/// Who is due how many partitions, and from that who gives and who takes.
struct Moves {
    dues: Vec<u32>,
    shed: Vec<u32>,
    need: Vec<u32>,
}

impl Moves {
    fn new(counts: &[u32], dues: Vec<u32>) -> Self {
        let (shed, need) = differences(counts, &dues);
        Self { dues, shed, need }
    }

    /// Caps the voluntary moves; returns how many there are and whether all could be afforded.
    fn apply_budget(&mut self, counts: &[u32], budget: Option<u32>, census: Census) -> (u32, bool) {
        let wanted: u32 = self.shed.iter().sum();
        let voluntary = wanted.min(budget.unwrap_or(u32::MAX));
        if voluntary < wanted {
            level_down(&mut self.shed, voluntary);
            level_down(&mut self.need, voluntary + census.homeless());
            for (worker, due) in self.dues.iter_mut().enumerate() {
                *due = counts[worker] - self.shed[worker] + self.need[worker];
            }
        }
        (voluntary, voluntary == wanted)
    }

    /// Moves `travellers` partitions from those who shed to those in need. What is being prepared for
    /// moves only when nothing else is left.
    fn travel(
        &mut self,
        owners: &mut [u32],
        travellers: u32,
        (anchors, homes): (Preferences, &[u32]),
        warm: &BTreeSet<u32>,
    ) {
        let mut left = travellers;
        let is_cold = |rank: u32| !warm.contains(&rank);
        let anchors = anchors.into_iter().filter(|&(rank, _)| is_cold(rank));
        left -= self.go_directly(owners, anchors, left);
        if left > 0 && !homes.is_empty() {
            let at_home = (0_u32..).zip(homes.iter().copied());
            let at_home = at_home.filter(|&(rank, _)| is_cold(rank));
            left -= self.go_directly(owners, at_home, left);
            if left > 0 {
                // Guests leave before residents.
                self.release(owners, |rank, owner| {
                    homes[rank] != owner && is_cold(rank as u32)
                });
            }
        }
        if left > 0 {
            self.release(owners, |rank, _| is_cold(rank as u32));
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
}
