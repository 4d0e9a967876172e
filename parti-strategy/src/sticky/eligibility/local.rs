//! Weighted classes that compete for workers: keep, place the heaviest first, then improve step by
//! step.
//!
//! The exact problem is NP-hard twice over, so this is a heuristic without a bound on the balance.
//! What always holds: each step makes a fuller worker emptier than it was and leaves the taker below
//! that, so it ends, and planning again with the result changes nothing.

use std::cmp::{Ordering, Reverse};

use parti_core::{NO_OWNER, PlanInput, Report};

use crate::sticky::Settings;
use crate::sticky::eligibility::classes::Class;

/// The trigger when none is set, in thousandths of the level.
const TRIGGER: u32 = 100;
/// The class of partitions that belong to other components.
const NO_CLASS: u32 = u32::MAX;

/// Plans one component into `owners`.
pub(super) fn plan(
    input: &PlanInput,
    classes: &[Class],
    settings: Settings,
    budget: Option<u32>,
    owners: &mut [u32],
) -> Report {
    let mut local = Local::new(input, classes, settings, budget, owners);
    local.keep();
    local.place();
    local.improve();
    local.report
}

struct Local<'a> {
    input: &'a PlanInput,
    classes: &'a [Class],
    owners: &'a mut [u32],
    class_of: Vec<u32>,
    loads: Vec<u64>,
    /// What each worker has, heaviest first.
    lists: Vec<Vec<(Reverse<u64>, u32)>>,
    weight: u128,
    capacity: u128,
    goal: u32,
    trigger: u32,
    budget: u32,
    report: Report,
}

impl<'a> Local<'a> {
    fn new(
        input: &'a PlanInput,
        classes: &'a [Class],
        settings: Settings,
        budget: Option<u32>,
        owners: &'a mut [u32],
    ) -> Self {
        let (weights, workers) = (input.partitions.weights(), input.workers.as_slice());
        let mut class_of = vec![NO_CLASS; weights.len()];
        let mut weight = 0;
        for (index, class) in (0..).zip(classes) {
            for &rank in &class.ranks {
                class_of[rank as usize] = index;
                weight += u128::from(weights[rank as usize]);
            }
        }
        let is_member = |worker: &usize| classes.iter().any(|class| class.allowed[*worker]);
        let members = (0..workers.len()).filter(is_member);
        let goal = settings.goal;
        Self {
            capacity: members
                .map(|worker| u128::from(workers[worker].capacity))
                .sum(),
            loads: vec![0; workers.len()],
            lists: vec![Vec::new(); workers.len()],
            trigger: settings.trigger.unwrap_or(TRIGGER).max(goal),
            budget: budget.unwrap_or(u32::MAX),
            report: Report {
                settled: true,
                ..Report::default()
            },
            input,
            classes,
            owners,
            class_of,
            weight,
            goal,
        }
    }

    /// Leaves everything with its owner that may stay.
    fn keep(&mut self) {
        for class in self.classes {
            for &rank in &class.ranks {
                let weight = self.input.partitions.weights()[rank as usize];
                match self.input.previous.get(rank as usize) {
                    Some(&owner) if class.allowed.get(owner as usize) == Some(&true) => {
                        self.give(rank, owner);
                    }
                    None | Some(&NO_OWNER) => {}
                    Some(_) => {
                        self.report.forced += 1;
                        self.report.moved_weight_bound += weight;
                    }
                }
            }
        }
        self.report.moved = self.report.forced;
        self.report.lower_bound = self.report.forced;
        self.report.moved_weight = self.report.moved_weight_bound;
    }

    fn give(&mut self, rank: u32, worker: u32) {
        let weight = self.input.partitions.weights()[rank as usize];
        self.owners[rank as usize] = worker;
        self.loads[worker as usize] += weight;
        let list = &mut self.lists[worker as usize];
        let at = list.partition_point(|entry| *entry < (Reverse(weight), rank));
        list.insert(at, (Reverse(weight), rank));
    }

