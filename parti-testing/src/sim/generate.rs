//! From a seed to a plan: swarm testing.
//!
//! Every class of fault is on or off with even odds, because faults mask each other: crashes end the
//! interesting zombie, drops end the interesting delay. One seed in eight is without faults and one
//! in eight has exactly one class.

use parti_core::Mode;

use super::dice::{Dice, Purpose, Roll};
use super::plan::{Action, Faults, Leave, Loss, NodePlan, Pace, Plan, Settings, TimedAction};

/// A kind of trouble that is on or off as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultClass {
    /// Slow messages, some of them very slow.
    Delay,
    /// Lost requests.
    DropRequest,
    /// Lost answers to requests that were carried out.
    DropReply,
    /// Requests carried out twice.
    Duplicate,
    /// Refusals without a reason.
    Refuse,
    /// Reads from a lagging copy.
    StaleRead,
    /// Slow watches.
    WatchDelay,
    /// Watches that end.
    WatchLost,
    /// Watches that fall silent.
    WatchStall,
    /// Watch events that come again.
    WatchDuplicate,
    /// Watch events that are left out.
    WatchSkip,
    /// Processes that die.
    Crash,
    /// Processes that stand still.
    Pause,
    /// Callbacks that take long.
    SlowCallback,
    /// Clocks at the extremes of their allowed rates.
    Drift,
    /// The store out of reach for everybody.
    Outage,
    /// A node cut off, in some directions or all.
    Cut,
    /// Clocks that jump.
    ClockJump,
    /// Late timers and wake-ups without a reason.
    Timers,
    /// A partition source that fails.
    Source,
    /// Workers that leave in order and come back.
    Leave,
    /// A partition list that changes.
    Partitions,
    /// Users who ask for refreshes and rebalances.
    Requests,
    /// Buckets that are deleted, created anew, wiped or set back.
    History,
}

impl FaultClass {
    /// Every class.
    pub const ALL: [Self; 24] = [
        Self::Delay,
        Self::DropRequest,
        Self::DropReply,
        Self::Duplicate,
        Self::Refuse,
        Self::StaleRead,
        Self::WatchDelay,
        Self::WatchLost,
        Self::WatchStall,
        Self::WatchDuplicate,
        Self::WatchSkip,
        Self::Crash,
        Self::Pause,
        Self::SlowCallback,
        Self::Drift,
        Self::Outage,
        Self::Cut,
        Self::ClockJump,
        Self::Timers,
        Self::Source,
        Self::Leave,
        Self::Partitions,
        Self::Requests,
        Self::History,
    ];

    /// Whether it is ordinary use rather than a fault.
    const fn is_workload(self) -> bool {
        matches!(self, Self::Leave | Self::Partitions | Self::Requests)
    }
}

pub(super) fn plan(seed: u64, mode: Mode) -> Plan {
    let mut draft = Draft::new(seed, mode);
    for class in draft.classes() {
        draft.add(class);
    }
    draft.plan.actions.sort_by_key(|timed| timed.at_ms);
    draft.plan
}

/// A plan in the making.
struct Draft {
    dice: Dice,
    drawn: u64,
    /// Lease and request bound of the pace, in milliseconds.
    lease: u64,
    request: u64,
    plan: Plan,
}

impl Draft {
    fn new(seed: u64, mode: Mode) -> Self {
        let plan = Plan {
            seed,
            settings: Settings {
                pace: Pace::Fast,
                mode: mode.into(),
                pool: 100,
                clock_drift_ppm: 1000,
                lease_margin_ms: None,
                drain_timeout_ms: None,
                refresh_interval_ms: None,
                expected_workers: None,
            },
            nodes: Vec::new(),
            partitions: 0,
            safety_ms: 120_000,
            faults: Faults::none(),
            actions: Vec::new(),
        };
        let mut draft = Self {
            dice: Dice::new(seed),
            drawn: 0,
            lease: 1000,
            request: 250,
            plan,
        };
        draft.settle_group();
        draft
    }

