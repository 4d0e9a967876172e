//! Where handlers meet the simulated world: callbacks in, requests out, everything timed and judged.
//!
//! It is separate from the tasks, which know no time, and from the world, which knows no handlers. What
//! always holds: nothing of a process runs here after its end; its requests on the way still arrive.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use parti_core::callbacks::Limits;
use parti_core::{Event, Grant, Instant, Mode, PartitionKey, Preparation, RevokeCause};

use super::App;
use super::callbacks::Callbacks;
use super::checks::{self, Found, OwnChecks};
use super::guard::SimGuard;
use super::resource::{FencedResource, Reply, Request};
use super::tasks::{Ask, Shared, Tasks};
use crate::simulator::checks::Process;
use crate::simulator::group::clock::Clock;
use crate::simulator::group::world::Handlers;
use crate::simulator::plans::dice::{Dice, Purpose, scramble};
use crate::simulator::plans::plan::Faults;

/// Tells the randomness of handlers from that of the library.
const SALT: u64 = 0x7573_6572_2068_616e;

/// Makes the handler of a process.
pub(in super::super) type Factory<'a> = &'a dyn Fn(Process) -> Rc<dyn App>;

/// What a run with handlers needs beside its plan.
#[derive(Clone, Copy)]
pub(in super::super) struct Setup<'a> {
    pub(in super::super) factory: Factory<'a>,
    pub(in super::super) resources: &'a [FencedResource],
    pub(in super::super) progress: bool,
    pub(in super::super) seed: u64,
    pub(in super::super) mode: Mode,
    pub(in super::super) traced: bool,
    /// Of callbacks; the drain time is that of the node.
    pub(in super::super) limits: Limits,
}

/// Something that happens to a process of a handler.
#[derive(Clone, Debug)]
pub(in super::super) enum AppEvent {
    /// There are tasks to run.
    Run,
    /// A sleep may be over.
    Woke { number: u64, until: Instant },
    /// What was asked for is answered.
    Answered { number: u64, reply: Reply },
    /// A deadline of the callback scheduler has come.
    Due { deadline: Instant },
}

/// A request that reaches its resource.
#[derive(Clone, Debug)]
pub(in super::super) struct Call {
    process: Process,
    number: u64,
    request: Request,
    answer_by: Instant,
}

/// What a process is like when something happens to it.
#[derive(Clone, Copy)]
pub(in super::super) struct Moment<'a> {
    pub(in super::super) now: Instant,
    pub(in super::super) clock: Clock,
    /// The true end of its lease.
    pub(in super::super) until: Instant,
    pub(in super::super) request_timeout: Duration,
    pub(in super::super) faults: &'a Faults,
    /// What handlers cannot begin with.
    pub(in super::super) handlers: &'a Handlers,
}

impl Moment<'_> {
    pub(super) fn local(&self) -> Instant {
        self.clock.local(self.now)
    }

    pub(super) fn lease_lasts(&self) -> bool {
        self.now < self.until
    }

    /// How long it takes to fail to begin with a partition here, if it fails.
    pub(super) fn broken(&self, process: Process, key: &PartitionKey) -> Option<Duration> {
        let node = usize::from(process.node);
        self.handlers.failing(self.now, node, key)
    }

    fn after(&self, local: Duration) -> Instant {
        self.clock.true_time(self.local() + local).max(self.now)
    }
}

/// What is to be done in the world.
#[derive(Debug, Default)]
pub(in super::super) struct Out {
    pub(in super::super) events: Vec<(Instant, Process, AppEvent)>,
    pub(in super::super) calls: Vec<(Instant, Call)>,
    pub(in super::super) released: Vec<(Process, Grant)>,
    /// What cores are told of their handlers.
    pub(in super::super) told: Vec<(Process, Event)>,
    pub(in super::super) found: Vec<(&'static str, String)>,
    /// Kept only if there is a trace.
    pub(in super::super) lines: Vec<String>,
    pub(in super::super) digest: u64,
}

/// All handlers of a run and what they write to.
pub(in super::super) struct Apps<'a> {
    setup: Setup<'a>,
    pub(super) dice: Dice,
    pub(super) hosts: BTreeMap<Process, Host>,
    pub(in super::super) resources: Vec<FencedResource>,
    pub(super) checks: OwnChecks,
    pub(in super::super) out: Out,
    /// Partitions of which a core was told that they cannot be begun.
    pub(in super::super) failing: BTreeSet<PartitionKey>,
    /// Requests so far, by sender: the number that keys their fate.
    sent: BTreeMap<Process, u64>,
    /// When the last request of a process reached a resource, since they do not overtake each other.
    arrivals: BTreeMap<(Process, String), Instant>,
}

/// The handler of one process.
pub(super) struct Host {
    pub(super) app: Rc<dyn App>,
    pub(super) shared: Rc<Shared>,
    pub(super) tasks: Tasks,
    pub(super) callbacks: Callbacks,
}

