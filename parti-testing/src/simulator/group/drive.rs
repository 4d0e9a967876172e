//! The driver of a simulated process: calls its core and carries out what it wants.
//!
//! It does what the documentation of [`Effect`] asks of every driver, no more: effects are begun in
//! order, every request is answered exactly once, plans and listings answer later.

use core::time::Duration;
use std::panic::{AssertUnwindSafe, catch_unwind};

use parti_core::{Boot, Core, Effect, Event, Formats, Instant, Notice, StoreOp};

mod describe;
mod tell;
mod user;

use describe::{brief, describe};
use tell::{Shown, created};

use crate::simulator::checks::{Assigned, Fact, Process, StepEnd};
use crate::simulator::group::clock::Clock;
use crate::simulator::group::node::{Holding, Input, Running};
use crate::simulator::group::panics;
use crate::simulator::group::queue::Item;
use crate::simulator::group::world::World;
use crate::simulator::plans::dice::Purpose;

/// The wall clock at the beginning of a run, in milliseconds since 1970.
const WALL_MS: u64 = 1_700_000_000_000;
/// What is not remembered of writes with an unknown outcome beyond this.
const UNKNOWN_KEPT: usize = 16;
/// How far behind a slow process falls at most.
pub(in crate::simulator) const MOST_BUSY: Duration = Duration::from_secs(3);

/// What a step came to.
#[derive(Clone, Copy, Default)]
struct Done {
    effects: usize,
    /// The deadline of the session afterwards.
    deadline: Option<Instant>,
}

/// Why a step did not end as usual.
enum StepFailure {
    /// The core panicked, in words.
    Panic(String),
    /// The process died on the way.
    Death,
}

