//! Single actions of a class, at random times on random nodes.
//!
//! They are separate from campaigns, whose actions belong together.

use super::{FaultClass, PlanDraft};
use crate::simulator::plans::plan::{
    Action, Aftermath, Denial, ExternalWrite, KeyKind, Leave, Loss, OrderVerb, Target, TimedAction,
    Timings,
};

/// Makes an action on a node, for so long if it lasts.
type MakeAction = fn(&mut PlanDraft, usize, u64) -> Action;

/// What each class does.
const MAKERS: &[(FaultClass, MakeAction)] = &[
    (FaultClass::Crash, PlanDraft::crash),
    (FaultClass::Pause, |_, node, for_ms| Action::Pause {
        node,
        for_ms,
    }),
    (FaultClass::ClockJump, |_, node, _| Action::ClockJump {
        node,
    }),
    (FaultClass::Suspend, |_, node, for_ms| Action::Suspend {
        node,
        for_ms,
    }),
    (FaultClass::ClockBack, PlanDraft::clock_back),
    (FaultClass::Outage, PlanDraft::outage),
    (FaultClass::NetworkPartition, PlanDraft::cut),
    (FaultClass::Zombie, PlanDraft::zombie),
    (FaultClass::Stall, |_, node, for_ms| Action::Stall {
        node,
        for_ms,
    }),
    (FaultClass::Slow, PlanDraft::slow),
    (FaultClass::Deny, PlanDraft::deny),
    (FaultClass::PayloadLimit, PlanDraft::payload_limit),
    (FaultClass::StuckLeader, |_, _, for_ms| {
        Action::StuckLeader { for_ms }
    }),
    (FaultClass::SlowStore, PlanDraft::slow_store),
    (FaultClass::ExternalWrite, |draft, _, _| {
        Action::ExternalWrite {
            write: draft.external_write(false),
        }
    }),
    (FaultClass::NewerRelease, |draft, _, _| {
        Action::ExternalWrite {
            write: draft.external_write(true),
        }
    }),
    (FaultClass::Orders, |draft, _, for_ms| {
        Action::ExternalWrite {
            write: draft.order(for_ms),
        }
    }),
    (FaultClass::NoAnswers, |_, node, for_ms| {
        Action::LoseAnswers {
            node,
            for_ms: for_ms * 4,
        }
    }),
    (FaultClass::Throttled, PlanDraft::throttle),
    (FaultClass::Leave, PlanDraft::leave),
    (FaultClass::Partitions, PlanDraft::list),
    (FaultClass::Requests, PlanDraft::request),
];

impl PlanDraft {
    pub(super) fn add_actions(&mut self, class: FaultClass) {
        let make = MAKERS.iter().find(|(of, _)| *of == class);
        let count = self.roll().within(1, 8);
        for (_, make) in make.iter().cycle().take(count as usize) {
            let at_ms = self.roll().below(self.plan.safety_ms * 9 / 10);
            let node = self.roll().below(self.plan.nodes.len() as u64) as usize;
            let for_ms = self.span();
            let action = make(self, node, for_ms);
            self.plan.actions.push(TimedAction { at_ms, action });
        }
        if class == FaultClass::NoAnswers {
            self.stays_broken(Aftermath::NoAnswers);
        }
        if class == FaultClass::Throttled {
            let pause_ms = self.throttled_pause();
            self.stays_broken(Aftermath::Throttled { pause_ms });
        }
    }

    /// A time that is short, about a lease or long, with even odds.
    pub(super) fn span(&mut self) -> u64 {
        let longest = self
            .roll()
            .pick(&[self.lease / 2, self.lease * 2, self.lease * 6]);
        self.roll().within(10, longest)
    }

    fn cut(&mut self, node: usize, for_ms: u64) -> Action {
        let links = [0b111, 0b111, 0b001, 0b010, 0b100, 0b110, 0b011_u8];
        let links = self.roll().pick(&links);
        Action::NetworkPartition {
            node,
            for_ms,
            requests: links & 1 != 0,
            replies: links & 2 != 0,
            watch: links & 4 != 0,
        }
    }