    fn place(&mut self) {
        let weights = self.input.partitions.weights();
        let ranks = self.classes.iter().flat_map(|class| &class.ranks);
        let homeless = ranks.filter(|&&rank| self.owners[rank as usize] == NO_OWNER);
        let mut pool: Vec<_> = homeless
            .map(|&rank| (Reverse(weights[rank as usize]), rank))
            .collect();
        pool.sort_unstable();
        for (Reverse(weight), rank) in pool {
            if let Some(worker) = self.emptiest(self.class_of[rank as usize], weight) {
                self.give(rank, worker);
            }
        }
    }

    /// The worker of a class that is least loaded after taking a weight.
    fn emptiest(&self, class: u32, weight: u64) -> Option<u32> {
        let allowed = &self.classes[class as usize].allowed;
        let workers = (0..self.loads.len() as u32).filter(|&worker| allowed[worker as usize]);
        workers.min_by(|&a, &b| self.compare((a, weight), (b, weight)).then(a.cmp(&b)))
    }

    fn compare(&self, left: (u32, u64), right: (u32, u64)) -> Ordering {
        let load =
            |(worker, more): (u32, u64)| u128::from(self.loads[worker as usize]) + u128::from(more);
        (load(left) * self.capacity_of(right.0)).cmp(&(load(right) * self.capacity_of(left.0)))
    }

    fn capacity_of(&self, worker: u32) -> u128 {
        u128::from(self.input.workers.as_slice()[worker as usize].capacity)
    }

    fn improve(&mut self) {
        while let Some((rank, to)) = self.step() {
            let owner = self.owners[rank as usize];
            let weight = self.input.partitions.weights()[rank as usize];
            let origin = self.input.previous.get(rank as usize).copied();
            let Report {
                moved,
                voluntary,
                moved_weight,
                settled,
                ..
            } = &mut self.report;
            if origin == Some(owner) {
                if *voluntary == self.budget {
                    *settled = false;
                    return;
                }
                (*voluntary, *moved, *moved_weight) =
                    (*voluntary + 1, *moved + 1, *moved_weight + weight);
            } else if origin == Some(to) {
                // Several steps can lead back to where the partition was.
                (*voluntary, *moved, *moved_weight) =
                    (*voluntary - 1, *moved - 1, *moved_weight - weight);
            }
            self.loads[owner as usize] -= weight;
            self.lists[owner as usize].retain(|entry| entry.1 != rank);
            self.give(rank, to);
        }
    }

    /// The heaviest partition of the fullest worker that helps somebody, and whom.
    fn step(&self) -> Option<(u32, u32)> {
        let mut fullest: Vec<u32> = (0..self.loads.len() as u32).collect();
        fullest.retain(|&worker| !self.lists[worker as usize].is_empty());
        fullest.sort_by(|&a, &b| self.compare((b, 0), (a, 0)).then(a.cmp(&b)));
        fullest.into_iter().find_map(|from| {
            let emptiest: Vec<_> = (0..self.classes.len() as u32)
                .map(|class| self.emptiest(class, 0))
                .collect();
            self.lists[from as usize]
                .iter()
                .find_map(|&(Reverse(weight), rank)| {
                    let to = emptiest[self.class_of[rank as usize] as usize]?;
                    self.helps(from, to, weight).then_some((rank, to))
                })
        })
    }

    /// Whether one of the two is outside the trigger and the gap is worth closing.
    fn helps(&self, from: u32, to: u32, weight: u64) -> bool {
        let (full, empty) = (self.capacity_of(from), self.capacity_of(to));
        let (load, other) = (
            u128::from(self.loads[from as usize]),
            u128::from(self.loads[to as usize]),
        );
        let share = |capacity: u128, thousandths: u32| {
            self.weight * capacity / self.capacity * u128::from(thousandths) / 1000
        };
        let is_outside = load > share(full, 1000 + self.trigger)
            || other < share(empty, 1000_u32.saturating_sub(self.trigger));
        let filled = other + u128::from(weight) + share(empty, self.goal);
        is_outside && filled * full < load * empty
    }
}
