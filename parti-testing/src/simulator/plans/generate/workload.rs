//! What shapes a whole group, and campaigns: actions that belong together, such as a rolling update.
//!
//! What always holds: after a campaign every node it touched may run again.

use super::{FaultClass, GROUP, PlanDraft};
use crate::simulator::plans::dice::Purpose;
use crate::simulator::plans::plan::{
    Action, Leave, Planner, Pools, Releases, TimedAction, Warmup, Weights,
};

/// When joiners come, in percent of the window, if each is to extend it until it may last no longer.
const TRICKLE: [u64; 4] = [0, 80, 120, 160];

impl PlanDraft {
    /// In half of the groups handlers prepare for partitions. It has its own stream of decisions, so that
    /// everything else is as it would be without.
    pub(super) fn choose_warmup(&mut self) {
        let roll = |number| self.dice.roll(Purpose::Warmup, GROUP, number);
        if roll(0).below(2) == 0 {
            return;
        }
        let faulty = u32::from(!self.plan.is_faultless());
        self.plan.settings.warmup = Some(Warmup {
            ms: roll(1).pick(&[0, 20, 500, 4_000]),
            timeout_ms: roll(2).pick(&[300, 1_000, 5_000]),
            hang_ppm: roll(3).pick(&[0, 50_000, 300_000]) * faulty,
            fail_ppm: roll(4).pick(&[0, 20_000, 100_000]) * faulty,
            max_moves: roll(5).pick(&[None, None, Some(1), Some(3)]),
        });
    }

    /// What the group, its settings and its bucket are like.
    pub(super) fn shape(&mut self, class: FaultClass) {
        let nodes = self.plan.nodes.len();
        if class == FaultClass::Twins && nodes > 1 {
            self.twins();
        }
        if class == FaultClass::WallSkew {
            for node in 0..nodes {
                let skew = self.roll().pick(&[0, 0, 3_600_000, 90_000_000]);
                let back = self.roll().below(2) == 0;
                self.plan.nodes[node].wall_skew_ms = if back { -skew } else { skew };
            }
        }
        if class == FaultClass::Garbage {
            for _ in 0..self.roll().within(1, 6) {
                let newer = self.roll().below(2) == 0;
                let write = self.external_write(newer);
                let action = Action::ExternalWrite { write };
                self.plan.actions.push(TimedAction { at_ms: 0, action });
            }
            // The bucket is like that before anybody comes.
            self.plan.nodes.iter_mut().for_each(|n| n.starts_ms += 10);
        }
        if class == FaultClass::Crowd && nodes > 1 {
            self.crowd();
        }
        if class == FaultClass::Weights {
            self.plan.weights = self.weights();
            for _ in 0..self.roll().within(0, 4) {
                let at_ms = self.roll().below(self.plan.safety_ms * 9 / 10);
                let action = Action::Weigh {
                    weights: self.weights(),
                };
                self.plan.actions.push(TimedAction { at_ms, action });
            }
        }
        if class == FaultClass::Capacity {
            for node in 0..nodes {
                let least = u32::from(node == 0);
                let capacity = self.roll().pick(&[0, 0, 1, 10, 100]);
                self.plan.nodes[node].capacity = capacity.max(least);
            }
        }
        if class == FaultClass::Calm && self.roll().below(8) == 0 {
            self.plan.safety_ms *= 6;
        }
        self.plan.settings.old_clocks |= class == FaultClass::OldClocks;
        if class == FaultClass::Strategy {
            self.plan.settings.planner = self.roll().pick(&Planner::ALL);
        }
        if class == FaultClass::Pools {
            self.pools();
        }
        if class == FaultClass::Releases {
            self.mix_releases();
        }
        if class == FaultClass::MixedSettings {
            self.mix_settings();
        }
        if class == FaultClass::SlowPlans {
            // A third of a lease is an interval of renewals.
            let percent = self.roll().pick(&[50, 70, 90]);
            self.plan.settings.plan_ms = self.lease * percent / 100;
        }
        if class == FaultClass::SmallValue {
            self.plan.settings.max_value = Some(self.roll().pick(&[4_000, 6_000]));
            self.plan.partitions = self.roll().pick(&[33, 64, 64, 100]);
        }
        if class == FaultClass::SmallBatch {
            self.plan.settings.max_batch = Some(self.roll().pick(&[12, 12, 12, 16]));
        }
    }

    /// Two processes with one identity.
    fn twins(&mut self) {
        let twin = self.roll().within(1, self.plan.nodes.len() as u64 - 1) as usize;
        let original = self.plan.nodes[0].clone();
        let survives = self.plan.nodes[twin].survives;
        self.plan.nodes[twin] = original;
        self.plan.nodes[twin].survives = survives;
        self.plan.nodes[twin].twin_of = Some(0);
    }

    /// Nodes are configured with different modes and leases.
    fn mix_settings(&mut self) {
        self.plan.settings.mixed = true;
        // The first stays as it is: what is judged by one lease is judged by the shorter.
        for node in 1..self.plan.nodes.len() {
            self.plan.nodes[node].other_mode = self.roll().below(2) == 0;
            self.plan.nodes[node].long_lease = self.roll().below(3) == 0;
        }
    }

