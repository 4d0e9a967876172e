//! One process of a run: what stands between a manager and the handler under test.
//!
//! It tells the judge what the manager calls, misbehaves as the plan says, and calls the user's handler.
//! What always holds: the user's handler sees exactly the calls that the manager makes, but those that
//! the plan lets fail before.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use futures_util::FutureExt as _;
use parti::clock::Machine;
use parti::{
    Guard, HandlerError, Manager, PartitionHandler, PartitionKey, Preparation, RevokeCause,
    StopMode, async_trait,
};
use tokio::time::sleep;

use super::judge::{Judge, Property, Situation};
use super::plan::HandlerFaults;
use super::resource::{Connection, Resource};
use crate::simulator::{Dice, Purpose, panics};

/// The handler of one process.
pub type SharedHandler = Arc<dyn PartitionHandler>;

/// The judge of a run, and what handlers do in it.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) judge: Judge,
    pub(super) handlers: HandlerFaults,
    pub(super) resources: Vec<Resource>,
    /// Nodes on which the next callback stops its manager.
    pub(super) stop_inside: BTreeSet<usize>,
}

pub(super) type Shared = Arc<Mutex<Watched>>;

/// A poisoned lock is one that a planned panic has met.
pub(super) fn locked(shared: &Mutex<Watched>) -> MutexGuard<'_, Watched> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A process that is about to begin: what a handler may ask and tell.
#[derive(Clone)]
pub struct Process {
    pub(super) number: u64,
    pub(super) node: usize,
    pub(super) shared: Shared,
    pub(super) machine: Machine,
    pub(super) connection: Connection,
    pub(super) manager: Arc<OnceLock<Weak<Manager>>>,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("number", &self.number)
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl Process {
    /// Its number: no two processes of a run have the same.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// The node it runs on.
    #[must_use]
    pub const fn node(&self) -> usize {
        self.node
    }

    /// The machine it runs on. A task that a handler spawns stands still with its process when it runs
    /// with [`Machine::run`]; otherwise it goes on, as if only the driver were starved.
    #[must_use]
    pub const fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Says that something does not hold that must: the run fails with these words.
    pub fn violate(&self, what: impl Into<String>) {
        let mut watched = locked(&self.shared);
        watched.judge.violate(Property::Handler, what.into());
    }
}

/// Stands between a manager and the handler under test.
pub(super) struct Between {
    process: Process,
    dice: Dice,
    handler: SharedHandler,
    /// How often a callback of each partition was called.
    calls: Mutex<BTreeMap<PartitionKey, u64>>,
}

/// Says that a callback runs until it is dropped, which is also how it is cut short.
struct Running<'a> {
    process: &'a Process,
    place: (u64, PartitionKey),
    ended: bool,
}

impl<'a> Running<'a> {
    fn begin(process: &'a Process, key: &PartitionKey, what: &'static str) -> Self {
        let place = (process.number, key.clone());
        locked(&process.shared).judge.enter(&place, what);
        Self {
            process,
            place,
            ended: false,
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let ended = self.ended || std::thread::panicking();
        locked(&self.process.shared).judge.leave(&self.place, ended);
    }
}

impl Between {
    pub(super) fn new(process: Process, seed: u64, handler: SharedHandler) -> Self {
        Self {
            process,
            dice: Dice::new(seed),
            handler,
            calls: Mutex::default(),
        }
    }

    /// Stops its manager from inside a callback, if the plan says so.
    async fn stop_inside(&self) {
        let process = &self.process;
        let Some(manager) = process.manager.get().and_then(Weak::upgrade) else {
            return;
        };
        {
            let mut watched = locked(&process.shared);
            if !watched.stop_inside.remove(&process.node) {
                return;
            }
            let judge = &mut watched.judge;
            judge.meet(Situation::StoppedInside);
            judge.line(|| format!("process {} stops itself in a callback", process.number));
        }
        // The answer comes only when this callback has ended or is cut short.
        let _ = manager.stop(StopMode::Handoff).await;
    }

