//! The world of a run: the agenda, the nodes, the store, and what the plan does to them.
//!
//! A run is a phase under faults, then healing, then a time in which the group must settle, then a
//! time in which nothing may happen. It ends at the first violation.

use core::time::Duration;
use std::collections::BTreeSet;

use parti_core::{
    AssignmentStrategy, ConfigBuilder, ConfigError, Instant, Partition, PartitionKey, WakeReason,
};

mod act;
mod foreign;
mod loss;

use super::dice::{Dice, Purpose};
use super::judge::{Judge, Tracing};
use super::network::{Outage, Trouble};
use super::node::{Holding, Input, Node};
use super::plan::{Faults, Plan, Planner, Weights};
use super::queue::{Item, Queue};
use super::store::SimStore;
use super::strategy::strategy;
use crate::checks::{Coverage, Fact, Process, Rules, Worker};

/// How long a crashed or failed process takes to come back when nobody says otherwise.
const SUPERVISOR_DELAY: Duration = Duration::from_secs(1);

pub(super) struct World<'plan> {
    pub(super) plan: &'plan Plan,
    pub(super) dice: Dice,
    pub(super) now: Instant,
    pub(super) queue: Queue,
    pub(super) store: SimStore,
    pub(super) nodes: Vec<Node>,
    pub(super) faults: Faults,
    pub(super) outage: Option<Outage>,
    pub(super) trouble: Trouble,
    pub(super) strategy: Box<dyn AssignmentStrategy>,
    pub(super) list: Vec<Partition>,
    /// The first number of the list, how many it has, and their weights.
    listed: (u32, u32, Weights),
    pub(super) judge: Judge,
    pub(super) events: u64,
    /// When the group had settled after the faults, as far as seen.
    pub(super) settled_at: Option<Instant>,
    healed_at: Option<Instant>,
    over: bool,
    requests: u64,
}

impl<'plan> World<'plan> {
    /// The world of a plan; `adjust` has the last word on each configuration.
    pub(super) fn new(
        plan: &'plan Plan,
        tracing: Tracing,
        adjust: &dyn Fn(ConfigBuilder) -> ConfigBuilder,
    ) -> Result<Self, ConfigError> {
        let mut nodes = Vec::new();
        for node in &plan.nodes {
            let config = adjust(plan.settings.builder(node)).build()?;
            nodes.push(Node::new(config, node.drift_ppm));
        }
        let config = match nodes.first() {
            Some(node) => node.config.clone(),
            None => parti_core::Config::builder("sim").build()?,
        };
        let rules = Rules::new(&config, plan.is_faultless());
        let mut world = Self {
            plan,
            dice: Dice::new(plan.seed),
            now: Instant::ORIGIN,
            queue: Queue::default(),
            store: SimStore::new(plan.settings.max_batch),
            nodes,
            faults: plan.faults.clone(),
            outage: None,
            trouble: Trouble::default(),
            strategy: strategy(plan.settings.planner),
            list: Vec::new(),
            listed: (0, plan.partitions, plan.weights),
            judge: Judge::new(&rules, tracing, plan.loses_history()),
            events: 0,
            settled_at: None,
            healed_at: None,
            over: false,
            requests: 0,
        };
        world.list = world.partitions();
        world.set_agenda();
        Ok(world)
    }

    fn set_agenda(&mut self) {
        for (node, plan) in self.plan.nodes.iter().enumerate() {
            self.queue
                .push(Instant::from_millis(plan.starts_ms), Item::Start { node });
        }
        for (index, timed) in self.plan.actions.iter().enumerate() {
            self.queue
                .push(Instant::from_millis(timed.at_ms), Item::Act { index });
        }
        self.queue
            .push(Instant::from_millis(self.plan.safety_ms), Item::Heal);
    }

