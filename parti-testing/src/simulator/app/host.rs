//! Where handlers meet the simulated world: callbacks in, requests out, everything timed and judged.
//!
//! It is separate from the tasks, which know no time, and from the world, which knows no handlers. What
//! always holds: nothing of a process runs here after its end; its requests on the way still arrive.

use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;

use parti_core::{Grant, Instant, Mode, PartitionKey, RevokeCause};

use super::checks::{self, Found, OwnChecks};
use super::desk::{Desk, Job, Next};
use super::guard::SimGuard;
use super::resource::{FencedResource, Reply, Request};
use super::tasks::{Ask, Shared, TaskId, Tasks};
use super::{App, Cx};
use crate::simulator::checks::Process;
use crate::simulator::group::clock::Clock;
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
    /// A drain time is over.
    Drained {
        partition: PartitionKey,
        serial: u64,
    },
    /// The limit of an `on_revoked` is over.
    Overdue { task: TaskId },
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
    pub(in super::super) drain_timeout: Duration,
    pub(in super::super) request_timeout: Duration,
    pub(in super::super) faults: &'a Faults,
}

impl Moment<'_> {
    fn after(&self, local: Duration) -> Instant {
        self.clock
            .true_time(self.clock.local(self.now) + local)
            .max(self.now)
    }
}

/// What is to be done in the world.
#[derive(Debug, Default)]
pub(in super::super) struct Out {
    pub(in super::super) events: Vec<(Instant, Process, AppEvent)>,
    pub(in super::super) calls: Vec<(Instant, Call)>,
    pub(in super::super) released: Vec<(Process, Grant)>,
    pub(in super::super) found: Vec<(&'static str, String)>,
    /// Kept only if there is a trace.
    pub(in super::super) lines: Vec<String>,
    pub(in super::super) digest: u64,
}

/// All handlers of a run and what they write to.
pub(in super::super) struct Apps<'a> {
    setup: Setup<'a>,
    dice: Dice,
    hosts: BTreeMap<Process, Host>,
    pub(in super::super) resources: Vec<FencedResource>,
    checks: OwnChecks,
    pub(in super::super) out: Out,
    /// Requests so far, by sender: the number that keys their fate.
    sent: BTreeMap<Process, u64>,
    /// When the last request of a process reached a resource, since they do not overtake each other.
    arrivals: BTreeMap<(Process, String), Instant>,
}

