//! The end of the faults: what heals, what stays broken, and how far the group has come since.
//!
//! It is separate from the world because it is about the second half of a run only. What always holds:
//! a node heals completely or belongs to those that need not be served.

use core::time::Duration;
use std::collections::BTreeSet;

use parti_core::{Config, Instant, PartitionKey};

use crate::simulator::checks::{Coverage, Fact, Stage, Standing, Worker};
use crate::simulator::group::node::{Holding, Node, Running};
use crate::simulator::group::queue::Item;
use crate::simulator::group::world::World;
use crate::simulator::plans::plan::{Aftermath, Faults, NodePlan};
use crate::simulator::storage::network::Trouble;

/// How often the group is looked at until it must have settled.
const LOOKS: u32 = 32;

/// How many plans a recovery may have to wait for, one after the other.
const SLOW_PLANS: u32 = 8;

/// A time that follows from a configuration.
type Bound = fn(&Config) -> Duration;

impl World<'_> {
    pub(in crate::simulator) fn heal(&mut self) {
        self.healed_at = Some(self.now);
        self.faults = Faults::none();
        self.repair_handlers();
        self.source_down_until = Instant::ORIGIN;
        self.outage = None;
        self.trouble = Trouble::default();
        self.store.limit_values(None);
        self.judge.observe(self.now, &Fact::Healed);
        for node in 0..self.nodes.len() {
            self.heal_node(node);
        }
        let longest = |of: &dyn Fn(&Config) -> Duration| {
            let bounds = self.nodes.iter().map(|node| of(&node.config));
            bounds.max().unwrap_or_default()
        };
        let late = if self.plan.loses_history() {
            longest(&detection)
        } else {
            Duration::ZERO
        };
        let throttled = |node: &&NodePlan| matches!(node.after, Aftermath::Throttled { .. });
        let throttled = self.plan.nodes.iter().filter(throttled).count() as u32;
        // Each of them may be elected, and elected again while others wait their turn.
        let patience = longest(&|config| config.leader_patience() + config.election_timeout() * 3);
        // The terms given up before the faults ended have made them patient.
        let head = self.store.stored().head;
        let futile = head.map_or(0, |head| head.carried.futile);
        let turns = (2 << futile.min(4)).max(4);
        let late = late + self.plan_time() * SLOW_PLANS + patience * throttled * turns;
        // A leader left without its watch steps down after as many leases more.
        let unheard = |node: &NodePlan| match node.after {
            Aftermath::NoAnswers | Aftermath::NetworkPartition { watch: true, .. } => true,
            Aftermath::Healed
            | Aftermath::Paused
            | Aftermath::Throttled { .. }
            | Aftermath::NetworkPartition { .. } => false,
        };
        let no_echo = u32::from(self.plan.nodes.iter().any(unheard));
        let late = late + longest(&Config::lease) * no_echo * ((1 << futile.min(4)) - 1);
        // What prefers a pool that is gone waits for it before anybody else will do.
        let late = late + self.plan.settings.pools.grace();
        // A worker that cannot process something has to find out first.
        let late = late + self.handlers_time() + self.warmup_time();
        let bound = longest(&Config::convergence_bound) + late;
        let calm = longest(&|config| config.reconcile_interval() + config.heartbeat_interval() * 5);
        let stages: [(Stage, Bound); 9] = [
            (Stage::Claimed, Config::claim_bound),
            (Stage::Elected, Config::election_bound),
            (Stage::Seen, Config::detection_bound),
            (Stage::Detected, Config::detection_bound),
            (Stage::Decided, Config::decision_bound),
            (Stage::Applied, Config::application_bound),
            (Stage::HandedOver, Config::convergence_bound),
            (Stage::Confirmed, Config::convergence_bound),
            (Stage::Recovered, Config::recovery_bound),
        ];
        let stages = stages.map(|(stage, of)| (stage, longest(&of) + late));
        for part in 1..=LOOKS {
            self.queue.push(self.now + bound * part / LOOKS, Item::Look);
        }
        for (stage, after) in stages {
            self.queue.push(self.now + after, Item::Milestone { stage });
        }
        self.queue.push(self.now + bound, Item::Due);
        self.queue.push(self.now + bound + calm, Item::Over);
    }

    fn heal_node(&mut self, node: usize) {
        let plan = &self.plan.nodes[node];
        let (survives, after) = (plan.survives, plan.after);
        let at = &mut self.nodes[node];
        let cut = |cut| {
            if cut {
                Instant::FAR_FUTURE
            } else {
                Instant::ORIGIN
            }
        };
        let (requests, replies, watch) = match after {
            Aftermath::Healed | Aftermath::Paused | Aftermath::Throttled { .. } => {
                (false, false, false)
            }
            Aftermath::NoAnswers => (false, false, true),
            Aftermath::NetworkPartition {
                requests,
                replies,
                watch,
            } => (requests, replies, watch),
        };
        at.requests_cut_until = cut(requests);
        at.replies_cut_until = cut(replies);
        at.watch_cut_until = cut(watch);
        at.no_answers_until = cut(after == Aftermath::NoAnswers);
        at.stalled_until = Instant::ORIGIN;
        at.disconnected_until = Instant::ORIGIN;
        if let Some(slow) = &mut at.slow {
            slow.until = Instant::ORIGIN;
            slow.each = Duration::ZERO;
        }
        let stays = survives && after != Aftermath::Paused;
        at.retired = !stays;
        let leaving = at
            .running
            .as_ref()
            .is_some_and(|running| running.leaving.is_some());
        if let Some(running) = &mut at.running {
            running.dies_after = None;
            running.dies_in_callback = false;
            running.step_back = None;
        }
        if survives && after == Aftermath::Paused {
            at.paused_until = Instant::FAR_FUTURE;
            return;
        }
        // A process that is leaving is not waited for: an orchestrator would kill it in the end.
        if !survives || leaving {
            self.end(node, None);
        }
        if survives && self.nodes[node].running.is_none() {
            self.queue.push(self.now, Item::Start { node });
        }
        let (now, at) = (self.now, &mut self.nodes[node]);
        at.paused_until = Instant::ORIGIN;
        // A machine that wakes early has stood still for less than was planned.
        at.suspended = at.suspended.saturating_sub(at.suspended_until.since(now));
        at.suspended_until = Instant::ORIGIN;
        self.nodes[node].throttled = None;
        self.resume(node);
        if let Aftermath::Throttled { pause_ms } = after {
            self.throttle(node, None, Duration::from_millis(pause_ms));
        }
        if watch {
            self.break_watches(node);
        } else {
            self.repair_watches(node);
        }
    }

    pub(in crate::simulator) fn look(&mut self) {
        if self.settled_at.is_none() && self.coverage().pending().is_empty() {
            self.settled_at = Some(self.now);
        }
    }

    pub(in crate::simulator) fn milestone(&mut self, stage: Stage) {
        let coverage = Box::new(self.coverage());
        let fact = Fact::Milestone(stage, coverage);
        self.judge.observe(self.now, &fact);
    }

    pub(in crate::simulator) fn coverage(&self) -> Coverage {
        let standings = self.plan.nodes.iter().map(|node| standing(node.after));
        let mut coverage = Coverage {
            now: self.now,
            partitions: self
                .list
                .iter()
                .map(|partition| partition.key.clone())
                .collect(),
            uneven: !self.is_even(),
            stored: self.store.stored(),
            restless: standings.clone().any(|s| s == Standing::Reaching),
            settled: self.settled_at.is_some(),
            ..Coverage::default()
        };
        for (node, standing) in self.nodes.iter().zip(standings) {
            if standing == Standing::Core {
                coverage.unstopped.extend(&node.unstopped);
            }
            let Some(running) = &node.running else {
                continue;
            };
            let late = running.leaving.is_some_and(|leaving| leaving.by < self.now);
            if late && standing == Standing::Core {
                coverage.unstopped.push(running.process);
            }
            coverage.workers.push(self.worker(node, running, standing));
        }
        (coverage.homeless, coverage.abandoned) = self.without_owner();
        self.note_unfit(&mut coverage);
        coverage
    }

    /// What no worker of the core may own, and what no worker at all may own that is heard of.
    fn without_owner(&self) -> (BTreeSet<PartitionKey>, BTreeSet<PartitionKey>) {
        let pools = self.plan.settings.pools;
        let partitions = self.list.iter().map(|partition| &partition.key);
        let nobody = |key: &&PartitionKey, among: &[Standing]| {
            let name = key.parts().next().unwrap_or_default();
            let nodes = self.nodes.iter().zip(&self.plan.nodes);
            !nodes.into_iter().any(|(node, plan)| {
                let may = node.capacity > 0 && pools.allow(name, plan.pool);
                may && node.running.is_some() && among.contains(&standing(plan.after))
            })
        };
        let core = [Standing::Core];
        let heard = [Standing::Core, Standing::Reaching];
        let homeless = partitions.clone().filter(|key| nobody(key, &core)).cloned();
        let abandoned = partitions.filter(|key| nobody(key, &heard)).cloned();
        (homeless.collect(), abandoned.collect())
    }

    fn worker(&self, node: &Node, running: &Running, standing: Standing) -> Worker {
        let valid = running.until > self.now;
        let held = running
            .held
            .iter()
            .filter(|(_, stage)| valid && **stage == Holding::Assigned);
        let held: BTreeSet<PartitionKey> = held.map(|(key, _)| key.clone()).collect();
        let status = running.core.status();
        Worker {
            process: running.process,
            standing,
            id: status.worker.zip(status.epoch),
            version: status.version,
            state: status.state,
            leads: status.is_leader,
            capacity: node.capacity,
            held,
        }
    }
}

/// The longest time until a lost history is noticed, and the quarantine that follows.
fn detection(config: &Config) -> Duration {
    config.reconcile_interval() * 3 / 2 + config.lease() * 2
}

const fn standing(after: Aftermath) -> Standing {
    match after {
        Aftermath::Healed => Standing::Core,
        Aftermath::Paused | Aftermath::NetworkPartition { requests: true, .. } => Standing::CutOff,
        Aftermath::NoAnswers
        | Aftermath::Throttled { .. }
        | Aftermath::NetworkPartition {
            requests: false, ..
        } => Standing::Reaching,
    }
}