    pub(super) fn run(&mut self) {
        while let Some((at, item)) = self.queue.pop() {
            debug_assert!(at >= self.now, "time runs forwards");
            self.now = at;
            self.events += 1;
            self.judge.fold(at.as_nanos());
            self.happen(item);
            if self.over || !self.judge.violations.is_empty() {
                return;
            }
        }
    }

    fn happen(&mut self, item: Item) {
        match item {
            Item::Start { node } => self.start(node),
            Item::Wake { process } => self.wake(process),
            Item::Nudge { process } => self.input(process, Input::Timeout),
            Item::Deliver { process, event } => self.deliver(process, event),
            Item::Release { process, grants } => self.input(process, Input::Released(grants)),
            Item::Arrive {
                process,
                op,
                request,
                number,
                answer_by,
            } => {
                self.arrive(process, op, request, number, answer_by);
            }
            Item::Subscribe {
                process,
                id,
                scope,
                number,
            } => {
                self.subscribe(process, id, scope, number);
            }
            Item::Watched {
                process,
                id,
                event,
                skippable,
            } => {
                self.watched(process, id, event, skippable);
            }
            Item::Turn { process, input } => self.turn(process, input),
            Item::Die { process } => {
                let node = usize::from(process.node);
                if self.nodes[node].process(process).is_some() {
                    self.judge.sometimes.count("died_in_callback");
                    self.crash(node, SUPERVISOR_DELAY);
                }
            }
            Item::Alien {
                worker,
                last,
                until,
            } => self.alien(worker, last, until),
            Item::Unlimited => self.store.limit_values(None),
            Item::Act { index } => self.act(index),
            Item::Resume { node } => self.resume(node),
            Item::Heal => self.heal(),
            Item::Look => self.look(),
            Item::Due => {
                let coverage = self.coverage();
                self.judge.observe(self.now, &Fact::Due(coverage));
            }
            Item::Over => {
                let coverage = self.coverage();
                self.judge.observe(self.now, &Fact::Over(coverage));
                self.over = true;
            }
        }
    }

    pub(super) fn settled_after(&self) -> Option<Duration> {
        Some(self.settled_at?.since(self.healed_at?))
    }

    fn heal(&mut self) {
        self.healed_at = Some(self.now);
        self.faults = Faults::none();
        self.outage = None;
        self.trouble = Trouble::default();
        self.store.limit_values(None);
        self.judge.observe(self.now, &Fact::Healed);
        for node in 0..self.nodes.len() {
            self.heal_node(node);
        }
        let bounds = self
            .nodes
            .iter()
            .map(|node| node.config.convergence_bound());
        let mut bound = bounds.max().unwrap_or_default();
        if self.plan.loses_history() {
            bound += self.detection();
        }
        let calm = self
            .nodes
            .iter()
            .map(|node| node.config.reconcile_interval() + node.config.heartbeat_interval() * 5);
        let calm = calm.max().unwrap_or_default();
        for part in 1..=32 {
            self.queue.push(self.now + bound * part / 32, Item::Look);
        }
        self.queue.push(self.now + bound, Item::Due);
        self.queue.push(self.now + bound + calm, Item::Over);
    }

    /// The longest time until a lost history is noticed, and the quarantine that follows.
    fn detection(&self) -> Duration {
        let times = self.nodes.iter().map(|node| {
            let config = &node.config;
            config.reconcile_interval() * 3 / 2 + config.lease() * 2
        });
        times.max().unwrap_or_default()
    }