impl<'a> Apps<'a> {
    pub(in super::super) fn new(setup: Setup<'a>) -> Self {
        Self {
            setup,
            dice: Dice::new(scramble(setup.seed ^ SALT)),
            hosts: BTreeMap::new(),
            resources: setup.resources.to_vec(),
            checks: OwnChecks::new(setup.mode),
            out: Out::default(),
            failing: BTreeSet::new(),
            sent: BTreeMap::new(),
            arrivals: BTreeMap::new(),
        }
    }

    pub(in super::super) fn begin(&mut self, process: Process, drain: Duration) {
        let limits = Limits {
            drain,
            ..self.setup.limits
        };
        let host = Host {
            app: (self.setup.factory)(process),
            shared: Shared::new(process, self.dice),
            tasks: Tasks::new(),
            callbacks: Callbacks::new(limits),
        };
        self.hosts.insert(process, host);
    }

    pub(in super::super) fn end(&mut self, process: Process) {
        self.hosts.remove(&process);
        self.checks.forget(process);
    }

    /// Whether the handlers prepare for partitions.
    pub(in super::super) fn prepares(&self, process: Process) -> bool {
        (self.setup.factory)(process).prepares()
    }

    pub(in super::super) fn prepare(
        &mut self,
        at: &Moment<'_>,
        process: Process,
        preparations: Vec<Preparation>,
    ) {
        if let Some(host) = self.hosts.get_mut(&process) {
            for preparation in preparations {
                host.callbacks.scheduler.prepare(at.local(), preparation);
            }
        }
        self.follow(at, process);
    }

    pub(in super::super) fn withdraw(
        &mut self,
        at: &Moment<'_>,
        process: Process,
        preparations: &[Preparation],
    ) {
        if let Some(host) = self.hosts.get_mut(&process) {
            for preparation in preparations {
                host.callbacks.scheduler.withdraw(preparation);
            }
        }
        self.follow(at, process);
    }

    pub(in super::super) fn assign(&mut self, at: &Moment<'_>, process: Process, grant: Grant) {
        let Some(host) = self.hosts.get_mut(&process) else {
            return;
        };
        let guard = SimGuard::new(grant, Rc::clone(&host.shared));
        self.checks
            .assigned(process, guard.partition(), guard.token());
        let scheduler = &mut host.callbacks.scheduler;
        scheduler.assign(at.local(), guard.grant().clone(), guard);
        self.follow(at, process);
        self.soon(at, process);
    }

    pub(in super::super) fn revoke(
        &mut self,
        at: &Moment<'_>,
        process: Process,
        grant: Grant,
        cause: RevokeCause,
    ) {
        let Some(host) = self.hosts.get_mut(&process) else {
            return;
        };
        let scheduler = &mut host.callbacks.scheduler;
        scheduler.revoke(at.local(), grant, cause);
        self.follow(at, process);
        self.soon(at, process);
    }

    pub(in super::super) fn event(&mut self, at: &Moment<'_>, process: Process, event: AppEvent) {
        let Some(host) = self.hosts.get_mut(&process) else {
            return;
        };
        match event {
            AppEvent::Run => {}
            AppEvent::Woke { number, until } if at.clock.local(at.now) >= until => {
                host.shared.answer(number, Reply::Nothing);
            }
            // The clock stood still meanwhile.
            AppEvent::Woke { number, until } => self.sleep(at, process, number, until),
            AppEvent::Answered { number, reply } => host.shared.answer(number, reply),
            AppEvent::Due { deadline } => host.callbacks.disarm(deadline),
        }
        self.run(at, process);
    }

    /// The core of a process has taken a step: there may be a lease again.
    pub(in super::super) fn stepped(&mut self, at: &Moment<'_>, process: Process) {
        if !at.lease_lasts() {
            if let Some(host) = self.hosts.get_mut(&process) {
                host.callbacks.scheduler.end_lease();
            }
            self.follow(at, process);
        }
        let host = self.hosts.get(&process);
        if host.is_some_and(|host| host.callbacks.may_go_on(at.lease_lasts())) {
            self.soon(at, process);
        }
    }

    /// A request reaches its resource, whether or not its sender still runs.
    pub(in super::super) fn arrive(&mut self, now: Instant, call: Call, faults: &Faults) {
        let Call {
            process,
            number,
            request,
            answer_by,
        } = call;
        let Some(resource) = self
            .resources
            .iter_mut()
            .find(|r| r.name() == request.resource)
        else {
            let reason = format!("the scenario has no resource {:?}", request.resource);
            self.find(Some((checks::CLAIM, reason)));
            return;
        };
        let reply = resource.execute(now, process, &request);
        self.line(|| format!("{request} of {process}: {reply}"));
        self.fold(now.as_nanos() ^ request.token.get());
        let found = self.checks.answered(process, &request, reply);
        self.find(found);
        let roll = self
            .dice
            .roll(Purpose::ReplyDelay, u64::from(process.node), number);
        let drop = self
            .dice
            .roll(Purpose::ReplyDrop, u64::from(process.node), number);
        let at = now + roll.exponential(Duration::from_micros(faults.delay_mean_us));
        if at < answer_by && !drop.ppm(faults.drop_reply_ppm) {
            let answered = AppEvent::Answered { number, reply };
            self.out.events.push((at, process, answered));
        }
    }