/// The handler of one process.
struct Host {
    app: Rc<dyn App>,
    shared: Rc<Shared>,
    tasks: Tasks,
    desk: Desk,
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
            sent: BTreeMap::new(),
            arrivals: BTreeMap::new(),
        }
    }

    pub(in super::super) fn begin(&mut self, process: Process) {
        let host = Host {
            app: (self.setup.factory)(process),
            shared: Shared::new(process, self.dice),
            tasks: Tasks::new(),
            desk: Desk::default(),
        };
        self.hosts.insert(process, host);
    }

    pub(in super::super) fn end(&mut self, process: Process) {
        self.hosts.remove(&process);
        self.checks.forget(process);
    }

    pub(in super::super) fn assign(&mut self, at: &Moment<'_>, process: Process, grant: Grant) {
        let Some(host) = self.hosts.get_mut(&process) else {
            return;
        };
        let guard = SimGuard::new(grant, Rc::clone(&host.shared));
        self.checks
            .assigned(process, guard.partition(), guard.token());
        let next = host.desk.assign(guard);
        self.follow(at, process, next);
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
        let next = host.desk.revoke(grant, cause);
        self.follow(at, process, next);
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
            AppEvent::Drained { partition, serial } => {
                let next = host.desk.time_out(&partition, serial);
                self.follow(at, process, next);
            }
            AppEvent::Overdue { task } => {
                host.tasks.cut(task);
                self.finish(at, process, task);
            }
        }
        self.run(at, process);
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
            let found = self.checks.progress(holders);
            self.find(found);
        }
    }

    fn compare(&mut self) {
        let says = |host: &Host| host.app.holding();
        let found: Vec<Found> = self
            .hosts
            .iter()
            .filter_map(|(process, host)| {
                says(host).map(|says| checks::notified(*process, &says, host.desk.at_rest()))
            })
            .collect();
        found.into_iter().for_each(|found| self.find(found));
    }

    fn soon(&mut self, at: &Moment<'_>, process: Process) {
        self.out.events.push((at.now, process, AppEvent::Run));
    }

    fn follow(&mut self, at: &Moment<'_>, process: Process, next: Vec<Next>) {
        for next in next {
            match next {
                Next::Begin(job) => self.call(at, process, job),
                Next::Cut(task) => {
                    if let Some(host) = self.hosts.get_mut(&process) {
                        host.tasks.cut(task);
                    }
                }
                Next::Release(grant) => self.out.released.push((process, grant)),
                Next::Drain(guard) => {
                    let (partition, serial) = (guard.partition().clone(), guard.serial());
                    let drained = AppEvent::Drained { partition, serial };
                    let over = at.after(at.drain_timeout);
                    self.out.events.push((over, process, drained));
                }
            }
        }
    }

    /// Begins a callback as a task; a slow one waits first.
    fn call(&mut self, at: &Moment<'_>, process: Process, job: Job) {
        let number = self.number(process);
        let Some(host) = self.hosts.get_mut(&process) else {
            return;
        };
        let roll = self
            .dice
            .roll(Purpose::Callback, u64::from(process.node), number);
        let longest = Duration::from_millis(at.faults.callback_ms);
        let slow = roll
            .ppm(at.faults.callback_slow_ppm)
            .then(|| roll.again().duration(longest));
        let hangs = roll.again().again().ppm(at.faults.callback_hang_ppm);
        let (app, cx) = (Rc::clone(&host.app), Cx::new(Rc::clone(&host.shared)));
        let key = match &job {
            Job::Assigned(guard) | Job::Revoked(guard, _) => guard.partition().clone(),
        };
        let limited = matches!(job, Job::Revoked(..));
        let task = host.tasks.add(Box::pin(async move {
            if let Some(slow) = slow {
                cx.sleep(slow).await;
            }
            if hangs && limited {
                core::future::pending::<()>().await;
            }
            match job {
                Job::Assigned(guard) => app.on_assigned(cx, guard).await,
                Job::Revoked(guard, cause) => app.on_revoked(cx, guard, cause).await,
            }
        }));
        host.desk.began(&key, task);
        if limited {
            let over = at.after(at.drain_timeout);
            self.out
                .events
                .push((over, process, AppEvent::Overdue { task }));
        }
    }

    fn finish(&mut self, at: &Moment<'_>, process: Process, task: TaskId) {
        let host = self.hosts.get_mut(&process);
        let Some((guard, revocation, next)) = host.and_then(|host| host.desk.finish(task)) else {
            return;
        };
        if revocation {
            self.checks
                .revoked(process, guard.partition(), guard.token());
        }
        self.follow(at, process, next);
    }

    fn run(&mut self, at: &Moment<'_>, process: Process) {
        while let Some(host) = self.hosts.get_mut(&process) {
            host.shared.local.set(at.clock.local(at.now));
            host.shared.lease.set((at.now, at.until));
            let ran = host.tasks.run(&host.shared);
            for ask in ran.asks {
                self.ask(at, process, ask);
            }
            if let Some(message) = ran.panicked {
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
                self.finish(at, process, task);
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

    fn number(&mut self, process: Process) -> u64 {
        // Processes of a node share its number in the dice, so runs are told apart here.
        let number = self.sent.entry(process).or_default();
        *number += 1;
        (u64::from(process.run) << 40) | *number
    }

    fn line(&mut self, line: impl FnOnce() -> String) {
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
