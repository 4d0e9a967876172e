//! The driver of a simulated process: calls its core and carries out what it wants.
//!
//! It does what the documentation of [`Effect`] asks of every driver, no more: effects are begun in
//! order, every request is answered exactly once, plans and listings answer later.

use core::time::Duration;
use std::panic::{AssertUnwindSafe, catch_unwind};

use parti_core::{
    AssignmentStrategy, Boot, Core, Effect, Event, Grant, Instant, Notice, OpId, PlanInput,
    RevokeCause, SourceError,
};

use super::clock::Clock;
use super::dice::Purpose;
use super::node::{Holding, Input, Running};
use super::panics;
use super::queue::Item;
use super::world::World;
use crate::checks::{Fact, Process};

/// The wall clock at the beginning of a run, in milliseconds since 1970.
const WALL_MS: u64 = 1_700_000_000_000;
/// What is not remembered of writes with an unknown outcome beyond this.
const UNKNOWN_KEPT: usize = 16;

/// What a step came to.
#[derive(Clone, Copy, Default)]
struct Done {
    effects: usize,
    /// The deadline of the session afterwards.
    deadline: Option<Instant>,
}

/// Why a step did not end as usual.
enum Cut {
    /// The core panicked, in words.
    Panic(String),
    /// The process died on the way.
    Death,
}