    /// Every node is of one of two releases, or of both in turn.
    fn mix_releases(&mut self) {
        let all = [
            Releases::This,
            Releases::Next,
            Releases::Updated,
            Releases::Downgraded,
        ];
        for node in 0..self.plan.nodes.len() {
            self.plan.nodes[node].releases = self.roll().pick(&all);
        }
    }

    /// Fewer IDs than processes; as many as survive get one.
    fn crowd(&mut self) {
        let nodes = self.plan.nodes.len() as u32;
        let pool = self.roll().within(1, u64::from(nodes) - 1) as u32;
        self.plan.settings.pool = pool;
        if let Some(expected) = &mut self.plan.settings.expected_workers {
            *expected = pool.min(*expected);
        }
        let mut slots = pool;
        for node in &mut self.plan.nodes {
            node.hint = node.hint.filter(|hint| *hint < pool);
            node.survives &= slots > 0;
            slots -= u32::from(node.survives);
        }
    }

    /// Pools of workers, some of them empty or with a single worker, that leave and come back as a
    /// whole.
    fn pools(&mut self) {
        let pools = self.roll().pick(&[2, 2, 3]);
        let grace_ms = self.roll().pick(&[0, self.lease / 2, self.lease * 2]);
        let soft = self.roll().below(3) == 0;
        self.plan.settings.pools = match soft {
            true => Pools::Soft { pools, grace_ms },
            false => Pools::Hard { pools },
        };
        for node in 0..self.plan.nodes.len() {
            self.plan.nodes[node].pool = self.roll().below(u64::from(pools)) as u32;
        }
        for _ in 0..self.roll().within(0, 2) {
            let start = self.roll().below(self.plan.safety_ms * 3 / 4);
            let gone = self.roll().below(u64::from(pools)) as u32;
            let leave = self.roll().pick(&[Leave::Handoff, Leave::Now]);
            let away = self.span() + self.lease;
            for node in 0..self.plan.nodes.len() {
                if self.plan.nodes[node].pool == gone {
                    let rejoin_ms = Some(away);
                    self.push(
                        start,
                        Action::Stop {
                            node,
                            leave,
                            rejoin_ms,
                        },
                    );
                }
            }
        }
    }

    fn weights(&mut self) -> Weights {
        self.roll().pick(&[
            Weights::Even,
            Weights::Zero,
            Weights::Mixed,
            Weights::Steep,
            Weights::Huge,
        ])
    }

    fn push(&mut self, at_ms: u64, action: Action) {
        if at_ms < self.plan.safety_ms {
            self.plan.actions.push(TimedAction { at_ms, action });
        }
    }

    /// Actions that belong together.
    pub(super) fn campaign(&mut self, class: FaultClass) {
        if class == FaultClass::Restart {
            self.expect_restarts();
        }
        let rounds = self.roll().within(1, 3);
        for _ in 0..rounds {
            let start = self.roll().below(self.plan.safety_ms * 3 / 4);
            if class == FaultClass::RollingNetworkPartition {
                self.rolling_network_partition(start);
            }
            if class == FaultClass::Reconnect {
                self.reconnect(start);
            }
            if class == FaultClass::Scale {
                self.scale(start);
            }
            if class == FaultClass::RollingUpdate {
                self.rolling_update(start);
            }
            if class == FaultClass::Herd {
                self.herd(start);
            }
            if class == FaultClass::Churn {
                self.churn(start);
            }
            if class == FaultClass::Flapping {
                self.flapping(start);
            }
            if class == FaultClass::Restart {
                self.restart(start);
            }
        }
    }

    /// Cuts one node after the other; each comes back after another time.
    fn rolling_network_partition(&mut self, start: u64) {
        let pause = self.span() / 4;
        for node in 0..self.plan.nodes.len() {
            let for_ms = self.span() + pause;
            let action = Action::NetworkPartition {
                node,
                for_ms,
                requests: true,
                replies: true,
                watch: true,
            };
            self.push(start + pause * node as u64, action);
        }
    }

    /// One connection is lost, or all at once.
    fn reconnect(&mut self, start: u64) {
        let all = self.roll().below(2) == 0;
        let only = self.roll().below(self.plan.nodes.len() as u64) as usize;
        let for_ms = self.span();
        for node in 0..self.plan.nodes.len() {
            if all || node == only {
                let jitter = self.roll().below(200);
                let for_ms = for_ms + jitter;
                self.push(start, Action::Reconnect { node, for_ms });
            }
        }
    }

    /// Half of the group, or all of it, leaves and comes back; or several do so one after the other.
    fn scale(&mut self, start: u64) {
        let nodes = self.plan.nodes.len();
        if nodes > TRICKLE.len() && self.roll().below(2) == 0 {
            return self.trickle(start);
        }
        let kept = self.roll().pick(&[0, 0, nodes / 2, nodes - 1]);
        let away = self.span() + self.lease;
        let leave = self
            .roll()
            .pick(&[Leave::Handoff, Leave::Handoff, Leave::Now]);
        for node in kept..nodes {
            let rejoin_ms = Some(away + self.roll().below(500));
            self.push(
                start,
                Action::Stop {
                    node,
                    leave,
                    rejoin_ms,
                },
            );
        }
    }

