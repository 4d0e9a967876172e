//! The tasks of one simulated process: polled when something they wait for has happened.
//!
//! It is separate because it is a tiny executor and nothing else. What always holds: tasks run in the
//! order in which they became ready, only within [`Tasks::run`], and time stands still meanwhile.

use core::cell::{Cell, RefCell};
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Wake;

use parti_core::Instant;

use super::resource::{Reply, Request};
use crate::simulator::checks::Process;
use crate::simulator::group::panics;
use crate::simulator::plans::dice::{Dice, Purpose};

/// How many polls may follow each other at one instant before the code counts as spinning.
const MAX_POLLS: u32 = 100_000;

/// A task, as it is kept.
pub(super) type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Names a task of a process.
pub(super) type TaskId = u64;

/// Something asked of the simulator.
#[derive(Debug)]
pub(super) enum Ask {
    Sleep { number: u64, until: Instant },
    Request { number: u64, request: Request },
    Fail { reason: String },
}

/// What the code of a process and the simulator share.
pub(in super::super) struct Shared {
    pub(super) process: Process,
    /// The clock of the process.
    pub(super) local: Cell<Instant>,
    /// The true time and the true end of the lease.
    pub(super) lease: Cell<(Instant, Instant)>,
    dice: Dice,
    numbers: Cell<u64>,
    asks: RefCell<Vec<Ask>>,
    spawned: RefCell<Vec<Task>>,
    answers: RefCell<BTreeMap<u64, Slot>>,
}

#[derive(Debug)]
enum Slot {
    Waiting(Waker),
    Answered(Reply),
}

impl core::fmt::Debug for Shared {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Shared").field(&self.process).finish()
    }
}

impl Shared {
    pub(super) fn new(process: Process, dice: Dice) -> Rc<Self> {
        Rc::new(Self {
            process,
            local: Cell::new(Instant::ORIGIN),
            lease: Cell::new((Instant::ORIGIN, Instant::ORIGIN)),
            dice,
            numbers: Cell::new(0),
            asks: RefCell::default(),
            spawned: RefCell::default(),
            answers: RefCell::default(),
        })
    }

    pub(super) fn lease_lasts(&self) -> bool {
        let (now, until) = self.lease.get();
        now < until
    }

    pub(super) fn ask(&self, ask: impl FnOnce(u64) -> Ask) -> u64 {
        let number = self.number();
        self.asks.borrow_mut().push(ask(number));
        number
    }

    pub(super) fn spawn(&self, task: Task) {
        self.spawned.borrow_mut().push(task);
    }

    pub(super) fn random(&self) -> u64 {
        let key = (u64::from(self.process.node) << 16) | u64::from(self.process.run);
        self.dice.roll(Purpose::Boot, key, self.number()).bits()
    }

    pub(super) fn poll(&self, number: u64, waker: &Waker) -> Poll<Reply> {
        let mut answers = self.answers.borrow_mut();
        match answers.remove(&number) {
            Some(Slot::Answered(reply)) => Poll::Ready(reply),
            Some(Slot::Waiting(_)) | None => {
                answers.insert(number, Slot::Waiting(waker.clone()));
                Poll::Pending
            }
        }
    }

    /// Nobody waits for the answer any more.
    pub(super) fn forget(&self, number: u64) {
        self.answers.borrow_mut().remove(&number);
    }

    /// Takes in an answer; one that nobody waits for is dropped.
    pub(super) fn answer(&self, number: u64, reply: Reply) {
        let mut answers = self.answers.borrow_mut();
        if let Some(slot) = answers.get_mut(&number)
            && let Slot::Waiting(waker) = core::mem::replace(slot, Slot::Answered(reply))
        {
            drop(answers);
            waker.wake();
        }
    }

    pub(super) fn number(&self) -> u64 {
        self.numbers.set(self.numbers.get() + 1);
        self.numbers.get()
    }
}

/// What came of running the tasks.
#[derive(Debug, Default)]
pub(super) struct Ran {
    pub(super) finished: Vec<TaskId>,
    pub(super) asks: Vec<Ask>,
    /// The message of a panic, or that the code spins.
    pub(super) panicked: Option<String>,
    pub(super) spins: bool,
}

type Ready = Arc<Mutex<VecDeque<TaskId>>>;

/// The tasks of a process.
pub(super) struct Tasks {
    tasks: BTreeMap<TaskId, Task>,
    ready: Ready,
    next: TaskId,
}

struct ReadyWaker {
    id: TaskId,
    ready: Ready,
}

impl Wake for ReadyWaker {
    fn wake(self: Arc<Self>) {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if !ready.contains(&self.id) {
            ready.push_back(self.id);
        }
    }
}

impl Tasks {
    pub(super) fn new() -> Self {
        Self {
            tasks: BTreeMap::new(),
            ready: Ready::default(),
            next: 0,
        }
    }

    /// Adds a task; it runs for the first time with the next [`Tasks::run`].
    pub(super) fn add(&mut self, task: Task) -> TaskId {
        self.next += 1;
        self.tasks.insert(self.next, task);
        self.waker(self.next).wake();
        self.next
    }

    /// Drops a task wherever it is.
    pub(super) fn cut(&mut self, id: TaskId) {
        self.tasks.remove(&id);
    }

    /// Polls every task that can go on, until none can.
    pub(super) fn run(&mut self, shared: &Shared) -> Ran {
        let mut ran = Ran::default();
        let mut polls = 0;
        while let Some(id) = self.next_ready() {
            polls += 1;
            ran.spins = polls > MAX_POLLS;
            let Some(task) = self.tasks.get_mut(&id).filter(|_| !ran.spins) else {
                continue;
            };
            let waker = Waker::from(Arc::new(ReadyWaker {
                id,
                ready: Arc::clone(&self.ready),
            }));
            let mut context = Context::from_waker(&waker);
            let poll = || panics::quiet(|| task.as_mut().poll(&mut context));
            match catch_unwind(AssertUnwindSafe(poll)) {
                Ok(Poll::Pending) => {}
                Ok(Poll::Ready(())) => {
                    self.tasks.remove(&id);
                    ran.finished.push(id);
                }
                Err(payload) => {
                    self.tasks.remove(&id);
                    ran.finished.push(id);
                    ran.panicked = Some(panics::message(payload.as_ref()));
                }
            }
            for task in shared.spawned.take() {
                self.add(task);
            }
        }
        ran.asks = shared.asks.take();
        ran
    }

    fn next_ready(&self) -> Option<TaskId> {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        ready.pop_front()
    }

    fn waker(&self, id: TaskId) -> Arc<ReadyWaker> {
        let ready = Arc::clone(&self.ready);
        Arc::new(ReadyWaker { id, ready })
    }
}
