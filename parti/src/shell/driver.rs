//! The driver: the one loop between the core and the world.
//!
//! It is separate from the manager because it owns the core and nobody else touches it. What always
//! holds: it waits for nothing but its inbox, its tasks and its clock; store requests, listings,
//! plans and callbacks are tasks that report back. Dropping it ends all of them and every guard.

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use parti_core::{
    Core, Effect, Event, Grant, HistoryLoss, Instant, Mode, Nonce, Notice, ParkReason,
    PartitionKey, RequestId, StopMode, Version, WatchEvent, WatchId,
};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};

use crate::error::{RequestError, StopFailure};
use crate::handler::guard::Guard;
use crate::observe::subscription::ManagerNotice;
use crate::shell::callbacks::{Callbacks, Finished};
use crate::shell::planted::ShellBug;
use crate::shell::shared::{Outcome, Shared};
use crate::system::jump::Jumps;
use crate::system::machine;

mod notices;
mod parts;
mod tasks;
#[cfg(test)]
mod tests;

pub(crate) use parts::Parts;
use tasks::{Asking, Planners, told};

/// The longest sleep. A suspended machine's timers are late by the suspension; this bounds for how
/// long after it the driver does not look at the clock.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
/// The shortest sleep, so that a deadline that makes no progress costs little.
const SHORTEST_SLEEP: Duration = Duration::from_millis(1);
/// How many inputs may wait; senders wait beyond it.
pub(crate) const INBOX: usize = 1024;

/// What the driver takes in.
pub(crate) enum Input {
    /// Something for the core.
    Event(Event),
    /// A request whose answer is a version.
    Request {
        kind: Request,
        reply: oneshot::Sender<Result<Version, RequestError>>,
    },
    /// Leave.
    Stop { mode: StopMode },
    /// A callback has ended.
    Finished(Finished),
    /// Something worth knowing.
    Notice(ManagerNotice),
    /// A task has nothing more to say.
    Nothing,
}

/// What a manager can ask of the leader.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Request {
    Refresh,
    Trigger,
}

pub(crate) struct Driver {
    core: Core,
    parts: Parts,
    shared: Arc<Shared>,
    notices: broadcast::Sender<Arc<ManagerNotice>>,
    inbox: mpsc::Receiver<Input>,
    sender: mpsc::Sender<Input>,
    tasks: JoinSet<Input>,
    /// Whether tasks are looked at before the inbox.
    tasks_first: bool,
    /// What tasks have said beside callbacks that ended.
    said: VecDeque<Input>,
    watches: BTreeMap<WatchId, AbortHandle>,
    /// What answers probes for the session.
    answering: Option<AbortHandle>,
    callbacks: Callbacks,
    jumps: Jumps,
    requests: BTreeMap<RequestId, oneshot::Sender<Result<Version, RequestError>>>,
    last_request: u64,
    phase: Phase,
    /// The loss of history for which the core stops.
    halted: Option<HistoryLoss>,
    /// What nobody took on leaving.
    left_unowned: BTreeMap<PartitionKey, ParkReason>,
    planners: Planners,
}

/// Where the driver stands.
enum Phase {
    Running,
    /// A stop was asked for; what fails from here on is part of its answer.
    Stopping {
        failures: Vec<StopFailure>,
    },
    /// The core has stopped.
    Done(Outcome),
}

impl Driver {
    pub(crate) fn new(
        core: Core,
        parts: Parts,
        shared: Arc<Shared>,
        notices: broadcast::Sender<Arc<ManagerNotice>>,
        (sender, inbox): (mpsc::Sender<Input>, mpsc::Receiver<Input>),
    ) -> Self {
        let callbacks = Callbacks::new(parts.limits, parts.bugs);
        let jumps = Jumps::new(&parts.config);
        let planners = Planners::new(parts.randomness);
        Self {
            core,
            parts,
            shared,
            notices,
            inbox,
            sender,
            tasks: JoinSet::new(),
            tasks_first: false,
            said: VecDeque::new(),
            watches: BTreeMap::new(),
            answering: None,
            callbacks,
            jumps,
            requests: BTreeMap::new(),
            last_request: 0,
            phase: Phase::Running,
            halted: None,
            left_unowned: BTreeMap::new(),
            planners,
        }
    }