    /// Some leave together and come back one by one, each while joins are still being collected.
    fn trickle(&mut self, start: u64) {
        let Ok(config) = self.plan.settings.config(&self.plan.nodes[0]) else {
            return;
        };
        let window = config.planned_scale_window().as_millis() as u64;
        let away = config.min_rebalance_interval().as_millis() as u64 + self.lease;
        let first = self.plan.nodes.len() - TRICKLE.len();
        for (number, percent) in TRICKLE.into_iter().enumerate() {
            let action = Action::Stop {
                node: first + number,
                leave: Leave::Now,
                rejoin_ms: Some(away + window * percent / 100),
            };
            self.push(start, action);
        }
    }

    /// Every process is replaced, some at a time, with its slot kept.
    fn rolling_update(&mut self, start: u64) {
        let at_once = self.roll().within(1, 3);
        let pause = self.roll().within(self.lease / 2, self.lease * 3);
        let hold_ms = self.lease * 3;
        for node in 0..self.plan.nodes.len() {
            let rejoin_ms = Some(self.roll().within(10, self.lease * 2));
            let leave = Leave::Restart { hold_ms };
            let at = start + node as u64 / at_once * pause;
            self.push(
                at,
                Action::Stop {
                    node,
                    leave,
                    rejoin_ms,
                },
            );
        }
    }

    /// Everybody dies and comes back together.
    fn herd(&mut self, start: u64) {
        let down = self.span();
        for node in 0..self.plan.nodes.len() {
            let down_ms = down + self.roll().below(100);
            self.push(
                start,
                Action::Crash {
                    node,
                    down_ms,
                    after_effects: None,
                    in_callback: false,
                },
            );
        }
    }

    /// A worker leaves and joins, over and over, about as often as a window is long.
    fn churn(&mut self, start: u64) {
        let node = self.roll().below(self.plan.nodes.len() as u64) as usize;
        let config = self.plan.settings.config(&self.plan.nodes[node]);
        let window = config.map_or(self.lease, |config| {
            config.planned_scale_window().as_millis() as u64
        });
        let period = (window * self.roll().within(60, 120) / 100).max(100);
        let leave = self.roll().pick(&[Leave::Handoff, Leave::Now]);
        for round in 0..self.roll().within(3, 12) {
            let rejoin_ms = Some(period / 4);
            self.push(
                start + round * period,
                Action::Stop {
                    node,
                    leave,
                    rejoin_ms,
                },
            );
        }
    }

    /// A worker is alive for a little less than a lease and silent for a little more, in turn.
    fn flapping(&mut self, start: u64) {
        let node = self.roll().below(self.plan.nodes.len() as u64) as usize;
        let [alive, silent] = self.roll().pick(&[[90, 110], [110, 90], [30, 130]]);
        let period = self.lease * (alive + silent) / 100;
        for round in 0..self.roll().within(2, 8) {
            let action = Action::NetworkPartition {
                node,
                for_ms: self.lease * silent / 100,
                requests: true,
                replies: true,
                watch: true,
            };
            self.push(start + round * period, action);
        }
    }

    /// What processes say when they start again: nothing, which ID they had, or also that nobody has
    /// it any more. That may be false: then two of them want one ID.
    fn expect_restarts(&mut self) {
        let hinted = self.roll().below(4) > 0;
        let declared = hinted && self.roll().below(3) > 0;
        let falsely = declared && self.roll().below(3) == 0;
        let pool = self.plan.settings.pool;
        for (number, node) in (0_u32..).zip(&mut self.plan.nodes) {
            node.hint = Some(number).filter(|&number| hinted && number < pool);
            node.declares_dead = declared;
        }
        let nodes = self.plan.nodes.len() as u64;
        if falsely && nodes > 1 {
            let rival = self.roll().within(1, nodes - 1) as usize;
            self.plan.nodes[rival].hint = self.plan.nodes[rival - 1].hint;
        }
    }

    /// All processes are killed and come back within moments, or one is, perhaps over and over.
    fn restart(&mut self, start: u64) {
        let nodes = self.plan.nodes.len() as u64;
        let longest = self.roll().pick(&[1, 50, self.lease / 4]);
        let all = self.roll().below(2) == 0;
        let times = if all { nodes } else { self.roll().within(1, 4) };
        let only = self.roll().below(nodes) as usize;
        let pause = self.roll().within(self.lease / 8, self.lease);
        for number in 0..times {
            let (node, at) = if all {
                (number as usize, start)
            } else {
                (only, start + number * pause)
            };
            let action = Action::Crash {
                node,
                down_ms: self.roll().within(0, longest),
                after_effects: None,
                in_callback: false,
            };
            self.push(at, action);
        }
    }
}
