//! Levelling classes that compete for workers, exactly, as a minimum-cost flow of counts.
//!
//! Loads are levelled first (least sum of squares, so nobody can be relieved at the cost of somebody
//! emptier), then as much as possible is kept. The flow starts from what can be kept and cancels
//! negative cycles; there is one unit of flow per partition but one edge per class and worker. What
//! always holds: each cycle lowers an integer cost, and without one the flow is optimal.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use parti_core::PlanInput;

use crate::sticky::eligibility::classes::Class;

/// Precision of costs in proportion to capacity.
const SCALE: i128 = 1 << 16;

/// How many partitions of each class each worker is due.
pub(super) fn dues(input: &PlanInput, classes: &[Class]) -> Vec<Vec<u32>> {
    let mut flow = Flow::new(input, classes);
    flow.keep_and_fill(classes);
    while flow.cancel_cycle() {}
    flow.units
        .iter()
        .map(|row| row.iter().map(|&units| units as u32).collect())
        .collect()
}

/// Counts by class and worker.
struct Flow<'a> {
    classes: &'a [Class],
    capacities: Vec<i128>,
    is_level: bool,
    /// What each worker had before and may keep.
    kept: Vec<Vec<i64>>,
    units: Vec<Vec<i64>>,
    loads: Vec<i64>,
    /// Levelling one unit is worth more than keeping everything.
    unit_cost: i128,
}

/// An edge of the residual graph. Classes come first, then workers, then the sink.
#[derive(Clone, Copy, Debug)]
struct Edge {
    from: usize,
    to: usize,
    cost: i128,
}

impl<'a> Flow<'a> {
    fn new(input: &PlanInput, classes: &'a [Class]) -> Self {
        let workers = input.workers.as_slice();
        let count = |class: &Class| {
            let mut kept = vec![0; workers.len()];
            for &rank in &class.ranks {
                let owner = input
                    .previous
                    .get(rank as usize)
                    .map_or(usize::MAX, |&o| o as usize);
                if class.allowed.get(owner) == Some(&true) {
                    kept[owner] += 1;
                }
            }
            kept
        };
        let able = || {
            workers
                .iter()
                .map(|w| w.capacity)
                .filter(|&capacity| capacity > 0)
        };
        Self {
            capacities: workers.iter().map(|w| i128::from(w.capacity)).collect(),
            is_level: able().min() == able().max(),
            kept: classes.iter().map(count).collect(),
            units: vec![vec![0; workers.len()]; classes.len()],
            loads: vec![0; workers.len()],
            unit_cost: input.partitions.len() as i128 + 1,
            classes,
        }
    }

    /// A first flow: everything stays that may, the rest goes where there is least.
    fn keep_and_fill(&mut self, classes: &[Class]) {
        self.units.clone_from(&self.kept);
        for row in &self.kept {
            self.loads
                .iter_mut()
                .zip(row)
                .for_each(|(load, units)| *load += units);
        }
        let mut order: Vec<usize> = (0..classes.len()).collect();
        order.sort_by_key(|&class| classes[class].allowed.iter().filter(|a| **a).count());
        for class in order {
            let missing = classes[class].ranks.len() as i64 - self.units[class].iter().sum::<i64>();
            let may = (0..self.loads.len()).filter(|&worker| classes[class].allowed[worker]);
            let mut emptiest: BinaryHeap<_> = may
                .map(|worker| Reverse((self.cost_to_add(worker), worker)))
                .collect();
            for _ in 0..missing {
                let Some(mut least) = emptiest.peek_mut() else {
                    return;
                };
                let worker = least.0.1;
                self.units[class][worker] += 1;
                self.loads[worker] += 1;
                *least = Reverse((self.cost_to_add(worker), worker));
            }
        }
    }

    /// The cost of one more unit on a worker: marginal square, in proportion to capacity.
    fn cost_to_add(&self, worker: usize) -> i128 {
        i128::from(2 * self.loads[worker] + 1) * SCALE / self.capacities[worker] * self.unit_cost
    }

    fn gain_to_remove(&self, worker: usize) -> i128 {
        i128::from(2 * self.loads[worker] - 1) * SCALE / self.capacities[worker] * self.unit_cost
    }

