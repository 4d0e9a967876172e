//! Your handler in the simulator: what a downstream crate implements, and what its code can do.
//!
//! It is separate from the rest of the simulator because it is the surface that users write against.
//! What always holds: a handler sees the callbacks, the guards and the time that it would see in a
//! real worker, and everything it does is a function of the plan.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::collections::BTreeSet;
use std::rc::Rc;

use async_trait::async_trait;
use parti_core::callbacks::HandlerError;
use parti_core::{Instant, PartitionKey, Preparation, RevokeCause, Token};

use crate::simulator::checks::Process;

mod callbacks;
mod checks;
mod guard;
mod host;
mod resource;
mod tasks;

pub use checks::{OWN_PROPERTIES, OwnProperty};
pub use guard::SimGuard;
pub use resource::{Accepted, FencedResource, Fencing, Stored};

pub(super) use checks::CLAIM;
pub(super) use host::{AppEvent, Apps, Call, Moment, Setup};
use resource::{Reply, Request};
use tasks::{Ask, Shared};

/// What a worker does with its partitions, run by the simulator in virtual time.
///
/// The two callbacks are those of `parti::PartitionHandler`, and the same callback scheduler decides when
/// they are called, how many run at once, when one is dropped and when an `on_assigned` that failed is
/// tried again. One value is made for each process; when the process crashes, its futures are dropped
/// wherever they are.
///
/// # Cancellation safety
/// A crash drops the futures wherever they are, as the end of a process does. `on_revoked` is bounded by
/// `drain_timeout`, `on_assigned` by the scenario's `assign_timeout`; it is also dropped when its
/// partition has waited `drain_timeout` to be revoked.
///
/// # Determinism
/// The code may use anything that needs no runtime: futures, `select`, channels, mutexes. Time, tasks
/// and the network come from [`Cx`]. It must not read a clock, draw random numbers or iterate over a
/// hash map, or a seed no longer determines the run; [`Scenario::check`](super::Scenario::check) runs a
/// failing seed twice and says so when the two differ.
///
/// ```
/// use core::time::Duration;
/// use parti_core::RevokeCause;
/// use parti_testing::simulator::{
///     App, Cx, FencedResource, HandlerError, Nemesis, Scenario, SimGuard, async_trait,
/// };
///
/// struct Work;
///
/// #[async_trait(?Send)]
/// impl App for Work {
///     async fn on_assigned(&self, cx: Cx, guard: SimGuard) -> Result<(), HandlerError> {
///         let work = cx.clone();
///         cx.spawn(async move {
///             // `is_valid` and the write that follows happen at the same instant.
///             while guard.is_valid() && !guard.is_revoking() {
///                 let _ = work.write("ledger", &guard, 1).await;
///                 work.sleep(Duration::from_millis(200)).await;
///             }
///         });
///         Ok(())
///     }
///     async fn on_revoked(&self, _: Cx, _: SimGuard, _: RevokeCause) {}
/// }
///
/// let scenario = Scenario::builder("ledger", |_| Work)
///     .nemesis(Nemesis::crashes())
///     .resource(FencedResource::checking("ledger"))
///     .build();
/// let report = scenario.run(7).expect("coherent");
/// assert!(report.resource("ledger").is_some_and(|ledger| !ledger.accepted().is_empty()));
/// ```
#[async_trait(?Send)]
pub trait App: 'static {
    /// The partition is this worker's: begin to process it and return, as a rule after spawning a task
    /// that holds the guard.
    ///
    /// # Errors
    /// [`HandlerError`] says that the processing has not begun: it is tried again after a pause, and
    /// a partition for which it keeps failing is given to another worker.
    async fn on_assigned(&self, cx: Cx, guard: SimGuard) -> Result<(), HandlerError>;

    /// The partition is being taken away, or is lost (`cause`): end its processing, then return.
    async fn on_revoked(&self, cx: Cx, guard: SimGuard, cause: RevokeCause);

    /// Whether this handler prepares for partitions, as `PartitionHandler::prepares`. Asked of a value made
    /// for it when a process begins.
    fn prepares(&self) -> bool {
        false
    }

    /// The partition is to come: get ready for it, without writing.
    ///
    /// # Errors
    /// [`HandlerError`] says that this process cannot take the partition: it stays with its owner.
    async fn on_prepare(&self, cx: Cx, preparation: Preparation) -> Result<(), HandlerError> {
        let _ = (cx, preparation);
        Ok(())
    }

    /// What was prepared for does not come after all.
    async fn on_prepare_cancelled(&self, cx: Cx, preparation: Preparation) {
        let _ = (cx, preparation);
    }

    /// What the handler itself believes to be processing, for the check that it missed no callback.
    /// `None`, the default, leaves the check out.
    fn holding(&self) -> Option<BTreeSet<PartitionKey>> {
        None
    }
}