    /// Drives the core until it has stopped.
    pub(crate) async fn run(mut self) {
        self.tasks.spawn(tasks::announce(
            Arc::clone(&self.parts.source),
            self.sender.clone(),
        ));
        self.feed(Event::Start);
        while !matches!(self.phase, Phase::Done(_)) {
            let input = self.next_input().await;
            self.take(input);
        }
        self.finish_callbacks().await;
        if let Phase::Done(outcome) = &self.phase {
            self.shared.end(outcome.clone());
        }
    }

    /// Waits for an input, but not beyond the next deadline of the core or the callbacks.
    async fn next_input(&mut self) -> Input {
        if let Some(input) = self.said.pop_front() {
            return input;
        }
        let sleep = tokio::time::sleep(self.time_to_sleep());
        // In turn and not at random: fair, and the same in every run of a test.
        self.tasks_first = !self.tasks_first;
        if self.tasks_first {
            tokio::select! {
                biased;
                Some(done) = self.tasks.join_next() => told(done),
                Some(input) = self.inbox.recv() => input,
                () = sleep => Input::Nothing,
            }
        } else {
            tokio::select! {
                biased;
                Some(input) = self.inbox.recv() => input,
                Some(done) = self.tasks.join_next() => told(done),
                () = sleep => Input::Nothing,
            }
        }
    }

    fn time_to_sleep(&self) -> Duration {
        let core = match self.phase {
            Phase::Running | Phase::Stopping { .. } => self.core.poll_timeout(),
            Phase::Done(_) => None,
        };
        let core = core.map(|wake| wake.at);
        let deadline = core.into_iter().chain(self.callbacks.deadline()).min();
        let now = self.parts.clock.now();
        deadline.map_or(LONGEST_SLEEP, |at| {
            at.since(now).clamp(SHORTEST_SLEEP, LONGEST_SLEEP)
        })
    }

    fn take(&mut self, input: Input) {
        // Before anything else: what comes in may be older than it looks.
        if let Some(by) = self
            .parts
            .clock
            .sample()
            .and_then(|now| self.jumps.look(now))
        {
            self.feed(Event::ClockJumped { by: Some(by) });
        }
        match input {
            Input::Event(event) => self.feed(event),
            Input::Request { kind, reply } => self.request(kind, reply),
            Input::Stop { mode } => self.stop(mode),
            Input::Finished(finished) => {
                self.finished(finished);
                self.finish_ready();
            }
            Input::Notice(notice) => self.tell(notice),
            Input::Nothing => {}
        }
        let now = self.parts.clock.now();
        self.callbacks.expire(now);
        self.tell_released();
        if self.core.poll_timeout().is_some_and(|wake| wake.at <= now) {
            self.core.handle_timeout(now);
            self.settle(now);
            self.tell_released();
        }
        self.begin_callbacks();
        self.parts.observer.on_pending(self.callbacks.pending());
        self.parts.observer.turned(now);
    }

    fn finished(&mut self, finished: Finished) {
        let now = self.parts.clock.now();
        let Finished { job, end } = &finished;
        self.parts.observer.on_finished(now, job, end);
        self.callbacks.finish(now, finished);
    }

    /// All callbacks that have ended are told to the core in one step: a worker that gives thousands back
    /// would else do little but take in what others say of the first ones.
    fn finish_ready(&mut self) {
        while let Some(done) = self.tasks.try_join_next() {
            match told(done) {
                Input::Finished(finished) => self.finished(finished),
                input @ (Input::Event(_)
                | Input::Request { .. }
                | Input::Stop { .. }
                | Input::Notice(_)
                | Input::Nothing) => self.said.push_back(input),
            }
        }
    }

