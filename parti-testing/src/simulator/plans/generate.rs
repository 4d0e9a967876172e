//! From a seed to a plan: swarm testing.
//!
//! Every class of fault is on or off, because faults mask each other: crashes end the interesting
//! zombie, drops end the interesting delay. In half of the seeds the odds are even, in the others few
//! classes are on. One seed in eight is without faults and one in eight has exactly one class. What
//! always holds: the decisions of a class are its own, so another class changes nothing about it.

use parti_core::Mode;

use crate::simulator::plans::dice::{Dice, Purpose, Roll};
use crate::simulator::plans::plan::{
    Aftermath, Faults, NodePlan, Plan, Planner, Pools, Releases, Settings, Timings, Weights,
};

mod actions;
mod class;
mod probes;
mod workload;

pub use class::FaultClass;

/// The stream of decisions about the group, that about classes, and the first of a class.
const GROUP: u64 = 0;
const CLASSES: u64 = 1;
/// The stream of decisions about what does not heal.
const CORE: u64 = 2;
const FIRST_CLASS: u64 = 100;
/// One class in so many is on in a sparse plan.
const SPARSE: u64 = 7;

/// The plan of a seed.
pub(in crate::simulator) fn plan(seed: u64, mode: Mode) -> Plan {
    let mut draft = PlanDraft::new(seed, mode);
    let classes = draft.classes();
    draft.settle_for(&classes);
    for class in classes {
        draft.stream = FIRST_CLASS + class as u64;
        draft.drawn = 0;
        draft.add(class);
    }
    draft.plan.actions.sort_by_key(|timed| timed.at_ms);
    (draft.stream, draft.drawn) = (CORE, 0);
    if !draft.plan.is_faultless() && draft.roll().below(2) == 0 {
        draft.choose_core();
    }
    draft.choose_warmup();
    if mode == Mode::Fenced {
        // Nothing can be suspected without probes.
        let interval = draft.lease / 20;
        let probes = &mut draft.plan.settings.probe_interval_ms;
        probes.get_or_insert(interval);
    }
    draft.plan
}

/// A plan in the making.
struct PlanDraft {
    dice: Dice,
    /// Which stream of decisions is drawn from, and how many were.
    stream: u64,
    drawn: u64,
    /// No class that makes wall clocks wrong is on.
    honest_clocks: bool,
    /// Lease and request bound of the pace, in milliseconds.
    lease: u64,
    request: u64,
    plan: Plan,
}

impl PlanDraft {
    fn new(seed: u64, mode: Mode) -> Self {
        let plan = Plan {
            seed,
            settings: Settings {
                pace: Timings::Fast,
                mode: mode.into(),
                pool: 100,
                clock_drift_ppm: 1000,
                lease_margin_ms: None,
                drain_timeout_ms: None,
                max_hold_ms: None,
                refresh_interval_ms: None,
                probe_interval_ms: None,
                expected_workers: None,
                max_batch: None,
                max_value: None,
                planner: Planner::default(),
                pools: Pools::None,
                mixed: false,
                plan_ms: 0,
                old_clocks: false,
                warmup: None,
            },
            nodes: Vec::new(),
            partitions: 0,
            safety_ms: 120_000,
            faults: Faults::none(),
            weights: Weights::default(),
            actions: Vec::new(),
        };
        let mut draft = Self {
            dice: Dice::new(seed),
            stream: GROUP,
            drawn: 0,
            honest_clocks: true,
            lease: 1000,
            request: 250,
            plan,
        };
        draft.settle_group();
        draft
    }

    /// The next decision of the stream.
    fn roll(&mut self) -> Roll {
        self.drawn += 1;
        self.dice.roll(Purpose::Plan, self.stream, self.drawn)
    }