    fn throttle(&mut self, node: usize, for_ms: u64) -> Action {
        Action::Throttle {
            node,
            for_ms: for_ms * 4,
            pause_ms: self.throttled_pause(),
        }
    }

    /// From an interval of renewals to more than the silence for which a leader is challenged; mostly
    /// what is in between.
    fn throttled_pause(&mut self) -> u64 {
        let percent = self
            .roll()
            .pick(&[100, 140, 155, 165, 175, 185, 192, 220_u64]);
        let interval = match self.plan.settings.pace {
            Timings::Fast => 250,
            Timings::Default => 2_000,
        };
        interval * percent / 100
    }

    fn clock_back(&mut self, node: usize, _: u64) -> Action {
        Action::ClockBack {
            node,
            by_ms: self.roll().within(1, self.lease),
            steps: self.roll().within(1, 20) as u32,
        }
    }

    fn outage(&mut self, _: usize, for_ms: u64) -> Action {
        let answers = self.roll().below(2) == 0;
        Action::Outage { for_ms, answers }
    }

    /// Writes that never arrive, or that arrive without its knowing, for some leases.
    fn zombie(&mut self, node: usize, _: u64) -> Action {
        let requests = self.roll().below(2) == 0;
        Action::NetworkPartition {
            node,
            for_ms: self.roll().within(self.lease * 2, self.lease * 6),
            requests,
            replies: !requests,
            watch: self.roll().below(2) == 0,
        }
    }

    fn slow(&mut self, node: usize, for_ms: u64) -> Action {
        Action::Slow {
            node,
            for_ms: for_ms * 3,
            each_ms: self.roll().within(1, self.request / 4),
        }
    }

    fn slow_store(&mut self, _: usize, for_ms: u64) -> Action {
        Action::SlowStore {
            for_ms: for_ms * 2,
            longest_ms: self.roll().within(100, 5000),
        }
    }

    fn deny(&mut self, _: usize, for_ms: u64) -> Action {
        Action::Deny {
            keys: self.kind(),
            for_ms,
            how: self.denial(),
        }
    }

    fn payload_limit(&mut self, _: usize, for_ms: u64) -> Action {
        let bytes = self.roll().pick(&[0, 50, 200, 500]);
        Action::PayloadLimit { bytes, for_ms }
    }

    fn request(&mut self, node: usize, _: u64) -> Action {
        match self.roll().below(2) {
            0 => Action::Refresh { node },
            _ => Action::Trigger { node },
        }
    }

    fn crash(&mut self, node: usize, down_ms: u64) -> Action {
        let how = self.roll().below(5);
        let effects = self.roll().below(6) as u32;
        Action::Crash {
            node,
            down_ms,
            after_effects: (how >= 3).then_some(effects),
            in_callback: how == 2,
        }
    }

    fn leave(&mut self, node: usize, for_ms: u64) -> Action {
        let hold_ms = self.roll().within(0, self.lease * 3);
        let leave = self
            .roll()
            .pick(&[Leave::Handoff, Leave::Restart { hold_ms }, Leave::Now]);
        let rejoin = self.roll().below(4) > 0;
        if self.roll().below(3) == 0 {
            return self.leave_for_ever(node);
        }
        Action::Stop {
            node,
            leave,
            rejoin_ms: rejoin.then_some(for_ms),
        }
    }

    /// Leaves "until it is back", and never is: then the group's own bound of a hold counts.
    fn leave_for_ever(&mut self, node: usize) -> Action {
        self.plan.settings.max_hold_ms = Some(self.lease * 3);
        let mut nodes = self.plan.nodes.iter();
        Action::Stop {
            node: nodes.position(|node| !node.survives).unwrap_or(node),
            leave: Leave::Restart { hold_ms: u64::MAX },
            rejoin_ms: None,
        }
    }

    fn list(&mut self, _: usize, _: u64) -> Action {
        let first = self.roll().below(20) as u32;
        let count = self.roll().pick(&[0_u32, 1, 8, 20, 60]);
        let kept = self.roll().within(1, u64::from(self.plan.partitions) + 4) as u32;
        let how = self.roll().below(64);
        let count = match how {
            0 => 1_000,
            1..32 => count,
            _ => kept,
        };
        Action::Partitions { first, count }
    }