    fn request(&mut self, kind: Request, reply: oneshot::Sender<Result<Version, RequestError>>) {
        self.last_request += 1;
        let request = RequestId(self.last_request);
        self.requests.insert(request, reply);
        self.feed(match kind {
            Request::Refresh => Event::Refresh { request },
            Request::Trigger => Event::Trigger { request },
        });
    }

    fn stop(&mut self, mode: StopMode) {
        if matches!(self.phase, Phase::Running) {
            self.phase = Phase::Stopping {
                failures: Vec::new(),
            };
        }
        self.parts.observer.on_stop();
        self.feed(Event::Stop { mode });
    }

    fn feed(&mut self, event: Event) {
        if let Event::Watch {
            id,
            event: WatchEvent::Lost { .. },
        } = &event
        {
            self.watches.remove(id);
        }
        let now = self.parts.clock.now();
        self.parts.observer.on_event(now, &event);
        self.core.handle(now, event);
        self.settle(now);
    }

    /// Tells the core what the callbacks have released, until there is nothing more.
    fn tell_released(&mut self) {
        loop {
            let grants = self.callbacks.take_released();
            if grants.is_empty() {
                break;
            }
            self.forget(&grants);
            let now = self.parts.clock.now();
            self.parts.observer.on_released(now, &grants);
            self.feed(Event::Released { grants });
        }
        for event in self.callbacks.take_told() {
            self.feed(event);
        }
        for notice in self.callbacks.take_notices() {
            self.tell(notice);
        }
    }

    /// Carries out what the core wants done.
    ///
    /// An earlier lease deadline holds before, a later one only after the effects have been carried
    /// out: no guard of an ended ownership may see the deadline of the next session.
    fn settle(&mut self, now: Instant) {
        let status = self.core.status();
        let bugs = self.parts.bugs;
        if bugs.has(ShellBug::EarlyDeadline) {
            self.shared.lease.set(status.deadline);
        }
        self.shared.lease.shorten(status.deadline);
        let mut notices = Vec::new();
        while let Some(effect) = self.core.poll_effect() {
            self.parts.observer.on_effect(now, &effect);
            self.carry_out(now, effect, &mut notices);
        }
        if status.deadline.is_none() && !bugs.has(ShellBug::LeaseLossIgnored) {
            self.callbacks.end_lease();
        }
        self.shared.lease.set(match status.deadline {
            Some(_) if bugs.has(ShellBug::DeadlineIgnored) => Some(Instant::FAR_FUTURE),
            deadline => deadline,
        });
        self.parts.observer.settled(now, &status);
        self.shared.status.send_if_modified(|present| {
            let changed = *present != status;
            *present = status;
            changed
        });
        for notice in notices {
            self.note(notice);
        }
    }

    fn carry_out(&mut self, now: Instant, effect: Effect, notices: &mut Vec<Notice>) {
        let parts = &self.parts;
        match effect {
            Effect::Store { op, request } => {
                let limit = parts.config.request_timeout();
                let task = tasks::execute(self.asking(), op, request, limit);
                self.tasks.spawn(task);
            }
            Effect::Watch { id, scope } => {
                let (asking, sender) = (self.asking(), self.sender.clone());
                let limit = parts.config.lease();
                let task = tasks::watch(asking, id, scope, limit, sender);
                let task = self.tasks.spawn(task);
                self.watches.insert(id, task);
            }
            Effect::Unwatch { id } => {
                if let Some(task) = self.watches.remove(&id) {
                    task.abort();
                }
            }
            Effect::ListPartitions { op } => {
                let (source, limit) = (Arc::clone(&parts.source), parts.config.operation_timeout());
                self.tasks.spawn(tasks::list(source, op, limit));
            }
            Effect::Plan { op, input } => {
                let limit = parts.config.operation_timeout();
                let strategy = Arc::clone(&parts.strategy);
                let planners = self.planners.clone();
                let task = tasks::plan(strategy, planners, op, input, limit);
                self.tasks.spawn(task);
            }
            Effect::Revoke { grants, cause } => {
                for grant in grants {
                    self.callbacks.revoke(now, grant, cause);
                }
            }
            Effect::Prepare { preparations } => self.callbacks.prepare(now, preparations),
            Effect::Withdraw { preparations } => self.callbacks.withdraw(&preparations),
            Effect::Assign { grants } => self.assign(now, grants),
            Effect::Answer { session } => self.answer_probes(session),
            Effect::Probe { probe, within } => {
                let liveness = parts.store.liveness();
                self.tasks.spawn(tasks::probe(liveness, probe, within));
            }
            Effect::Notify(notice) => notices.push(notice),
        }
    }