    /// The group has settled: what is told and what is believed must agree, and from now on work is
    /// counted.
    pub(in super::super) fn due(&mut self) {
        self.compare();
        self.checks.calm();
    }

    /// The calm is over.
    pub(in super::super) fn over(&mut self, holders: &BTreeMap<PartitionKey, Process>) {
        self.compare();
        if self.setup.progress {
            // What cannot be begun is not worked on, wherever it is.
            let mut holders = holders.clone();
            holders.retain(|key, _| !self.failing.contains(key));
            let found = self.checks.progress(&holders);
            self.find(found);
        }
    }

    fn compare(&mut self) {
        let says = |host: &Host| host.app.holding();
        let found: Vec<Found> = self
            .hosts
            .iter()
            .filter_map(|(process, host)| {
                says(host).map(|says| {
                    checks::notified(*process, &says, host.callbacks.scheduler.partitions())
                })
            })
            .collect();
        found.into_iter().for_each(|found| self.find(found));
    }

    fn soon(&mut self, at: &Moment<'_>, process: Process) {
        self.out.events.push((at.now, process, AppEvent::Run));
    }

    /// Runs the tasks of a process until none can go on and no callback is to begin.
    fn run(&mut self, at: &Moment<'_>, process: Process) {
        loop {
            self.schedule(at, process);
            let Some(host) = self.hosts.get_mut(&process) else {
                return;
            };
            host.shared.local.set(at.local());
            host.shared.lease.set((at.now, at.until));
            let ran = host.tasks.run(&host.shared);
            for ask in ran.asks {
                self.ask(at, process, ask);
            }
            if let Some(message) = &ran.panicked {
                self.find(Some((checks::PANIC, format!("{process}: {message}"))));
            }
            if ran.spins {
                let reason = format!("{process} goes on and on without time passing");
                self.find(Some((checks::SPIN, reason)));
                return;
            }
            if ran.finished.is_empty() {
                return;
            }
            // The end of a callback may begin the next one.
            for task in ran.finished {
                self.finish(at, process, task, ran.panicked.as_ref());
            }
        }
    }

    fn ask(&mut self, at: &Moment<'_>, process: Process, ask: Ask) {
        match ask {
            Ask::Sleep { number, until } => self.sleep(at, process, number, until),
            Ask::Request { number, request } => self.send(at, process, number, request),
            Ask::Fail { reason } => self.find(Some((checks::CLAIM, reason))),
        }
    }

    fn sleep(&mut self, at: &Moment<'_>, process: Process, number: u64, until: Instant) {
        let key = self.number(process);
        let roll = self.dice.roll(Purpose::Timer, u64::from(process.node), key);
        let late = Duration::from_micros(at.faults.timer_late_mean_us);
        let late = if late.is_zero() {
            late
        } else {
            roll.exponential(late)
        };
        let over = at.clock.true_time(until).max(at.now) + late;
        let woke = AppEvent::Woke { number, until };
        self.out.events.push((over, process, woke));
    }

    fn send(&mut self, at: &Moment<'_>, process: Process, number: u64, request: Request) {
        self.line(|| format!("{process} sends {request}"));
        let found = self.checks.sends(process, &request);
        self.find(found);
        let (who, key) = (u64::from(process.node), self.number(process));
        let roll = self.dice.roll(Purpose::RequestDelay, who, key);
        let mut delay = roll.exponential(Duration::from_micros(at.faults.delay_mean_us));
        if roll.again().ppm(at.faults.tail_ppm) {
            let tail = Duration::from_millis(at.faults.tail_ms);
            delay += roll.again().again().duration(tail);
        }
        let answer_by = at.after(at.request_timeout);
        let unknown = AppEvent::Answered {
            number,
            reply: Reply::Nothing,
        };
        self.out.events.push((answer_by, process, unknown));
        let dropped = self.dice.roll(Purpose::RequestDrop, who, key);
        if dropped.ppm(at.faults.drop_request_ppm) {
            return;
        }
        let connection = (process, request.resource.clone());
        let last = self.arrivals.entry(connection).or_insert(at.now);
        let arrival = (at.now + delay).max(*last);
        *last = arrival;
        let call = Call {
            process,
            number,
            request,
            answer_by,
        };
        self.out.calls.push((arrival, call));
    }

    pub(super) fn number(&mut self, process: Process) -> u64 {
        // Processes of a node share its number in the dice, so runs are told apart here.
        let number = self.sent.entry(process).or_default();
        *number += 1;
        (u64::from(process.run) << 40) | *number
    }

    pub(super) fn line(&mut self, line: impl FnOnce() -> String) {
        if self.setup.traced {
            self.out.lines.push(line());
        }
    }

    fn find(&mut self, found: Found) {
        self.out.found.extend(found);
    }

    fn fold(&mut self, value: u64) {
        self.out.digest = scramble(self.out.digest ^ value);
    }
}
