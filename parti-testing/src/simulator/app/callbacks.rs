//! Callbacks in virtual time: carries out what the callback scheduler of the core decides, as the driver
//! of `parti` does.
//!
//! It is separate from the rest of the host because it is the simulator's counterpart of the shell. What
//! always holds: the order, the limits and the retries are the scheduler's own, not a copy of them.

use core::cell::RefCell;
use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;

use parti_core::callbacks::{Action, Callback, End, Limits, Scheduler};
use parti_core::{Event, Instant, PartitionKey};

use super::guard::SimGuard;
use super::host::{AppEvent, Apps, Moment};
use super::tasks::TaskId;
use super::{App, Cx};
use crate::simulator::checks::Process;
use crate::simulator::plans::dice::Purpose;

/// What a callback is about.
type Job = parti_core::callbacks::Job<SimGuard>;

/// The callbacks of one process.
pub(super) struct Callbacks {
    pub(super) scheduler: Scheduler<SimGuard>,
    running: BTreeMap<PartitionKey, Running>,
    /// The scheduler's deadline on the agenda, on the clock of the process.
    armed: Option<Instant>,
    /// Whether it could begin nothing for want of a lease.
    starved: bool,
}

/// A callback that runs.
struct Running {
    job: Job,
    task: TaskId,
    /// What it says at its end.
    end: Rc<RefCell<Option<End>>>,
}

impl Callbacks {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            scheduler: Scheduler::new(limits),
            running: BTreeMap::new(),
            armed: None,
            starved: false,
        }
    }

    /// A deadline on the agenda has come.
    pub(super) fn disarm(&mut self, deadline: Instant) {
        self.armed.take_if(|armed| *armed == deadline);
    }

    /// Whether there is a lease again after something could not begin without.
    pub(super) const fn may_go_on(&self, lease_lasts: bool) -> bool {
        self.starved && lease_lasts
    }
}

