//! The world of a run: the agenda, the nodes, the store, and what the plan does to them.
//!
//! A run is a phase under faults, then healing, then a time in which the group must settle, then a
//! time in which nothing may happen. It ends at the first violation.

use core::time::Duration;
use std::collections::BTreeSet;

use parti_core::{
    ConfigError, Event, Instant, Partition, PartitionKey, RequestId, Revision, StopMode, WakeReason,
};

use super::dice::{Dice, Purpose};
use super::judge::{Judge, Tracing};
use super::network::Outage;
use super::node::{Holding, Input, Leaving, Node};
use super::plan::{Action, Faults, Loss, Plan};
use super::queue::{Item, Queue};
use super::store::SimStore;
use super::strategy::KeepThenFill;
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
    pub(super) strategy: KeepThenFill,
    pub(super) list: Vec<Partition>,
    pub(super) judge: Judge,
    pub(super) events: u64,
    /// When the group had settled after the faults, as far as seen.
    pub(super) settled_at: Option<Instant>,
    healed_at: Option<Instant>,
    over: bool,
    requests: u64,
}

impl<'plan> World<'plan> {
    pub(super) fn new(plan: &'plan Plan, tracing: Tracing) -> Result<Self, ConfigError> {
        let mut nodes = Vec::new();
        for node in &plan.nodes {
            nodes.push(Node::new(plan.settings.config(node)?, node.drift_ppm));
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
            store: SimStore::default(),
            nodes,
            faults: plan.faults.clone(),
            outage: None,
            strategy: KeepThenFill,
            list: partitions(0, plan.partitions),
            judge: Judge::new(&rules, tracing, plan.loses_history()),
            events: 0,
            settled_at: None,
            healed_at: None,
            over: false,
            requests: 0,
        };
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

    fn act(&mut self, index: usize) {
        let action = &self.plan.actions[index].action;
        // Plans are shrunk and edited: an action on a node that is gone does nothing.
        if action.node().is_some_and(|node| node >= self.nodes.len()) {
            return;
        }
        self.judge
            .line(self.now, || Some(format!("plan: {action:?}")));
        let millis = |ms: &u64| Duration::from_millis(*ms);
        match action {
            Action::Crash {
                node,
                down_ms,
                after_effects: None,
            } => self.crash(*node, millis(down_ms)),
            Action::Crash {
                node,
                down_ms: _,
                after_effects,
            } => {
                if let Some(running) = &mut self.nodes[*node].running {
                    running.dies_after = *after_effects;
                }
            }
            Action::Pause { node, for_ms } => self.pause(*node, millis(for_ms)),
            Action::Stop {
                node,
                leave,
                rejoin_ms,
            } => {
                self.stop(*node, (*leave).into(), rejoin_ms.as_ref().map(millis));
            }
            Action::ClockJump { node } => {
                self.judge.sometimes.count("clock_jump");
                self.tell(*node, Event::ClockJumped);
            }
            Action::Outage { for_ms, answers } => {
                let until = self.now + millis(for_ms);
                self.outage = Some(Outage {
                    until,
                    answers: *answers,
                });
                for node in 0..self.nodes.len() {
                    self.break_watches(node);
                }
            }
            Action::LoseHistory { loss, for_ms } => self.lose_history(*loss, millis(for_ms)),
            Action::Cut {
                node,
                for_ms,
                requests,
                replies,
                watch,
            } => self.cut(*node, millis(for_ms), [*requests, *replies, *watch]),
            Action::Partitions { first, count } => {
                self.list = partitions(*first, *count);
                for node in 0..self.nodes.len() {
                    self.tell(node, Event::SourceChanged);
                }
            }
            Action::Refresh { node } => {
                let request = self.next_request();
                self.tell(*node, Event::Refresh { request });
            }
            Action::Trigger { node } => {
                let request = self.next_request();
                self.tell(*node, Event::Trigger { request });
            }
        }
    }

    fn lose_history(&mut self, loss: Loss, length: Duration) {
        let kept = match loss {
            Loss::Delete | Loss::Recreate | Loss::Wipe => Revision::ZERO,
            Loss::SetBack { by_ms } => {
                let by = Duration::from_millis(by_ms);
                self.judge
                    .whole_commits(self.store.revision_before(self.now, by))
            }
        };
        if self.store.is_deleted() && loss != Loss::Recreate {
            return;
        }
        self.store.lose(self.now, loss, kept);
        self.lost_history(kept);
        if loss == Loss::Recreate {
            self.judge.sometimes.count("bucket_recreated");
        }
        if !length.is_zero() {
            let until = self.now + length;
            self.outage = Some(Outage {
                until,
                answers: false,
            });
        }
        for node in 0..self.nodes.len() {
            self.break_watches(node);
        }
    }

    /// What is per history begins again, with the commits up to a revision.
    pub(super) fn lost_history(&mut self, kept: Revision) {
        self.judge.lose_history(kept);
    }

    /// Cuts the links for requests, replies and watch events, as chosen.
    fn cut(&mut self, node: usize, length: Duration, links: [bool; 3]) {
        let until = self.now + length;
        let at = &mut self.nodes[node];
        let ends = [
            &mut at.requests_cut_until,
            &mut at.replies_cut_until,
            &mut at.watch_cut_until,
        ];
        for (end, _) in ends.into_iter().zip(links).filter(|(_, cut)| *cut) {
            *end = until.max(*end);
        }
        if links[2] {
            self.break_watches(node);
        }
    }

    const fn next_request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    /// Tells the process of a node something, if there is one.
    fn tell(&mut self, node: usize, event: Event) {
        if let Some(running) = &self.nodes[node].running {
            let process = running.process;
            self.deliver(process, event);
        }
    }

    fn stop(&mut self, node: usize, mode: StopMode, rejoin: Option<Duration>) {
        let paused = self.nodes[node].paused_until.since(self.now);
        let config = &self.nodes[node].config;
        let slow = Duration::from_millis(self.faults.callback_ms);
        let callbacks = (config.drain_timeout() + slow) * 2;
        let late = config.request_timeout() * 4 + self.timer_lateness();
        let by = self.now + config.shutdown_timeout() + callbacks + late + paused;
        let Some(running) = &mut self.nodes[node].running else {
            return;
        };
        if running.leaving.is_none() {
            running.leaving = Some(Leaving { by, rejoin });
        }
        self.tell(node, Event::Stop { mode });
    }

    fn pause(&mut self, node: usize, length: Duration) {
        let until = self.now + length;
        let at = &mut self.nodes[node];
        at.paused_until = at.paused_until.max(until);
        if let Some(running) = &mut at.running {
            if until > running.until && !running.held.is_empty() {
                self.judge.sometimes.count("paused_past_lease");
            }
            if let Some(leaving) = &mut running.leaving {
                leaving.by += length;
            }
        }
        self.queue.push(until, Item::Resume { node });
    }

    pub(super) fn crash(&mut self, node: usize, down: Duration) {
        if let Some(running) = &self.nodes[node].running {
            if !running.held.is_empty() {
                self.judge.sometimes.count("assignment_lost_at_crash");
            }
            self.end(node, Some(down));
        }
    }

    /// The process of a node is gone; another one starts after a while.
    pub(super) fn end(&mut self, node: usize, down: Option<Duration>) {
        let at = &mut self.nodes[node];
        let Some(running) = at.running.take() else {
            return;
        };
        at.paused_until = Instant::ORIGIN;
        let process = running.process;
        if running.leaving.is_some_and(|leaving| leaving.by < self.now) {
            at.unstopped.push(process);
        }
        let retired = at.retired;
        self.judge.observe(self.now, &Fact::Ended { process });
        if let Some(down) = down.filter(|_| !retired) {
            self.queue.push(self.now + down, Item::Start { node });
        }
    }

    /// A process ended by itself.
    pub(super) fn exit(&mut self, node: usize) {
        let leaving = self.nodes[node]
            .running
            .as_ref()
            .and_then(|running| running.leaving);
        let down = match leaving {
            Some(leaving) => leaving.rejoin,
            None => Some(SUPERVISOR_DELAY),
        };
        self.end(node, down);
    }

    fn heal(&mut self) {
        self.healed_at = Some(self.now);
        self.faults = Faults::none();
        self.outage = None;
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
        at.retired = !survives;
        let leaving = at
            .running
            .as_ref()
            .is_some_and(|running| running.leaving.is_some());
        if let Some(running) = &mut at.running {
            running.dies_after = None;
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

/// `count` partitions from number `first` on.
fn partitions(first: u32, count: u32) -> Vec<Partition> {
    let numbers = first..first.saturating_add(count);
    numbers
        .filter_map(|number| Partition::new([format!("p{number}")]).ok())
        .collect()
}