    fn heal_node(&mut self, node: usize) {
        let survives = self.plan.nodes[node].survives;
        let at = &mut self.nodes[node];
        at.requests_cut_until = Instant::ORIGIN;
        at.replies_cut_until = Instant::ORIGIN;
        at.watch_cut_until = Instant::ORIGIN;
        at.clogged_until = Instant::ORIGIN;
        at.disconnected_until = Instant::ORIGIN;
        if let Some(slow) = &mut at.slow {
            slow.until = Instant::ORIGIN;
            slow.each = Duration::ZERO;
        }
        at.retired = !survives;
        let leaving = at
            .running
            .as_ref()
            .is_some_and(|running| running.leaving.is_some());
        if let Some(running) = &mut at.running {
            running.dies_after = None;
            running.dies_in_callback = false;
            running.set_back = None;
        }
        // A process that is leaving is not waited for: an orchestrator would kill it in the end.
        if !survives || leaving {
            self.end(node, None);
        }
        if survives && self.nodes[node].running.is_none() {
            self.queue.push(self.now, Item::Start { node });
        }
        self.nodes[node].paused_until = Instant::ORIGIN;
        self.resume(node);
        self.mend_watches(node);
    }

    fn look(&mut self) {
        if self.settled_at.is_none() && self.coverage().pending().is_empty() {
            self.settled_at = Some(self.now);
        }
    }

    pub(super) fn coverage(&self) -> Coverage {
        let mut coverage = Coverage {
            partitions: self
                .list
                .iter()
                .map(|partition| partition.key.clone())
                .collect(),
            uneven: !self.is_even(),
            ..Coverage::default()
        };
        for node in &self.nodes {
            coverage.unstopped.extend(&node.unstopped);
            let Some(running) = &node.running else {
                continue;
            };
            if running.leaving.is_some_and(|leaving| leaving.by < self.now) {
                coverage.unstopped.push(running.process);
            }
            let valid = running.until > self.now;
            let held = running
                .held
                .iter()
                .filter(|(_, stage)| valid && **stage == Holding::Assigned);
            let held: BTreeSet<PartitionKey> = held.map(|(key, _)| key.clone()).collect();
            let status = running.core.status();
            coverage.workers.push(Worker {
                process: running.process,
                state: status.state,
                leads: status.is_leader,
                capacity: node.capacity,
                held,
            });
        }
        coverage
    }

    /// Whether the strategy gives every worker something when there is enough.
    fn is_even(&self) -> bool {
        let capacities = self.nodes.iter().map(|node| node.capacity);
        let some = capacities.clone().filter(|capacity| *capacity > 0).min();
        if capacities.max() > some.map(|least| least * 4) {
            return false;
        }
        match self.plan.settings.planner {
            Planner::KeepThenFill | Planner::RoundRobin => true,
            Planner::Sticky => self.listed.2 == Weights::Even,
            Planner::ConsistentHash | Planner::WeightedConsistentHash | Planner::Rendezvous => {
                false
            }
        }
    }

    /// The list of the source as it is now.
    fn partitions(&self) -> Vec<Partition> {
        let (first, count, weights) = self.listed;
        let numbers = first..first.saturating_add(count);
        let named = numbers.filter_map(|number| {
            let partition = Partition::new([format!("p{number}")]).ok()?;
            Some(partition.with_weight(weights.of(number)))
        });
        named.collect()
    }

    fn timer_lateness(&self) -> Duration {
        // Forty means: the exponential draw cannot exceed this, since its bits have a limit.
        Duration::from_micros(self.faults.timer_late_mean_us) * 45
    }

    /// Puts the next wake-up of a process on the agenda unless an earlier one is there.
    pub(super) fn arm(&mut self, process: Process) {
        let node = usize::from(process.node);
        let mean = Duration::from_micros(self.faults.timer_late_mean_us);
        let Some(running) = self.nodes[node].process(process) else {
            return;
        };
        let Some(wake) = running.wake else {
            return;
        };
        debug_assert!(
            wake.why <= WakeReason::StopDeadline,
            "every reason is known"
        );
        let mut at = running.clock.true_time(wake.at).max(self.now);
        if running.armed.is_some_and(|armed| armed <= at) {
            return;
        }
        if !mean.is_zero() {
            let roll = self.dice.roll(Purpose::Timer, node as u64, running.steps);
            at += roll.exponential(mean);
        }
        running.armed = Some(at);
        self.queue.push(at, Item::Wake { process });
    }
}