    /// What the handler under test panics with is its own defect.
    async fn caught<T>(&self, what: &str, key: &PartitionKey, call: impl Future<Output = T>) -> T {
        match AssertUnwindSafe(call).catch_unwind().await {
            Ok(answer) => answer,
            Err(payload) => {
                let words = panics::message(payload.as_ref());
                self.process
                    .violate(format!("{what} of {key} panics: {words}"));
                std::panic::resume_unwind(payload)
            }
        }
    }

    /// Now and then a callback is slow, fails, panics or hangs. What it does follows from the seed, the
    /// process, the partition and the number of the call, so that it stays when the plan is made smaller.
    async fn misbehave(&self, guard: &Guard, purpose: Purpose) -> Result<(), HandlerError> {
        let who = guard
            .partition()
            .encoded()
            .bytes()
            .fold(self.process.number, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
            });
        let call = {
            let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
            let call = calls.entry(guard.partition().clone()).or_default();
            *call += 1;
            *call
        };
        let roll = self.dice.roll(purpose, who, call);
        let faults = locked(&self.process.shared).handlers;
        let mut left = roll.below(1_000_000) as u32;
        let mut falls = |ppm: u32| {
            let falls = left < ppm;
            left = if falls {
                u32::MAX
            } else {
                left.saturating_sub(ppm)
            };
            falls
        };
        if falls(faults.hang_ppm) {
            locked(&self.process.shared)
                .judge
                .meet(Situation::CallbackHung);
            std::future::pending::<()>().await;
        }
        if falls(faults.panic_ppm) {
            let mut watched = locked(&self.process.shared);
            watched.judge.meet(Situation::CallbackPanicked);
            if purpose == Purpose::Callback {
                let place = (self.process.number, guard.partition().clone());
                watched.judge.on_failed(&place);
            }
            drop(watched);
            std::panic::resume_unwind(Box::new("a planned panic"));
        }
        if falls(faults.fail_ppm) {
            return Err(HandlerError::new("a planned failure"));
        }
        if falls(faults.slow_ppm) {
            sleep(roll.again().duration(Duration::from_millis(800))).await;
        }
        Ok(())
    }
}

#[async_trait]
impl PartitionHandler for Between {
    async fn on_assigned(&self, key: &PartitionKey, guard: Guard) -> Result<(), HandlerError> {
        let mut running = Running::begin(&self.process, key, "on_assigned");
        locked(&self.process.shared)
            .judge
            .on_assigned(self.process.number, &guard);
        let mut result = self.misbehave(&guard, Purpose::Callback).await;
        if result.is_ok() {
            self.stop_inside().await;
            let call = self.handler.on_assigned(key, guard);
            result = self.caught("on_assigned", key, call).await;
        }
        if result.is_err() {
            locked(&self.process.shared).judge.on_failed(&running.place);
        }
        running.ended = true;
        result
    }

    async fn on_revoked(&self, key: &PartitionKey, guard: Guard, cause: RevokeCause) {
        let mut running = Running::begin(&self.process, key, "on_revoked");
        let number = self.process.number;
        locked(&self.process.shared)
            .judge
            .on_revoked(number, &guard, cause);
        let _ = self.misbehave(&guard, Purpose::Fail).await;
        let call = self.handler.on_revoked(key, guard, cause);
        self.caught("on_revoked", key, call).await;
        running.ended = true;
    }

    fn prepares(&self) -> bool {
        self.handler.prepares()
    }

    async fn on_prepare(
        &self,
        key: &PartitionKey,
        preparation: Preparation,
    ) -> Result<(), HandlerError> {
        self.handler.on_prepare(key, preparation).await
    }

    async fn on_prepare_cancelled(&self, key: &PartitionKey, preparation: Preparation) {
        self.handler.on_prepare_cancelled(key, preparation).await;
    }
}