impl World<'_> {
    pub(in crate::simulator) fn start(&mut self, node: usize) {
        let (now, dice) = (self.now, self.dice);
        let prepares = self.prepares();
        let at = &mut self.nodes[node];
        if at.running.is_some() || at.retired {
            return;
        }
        at.runs += 1;
        let process = Process {
            node: node as u16,
            run: at.runs,
        };
        let plan = &self.plan.nodes[node];
        let image = plan.twin_of.unwrap_or(node) as u64;
        let key = (image << 16) | u64::from(process.run);
        let origin = dice.roll(Purpose::Origin, key, 0);
        let origin = if self.plan.settings.old_clocks {
            (1 << 62) + origin.within(0, 1 << 60)
        } else if origin.ppm(500_000) {
            // As in the shipped driver: what the group has waited for began before the clock.
            0
        } else {
            origin.again().within(1_000_000_000, 1 << 50)
        };
        let clock = Clock::new(now, Instant::from_nanos(origin), at.drift_ppm);
        let seed = dice.roll(Purpose::Boot, key, 0);
        let seed = (u128::from(seed.bits()) << 64) | u128::from(seed.again().bits());
        let wall_ms = WALL_MS + now.as_nanos() / 1_000_000;
        if plan.wall_skew_ms != 0 {
            self.judge.situations.count("wall_clock_off");
        }
        if plan.twin_of.is_some() {
            self.judge.situations.count("twin_started");
        }
        let boot = Boot {
            now: clock.local(now),
            wall_ms: wall_ms.saturating_add_signed(plan.wall_skew_ms),
            // Seeds must differ; a single bit has to be enough.
            seed: seed ^ u128::from(plan.twin_of.is_some()),
            strategy: self.strategy.id(),
            software: "sim/1".to_owned(),
            endpoint: None,
            prepares,
        };
        let mut config = at.config.clone();
        if plan.releases.is_next(process.run) {
            self.judge.situations.count("next_release_started");
            config = config.with_formats(Formats::NEXT_RELEASE);
        }
        at.running = Some(Running {
            process,
            core: Core::new(config, boot),
            clock,
            wake: None,
            armed: None,
            watches: Default::default(),
            held: Default::default(),
            until: Instant::ORIGIN,
            leaving: None,
            answers_for: None,
            dies_after: None,
            dies_in_callback: false,
            step_back: None,
            latest: Instant::ORIGIN,
            inbox: Default::default(),
            shown: Default::default(),
            unknown: Vec::new(),
            steps: 0,
            exited: false,
        });
        self.judge.observe(now, &Fact::Began { process });
        self.step(process, Input::Event(Event::Start));
    }

    pub(in crate::simulator) fn wake(&mut self, process: Process) {
        let now = self.now;
        let Some(running) = self.nodes[usize::from(process.node)].process(process) else {
            return;
        };
        if running.armed != Some(now) {
            return;
        }
        running.armed = None;
        let local = running.clock.local(now);
        match running.wake {
            Some(wake) if wake.at <= local => self.input(process, Input::Timeout),
            Some(_) => self.arm(process),
            None => {}
        }
    }

    pub(in crate::simulator) fn deliver(&mut self, process: Process, event: Event) {
        self.input(process, Input::Event(event));
    }

    /// Passes something to a process, or keeps it while the process is paused or busy.
    pub(in crate::simulator) fn input(&mut self, process: Process, input: Input) {
        let now = self.now;
        let node = &mut self.nodes[usize::from(process.node)];
        if let Some(slow) = &mut node.slow
            && (now < slow.until || now < slow.busy_until)
        {
            // Everything waits its turn, but nothing for ever.
            let longest = (now + MOST_BUSY).max(slow.busy_until);
            slow.busy_until = (slow.busy_until.max(now) + slow.each).min(longest);
            let at = slow.busy_until;
            self.queue.push(at, Item::Turn { process, input });
            return;
        }
        self.turn(process, input);
    }

    /// Passes something to a process, or keeps it while the process is paused.
    pub(in crate::simulator) fn turn(&mut self, process: Process, input: Input) {
        let now = self.now;
        let node = &mut self.nodes[usize::from(process.node)];
        let paused = node.is_paused(now);
        let Some(running) = node.process(process) else {
            return;
        };
        if paused {
            running.inbox.push_back(input);
        } else {
            self.step(process, input);
        }
    }

    pub(in crate::simulator) fn resume(&mut self, node: usize) {
        if self.nodes[node].is_paused(self.now) {
            return;
        }
        // When the faults end, a suspend may end before its time.
        let early = self.nodes[node].suspended_until.since(self.now);
        let suspended = core::mem::take(&mut self.nodes[node].suspended).saturating_sub(early);
        let Some(running) = &mut self.nodes[node].running else {
            return;
        };
        let process = running.process;
        running.clock.stood_still(suspended);
        let inbox = core::mem::take(&mut running.inbox);
        if !suspended.is_zero() {
            // The driver compares its clocks before it does anything else.
            self.judge.situations.count("clock_stood_still");
            running.armed = None;
            // A wall clock that is right again tells how long it was; there may be none.
            let by = suspended.as_millis().is_multiple_of(2).then_some(suspended);
            if by.is_some() {
                self.judge.situations.count("clock_jump_of_known_length");
            }
            self.step(process, Input::Event(Event::ClockJumped { by }));
        }
        for input in inbox {
            self.step(process, input);
        }
    }

    /// What the clock of a process shows, which may be too early for a few steps. What comes from
    /// the store is dated rightly: dated too early, it would count as silent too soon.
    fn look_at_clock(&mut self, process: Process, dates_nothing: bool) -> Option<Instant> {
        let now = self.now;
        let running = self.nodes[usize::from(process.node)].process(process)?;
        let local = running.clock.local(now);
        let Some((steps, by)) = running.step_back.filter(|_| dates_nothing) else {
            return Some(local);
        };
        running.step_back = (steps > 1).then_some((steps - 1, by));
        self.judge.situations.count("clock_went_back");
        Some(local.saturating_sub(by))
    }

    fn step(&mut self, process: Process, input: Input) {
        let (now, node) = (self.now, usize::from(process.node));
        let dates_nothing = match &input {
            Input::Timeout | Input::Released(_) => true,
            Input::Event(event) => !matches!(event, Event::Store { .. } | Event::Watch { .. }),
        };
        let Some(local) = self.look_at_clock(process, dates_nothing) else {
            return;
        };
        let Some(running) = self.nodes[node].process(process) else {
            return;
        };
        running.steps += 1;
        // A core whose clock goes back stays at the latest time it was told, and is judged by that.
        let judged = local.max(running.latest);
        running.latest = judged;
        if let Input::Released(grants) = &input {
            for grant in grants {
                running.held.remove(&grant.partition);
            }
            let grants = grants.clone();
            self.judge.observe(now, &Fact::Released { process, grants });
        }
        self.judge.line(now, || describe(process, &input));
        let step = Fact::Step {
            process,
            local: judged,
            created: created(&input),
        };
        self.judge.observe(now, &step);
        self.tell_heard(process, judged, &input);
        let stale = self.show(process, &input) == Shown::Old;
        match self.call(process, (local, judged), input) {
            Ok(done) => {
                if stale && done.effects == 0 {
                    self.judge.situations.count("stale_event_ignored");
                }
                self.settle(process, judged, done);
            }
            Err(StepFailure::Panic(message)) => {
                self.judge
                    .observe(now, &Fact::Panicked { process, message });
            }
            Err(StepFailure::Death) => self.crash(node, Duration::from_secs(1)),
        }
    }

    /// Calls the core and carries out its effects.
    fn call(
        &mut self,
        process: Process,
        (local, judged): (Instant, Instant),
        input: Input,
    ) -> Result<Done, StepFailure> {
        let node = usize::from(process.node);
        let Some(running) = self.nodes[node].process(process) else {
            return Ok(Done::default());
        };
        let core = &mut running.core;
        let (effects, wake) = catch_unwind(AssertUnwindSafe(|| {
            panics::quiet(|| {
                match input {
                    Input::Event(event) => core.handle(local, event),
                    Input::Released(grants) => core.handle(local, Event::Released { grants }),
                    Input::Timeout => core.handle_timeout(local),
                }
                let effects: Vec<_> = core::iter::from_fn(|| core.poll_effect()).collect();
                (effects, core.poll_timeout())
            })
        }))
        .map_err(|payload| StepFailure::Panic(panics::message(payload.as_ref())))?;
        running.wake = wake;
        let deadline = running.core.deadline();
        let dies_after = running.dies_after.take().map(|after| after as usize);
        let count = effects.len();
        for (index, effect) in effects.into_iter().enumerate() {
            if dies_after == Some(index) {
                return Err(StepFailure::Death);
            }
            self.carry_out(process, judged, deadline, effect);
        }
        if dies_after.is_some_and(|after| after >= count) {
            return Err(StepFailure::Death);
        }
        Ok(Done {
            effects: count,
            deadline,
        })
    }

    fn settle(&mut self, process: Process, local: Instant, done: Done) {
        let (now, node) = (self.now, usize::from(process.node));
        let Some(running) = self.nodes[node].process(process) else {
            return;
        };
        let Done { effects, deadline } = done;
        let until = deadline.map(|deadline| running.clock.true_time(deadline));
        running.until = until.unwrap_or(Instant::ORIGIN);
        let wake = running.wake;
        let steps = running.steps;
        // A look at the core costs more than most steps; those without effects change little.
        let worth = effects > 0 || steps % 16 == 0;
        let status = worth.then(|| Box::new(running.core.status()));
        let fact = Fact::Settled {
            process,
            end: StepEnd {
                local,
                deadline,
                until,
                wake,
                effects,
                status,
            },
        };
        self.judge.observe(now, &fact);
        if self.nodes[node]
            .process(process)
            .is_some_and(|running| running.exited)
        {
            self.exit(node);
            return;
        }
        self.arm(process);
        let roll = self.dice.roll(Purpose::Spurious, node as u64, steps);
        if roll.ppm(self.faults.spurious_wake_ppm) {
            let at = now
                + roll
                    .again()
                    .duration(self.nodes[node].config.heartbeat_interval());
            self.queue.push(at, Item::Nudge { process });
        }
    }

    fn carry_out(
        &mut self,
        process: Process,
        local: Instant,
        deadline: Option<Instant>,
        effect: Effect,
    ) {
        let (now, node) = (self.now, usize::from(process.node));
        match effect {
            Effect::Store { op, request } => {
                self.judge.line(now, || {
                    Some(format!("{process} asks {op} {}", brief(&request)))
                });
                self.judge.observe(now, &Fact::Request { process });
                if let StoreOp::Commit { writes } = &request {
                    self.tell_commit(process, local, op.owner(), writes);
                }
                self.send(process, op, request);
            }
            Effect::Watch { id, scope } => {
                self.judge
                    .line(now, || Some(format!("{process} watches {id} {scope:?}")));
                self.judge.observe(now, &Fact::Request { process });
                self.watch(process, id, scope);
            }
            Effect::Unwatch { id } => {
                if let Some(running) = self.nodes[node].process(process) {
                    running.watches.remove(&id);
                }
            }
            Effect::Answer { session } => self.answer_probes(process, session),
            Effect::Probe { probe, within } => self.probe(process, probe, within),
            Effect::ListPartitions { op } => self.list_partitions(process, op),
            Effect::Plan { op, input } => self.compute_plan(process, local, op, input),
            Effect::Revoke { grants, cause } => self.revoke(process, grants, cause),
            Effect::Prepare { preparations } => self.get_ready(process, preparations),
            Effect::Withdraw { preparations } => self.withdraw(process, preparations),
            Effect::Assign { grants } => {
                if let Some(running) = self.nodes[node].process(process) {
                    let held = grants
                        .iter()
                        .map(|g| (g.partition.clone(), Holding::Assigned));
                    running.held.extend(held);
                }
                self.begin_processing(process, &grants);
                let assigned = Assigned {
                    grants,
                    local,
                    deadline,
                };
                let assigned = Fact::Assign { process, assigned };
                self.judge.observe(now, &assigned);
            }
            Effect::Notify(notice) => {
                if matches!(notice, Notice::Stopped { .. } | Notice::StartFailed(_))
                    && let Some(running) = self.nodes[node].process(process)
                {
                    running.exited = true;
                }
                if matches!(notice, Notice::LeaseLost { .. })
                    && self.nodes[node].has_slept_through(now)
                {
                    self.judge.situations.count("lease_lost_in_pause");
                }
                self.judge.observe(now, &Fact::Notice { process, notice });
            }
        }
    }

    /// Remembers that a write happened though the process was told that nobody knows.
    pub(in crate::simulator) fn remember_unknown(
        &mut self,
        process: Process,
        revisions: &[parti_core::Revision],
    ) {
        if let Some(running) = self.nodes[usize::from(process.node)].process(process) {
            running.unknown.extend(revisions);
            let excess = running.unknown.len().saturating_sub(UNKNOWN_KEPT);
            running.unknown.drain(..excess);
        }
    }
}
