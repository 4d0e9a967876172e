//! The world of a run: the agenda, the nodes, the store, and what the plan does to them.
//!
//! A run is a phase under faults, then healing, then a time in which the group must settle, then a
//! time in which nothing may happen. It ends at the first violation.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use parti_core::{
    AssignmentStrategy, ConfigBuilder, ConfigError, Instant, Partition, PartitionKey, WakeReason,
    WorkerId,
};

mod act;
mod external;
mod handlers;
mod loss;
mod warmup;

pub(in crate::simulator) use handlers::Handlers;

use crate::simulator::checks::{Fact, Process, Rules};
use crate::simulator::group::node::{Holding, Input, Node};
use crate::simulator::group::queue::{Item, Queue};
use crate::simulator::group::strategy::strategy;
use crate::simulator::judging::judge::{Judge, Tracing};
use crate::simulator::plans::dice::{Dice, Purpose};
use crate::simulator::plans::plan::{Faults, Plan, Planner, Pools, Weights};
use crate::simulator::storage::network::{Outage, Trouble};
use crate::simulator::storage::store::SimStore;

/// How much longer names of partitions are when values are small.
const LONG_NAME: usize = 200;
/// How long a crashed or failed process takes to come back when nobody says otherwise.
const SUPERVISOR_DELAY: Duration = Duration::from_secs(1);

pub(in crate::simulator) struct World<'plan> {
    pub(in crate::simulator) plan: &'plan Plan,
    pub(in crate::simulator) dice: Dice,
    pub(in crate::simulator) now: Instant,
    pub(in crate::simulator) queue: Queue,
    pub(in crate::simulator) store: SimStore,
    pub(in crate::simulator) nodes: Vec<Node>,
    pub(in crate::simulator) faults: Faults,
    pub(in crate::simulator) outage: Option<Outage>,
    pub(in crate::simulator) trouble: Trouble,
    pub(in crate::simulator) strategy: Arc<dyn AssignmentStrategy>,
    pub(in crate::simulator) list: Vec<Partition>,
    /// The first number of the list, how many it has, and their weights.
    listed: (u32, u32, Weights),
    /// Handlers that cannot begin with what they are given.
    pub(in crate::simulator) handlers: Handlers,
    /// Until when the partition source fails.
    pub(in crate::simulator) source_down_until: Instant,
    pub(in crate::simulator) judge: Judge,
    pub(in crate::simulator) events: u64,
    /// When the group had settled after the faults, as far as seen.
    pub(in crate::simulator) settled_at: Option<Instant>,
    pub(in crate::simulator) healed_at: Option<Instant>,
    over: bool,
    requests: u64,
    /// Preparations so far: the number that keys their fate.
    warmups: u64,
}

impl<'plan> World<'plan> {
    /// `adjust` has the last word on each configuration.
    pub(in crate::simulator) fn new(
        plan: &'plan Plan,
        tracing: Tracing,
        adjust: &dyn Fn(ConfigBuilder) -> ConfigBuilder,
    ) -> Result<Self, ConfigError> {
        let mut nodes = Vec::new();
        for node in &plan.nodes {
            let builder = plan.settings.builder(node);
            let builder = adjust(builder);
            nodes.push(Node::new(builder.build()?, node.drift_ppm));
        }
        let config = match nodes.first() {
            Some(node) => node.config.clone(),
            None => parti_core::Config::builder("sim").build()?,
        };
        let rules = Rules {
            rejecting: plan.is_rejecting(),
            mixed: plan.settings.mixed,
            skewed: plan.nodes.iter().any(|node| node.wall_skew_ms != 0),
            ..Rules::new(&config, plan.is_faultless())
        };
        let mut world = Self {
            plan,
            dice: Dice::new(plan.seed),
            now: Instant::ORIGIN,
            queue: Queue::default(),
            store: SimStore::new(plan.settings.max_batch, plan.settings.max_value),
            nodes,
            faults: plan.faults.clone(),
            outage: None,
            trouble: Trouble::default(),
            strategy: strategy(plan.settings.planner, plan.settings.pools).into(),
            list: Vec::new(),
            listed: (0, plan.partitions, plan.weights),
            handlers: Handlers::default(),
            source_down_until: Instant::ORIGIN,
            judge: Judge::new(&rules, tracing, plan.loses_history()),
            events: 0,
            settled_at: None,
            healed_at: None,
            over: false,
            requests: 0,
            warmups: 0,
        };
        world.judge.situations.max_batch = plan.settings.max_batch;
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

    pub(in crate::simulator) fn run(&mut self) {
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
            Item::Attempt { process, grant } => self.attempt(process, grant),
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
                    self.judge.situations.count("died_in_callback");
                    self.crash(node, SUPERVISOR_DELAY);
                }
            }
            Item::Alien {
                worker,
                epoch,
                last,
                until,
            } => self.alien(worker, epoch, last, until),
            Item::Unlimited => self.store.limit_values(None),
            Item::Act { index } => self.act(index),
            Item::Resume { node } => self.resume(node),
            Item::Throttle { node } => self.throttle_again(node),
            Item::Heal => self.heal(),
            Item::Look => self.look(),
            Item::Milestone { stage } => self.milestone(stage),
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

    pub(in crate::simulator) fn settled_after(&self) -> Option<Duration> {
        Some(self.settled_at?.since(self.healed_at?))
    }

    /// Which worker processes each partition.
    pub(in crate::simulator) fn owners(&self) -> BTreeMap<PartitionKey, WorkerId> {
        let mut owners = BTreeMap::new();
        for running in self.nodes.iter().filter_map(|node| node.running.as_ref()) {
            let Some(worker) = running.core.status().worker else {
                continue;
            };
            let assigned = running.held.iter();
            let assigned = assigned.filter(|(_, stage)| **stage == Holding::Assigned);
            owners.extend(assigned.map(|(key, _)| (key.clone(), worker.clone())));
        }
        owners
    }

    /// Whether the strategy gives every worker something when there is enough.
    pub(in crate::simulator) fn is_even(&self) -> bool {
        let capacities = self.nodes.iter().map(|node| node.capacity);
        let some = capacities.clone().filter(|capacity| *capacity > 0).min();
        if capacities.max() > some.map(|least| least * 4) {
            return false;
        }
        if self.plan.settings.pools != Pools::None {
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
            let mut name = format!("p{number}");
            if self.plan.settings.max_value.is_some() {
                // Few names fill a small value.
                name.push_str(&"-".repeat(LONG_NAME));
            }
            let partition = Partition::new([name]).ok()?;
            Some(partition.with_weight(weights.of(number)))
        });
        named.collect()
    }

    fn timer_lateness(&self) -> Duration {
        // Forty means: the exponential draw cannot exceed this, since its bits have a limit.
        Duration::from_micros(self.faults.timer_late_mean_us) * 45
    }

    /// Puts the next wake-up of a process on the agenda unless an earlier one is there.
    pub(in crate::simulator) fn arm(&mut self, process: Process) {
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