    /// Visits the edges along which a unit can be shifted.
    fn each_edge(&self, mut visit: impl FnMut(Edge)) {
        let (classes, workers) = (self.classes.len(), self.loads.len());
        let sink = classes + workers;
        for (class, of) in self.classes.iter().enumerate() {
            for worker in (0..workers).filter(|&worker| of.allowed[worker]) {
                let (units, kept) = (self.units[class][worker], self.kept[class][worker]);
                let node = classes + worker;
                visit(Edge {
                    from: class,
                    to: node,
                    cost: -i128::from(units < kept),
                });
                if units > 0 {
                    visit(Edge {
                        from: node,
                        to: class,
                        cost: i128::from(units <= kept),
                    });
                }
            }
        }
        for worker in (0..workers).filter(|&worker| self.capacities[worker] > 0) {
            let node = classes + worker;
            visit(Edge {
                from: node,
                to: sink,
                cost: self.cost_to_add(worker),
            });
            if self.loads[worker] > 0 {
                visit(Edge {
                    from: sink,
                    to: node,
                    cost: -self.gain_to_remove(worker),
                });
            }
        }
    }

    /// Finds a cycle of negative cost and shifts along it; returns whether there was one.
    fn cancel_cycle(&mut self) -> bool {
        let nodes = self.classes.len() + self.loads.len() + 1;
        let mut edges = Vec::new();
        self.each_edge(|edge| edges.push(edge));
        let (mut distance, mut parent) = (vec![0_i128; nodes], vec![usize::MAX; nodes]);
        // A simple path passes each class once, so it has few edges: more rounds mean a cycle, which
        // shows among the parents sooner or later.
        for round in 0.. {
            let mut changed = None;
            for edge in &edges {
                if distance[edge.from] + edge.cost < distance[edge.to] {
                    distance[edge.to] = distance[edge.from] + edge.cost;
                    parent[edge.to] = edge.from;
                    changed = Some(edge.to);
                }
            }
            let Some(changed) = changed else { return false };
            if round > 2 * self.classes.len() + 4
                && let Some(cycle) = cycle_through(&parent, changed)
            {
                self.shift(&cycle);
                return true;
            }
        }
        false
    }

    /// Shifts as many units along a cycle as are sure to gain.
    fn shift(&mut self, cycle: &[usize]) {
        let (classes, sink) = (self.classes.len(), self.classes.len() + self.loads.len());
        let steps = || {
            cycle
                .iter()
                .zip(cycle.iter().cycle().skip(1))
                .map(|(&a, &b)| (a, b))
        };
        let mut amount = i64::MAX;
        let (mut from, mut to) = (None, None);
        for (a, b) in steps() {
            if a == sink {
                from = Some(b - classes);
            } else if b == sink {
                to = Some(a - classes);
            } else if a < classes {
                let (units, kept) = (self.units[a][b - classes], self.kept[a][b - classes]);
                amount = amount.min(if units < kept { kept - units } else { i64::MAX });
            } else {
                let (units, kept) = (self.units[b][a - classes], self.kept[b][a - classes]);
                amount = amount.min(if units > kept { units - kept } else { units });
            }
        }
        if let (Some(from), Some(to)) = (from, to) {
            let half = (self.loads[from] - self.loads[to]) / 2;
            amount = if self.is_level {
                amount.min(half.max(1))
            } else {
                1
            };
            self.loads[from] -= amount;
            self.loads[to] += amount;
        }
        for (a, b) in steps().filter(|&(a, b)| a != sink && b != sink) {
            if a < classes {
                self.units[a][b - classes] += amount;
            } else {
                self.units[b][a - classes] -= amount;
            }
        }
    }
}

/// The cycle that the parents of a node lead into, in the direction of the flow.
fn cycle_through(parent: &[usize], start: usize) -> Option<Vec<usize>> {
    let mut node = start;
    for _ in 0..parent.len() {
        node = *parent.get(node)?;
    }
    let mut cycle = vec![node];
    let mut at = *parent.get(node)?;
    while at != node {
        cycle.push(at);
        at = parent[at];
    }
    cycle.reverse();
    Some(cycle)
}