    fn kind(&mut self) -> KeyKind {
        self.roll().pick(&[
            KeyKind::Head,
            KeyKind::Session,
            KeyKind::Assignment,
            KeyKind::Audit,
            KeyKind::Control,
            KeyKind::Parked,
        ])
    }

    fn denial(&mut self) -> Denial {
        self.roll()
            .pick(&[Denial::Unavailable, Denial::Unknown, Denial::Rejected])
    }

    /// What an external writer does; of one that is only newer, or of any.
    pub(super) fn external_write(&mut self, newer: bool) -> ExternalWrite {
        let worker = self.roll().below(self.plan.nodes.len() as u64 + 2) as u32;
        // Of one worker only one record is damaged: without both nobody can know what it holds.
        let (worker, other) = (worker & !1, worker | 1);
        // Without `head` only wall clocks keep the versions rising.
        let head = match self.honest_clocks {
            true => Target::Head,
            false => Target::Session { worker },
        };
        let slot = self.roll().below(256) as u32;
        let target = self.roll().pick(&[
            head,
            Target::Session { worker },
            Target::Session { worker },
            Target::Assignment { worker: other },
            Target::Assignment { worker: other },
            Target::Audit { slot },
            Target::Control { worker },
            Target::Parked,
        ]);
        let for_ms = self.span() * 2;
        let which = self.roll().below(5);
        if newer {
            return match which {
                0 | 1 => ExternalWrite::Alien { worker, for_ms },
                _ => ExternalWrite::NewerFormat { target },
            };
        }
        match (which, target) {
            // An operator who deletes a living session by hand takes it away without a trace.
            (0, Target::Session { .. }) | (1, _) => ExternalWrite::Damaged { target },
            (0, _) => ExternalWrite::Delete { target },
            (2, _) => ExternalWrite::WrongKind { target },
            (4, _) => ExternalWrite::Vanish {
                target: self.gone(head, other, slot),
            },
            (_, _) => ExternalWrite::Junk {
                count: 1 + slot % 40,
            },
        }
    }

    /// An order for a while, or the withdrawal of one.
    fn order(&mut self, for_ms: u64) -> ExternalWrite {
        let worker = self.roll().below(self.plan.nodes.len() as u64) as u32;
        let verb = self.roll().pick(&[
            OrderVerb::Drain,
            OrderVerb::Cordon,
            OrderVerb::Freeze,
            OrderVerb::StepDown,
            OrderVerb::Evict,
            OrderVerb::Pin,
            OrderVerb::Pin,
        ]);
        if self.roll().below(4) == 0 {
            return ExternalWrite::Withdraw { verb, worker };
        }
        // Now and then it holds to the end, to be judged then. A group that is frozen for ever never serves
        // who joins it.
        let for_ms = match self.roll().below(3) {
            0 if verb != OrderVerb::Freeze => self.lease * 1_000_000,
            _ => 1 + for_ms,
        };
        if verb == OrderVerb::Pin {
            return ExternalWrite::Pin {
                partition: self.roll().below(8) as u32,
                worker,
                once: self.roll().below(2) == 0,
                for_ms,
            };
        }
        ExternalWrite::Order {
            verb,
            worker,
            for_ms,
        }
    }

    /// A key to be removed without a trace. A session goes only with the whole history: its worker gives
    /// up everything then.
    fn gone(&mut self, head: Target, worker: u32, slot: u32) -> Target {
        let head = match head == Target::Head {
            true => head,
            false => Target::Assignment { worker },
        };
        self.roll().pick(&[
            head,
            head,
            Target::Assignment { worker },
            Target::Audit { slot },
            Target::Control { worker },
        ])
    }