/// Why a request to a resource did not do what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// The resource has seen a larger token. Nothing was written; this owner is not the last.
    Refused {
        /// The largest token it has seen.
        newest: Token,
    },
    /// No answer within the request timeout: carried out or not, now or later.
    Unknown,
}

impl core::fmt::Display for WriteError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Refused { newest } => write!(f, "refused: the newest token is {newest}"),
            Self::Unknown => f.write_str("no answer: carried out or not, now or later"),
        }
    }
}

impl core::error::Error for WriteError {}

/// What the code of one process can do. Clones are handles of the same process.
#[derive(Clone, Debug)]
pub struct Cx {
    shared: Rc<Shared>,
}

impl Cx {
    pub(super) const fn new(shared: Rc<Shared>) -> Self {
        Self { shared }
    }

    /// The process this code runs in: the node, and the n-th process on it.
    #[must_use]
    pub fn process(&self) -> Process {
        self.shared.process
    }

    /// The time on the clock of this process. Its origin means nothing and its rate may be off.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.shared.local.get()
    }

    /// Waits on the clock of this process. It may take longer: timers are late, processes pause.
    ///
    /// # Cancellation safety
    /// Dropping the future loses nothing. Bounded by `duration` and what timers are late.
    pub async fn sleep(&self, duration: Duration) {
        let until = self.now() + duration;
        let number = self.shared.ask(|number| Ask::Sleep { number, until });
        let _ = Answered::of(&self.shared, number).await;
    }

    /// Runs a task beside the callbacks. It ends with the process, not with the partition: that is
    /// up to the handler, as it is in a real worker.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.shared.spawn(Box::pin(task));
    }

    /// Writes the value of the guard's partition at a resource, with the guard's token. Whether the
    /// guard is valid is not looked at: that is the caller's decision, and a check's business.
    ///
    /// # Errors
    /// [`WriteError`].
    ///
    /// # Cancellation safety
    /// Dropping the future does not take the request back. Bounded by the request timeout, then
    /// [`WriteError::Unknown`].
    pub async fn write(
        &self,
        resource: &str,
        guard: &SimGuard,
        value: u64,
    ) -> Result<Stored, WriteError> {
        self.request(resource, guard, Some(value)).await
    }

    /// Reads the value of the guard's partition. A checking resource remembers the token: from then
    /// on nothing of an earlier owner is accepted, not even what is on its way already. An owner that
    /// reads without a token can miss a write that arrives after the read.
    ///
    /// # Errors
    /// As [`Cx::write`].
    ///
    /// # Cancellation safety
    /// As [`Cx::write`].
    pub async fn read(&self, resource: &str, guard: &SimGuard) -> Result<Stored, WriteError> {
        self.request(resource, guard, None).await
    }

    /// A random number that follows from the seed.
    #[must_use]
    pub fn random(&self) -> u64 {
        self.shared.random()
    }

    /// Reports that something the handler's author relies on does not hold; the run ends. A failed
    /// assertion does the same.
    pub fn fail(&self, reason: impl Into<String>) {
        let reason = reason.into();
        self.shared.ask(|_| Ask::Fail { reason });
    }

    async fn request(
        &self,
        resource: &str,
        guard: &SimGuard,
        value: Option<u64>,
    ) -> Result<Stored, WriteError> {
        let request = Request {
            resource: resource.to_owned(),
            partition: guard.partition().clone(),
            token: guard.token(),
            value,
        };
        let number = self.shared.ask(|number| Ask::Request { number, request });
        match Answered::of(&self.shared, number).await {
            Reply::Done(stored) => Ok(stored),
            Reply::Refused { newest } => Err(WriteError::Refused { newest }),
            Reply::Nothing => Err(WriteError::Unknown),
        }
    }
}

/// Waits for the answer to something asked of the simulator.
struct Answered {
    shared: Rc<Shared>,
    number: u64,
}

impl Answered {
    fn of(shared: &Rc<Shared>, number: u64) -> Self {
        Self {
            shared: Rc::clone(shared),
            number,
        }
    }
}

impl Future for Answered {
    type Output = Reply;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Reply> {
        self.shared.poll(self.number, context.waker())
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        self.shared.forget(self.number);
    }
}