    fn settle_group(&mut self) {
        if self.roll().below(2) == 0 {
            self.plan.settings.pace = Timings::Default;
            (self.plan.safety_ms, self.lease, self.request) = (300_000, 6000, 1500);
        }
        let count = self.roll().pick(&[1_u32, 2, 3, 3, 4, 5, 5, 7]);
        self.plan.partitions = self.roll().pick(&[1, 5, 16, 16, 33, 64, 64, 100]);
        self.plan.settings.pool = self.roll().pick(&[100, 100, count, count + 1]);
        self.plan.settings.lease_margin_ms = self.roll().pick(&[None, Some(0)]);
        if self.roll().below(3) == 0 {
            self.plan.settings.expected_workers = Some(count);
        }
        if self.roll().below(4) == 0 {
            self.plan.settings.refresh_interval_ms = Some(self.lease * 5);
        }
        if self.roll().below(3) > 0 {
            self.plan.settings.drain_timeout_ms = Some(self.lease / 2);
        }
        let herd = self.roll().below(2) == 0;
        let spread = if herd { 100 } else { self.plan.safety_ms / 3 };
        let hints = self.roll().below(3) == 0;
        for number in 0..count {
            let node = NodePlan {
                starts_ms: if number == 0 {
                    0
                } else {
                    self.roll().below(spread)
                },
                drift_ppm: 0,
                capacity: self.roll().pick(&[1, 1, 1, 1, 1, 1, 2, 3]),
                pool: 0,
                hint: hints.then_some(number),
                declares_dead: false,
                survives: number == 0 || self.roll().below(4) > 0,
                after: Aftermath::Healed,
                wall_skew_ms: 0,
                other_mode: false,
                long_lease: false,
                twin_of: None,
                releases: Releases::This,
            };
            self.plan.nodes.push(node);
        }
    }

    fn classes(&mut self) -> Vec<FaultClass> {
        self.stream = CLASSES;
        let kind = self.roll().below(8);
        let single = self.roll().below(FaultClass::ALL.len() as u64) as usize;
        let sparse = self.roll().below(2) == 0;
        let odds = if sparse { SPARSE } else { 2 };
        let classes = FaultClass::ALL.into_iter().enumerate();
        let chosen = classes.filter(|(index, class)| {
            let roll = self.dice.roll(Purpose::Plan, CLASSES, 100 + *index as u64);
            let on = roll.below(odds) == 0;
            match kind {
                0 => on && class.is_workload(),
                1 => *index == single,
                _ => on,
            }
        });
        chosen.map(|(_, class)| class).collect()
    }

    /// What follows from the classes as a whole.
    fn settle_for(&mut self, chosen: &[FaultClass]) {
        let dishonest = [FaultClass::WallSkew, FaultClass::Suspend];
        self.honest_clocks = !dishonest.iter().any(|class| chosen.contains(class));
        if chosen.iter().all(|class| class.is_workload()) {
            // Death is a fault too: without faults everybody survives.
            let nodes = &mut self.plan.nodes;
            nodes.iter_mut().for_each(|node| node.survives = true);
        }
    }

    fn chance(&mut self) -> u32 {
        self.roll().pick(&[1_000, 10_000, 50_000, 150_000])
    }