    /// The next decision. A plan is made in one go, so a running number keys it well enough.
    fn roll(&mut self) -> Roll {
        self.drawn += 1;
        self.dice.roll(Purpose::Plan, 0, self.drawn)
    }

    fn settle_group(&mut self) {
        if self.roll().below(2) == 0 {
            self.plan.settings.pace = Pace::Default;
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
                hint: hints.then_some(number),
                survives: number == 0 || self.roll().below(4) > 0,
            };
            self.plan.nodes.push(node);
        }
    }

    fn classes(&mut self) -> Vec<FaultClass> {
        let kind = self.roll().below(8);
        let single = self.roll().below(FaultClass::ALL.len() as u64) as usize;
        let enabled: Vec<_> = FaultClass::ALL.map(|_| self.roll().below(2) == 0).to_vec();
        let classes = FaultClass::ALL.into_iter().zip(enabled).enumerate();
        let chosen = classes.filter(|(index, (class, on))| match kind {
            0 => *on && class.is_workload(),
            1 => *index == single,
            _ => *on,
        });
        let chosen: Vec<_> = chosen.map(|(_, (class, _))| class).collect();
        if chosen.iter().all(|class| class.is_workload()) {
            // Death is a fault too: without faults everybody survives.
            self.plan
                .nodes
                .iter_mut()
                .for_each(|node| node.survives = true);
        }
        chosen
    }

    fn chance(&mut self) -> u32 {
        self.roll().pick(&[1_000, 10_000, 50_000, 150_000])
    }

    fn add(&mut self, class: FaultClass) {
        let (lease, request) = (self.lease, self.request);
        match class {
            FaultClass::Delay => {
                self.plan.faults.delay_mean_us = self.roll().within(500, request * 1000 / 15);
                self.plan.faults.tail_ppm = self.roll().pick(&[0, 1_000, 10_000, 30_000]);
                self.plan.faults.tail_ms = self.roll().within(request, 15_000);
            }
            FaultClass::DropRequest => self.plan.faults.drop_request_ppm = self.chance(),
            FaultClass::DropReply => self.plan.faults.drop_reply_ppm = self.chance(),
            FaultClass::Duplicate => self.plan.faults.duplicate_ppm = self.chance(),
            FaultClass::Refuse => self.plan.faults.refuse_ppm = self.chance() / 3,
            FaultClass::StaleRead => {
                self.plan.faults.stale_ppm = self.roll().pick(&[10_000, 100_000, 500_000]);
                self.plan.faults.stale_ms = self.roll().within(1, lease * 10);
            }
            FaultClass::WatchDelay => {
                self.plan.faults.watch_delay_mean_us = self.roll().within(1000, lease * 200);
            }
            FaultClass::WatchLost => self.plan.faults.watch_lost_ppm = self.chance() / 5,
            FaultClass::WatchStall => {
                self.plan.faults.watch_stall_ppm = self.chance() / 10;
                self.plan.faults.watch_stall_ms = self.roll().within(lease, 15_000);
            }
            FaultClass::WatchDuplicate => self.plan.faults.watch_duplicate_ppm = self.chance(),
            FaultClass::WatchSkip => self.plan.faults.watch_skip_ppm = self.chance() * 5,
            FaultClass::SlowCallback => {
                let drain = self.plan.settings.drain_timeout_ms.unwrap_or(5000);
                self.plan.faults.callback_slow_ppm = self.chance();
                self.plan.faults.callback_ms = self.roll().within(drain / 2, drain * 2);
            }
            FaultClass::Drift => self.drift(),
            FaultClass::Timers => {
                self.plan.faults.timer_late_mean_us = self.roll().within(0, lease * 20);
                self.plan.faults.spurious_wake_ppm = self.chance();
            }
            FaultClass::Source => self.plan.faults.source_fail_ppm = self.chance() * 4,
            FaultClass::History => self.histories(),
            FaultClass::Crash
            | FaultClass::Pause
            | FaultClass::Outage
            | FaultClass::Cut
            | FaultClass::ClockJump
            | FaultClass::Leave
            | FaultClass::Partitions
            | FaultClass::Requests => self.add_actions(class),
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

    /// A history that is lost ends whatever was interesting in it, so that it is rarely more than one.
    fn histories(&mut self) {
        for _ in 0..self.roll().pick(&[0_u32, 0, 1, 1, 1, 2]) {
            let at_ms = self.roll().below(self.plan.safety_ms * 8 / 10);
            let by_ms = self.span();
            let set_back = Loss::SetBack { by_ms };
            let losses = [Loss::Delete, Loss::Recreate, Loss::Wipe, set_back, set_back];
            let loss = self.roll().pick(&losses);
            let outage = self.span();
            let for_ms = self.roll().pick(&[0, 0, outage]);
            let action = Action::LoseHistory { loss, for_ms };
            self.plan.actions.push(TimedAction { at_ms, action });
        }
    }

    fn add_actions(&mut self, class: FaultClass) {
        let count = self.roll().within(1, 8);
        for _ in 0..count {
            let at_ms = self.roll().below(self.plan.safety_ms * 9 / 10);
            let node = self.roll().below(self.plan.nodes.len() as u64) as usize;
            if let Some(action) = self.action(class, node) {
                self.plan.actions.push(TimedAction { at_ms, action });
            }
        }
    }

    /// A time that is short, about a lease or long, with even odds.
    fn span(&mut self) -> u64 {
        let longest = self
            .roll()
            .pick(&[self.lease / 2, self.lease * 2, self.lease * 6]);
        self.roll().within(10, longest)
    }

    fn cut(&mut self, node: usize, for_ms: u64) -> Action {
        let links = [0b111, 0b111, 0b001, 0b010, 0b100, 0b110, 0b011_u8];
        let links = self.roll().pick(&links);
        Action::Cut {
            node,
            for_ms,
            requests: links & 1 != 0,
            replies: links & 2 != 0,
            watch: links & 4 != 0,
        }
    }

    fn action(&mut self, class: FaultClass, node: usize) -> Option<Action> {
        let for_ms = self.span();
        match class {
            FaultClass::Crash => {
                let in_step = self.roll().below(2) == 0;
                let effects = self.roll().below(6) as u32;
                Some(Action::Crash {
                    node,
                    down_ms: for_ms,
                    after_effects: in_step.then_some(effects),
                })
            }
            FaultClass::Pause => Some(Action::Pause { node, for_ms }),
            FaultClass::ClockJump => Some(Action::ClockJump { node }),
            FaultClass::Outage => {
                let answers = self.roll().below(2) == 0;
                Some(Action::Outage { for_ms, answers })
            }
            FaultClass::Cut => Some(self.cut(node, for_ms)),
            FaultClass::Leave => {
                let hold_ms = self.roll().within(0, self.lease * 3);
                let leave =
                    self.roll()
                        .pick(&[Leave::Handoff, Leave::Restart { hold_ms }, Leave::Now]);
                let rejoin = self.roll().below(4) > 0;
                Some(Action::Stop {
                    node,
                    leave,
                    rejoin_ms: rejoin.then_some(for_ms),
                })
            }
            FaultClass::Partitions => {
                let first = self.roll().below(20) as u32;
                let count = self.roll().pick(&[0_u32, 1, 8, 20, 60]);
                let kept = self.roll().within(1, u64::from(self.plan.partitions) + 4) as u32;
                let count = if self.roll().below(2) == 0 {
                    count
                } else {
                    kept
                };
                Some(Action::Partitions { first, count })
            }
            FaultClass::Requests => Some(match self.roll().below(2) {
                0 => Action::Refresh { node },
                _ => Action::Trigger { node },
            }),
            FaultClass::Delay
            | FaultClass::DropRequest
            | FaultClass::DropReply
            | FaultClass::Duplicate
            | FaultClass::Refuse
            | FaultClass::StaleRead
            | FaultClass::WatchDelay
            | FaultClass::WatchLost
            | FaultClass::WatchStall
            | FaultClass::WatchDuplicate
            | FaultClass::WatchSkip
            | FaultClass::SlowCallback
            | FaultClass::Drift
            | FaultClass::Timers
            | FaultClass::Source
            | FaultClass::History => None,
        }
    }
}