impl World<'_> {
    pub(super) fn start(&mut self, node: usize) {
        let (now, dice) = (self.now, self.dice);
        let at = &mut self.nodes[node];
        if at.running.is_some() || at.retired {
            return;
        }
        at.runs += 1;
        let process = Process {
            node: node as u16,
            run: at.runs,
        };
        let key = (u64::from(process.node) << 16) | u64::from(process.run);
        let origin = dice
            .roll(Purpose::Origin, key, 0)
            .within(1_000_000_000, 1 << 50);
        let clock = Clock::new(now, Instant::from_nanos(origin), at.drift_ppm);
        let seed = dice.roll(Purpose::Boot, key, 0);
        let boot = Boot {
            now: clock.local(now),
            wall_ms: WALL_MS + now.as_nanos() / 1_000_000,
            seed: (u128::from(seed.bits()) << 64) | u128::from(seed.again().bits()),
            strategy: self.strategy.id(),
            software: "sim/1".to_owned(),
        };
        at.running = Some(Running {
            process,
            core: Core::new(at.config.clone(), boot),
            clock,
            wake: None,
            armed: None,
            watches: Default::default(),
            held: Default::default(),
            until: Instant::ORIGIN,
            leaving: None,
            dies_after: None,
            inbox: Default::default(),
            unknown: Vec::new(),
            steps: 0,
            exited: false,
        });
        self.judge.observe(now, &Fact::Began { process });
        self.step(process, Input::Event(Event::Start));
    }

    pub(super) fn wake(&mut self, process: Process) {
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

    pub(super) fn deliver(&mut self, process: Process, event: Event) {
        self.input(process, Input::Event(event));
    }

    /// Passes something to a process, or keeps it while the process is paused.
    pub(super) fn input(&mut self, process: Process, input: Input) {
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

    pub(super) fn resume(&mut self, node: usize) {
        if self.nodes[node].is_paused(self.now) {
            return;
        }
        let Some(running) = &mut self.nodes[node].running else {
            return;
        };
        let process = running.process;
        for input in core::mem::take(&mut running.inbox) {
            self.step(process, input);
        }
    }

    fn step(&mut self, process: Process, input: Input) {
        let (now, node) = (self.now, usize::from(process.node));
        let Some(running) = self.nodes[node].process(process) else {
            return;
        };
        running.steps += 1;
        let local = running.clock.local(now);
        if let Input::Released(grants) = &input {
            for grant in grants {
                running.held.remove(&grant.partition);
            }
            let grants = grants.clone();
            self.judge.observe(now, &Fact::Released { process, grants });
        }
        self.judge.line(now, || describe(process, &input));
        self.judge.observe(now, &Fact::Step { process, local });
        match self.call(process, local, input) {
            Ok(done) => self.settle(process, local, done),
            Err(Cut::Panic(message)) => {
                self.judge
                    .observe(now, &Fact::Panicked { process, message });
            }
            Err(Cut::Death) => self.crash(node, Duration::from_secs(1)),
        }
    }

    /// Calls the core and carries out its effects.
    fn call(&mut self, process: Process, local: Instant, input: Input) -> Result<Done, Cut> {
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
        .map_err(|payload| Cut::Panic(panics::message(payload.as_ref())))?;
        running.wake = wake;
        let deadline = running.core.deadline();
        let dies_after = running.dies_after.take().map(|after| after as usize);
        let count = effects.len();
        for (index, effect) in effects.into_iter().enumerate() {
            if dies_after == Some(index) {
                return Err(Cut::Death);
            }
            self.carry_out(process, local, deadline, effect);
        }
        if dies_after.is_some_and(|after| after >= count) {
            return Err(Cut::Death);
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
        let fact = Fact::Settled {
            process,
            local,
            deadline,
            until,
            wake,
            effects,
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
            Effect::ListPartitions { op } => self.list_partitions(process, op),
            Effect::Plan { op, input } => self.compute_plan(process, op, &input),
            Effect::Revoke { grants, cause } => self.revoke(process, grants, cause),
            Effect::Assign { grants } => {
                if let Some(running) = self.nodes[node].process(process) {
                    let held = grants
                        .iter()
                        .map(|g| (g.partition.clone(), Holding::Assigned));
                    running.held.extend(held);
                }
                self.judge.observe(
                    now,
                    &Fact::Assign {
                        process,
                        grants,
                        local,
                        deadline,
                    },
                );
            }
            Effect::Notify(notice) => {
                if matches!(notice, Notice::Stopped { .. } | Notice::StartFailed(_))
                    && let Some(running) = self.nodes[node].process(process)
                {
                    running.exited = true;
                }
                self.judge.observe(now, &Fact::Notice { process, notice });
            }
        }
    }

    fn list_partitions(&mut self, process: Process, op: OpId) {
        let node = usize::from(process.node);
        let number = self.nodes[node].next_message();
        let roll = self.dice.roll(Purpose::Source, node as u64, number);
        let result = if roll.ppm(self.faults.source_fail_ppm) {
            Err(SourceError::Unavailable("simulated".to_owned()))
        } else {
            Ok(self.list.clone())
        };
        let at = self.now + roll.again().exponential(Duration::from_millis(1));
        self.queue.push(
            at,
            Item::Deliver {
                process,
                event: Event::Partitions { op, result },
            },
        );
    }

    fn compute_plan(&mut self, process: Process, op: OpId, input: &PlanInput) {
        let result = self.strategy.plan(input);
        let at = self.now + Duration::from_micros(50);
        self.queue.push(
            at,
            Item::Deliver {
                process,
                event: Event::Planned { op, result },
            },
        );
    }

    /// Begins the callbacks; quick ones end together, slow ones each at its own time.
    fn revoke(&mut self, process: Process, grants: Vec<Grant>, cause: RevokeCause) {
        let (now, node) = (self.now, usize::from(process.node));
        let number = self.nodes[node].next_message();
        let roll = self.dice.roll(Purpose::Callback, node as u64, number);
        let slow_ppm = self.faults.callback_slow_ppm;
        let longest = Duration::from_millis(self.faults.callback_ms);
        if let Some(running) = self.nodes[node].process(process) {
            let held = grants
                .iter()
                .map(|g| (g.partition.clone(), Holding::Revoking));
            running.held.extend(held);
        }
        let mut quick = Vec::new();
        let mut each = roll;
        for grant in &grants {
            each = each.again();
            if each.ppm(slow_ppm) {
                let at = now + each.again().duration(longest);
                self.queue.push(
                    at,
                    Item::Release {
                        process,
                        grants: vec![grant.clone()],
                    },
                );
            } else {
                quick.push(grant.clone());
            }
        }
        self.judge.observe(
            now,
            &Fact::Revoke {
                process,
                grants,
                cause,
            },
        );
        if !quick.is_empty() {
            let at = now + roll.exponential(Duration::from_millis(1));
            self.queue.push(
                at,
                Item::Release {
                    process,
                    grants: quick,
                },
            );
        }
    }

    /// Remembers that a write happened though the process was told that nobody knows.
    pub(super) fn remember_unknown(
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

fn describe(process: Process, input: &Input) -> Option<String> {
    match input {
        Input::Event(event) => Some(format!("{process} <- {}", brief_event(event))),
        Input::Timeout => Some(format!("{process} <- time")),
        Input::Released(_) => None,
    }
}

fn brief_event(event: &Event) -> String {
    use parti_core::{StoreReply, WatchEvent};
    match event {
        Event::Store {
            op,
            result: Ok(StoreReply::Entry(entry)),
        } => match entry {
            Some(entry) => format!("{op}: {}@{}", entry.key, entry.revision),
            None => format!("{op}: no entry"),
        },
        Event::Store {
            op,
            result:
                Ok(StoreReply::Entries {
                    entries,
                    last_revision,
                }),
        } => {
            let keys: Vec<_> = entries
                .iter()
                .map(|entry| format!("{}@{}", entry.key, entry.revision))
                .collect();
            format!("{op}: up to {last_revision}: {}", keys.join(" "))
        }
        Event::Store {
            op,
            result: Ok(StoreReply::Committed { revisions }),
        } => {
            let revisions: Vec<_> = revisions.iter().map(|revision| revision.get()).collect();
            format!("{op}: committed at {revisions:?}")
        }
        Event::Store { op, result } => format!("{op}: {result:?}"),
        Event::Watch {
            id,
            event: WatchEvent::Entry(entry),
        } => {
            let gone = if entry.value.is_none() {
                " deleted"
            } else {
                ""
            };
            format!("{id}: {}@{}{gone}", entry.key, entry.revision)
        }
        Event::Partitions {
            result: Ok(list), ..
        } => format!("{} partitions", list.len()),
        Event::Planned { .. } => "a plan".to_owned(),
        Event::Watch { .. }
        | Event::Partitions { .. }
        | Event::Start
        | Event::Released { .. }
        | Event::SourceChanged
        | Event::Refresh { .. }
        | Event::Trigger { .. }
        | Event::ClockJumped
        | Event::Stop { .. } => format!("{event:?}"),
    }
}

fn brief(request: &parti_core::StoreOp) -> String {
    use parti_core::StoreOp;
    match request {
        StoreOp::Commit { writes } => {
            let writes: Vec<_> = writes
                .iter()
                .map(|write| format!("{} if {:?}", write.key, write.expect))
                .collect();
            format!("commit {}", writes.join(", "))
        }
        StoreOp::Get { .. } | StoreOp::List { .. } | StoreOp::Info | StoreOp::Create => {
            format!("{request:?}")
        }
    }
}