    fn add(&mut self, class: FaultClass) {
        match class {
            FaultClass::Delay => self.delay(),
            FaultClass::DropRequest => self.plan.faults.drop_request_ppm = self.chance(),
            FaultClass::DropReply => self.plan.faults.drop_reply_ppm = self.chance(),
            FaultClass::Duplicate => self.plan.faults.duplicate_ppm = self.chance(),
            FaultClass::Refuse => self.plan.faults.refuse_ppm = self.chance() / 3,
            FaultClass::AtLimit => self.plan.faults.at_limit_ppm = self.chance() / 3,
            FaultClass::VeryLate | FaultClass::Timers | FaultClass::Drift => self.be_late(class),
            FaultClass::History => self.histories(),
            FaultClass::BrokenHandler => self.break_handlers(),
            FaultClass::SourceDown | FaultClass::Takeovers => self.try_leaders(class),
            FaultClass::Probing | FaultClass::Probes => self.probe(class),
            FaultClass::StaleRead
            | FaultClass::WatchDelay
            | FaultClass::WatchLost
            | FaultClass::WatchStall
            | FaultClass::WatchDuplicate
            | FaultClass::WatchSkip
            | FaultClass::SnapshotCut => self.read_badly(class),
            FaultClass::SlowCallback
            | FaultClass::HungCallback
            | FaultClass::FailedCallback
            | FaultClass::Source
            | FaultClass::FaultyStrategy => self.fail_users(class),
            FaultClass::Twins
            | FaultClass::WallSkew
            | FaultClass::Garbage
            | FaultClass::Crowd
            | FaultClass::Weights
            | FaultClass::Capacity
            | FaultClass::Calm
            | FaultClass::OldClocks
            | FaultClass::Strategy
            | FaultClass::SmallBatch
            | FaultClass::SmallValue
            | FaultClass::Pools
            | FaultClass::MixedSettings
            | FaultClass::SlowPlans
            | FaultClass::Releases => self.shape(class),
            FaultClass::RollingNetworkPartition
            | FaultClass::Reconnect
            | FaultClass::Scale
            | FaultClass::RollingUpdate
            | FaultClass::Herd
            | FaultClass::Churn
            | FaultClass::Flapping
            | FaultClass::Restart => self.campaign(class),
            FaultClass::Crash
            | FaultClass::Pause
            | FaultClass::Outage
            | FaultClass::NetworkPartition
            | FaultClass::ClockJump
            | FaultClass::Leave
            | FaultClass::Partitions
            | FaultClass::Requests
            | FaultClass::Stall
            | FaultClass::Slow
            | FaultClass::Zombie
            | FaultClass::NewerRelease
            | FaultClass::Suspend
            | FaultClass::ClockBack
            | FaultClass::Deny
            | FaultClass::PayloadLimit
            | FaultClass::StuckLeader
            | FaultClass::SlowStore
            | FaultClass::ExternalWrite
            | FaultClass::Orders
            | FaultClass::NoAnswers
            | FaultClass::Throttled => self.add_actions(class),
        }
    }

    fn be_late(&mut self, class: FaultClass) {
        if class == FaultClass::Drift {
            return self.drift();
        }
        if class == FaultClass::Timers {
            self.timers();
        } else {
            self.very_late();
        }
    }

    fn try_leaders(&mut self, class: FaultClass) {
        if class == FaultClass::SourceDown {
            self.source_down();
        } else {
            self.takeovers();
        }
    }

    fn delay(&mut self) {
        let request = self.request;
        self.plan.faults.delay_mean_us = self.roll().within(500, request * 1000 / 15);
        self.plan.faults.tail_ppm = self.roll().pick(&[0, 1_000, 10_000, 30_000]);
        self.plan.faults.tail_ms = self.roll().within(request, 15_000);
    }

    fn very_late(&mut self) {
        self.plan.faults.very_late_ppm = self.chance() / 3;
        self.plan.faults.very_late_ms = self.roll().within(self.lease, 150_000);
    }

    fn timers(&mut self) {
        self.plan.faults.timer_late_mean_us = self.roll().within(0, self.lease * 20);
        self.plan.faults.spurious_wake_ppm = self.chance();
    }