    /// One partition fails on one node, another one everywhere, or only one of them.
    pub(super) fn break_handlers(&mut self) {
        let everywhere = self.roll().below(3);
        let hangs_ms = self.roll().pick(&[0, 0, self.lease / 2]);
        for (number, node) in [(0, true), (1, false)] {
            if everywhere == number {
                continue;
            }
            let nodes = self.plan.nodes.len() as u64;
            let node = node.then(|| self.roll().below(nodes) as usize);
            let for_ms = self.span() * 8;
            let for_ms = self.roll().pick(&[None, Some(for_ms)]);
            let partition = self.roll().below(u64::from(self.plan.partitions)) as u32;
            // Early enough for some of it to be seen before the faults end.
            let at_ms = self.roll().below(self.plan.safety_ms / 2);
            let action = Action::BreakHandler {
                node,
                partition,
                for_ms,
                hangs_ms,
            };
            self.plan.actions.push(TimedAction { at_ms, action });
        }
        // A worker that has it already has begun: they come and go, so that it is begun again.
        for _ in 0..self.roll().within(1, 4) {
            let at_ms = self.roll().below(self.plan.safety_ms * 3 / 4);
            let node = self.roll().below(self.plan.nodes.len() as u64) as usize;
            let rejoin_ms = Some(self.span());
            let leave = Leave::Handoff;
            let action = Action::Stop {
                node,
                leave,
                rejoin_ms,
            };
            self.plan.actions.push(TimedAction { at_ms, action });
        }
    }

    /// The source goes away, and one worker after the other dies, mostly the leader.
    pub(super) fn source_down(&mut self) {
        let from = self.roll().below(self.plan.safety_ms / 2);
        let from = self.roll().pick(&[0, from, from]);
        let for_ms = self.roll().within(self.lease * 4, self.plan.safety_ms);
        let action = Action::SourceDown {
            for_ms: Some(for_ms),
        };
        let at_ms = from;
        self.plan.actions.push(TimedAction { at_ms, action });
        let nodes = self.plan.nodes.len();
        for node in 0..nodes {
            let action = Action::Crash {
                node,
                down_ms: self.roll().within(self.lease * 2, self.lease * 6),
                after_effects: None,
                in_callback: false,
            };
            let at_ms = from + self.lease * 2 + self.roll().below(for_ms);
            let at_ms = at_ms.min(self.plan.safety_ms * 9 / 10);
            self.plan.actions.push(TimedAction { at_ms, action });
        }
    }

    /// From the first start on, for longer than two windows, one leader follows the other. The timings
    /// are the default ones: the window of the others is shorter than an election.
    pub(super) fn takeovers(&mut self) {
        const WINDOW: u64 = 30_000;
        let plan = &mut self.plan;
        plan.settings.pace = Timings::Default;
        plan.settings.expected_workers = None;
        plan.safety_ms = plan.safety_ms.max(300_000);
        let first = plan.nodes[0].clone();
        let nodes = plan.nodes.len().max(3);
        plan.nodes.resize(nodes, first);
        plan.settings.pool = plan.settings.pool.max(nodes as u32);
        for node in &mut plan.nodes {
            (node.starts_ms, node.hint) = (0, None);
        }
        let every = self.roll().within(WINDOW / 6, WINDOW * 5 / 6);
        for number in 1..WINDOW * 5 / every {
            let rejoin_ms = self.roll().below(WINDOW / 10);
            let action = Action::ReplaceLeader { rejoin_ms };
            let at_ms = number * every;
            self.plan.actions.push(TimedAction { at_ms, action });
        }
    }

    /// A history that is lost ends whatever was interesting in it, so that it is rarely more than one.
    pub(super) fn histories(&mut self) {
        if !self.honest_clocks {
            // When nobody is left who knows the versions, only wall clocks keep them rising.
            return;
        }
        for _ in 0..self.roll().pick(&[0_u32, 0, 1, 1, 1, 2]) {
            let at_ms = self.roll().below(self.plan.safety_ms * 8 / 10);
            let by_ms = self.span();
            let rolled_back = Loss::RollBack { by_ms };
            let losses = [
                Loss::Delete,
                Loss::Recreate,
                Loss::Wipe,
                rolled_back,
                rolled_back,
            ];
            let loss = self.roll().pick(&losses);
            let outage = self.span();
            let for_ms = self.roll().pick(&[0, 0, outage]);
            let action = Action::LoseHistory { loss, for_ms };
            self.plan.actions.push(TimedAction { at_ms, action });
        }
    }
}