    /// Answers probes for a session and for no other, if the store can carry them.
    fn answer_probes(&mut self, session: Option<Nonce>) {
        if let Some(before) = self.answering.take() {
            before.abort();
        }
        let liveness = self.parts.store.liveness();
        if session.is_some() && liveness.is_none() && self.parts.config.mode() == Mode::Fenced {
            tracing::warn!("mode fenced: this store cannot carry probes, so leases decide");
        }
        if let (Some(session), Some(liveness)) = (session, liveness) {
            let limit = self.parts.config.lease();
            let task = tasks::answer_probes(liveness, session, limit, self.sender.clone());
            self.answering = Some(self.tasks.spawn(task));
        }
    }

    /// The store, and what measures it.
    fn asking(&self) -> Asking {
        Asking {
            bugs: self.parts.bugs,
            store: Arc::clone(&self.parts.store),
            meter: Arc::clone(&self.parts.observer.meter.store),
            clock: self.parts.clock.clone(),
        }
    }

    fn assign(&mut self, now: Instant, grants: Vec<Grant>) {
        for grant in grants {
            let guard = Guard::new(grant, Arc::clone(&self.shared.lease));
            self.shared.hold(&guard);
            self.callbacks.assign(now, guard);
        }
    }

    fn forget(&self, grants: &[Grant]) {
        let mut holdings = self.shared.holdings();
        for grant in grants {
            let held = holdings.get(&grant.partition);
            if held.is_some_and(|guard| guard.token() == grant.token) {
                holdings.remove(&grant.partition);
            }
        }
    }

    fn begin_callbacks(&mut self) {
        let now = self.parts.clock.now();
        let lease_lasts = self.shared.lease.lasts();
        for call in self.callbacks.calls(now, lease_lasts) {
            self.parts.observer.on_call(now, &call.job);
            let handler = Arc::clone(&self.parts.handler);
            let call = tasks::call(handler, call, self.parts.bugs);
            self.tasks
                .spawn(machine::on(self.parts.machine.clone(), call));
        }
    }

    /// Lets the callbacks that are left come to an end, each bounded by `drain_timeout`.
    async fn finish_callbacks(&mut self) {
        let drain = self.parts.config.drain_timeout();
        let mut late = pin!(tokio::time::sleep(drain.saturating_mul(2)));
        self.begin_callbacks();
        while !self.callbacks.is_idle() && !self.parts.bugs.has(ShellBug::StopForgetsCallbacks) {
            let next = tokio::select! {
                biased;
                next = self.next_input() => next,
                () = &mut late => break,
            };
            match next {
                Input::Finished(finished) => self.finished(finished),
                Input::Notice(notice) => self.tell(notice),
                // A caller that asks something else hears of the end.
                Input::Event(_) | Input::Request { .. } | Input::Stop { .. } | Input::Nothing => {}
            }
            self.callbacks.expire(self.parts.clock.now());
            for notice in self.callbacks.take_notices() {
                self.tell(notice);
            }
            self.begin_callbacks();
        }
    }
}

impl Drop for Driver {
    /// Runs also when the task is aborted or panics: nothing may look alive afterwards.
    fn drop(&mut self) {
        self.shared.fail("it was dropped or panicked");
        let ended = self.shared.ended();
        let now = self.parts.clock.now();
        self.parts.observer.end(now, ended.as_ref());
    }
}