    /// What readers and watches suffer.
    fn read_badly(&mut self, class: FaultClass) {
        let lease = self.lease;
        if class == FaultClass::StaleRead {
            self.plan.faults.stale_ppm = self.roll().pick(&[10_000, 100_000, 500_000]);
            self.plan.faults.stale_ms = self.roll().within(1, lease * 10);
        }
        if class == FaultClass::WatchDelay {
            self.plan.faults.watch_delay_mean_us = self.roll().within(1000, lease * 200);
        }
        if class == FaultClass::WatchLost {
            self.plan.faults.watch_lost_ppm = self.chance() / 5;
        }
        if class == FaultClass::WatchStall {
            self.plan.faults.watch_stall_ppm = self.chance() / 10;
            self.plan.faults.watch_stall_ms = self.roll().within(lease, 15_000);
        }
        if class == FaultClass::WatchDuplicate {
            self.plan.faults.watch_duplicate_ppm = self.chance();
        }
        if class == FaultClass::WatchSkip {
            self.plan.faults.watch_skip_ppm = self.chance() * 5;
        }
        if class == FaultClass::SnapshotCut {
            self.plan.faults.snapshot_cut_ppm = self.chance() * 3;
            // Snapshots are rare unless watches are lost.
            let lost = self.chance() / 20;
            self.plan.faults.watch_lost_ppm = lost.max(self.plan.faults.watch_lost_ppm);
        }
    }

    /// What users provide fails.
    fn fail_users(&mut self, class: FaultClass) {
        if class == FaultClass::SlowCallback {
            let drain = self.plan.settings.drain_timeout_ms.unwrap_or(5000);
            self.plan.faults.callback_slow_ppm = self.chance();
            self.plan.faults.callback_ms = self.roll().within(drain / 2, drain * 2);
        }
        if class == FaultClass::HungCallback {
            self.plan.faults.callback_hang_ppm = self.chance();
        }
        if class == FaultClass::FailedCallback {
            self.plan.faults.callback_fail_ppm = self.chance() * 4;
        }
        if class == FaultClass::Source {
            self.plan.faults.source_fail_ppm = self.chance() * 4;
            self.plan.faults.source_duplicate_ppm = self.roll().pick(&[0, 100_000, 400_000]);
        }
        if class == FaultClass::FaultyStrategy {
            self.plan.faults.plan_fail_ppm = self.roll().pick(&[0, 50_000, 300_000, 700_000]);
            self.plan.faults.plan_wrong_ppm = self.roll().pick(&[0, 50_000, 300_000]);
        }
    }

    /// One of the survivors, but not the first node, stays as it is after the faults, in most groups.
    fn stays_broken(&mut self, after: Aftermath) {
        let nodes = self.plan.nodes.len() as u64;
        let node = self.roll().below(nodes) as usize;
        if node > 0 && self.plan.nodes[node].survives {
            self.plan.nodes[node].after = after;
        }
    }

    /// Leaves some nodes as they must not hinder the others: half of them, never all.
    fn choose_core(&mut self) {
        let surviving = |node: &NodePlan| node.survives && node.after == Aftermath::Healed;
        let count = self
            .plan
            .nodes
            .iter()
            .filter(|node| surviving(node))
            .count() as u64;
        let kept = self.roll().below(count);
        let mut number = 0;
        for node in 0..self.plan.nodes.len() {
            if !surviving(&self.plan.nodes[node]) {
                continue;
            }
            if number != kept && self.roll().below(2) == 0 {
                let links = [0, 0b111, 0b001, 0b010, 0b100, 0b110, 0b101, 0b011_u8];
                self.plan.nodes[node].after = match self.roll().pick(&links) {
                    0 => Aftermath::Paused,
                    links => Aftermath::NetworkPartition {
                        requests: links & 1 != 0,
                        replies: links & 2 != 0,
                        watch: links & 4 != 0,
                    },
                };
            }
            number += 1;
        }
    }

    fn drift(&mut self) {
        let limit = self.roll().pick(&[500_u32, 1000, 5000, 50_000]);
        self.plan.settings.clock_drift_ppm = limit;
        for node in 0..self.plan.nodes.len() {
            let fast = self.roll().below(2) == 0;
            let limit = i32::try_from(limit).unwrap_or(0);
            self.plan.nodes[node].drift_ppm = if fast { limit } else { -limit };
        }
    }
}