impl Apps<'_> {
    /// Begins what is due and gives up on what is late.
    pub(super) fn schedule(&mut self, at: &Moment<'_>, process: Process) {
        let Some(host) = self.hosts.get_mut(&process) else {
            return;
        };
        let (local, lasts) = (at.local(), at.lease_lasts());
        host.callbacks.starved = !lasts;
        host.callbacks.scheduler.expire(local);
        host.callbacks.scheduler.begin(local, lasts);
        self.follow(at, process);
    }

    /// Carries out what the scheduler says, and puts its deadline on the agenda.
    pub(super) fn follow(&mut self, at: &Moment<'_>, process: Process) {
        while let Some(action) = self
            .hosts
            .get_mut(&process)
            .and_then(|host| host.callbacks.scheduler.poll_action())
        {
            match action {
                Action::Begin(job) => self.call(at, process, job),
                Action::Cut { partition, .. } => self.cut(at, process, &partition),
                Action::Revoking(guard) => guard.begin_revoking(),
                Action::Invalidate(guard) => guard.end(),
                Action::Release(grant) => self.out.released.push((process, grant)),
                Action::Processing { grant, failing } => {
                    if failing.is_some() {
                        self.failing.insert(grant.partition.clone());
                    }
                    let event = Event::Processing { grant, failing };
                    self.out.told.push((process, event));
                }
                Action::Prepared {
                    preparation,
                    failing,
                } => {
                    let event = Event::Prepared {
                        preparation,
                        failing,
                    };
                    self.out.told.push((process, event));
                }
                Action::PrepareTimedOut(preparation) => {
                    self.line(|| format!("{process} has prepared {preparation:?} for too long"));
                }
                Action::AssignFailed {
                    grant,
                    failures,
                    reason,
                    pause,
                } => self.line(|| {
                    format!(
                        "{process} could not begin {grant:?} ({failures}), again after {pause:?}: {reason}"
                    )
                }),
                Action::DrainTimedOut(grant) => {
                    self.line(|| format!("{process} has drained {grant:?} for too long"));
                }
                // A panic is a finding, and ends the run.
                Action::Panicked { .. } => {}
            }
        }
        if let Some(host) = self.hosts.get_mut(&process)
            && let Some(deadline) = host.callbacks.scheduler.poll_timeout()
            && host.callbacks.armed.is_none_or(|armed| deadline < armed)
        {
            host.callbacks.armed = Some(deadline);
            let over = at.clock.true_time(deadline).max(at.now);
            let due = AppEvent::Due { deadline };
            self.out.events.push((over, process, due));
        }
    }

    /// A task has ended; that of a callback is reported.
    pub(super) fn finish(
        &mut self,
        at: &Moment<'_>,
        process: Process,
        task: TaskId,
        panic: Option<&String>,
    ) {
        let host = self.hosts.get_mut(&process);
        let Some(running) = host.and_then(|host| {
            let running = &mut host.callbacks.running;
            let of_task = running.iter().find(|(_, running)| running.task == task);
            let key = of_task.map(|(key, _)| key.clone())?;
            running.remove(&key)
        }) else {
            return;
        };
        let panicked = || End::Panicked(panic.cloned().unwrap_or_default());
        let end = running.end.take().unwrap_or_else(panicked);
        self.ended(at, process, &running.job, end);
    }

    fn cut(&mut self, at: &Moment<'_>, process: Process, partition: &PartitionKey) {
        let Some(host) = self.hosts.get_mut(&process) else {
            return;
        };
        if let Some(Running { job, task, .. }) = host.callbacks.running.remove(partition) {
            host.tasks.cut(task);
            self.ended(at, process, &job, End::Cut);
        }
    }

    fn ended(&mut self, at: &Moment<'_>, process: Process, job: &Job, end: End) {
        let partition = job.partition();
        if let Job::Revoked { ownership, .. } = job {
            self.checks
                .revoked(process, partition, ownership.guard.token());
        }
        if let Some(host) = self.hosts.get_mut(&process) {
            let scheduler = &mut host.callbacks.scheduler;
            scheduler.finish(at.local(), partition, end);
        }
    }

    /// Begins a callback as a task; a slow one waits first.
    fn call(&mut self, at: &Moment<'_>, process: Process, job: Job) {
        let number = self.number(process);
        let who = u64::from(process.node);
        let roll = self.dice.roll(Purpose::Callback, who, number);
        let longest = Duration::from_millis(at.faults.callback_ms);
        let slow = roll
            .ppm(at.faults.callback_slow_ppm)
            .then(|| roll.again().duration(longest));
        let hangs = roll.again().again().ppm(at.faults.callback_hang_ppm);
        let broken = at.broken(process, job.partition());
        let Some(host) = self.hosts.get_mut(&process) else {
            return;
        };
        let (app, cx) = (Rc::clone(&host.app), Cx::new(Rc::clone(&host.shared)));
        let (told, called) = (Rc::new(RefCell::new(None)), job.clone());
        let end = Rc::clone(&told);
        let task = host.tasks.add(Box::pin(async move {
            if let Some(slow) = slow {
                cx.sleep(slow).await;
            }
            let end = match (called.callback(), broken) {
                (Callback::Revoked, _) if hangs => core::future::pending().await,
                (Callback::Assigned, Some(hangs)) => {
                    cx.sleep(hangs).await;
                    End::Failed("simulated".to_owned())
                }
                (
                    Callback::Assigned
                    | Callback::Revoked
                    | Callback::Prepare
                    | Callback::PrepareCancelled,
                    _,
                ) => call(&*app, cx, called).await,
            };
            told.replace(Some(end));
        }));
        let partition = job.partition().clone();
        let running = Running { job, task, end };
        host.callbacks.running.insert(partition, running);
    }
}

/// Calls the handler, as the driver of `parti` does.
async fn call(app: &dyn App, cx: Cx, job: Job) -> End {
    let begun = match job {
        Job::Assigned { ownership } if !ownership.guard.is_valid() => return End::NotBegun,
        Job::Assigned { ownership } => app.on_assigned(cx, ownership.guard).await,
        Job::Revoked { ownership, cause } => {
            app.on_revoked(cx, ownership.guard, cause).await;
            Ok(())
        }
        Job::Prepare { preparation } => app.on_prepare(cx, preparation).await,
        Job::PrepareCancelled { preparation } => {
            app.on_prepare_cancelled(cx, preparation).await;
            Ok(())
        }
    };
    begun.map_or_else(|error| End::Failed(error.to_string()), |()| End::Returned)
}
